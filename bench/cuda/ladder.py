"""The ladders of csrc/ladder: from the first kernel that one writes to the package's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.cuda import counters
from bench.cuda.problems import Problem, image, matrix, weight
from pyconv import kernels

FOLDER = Path(__file__).resolve().parents[2] / "csrc" / "ladder"


class Step(NamedTuple):
    """A file, the threads of a block, and the results of a block: along x, along y."""

    file: str
    block: tuple[int, int]
    tile: tuple[int, int]


# In the first of each, rows and pixels are along x.
SGEMM = [
    Step("1_naive", (32, 8), (32, 8)),
    Step("2_coalesced", (32, 8), (32, 8)),
    Step("3_shared", (16, 16), (16, 16)),
    Step("4_column_of_results", (512, 1), (64, 64)),
    Step("5_square_of_results", (64, 1), (64, 64)),
    Step("6_vectors", (64, 1), (64, 64)),
    Step("7_double_buffer", (64, 1), (64, 64)),
]
CONV3X3 = [
    Step("1_naive", (32, 8), (32, 8)),
    Step("2_coalesced", (32, 8), (32, 8)),
    Step("3_implicit_product", (16, 16), (16, 16)),
    Step("4_square_of_results", (64, 1), (64, 64)),
    Step("5_offsets", (64, 1), (64, 64)),
    Step("6_vectors_and_double_buffer", (64, 1), (64, 64)),
]


@functools.cache
def _kernel(ladder: str, file: str) -> Any:
    """Compiled by CuPy, for the GPU that is there."""
    import cupy

    code = (FOLDER / ladder / f"{file}.cu").read_text("utf-8")
    return cupy.RawModule(code=code, options=("-std=c++17",)).get_function(ladder)


def _launch(ladder: str, step: Step, columns: int, rows: int, arguments: tuple[Any, ...]) -> None:
    if step.file == "1_naive":
        columns, rows = rows, columns
    grid = (columns // step.tile[0], rows // step.tile[1])
    numbers = [np.int32(a) if isinstance(a, int) else a for a in arguments]
    _kernel(ladder, step.file)(grid, step.block, tuple(numbers))


def sgemm(step: Step, a: Any, b: Any) -> Any:
    """The product by one step."""
    import cupy

    (m, k), n = a.shape, b.shape[1]
    c = cupy.empty((m, n), np.float32)
    _launch("sgemm", step, n, m, (a, b, c, m, n, k))
    return c


def conv3x3(step: Step, x: Any, w: Any) -> Any:
    """The convolution by one step; logical shapes as everywhere in the package, which lie
    channels-last in memory."""
    import cupy

    (n, c, h, width), f = x.shape, w.shape[0]
    y = cupy.empty((n, h, width, f), np.float32)
    arguments = (x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), y, n, h, width, c, f)
    _launch("conv3x3", step, f, n * h * width, arguments)
    return y.transpose(0, 3, 1, 2)


def problems() -> Iterator[tuple[str, Problem]]:
    """Each step, and the package's kernel, on one problem for each ladder."""
    a, b = matrix(128, 128), matrix(128, 128, seed=1)
    x, w = image(1, 32, 16, 16), weight(64, 32, 3, 3)
    rows: list[tuple[str, list[Step], Callable[..., Any], Any, list[np.ndarray], float]] = [
        ("sgemm", SGEMM, sgemm, kernels.gemm, [a, b], 2.0 * 128**3),
        ("conv3x3", CONV3X3, conv3x3, lambda x, w: kernels.conv2d(x, w, padding=1), [x, w],
         2.0 * 256 * 64 * 32 * 9),
    ]  # fmt: skip
    for ladder, steps, run, production, arrays, flops in rows:
        for step in steps:
            yield ladder, Problem(step.file, functools.partial(run, step), arrays, flops)
        yield ladder, Problem("the package's", production, arrays, flops)


HEAD = [
    "step", "loads coalesced", "stores coalesced", "sectors loaded a KFLOP",
    "shared accesses a KFLOP",
    "instructions a FLOP",
]  # fmt: skip


def tables(lines: Path) -> str:
    """The counters of all steps, a table a ladder."""
    from pyconv.bench import markdown

    found: dict[str, list[list[str]]] = {}
    for ladder, problem in problems():
        row = counters.count(problem, lines)
        kflops = problem.flops / 1e3
        found.setdefault(ladder, []).append(
            [
                problem.name,
                f"{row['load']:.0%}",
                f"{row['store']:.0%}",
                f"{row['sectors'] / kflops:.2f}",
                f"{row['shared'] / kflops:.2f}",
                f"{row['instructions']:.2f}",
            ]
        )
    titles = {
        "sgemm": "SGEMM, 128 × 128 × 128",
        "conv3x3": "3×3 convolution, 16 × 16 pixels, 32 channels, 64 features",
    }
    return "\n\n".join(f"{titles[k]}\n\n{markdown(HEAD, rows)}" for k, rows in found.items())
