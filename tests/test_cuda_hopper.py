"""Products by the instructions of compute capability 9.0: copies of boxes, products of warpgroups.

The reference is that of the other tensor cores (test_cuda_tensor_cores.py). float32 operands are
TF32 numbers already, so that they lose nothing; one test is about others. Small problems would be
left to the other kernels: here they are not.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from backends import MISSING
from test_cuda_tensor_cores import Kind, each_pass
from tolerances import assert_exact, assert_same_bits, assert_within, random_signs

import pyconv
from pyconv import reference
from pyconv.kernels import convolution, dense

FLOAT32 = np.float32


def what_is_missing() -> str:
    if MISSING:
        return MISSING
    if importlib.import_module("cupy").cuda.Device().compute_capability[:-1] != "9":
        return "needs a device of compute capability 9.x"
    if not importlib.import_module("pyconv._cuda").HOPPER:
        return "needs a build for sm_90a"
    return ""


pytestmark = pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing())


class ExactKind(Kind):
    """Its float32 numbers are TF32 numbers."""

    def signs(self, shape: Any, rng: np.random.Generator) -> np.ndarray:
        x = super().signs(shape, rng)
        return self.seen(x).astype(FLOAT32) if self.tf32 else x


@pytest.fixture(params=["tf32", "float16", "bfloat16"])
def kind(request: pytest.FixtureRequest) -> ExactKind:
    return ExactKind(request.param)


@contextmanager
def chosen(use: int = 1, columns: int = 0, blocks: int = 0) -> Iterator[None]:
    """Whether the kernels are used, the columns of a tile, the blocks of a grid."""
    from pyconv import _cuda

    _cuda.choose_hopper(use, columns, blocks)
    try:
        yield
    finally:
        _cuda.choose_hopper(-1, 0, 0)


@contextmanager
def launches(expected: int) -> Iterator[None]:
    from pyconv import _cuda

    before = _cuda.hopper_launches()
    yield
    assert _cuda.hopper_launches() - before == expected


# -- dense -----------------------------------------------------------------------------------------

# Rows, columns, depth: whole tiles; tails of all; a sum that is cut; more steps than stages.
PRODUCTS = [(128, 256, 64), (136, 72, 200), (8, 16, 8), (16, 264, 712), (264, 24, 72)]


@pytest.mark.parametrize("columns", [64, 128, 256])
@pytest.mark.parametrize("size", PRODUCTS, ids=str)
@pytest.mark.parametrize("transposed", ["nn", "nt", "tn"])
def test_gemm(transposed: str, size: Any, columns: int, kind: ExactKind, rng) -> None:
    m, n, k = size
    a, b = kind.signs((m, k), rng), kind.signs((k, n), rng)
    wide = kind.seen(a) @ kind.seen(b)
    a, b = (
        np.ascontiguousarray(x.T) if t == "t" else x
        for t, x in zip(transposed, (a, b), strict=True)
    )
    options = dict(transpose_a=transposed[0] == "t", transpose_b=transposed[1] == "t")
    # One block: all tiles, and all stages many times.
    for blocks in (0, 1):
        with chosen(columns=columns, blocks=blocks), launches(not kind.tf32 or transposed != "tn"):
            y = kind.run(dense.gemm, a, b, **options)
        kind.check(y, wide, k, k)  # no element is larger than 1


@pytest.mark.parametrize("depth", [24, 1064])  # a sum in one part, and one that is cut
@pytest.mark.parametrize("activation", [None, "relu", ("leaky_relu", 0.5), "gelu"], ids=str)
def test_the_last_step(activation: Any, depth: int, kind: ExactKind, rng) -> None:
    a, b = kind.signs((20, depth), rng), kind.signs((depth, 72), rng)
    c = kind.signs((20, 72), rng)
    c[0, :3] = np.inf, -np.inf, np.nan
    for bias_type in {kind.dtype, np.dtype(FLOAT32)}:
        bias = random_signs((72,), FLOAT32, rng).astype(bias_type)
        options = dict(alpha=2.0, beta=3.0, activation=activation)
        with chosen(), launches(1):
            y = kind.run(dense.gemm, a, b, c=c, bias=bias, **options)
        expected = reference.gemm(
            kind.seen(a), kind.seen(b), c=c.astype(np.float64), bias=bias.astype(np.float64),
            **options,
        )  # fmt: skip
        # No activation changes by more than 1.13 times what its argument does; gelu does.
        kind.check(y, expected, 1.13 * (2 * depth + 3 + 1), depth + 2)


def test_small_integers_are_exact(kind: ExactKind, rng) -> None:
    a, b = kind.integers((72, 88), rng), kind.integers((88, 40), rng)
    bias = kind.integers((40,), rng)
    with chosen(), launches(1):
        y = kind.run(dense.gemm, a, b, bias=bias)
    wide = [v.astype(np.float64) for v in (a, b, bias)]
    assert_exact(y.get(), (wide[0] @ wide[1] + wide[2]).astype(kind.dtype))


def test_tf32_of_float32(rng) -> None:
    kind = Kind("tf32")
    a, b = kind.signs((72, 40), rng), kind.signs((40, 24), rng)
    with chosen(), launches(1):
        y = kind.run(dense.gemm, a, b).get()
    wide = a.astype(np.float64), b.astype(np.float64)
    # The device rounds the left operand, or cuts it off: less than 2^-10 of itself is lost.
    bound = (2.0**-10 + 2.0**-11) * 1.001 * (abs(wide[0]) @ abs(wide[1]))
    assert_within(y, wide[0] @ wide[1], bound)
    # The right one is rounded as it is turned: what is cut off would be 2^-10.
    ones, above = np.ones((8, 40), FLOAT32), np.full((40, 8), 1 + 2.0**-10 - 2.0**-23, FLOAT32)
    with chosen(), launches(1):
        y = kind.run(dense.gemm, ones, above).get()
    assert_exact(y, np.full((8, 8), 40 * (1 + 2.0**-10)))


def test_boxes_end_with_the_grid(rng) -> None:
    kind = ExactKind("float16")
    x, dy = kind.integers((1, 64, 1, 66), rng), kind.integers((1, 8, 1, 65), rng)
    x[..., 65] = np.inf  # the first tap sees it from no pixel of the grid
    with chosen(), launches(1):
        dw = kind.run(convolution.conv2d_backward_weight, dy, x, weight_shape=(8, 64, 1, 2)).get()
    exact = dy[0, :, 0].astype(np.float64) @ x[0, :, 0, :65].astype(np.float64).T
    assert_exact(np.ascontiguousarray(dw[:, :, 0, 0]), exact.astype(np.float16))


def test_nan_and_infinity_stay_in_their_row(kind: ExactKind) -> None:
    a, b = np.ones((136, 72), kind.dtype), np.ones((72, 72), kind.dtype)
    a[0, 71], a[135, 2], b[71, 71] = np.nan, -np.inf, np.inf
    with chosen(columns=64), launches(1):
        y = kind.run(dense.gemm, a, b).get().astype(np.float64)
    assert np.isnan(y[0]).all() and (y[135, :71] == -np.inf).all() and np.isnan(y[135, 71])
    assert (y[1:135, :71] == 72).all() and (y[1:135, 71] == np.inf).all()


# -- convolution -----------------------------------------------------------------------------------

# The image, the weight, the geometry.
CONVOLUTIONS = [
    ((2, 64, 9, 7), (24, 64, 3, 3), dict(padding=1)),
    ((1, 72, 12, 13), (40, 72, 3, 3), dict(padding=1, stride=2)),
    ((1, 8, 10, 23), (16, 8, 3, 3), dict(padding=2, dilation=2)),
    ((1, 16, 17, 18), (8, 16, 3, 3), {}),
    ((3, 40, 14, 14), (72, 40, 1, 1), {}),
    ((2, 40, 9, 9), (16, 40, 1, 1), dict(stride=2)),
    (
        (1, 8, 12, 9), (16, 8, 3, 2),
        dict(padding=((2, 1), (0, 1)), stride=(2, 3), dilation=(1, 2)),
    ),
    ((19, 24, 3, 5), (16, 24, 3, 3), dict(padding=1)),  # several images in a box
    ((1, 16, 3, 140), (136, 16, 1, 3), dict(padding=((0, 0), (1, 1)))),
    ((7, 64, 13, 5), (24, 64, 3, 3), dict(padding=1, stride=2)),
    ((2, 128, 8, 16), (72, 128, 1, 1), {}),
    ((5, 64, 4, 12), (8, 64, 3, 2), dict(padding=1, dilation=2)),
]  # fmt: skip
NAMES = ["x".join(map(str, case[0] + case[1])) for case in CONVOLUTIONS]
convolutions = pytest.mark.parametrize(("x_shape", "w_shape", "geometry"), CONVOLUTIONS, ids=NAMES)


def phases(w_shape: Any, stride: Any = 1, dilation: Any = 1, **_: Any) -> int:
    """The phases of a stride that have taps: as many products has the gradient of the image."""
    count = 1
    for kernel, s, d in zip(
        w_shape[2:], np.broadcast_to(stride, 2), np.broadcast_to(dilation, 2), strict=True
    ):
        count *= len({tap * d % s for tap in range(kernel)})
    return count


@convolutions
def test_convolution(x_shape, w_shape, geometry, kind: ExactKind, rng) -> None:
    for name, arrays, options, terms in each_pass(x_shape, w_shape, geometry, kind, rng):
        count = 1
        if name == "conv2d_backward_input":
            count = phases(w_shape, **geometry)
        elif name == "conv2d_backward_weight":  # 64 channels of a tap are half a tile
            in_halves = w_shape[1] % 64 == 0 or w_shape[2:] == (1, 1)
            count = int(in_halves and not kind.tf32)
        with chosen(), launches(count):
            y = kind.run(getattr(convolution, name), *arrays, **options)
        define = functools.partial(getattr(reference, name), **options)
        wide = [kind.seen(a) for a in arrays]
        kind.check(y, define(*wide), define(*map(abs, wide)), terms)


def test_bias_residual_and_activation(kind: ExactKind, rng) -> None:
    x, weight = kind.signs((2, 16, 6, 5), rng), kind.signs((24, 16, 3, 3), rng)
    residual, bias = kind.signs((2, 24, 6, 5), rng), random_signs((24,), FLOAT32, rng)
    wide = [kind.seen(x), kind.seen(weight)]
    magnitude = reference.conv2d(*map(abs, wide), padding=1) + 2
    for activation in ("relu", "silu"):
        with chosen(), launches(1):
            y = kind.run(
                convolution.conv2d, x, weight, bias, residual=residual, activation=activation,
                padding=1,
            )  # fmt: skip
        expected = reference.conv2d(
            *wide, bias.astype(np.float64), residual=residual.astype(np.float64),
            activation=activation, padding=1,
        )  # fmt: skip
        kind.check(y, expected, 1.13 * magnitude, 146)


# -- the grid, and what is refused -----------------------------------------------------------------


def test_the_grid_changes_no_bit(kind: ExactKind, rng) -> None:
    a, b = kind.signs((1048, 40), rng), kind.signs((40, 136), rng)  # more than a band of tiles
    x, weight = kind.signs((2, 136, 9, 7), rng), kind.signs((72, 136, 3, 3), rng)
    runs = [(dense.gemm, (a, b), {}), (convolution.conv2d, (x, weight), dict(padding=1))]
    if not kind.tf32:
        runs.append((dense.gemm, (np.ascontiguousarray(a.T), b), dict(transpose_a=True)))
    for function, given, options in runs:
        found = []
        for blocks in (0, 0, 1, 2, 5):
            with chosen(columns=64, blocks=blocks), launches(1):
                found.append(kind.run(function, *given, **options).get())
        for again in found[1:]:
            assert_same_bits(again, found[0])


def test_products_can_be_captured(kind: ExactKind, rng) -> None:
    import cupy

    a, b = (cupy.asarray(kind.integers((40, 40), rng)) for _ in range(2))
    out = cupy.zeros((40, 40), kind.dtype)
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with chosen(), launches(1), pyconv.float32_precision("tf32"), stream:
        stream.begin_capture()
        dense.gemm(a, b, out=out, transpose_b=True)
        graph = stream.end_capture()
    assert not out.get().any()
    graph.launch(stream)
    stream.synchronize()
    exact = a.get().astype(np.float64) @ b.get().astype(np.float64).T
    assert_exact(out.get(), exact.astype(kind.dtype))


REFUSED = [
    (dense.gemm, [(16, 10), (10, 16)], {}),  # lines that don't begin at multiples of 16 bytes
    (dense.gemm, [(16, 0), (0, 16)], {}),
    (convolution.conv2d, [(1, 6, 5, 5), (8, 6, 3, 3)], {}),
    (convolution.conv2d, [(1, 16, 5, 5), (16, 8, 3, 3)], dict(groups=2)),
    (convolution.conv2d, [(1, 8, 20, 20), (8, 8, 1, 1)], dict(stride=9)),
]  # fmt: skip


@pytest.mark.parametrize(("function", "shapes", "options"), REFUSED)
def test_what_is_refused_runs_elsewhere(function, shapes, options, kind, rng) -> None:
    given = [kind.integers(shape, rng) for shape in shapes]
    wide = [x.astype(np.float64) for x in given]
    expected = getattr(reference, function.__name__)(*wide, **options).astype(kind.dtype)
    with chosen(), launches(0):
        assert_exact(kind.run(function, *given, **options).get(), expected)


def test_float32_is_exact_where_tf32_is_not_asked_for(rng) -> None:
    import cupy

    a = cupy.asarray(random_signs((64, 64), FLOAT32, rng))
    with chosen(), launches(0):
        dense.gemm(a, a)


def test_only_large_products_by_themselves(rng) -> None:
    kind = ExactKind("float16")
    for size, count in ((248, 0), (256, 1)):  # 2^24 products and more
        a, b = kind.integers((size, size), rng), kind.integers((size, size), rng)
        with launches(count):
            y = kind.run(dense.gemm, a, b)
        exact = a.astype(np.float64) @ b.astype(np.float64)
        assert_exact(y.get(), exact.astype(np.float16))
    with chosen(use=0), launches(0):
        kind.run(dense.gemm, a, b)
