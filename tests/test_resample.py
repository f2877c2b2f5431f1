"""The resampling and padding kernels against the reference."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import (
    assert_close_sum,
    assert_exact,
    assert_same_bits,
    channels_last,
    layouts,
    random_signs,
    small_integers,
)

import pyconv
from pyconv import kernels, reference

Array = np.ndarray
DTYPES = ["float32", "float64"]
CHANNELS = [1, 3, 7, 8, 15, 16, 17, 31, 33, 64, 67]
SIZE = (5, 7)
RESIZES: list[dict[str, Any]] = [
    dict(scale=2), dict(scale=3), dict(scale=(1, 4)), dict(scale=(0.5, 1.7)), dict(scale=2.3),
    dict(scale=np.float32(0.21)), dict(size=1), dict(size=(5, 7)), dict(size=(9, 3)),
    dict(size=(10, 14)), dict(size=(64, 1)),
]  # fmt: skip
PADDINGS: list[Any] = [0, 1, (2, 3), ((0, 4), (6, 0)), ((3, 1), (0, 2))]


def cells_of_a_mean(shape: Any, how: dict[str, Any]) -> int:
    """Most outputs that one cell is part of: terms of a sum of the backward function."""
    y = reference.upsample2d(np.zeros((1, 1, *shape)), mode="bilinear", **how)
    return max(4, 4 * y.size // (shape[0] * shape[1]) + 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("how", RESIZES)
def test_nearest(how: Any, dtype: str, isa: str, rng: np.random.Generator) -> None:
    for c in CHANNELS:
        x = random_signs((2, c, *SIZE), dtype, rng)
        y = kernels.upsample2d(x, **how)
        expected = reference.upsample2d(x, **how)
        assert_exact(y, expected.astype(np.float64))
        dy = small_integers(y.shape, dtype, rng)
        dx = kernels.upsample2d_backward(dy, x.shape, **how)
        assert dx.dtype == dy.dtype
        assert_exact(dx, reference.upsample2d_backward(dy, x.shape, **how))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("how", RESIZES)
def test_bilinear(how: Any, align: bool, dtype: str, isa: str, rng: np.random.Generator) -> None:
    """Four terms, whose weights are rounded, too: 1/2 eps more, within the bound of a sum.

    In float64 the positions count as well: the reference rounds them, by eps times the cells of
    the axis, which moves a mean of two cells by up to twice that.
    """
    how = dict(**how, mode="bilinear", align_corners=align)
    n = cells_of_a_mean(SIZE, {k: v for k, v in how.items() if k in ("scale", "size")})
    moved = 2 * sum(SIZE) / 8 if dtype == "float64" else 0  # in units of the bound's 8 eps
    for c in CHANNELS:
        x = random_signs((2, c, *SIZE), dtype, rng)
        big = x.astype(np.float64)
        y = kernels.upsample2d(x, **how)
        magnitude = reference.upsample2d(abs(big), **how) + moved
        assert_close_sum(y, reference.upsample2d(big, **how), magnitude, 4)
        dy = random_signs(y.shape, dtype, rng).astype(np.float64)
        dx = kernels.upsample2d_backward(dy.astype(dtype), x.shape, **how)
        expected, magnitude = (
            reference.upsample2d_backward(d, x.shape, **how) for d in (dy, abs(dy))
        )
        assert_close_sum(dx, expected, magnitude + moved * n, n)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bilinear_on_integers(dtype: str, isa: str, rng: np.random.Generator) -> None:
    """Twice and four times as large: the weights are eighths, and nothing is rounded."""
    for c in CHANNELS:
        x = small_integers((2, c, *SIZE), dtype, rng)
        for scale in (2, (4, 2), (1, 4)):
            y = kernels.upsample2d(x, scale, "bilinear")
            assert_exact(y, reference.upsample2d(x, scale, "bilinear"))
            dy = small_integers(y.shape, dtype, rng)
            dx = kernels.upsample2d_backward(dy, x.shape, scale, "bilinear")
            assert_exact(dx, reference.upsample2d_backward(dy, x.shape, scale, "bilinear"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_pad(padding: Any, mode: str, dtype: str, isa: str, rng: np.random.Generator) -> None:
    for c in CHANNELS:
        x = random_signs((2, c, *SIZE), dtype, rng)
        y = kernels.pad2d(x, padding, mode)
        assert_exact(y, reference.pad2d(x, padding, mode).astype(np.float64))
        dy = small_integers(y.shape, dtype, rng)
        dx = kernels.pad2d_backward(dy, x.shape, padding, mode)
        assert_exact(dx, reference.pad2d_backward(dy, x.shape, padding, mode))


def test_frame_of_nothing(isa: str) -> None:
    x = np.empty((1, 3, 0, 2), np.float32)
    assert_exact(kernels.pad2d(x, (2, 1)), np.zeros((1, 3, 4, 4)))
    dx = kernels.pad2d_backward(np.ones((1, 3, 4, 4), np.float32), x.shape, (2, 1))
    assert dx.shape == x.shape


@pytest.mark.parametrize("dtype", DTYPES)
def test_non_finite_values_stay_where_they_are(dtype: str, isa: str) -> None:
    """A cell of weight 0 is not read."""
    for value in (np.nan, np.inf, -np.inf):
        x = np.zeros((1, 18, 4, 5), dtype)
        x[:, :, 1, 2] = value
        for how in (dict(), dict(mode="bilinear"), dict(mode="bilinear", align_corners=True)):
            for size in ((4, 5), (7, 9), (8, 10)):
                y = kernels.upsample2d(x, size=size, **how)
                np.testing.assert_array_equal(y, reference.upsample2d(x, size=size, **how))
        for mode in ("zeros", "reflect"):
            y = kernels.pad2d(x, 2, mode)
            np.testing.assert_array_equal(y, reference.pad2d(x, 2, mode))


def calls() -> list[Callable[..., Any]]:
    """Every function as one of an array of 10 by 14 cells alone."""
    backward = functools.partial(kernels.upsample2d_backward, size=(10, 14))
    return [
        functools.partial(kernels.upsample2d, scale=2),
        functools.partial(kernels.upsample2d, scale=1.3, mode="bilinear"),
        functools.partial(kernels.pad2d, padding=1),
        functools.partial(kernels.pad2d, padding=(3, 2), mode="reflect"),
        lambda a, **k: backward(a, (*a.shape[:2], 7, 8), **k),
        lambda a, **k: backward(a, (*a.shape[:2], 5, 9), mode="bilinear", align_corners=True, **k),
        lambda a, **k: kernels.pad2d_backward(a, (*a.shape[:2], 6, 10), 2, "reflect", **k),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_give_the_same_bits(dtype: str, isa: str, rng: np.random.Generator) -> None:
    x = random_signs((2, 19, 10, 14), dtype, rng)
    x = np.broadcast_to(x[:1], x.shape)
    for f in calls():
        expected = f(np.ascontiguousarray(x))
        for name, view in layouts(x):
            np.testing.assert_array_equal(f(view), expected, err_msg=name)


@functools.cache
def one_thread(shape: Any) -> list[Array]:
    before = pyconv.get_num_threads()
    pyconv.set_num_threads(1)
    try:
        return run_all(shape)
    finally:
        pyconv.set_num_threads(before)


def run_all(shape: Any) -> list[Array]:
    x = random_signs(shape, "float32", np.random.default_rng(5))
    return [f(x) for f in calls()]


LARGE = pytest.param((17, 130, 10, 14), marks=pytest.mark.cpu("has to fill several threads"))


@pytest.mark.parametrize("shape", [(2, 130, 10, 14), LARGE])
def test_threads_give_the_same_bits(shape: tuple[int, ...], threads: int) -> None:
    for result, expected in zip(run_all(shape), one_thread(shape), strict=True):
        assert_same_bits(result, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_out(dtype: str, isa: str, rng: np.random.Generator) -> None:
    x = random_signs((2, 5, 10, 14), dtype, rng)
    for f in calls():
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
    x = random_signs((2, 5, 10, 14), dtype, rng)
    for f in calls():
        expected = f(x)
        buffer = np.zeros(max(x.size, expected.size), x.dtype)
        out = buffer[: expected.size].reshape(expected.shape)
        with pytest.raises(ValueError, match="out must not overlap an input"):
            f(buffer[: x.size].reshape(x.shape), out=out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 3, 10, 14), (2, 0, 10, 14)])
def test_empty_batch(shape: Any, dtype: str, isa: str) -> None:
    for f in calls():
        assert f(np.empty(shape, dtype)).shape[:2] == shape[:2]


@given(
    st.tuples(st.integers(1, 2), st.integers(1, 20), st.integers(1, 8), st.integers(1, 8)),
    st.tuples(st.integers(1, 17), st.integers(1, 17)), st.booleans(), st.booleans(),
)  # fmt: skip
def test_any_size(shape: Any, size: Any, align: bool, by_scale: bool) -> None:
    rng = np.random.default_rng(shape[1])
    x = random_signs(shape, "float32", rng)
    big = x.astype(np.float64)
    how: dict[str, Any] = dict(size=size)
    if by_scale:
        how = dict(scale=tuple((s + 0.4) / n for s, n in zip(size, shape[2:], strict=True)))
    assert_exact(kernels.upsample2d(x, **how), reference.upsample2d(big, **how))
    how |= dict(mode="bilinear", align_corners=align)
    y = kernels.upsample2d(x, **how)
    assert_close_sum(y, reference.upsample2d(big, **how), reference.upsample2d(abs(big), **how), 4)
    dy = random_signs(y.shape, "float32", rng).astype(np.float64)
    dx = kernels.upsample2d_backward(dy.astype("float32"), shape, **how)
    expected, magnitude = (reference.upsample2d_backward(d, shape, **how) for d in (dy, abs(dy)))
    assert_close_sum(dx, expected, magnitude, 4 * dy.size)


X = np.ones((2, 3, 4, 5), np.float32)

BAD_RESIZES: list[Any] = [
    (dict(scale=2, size=3), ValueError, "give either scale or size, got scale=2 and size=3"),
    (dict(), ValueError, "give either scale or size, got neither"),
    (dict(scale=0), ValueError, "scale must be positive and finite, got 0"),
    (dict(scale=(2, -1.0)), ValueError, "scale must be positive and finite"),
    (dict(scale=float("nan")), ValueError, "scale must be positive and finite, got nan"),
    (dict(scale=float("inf")), ValueError, "scale must be positive and finite, got inf"),
    (dict(scale="2"), TypeError, "scale must be a number, got str '2'"),
    (dict(scale=[2, 2]), TypeError, "scale must be a number, got list"),
    (dict(scale=(2,)), ValueError, "scale must be a number or a pair of numbers"),
    (dict(scale=0.1), ValueError, "the output would be empty: images of"),
    (dict(scale=1e17), ValueError, "the shape of the output"),
    (dict(size=0), ValueError, "size must be at least 1, got 0"),
    (dict(size=2.0), TypeError, "size must be an int, got float 2.0"),
    (dict(size=(2, 2, 2)), ValueError, "size must be an int or a pair of ints"),
    (dict(size=2, mode="cubic"), ValueError, "mode must be 'nearest' or 'bilinear', got 'cubic'"),
    (dict(size=2, mode=None), TypeError, "mode must be a str, got NoneType"),
    (
        dict(size=2, align_corners=True),
        ValueError,
        "align_corners is for mode='bilinear', got mode=",
    ),
    (
        dict(size=2, mode="bilinear", align_corners=1),
        TypeError,
        "align_corners must be a bool, got",
    ),
]
BAD_PADS: list[Any] = [
    (dict(padding=-1), ValueError, "padding must be at least 0, got -1"),
    (dict(padding=1.5), TypeError, "padding must be an int, got float 1.5"),
    (dict(padding=[1, 1]), TypeError, "padding must be an int or a tuple, got list"),
    (dict(padding=(1, 1, 1)), ValueError, "padding must have 2 entries, one an axis"),
    (dict(padding=((1, 1, 1), 1)), ValueError, "padding must have pairs"),
    (dict(padding="same"), ValueError, "padding must be an int or pairs, got 'same'"),
    (dict(padding=2**40), ValueError, "the shape of the output"),
    (dict(padding=1, mode="edge"), ValueError, "mode must be 'zeros' or 'reflect', got 'edge'"),
    (dict(padding=1, mode=2), TypeError, "mode must be a str, got int 2"),
    (
        dict(padding=4, mode="reflect"),
        ValueError,
        "padding must be smaller than the image with mode",
    ),
]
BAD_X: list[Any] = [
    ([1.0], TypeError, "must be a NumPy array, got list"),
    (X.astype(int), TypeError, "must be float32 or float64, got int64"),
    (X[0], ValueError, "must be 4-D, got 3-D of shape"),
]


def bad_calls() -> list[Any]:
    cases: list[Any] = []
    for name, good, bad_ones in [
        ("upsample2d", dict(size=2), BAD_RESIZES), ("pad2d", dict(padding=1), BAD_PADS)
    ]:  # fmt: skip
        f, back = getattr(kernels, name), getattr(kernels, f"{name}_backward")
        cases += [(functools.partial(f, X, **b), e, f"{name}: {m}") for b, e, m in bad_ones]
        cases += [(functools.partial(f, b, **good), e, f"{name}: x {m}") for b, e, m in BAD_X]
        name = f"{name}_backward"
        cases += [
            (functools.partial(back, X, X.shape, **b), e, f"{name}: {m}") for b, e, m in bad_ones
        ]
        cases += [
            (functools.partial(back, b, X.shape, **good), e, f"{name}: dy {m}") for b, e, m in BAD_X
        ]
        for shape, error, message in [
            (4, TypeError, "input_shape must be a tuple of ints, got int 4"),
            ((2, 3, 4), ValueError, "input_shape must have 4 entries, got 3"),
            ((2, 3, 4, -5), ValueError, "input_shape must be at least 0, got -5"),
            (X.shape, ValueError, r"dy must have shape \(2, 3, "),
        ]:
            cases.append((functools.partial(back, X, shape, **good), error, f"{name}: {message}"))
    empty = X[:, :, :0]
    cases += [
        (functools.partial(kernels.upsample2d, empty, 2), ValueError,
         "upsample2d: the images must have cells along every axis"),
        (functools.partial(kernels.pad2d, empty, 0), ValueError,
         "pad2d: the output would be empty, of shape"),
    ]  # fmt: skip
    return cases


def test_bad_input(words: Callable[[str, str], str]) -> None:
    for call, error, message in bad_calls():
        with pytest.raises(error, match=words(message.partition(":")[0], message)):
            call()


@pytest.mark.cpu("about the CPU's caches")
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_results_that_go_past_the_caches_are_those_of_their_parts(mode, isa, rng):
    x = rng.standard_normal((5, 60, 61, 64), np.float32).transpose(0, 3, 1, 2)
    y = kernels.upsample2d(x, 2, mode)  # 18.7 MB
    dx = kernels.upsample2d_backward(y, x.shape, 2, mode)
    for image in range(len(x)):
        part = slice(image, image + 1)
        assert_same_bits(y[part], kernels.upsample2d(x[part], 2, mode))
        back = kernels.upsample2d_backward(y[part], x[part].shape, 2, mode)
        assert_same_bits(dx[part], back)
