"""The pooling kernels against the reference."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tolerances import (
    assert_close_sum,
    assert_exact,
    assert_same_bits,
    channels_last,
    layouts,
    one_sign,
    proven_factor,
    random_signs,
    small_integers,
)

import pyconv
from pyconv import _cpu, kernels, reference

Array = np.ndarray
DTYPES = ["float32", "float64"]
CHANNELS = [1, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 67]
# kernel_size, stride, padding, dilation, ceil_mode
WINDOWS: list[tuple[Any, ...]] = [
    (2, 2, 0, 1, False),
    (3, 2, 1, 1, False),
    (3, 1, 1, 1, False),
    (3, 2, "same", 1, False),
    (2, None, "valid", 1, True),
    ((3, 2), (2, 3), ((1, 0), (0, 1)), 1, True),
    (2, (1, 2), 1, (2, 3), False),
    ((1, 5), (3, 1), (0, 2), 1, True),
    (5, 4, 3, 2, True),
    ((9, 11), 1, 0, 1, False),
]
AVG_WINDOWS = [(*w[:3], w[4]) for w in WINDOWS if w[3] == 1]
SIZE = (9, 11)


def shuffled(shape: Any, dtype: Any, rng: np.random.Generator) -> Array:
    """Small integers, so that maxima are tied and sums exact."""
    return small_integers(shape, dtype, rng, -9, 9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS)
def test_max_pool(window: Any, dtype: str, isa: str, rng: np.random.Generator) -> None:
    for c in CHANNELS:
        x = shuffled((2, c, *SIZE), dtype, rng)
        y, indices = kernels.max_pool2d(x, *window)
        expected, expected_indices = reference.max_pool2d(x, *window)
        assert_exact(y, expected)
        assert_same_bits(indices, expected_indices)
        assert_same_bits(kernels.max_pool2d(x, *window, return_indices=False), y)

        dy = shuffled(y.shape, dtype, rng)
        wanted = reference.max_pool2d_backward(dy, indices, x.shape, *window)
        for kind in (np.int32, np.int64):
            dx = kernels.max_pool2d_backward(dy, indices.astype(kind), x.shape, *window)
            assert dx.dtype == dy.dtype
            assert_exact(dx, wanted)


@pytest.mark.cpu("calls the CPU's extension; test_cuda_storage.py has CUDA's")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS)
def test_wide_indices(window: Any, dtype: str, isa: str, rng: np.random.Generator) -> None:
    """As for planes of 2^31 cells, which are too large to test."""
    x = shuffled((2, 5, *SIZE), dtype, rng)
    code = kernels.pooling._Windows("f", SIZE, *window).code
    y, indices = _cpu.max_pool(x, code, True, True, False)
    assert indices.dtype == np.int64
    expected = reference.max_pool2d(x, *window)
    assert_exact(y, expected[0])
    assert_exact(indices, expected[1])
    for c in (5, 67):
        x = shuffled((2, c, *SIZE), dtype, rng) - 4
        y, indices = _cpu.max_pool(x, code, True, True, True)
        expected = reference.max_pool2d(x, *window, activation="relu")
        assert_exact(y, expected[0])
        assert_exact(indices, expected[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS)
def test_max_pool_with_relu(window: Any, dtype: str, isa: str, rng: np.random.Generator) -> None:
    """It commutes with the largest of a window; no gradient passes where it is flat."""
    for c in CHANNELS:
        x = shuffled((2, c, *SIZE), dtype, rng) - 4
        x[0, 0, 3, 3] = np.nan
        y, indices = kernels.max_pool2d(x, *window, activation="relu")
        expected, expected_indices = reference.max_pool2d(x, *window, activation="relu")
        assert_same_bits(y, expected)
        assert_same_bits(indices, expected_indices)
        assert_same_bits(y, kernels.relu(kernels.max_pool2d(x, *window, return_indices=False)))
        assert_same_bits(kernels.max_pool2d(x, *window, return_indices=False, activation="relu"), y)
        dy = shuffled(y.shape, dtype, rng)
        wanted = reference.max_pool2d_backward(dy, indices, x.shape, *window)
        assert_exact(kernels.max_pool2d_backward(dy, indices, x.shape, *window), wanted)


# Windows side by side, of few channels, with rows and columns left over.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(4, 4), (9, 11), (8, 6), (3, 19)])
@pytest.mark.parametrize("kernel", [2, 3, (1, 3), (3, 1), (2, 4)])
def test_tiled_max_pool(
    kernel: Any, size: Any, dtype: str, isa: str, rng: np.random.Generator
) -> None:
    if isinstance(kernel, tuple) and any(k > n for k, n in zip(kernel, size, strict=True)):
        return
    for c in (1, 2, 3, 4, 5, 6, 8, 9, 13, 16, 17, 31):
        x = shuffled((3, c, *size), dtype, rng)
        y, indices = kernels.max_pool2d(x, kernel)
        expected, expected_indices = reference.max_pool2d(x, kernel)
        assert_exact(y, expected)
        assert_same_bits(indices, expected_indices)
        dy = shuffled(y.shape, dtype, rng)
        dy[0, 0, 0, 0] = np.nan  # goes nowhere else
        wanted = reference.max_pool2d_backward(dy, indices, x.shape, kernel)
        dx = kernels.max_pool2d_backward(dy, indices, x.shape, kernel) + 0
        if isa == "cuda":  # whose sums make one kind of NaN of all
            dx[np.isnan(dx)] = np.nan
        assert_same_bits(dx, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("window", AVG_WINDOWS)
def test_avg_pool_on_integers(
    window: Any, include: bool, dtype: str, isa: str, rng: np.random.Generator
) -> None:
    """A divisor that is a power of two, so that nothing is rounded."""
    for c in CHANNELS:
        x = shuffled((2, c, *SIZE), dtype, rng)
        for divisor in (-4, 1):
            y = kernels.avg_pool2d(x, *window, include, divisor)
            assert_exact(y, reference.avg_pool2d(x, *window, include, divisor))
            dy = shuffled(y.shape, dtype, rng)
            dx = kernels.avg_pool2d_backward(dy, x.shape, *window, include, divisor)
            expected = reference.avg_pool2d_backward(dy, x.shape, *window, include, divisor)
            assert_exact(dx, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("window", AVG_WINDOWS)
def test_avg_pool(
    window: Any, include: bool, dtype: str, isa: str, rng: np.random.Generator
) -> None:
    """The divisor's error is within the bound of a sum: 1/2 eps, of a rounded weight another."""
    for c in (3, 16, 37):
        x = random_signs((2, c, *SIZE), dtype, rng)
        how = (*window, include)
        y = kernels.avg_pool2d(x, *how)
        big = x.astype(np.float64)
        taps = int(np.prod(window[0]))
        assert_close_sum(
            y, reference.avg_pool2d(big, *how), reference.avg_pool2d(abs(big), *how), taps
        )
        dy = random_signs(y.shape, dtype, rng).astype(np.float64)
        expected, magnitude = (
            reference.avg_pool2d_backward(d, x.shape, *how) for d in (dy, abs(dy))
        )
        dx = kernels.avg_pool2d_backward(dy.astype(dtype), x.shape, *how)
        assert_close_sum(dx, expected, magnitude, taps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("outputs", [1, 2, 3, (1, 11), (9, 1), (9, 11), (5, 7), (13, 20), (18, 22)])
def test_adaptive_avg_pool(outputs: Any, dtype: str, isa: str, rng: np.random.Generator) -> None:
    for c in (1, 3, 8, 17, 64, 67):
        x = random_signs((3, c, *SIZE), dtype, rng)
        big = x.astype(np.float64)
        y = kernels.adaptive_avg_pool2d(x, outputs)
        expected = reference.adaptive_avg_pool2d(big, outputs)
        assert_close_sum(y, expected, reference.adaptive_avg_pool2d(abs(big), outputs), 99)
        dy = random_signs(y.shape, dtype, rng).astype(np.float64)
        expected, magnitude = (
            reference.adaptive_avg_pool2d_backward(d, x.shape) for d in (dy, abs(dy))
        )
        dx = kernels.adaptive_avg_pool2d_backward(dy.astype(dtype), x.shape)
        assert_close_sum(dx, expected, magnitude, 99)


@pytest.mark.parametrize("c", [1, 3, 20, 64, 130])
def test_mean_of_a_large_plane(c: int, isa: str, rng: np.random.Generator) -> None:
    """The chains are of 32 pairs, then of their sums: no longer than 32 + 1 + cells / 64."""
    x = one_sign((2, c, 71, 83), "float32", rng)
    expected = x.astype(np.float64).mean((2, 3), keepdims=True)
    chain = 33 + 71 * 83 // 64 + 64
    assert_close_sum(kernels.adaptive_avg_pool2d(x, 1), expected, expected, 1, proven_factor(chain))
    ones = np.full((2, c, 71, 83), 3, np.float32)
    assert_exact(kernels.adaptive_avg_pool2d(ones, 1), np.full((2, c, 1, 1), 3.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sequences(dtype: str, isa: str, rng: np.random.Generator) -> None:
    for c, padding in [(3, 1), (19, (1,)), (16, ((0, 1),)), (5, "same"), (4, "valid")]:
        x = shuffled((3, c, 23), dtype, rng)
        window = (3, (2,), padding)
        y, indices = kernels.max_pool1d(x, *window, 2, True)
        expected = reference.max_pool1d(x, *window, 2, True)
        assert_exact(y, expected[0])
        assert_same_bits(indices, expected[1])
        assert_exact(kernels.max_pool1d(x, *window, 2, True, False), y)
        dy = shuffled(y.shape, dtype, rng)
        assert_exact(
            kernels.max_pool1d_backward(dy, indices, x.shape, *window, 2, True),
            reference.max_pool1d_backward(dy, indices, x.shape, *window, 2, True),
        )
        how = (*window, False, True, 2)
        y = kernels.avg_pool1d(x, *how)
        assert_exact(y, reference.avg_pool1d(x, *how))
        dy = shuffled(y.shape, dtype, rng)
        assert_exact(
            kernels.avg_pool1d_backward(dy, x.shape, *how),
            reference.avg_pool1d_backward(dy, x.shape, *how),
        )
        y = kernels.adaptive_avg_pool1d(x, (6,))
        big = x.astype(np.float64)
        expected = reference.adaptive_avg_pool1d(big, 6)
        assert_close_sum(y, expected, reference.adaptive_avg_pool1d(abs(big), 6), 5)
        dx = kernels.adaptive_avg_pool1d_backward(y, x.shape)
        dy = y.astype(np.float64)
        expected = reference.adaptive_avg_pool1d_backward(dy, x.shape)
        magnitude = reference.adaptive_avg_pool1d_backward(abs(dy), x.shape)
        assert_close_sum(dx, expected, magnitude, 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", [1, 5, 16, 67])
def test_nan_and_infinity(c: int, dtype: str, isa: str, rng: np.random.Generator) -> None:
    x = shuffled((2, c, *SIZE), dtype, rng)
    x[rng.random(x.shape) < 0.15] = np.nan
    x[rng.random(x.shape) < 0.1] = np.inf
    x[rng.random(x.shape) < 0.3] = -np.inf
    for window in WINDOWS:
        y, indices = kernels.max_pool2d(x, *window)
        expected = reference.max_pool2d(x, *window)
        np.testing.assert_array_equal(y, expected[0])
        assert_same_bits(indices, expected[1])
        y = kernels.max_pool2d(x, *window, return_indices=False)
        np.testing.assert_array_equal(y, expected[0])
        dy = np.where(np.isnan(expected[0]), expected[0], 1).astype(dtype)
        np.testing.assert_array_equal(
            kernels.max_pool2d_backward(dy, indices, x.shape, *window),
            reference.max_pool2d_backward(dy, indices, x.shape, *window),
        )
    for window in AVG_WINDOWS:
        np.testing.assert_array_equal(
            np.isfinite(kernels.avg_pool2d(x, *window)),
            np.isfinite(reference.avg_pool2d(x, *window)),
        )
    y = kernels.adaptive_avg_pool2d(x, (2, 3))
    np.testing.assert_array_equal(np.isnan(y), np.isnan(reference.adaptive_avg_pool2d(x, (2, 3))))


def test_nothing_but_minus_infinity(isa: str) -> None:
    """The first cell wins, not the padding."""
    x = np.full((1, 9, 4, 4), -np.inf, np.float32)
    y, indices = kernels.max_pool2d(x, 3, 2, 1)
    assert np.isneginf(y).all()
    assert_exact(indices[0, 0], np.array([[0.0, 1], [4, 5]]))


def test_indices_of_no_window_are_passed_over(isa: str) -> None:
    dy = np.ones((1, 16, 2, 2), np.float32)
    for bad in (-1, 10**6, 2**31 - 1, -(2**31)):
        dx = kernels.max_pool2d_backward(dy, np.full(dy.shape, bad, np.int32), (1, 16, 4, 4), 2)
        assert_exact(dx, np.zeros((1, 16, 4, 4)))
    wide = np.full(dy.shape, 2**40, np.int64)
    dx = kernels.max_pool2d_backward(dy, wide, (1, 16, 4, 4), 2)
    assert_exact(dx, np.zeros((1, 16, 4, 4)))


def calls(x: Array, rng: np.random.Generator) -> list[Callable[..., Any]]:
    """Every function as one of images of x's shape alone; single results take out=."""
    n, c, h, w = x.shape
    shape = (n, c, 2 * h + 1, 2 * w + 1)
    where = rng.integers(0, h * w, x.shape, dtype=np.int32)
    return [
        functools.partial(kernels.avg_pool2d, kernel_size=3, stride=2, padding=1),
        functools.partial(kernels.adaptive_avg_pool2d, output_size=(2, 3)),
        functools.partial(kernels.adaptive_avg_pool2d, output_size=1),
        functools.partial(kernels.avg_pool2d_backward, input_shape=shape, kernel_size=3, stride=2),
        functools.partial(kernels.adaptive_avg_pool2d_backward, input_shape=shape),
        functools.partial(
            kernels.max_pool2d_backward,
            indices=where, input_shape=x.shape, kernel_size=3, stride=1, padding=1,
        ),
        lambda a: kernels.max_pool2d(a, 3, 2, 1),
        lambda a: kernels.max_pool2d(a, 2, 2, return_indices=False),
    ]  # fmt: skip


def as_tuple(result: Any) -> tuple[Array, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_give_the_same_bits(dtype: str, isa: str, rng: np.random.Generator) -> None:
    x = random_signs((2, 19, 5, 4), dtype, rng)
    x = np.broadcast_to(x[:1], x.shape)
    for f in calls(x, rng):
        expected = as_tuple(f(np.ascontiguousarray(x)))
        for name, view in layouts(x):
            for a, b in zip(as_tuple(f(view)), expected, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)
    _, indices = kernels.max_pool2d(x, 3, 1, 1)
    expected = kernels.max_pool2d_backward(x, indices, x.shape, 3, 1, 1)
    for name, view in layouts(indices):
        dx = kernels.max_pool2d_backward(x, view, x.shape, 3, 1, 1)
        np.testing.assert_array_equal(dx, expected, err_msg=name)


@functools.cache
def one_thread(shape: Any) -> list[tuple[Array, ...]]:
    before = pyconv.get_num_threads()
    pyconv.set_num_threads(1)
    try:
        return run_all(shape)
    finally:
        pyconv.set_num_threads(before)


def run_all(shape: Any) -> list[tuple[Array, ...]]:
    rng = np.random.default_rng(5)
    x = random_signs(shape, "float32", rng)
    return [as_tuple(f(x)) for f in calls(x, rng)]


LARGE = pytest.param((9, 40, 23, 29), marks=pytest.mark.cpu("has to fill several threads"))


@pytest.mark.parametrize("shape", [(3, 3, 61, 67), (2, 40, 23, 29), LARGE])
def test_threads_give_the_same_bits(shape: Any, threads: int) -> None:
    for results, expected in zip(run_all(shape), one_thread(shape), strict=True):
        for a, b in zip(results, expected, strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_out(dtype: str, isa: str, rng: np.random.Generator) -> None:
    x = random_signs((2, 5, 4, 6), dtype, rng)
    for f in calls(x, rng)[:6]:
        expected = f(x)
        assert expected.strides == channels_last(expected).strides
        for make in (np.ascontiguousarray, channels_last, np.asfortranarray):
            out = make(np.full_like(expected, np.nan))
            assert f(x, out=out) is out
            np.testing.assert_array_equal(out, expected)
        with pytest.raises(ValueError, match="out must have shape"):
            f(x, out=np.empty((1, 1, 1, 1), dtype))
        with pytest.raises(TypeError, match=f"out must be {dtype}"):
            f(x, out=np.empty(expected.shape, np.float16))


@pytest.mark.cpu("copies on the way to the device do not overlap; see test_cuda_storage.py")
@pytest.mark.parametrize("dtype", DTYPES)
def test_out_may_not_overlap_an_input(dtype: str, rng: np.random.Generator) -> None:
    x = random_signs((2, 5, 4, 6), dtype, rng)
    for f in calls(x, rng)[:6]:
        expected = f(x)
        buffer = np.zeros(max(x.size, expected.size), x.dtype)
        out = buffer[: expected.size].reshape(expected.shape)
        with pytest.raises(ValueError, match="out must not overlap an input"):
            f(buffer[: x.size].reshape(x.shape), out=out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8)])
def test_empty_batch(shape: Any, dtype: str, isa: str) -> None:
    x = np.empty(shape, dtype)
    y, indices = kernels.max_pool2d(x, 2)
    assert y.shape == indices.shape == (*shape[:2], 4, 4)
    assert kernels.max_pool2d_backward(y, indices, shape, 2).shape == shape
    assert kernels.avg_pool2d(x, 2).shape == y.shape
    assert kernels.avg_pool2d_backward(y, shape, 2).shape == shape
    for outputs in (1, 3):
        y = kernels.adaptive_avg_pool2d(x, outputs)
        assert y.shape == (*shape[:2], outputs, outputs)
        assert kernels.adaptive_avg_pool2d_backward(y, shape).shape == shape


pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
frame = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2)


@given(
    st.tuples(st.integers(1, 2), st.integers(1, 20), st.integers(1, 9), st.integers(1, 9)),
    pairs, pairs, frame, pairs, st.booleans(), st.booleans(),
)  # fmt: skip
def test_any_geometry(
    shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, include: bool
) -> None:
    windows = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(
        (min(first, n - 1), min(last, n - 1))
        for (first, last), n in zip(padding, windows, strict=True)
    )
    for a in (0, 1):
        assume(windows[a] <= shape[2 + a] + sum(padding[a]))
    rng = np.random.default_rng(shape[1])
    x = shuffled(shape, "float32", rng)
    window = (kernel, stride, padding, dilation, ceil)
    y, indices = kernels.max_pool2d(x, *window)
    expected = reference.max_pool2d(x, *window)
    assert_exact(y, expected[0])
    assert_same_bits(indices, expected[1])
    dy = shuffled(y.shape, "float32", rng)
    dx = kernels.max_pool2d_backward(dy, indices, shape, *window)
    assert_exact(dx, reference.max_pool2d_backward(dy, indices, shape, *window))
    if all(max(p) < k <= n + sum(p) for p, k, n in zip(padding, kernel, shape[2:], strict=True)):
        big, how = x.astype(np.float64), (kernel, stride, padding, ceil, include)
        y = kernels.avg_pool2d(x, *how)
        expected = reference.avg_pool2d(big, *how)
        assert_close_sum(y, expected, reference.avg_pool2d(abs(big), *how), 16)
        dy = shuffled(y.shape, "float32", rng).astype(np.float64)
        dx = kernels.avg_pool2d_backward(dy.astype("float32"), shape, *how)
        expected = reference.avg_pool2d_backward(dy, shape, *how)
        assert_close_sum(dx, expected, reference.avg_pool2d_backward(abs(dy), shape, *how), 16)


X = np.ones((2, 3, 6, 7), np.float32)
S = np.ones((2, 3, 6), np.float32)
DY = np.ones((2, 3, 3, 3), np.float32)
INDEX = np.zeros(DY.shape, np.int32)

BAD_X = [
    ([1.0], TypeError, "x must be a NumPy array, got list"),
    (X.astype(int), TypeError, "x must be float32 or float64, got int64"),
    (X[0, 0], ValueError, "x must be .-D, got 2-D of shape"),
    (
        X[..., :0],
        ValueError,
        r"x must have cells along every axis, got shape|x must be 3-D, got 4-D",
    ),
]
BAD_WINDOWS = [
    (dict(kernel_size=0), ValueError, "kernel_size must be at least 1, got 0"),
    (dict(kernel_size=2.0), TypeError, "kernel_size must be an int, got float 2.0"),
    (dict(kernel_size=True), TypeError, "kernel_size must be an int, got bool True"),
    (dict(kernel_size=(2, 2, 2)), ValueError, "kernel_size must be an int or a pair of ints"),
    (dict(kernel_size=[2, 2]), TypeError, "kernel_size must be an int or a tuple of 2 ints"),
    (dict(kernel_size=9), ValueError, "the output would be empty: windows of 9 by 9"),
    (dict(kernel_size=2**61), ValueError, "kernel_size is too large"),
    (dict(stride=0), ValueError, "stride must be at least 1, got 0"),
    (dict(stride="2"), TypeError, "stride must be an int, got str '2'"),
    (dict(padding=2), ValueError, "padding must be smaller than the window, 2 by 2 cells, got 2"),
    (dict(padding=((0, 0), (0, 2))), ValueError, "padding must be smaller than the window"),
    (dict(padding=-1), ValueError, "padding must be at least 0, got -1"),
    (dict(padding="full"), ValueError, 'padding must be an int, pairs, "valid" or "same"'),
    (dict(padding=(1, 1, 1)), ValueError, "padding must have 2 entries"),
    (dict(ceil_mode=1), TypeError, "ceil_mode must be a bool, got int 1"),
]  # fmt: skip
BAD_MEANS = [
    (
        dict(count_include_pad=None),
        TypeError,
        "count_include_pad must be a bool, got NoneType",
    ),
    (dict(divisor_override=0), ValueError, "divisor_override must not be 0"),
    (dict(divisor_override=1.5), TypeError, "divisor_override must be an int, got float 1.5"),
]
BAD_GRADIENTS = [
    (dict(dy=DY[:, :, :2]), ValueError, r"dy must have shape \(2, 3, 3, 3\) \(the output of the"),
    (dict(dy=DY[0]), ValueError, "dy must be 4-D, got 3-D"),
    (dict(dy=[1]), TypeError, "dy must be a NumPy array, got list"),
    (dict(dy=INDEX), TypeError, "dy must be float32 or float64, got int32"),
    (dict(input_shape=(2, 3, 6)), ValueError, "input_shape must have 4 entries, got 3"),
    (dict(input_shape=4), TypeError, "input_shape must be a tuple of ints, got int 4"),
    (dict(input_shape=(2, 3, 6, -1)), ValueError, "input_shape must be at least 0, got -1"),
    (dict(input_shape=(2, 3, 6, 0)), ValueError, "input_shape must have cells along every axis"),
    (dict(input_shape=(2, 4, 6, 7)), ValueError, r"dy must have shape \(2, 4, 3, 3\)"),
]


def bad_calls() -> list[Any]:
    cases = []
    for name in ("max_pool2d", "avg_pool2d"):
        f = getattr(kernels, name)
        cases += [(functools.partial(f, x, 2), e, f"{name}: {m}") for x, e, m in BAD_X]
        how = dict(x=X, kernel_size=2)
        cases += [
            (functools.partial(f, **{**how, **b}), e, f"{name}: {m}") for b, e, m in BAD_WINDOWS
        ]
    for name in ("max_pool1d", "avg_pool1d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"):
        f = getattr(kernels, name)
        cases += [(functools.partial(f, x, 2), e, f"{name}: {m}") for x, e, m in BAD_X]
    for name, extra in [("max_pool2d_backward", dict(indices=INDEX)), ("avg_pool2d_backward", {})]:
        f = getattr(kernels, name)
        how = dict(dy=DY, input_shape=X.shape, kernel_size=2, **extra)
        cases += [
            (functools.partial(f, **{**how, **b}), e, f"{name}: {m}")
            for b, e, m in BAD_GRADIENTS + BAD_WINDOWS
        ]
    for name, how in [
        ("avg_pool2d", dict(x=X, kernel_size=2)),
        ("avg_pool1d", dict(x=S, kernel_size=2)),
        ("avg_pool2d_backward", dict(dy=DY, input_shape=X.shape, kernel_size=2)),
    ]:
        f = getattr(kernels, name)
        cases += [
            (functools.partial(f, **{**how, **b}), e, f"{name}: {m}") for b, e, m in BAD_MEANS
        ]
    back = functools.partial(kernels.max_pool2d_backward, DY, input_shape=X.shape, kernel_size=2)
    adaptive = kernels.adaptive_avg_pool2d
    cases += [
        (functools.partial(kernels.max_pool2d, X, 2, dilation=0), ValueError,
         "max_pool2d: dilation must be at least 1, got 0"),
        (functools.partial(kernels.max_pool2d, X, 2, return_indices=1), TypeError,
         "max_pool2d: return_indices must be a bool, got int 1"),
        (functools.partial(kernels.max_pool1d, S, (1, 2)), ValueError,
         "max_pool1d: kernel_size must be an int or a tuple of one int"),
        (functools.partial(kernels.max_pool1d, S, 2, padding=(1, 1)), ValueError,
         "max_pool1d: padding must have 1 entries"),
        (functools.partial(back, [0]), TypeError,
         "max_pool2d_backward: indices must be a NumPy array, got list"),
        (functools.partial(back, DY), TypeError,
         "max_pool2d_backward: indices must be int32 or int64, got float32"),
        (functools.partial(back, INDEX[:1]), ValueError,
         r"max_pool2d_backward: indices must have shape \(2, 3, 3, 3\) \(as dy\)"),
        (functools.partial(adaptive, X, 0), ValueError,
         "adaptive_avg_pool2d: output_size must be at least 1, got 0"),
        (functools.partial(adaptive, X, (2, None)), TypeError,
         "adaptive_avg_pool2d: output_size must be an int, got NoneType"),
        (functools.partial(adaptive, X, 2**40), ValueError, "adaptive_avg_pool2d: the shape of"),
        (functools.partial(kernels.adaptive_avg_pool2d_backward, DY, (1, 3, 6, 7)), ValueError,
         r"adaptive_avg_pool2d_backward: dy must have shape \(1, 3, 3, 3\)"),
        (functools.partial(kernels.adaptive_avg_pool1d_backward, S, (2, 3)), ValueError,
         "adaptive_avg_pool1d_backward: input_shape must have 3 entries"),
    ]  # fmt: skip
    return cases


def test_bad_input(words: Callable[[str, str], str]) -> None:
    for call, error, message in bad_calls():
        with pytest.raises(error, match=words(message.partition(":")[0], message)):
            call()


@pytest.mark.cpu("16-bit types are for CUDA")
def test_16_bit_types_are_for_cuda() -> None:
    half = X.astype(np.float16)
    for function in (kernels.max_pool2d, kernels.avg_pool2d, kernels.adaptive_avg_pool2d):
        with pytest.raises(TypeError, match="x must be float32 or float64, got float16; convert"):
            function(half, 2)
    for backward in (kernels.avg_pool2d_backward, kernels.max_pool2d_backward):
        indices = (INDEX,) if backward is kernels.max_pool2d_backward else ()
        with pytest.raises(TypeError, match="dy must be float32 or float64, got float16; convert"):
            backward(DY.astype(np.float16), *indices, X.shape, 2)
