"""The tests of `pyconv.kernels` on CuPy arrays: ``pytest --backend cuda``.

The tests are written for NumPy. Here every function of `pyconv.kernels` that runs on CUDA is
replaced by one that copies NumPy's arrays to the device as they lie in memory, calls it, and brings
the results back as they lie. So tests, shapes, references and bad input are the same on both.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def what_is_missing() -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cupy = importlib.import_module("cupy")
    except ImportError:
        return "needs CuPy: pip install cupy-cuda13x, or cupy-cuda12x"
    try:
        importlib.import_module("pyconv._cuda")
    except ImportError as error:
        return f"needs pyconv built with -C cmake.define.PYCONV_CUDA=ON ({error})"
    try:
        if cupy.cuda.runtime.getDeviceCount() > 0:
            return ""
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"needs a GPU and NVIDIA's driver ({error})"
    return "needs a GPU"


MISSING = what_is_missing()
on_device = pytest.mark.skipif(bool(MISSING), reason=MISSING)


RUN_ON_CUDA = [
    "gemm", "linear", "linear_backward",
    *(f"conv{rank}d{part}" for rank in (1, 2)
      for part in ("", "_backward_input", "_backward_weight", "_backward_bias")),
    *(f"conv_transpose{rank}d{part}" for rank in (1, 2)
      for part in ("", "_backward_input", "_backward_weight")),
    "depthwise_separable_conv2d", "depthwise_separable_conv2d_backward",
    "dropout", "dropout_backward", "grad_norm", "sgd_step", "adam_step",
    *(f"{name}{part}" for part in ("", "_backward") for name in (
        "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "softmax", "log_softmax",
        "cross_entropy")),
    "batch_norm_training", "batch_norm_inference", "batch_norm_backward", "instance_norm",
    "instance_norm_backward",
    *(f"{pool}_pool{rank}d{part}" for pool in ("max", "avg", "adaptive_avg") for rank in (1, 2)
      for part in ("", "_backward")),
    "upsample2d", "upsample2d_backward", "pad2d", "pad2d_backward",
]  # fmt: skip
IN_PLACE = ["sgd_step", "adam_step"]
ASKED = ["algorithms", "explain"]

ALIGNMENT = 16  # bytes, of the widest access

# What messages say on the CPU (a pattern), and what they say on CUDA instead.
WORDS = (
    ("must be float32 or float64", "must be float32(, float16 or bfloat16)? on (CUDA|cuda)"),
    ("must have the dtype of.*", "must be float32.* on CUDA, got float64"),
    ("CUDA only", "must (have the dtype of|be float32 on CUDA, got float16)"),
    ("(out|targets) must be a NumPy array", r"\1 must be a CuPy array"),
    ("must be writable", "must not be a broadcast array"),  # none is read-only on a device
)


def words(function: str, message: str) -> str:
    """The message (a pattern) in the words that it has on CUDA."""
    if function in (*RUN_ON_CUDA, *ASKED):
        for on_cpu, on_device in WORDS:
            message = re.sub(on_cpu, on_device, message)
    return message


def to_device(x: np.ndarray) -> Any:
    """The array on the device, with the same strides and alignment over the same span of memory."""
    import cupy

    low, high = np.lib.array_utils.byte_bounds(x)
    memory = cupy.cuda.alloc(max(high - low, 1) + ALIGNMENT) + low % ALIGNMENT
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
        moved: dict[int, tuple[np.ndarray, Any]] = {}  # the same array stays the same

        def move(a: Any) -> Any:
            if isinstance(a, list):
                return [move(item) for item in a]
            if not isinstance(a, np.ndarray):
                return a
            return moved.setdefault(id(a), (a, to_device(a)))[1]

        results = function(*map(move, arguments), **{name: move(a) for name, a in named.items()})
        if function.__name__ in IN_PLACE:
            for a, on_device in moved.values():
                if a.flags.writeable:
                    a[...] = to_host(on_device)
        if results is None or not moved:
            return results

        def bring(result: Any) -> Any:
            assert isinstance(result, cupy.ndarray), f"{function.__name__} left the device"
            if isinstance(out, np.ndarray):
                out[...] = to_host(move(out))
                return out
            return to_host(result)

        return tuple(map(bring, results)) if isinstance(results, tuple) else bring(results)

    return run


def install(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    """Make `pyconv.kernels` compute on the device, during a test of a module."""
    from pyconv import kernels

    if hasattr(module, "DTYPES"):
        monkeypatch.setattr(module, "DTYPES", (np.float32,))

    for name in RUN_ON_CUDA:
        monkeypatch.setattr(kernels, name, on_cuda(getattr(kernels, name)))
    for name in ASKED:
        ask = getattr(kernels, name)
        monkeypatch.setattr(kernels, name, functools.partial(ask, device="cuda"))
