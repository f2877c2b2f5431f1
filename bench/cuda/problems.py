"""What is measured: calls on arrays, the same for NumPy's, CuPy's and PyTorch's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pyconv import kernels as k

DTYPES = ("float32", "tf32", "float16", "bfloat16")
# Of the largest result: rounding of what is stored, or of the factors, and of sums in float32.
ALLOWED = {"float32": 2e-5, "tf32": 2e-3, "float16": 2e-3, "bfloat16": 1.6e-2}


@dataclasses.dataclass
class Problem:
    """One call.

    Attributes
    ----------
    name : str
    call : callable
        Of the arrays, by `pyconv.kernels`; returns the results, or None where it changes the first
        arrays in place.
    arrays : list of ndarray
        On the host, of float32 or int64.
    flops : float
        0 where memory bounds it.
    twice : int
        How many of the first arrays have to be read twice; the others once.
    torch : callable or None
        The same for PyTorch's tensors; its in-place functions for what changes in place.
    dtype : str
        The type in which images and weights are stored, or tf32.
    changed : int
        How many of the first arrays it changes in place.
    """

    name: str
    call: Callable[..., Any]
    arrays: list[np.ndarray]
    flops: float = 0.0
    twice: int = 0
    torch: Callable[..., Any] | None = None
    dtype: str = "float32"
    changed: int = 0


def image(n: int, c: int, h: int, w: int, seed: int = 0) -> np.ndarray:
    """Random numbers, channels-last in memory."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, h, w, c), np.float32).transpose(0, 3, 1, 2)


def weight(out: int, per_group: int, kh: int, kw: int) -> np.ndarray:
    """Random numbers, in the kernels' order in memory."""
    rng = np.random.default_rng(1)
    values = rng.standard_normal((kh, kw, per_group, out), np.float32)
    return (values / np.float32(np.sqrt(per_group * kh * kw))).transpose(3, 2, 0, 1)


