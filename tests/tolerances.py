"""Bounds that follow from the arithmetic, and data to test with.

A sum of n products, formed in some order in floating point, is off by no more than
c · eps · sum |x_i w_i|. With random signs the errors cancel and c = 4 holds however long the sum;
for any input c = n / 2 is proven (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
3.1, where every operation errs by at most eps / 2). Each term may lose n · 2^-126 to denormals that
are flushed. The `magnitude` of a result is the same operation on absolute values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

EPS = {np.dtype(np.float32): 2.0**-23, np.dtype(np.float64): 2.0**-52}
SMALLEST_NORMAL = {np.dtype(np.float32): 2.0**-126, np.dtype(np.float64): 2.0**-1022}

# The factor c of each way to compute a convolution, on products of random signs.
FACTOR = {"direct": 4.0, "winograd2": 4.0, "winograd4": 16.0, "winograd6": 64.0}


def proven_factor(n: int) -> float:
    """The factor that holds for any input, n the longest chain of additions."""
    return max(4.0, n / 2)


def sum_bound(dtype: Any, magnitude: Any, n: int, c: float = 4.0) -> np.ndarray:
    """The error that each sum of n products may have: c eps magnitude + n 2^-126."""
    dtype = np.dtype(dtype)
    return c * EPS[dtype] * np.asarray(magnitude, np.float64) + n * SMALLEST_NORMAL[dtype]


def assert_close_sum(
    actual: np.ndarray, expected: np.ndarray, magnitude: Any, n: int, c: float = 4.0
) -> None:
    """Every element of `actual` lies within `sum_bound` of the float64 `expected`.

    Where `actual` is float64 itself, the reference has the same error, and the bound is double.
    """
    if actual.dtype == np.float64:
        c = 2 * c
    assert_within(actual, expected, sum_bound(actual.dtype, magnitude, n, c))


def assert_close_elementwise(
    actual: np.ndarray, expected: np.ndarray, ulps: float = 4.0, scale: Any = None
) -> None:
    """Every element is within `ulps` eps of the expected, relative to it or to `scale`."""
    magnitude = np.abs(expected) if scale is None else scale
    assert_within(actual, expected, sum_bound(actual.dtype, magnitude, 1, ulps))


def assert_within(actual: np.ndarray, expected: np.ndarray, bound: Any) -> None:
    """|actual - expected| <= bound, element by element; equal infinities and NaNs are equal."""
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    bound = np.broadcast_to(bound, expected.shape)
    with np.errstate(invalid="ignore"):
        error = np.abs(actual.astype(np.float64) - expected)
        ok = (error <= bound) | (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    if not ok.all():
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(ok, 0, np.where(np.isnan(error), np.inf, error / bound))
        worst = np.unravel_index(np.argmax(ratio), ratio.shape)
        raise AssertionError(
            f"{np.count_nonzero(~ok)} of {ok.size} elements are out of bounds; the worst, at "
            f"{tuple(map(int, worst))}: {actual[worst]!r}, expected {expected[worst]!r}, "
            f"error {error[worst]:.3g} is {ratio[worst]:.3g} times the bound {bound[worst]:.3g}"
        )


def assert_same_bits(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal shape, type and bits: zeros keep their sign, NaNs their payload."""
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    assert actual.dtype == expected.dtype, f"{actual.dtype}, expected {expected.dtype}"
    a, b = np.ascontiguousarray(actual), np.ascontiguousarray(expected)
    different = a.reshape(-1).view(np.uint8) != b.reshape(-1).view(np.uint8)
    if different.any():
        first = np.unravel_index(int(np.argmax(different)) // a.itemsize, a.shape)
        raise AssertionError(
            f"bits differ, first at {tuple(map(int, first))}: {a[first]!r}, expected {b[first]!r}"
        )


def assert_exact(actual: np.ndarray, expected: np.ndarray) -> None:
    """Equal values, whatever the float types: for results that are small integers."""
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    np.testing.assert_array_equal(actual.astype(np.float64), expected)


def small_integers(
    shape: Any, dtype: Any, rng: np.random.Generator, low: int = -3, high: int = 3
) -> np.ndarray:
    """Integers from low to high, both included: sums of their products are exact."""
    return rng.integers(low, high, shape, endpoint=True).astype(dtype)


def random_signs(shape: Any, dtype: Any, rng: np.random.Generator) -> np.ndarray:
    """Numbers from [1/2, 1) with random signs: no product is small, and errors cancel."""
    signs = rng.integers(0, 2, shape) * 2 - 1
    return (signs * rng.uniform(0.5, 1.0, shape)).astype(dtype)


def one_sign(shape: Any, dtype: Any, rng: np.random.Generator) -> np.ndarray:
    """Numbers from [1/2, 1): the worst case, for `proven_factor`."""
    return rng.uniform(0.5, 1.0, shape).astype(dtype)


def layouts(x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The values of `x` in every way that memory may hold them.

    "broadcast", with a stride of 0, is among them where all entries along axis 0 are equal.
    """
    yield "contiguous", np.ascontiguousarray(x)
    yield "channels-last", channels_last(x)

    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1] + 1), x.dtype)
    wide[..., 1::2] = x
    yield "slice", wide[..., 1::2]

    yield "negative-stride", np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    yield "fortran", np.asfortranarray(x)

    if x.ndim and x.shape[0] and np.array_equal(x, np.broadcast_to(x[:1], x.shape)):
        yield "broadcast", np.broadcast_to(x[:1], x.shape)

    read_only = x.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only

    yield "unaligned", unaligned(x)


def channels_last(x: np.ndarray) -> np.ndarray:
    """`x` with axis 1 innermost in memory."""
    if x.ndim < 3:
        return np.ascontiguousarray(x)
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def unaligned(x: np.ndarray) -> np.ndarray:
    """`x` in memory whose address is odd."""
    buffer = np.empty(x.nbytes + 2, np.uint8)
    offset = 1 - buffer.ctypes.data % 2
    result = buffer[offset : offset + x.nbytes].view(x.dtype).reshape(x.shape)
    result[...] = x
    return result
