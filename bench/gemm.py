"""Matrix products, against NumPy's OpenBLAS and PyTorch."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import conductor, document
from pyconv import bench, kernels

# M, N, K.
SQUARES = (64, 128, 256, 512, 768, 1024, 1536, 2048)
SHAPES = [(n, n, n) for n in SQUARES] + [
    (128, 10, 512), (256, 10, 4096), (1, 1000, 4096), (1, 4096, 4096), (8, 1024, 1024),
    (3136, 64, 576), (64, 3136, 576), (512, 49, 4608), (128, 512, 784), (128, 1000, 4096),
]  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m bench gemm``."""
    conductor.add_running(parser, 0.3)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    import pyconv

    pyconv.set_num_threads(arguments.threads)
    burst, peak = bench.Burst(), conductor.measured_peak(arguments.threads)
    rows = []
    for m, n, k in SHAPES:
        runs = {
            name: (lambda repeats, call=call: bench.seconds_of(call, repeats))
            for name, call in competitors(m, n, k, arguments.threads).items()
        }
        times = {
            name: t.median for name, t in bench.measure(runs, arguments.seconds, burst).items()
        }
        flops = 2.0 * m * n * k
        best = min(t for name, t in times.items() if name != "pyconv")
        shares = [f"{100 * flops / t / peak:.0f}" for t in times.values()]
        rows.append([f"{m} x {n} x {k}", *shares, f"{best / times['pyconv']:.2f}"])
        print("  ".join(rows[-1]), flush=True)
    head = conductor.caption(arguments, peak, [], "gemm")
    table = bench.markdown(["M x N x K", *times, "ratio"], rows)
    text = f"{head} Percent of the peak; ratios to the best of the others.\n\n{table}"
    print(f"\n{text}")
    if arguments.write:
        document.write("gemm", text, f"# Matrix products\n\n{text}")
    return 0


def competitors(m: int, n: int, k: int, threads: int) -> dict[str, Callable[[], Any]]:
    """All write into memory that is there; OPENBLAS_NUM_THREADS holds NumPy to one thread."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, np.float32) for shape in ((m, k), (k, n)))
    out = np.empty((m, n), np.float32)
    found: dict[str, Callable[[], Any]] = {
        "pyconv": lambda: kernels.gemm(a, b, out=out),
        "NumPy": lambda: np.matmul(a, b, out=out),
    }
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
        tensors = [torch.from_numpy(array) for array in (a, b, out)]
        found["PyTorch"] = lambda: torch.mm(tensors[0], tensors[1], out=tensors[2])
    return found
