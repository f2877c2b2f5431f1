"""Cross-entropy against the reference in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tolerances import EPS, SMALLEST_NORMAL, assert_same_bits, assert_within, layouts

from pyconv import kernels, reference

DTYPES = (np.float32, np.float64)


def check(logits: np.ndarray, targets: np.ndarray) -> None:
    wide, n = logits.astype(np.float64), logits.shape[1]
    expected, expected_p = reference.cross_entropy(wide, targets)
    loss, p = kernels.cross_entropy(logits, targets)
    assert loss.shape == () and loss.dtype == logits.dtype
    eps = EPS[logits.dtype] * (2 if logits.dtype == np.float64 else 1)
    # The rounding of x - max is an error of the exponent; the sum of exponentials adds its own.
    distance = (wide.max(1) - wide.min(1)).max()
    relative = (4 + n / 8 + distance) * eps
    assert_within(p, expected_p, relative * expected_p + SMALLEST_NORMAL[logits.dtype])
    # The loss is the logarithm of the sum, whose relative error is absolute there.
    assert_within(np.array(loss), np.array(expected), relative + eps * abs(expected))

    for dloss in (1.0, -0.75):
        wide_p = p.astype(np.float64)
        expected = reference.cross_entropy_backward(wide_p, targets, dloss)
        actual = kernels.cross_entropy_backward(p, targets, dloss)
        bound = 2 * eps * np.abs(expected) + SMALLEST_NORMAL[logits.dtype]
        assert_within(actual, expected, bound)


@pytest.mark.parametrize("classes", [1, 2, 3, 7, 8, 10, 15, 16, 17, 31, 33, 100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy(classes: int, dtype: Any, isa: str, rng: np.random.Generator) -> None:
    for rows in (1, 9):
        logits = rng.uniform(-15, 15, (rows, classes)).astype(dtype)
        check(logits, rng.integers(0, classes, rows))
        check(logits, np.full(rows, classes - 1))


BIG_ENDIAN = pytest.param(">i4", marks=pytest.mark.cpu("CuPy has no big-endian arrays"))


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "i4", "u4", "i8", "u8", BIG_ENDIAN])
def test_types_of_targets(kind: str, rng: np.random.Generator) -> None:
    check(rng.standard_normal((6, 5)).astype(np.float32), np.array([0, 4, 1, 2, 3, 0], kind))


def test_layouts(isa: str, rng: np.random.Generator) -> None:
    logits = rng.standard_normal((5, 17)).astype(np.float32)
    targets = np.array([3, 16, 0, 5, 5])
    loss, p = kernels.cross_entropy(logits, targets)
    dx = kernels.cross_entropy_backward(p, targets)
    for _, other in layouts(logits):
        for places in (targets, np.repeat(targets, 2)[::2], targets[::-1].copy()[::-1]):
            assert_same_bits(kernels.cross_entropy(other, places)[1], p)
            assert kernels.cross_entropy(other, places)[0] == loss
    for _, other in layouts(p):
        assert_same_bits(kernels.cross_entropy_backward(other, targets), dx)
    for _, out in layouts(np.zeros_like(p)):
        if out.flags.writeable:
            assert kernels.cross_entropy_backward(p, targets, out=out) is out
            assert_same_bits(out, dx)


def test_large_logits_and_what_is_not_finite(isa: str) -> None:
    for dtype in DTYPES:
        x = np.array([[1e4, 0.0, -1e4]], dtype)
        for target, expected in ((0, 0.0), (1, 1e4), (2, 2e4)):
            assert kernels.cross_entropy(x, np.array([target]))[0] == expected
        x[0, 2] = -np.inf
        assert kernels.cross_entropy(x, np.array([2]))[0] == np.inf
        x[0, 2] = np.nan
        loss, p = kernels.cross_entropy(x, np.array([0]))
        assert np.isnan(loss) and np.isnan(p).all()


def test_empty_batch() -> None:
    for dtype in DTYPES:
        x, targets = np.zeros((0, 3), dtype), np.zeros(0, int)
        loss, p = kernels.cross_entropy(x, targets)
        assert np.isnan(loss) and p.shape == (0, 3)
        assert kernels.cross_entropy_backward(p, targets).shape == (0, 3)


_single: list[Any] = []


def test_any_number_of_threads_gives_the_same_bits(threads: int) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3000, 37)).astype(np.float32)
    targets = rng.integers(0, 37, 3000)
    loss, p = kernels.cross_entropy(x, targets)
    results = [np.array(loss), p, kernels.cross_entropy_backward(p, targets, 3.0)]
    _single.extend(results[len(_single) :])
    for actual, expected in zip(results, _single, strict=True):
        assert_same_bits(actual, expected)


@pytest.mark.cpu("on a device the loss is an array")
def test_the_loss_is_a_scalar() -> None:
    for dtype in DTYPES:
        assert type(kernels.cross_entropy(np.zeros((1, 2), dtype), np.array([1]))[0]) is dtype


@pytest.mark.cpu("classes on a device are not looked at")
def test_classes_out_of_range() -> None:
    x = np.zeros((2, 3), np.float32)
    for call in (kernels.cross_entropy, kernels.cross_entropy_backward):
        for bad in (np.array([0, 3]), np.array([-1, 2]), np.array([0, 2**63], np.uint64)):
            with pytest.raises(ValueError, match=f"{call.__name__}: targets must be from 0 to 2"):
                call(x, bad)


def test_bad_arguments(words: Callable[[str, str], str]) -> None:
    x, t = np.zeros((2, 3), np.float32), np.array([0, 1])
    for call, name, rows in (
        (kernels.cross_entropy, "cross_entropy", "logits"),
        (kernels.cross_entropy_backward, "cross_entropy_backward", "probabilities"),
    ):
        with pytest.raises(TypeError, match=f"{name}: {rows} must be a NumPy array, got list"):
            call([[0.0]], t)
        message = words(name, f"{name}: {rows} must be float32 or float64")
        with pytest.raises(TypeError, match=message):
            call(x.astype(int), t)
        with pytest.raises(ValueError, match=f"{name}: {rows} must be 2-D, got 1-D"):
            call(x[0], t)
        message = words(name, f"{name}: targets must be a NumPy array, got list")
        with pytest.raises(TypeError, match=message):
            call(x, [0, 1])
        with pytest.raises(TypeError, match=f"{name}: targets must be of an integer type"):
            call(x, t.astype(float))
        with pytest.raises(TypeError, match=f"{name}: targets must be of an integer type"):
            call(x, t.astype(bool))
        with pytest.raises(ValueError, match=f"{name}: targets must be 1-D"):
            call(x, t[:, None])
        with pytest.raises(ValueError, match=f"{name}: targets must have shape \\(2,\\)"):
            call(x, t[:1])
    with pytest.raises(TypeError, match="cross_entropy_backward: dloss must be a number"):
        kernels.cross_entropy_backward(x, t, "1")
    with pytest.raises(TypeError, match="cross_entropy_backward: out must be float32"):
        kernels.cross_entropy_backward(x, t, out=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="cross_entropy_backward: out must have shape"):
        kernels.cross_entropy_backward(x, t, out=np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="cross_entropy_backward: out must not overlap"):
        kernels.cross_entropy_backward(x, t, out=x)
