"""The tests of `pyconv.kernels` on CuPy arrays: ``pytest --backend cuda``.

The tests are written for NumPy. Here every function of `pyconv.kernels` that runs on CUDA is replaced
by one that copies NumPy's arrays to the device as they lie in memory, calls it, and brings the
results back as they lie. So tests, shapes, references and bad input are the same on both.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

RUN_ON_CUDA = [
    "gemm", "linear", "linear_backward",
    *(f"conv{rank}d{part}" for rank in (1, 2)
      for part in ("", "_backward_input", "_backward_weight", "_backward_bias")),
    *(f"conv_transpose{rank}d{part}" for rank in (1, 2)
      for part in ("", "_backward_input", "_backward_weight")),
    "depthwise_separable_conv2d", "depthwise_separable_conv2d_backward",
]  # fmt: skip


def to_device(x: np.ndarray) -> Any:
    """The array on the device, with the same strides over the same span of memory."""
    import cupy

    low, high = np.lib.array_utils.byte_bounds(x)
    memory = cupy.cuda.alloc(max(high - low, 1))
    if high > low:
        memory.copy_from_host(ctypes.c_void_p(low), high - low)
    start = x.__array_interface__["data"][0] - low
    return cupy.ndarray(x.shape, x.dtype, memory + start, x.strides)


def to_host(x: Any) -> np.ndarray:
    """The array on the host, axes in the same order in memory."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    back = np.argsort(order)
    return x.transpose(order).get().transpose(*map(int, back)) if x.ndim else x.get()


def on_cuda(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, computing on the device what it is given on the host."""
    import cupy

    @functools.wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        out = named.get("out")
        given = [*arguments, *named.values()]
        if any(isinstance(a, np.ndarray) and a.dtype == np.float64 for a in given):
            pytest.skip("float64 runs on the CPU alone")
        if any(type(a).__name__ == "PackedWeight" for a in given):
            pytest.skip("packed weights are for the CPU")

        def move(a: Any) -> Any:
            return to_device(a) if isinstance(a, np.ndarray) else a

        moved = {name: move(a) for name, a in named.items()}
        if isinstance(out, np.ndarray):
            for name, a in named.items():  # the same array stays the same
                if a is out:
                    moved[name] = moved["out"]
        results = function(*map(move, arguments), **moved)

        def bring(result: Any) -> Any:
            assert isinstance(result, cupy.ndarray), f"{function.__name__} left the device"
            if isinstance(out, np.ndarray):
                out[...] = to_host(moved["out"])
                return out
            return to_host(result)

        return tuple(map(bring, results)) if isinstance(results, tuple) else bring(results)

    return run


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `pyconv.kernels` compute on the device."""
    from pyconv import kernels

    for name in RUN_ON_CUDA:
        monkeypatch.setattr(kernels, name, on_cuda(getattr(kernels, name)))
    for name in ("algorithms", "explain"):
        ask = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, functools.partial(ask, device="cuda"))