def matrix(*shape: int, seed: int = 0) -> np.ndarray:
    """Random numbers."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def problems(small: bool) -> Iterator[Problem]:
    """All; the small ones can be run by an emulator."""
    yield from products(small)
    yield from convolutions(small)
    yield from memory_bound(small)


def products(small: bool) -> Iterator[Problem]:
    """Matrix products."""
    n = 256 if small else 4096
    shapes = [(n, n, n), (n, n // 8 + 5, 77)] if small else [(n, n, n), (512, 1000, 2048)]
    for dtype in DTYPES:
        for m, columns, depth in shapes:
            for turned in ("nn", "nt", "tn", "tt") if (dtype, m) == ("float32", n) else ("nn",):
                a = matrix(*((depth, m) if turned[0] == "t" else (m, depth)))
                b = matrix(*((columns, depth) if turned[1] == "t" else (depth, columns)), seed=1)
                ta, tb = turned[0] == "t", turned[1] == "t"
                yield Problem(
                    f"gemm {turned} {m}x{columns}x{depth} {dtype}",
                    lambda a, b, ta=ta, tb=tb: k.gemm(a, b, transpose_a=ta, transpose_b=tb),
                    [a, b],
                    2.0 * m * columns * depth,
                    torch=lambda a, b, ta=ta, tb=tb: (a.T if ta else a) @ (b.T if tb else b),
                    dtype=dtype,
                )


# batch, channels, size, kernels, kernel size, options.
LAYERS: dict[str, tuple[int, int, int, int, int, dict[str, Any]]] = {
    "7x7/2": (32, 3, 224, 64, 7, dict(stride=2, padding=3)),
    "1x1": (32, 256, 56, 64, 1, {}),
    "1x1 wide": (32, 512, 14, 2048, 1, {}),
    "3x3": (32, 64, 56, 64, 3, dict(padding=1)),
    "3x3 deep": (32, 256, 14, 256, 3, dict(padding=1)),
    "3x3 by winograd4": (32, 64, 56, 64, 3, dict(padding=1, algorithm="winograd4")),
    "3x3 by winograd2": (32, 64, 56, 64, 3, dict(padding=1, algorithm="winograd2")),
    "3x3/2": (32, 128, 56, 128, 3, dict(stride=2, padding=1)),
    "3x3 dilated": (32, 64, 28, 64, 3, dict(padding=2, dilation=2)),
    "3x3 of 32 groups": (32, 256, 28, 256, 3, dict(padding=1, groups=32)),
    "depthwise 3x3": (32, 144, 56, 144, 3, dict(padding=1)),
    "depthwise 3x3/2": (32, 144, 56, 144, 3, dict(stride=2, padding=1)),
    "depthwise 5x5": (32, 240, 28, 240, 5, dict(padding=2)),
}
SMALL: dict[str, tuple[int, int, int, int, int]] = {
    "7x7/2": (1, 3, 32, 32, 7),
    "1x1": (1, 128, 16, 64, 1),
    "1x1 wide": (1, 64, 7, 256, 1),
    "3x3": (1, 32, 16, 64, 3),
    "3x3 deep": (1, 128, 7, 64, 3),
    "3x3 by winograd4": (2, 32, 16, 64, 3),
    "3x3 by winograd2": (2, 32, 16, 64, 3),
    "3x3/2": (1, 32, 16, 64, 3),
    "3x3 dilated": (1, 32, 12, 32, 3),
    "3x3 of 32 groups": (1, 256, 7, 256, 3),
    "depthwise 3x3": (2, 64, 16, 64, 3),
    "depthwise 3x3/2": (2, 64, 16, 64, 3),
    "depthwise 5x5": (2, 64, 12, 64, 5),
}


def convolutions(small: bool) -> Iterator[Problem]:
    """Layers, forward and backward."""
    for name, (*full, given) in LAYERS.items():
        n, c, size, out, kernel = SMALL[name] if small else full
        options = {**given, "groups": c} if name.startswith("depthwise") else given
        groups = options.get("groups", 1)
        x, w = image(n, c, size, size), weight(out, c // groups, kernel, kernel)
        stride, padding = options.get("stride", 1), options.get("padding", 0)
        side = (size + 2 * padding - options.get("dilation", 1) * (kernel - 1) - 1) // stride + 1
        dy = image(n, out, side, side, seed=2)
        flops = 2.0 * n * side * side * out * c // groups * kernel * kernel
        for dtype in DTYPES:
            if dtype == "tf32" and groups > 1 or dtype != "float32" and "algorithm" in options:
                continue
            for direction in _directions(x, w, dy, options):
                call, arrays, torch = direction[1:]
                yield Problem(
                    f"conv {direction[0]} {name} {n}x{c}x{size}x{size} {dtype}",
                    call, arrays, 0.0 if groups == c else flops, torch=torch, dtype=dtype,
                )  # fmt: skip


def _directions(
    x: np.ndarray, w: np.ndarray, dy: np.ndarray, options: dict[str, Any]
) -> Iterator[tuple[str, Any, list[np.ndarray], Any]]:
    """Name, call, arrays and PyTorch's call of the three passes."""
    geometry = [
        (options.get("stride", 1),) * 2, (options.get("padding", 0),) * 2,
        (options.get("dilation", 1),) * 2, False, (0, 0), options.get("groups", 1),
    ]  # fmt: skip

    torch_options = {name: value for name, value in options.items() if name != "algorithm"}

    def forward(x: Any, w: Any) -> Any:
        import torch

        return torch.nn.functional.conv2d(x, w, **torch_options)

    def data(dy: Any, w: Any) -> Any:
        import torch

        x_ = torch.empty(x.shape, dtype=w.dtype, device=w.device).to(
            memory_format=torch.channels_last
        )
        wanted = [True, False, False]
        return torch.ops.aten.convolution_backward(dy, x_, w, None, *geometry, wanted)[0]

    def weights(dy: Any, x: Any) -> Any:
        import torch

        w_ = torch.empty(w.shape, dtype=x.dtype, device=x.device)
        wanted = [False, True, False]
        return torch.ops.aten.convolution_backward(dy, x, w_, None, *geometry, wanted)[1]

    yield "forward", lambda x, w: k.conv2d(x, w, **options), [x, w], forward
    yield (
        "data", lambda dy, w: k.conv2d_backward_input(dy, w, x.shape, **options), [dy, w], data,
    )  # fmt: skip
    yield (
        "weight", lambda dy, x: k.conv2d_backward_weight(dy, x, w.shape, **options), [dy, x],
        weights,
    )  # fmt: skip


