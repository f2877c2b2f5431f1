"""Images stored in 16 bits on CUDA: every function against the float64 reference on what is stored.

The sums are those of float32, and are rounded once, when they are stored.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from backends import MISSING, to_device, to_host
from tolerances import (
    assert_exact,
    assert_same_bits,
    assert_within,
    random_signs,
    small_integers,
    sum_bound,
)

from pyconv import kernels, reference

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

Array = np.ndarray
# What rounding to nearest errs by: relative to the result, and where that is denormal.
ROUNDING = {"float16": (2.0**-11, 2.0**-25), "bfloat16": (2.0**-8, 2.0**-134)}
WIDTHS = {"float16": 8, "bfloat16": 8, "float32": 4}  # channels of 16 bytes


@pytest.fixture(params=["float16", "bfloat16"])
def storage(request: pytest.FixtureRequest) -> np.dtype:
    if request.param == "bfloat16":
        return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    return np.dtype(request.param)


def stored(x: Array, dtype: np.dtype) -> tuple[Any, Array]:
    """The array as it is stored on the device, channels-last, and its values in float64."""
    rounded = x.astype(dtype)
    memory = np.ascontiguousarray(np.moveaxis(rounded, 1, -1))
    return to_device(np.moveaxis(memory, -1, 1)), rounded.astype(np.float64)


def assert_rounded(actual: Any, expected: Array, magnitude: Array, n: int) -> None:
    """Within a rounding to the storage type of a float32 sum of n products."""
    of_the_sum = sum_bound(np.float32, magnitude, n)
    relative, smallest = ROUNDING[actual.dtype.name]
    bound = of_the_sum + relative * (abs(expected) + of_the_sum) + smallest
    assert_within(to_host(actual).astype(np.float64), expected, bound)


# -- pools -----------------------------------------------------------------------------------------

CHANNELS = [1, 3, 12, 16]
# kernel_size, stride, padding, dilation, ceil_mode
WINDOWS: list[tuple[Any, ...]] = [
    (2, 2, 0, 1, False), (3, 2, 1, 1, True), (2, (1, 2), 1, (2, 3), False), ((6, 7), 3, 0, 1, False)
]  # fmt: skip
SIZE = (7, 9)


@pytest.mark.parametrize("window", WINDOWS)
def test_max_pool(window: Any, storage: np.dtype, rng: np.random.Generator) -> None:
    for c in CHANNELS:
        values = small_integers((2, c, *SIZE), np.float32, rng, -9, 9)
        values[rng.random(values.shape) < 0.02] = np.nan
        x, wide = stored(values, storage)
        for activation in (None, "relu"):
            y, indices = kernels.max_pool2d(x, *window, activation=activation)
            expected, places = reference.max_pool2d(wide, *window, activation=activation)
            assert y.dtype == storage
            assert_exact(to_host(y), expected)
            assert_same_bits(to_host(indices), places)
        dy, wide = stored(small_integers(expected.shape, np.float32, rng), storage)
        for kind in (np.int32, np.int64):
            dx = kernels.max_pool2d_backward(dy, indices.astype(kind), x.shape, *window)
            assert dx.dtype == storage
            wanted = reference.max_pool2d_backward(wide, places, x.shape, *window)
            assert_exact(to_host(dx), wanted)


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("window", [(*w[:3], w[4]) for w in WINDOWS if w[3] == 1])
def test_avg_pool(window: Any, include: bool, storage: np.dtype, rng: np.random.Generator) -> None:
    for c in CHANNELS:
        x, wide = stored(random_signs((2, c, *SIZE), np.float32, rng), storage)
        y = kernels.avg_pool2d(x, *window, include)
        expected, magnitude = (reference.avg_pool2d(v, *window, include) for v in (wide, abs(wide)))
        assert_rounded(y, expected, magnitude, 42)
        dy, wide = stored(random_signs(y.shape, np.float32, rng), storage)
        dx = kernels.avg_pool2d_backward(dy, x.shape, *window, include)
        expected, magnitude = (
            reference.avg_pool2d_backward(v, x.shape, *window, include) for v in (wide, abs(wide))
        )
        assert_rounded(dx, expected, magnitude, 42)


# The second has windows that several blocks share.
@pytest.mark.parametrize("size, outputs", [(SIZE, (3, 5)), ((61, 67), (1, 1)), (SIZE, (9, 10))])
def test_adaptive_avg_pool(
    size: Any, outputs: Any, storage: np.dtype, rng: np.random.Generator
) -> None:
    for c in CHANNELS:
        x, wide = stored(random_signs((2, c, *size), np.float32, rng), storage)
        y = kernels.adaptive_avg_pool2d(x, outputs)
        expected, magnitude = (reference.adaptive_avg_pool2d(v, outputs) for v in (wide, abs(wide)))
        assert_rounded(y, expected, magnitude, size[0] * size[1])
        dy, wide = stored(random_signs(y.shape, np.float32, rng), storage)
        dx = kernels.adaptive_avg_pool2d_backward(dy, x.shape)
        expected, magnitude = (
            reference.adaptive_avg_pool2d_backward(v, x.shape) for v in (wide, abs(wide))
        )
        assert_rounded(dx, expected, magnitude, 100)


def test_pools_of_sequences(storage: np.dtype, rng: np.random.Generator) -> None:
    x, wide = stored(small_integers((2, 8, 21), np.float32, rng), storage)
    y, indices = kernels.max_pool1d(x, 3, 2, 1)
    expected, places = reference.max_pool1d(wide, 3, 2, 1)
    assert_exact(to_host(y), expected)
    assert_same_bits(to_host(indices), places)
    dx = kernels.max_pool1d_backward(y, indices, x.shape, 3, 2, 1)
    assert_exact(to_host(dx), reference.max_pool1d_backward(expected, places, x.shape, 3, 2, 1))
    y = kernels.avg_pool1d(x, 4)  # sums of eighths
    assert_exact(to_host(y), reference.avg_pool1d(wide, 4))
    wide = to_host(y).astype(np.float64)
    dx = kernels.avg_pool1d_backward(y, x.shape, 4)
    assert_exact(to_host(dx), reference.avg_pool1d_backward(wide, x.shape, 4))
    y = kernels.adaptive_avg_pool1d(x, 5)
    wide = to_host(x).astype(np.float64)
    expected = reference.adaptive_avg_pool1d(wide, 5)
    assert_rounded(y, expected, reference.adaptive_avg_pool1d(abs(wide), 5), 6)
    wide = to_host(y).astype(np.float64)
    dx = kernels.adaptive_avg_pool1d_backward(y, x.shape)
    expected, magnitude = (
        reference.adaptive_avg_pool1d_backward(v, x.shape) for v in (wide, abs(wide))
    )
    assert_rounded(dx, expected, magnitude, 4)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_wide_indices(dtype: str, relu: bool, rng: np.random.Generator) -> None:
    """As for planes of 2^31 cells, which are too large to test."""
    cuda = importlib.import_module("pyconv._cuda")
    for c in (5, 16):
        for window in WINDOWS:
            x, wide = stored(small_integers((2, c, *SIZE), dtype, rng, -9, 5), np.dtype(dtype))
            code = kernels.pooling._Windows("f", SIZE, *window).code
            y, indices = cuda.max_pool(x, code, True, True, relu)
            assert indices.dtype == np.int64
            expected, places = reference.max_pool2d(
                wide, *window, activation="relu" if relu else None
            )
            assert_exact(to_host(y), expected)
            assert_exact(to_host(indices), places)


# -- resampling ------------------------------------------------------------------------------------

RESIZES: list[dict[str, Any]] = [
    dict(scale=2), dict(scale=(1.7, 0.5)), dict(size=(5, 20)), dict(size=(8, 3)),
]  # fmt: skip


@pytest.mark.parametrize("how", RESIZES)
def test_nearest(how: Any, storage: np.dtype, rng: np.random.Generator) -> None:
    for c in CHANNELS:
        x, wide = stored(random_signs((2, c, *SIZE), np.float32, rng), storage)
        y = kernels.upsample2d(x, **how)
        assert_exact(to_host(y), reference.upsample2d(wide, **how))
        dy, wide = stored(small_integers(y.shape, np.float32, rng), storage)
        dx = kernels.upsample2d_backward(dy, x.shape, **how)
        assert_exact(to_host(dx), reference.upsample2d_backward(wide, x.shape, **how))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("how", RESIZES)
def test_bilinear(how: Any, align: bool, storage: np.dtype, rng: np.random.Generator) -> None:
    how = dict(**how, mode="bilinear", align_corners=align)
    for c in CHANNELS:
        x, wide = stored(random_signs((2, c, *SIZE), np.float32, rng), storage)
        y = kernels.upsample2d(x, **how)
        expected, magnitude = (reference.upsample2d(v, **how) for v in (wide, abs(wide)))
        assert_rounded(y, expected, magnitude, 4)
        dy, wide = stored(random_signs(y.shape, np.float32, rng), storage)
        dx = kernels.upsample2d_backward(dy, x.shape, **how)
        expected, magnitude = (
            reference.upsample2d_backward(v, x.shape, **how) for v in (wide, abs(wide))
        )
        assert_rounded(dx, expected, magnitude, 24)


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("padding", [1, ((0, 4), (6, 0))])
def test_pad(padding: Any, mode: str, storage: np.dtype, rng: np.random.Generator) -> None:
    for c in CHANNELS:
        x, wide = stored(random_signs((2, c, *SIZE), np.float32, rng), storage)
        y = kernels.pad2d(x, padding, mode)
        assert_exact(to_host(y), reference.pad2d(wide, padding, mode))
        dy, wide = stored(small_integers(y.shape, np.float32, rng), storage)
        dx = kernels.pad2d_backward(dy, x.shape, padding, mode)
        assert_exact(to_host(dx), reference.pad2d_backward(wide, x.shape, padding, mode))


# -- depthwise convolutions ------------------------------------------------------------------------

# channels, size, kernel, stride, padding (top, bottom, left, right), dilation
DEPTHWISE: list[tuple[Any, ...]] = [
    (16, (7, 10), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    (24, (8, 9), (3, 3), (2, 2), (0, 1, 1, 1), (1, 1)),
    (8, (9, 7), (5, 5), (1, 1), (2, 2, 2, 2), (1, 1)),
    (8, (9, 13), (5, 5), (2, 2), (2, 1, 1, 2), (1, 1)),
    (16, (9, 9), (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    (7, (8, 9), (3, 3), (1, 2), (1, 1, 0, 1), (1, 1)),
    (16, (6, 9), (2, 4), (1, 3), (0, 1, 2, 1), (1, 2)),
]


@pytest.mark.parametrize("activation", [None, "relu6", "silu"])
@pytest.mark.parametrize("problem", DEPTHWISE, ids=str)
def test_depthwise(
    problem: Any, activation: Any, storage: np.dtype, rng: np.random.Generator
) -> None:
    c, size, kernel, stride, pads, dilation = problem
    cuda = importlib.import_module("pyconv._cuda")
    geometry = dict(
        stride=stride, padding=((pads[0], pads[1]), (pads[2], pads[3])), dilation=dilation, groups=c
    )
    code = (*stride, *pads, *dilation, c)
    taps = kernel[0] * kernel[1]
    x, wide_x = stored(random_signs((2, c, *size), np.float32, rng), storage)
    rounded = random_signs((c, 1, *kernel), np.float32, rng).astype(storage)
    weight, wide_weight = to_device(rounded), rounded.astype(np.float64)
    bias = random_signs((c,), np.float32, rng)
    number = kernels._checks.activation("f", activation)
    expected = reference.conv2d(wide_x, wide_weight, **geometry)
    residual, wide_residual = stored(random_signs(expected.shape, np.float32, rng), storage)
    magnitude = reference.conv2d(abs(wide_x), abs(wide_weight), **geometry) + 2
    expected = reference.conv2d(
        wide_x, wide_weight, bias.astype(np.float64), residual=wide_residual,
        activation=activation, **geometry,
    )  # fmt: skip
    for given in (bias, None):
        if given is None:  # in the type of the images
            rounded = bias.astype(storage)
            expected = reference.conv2d(
                wide_x, wide_weight, rounded.astype(np.float64), residual=wide_residual,
                activation=activation, **geometry,
            )  # fmt: skip
            given = rounded
        y = cuda.conv2d(
            x, weight, None, to_device(given), residual, code, *number, "depthwise", None
        )
        assert y.dtype == storage
        # No activation is steeper than 1.1, or in float32 further off than 8 eps of its result.
        assert_rounded(y, expected, 2 * magnitude, taps + 2)
    dy, wide_dy = stored(random_signs(expected.shape, np.float32, rng), storage)
    dx = cuda.conv2d_backward_input(dy, weight, None, x.shape, code, 0, 0.0, "depthwise", None)
    expected, magnitude = (
        reference.conv2d_backward_input(a, b, x.shape, **geometry)
        for a, b in ((wide_dy, wide_weight), (abs(wide_dy), abs(wide_weight)))
    )
    assert_rounded(dx, expected, magnitude, taps)
    dw = cuda.conv2d_backward_weight(dy, x, weight.shape, code, "depthwise", None)
    expected, magnitude = (
        reference.conv2d_backward_weight(a, b, weight.shape, **geometry)
        for a, b in ((wide_dy, wide_x), (abs(wide_dy), abs(wide_x)))
    )
    assert_rounded(dw.transpose(3, 2, 0, 1), expected, magnitude, dy.size // c)


# -- what all of them have in common ---------------------------------------------------------------


def calls() -> list[Callable[..., Any]]:
    """Every function that takes out=, as one of images of (2, 16, 6, 8) alone."""
    shape = (2, 16, 12, 16)
    first = 32 * np.arange(6, dtype=np.int32)[:, None] + 2 * np.arange(8, dtype=np.int32)
    won = to_device(np.ascontiguousarray(np.broadcast_to(first, (2, 16, 6, 8))))
    return [
        lambda a, **out: kernels.max_pool2d_backward(a, won, shape, 2, **out),
        lambda a, **out: kernels.avg_pool2d(a, 3, 2, 1, **out),
        lambda a, **out: kernels.avg_pool2d_backward(a, shape, 2, **out),
        lambda a, **out: kernels.adaptive_avg_pool2d(a, (3, 5), **out),
        lambda a, **out: kernels.adaptive_avg_pool2d(a, 1, **out),
        lambda a, **out: kernels.adaptive_avg_pool2d_backward(a, shape, **out),
        lambda a, **out: kernels.upsample2d(a, 1.5, "bilinear", **out),
        lambda a, **out: kernels.upsample2d_backward(a, shape, 0.5, **out),
        lambda a, **out: kernels.pad2d(a, 1, "reflect", **out),
        lambda a, **out: kernels.pad2d_backward(a, (2, 16, 4, 6), 1, "reflect", **out),
    ]


@pytest.fixture(params=["float32", "float16"])
def image(request: pytest.FixtureRequest, rng: np.random.Generator) -> Any:
    x = random_signs((2, 16, 6, 8), np.float32, rng)
    return stored(x, np.dtype(request.param))[0]


def test_addresses_between_those_of_16_bytes(image: Any) -> None:
    """Elements are read one by one then, with the same results."""
    cupy = importlib.import_module("cupy")
    memory = cupy.zeros(image.size + 1, image.dtype)[1:].reshape(2, 6, 8, 16)
    shifted = memory.transpose(0, 3, 1, 2)
    shifted[...] = image
    for f in calls():
        assert_same_bits(to_host(f(shifted)), to_host(f(image)))
    y, indices = kernels.max_pool2d(shifted, 3, 2, 1)
    expected, places = kernels.max_pool2d(image, 3, 2, 1)
    assert_same_bits(to_host(y), to_host(expected))
    assert_same_bits(to_host(indices), to_host(places))


def test_out_may_not_overlap_an_input(image: Any) -> None:
    cupy = importlib.import_module("cupy")
    for f in calls():
        expected = f(image)
        buffer = cupy.zeros(max(image.size, expected.size), image.dtype)
        out = buffer[: expected.size].reshape(expected.shape)
        with pytest.raises(ValueError, match="out must not overlap an input"):
            f(buffer[: image.size].reshape(image.shape), out=out)


def test_numpy_and_cupy_in_one_call_are_refused(image: Any) -> None:
    for f in calls():
        out = np.empty(f(image).shape, image.dtype)
        with pytest.raises(TypeError, match=r": \w+ is a CuPy array, but out is a NumPy array"):
            f(image, out=out)
    y, indices = kernels.max_pool2d(image, 2)
    with pytest.raises(TypeError, match="dy is a CuPy array, but indices is a NumPy array"):
        kernels.max_pool2d_backward(y, to_host(indices), image.shape, 2)
    with pytest.raises(TypeError, match="must be float32, float16 or bfloat16 on CUDA, got float"):
        kernels.max_pool2d(image.astype(np.float64), 2)


def test_work_goes_to_the_current_stream_and_can_be_captured(image: Any) -> None:
    cupy = importlib.import_module("cupy")
    functions = calls()
    expected = [f(image) for f in functions]
    results = [stored(np.zeros(y.shape), y.dtype)[0] for y in expected]
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        for f, out in zip(functions, results, strict=True):
            f(image, out=out)  # takes what it needs from the pool
            out[...] = 0
        stream.synchronize()
        stream.begin_capture()
        for f, out in zip(functions, results, strict=True):
            f(image, out=out)
        graph = stream.end_capture()
    assert not any(out.any() for out in results)  # recorded, not run
    graph.launch(stream)
    stream.synchronize()
    for out, y in zip(results, expected, strict=True):
        assert_same_bits(to_host(out), to_host(y))
