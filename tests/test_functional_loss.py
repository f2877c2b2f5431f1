"""The losses of `pyconv.functional`, by formulas written out in NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from gradients import check_gradients

from pyconv import functional as F  # noqa: N812
from pyconv import reference
from pyconv.autograd import Tensor, grad

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}
REDUCTIONS = ("mean", "sum", "none")


def values(*shape, low=-2.0, high=2.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, shape)


def log_softmax(x):
    x = np.moveaxis(x, 1, -1)
    x = x - x.max(-1, keepdims=True)
    return np.moveaxis(x - np.log(np.exp(x).sum(-1, keepdims=True)), -1, 1)


def cross_entropy(x, target, weight=None, ignore=-100, reduction="mean", smoothing=0.0):
    """One target after the other: class numbers."""
    log_p = log_softmax(x)
    weight = np.ones(x.shape[1]) if weight is None else weight
    losses, total = np.zeros(target.shape), 0.0
    for place in np.ndindex(target.shape):
        if target[place] == ignore:
            continue
        rows = log_p[(place[0], slice(None), *place[1:])]
        chosen = weight[target[place]]
        losses[place] = -(1 - smoothing) * chosen * rows[target[place]]
        losses[place] -= smoothing / x.shape[1] * (weight * rows).sum()
        total += chosen
    return reduced(losses, reduction, total)


def reduced(losses, reduction, total=None):
    if reduction == "none":
        return losses
    return losses.sum() / (1 if reduction == "sum" else losses.size if total is None else total)


SHAPES = [(5, 4), (2, 3, 4), (2, 3, 2, 2), (1, 3, 2, 1, 2)]


def classes(shape, ignore=None):
    shape_of_targets = (shape[0], *shape[2:])
    target = np.random.default_rng(1).integers(0, shape[1], shape_of_targets)
    if ignore is not None:
        target.reshape(-1)[::3] = ignore
    return target


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy(shape, reduction):
    x = values(*shape)
    weights = (None, values(shape[1], low=0.2, seed=2))
    for weight, ignore, smoothing in itertools.product(weights, (None, -100, 1), (0.0, 0.3, 1.0)):
        target = classes(shape, ignore)
        number = -100 if ignore is None else ignore
        expected = cross_entropy(x, target, weight, number, reduction, smoothing)
        for dtype in (np.float32, np.float64):
            w = None if weight is None else weight.astype(dtype)
            y = F.cross_entropy(x.astype(dtype), target, w, number, reduction, smoothing)
            assert y.dtype == dtype
            np.testing.assert_allclose(
                y.data, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
            )
    target = classes(shape, -100)
    for weight, smoothing in itertools.product(weights, (0.0, 0.3)):
        check_gradients(
            lambda x, weight=weight, smoothing=smoothing: F.cross_entropy(
                x, target, weight, reduction=reduction, label_smoothing=smoothing
            ),
            x,
        )


def test_the_plain_case_is_the_kernel():
    x, target = values(6, 5), classes((6, 5))
    np.testing.assert_allclose(
        F.cross_entropy(x, target).item(), reference.cross_entropy(x, target)[0]
    )
    check_gradients(lambda x: F.cross_entropy(x, target), x)
    check_gradients(lambda x: F.cross_entropy(x * x, target) * 3.0, x)
    for kind in (np.uint8, np.int16, np.int32, np.uint64):
        assert F.cross_entropy(x, target.astype(kind)).item() == F.cross_entropy(x, target).item()
        assert F.nll_loss(x, Tensor(target.astype(kind))).item() == F.nll_loss(x, target).item()
    assert F.cross_entropy(x[0], target[0]).shape == ()  # one row, without the axis of the batch


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_entropy_with_probabilities(shape, reduction):
    x, t = values(*shape), values(*shape, low=0.0, high=1.0, seed=3)
    t /= t.sum(1, keepdims=True)
    for weight, smoothing in itertools.product((None, values(shape[1], low=0.2)), (0.0, 0.4)):
        smooth = t * (1 - smoothing) + smoothing / shape[1]
        factors = np.ones(shape[1]) if weight is None else weight
        factors = factors.reshape(1, -1, *(1,) * (len(shape) - 2))
        losses = -(factors * smooth * log_softmax(x)).sum(1)
        for dtype in (np.float32, np.float64):
            w = None if weight is None else weight.astype(dtype)
            y = F.cross_entropy(
                x.astype(dtype), t.astype(dtype), w, reduction=reduction, label_smoothing=smoothing
            )
            assert y.dtype == dtype
            np.testing.assert_allclose(
                y.data, reduced(losses, reduction), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
            )
        check_gradients(
            lambda x, t, weight=weight, smoothing=smoothing: F.cross_entropy(
                x, t, weight, reduction=reduction, label_smoothing=smoothing
            ),
            x[:1],
            t[:1],
        )


def test_probabilities_of_one_class_are_class_numbers():
    x, target = values(5, 4), classes((5, 4))
    np.testing.assert_allclose(
        F.cross_entropy(x, np.eye(4)[target]).item(), F.cross_entropy(x, target).item()
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nll(shape, reduction):
    x, target = values(*shape), classes(shape, 0)
    weight = values(shape[1], low=0.2, seed=2)
    picked = np.take_along_axis(x, np.expand_dims(target, 1), 1).squeeze(1)
    factors = np.where(target == 0, 0, weight[target])
    expected = reduced(-picked * factors, reduction, factors.sum())
    y = F.nll_loss(x, target, weight, 0, reduction)
    np.testing.assert_allclose(y.data, expected)
    check_gradients(lambda x: F.nll_loss(x * x, target, weight, 0, reduction), x)
    np.testing.assert_allclose(
        F.nll_loss(F.log_softmax(x, 1), target, weight, reduction=reduction).data,
        F.cross_entropy(x, target, weight, reduction=reduction).data,
    )


def test_ignored_targets_count_nothing_whatever_lies_there():
    x = values(4, 3)
    x[1] = np.inf
    x[2, 0] = np.nan
    target = np.array([0, -100, -100, 2])
    for smoothing in (0.0, 0.2):
        with np.errstate(invalid="ignore"):
            y = F.cross_entropy(x, target, label_smoothing=smoothing)
        expected = cross_entropy(x[[0, 3]], target[[0, 3]], smoothing=smoothing)
        np.testing.assert_allclose(y.item(), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_nothing_to_average_is_nan(smoothing):
    for x, target in ((np.zeros((0, 3)), np.zeros(0, int)), (np.zeros((2, 3)), np.full(2, -100))):
        for reduction, expected in (("mean", np.nan), ("sum", 0.0)):
            t = Tensor(x, requires_grad=True)
            y = F.cross_entropy(t, target, reduction=reduction, label_smoothing=smoothing)
            np.testing.assert_array_equal(y.data, expected)
            y.backward()
            assert t.grad.shape == x.shape
    assert np.isnan(F.mse_loss(np.zeros((0, 2)), np.zeros((0, 2))).item())
    assert F.mse_loss(np.zeros((0, 2)), np.zeros((0, 2)), "sum").item() == 0


def test_large_logits():
    x = np.array([[1000.0, -1000.0], [-1000.0, 1000.0]])
    y = F.cross_entropy(x, np.array([0, 0]), reduction="none")
    assert y.data.tolist() == [0, 2000]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_differences(reduction):
    x, t = values(3, 4), values(3, 4, seed=1)
    for dtype in (np.float32, np.float64):
        a, b = x.astype(dtype), t.astype(dtype)
        for f, losses in ((F.mse_loss, (x - t) ** 2), (F.l1_loss, abs(x - t))):
            y = f(Tensor(a), b, reduction)
            assert y.dtype == dtype
            np.testing.assert_allclose(
                y.data, reduced(losses, reduction), rtol=1e-5 if dtype == np.float32 else 1e-13
            )
    check_gradients(lambda x, t: F.mse_loss(x, t, reduction), x, t)
    check_gradients(lambda x, t: F.l1_loss(x, t, reduction), x, t)
    same = Tensor(x, requires_grad=True)
    F.l1_loss(same, x).backward()
    assert not same.grad.data.any()  # the slope of |0|


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropy(reduction):
    p, t = values(3, 4, low=0.05, high=0.95), values(3, 4, low=0.0, high=1.0, seed=1)
    x = np.log(p / (1 - p))
    for weight in (None, values(4, low=0.2, seed=2), values(3, 1, low=0.2, seed=2)):
        factors = 1.0 if weight is None else weight
        losses = -factors * (t * np.log(p) + (1 - t) * np.log(1 - p))
        expected = reduced(losses, reduction)
        y = F.binary_cross_entropy(p, t, weight, reduction)
        np.testing.assert_allclose(y.data, expected)
        logits = F.binary_cross_entropy_with_logits(x, Tensor(t), weight, reduction)
        np.testing.assert_allclose(logits.data, expected)
        check_gradients(lambda p, t, w=weight: F.binary_cross_entropy(p, t, w, reduction), p, t)
        for pos in (None, values(4, low=0.2, high=3.0, seed=4)):
            positive = 1.0 if pos is None else pos
            losses = -factors * (positive * t * np.log(p) + (1 - t) * np.log(1 - p))
            y = F.binary_cross_entropy_with_logits(x, t, weight, reduction, pos)
            np.testing.assert_allclose(y.data, reduced(losses, reduction))
            check_gradients(
                lambda x, t, w=weight, pos=pos: F.binary_cross_entropy_with_logits(
                    x, t, w, reduction, pos
                ),
                x,
                t,
            )
    single = F.binary_cross_entropy_with_logits(
        x.astype(np.float32), t.astype(np.float32), None, reduction
    )
    assert single.dtype == np.float32


def test_binary_cross_entropy_at_the_ends():
    # The logarithm stops at -100, and the gradient is finite.
    x = Tensor(np.array([0.0, 1.0, 0.0, 1.0]), requires_grad=True)
    y = F.binary_cross_entropy(x, np.array([0.0, 1.0, 1.0, 0.0]), reduction="none")
    assert y.data.tolist() == [0, 0, 100, 100]
    (slope,) = grad(y.sum(), x)
    assert slope.data.tolist() == [0, 0, -1e12, 1e12]
    logits = F.binary_cross_entropy_with_logits(
        np.array([1e4, -1e4]), np.array([0.0, 1.0]), reduction="none"
    )
    assert logits.data.tolist() == [1e4, 1e4]


X, T = np.zeros((2, 3)), np.zeros(2, int)
P = np.full((2, 3), 0.5)
PAIRED = ("mse_loss", "l1_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")
BAD = [
    *[
        case
        for f in ("cross_entropy", "nll_loss")
        for case in [
            (f, ([1.0], T), TypeError, "x"),
            (f, (X.astype(int), T), TypeError, "x"),
            (f, (X.astype(np.float16), T), TypeError, "x"),
            (f, (np.zeros(()), T), ValueError, "x"),
            (f, (X, [0, 1]), TypeError, "target"),
            (f, (X, T[:1]), ValueError, "target"),
            (f, (X, T > 0), TypeError, "target"),
            (f, (X, T + 3), ValueError, "target must be from 0 to 2"),
            (f, (X, T - 1), ValueError, "target"),
            (f, (X, T, [1.0, 1, 1]), TypeError, "weight"),
            (f, (X, T, np.ones(2)), ValueError, "weight"),
            (f, (X, T, np.ones(3, np.float32)), TypeError, "weight"),
            (f, (X, T, None, 0.5), TypeError, "ignore_index"),
            (f, (X, T, None, -100, "average"), ValueError, "reduction"),
            (f, (X, T, None, -100, None), ValueError, "reduction"),
        ]
    ],
    ("cross_entropy", (X, T, None, -100, "mean", 1.5), ValueError, "label_smoothing"),
    ("cross_entropy", (X, T, None, -100, "mean", "a"), TypeError, "label_smoothing"),
    ("cross_entropy", (X, P[:1]), ValueError, "target"),
    ("cross_entropy", (X, P.astype(np.float32)), TypeError, "target"),
    ("cross_entropy", (X, P, np.ones(4)), ValueError, "weight"),
    ("nll_loss", (X, P), TypeError, "target"),
    *[
        case
        for f in PAIRED
        for case in [
            (f, (1.0, P), TypeError, "x"),
            (f, (P, [1.0]), TypeError, "target"),
            (f, (P.astype(int), P.astype(int)), TypeError, "x"),
            (f, (P, P[:1]), ValueError, "target"),
            (f, (P, P.astype(np.float32)), TypeError, "target"),
            (f, (P, P.astype(int)), TypeError, "target"),
        ]
    ],
    ("mse_loss", (P, P, "max"), ValueError, "reduction"),
    ("l1_loss", (P, P, 3), ValueError, "reduction"),
    ("binary_cross_entropy", (P, P, [1]), TypeError, "weight"),
    ("binary_cross_entropy", (P, P, np.ones(2)), ValueError, "weight"),
    ("binary_cross_entropy", (P, P, np.ones((4, 2, 3))), ValueError, "weight"),
    ("binary_cross_entropy", (P, P, np.ones(3, int)), TypeError, "weight"),
    ("binary_cross_entropy", (P + 1, P), ValueError, "with_logits"),
    ("binary_cross_entropy", (P - 1, P), ValueError, "x"),
    ("binary_cross_entropy", (P * np.nan, P), ValueError, "x"),
    ("binary_cross_entropy", (P, P, None, "no"), ValueError, "reduction"),
    ("binary_cross_entropy_with_logits", (P, P, None, "mean", [1]), TypeError, "pos_weight"),
    ("binary_cross_entropy_with_logits", (P, P, None, "mean", X[0, :2]), ValueError, "pos_weight"),
]


@pytest.mark.parametrize("case", range(len(BAD)))
def test_bad_input(case):
    name, arguments, error, argument = BAD[case]
    with pytest.raises(error, match=rf"^{name}: .*{argument}"):
        getattr(F, name)(*arguments)