def memory_bound(small: bool) -> Iterator[Problem]:
    """Pooling, norms, elementwise operations, losses, optimizers."""
    n, c, size = (2, 32, 16) if small else (32, 64, 112)
    x, dy = image(n, c, size, size), image(n, c, size, size, seed=1)
    half = image(n, c, size // 2, size // 2, seed=2)
    double = image(n, c, 2 * size, 2 * size, seed=2)
    pixel = image(n, c, 1, 1, seed=2)
    channel = matrix(c) ** 2 + 1
    rows = matrix(64 if small else 8192, 100 if small else 1000)
    classes = np.arange(len(rows)) % rows.shape[1]
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    probabilities = k.softmax(rows)
    mask = k.dropout(x, 0.5, 1)[1]
    indices = k.max_pool2d(x, 2)[1]
    weights = [matrix(*shape) for shape in ((64, 64, 3, 3), (256, 64), (1000,), (7,))]
    if not small:
        weights *= 40

    for dtype in ("float32", "float16", "bfloat16"):

        def of(name: str, call: Any, arrays: Any, dtype: str = dtype, **more: Any) -> Problem:
            return Problem(f"{name} {dtype}", call, list(arrays), dtype=dtype, **more)

        yield of("relu", k.relu, [x], torch=_torch("relu"))
        yield of("relu_backward", k.relu_backward, [dy, x])
        yield of("gelu", k.gelu, [x], torch=_torch("gelu"))
        yield of("gelu_backward", k.gelu_backward, [dy, x])
        yield of("softmax", k.softmax, [rows], torch=_torch("softmax", dim=-1))
        yield of(
            "softmax of channels", lambda x: k.softmax(x, 1), [x], torch=_torch("softmax", dim=1)
        )
        yield of("log_softmax_backward", k.log_softmax_backward, [rows, probabilities])
        yield of("dropout", lambda x: k.dropout(x, 0.5, 1), [x])
        yield of("dropout_backward", lambda dy, mask: k.dropout_backward(dy, mask, 0.5), [dy, mask])
        yield of(
            "batch_norm_training, relu",
            lambda x, g, b: k.batch_norm_training(x, g, b, activation="relu"),
            [x, channel, mean], twice=1,
            torch=lambda x, g, b: _torch("batch_norm", training=True)(x, None, None, g, b),
        )  # fmt: skip
        yield of("batch_norm_inference", k.batch_norm_inference, [x, channel, mean, mean, var])
        yield of(
            "batch_norm_backward",
            lambda dy, x, g, m, v: k.batch_norm_backward(dy, x, g, m, v),
            [dy, x, channel, mean, var], twice=2,
        )  # fmt: skip
        yield of("instance_norm", k.instance_norm, [x, channel, mean], twice=1)
        yield of(
            "max_pool2d",
            lambda x: k.max_pool2d(x, 2),
            [x],
            torch=_torch("max_pool2d", kernel_size=2),
        )
        yield of(
            "max_pool2d 3x3/2", lambda x: k.max_pool2d(x, 3, 2, 1), [x],
            torch=_torch("max_pool2d", kernel_size=3, stride=2, padding=1),
        )  # fmt: skip
        yield of(
            "max_pool2d_backward",
            lambda dy, i: k.max_pool2d_backward(dy, i, x.shape, 2),
            [half, indices],
        )
        yield of(
            "avg_pool2d",
            lambda x: k.avg_pool2d(x, 2),
            [x],
            torch=_torch("avg_pool2d", kernel_size=2),
        )
        yield of("avg_pool2d_backward", lambda dy: k.avg_pool2d_backward(dy, x.shape, 2), [half])
        yield of(
            "adaptive_avg_pool2d to 1", lambda x: k.adaptive_avg_pool2d(x, 1), [x],
            torch=_torch("adaptive_avg_pool2d", output_size=1),
        )  # fmt: skip
        yield of(
            "adaptive_avg_pool2d_backward",
            lambda dy: k.adaptive_avg_pool2d_backward(dy, x.shape),
            [pixel],
        )
        for mode in ("nearest", "bilinear"):
            yield of(
                f"upsample2d {mode}", lambda x, mode=mode: k.upsample2d(x, 2, mode=mode), [half],
                torch=_torch("interpolate", scale_factor=2, mode=mode),
            )  # fmt: skip
            yield of(
                f"upsample2d_backward {mode}",
                lambda dy, mode=mode: k.upsample2d_backward(dy, x.shape, 2, mode=mode),
                [double],
            )
        yield of("pad2d", lambda x: k.pad2d(x, 1), [x], torch=_torch("pad", pad=(1, 1, 1, 1)))
        yield of("conv2d_backward_bias", k.conv2d_backward_bias, [dy])
    yield Problem(
        "cross_entropy float32", k.cross_entropy, [rows, classes], torch=_torch("cross_entropy")
    )
    yield Problem(
        "cross_entropy_backward float32", k.cross_entropy_backward, [probabilities, classes]
    )
    yield Problem("grad_norm float32", lambda *g: k.grad_norm(list(g)), weights)
    count = len(weights)
    yield Problem(
        "sgd_step float32",
        lambda *a: k.sgd_step(
            list(a[:count]), list(a[2 * count :]), list(a[count : 2 * count]), lr=0.1, momentum=0.9
        ),
        weights * 3, changed=2 * count,
    )  # fmt: skip
    yield Problem(
        "adam_step float32",
        lambda *a: k.adam_step(
            list(a[:count]), list(a[3 * count :]), list(a[count : 2 * count]),
            list(a[2 * count : 3 * count]), 1, lr=0.1,
        ),
        [*weights, *weights, *(abs(w) for w in weights), *weights], changed=3 * count,
    )  # fmt: skip


def _torch(name: str, **options: Any) -> Callable[..., Any]:
    """A function of torch.nn.functional."""

    def call(*arrays: Any) -> Any:
        import torch

        return getattr(torch.nn.functional, name)(*arrays, **options)

    return call
