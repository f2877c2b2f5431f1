"""pyconv against PyTorch and NumPy on one thread: every layer of three networks, forward and
backward, matrix products, and what is bound by memory. Writes a table."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pyconv
from pyconv import bench, kernels

Call = Callable[[], Any]
RESULTS = Path(__file__).parent / "results" / "floor.md"


def aligned(x: np.ndarray) -> np.ndarray:
    """A copy whose memory begins at a line of the cache, as the results of both peers do."""
    memory = np.empty(x.nbytes + 64, np.uint8)
    first = -memory.ctypes.data % 64
    result = memory[first : first + x.nbytes].view(x.dtype).reshape(x.shape)
    result[...] = x
    return result


def channels_last(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    n, c, h, w = shape
    return aligned(rng.standard_normal((n, h, w, c), np.float32)).transpose(0, 3, 1, 2)


def parameter(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    out, per_group, kh, kw = shape
    return aligned(rng.standard_normal((kh, kw, per_group, out), np.float32)).transpose(3, 2, 0, 1)


def both_layouts(*arrays: np.ndarray) -> Iterator[tuple[str, list[torch.Tensor]]]:
    tensors = [torch.from_numpy(np.ascontiguousarray(a)) for a in arrays]
    yield "torch", tensors
    last = [t.to(memory_format=torch.channels_last) if t.ndim == 4 else t for t in tensors]
    yield "torch channels-last", last


def convolution(p: bench.Convolution, batch: int) -> Iterator[tuple[str, dict[str, Call]]]:
    rng = np.random.default_rng(0)
    x = channels_last(p.input_shape(batch), rng)
    dy = channels_last(p.output_shape(batch), rng)
    weight = parameter(p.weight_shape, rng)
    g = p.geometry
    forward: dict[str, Call] = {"pyconv": lambda: kernels.conv2d(x, weight, **g)}
    data: dict[str, Call] = {
        "pyconv": lambda: kernels.conv2d_backward_input(dy, weight, x.shape, **g)
    }
    gradient: dict[str, Call] = {
        "pyconv": lambda: kernels.conv2d_backward_weight(dy, x, weight.shape, **g)
    }
    geometry = ([p.stride] * 2, [p.padding] * 2, [p.dilation] * 2, False, [0, 0], p.groups)
    backward = torch.ops.aten.convolution_backward
    for name, (tx, tw, tdy) in both_layouts(x, weight, dy):
        forward[name] = lambda tx=tx, tw=tw: torch.conv2d(
            tx, tw, None, p.stride, p.padding, p.dilation, p.groups
        )
        data[name] = lambda tx=tx, tw=tw, tdy=tdy: backward(
            tdy, tx, tw, None, *geometry, [True, False, False]
        )
        gradient[name] = lambda tx=tx, tw=tw, tdy=tdy: backward(
            tdy, tx, tw, None, *geometry, [False, True, False]
        )
    yield "forward", forward
    yield "backward data", data
    yield "backward weight", gradient


def gemm(n: int) -> dict[str, Call]:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((n, n), np.float32) for _ in range(2))
    out = np.empty((n, n), np.float32)
    return {
        "pyconv": lambda: kernels.gemm(a, b, out=out),
        "numpy": lambda: np.matmul(a, b, out=out),
    }


def memory_bound(batch: int) -> Iterator[tuple[str, dict[str, Call]]]:
    F = torch.nn.functional
    rng = np.random.default_rng(0)
    shape = (batch, 64, 112, 112)
    x, dy = channels_last(shape, rng), channels_last(shape, rng)
    small = channels_last((batch, 64, 56, 56), rng)
    gamma, beta = np.ones(64, np.float32), np.zeros(64, np.float32)
    mean, var = np.zeros(64, np.float32), np.ones(64, np.float32)
    y_max, index = kernels.max_pool2d(x, 3, 2, 1)
    y_relu = kernels.relu(x)

    def torch_pool(tx: torch.Tensor) -> Any:
        return torch.ops.aten.max_pool2d_with_indices(tx, [3, 3], [2, 2], [1, 1])

    calls: dict[str, tuple[Call, Callable[..., Any], list[np.ndarray]]] = {
        "max pool 3x3 s2": (lambda: kernels.max_pool2d(x, 3, 2, 1), torch_pool, [x]),
        "avg pool 2x2 s2": (
            lambda: kernels.avg_pool2d(x, 2),
            lambda tx: F.avg_pool2d(tx, 2),
            [x],
        ),
        "avg pool 2x2 s2 backward": (
            lambda: kernels.avg_pool2d_backward(small, shape, 2),
            lambda tdy, tx: torch.ops.aten.avg_pool2d_backward(
                tdy, tx, [2, 2], [2, 2], [0, 0], False, True, None
            ),
            [small, x],
        ),
        "adaptive avg pool to 1": (
            lambda: kernels.adaptive_avg_pool2d(x, 1),
            lambda tx: F.adaptive_avg_pool2d(tx, 1),
            [x],
        ),
        "batch norm training": (
            lambda: kernels.batch_norm_training(x, gamma, beta),
            lambda tx, tg, tb: torch.ops.aten.native_batch_norm(
                tx, tg, tb, None, None, True, 0.1, 1e-5
            ),
            [x, gamma, beta],
        ),
        "batch norm inference": (
            lambda: kernels.batch_norm_inference(x, gamma, beta, mean, var),
            lambda tx, tg, tb, tm, tv: F.batch_norm(tx, tm, tv, tg, tb),
            [x, gamma, beta, mean, var],
        ),
        "batch norm backward": (
            lambda: kernels.batch_norm_backward(dy, x, gamma, mean, var),
            lambda tdy, tx, tg, tm, tv: torch.ops.aten.native_batch_norm_backward(
                tdy, tx, tg, None, None, tm, tv, True, 1e-5, [True, True, True]
            ),
            [dy, x, gamma, mean, var],
        ),
        "relu": (lambda: kernels.relu(x), torch.relu, [x]),
        "relu backward": (
            lambda: kernels.relu_backward(dy, x),
            lambda tdy, ty: torch.ops.aten.threshold_backward(tdy, ty, 0),
            [dy, y_relu],
        ),
        "sigmoid": (lambda: kernels.sigmoid(x), torch.sigmoid, [x]),
        "tanh": (lambda: kernels.tanh(x), torch.tanh, [x]),
        "silu": (lambda: kernels.silu(x), F.silu, [x]),
        "gelu": (lambda: kernels.gelu(x), F.gelu, [x]),
        "leaky relu": (lambda: kernels.leaky_relu(x), F.leaky_relu, [x]),
        "dropout": (
            lambda: kernels.dropout(x, 0.5, 1),
            lambda tx: torch.ops.aten.native_dropout(tx, 0.5, True),
            [x],
        ),
        "upsample nearest 2": (
            lambda: kernels.upsample2d(small, 2),
            lambda tx: F.interpolate(tx, scale_factor=2),
            [small],
        ),
        "upsample bilinear 2": (
            lambda: kernels.upsample2d(small, 2, "bilinear"),
            lambda tx: F.interpolate(tx, scale_factor=2, mode="bilinear"),
            [small],
        ),
        "reflection pad 3": (
            lambda: kernels.pad2d(small, 3, "reflect"),
            lambda tx: F.pad(tx, (3, 3, 3, 3), mode="reflect"),
            [small],
        ),
        "instance norm": (
            lambda: kernels.instance_norm(small, gamma, beta),
            lambda tx, tg, tb: F.instance_norm(tx, weight=tg, bias=tb),
            [small, gamma, beta],
        ),
    }
    for name, (ours, theirs, arrays) in calls.items():
        competitors: dict[str, Call] = {"pyconv": ours}
        for layout, tensors in both_layouts(*arrays):
            competitors[layout] = lambda theirs=theirs, tensors=tensors: theirs(*tensors)
        yield name, competitors
    competitors = {"pyconv": lambda: kernels.max_pool2d_backward(y_max, index, shape, 3, 2, 1)}
    for layout, (tx,) in both_layouts(x):
        ty, ti = torch_pool(tx)
        competitors[layout] = lambda tx=tx, ty=ty, ti=ti: (
            torch.ops.aten.max_pool2d_with_indices_backward(
                ty, tx, [3, 3], [2, 2], [1, 1], [1, 1], False, ti
            )
        )
    yield "max pool 3x3 s2 backward", competitors
    rows = rng.standard_normal((1024, 1000), np.float32)
    trows = torch.from_numpy(rows)
    yield (
        "softmax 1024x1000",
        {
            "pyconv": lambda: kernels.softmax(rows),
            "torch": lambda: torch.softmax(trows, -1),
        },
    )
    parameters, gradients, first, second = (
        [parameter((256, 256, 3, 3), rng) for _ in range(8)] for _ in range(4)
    )
    second = [np.abs(a) for a in second]
    tensors = [[torch.from_numpy(np.ascontiguousarray(a)) for a in group]
               for group in (parameters, gradients, first, second)]  # fmt: skip
    steps = [torch.tensor(3.0) for _ in parameters]
    yield "sgd momentum", {
        "pyconv": lambda: kernels.sgd_step(parameters, gradients, first, lr=1e-9, momentum=0.9),
        "torch": lambda: torch.optim._functional.sgd(
            tensors[0], tensors[1], list(tensors[2]), weight_decay=0.0, momentum=0.9, lr=1e-9,
            dampening=0.0, nesterov=False, maximize=False, has_sparse_grad=False, foreach=False,
            fused=True, grad_scale=None, found_inf=None,
        ),
    }  # fmt: skip
    yield "adam", {
        "pyconv": lambda: kernels.adam_step(parameters, gradients, first, second, 3, lr=1e-9),
        "torch": lambda: torch._fused_adam_(
            *tensors, [], steps, lr=1e-9, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8,
            amsgrad=False, maximize=False,
        ),
    }  # fmt: skip


def ratio(times: dict[str, float]) -> float:
    """How much faster pyconv is than the best of the others."""
    return min(value for name, value in times.items() if name != "pyconv") / times["pyconv"]


class Table:
    """Rows of a Markdown table, printed as they come."""

    def __init__(self, title: str, *columns: str) -> None:
        self.lines = [f"## {title}", "", "| " + " | ".join(columns) + " |"]
        self.lines.append("|---" + "|---:" * (len(columns) - 1) + "|")
        print("\n".join(self.lines), flush=True)

    def row(self, *cells: str) -> None:
        self.lines.append("| " + " | ".join(cells) + " |")
        print(self.lines[-1], flush=True)

    def text(self, line: str) -> None:
        self.lines += ["", line]
        print(f"\n{line}\n", flush=True)


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["convolution", "gemm", "memory"])
    parser.add_argument("--suite", choices=bench.suites(), action="append")
    parser.add_argument("--pass", dest="passes", action="append",
                        choices=["forward", "backward data", "backward weight"])  # fmt: skip
    parser.add_argument("--batch", type=int, action="append", help="default: 1 and 8")
    parser.add_argument("--seconds", type=float, default=0.15, help="for each figure")
    parser.add_argument("--below", type=float, default=math.inf, help="print only rows below")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    pyconv.set_num_threads(1)
    torch.set_num_threads(1)
    info = pyconv.info()
    head = [
        "# pyconv against PyTorch and NumPy, one thread",
        "",
        f"{info['processor']}, {info['isa']}, {info['compiler']}; PyTorch {torch.__version__}, "
        f"NumPy {np.__version__}. Written by `bench/floor.py`. Ratios of medians, float32: above "
        "1, pyconv is faster than the better of PyTorch's two layouts.",
        "",
    ]
    tables: list[Table] = []
    peak = bench.peak_flops()
    if options.only in (None, "convolution"):
        for name in options.suite or bench.suites():
            for batch in options.batch or [1, 8]:
                table = Table(
                    f"{name}, batch {batch}",
                    "layer", "forward", "% of peak", "backward data", "% of peak",
                    "backward weight", "% of peak",
                )  # fmt: skip
                tables.append(table)
                every: dict[str, list[float]] = {}
                for problem in bench.suite(name):
                    cells, worst = [str(problem)], math.inf
                    for kind, competitors in convolution(problem, batch):
                        if options.passes and kind not in options.passes:
                            cells += ["", ""]
                            continue
                        times = bench.compare(competitors, options.seconds)
                        value = ratio(times)
                        worst = min(worst, value)
                        every.setdefault(kind, []).append(value)
                        share = problem.flops(batch) / times["pyconv"] / peak
                        cells += [f"{value:.2f}", f"{100 * share:.0f}"]
                    if worst < options.below:
                        table.row(*cells)
                for kind, values in every.items():
                    table.text(
                        f"{kind}: least {min(values):.2f}, geometric mean "
                        f"{geometric_mean(values):.2f}"
                    )
    if options.only in (None, "gemm"):
        table = Table("Matrix products against NumPy's OpenBLAS", "n", "ratio", "% of peak")
        tables.append(table)
        for n in (64, 128, 256, 512, 768, 1024, 1536, 2048):
            times = bench.compare(gemm(n), options.seconds * 2)
            table.row(str(n), f"{ratio(times):.2f}",
                      f"{100 * 2.0 * n**3 / times['pyconv'] / peak:.0f}")  # fmt: skip
    if options.only in (None, "memory"):
        for batch in options.batch or [1, 8]:
            table = Table(f"Pooling, norms, elementwise; batch {batch}", "operation", "ratio")
            tables.append(table)
            for name, competitors in memory_bound(batch):
                value = ratio(bench.compare(competitors, options.seconds))
                if value < options.below:
                    table.row(name, f"{value:.2f}")
    if options.write:
        text = "\n".join(head) + "\n\n".join("\n".join(t.lines) for t in tables) + "\n"
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
