"""What is bound by memory, against PyTorch: pooling, norms, elementwise operations, optimizers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from bench import conductor, document
from bench.document import geometric_mean
from pyconv import bench, kernels

Call = Callable[[], Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m bench memory``."""
    conductor.add_running(parser, 0.15)
    parser.add_argument("--batch", type=int, action="append", help="default: 1 and 8")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    import pyconv

    pyconv.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    burst, peak = bench.Burst(), conductor.measured_peak(arguments.threads)
    batches = arguments.batch or [1, 8]
    ratios: dict[str, list[float]] = {}
    for batch in batches:
        for name, competitors in memory_bound(batch):
            ratios.setdefault(name, []).append(ratio(competitors, arguments.seconds, burst))
            print(f"{name}, batch {batch}: {ratios[name][-1]:.2f}", flush=True)
    rows = [[name, *(f"{r:.2f}" for r in found)] for name, found in ratios.items()]
    means = [geometric_mean(column) for column in zip(*ratios.values(), strict=True)]
    rows.append(["all", *(f"{m:.2f}" for m in means)])
    head = conductor.caption(arguments, peak, [], "memory")
    table = bench.markdown(["operation", *(f"batch {n}" for n in batches)], rows)
    text = (
        f"{head} PyTorch {torch.__version__}. Maps of 64 channels, 112 x 112; ratios to PyTorch's "
        f"better layout, above 1 pyconv is faster.\n\n{table}"
    )
    print(f"\n{text}")
    if arguments.write:
        document.write("memory", text, f"# Bound by memory\n\n{text}")
    return 0


def ratio(competitors: dict[str, Call], seconds: float, burst: bench.Burst) -> float:
    """How much faster pyconv is than the best of the others."""
    runs = {
        name: (lambda repeats, call=call: bench.seconds_of(call, repeats))
        for name, call in competitors.items()
    }
    times = {n: t.median for n, t in bench.measure(runs, seconds, burst).items()}
    return min(value for name, value in times.items() if name != "pyconv") / times["pyconv"]


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
