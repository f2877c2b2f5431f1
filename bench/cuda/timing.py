"""Errors and times of problems on a device."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

import pyconv
from bench.cuda.problems import ALLOWED, Problem

# By compute capability: FMAs of float32, and of 16-bit types on tensor cores, that a
# multiprocessor does in a clock (CUDA programming guide, and NVIDIA's papers on the
# architectures). TF32 is half of the latter.
_FMAS = {
    (8, 0): (64, 1024), (8, 6): (128, 512), (8, 9): (128, 512), (9, 0): (128, 2048),
    (10, 0): (128, 4096), (12, 0): (128, 512),
}  # fmt: skip


def measure(problem: Problem, seconds: float) -> dict[str, Any]:
    """Error against the CPU and, unless `seconds` is 0, times."""
    import cupy

    row: dict[str, Any] = {"problem": problem.name, "allowed": ALLOWED[problem.dtype]}
    try:
        row["error"] = _error(problem)
    except TypeError as error:  # an operation or type that isn't there
        return {**row, "error": np.inf, "message": str(error)}
    if not seconds:
        return row
    arrays = on_device(problem)
    moved = _bytes(problem, arrays)
    with _precision(problem):
        row["seconds"] = _seconds(lambda: problem.call(*arrays), seconds)
        if problem.torch is not None and importlib.util.find_spec("torch"):
            row["torch"] = _torch_seconds(problem, arrays, seconds)
    row["tflops"] = problem.flops / row["seconds"] / 1e12
    row["gbytes"] = moved / row["seconds"] / 1e9
    flops, bandwidth = roofline(cupy.cuda.Device(), problem.dtype)
    least = max(problem.flops / flops, moved / bandwidth)
    row["roofline"] = least / row["seconds"]
    return row


def line(row: dict[str, Any]) -> str:
    """A row in words."""
    text = f"{row['problem']:52} error {row['error']:.1e}"
    if "message" in row:
        return f"{text}  {row['message']}"
    if "seconds" not in row:
        return text
    text += (
        f"  {row['seconds'] * 1e3:8.3f} ms {row['tflops']:6.1f} TFLOP/s {row['gbytes']:6.0f} GB/s"
        f" {100 * row['roofline']:4.0f} % of the roofline"
    )
    if "torch" in row:
        text += f"  {row['torch'] / row['seconds']:.2f} x PyTorch"
    return text


def on_device(problem: Problem) -> list[Any]:
    """Its arrays there, images and weights in its type, in the same order in memory."""
    import cupy

    dtype = "float32" if problem.dtype == "tf32" else problem.dtype
    result = []
    for array in problem.arrays:
        narrow = array.dtype == np.float32 and array.ndim > 1 and dtype != "float32"
        axes = np.argsort([-s for s in array.strides], kind="stable") if array.ndim else ()
        back = tuple(map(int, np.argsort(axes)))
        dense = np.ascontiguousarray(array.transpose(axes))
        there = cupy.asarray(dense)
        if narrow:
            there = there.astype(_dtype(dtype))
        result.append(there.transpose(back))
    return result


def _dtype(name: str) -> Any:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _precision(problem: Problem) -> Any:
    mode = "tf32" if problem.dtype == "tf32" else pyconv.get_float32_precision()
    return pyconv.float32_precision(mode)


def results(problem: Problem, arrays: list[Any]) -> list[Any]:
    """What the call returns or changes, as a list of arrays."""
    with _precision(problem):
        found = problem.call(*arrays)
    if problem.changed:
        return arrays[: problem.changed]
    return list(found) if isinstance(found, tuple) else [found]


def _error(problem: Problem) -> float:
    """The largest difference to the CPU's direct kernels, relative to the largest result."""
    arrays = on_device(problem)
    rounded = [a.get().astype(np.float32) if a.dtype.kind in "fV" else a.get() for a in arrays]
    actual = results(problem, arrays)
    with pyconv.float32_precision("strict"):
        expected = problem.call(*rounded)
    if problem.changed:
        expected = tuple(rounded[: problem.changed])
    worst = 0.0
    for e, a in zip(expected if isinstance(expected, tuple) else (expected,), actual, strict=True):
        e, a = np.asarray(e, np.float64), a.get().astype(np.float64)
        if e.size:
            worst = max(worst, float(np.abs(a - e).max() / max(np.abs(e).max(), 1e-30)))
    return worst


def _bytes(problem: Problem, arrays: list[Any]) -> float:
    """What its passes have to read and write."""
    written = sum(a.nbytes for a in results(problem, arrays))
    read = sum(a.nbytes for a in (*arrays, *arrays[: problem.twice]))
    return float(read + written)


def _seconds(call: Callable[[], Any], seconds: float) -> float:
    """The median, the second-level cache flushed before each call."""
    import cupy

    flush = cupy.empty(2 * cupy.cuda.Device().attributes["L2CacheSize"] + (64 << 20), np.uint8)
    times: list[float] = []
    for _ in range(3):
        call()
    while len(times) < 5 or (sum(times) < seconds and len(times) < 1000):
        flush.fill(len(times) % 200)
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) / 1e3)
    return float(np.median(times))


def _torch_seconds(problem: Problem, arrays: list[Any], seconds: float) -> float:
    import cupy
    import torch

    torch.backends.cuda.matmul.allow_tf32 = problem.dtype == "tf32"
    torch.backends.cudnn.allow_tf32 = problem.dtype == "tf32"
    torch.backends.cudnn.benchmark = True
    tensors = [torch.from_dlpack(a) for a in arrays]
    call = problem.torch
    assert call is not None
    with torch.no_grad(), cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
        return _seconds(lambda: call(*tensors), seconds)


def roofline(device: Any, dtype: str) -> tuple[float, float]:
    """FLOP/s and bytes/s of a card, from its clocks."""
    attributes = device.attributes
    capability = tuple(map(int, (device.compute_capability[:-1], device.compute_capability[-1])))
    known = [c for c in _FMAS if c <= capability] or [min(_FMAS)]
    plain, tensor = _FMAS[max(known)]
    fmas = {"float32": plain, "tf32": tensor // 2}.get(dtype, tensor)
    clock = attributes["ClockRate"] * 1e3
    width = attributes["GlobalMemoryBusWidth"] / 8
    bandwidth = 2 * attributes["MemoryClockRate"] * 1e3 * width
    return 2.0 * fmas * attributes["MultiProcessorCount"] * clock, bandwidth
