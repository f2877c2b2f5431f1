"""Products on tensor cores: float16 and bfloat16 arrays, and float32 as TF32.

A reference of float64 gets the operands as the tensor cores see them: 16-bit numbers are what they
are, float32 is rounded to TF32 (10 bits of fraction, ties away from zero) on the host. So only sums
in float32 are left, and the rounding of a 16-bit result. Where float32 arithmetic rounds a sum, a
tensor core cuts it off: twice the factor of a direct kernel.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from backends import on_device
from tolerances import (
    EPS,
    assert_exact,
    assert_same_bits,
    assert_within,
    channels_last,
    layouts,
    random_signs,
    small_integers,
    sum_bound,
)

import pyconv
from pyconv import reference
from pyconv.kernels import convolution, dense

FLOAT32 = np.float32
FACTOR = 8.0

pytestmark = on_device


@pytest.fixture
def cupy() -> Any:
    import cupy

    return cupy


class Kind:
    """A way to compute on tensor cores: the type of the arrays, and what of it a product sees."""

    def __init__(self, name: str) -> None:
        self.tf32 = name == "tf32"
        if name == "bfloat16":
            self.dtype = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
        else:
            self.dtype = np.dtype(FLOAT32 if self.tf32 else name)
        # Half the distance of neighbours, relative; the smallest distance.
        self.unit, self.least = {
            "tf32": (0.0, 0.0), "float16": (2.0**-11, 2.0**-25), "bfloat16": (2.0**-8, 2.0**-134),
        }[name]  # fmt: skip

    def signs(self, shape: Any, rng: np.random.Generator) -> np.ndarray:
        return random_signs(shape, FLOAT32, rng).astype(self.dtype)

    def integers(self, shape: Any, rng: np.random.Generator) -> np.ndarray:
        return small_integers(shape, FLOAT32, rng).astype(self.dtype)

    def seen(self, x: np.ndarray) -> np.ndarray:
        """The operand that a product gets of `x`."""
        if not self.tf32:
            return x.astype(np.float64)
        bits = np.ascontiguousarray(x).view(np.uint32)
        return ((bits + 0x1000) & 0xFFFFE000).view(FLOAT32).astype(np.float64)

    def check(self, y: Any, expected: np.ndarray, magnitude: Any, n: int) -> None:
        y = y.get()
        assert y.dtype == self.dtype
        bound = sum_bound(FLOAT32, magnitude, n, FACTOR)
        size = np.abs(np.nan_to_num(expected, posinf=0, neginf=0))
        assert_within(y, expected, bound + self.unit * (size + bound) + self.least)

    def run(self, function: Callable[..., Any], *arrays: np.ndarray, **named: Any) -> Any:
        """The function of arrays that are brought to the device as they lie."""
        from backends import to_device

        def move(a: Any) -> Any:
            return to_device(a) if isinstance(a, np.ndarray) else a

        with pyconv.float32_precision("tf32"):
            return function(*map(move, arrays), **{k: move(v) for k, v in named.items()})


@pytest.fixture(autouse=True)
def warps() -> Iterator[None]:
    """Products of warps alone; those of warpgroups have tests of their own."""
    from pyconv import _cuda

    _cuda.choose_hopper(0, 0, 0)
    yield
    _cuda.choose_hopper(-1, 0, 0)


@pytest.fixture(params=["tf32", "float16", "bfloat16"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return Kind(request.param)


# 64x64, 256x64, 128x128, 256x128, 128x256. Small problems would have the first alone.
@pytest.fixture(params=range(5))
def tile(request: pytest.FixtureRequest) -> Iterator[int]:
    """A tile that products are cut into during the test."""
    from pyconv import _cuda

    _cuda.choose_tiles(request.param, request.param, -1)
    yield request.param
    _cuda.choose_tiles(0, 4, -1)


@pytest.fixture(params=range(1, 5))
def patches(request: pytest.FixtureRequest) -> Iterator[int]:
    """As `tile`, and convolutions read patches of the image where they can."""
    from pyconv import _cuda

    _cuda.choose_tiles(request.param, request.param, 1)
    yield request.param
    _cuda.choose_tiles(0, 4, -1)


# Tiles, workers that share their steps, whether the last of a tile adds its pieces. Of 9 tiles of 7
# or 13 steps: workers that end a tile, have a whole one and begin another; tiles of their own
# beside; several pieces of one tile; a piece for each step; equal parts.
DEALT = [(9, 4), (5, 13), (2, 9), (3, 1000), (9, 18)]


@pytest.fixture(params=[(*d, fused) for d in DEALT for fused in (False, True)], ids=str)
def dealt(request: pytest.FixtureRequest) -> Iterator[tuple[int, int, bool]]:
    """How the steps of tiles of 64x64 are dealt out during the test."""
    from pyconv import _cuda

    _cuda.choose_tiles(0, 0, -1)
    _cuda.deal_tiles(*request.param)
    yield request.param
    _cuda.deal_tiles(-1, 0, False)
    _cuda.choose_tiles(0, 4, -1)


# -- dense -----------------------------------------------------------------------------------------

# Rows, columns, depth: one by one; in pieces; sums that are cut.
PRODUCTS = [(5, 7, 9), (65, 72, 40), (16, 24, 1064)]


@pytest.mark.parametrize("size", PRODUCTS, ids=str)
@pytest.mark.parametrize("transposed", ["nn", "nt", "tn", "tt"])
def test_gemm(transposed: str, size: tuple[int, int, int], kind: Kind, rng) -> None:
    m, n, k = size
    a, b = kind.signs((m, k), rng), kind.signs((k, n), rng)
    wide = kind.seen(a), kind.seen(b)
    given = [
        np.ascontiguousarray(x.T) if t == "t" else x
        for t, x in zip(transposed, (a, b), strict=True)
    ]
    y = kind.run(
        dense.gemm, *given, transpose_a=transposed[0] == "t", transpose_b=transposed[1] == "t"
    )
    kind.check(y, wide[0] @ wide[1], k, k)  # no element is larger than 1


# Around the sizes of tiles; no, one, a few and more steps than stages; a cut sum.
TILED = [(256, 128, 64), (264, 136, 16), (130, 72, 168), (24, 16, 1064), (40, 8, 0)]


@pytest.mark.parametrize("size", TILED, ids=str)
@pytest.mark.parametrize("transposed", ["nn", "tt"])
def test_every_tile(
    transposed: str, size: tuple[int, int, int], tile: int, kind: Kind, rng
) -> None:
    test_gemm(transposed, size, kind, rng)


@pytest.mark.parametrize("columns", [7, 72])
@pytest.mark.parametrize("depth", [24, 1064])  # a sum in one part, and one that is cut
@pytest.mark.parametrize(
    "activation", [None, "relu", ("leaky_relu", 0.5), "relu6", "gelu"], ids=str
)
def test_the_last_step(activation: Any, depth: int, columns: int, kind: Kind, rng) -> None:
    a, b = kind.signs((20, depth), rng), kind.signs((depth, columns), rng)
    c = kind.signs((20, columns), rng)
    c[0, :3] = np.inf, -np.inf, np.nan
    wide = kind.seen(a), kind.seen(b)
    for bias_type in {kind.dtype, np.dtype(FLOAT32)}:
        bias = random_signs((columns,), FLOAT32, rng).astype(bias_type)
        options = dict(alpha=2.0, beta=3.0, activation=activation)
        y = kind.run(dense.gemm, a, b, c=c, bias=bias, **options)
        expected = reference.gemm(
            *wide, c=c.astype(np.float64), bias=bias.astype(np.float64), **options
        )
        # No activation changes by more than 1.13 times what its argument does; gelu does.
        kind.check(y, expected, 1.13 * (2 * depth + 3 + 1), depth + 2)


@pytest.mark.parametrize("columns", [135, 136])
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_tiles_that_are_dealt_out(
    activation: str, columns: int, dealt: tuple[int, int, bool], kind: Kind, rng
) -> None:
    depth = 200
    a, b = kind.signs((130, depth), rng), kind.signs((depth, columns), rng)
    c, bias = kind.signs((130, columns), rng), random_signs((columns,), FLOAT32, rng)
    options = dict(alpha=2.0, beta=3.0, activation=activation)
    y = kind.run(dense.gemm, a, b, c=c, bias=bias, **options)
    expected = reference.gemm(
        kind.seen(a), kind.seen(b), c=c.astype(np.float64), bias=bias.astype(np.float64), **options
    )
    kind.check(y, expected, 1.13 * (2 * depth + 3 + 1), depth + 2)
    again = kind.run(dense.gemm, a, b, c=c, bias=bias, **options)
    assert_same_bits(again.get(), y.get())


def test_pieces_are_added_in_one_order(dealt: tuple[int, int, bool], kind: Kind, rng) -> None:
    """Whoever adds them: the last block of a tile, or a kernel of its own."""
    from pyconv import _cuda

    a, b = kind.signs((130, 200), rng), kind.signs((200, 136), rng)
    y = kind.run(dense.gemm, a, b)
    _cuda.deal_tiles(*dealt[:2], not dealt[2])
    assert_same_bits(kind.run(dense.gemm, a, b).get(), y.get())


def test_dealt_tiles_in_a_graph(cupy: Any, dealt: tuple[int, int, bool], kind: Kind, rng) -> None:
    a, b = (cupy.asarray(kind.integers(shape, rng)) for shape in ((130, 200), (200, 136)))
    out = cupy.zeros((130, 136), kind.dtype)
    exact = a.get().astype(np.float64) @ b.get().astype(np.float64)
    with pyconv.float32_precision("tf32"):
        dense.gemm(a, b, out=out)  # fills the pool
        out[:] = 0
        with cupy.cuda.Stream(non_blocking=True) as stream:
            stream.begin_capture()
            dense.gemm(a, b, out=out)
            graph = stream.end_capture()
    for _ in range(2):
        graph.launch(stream)
        stream.synchronize()
        assert_exact(out.get(), exact.astype(kind.dtype))
        out[:] = 0


def test_small_integers_are_exact(kind: Kind, rng) -> None:
    a, b = kind.integers((70, 88), rng), kind.integers((88, 40), rng)
    bias = kind.integers((40,), rng)
    y = kind.run(dense.gemm, a, b, bias=bias)
    wide = [v.astype(np.float64) for v in (a, b, bias)]
    exact = wide[0] @ wide[1] + wide[2]
    assert_exact(y.get(), exact.astype(kind.dtype))


def test_matrices_as_they_lie(kind: Kind, rng) -> None:
    a, b = kind.signs((24, 32), rng), kind.signs((32, 16), rng)
    expected = kind.seen(a) @ kind.seen(b)
    for (_, left), (_, right) in zip(layouts(a), reversed(list(layouts(b))), strict=True):
        kind.check(kind.run(dense.gemm, left, right), expected, 32, 32)
    out = np.zeros((24, 33), kind.dtype)[:, 1::2]
    from backends import to_device

    taken = to_device(out)
    assert kind.run(dense.gemm, a, b, out=taken) is taken
    kind.check(taken, expected, 32, 32)


@pytest.mark.parametrize("sizes", [(9, 24, 16), (70, 10, 33)], ids=str)  # batch, in, out
def test_linear_and_its_gradients(sizes: tuple[int, int, int], kind: Kind, rng) -> None:
    n, i, o = sizes
    x, weight, dy = kind.signs((n, i), rng), kind.signs((o, i), rng), kind.signs((n, o), rng)
    bias = random_signs((o,), FLOAT32, rng)
    wx, ww, wdy = map(kind.seen, (x, weight, dy))
    y = kind.run(dense.linear, x, weight, bias, activation="relu")
    kind.check(y, np.maximum(wx @ ww.T + bias, 0), i + 1, i + 1)
    dx, dw, db = kind.run(dense.linear_backward, dy, x, weight)
    kind.check(dx, wdy @ ww, o, o)
    kind.check(dw, wdy.T @ wx, n, n)
    kind.check(db, dy.astype(np.float64).sum(0), n, n)


# -- convolution -----------------------------------------------------------------------------------

# The image, the weight, the geometry.
CONVOLUTIONS = [
    ((2, 16, 9, 7), (24, 16, 3, 3), dict(padding=1)),
    ((1, 6, 8, 9), (10, 6, 3, 3), dict(padding=1, stride=2)),  # one by one
    ((2, 48, 6, 6), (32, 24, 3, 3), dict(padding=1, groups=2)),
    ((1, 16, 7, 7), (16, 1, 3, 3), dict(padding=1, groups=16)),
    ((2, 3, 11, 10), (8, 3, 5, 5), dict(padding=2, stride=2)),  # few channels
    ((1, 16, 10, 10), (8, 16, 3, 3), dict(padding=2, dilation=2)),
    ((2, 64, 5, 6), (72, 64, 1, 1), {}),
    ((2, 40, 9, 9), (16, 40, 1, 1), dict(stride=2)),
    (
        (1, 8, 12, 9), (16, 8, 3, 2),
        dict(padding=((2, 1), (0, 1)), stride=(2, 3), dilation=(1, 2)),
    ),
    ((1, 520, 5, 5), (16, 520, 3, 3), dict(padding=1)),  # sums that are cut
    ((4, 8, 20, 21), (8, 8, 3, 3), dict(padding=1)),
]  # fmt: skip
NAMES = ["x".join(map(str, case[0] + case[1])) for case in CONVOLUTIONS]
convolutions = pytest.mark.parametrize(("x_shape", "w_shape", "geometry"), CONVOLUTIONS, ids=NAMES)


def each_pass(
    x_shape: Any, w_shape: Any, geometry: dict, kind: Kind, rng: np.random.Generator
) -> Iterator[tuple[str, tuple, dict, int]]:
    """The passes of a convolution: name, arrays, options, and the length of a sum."""
    x, weight = kind.signs(x_shape, rng), kind.signs(w_shape, rng)
    output = reference.conv2d(np.zeros(x_shape), np.zeros(w_shape), **geometry).shape
    dy = kind.signs(output, rng)
    x, dy = channels_last(x), channels_last(dy)
    taps = w_shape[2] * w_shape[3]
    geometry = dict(geometry, algorithm="direct")  # depthwise kernels have tests of their own
    yield "conv2d", (x, weight), geometry, taps * w_shape[1]
    yield (
        "conv2d_backward_input",
        (dy, weight),
        dict(geometry, input_shape=x_shape),
        taps * w_shape[0],
    )
    pixels = output[0] * output[2] * output[3]
    yield "conv2d_backward_weight", (dy, x), dict(geometry, weight_shape=w_shape), pixels


@convolutions
def test_convolution(x_shape, w_shape, geometry, kind: Kind, rng) -> None:
    for name, arrays, options, terms in each_pass(x_shape, w_shape, geometry, kind, rng):
        y = kind.run(getattr(convolution, name), *arrays, **options)
        define = functools.partial(getattr(reference, name), **options)
        wide = [kind.seen(a) for a in arrays]
        kind.check(y, define(*wide), define(*map(abs, wide)), terms)


# Patches: two or more of them in turn, halos larger than an image, asymmetric ones, cut sums. Where
# there are none (two taps, channels that are no multiple of 64 bytes, strides) tiles are right.
PATCHES = [
    ((2, 64, 9, 7), (24, 64, 3, 3), dict(padding=1)),
    ((1, 32, 24, 12), (136, 32, 3, 3), dict(padding=1)),
    ((1, 32, 6, 7), (16, 32, 5, 5), dict(padding=2)),
    ((2, 32, 5, 6), (8, 32, 3, 3), dict(padding=2, dilation=2)),
    ((3, 64, 8, 9), (64, 32, 2, 2), dict(padding=((0, 1), (1, 0)), groups=2)),
    ((2, 32, 17, 16), (16, 32, 1, 5), dict(padding=((0, 0), (2, 2)))),
    ((1, 256, 6, 6), (16, 256, 3, 3), dict(padding=1)),
    ((1, 32, 6, 6), (16, 32, 1, 2), dict(padding=((0, 0), (0, 1)))),
    ((1, 24, 6, 6), (16, 24, 3, 3), dict(padding=1)),
    ((1, 32, 6, 6), (16, 32, 3, 3), dict(padding=1, stride=2)),
]


@pytest.mark.parametrize(("x_shape", "w_shape", "geometry"), PATCHES, ids=str)
def test_patches(x_shape, w_shape, geometry, patches: int, kind: Kind, rng) -> None:
    test_convolution(x_shape, w_shape, geometry, kind, rng)


# 64x64 tiles in two groups; patches of 256 rows; the gradient of a weight, of many pixels.
DEALT_CONVOLUTIONS = [
    ((1, 96, 9, 9), (144, 48, 3, 3), dict(padding=1, groups=2), 0),
    ((3, 64, 13, 12), (72, 64, 3, 3), dict(padding=1), 1),
]


@pytest.mark.parametrize("dealt", [(9, 4, True), (5, 13, False)], indirect=True)
@pytest.mark.parametrize(("x_shape", "w_shape", "geometry", "tile"), DEALT_CONVOLUTIONS, ids=str)
def test_convolutions_that_are_dealt_out(
    x_shape, w_shape, geometry, tile, dealt: tuple[int, int, bool], kind: Kind, rng
) -> None:
    from pyconv import _cuda

    _cuda.choose_tiles(tile, tile, int(tile > 0))
    test_convolution(x_shape, w_shape, geometry, kind, rng)


@convolutions
def test_transposed_convolution(x_shape, w_shape, geometry, kind: Kind, rng) -> None:
    x, weight = kind.signs(x_shape, rng), kind.signs(w_shape, rng)
    output = reference.conv2d(np.zeros(x_shape), np.zeros(w_shape), **geometry).shape
    x = kind.signs(output, rng)
    bias = kind.signs((w_shape[1] * geometry.get("groups", 1),), rng)
    geometry = dict(geometry, algorithm="direct")
    define = functools.partial(reference.conv_transpose2d, **geometry)
    y = kind.run(convolution.conv_transpose2d, x, weight, bias, activation="relu", **geometry)
    wide, b = [kind.seen(x), kind.seen(weight)], bias.astype(np.float64)
    n = w_shape[0] * w_shape[2] * w_shape[3]
    magnitude = define(*map(abs, wide), abs(b))
    kind.check(y, define(*wide, b, activation="relu"), magnitude, n + 1)


def test_bias_residual_and_activation(kind: Kind, rng) -> None:
    x, weight = kind.signs((2, 16, 6, 5), rng), kind.signs((24, 8, 3, 3), rng)
    residual = kind.signs((2, 24, 6, 5), rng)
    wide = [kind.seen(x), kind.seen(weight)]
    options: dict[str, Any] = dict(padding=1, groups=2)
    magnitude = reference.conv2d(*map(abs, wide), **options) + 2
    for bias in (random_signs((24,), FLOAT32, rng), kind.signs((24,), rng)):
        for activation in ("relu6", "silu"):
            y = kind.run(
                convolution.conv2d, x, weight, bias, residual=residual, activation=activation,
                **options,
            )  # fmt: skip
            expected = reference.conv2d(
                *wide, bias.astype(np.float64), residual=residual.astype(np.float64),
                activation=activation, **options,
            )  # fmt: skip
            kind.check(y, expected, 1.13 * magnitude, 74)


def test_separable_convolution(kind: Kind, rng) -> None:
    x, depthwise = kind.signs((2, 16, 6, 5), rng), kind.signs((16, 1, 3, 3), rng)
    pointwise, bias = kind.signs((24, 16, 1, 1), rng), random_signs((24,), FLOAT32, rng)
    y = kind.run(convolution.depthwise_separable_conv2d, x, depthwise, pointwise, bias, padding=1)
    # Depthwise kernels see float32 as it is; the image between the two is rounded.
    wide = [x.astype(np.float64), depthwise.astype(np.float64), kind.seen(pointwise)]
    define = functools.partial(reference.depthwise_separable_conv2d, padding=1)
    magnitude = define(*map(abs, wide))
    unit = 2.0**-11 if kind.tf32 else kind.unit
    between = unit * magnitude / (FACTOR * EPS[np.dtype(FLOAT32)])
    kind.check(y, define(*wide, bias.astype(np.float64)), magnitude + 1 + between, 160)

    dy = kind.signs((2, 24, 6, 5), rng)
    got = kind.run(
        convolution.depthwise_separable_conv2d_backward, dy, x, depthwise, pointwise, padding=1
    )
    define = functools.partial(reference.depthwise_separable_conv2d_backward, padding=1)
    wide.insert(0, kind.seen(dy))
    expected, sizes = define(*wide), define(*map(abs, wide))
    for result, wanted, size in zip(got[:3], expected, sizes, strict=False):
        kind.check(result, wanted, size * (1 + unit / (FACTOR * EPS[np.dtype(FLOAT32)])), 240)
    kind.check(got[3], dy.astype(np.float64).sum((0, 2, 3)), 60, 60)


def test_any_layout_and_any_alignment(kind: Kind, rng) -> None:
    x, weight = kind.signs((2, 16, 5, 6), rng), kind.signs((8, 16, 3, 3), rng)
    expected = kind.run(convolution.conv2d, channels_last(x), weight).get()
    wide = [kind.seen(x), kind.seen(weight)]
    for (_, image), (_, filters) in zip(layouts(x), reversed(list(layouts(weight))), strict=True):
        y = kind.run(convolution.conv2d, image, filters)
        kind.check(y, reference.conv2d(*wide), reference.conv2d(*map(abs, wide)), 144)
        assert_same_bits(y.get(), expected)


def test_an_empty_batch(kind: Kind, rng) -> None:
    x, weight = np.zeros((0, 8, 5, 5), kind.dtype), kind.signs((16, 8, 3, 3), rng)
    y = kind.run(convolution.conv2d, x, weight)
    assert y.shape == (0, 16, 3, 3) and y.dtype == kind.dtype
    dy = np.zeros(y.shape, kind.dtype)
    dw = kind.run(convolution.conv2d_backward_weight, dy, x, weight_shape=weight.shape)
    assert dw.shape == weight.shape and dw.dtype == kind.dtype and not dw.get().any()
    dx = kind.run(convolution.conv2d_backward_input, dy, weight, input_shape=x.shape)
    assert dx.shape == x.shape
    db = kind.run(convolution.conv2d_backward_bias, dy)
    assert db.dtype == kind.dtype and not db.get().any()
    empty = np.zeros((4, 0), kind.dtype)
    y = kind.run(dense.linear, empty, np.zeros((3, 0), kind.dtype), np.ones(3, FLOAT32))
    assert (y.get() == 1).all()


def test_two_runs_give_the_same_bits(kind: Kind, rng) -> None:
    for case in CONVOLUTIONS[-2:]:
        for name, arrays, options, _ in each_pass(*case, kind, rng):
            first, again = (
                kind.run(getattr(convolution, name), *arrays, **options).get() for _ in range(2)
            )
            assert_same_bits(again, first)


def test_nan_and_infinity_come_through(kind: Kind) -> None:
    a, b = np.ones((3, 8), kind.dtype), np.ones((8, 8), kind.dtype)
    a[0, 3], a[1, 2] = np.nan, -np.inf
    y = kind.run(dense.gemm, a, b).get().astype(np.float64)
    assert np.isnan(y[0]).all() and (y[1] == -np.inf).all() and (y[2] == 8).all()


# -- which arithmetic ------------------------------------------------------------------------------


def test_tf32_runs_where_it_is_asked_for(cupy: Any, rng) -> None:
    a = cupy.asarray(random_signs((32, 32), FLOAT32, rng))
    exact = dense.gemm(a, a).get()
    with pyconv.float32_precision("tf32"):
        rounded = dense.gemm(a, a).get()
    assert (exact != rounded).any()
    for mode in ("strict", "float32"):
        with pyconv.float32_precision(mode):
            assert_same_bits(dense.gemm(a, a).get(), exact)
    wide = a.get().astype(np.float64)
    # Each operand is off by 2^-11 of itself at most.
    assert_within(rounded, wide @ wide, 2 * 2.0**-11 * (abs(wide) @ abs(wide)) * 1.01)


def test_the_mode_belongs_to_the_calling_thread(cupy: Any, rng) -> None:
    a = cupy.asarray(random_signs((32, 32), FLOAT32, rng))
    exact = dense.gemm(a, a).get()
    found = []
    with pyconv.float32_precision("tf32"):
        thread = threading.Thread(target=lambda: found.append(dense.gemm(a, a).get()))
        thread.start()
        thread.join()
    assert_same_bits(found[0], exact)


MIXED = [
    (dense.gemm, dict(a=(4, 4), b=(4, 4)), {}),
    (dense.linear, dict(x=(4, 4), weight=(4, 4)), {}),
    (dense.linear_backward, dict(dy=(4, 4), x=(4, 4), weight=(4, 4)), {}),
    (convolution.conv2d, dict(x=(1, 4, 4, 4), weight=(4, 4, 1, 1)), {}),
    (
        convolution.conv2d_backward_input, dict(dy=(1, 4, 4, 4), weight=(4, 4, 1, 1)),
        dict(input_shape=(1, 4, 4, 4)),
    ),
    (
        convolution.conv2d_backward_weight, dict(dy=(1, 4, 4, 4), x=(1, 4, 4, 4)),
        dict(weight_shape=(4, 4, 1, 1)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("function", "shapes", "others"), MIXED)
def test_two_types_in_one_call_are_refused(function, shapes, others, cupy: Any) -> None:
    first = next(iter(shapes))
    for name in list(shapes)[1:]:
        given = {
            k: cupy.asarray(np.ones(shape, FLOAT32 if k == name else np.float16))
            for k, shape in shapes.items()
        }
        message = f"{function.__name__}: {name} must have the dtype of {first}, float16"
        with pytest.raises(TypeError, match=message):
            function(**given, **others)


def test_a_bias_of_another_16_bit_type_is_refused(cupy: Any) -> None:
    other = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    x, bias = cupy.asarray(np.ones((4, 4), np.float16)), cupy.asarray(np.ones(4, other))
    with pytest.raises(TypeError, match="linear: bias must have the dtype of x, float16"):
        dense.linear(x, x, bias)
    wide = cupy.asarray(np.ones((4, 4), FLOAT32))
    with pytest.raises(TypeError, match="linear: bias must have the dtype of x, float32"):
        dense.linear(wide, wide, bias)
