"""Dropout against the reference: the same masks, bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import assert_same_bits, channels_last, layouts

from pyconv import kernels, reference

DTYPES = (np.float32, np.float64)
SEEDS = [0, 1, 2**32 - 1, 2**32, 0x123456789ABCDEF0, 2**64 - 1]


def check(x: np.ndarray, p: float, seed: int) -> None:
    y, mask = kernels.dropout(x, p, seed)
    expected, expected_mask = reference.dropout(x, p, seed)
    assert_same_bits(mask, expected_mask)
    # A zero that is scaled keeps its sign, one that was dropped has none.
    assert_same_bits(y, expected)


@pytest.mark.parametrize(
    "size", [0, 1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 65, 1023, 1025, 4099]
)
def test_flat(size: int, isa: str, rng: np.random.Generator) -> None:
    for dtype in DTYPES:
        x = rng.standard_normal(size).astype(dtype)
        for seed in SEEDS:
            check(x, 0.5, seed)


@pytest.mark.parametrize(
    "shape",
    [
        (), (3, 5), (2, 3, 7), (2, 3, 5, 7), (1, 64, 16, 16), (2, 65, 16, 17), (3, 8, 3, 100),
        (2, 17, 1, 1), (2, 1, 4, 5), (0, 3, 4, 5), (2, 0, 4, 5), (1, 70, 1, 3), (2, 9, 20, 30),
    ],
)  # fmt: skip
def test_layouts(shape: tuple[int, ...], isa: str, rng: np.random.Generator) -> None:
    for dtype in DTYPES:
        x = rng.standard_normal(shape).astype(dtype)
        check(x, 0.3, 12345)
        for _, other in layouts(x) if x.ndim else ():
            check(other, 0.3, 12345)
            dx = kernels.dropout_backward(other, x > 0, 0.3)
            assert_same_bits(dx, reference.dropout_backward(x, x > 0, 0.3))


def test_memory_order_is_kept(rng: np.random.Generator) -> None:
    x = channels_last(rng.standard_normal((2, 5, 6, 7)).astype(np.float32))
    y, mask = kernels.dropout(x, 0.5, 1)
    assert y.strides == x.strides
    assert mask.strides == tuple(s // 4 for s in x.strides)
    assert kernels.dropout_backward(x, mask, 0.5).strides == x.strides
    c = np.ascontiguousarray(x)
    assert kernels.dropout(c, 0.5, 1)[0].strides == c.strides


@pytest.mark.parametrize(
    "p", [0.0, 2.0**-24, 2.0**-25, 0.1, 1 / 3, 0.5, 1 - 2.0**-24, 1 - 2.0**-30, 1.0]
)
def test_probabilities(p: float, isa: str, rng: np.random.Generator) -> None:
    x = np.abs(rng.standard_normal((50, 50)))
    for dtype in DTYPES:
        check(x.astype(dtype), p, 99)
    kept = kernels.dropout(x.astype(np.float32), p, 99)[1].mean()
    assert abs(kept - (1 - p)) <= 5 * np.sqrt(p * (1 - p) / x.size) + 1e-6


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple),
    st.floats(0, 1),
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
def test_any_shape(shape: tuple[int, ...], p: float, seed: int, last: bool) -> None:
    x = np.ones(tuple(min(n, 9) if len(shape) == 4 else n for n in shape), np.float32)
    if x.size < 20000:
        check(channels_last(x) if last else x, p, seed)


def test_not_a_number_and_infinities(isa: str) -> None:
    for value in (np.nan, np.inf, -np.inf):
        x = np.full(40, value, np.float32)
        y, mask = kernels.dropout(x, 0.5, 3)
        assert (y[~mask] == 0).all()
        np.testing.assert_array_equal(y[mask], value)


_single: list[np.ndarray] = []


def test_any_number_of_threads_gives_the_same_bits(threads: int) -> None:
    x = np.random.default_rng(1).standard_normal((3, 65, 50, 41)).astype(np.float32)
    y, mask = kernels.dropout(channels_last(x), 0.4, 8)
    results = [y, mask, *kernels.dropout(x, 0.4, 8), kernels.dropout_backward(x, mask, 0.4)]
    assert_same_bits(results[0], results[2])
    _single.extend(results[len(_single) :])
    for actual, expected in zip(results, _single, strict=True):
        assert_same_bits(actual, expected)


def test_backward(isa: str, rng: np.random.Generator) -> None:
    for dtype in DTYPES:
        for size in (0, 1, 7, 16, 17, 33, 1000):
            dy = rng.standard_normal(size).astype(dtype)
            mask = rng.integers(0, 2, size).astype(bool)
            for p in (0.0, 0.25, 1 / 3, 1.0):
                expected = reference.dropout_backward(dy, mask, p)
                assert_same_bits(kernels.dropout_backward(dy, mask, p), expected)


def test_out(rng: np.random.Generator) -> None:
    dy = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    for _, mask in layouts(dy > 0):
        for _, out in layouts(np.zeros_like(dy)):
            if out.flags.writeable:
                assert kernels.dropout_backward(dy, mask, 0.5, out=out) is out
                assert_same_bits(out, reference.dropout_backward(dy, mask, 0.5))


def test_bad_arguments(words: Any) -> None:
    x = np.zeros((2, 3), np.float32)
    mask: Any = np.ones((2, 3), bool)
    with pytest.raises(TypeError, match="dropout: x must be a NumPy array, got list"):
        kernels.dropout([1.0], 0.5, 1)
    with pytest.raises(TypeError, match=words("dropout", "x must be float32 or float64, got int")):
        kernels.dropout(x.astype(np.int64), 0.5, 1)
    with pytest.raises(ValueError, match="dropout: x must have at most 4 dimensions"):
        kernels.dropout(np.zeros((1,) * 5, np.float32), 0.5, 1)
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="dropout: p must be from 0.0 to 1.0"):
            kernels.dropout(x, p, 1)
        with pytest.raises(ValueError, match="dropout_backward: p must be from 0.0 to 1.0"):
            kernels.dropout_backward(x, mask, p)
    with pytest.raises(TypeError, match="dropout: p must be a number"):
        kernels.dropout(x, "0.5", 1)
    for seed in (1.0, None, True):
        with pytest.raises(TypeError, match="dropout: seed must be an int"):
            kernels.dropout(x, 0.5, seed)
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match="dropout: seed must be from 0 to 2\\^64 - 1"):
            kernels.dropout(x, 0.5, seed)
    with pytest.raises(TypeError, match="dropout_backward: dy must be a NumPy array"):
        kernels.dropout_backward(1.0, mask, 0.5)
    with pytest.raises(TypeError, match=words("dropout_backward", "dy must be float32 or float64")):
        kernels.dropout_backward(mask, mask, 0.5)
    with pytest.raises(ValueError, match="dropout_backward: dy must have at most 4 dimensions"):
        kernels.dropout_backward(np.zeros((1,) * 5, np.float32), np.ones((1,) * 5, bool), 0.5)
    with pytest.raises(TypeError, match="dropout_backward: mask must be a NumPy array"):
        kernels.dropout_backward(x, [True], 0.5)
    with pytest.raises(TypeError, match="dropout_backward: mask must be bool, got float32"):
        kernels.dropout_backward(x, x, 0.5)
    with pytest.raises(ValueError, match="dropout_backward: mask must have shape \\(2, 3\\)"):
        kernels.dropout_backward(x, mask.T, 0.5)
    with pytest.raises(TypeError, match="dropout_backward: out must be float32"):
        kernels.dropout_backward(x, mask, 0.5, out=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="dropout_backward: out must have shape"):
        kernels.dropout_backward(x, mask, 0.5, out=np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="dropout_backward: out must not overlap"):
        kernels.dropout_backward(x, mask, 0.5, out=x)
