"""`pyconv.functional`: values by the reference, gradients by differences, signatures, messages.

The losses have a module of their own.
"""

from __future__ import annotations

import inspect
import itertools
import weakref

import numpy as np
import pytest
from gradients import check_gradients
from tolerances import layouts

import pyconv
from pyconv import functional as F  # noqa: N812
from pyconv import reference
from pyconv.autograd import Tensor, grad, no_grad

# Operations of a few hundred terms at most, on numbers near 1: 4 eps times the terms' sum.
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}
DTYPES = (np.float32, np.float64)


def values(*shape, low=-1.0, high=1.0, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


def distinct(*shape, seed=0):
    """Numbers that differ by more than the step of a difference: no ties, no kinks near."""
    n = int(np.prod(shape))
    order = np.random.default_rng(seed).permutation(n)
    return ((order - n // 2 + 0.5) / max(n, 1)).reshape(shape)


def same(result, expected, dtype=np.float64):
    assert isinstance(result, Tensor)
    assert result.dtype == dtype
    np.testing.assert_allclose(result.data, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def leaves(*arrays):
    return [Tensor(a.copy(), requires_grad=True) for a in arrays]


# -- activations ----------------------------------------------------------------------------------

ACTIVATIONS = {
    "relu": (F.relu, reference.relu),
    "relu6": (lambda x: F.relu6(x * 8), lambda x: reference.relu6(x * 8)),
    "leaky_relu": (F.leaky_relu, reference.leaky_relu),
    "leaky_relu 0.3": (
        lambda x: F.leaky_relu(x, 0.3),
        lambda x: reference.leaky_relu(x, 0.3),
    ),
    "leaky_relu 0": (lambda x: F.leaky_relu(x, 0), lambda x: reference.leaky_relu(x, 0.0)),
    "leaky_relu -2": (lambda x: F.leaky_relu(x, -2), lambda x: reference.leaky_relu(x, -2.0)),
    "sigmoid": (F.sigmoid, reference.sigmoid),
    "tanh": (F.tanh, reference.tanh),
    "silu": (F.silu, reference.silu),
    "gelu": (F.gelu, reference.gelu),
    "softmax": (F.softmax, reference.softmax),
    "softmax over channels": (lambda x: F.softmax(x, 1), lambda x: reference.softmax(x, 1)),
    "log_softmax": (F.log_softmax, reference.log_softmax),
    "log_softmax over rows": (
        lambda x: F.log_softmax(x, dim=-2),
        lambda x: reference.log_softmax(x, -2),
    ),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    operation, expected = ACTIVATIONS[name]
    x = distinct(2, 3, 4, 2) * 3
    for dtype in DTYPES:
        same(operation(Tensor(x.astype(dtype))), expected(x.astype(dtype).astype(float)), dtype)
    for scale in (3, 0.05):
        check_gradients(operation, distinct(2, 3, 2) * scale)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "gelu"])
def test_activations_of_any_rank(name):
    x, f = distinct(2, 1, 3, 2, 2), getattr(F, name)
    for shape in ((2, 1, 3, 2, 2), (1, 2, 3, 1, 2, 2), (0, 1, 2, 3, 4), ()):
        a = x.reshape(shape) if np.prod(shape) == x.size else np.full(shape, 0.5)
        same(f(a), getattr(reference, name)(a.reshape(-1)).reshape(shape))
    check_gradients(f, x)


@pytest.mark.parametrize("dim", range(-5, 5))
def test_softmax_of_any_rank(dim):
    x = values(2, 1, 3, 2, 2)
    p = np.exp(x) / np.exp(x).sum(dim, keepdims=True)
    same(F.softmax(x, dim), p)
    same(F.log_softmax(x, dim), np.log(p))
    check_gradients(lambda x: F.log_softmax(x, dim) ** 2, x)


@pytest.mark.parametrize("name", ["gelu", "silu", "sigmoid", "tanh", "softmax"])
def test_third_derivatives(name):
    x = Tensor(values(3), requires_grad=True)

    def second(x, create_graph=False):
        (first,) = grad((getattr(F, name)(x) * np.arange(1.0, 4)).sum(), x, create_graph=True)
        return grad((first * np.array([3.0, -1, 2])).sum(), x, create_graph=create_graph)[0]

    (third,) = grad((second(x, True) * np.array([1.0, 2, -2])).sum(), x)
    step = 1e-5
    for i in range(3):
        slope = 0.0
        for sign in (1, -1):
            moved = x.data.copy()
            moved[i] += sign * step
            slope += sign * float(second(Tensor(moved, True)).data @ np.array([1.0, 2, -2]))
        assert third.data[i] == pytest.approx(slope / (2 * step), abs=1e-7)


def test_activations_of_what_is_not_finite():
    x = np.array([np.nan, np.inf, -np.inf, 1000.0, -1000.0])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(F.relu(x).data, [np.nan, np.inf, 0, 1000, 0])
        np.testing.assert_array_equal(F.sigmoid(x).data, [np.nan, 1, 0, 1, 0])
        np.testing.assert_array_equal(F.tanh(x).data, [np.nan, 1, -1, 1, -1])
    assert F.softmax(np.array([1000.0, -1000.0])).data.tolist() == [1, 0]
    t = Tensor(np.array([np.inf, -np.inf, 40.0, -40.0]), requires_grad=True)
    F.gelu(t[2:]).sum().backward()
    np.testing.assert_allclose(t.grad.data, [0, 0, 1, 0], atol=1e-12)


# -- convolutions ---------------------------------------------------------------------------------

# x's shape, weight's shape, geometry
CONVOLUTIONS = [
    ((2, 3, 5, 4), (4, 3, 3, 3), dict(padding=1)),
    ((2, 4, 6, 5), (6, 2, 3, 2), dict(stride=(2, 1), padding=(1, 0), groups=2)),
    ((1, 2, 7, 7), (3, 2, 3, 3), dict(dilation=2, padding=((1, 2), (0, 3)))),
    ((2, 3, 5, 5), (6, 1, 3, 3), dict(groups=3, padding="same", stride=2)),
    ((2, 5, 3, 4), (4, 5, 1, 1), dict(padding="valid")),
]
SEQUENCES = [
    ((2, 3, 8), (4, 3, 3), dict(padding=1)),
    ((2, 4, 9), (6, 2, 3), dict(stride=2, padding=((2, 0),), dilation=2, groups=2)),
    ((1, 2, 6), (3, 2, 4), dict(padding="same")),
]
TRANSPOSED = [
    ((2, 3, 3, 4), (3, 4, 3, 3), dict(padding=1)),
    ((2, 4, 3, 2), (4, 3, 3, 2), dict(stride=(2, 3), output_padding=(1, 2), groups=2)),
    ((1, 2, 3, 3), (2, 3, 2, 3), dict(stride=2, padding=((1, 0), (0, 1)), dilation=2)),
]
TRANSPOSED_SEQUENCES = [
    ((2, 3, 5), (3, 4, 3), dict(stride=2, padding=1, output_padding=1)),
    ((1, 4, 4), (4, 2, 2), dict(groups=2, dilation=3)),
]
ALL = [
    *(("conv2d", *case) for case in CONVOLUTIONS),
    *(("conv1d", *case) for case in SEQUENCES),
    *(("conv_transpose2d", *case) for case in TRANSPOSED),
    *(("conv_transpose1d", *case) for case in TRANSPOSED_SEQUENCES),
]


def convolution_case(name, x_shape, w_shape, geometry, dtype=np.float64):
    x, w = values(*x_shape, dtype=dtype), values(*w_shape, seed=1, dtype=dtype)
    channels = w_shape[0] if "transpose" not in name else w_shape[1] * geometry.get("groups", 1)
    return x, w, values(channels, seed=2, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ALL, ids=str)
def test_convolutions(case, dtype):
    name, *_, geometry = case
    x, w, b = convolution_case(*case, dtype=dtype)
    exact = [a.astype(float) for a in (x, w, b)]
    same(getattr(F, name)(x, w, b, **geometry), getattr(reference, name)(*exact, **geometry), dtype)
    no_bias = getattr(F, name)(Tensor(x), Tensor(w), **geometry)
    same(no_bias, getattr(reference, name)(*exact[:2], **geometry), dtype)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_gradients_of_convolutions(case):
    name, *_, geometry = case
    arrays = convolution_case(*case)
    operation = getattr(F, name)
    check_gradients(lambda x, w, b: operation(x, w, b, **geometry), *arrays, second=False)
    x, w, _ = arrays
    check_gradients(lambda x, w: operation(x, w, **geometry).tanh(), x[:1], w)


def test_arguments_of_convolutions_by_position():
    x, w, b = values(1, 2, 5, 5), values(4, 1, 3, 3, seed=1), values(4, seed=2)
    same(
        F.conv2d(x, w, b, 2, 1, 1, 2),
        reference.conv2d(x, w, b, stride=2, padding=1, groups=2),
    )
    w = values(2, 3, 3, 3, seed=1)
    same(
        F.conv_transpose2d(x, w, b[:3], 2, 1, 1, 1, 2),
        reference.conv_transpose2d(x, w, b[:3], stride=2, padding=1, output_padding=1, dilation=2),
    )


FUSED = ["relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu"]
FUSED += [
    ("leaky_relu", 0.2),
    ("leaky_relu", 0),
    ("leaky_relu", -1),
    ("leaky_relu", np.float32(-2)),
]


def apply(activation, x):
    name, *slope = activation if isinstance(activation, tuple) else (activation,)
    return getattr(F, name)(x, *slope)


def check_fused(fused, unfused, arrays):
    """The same value, gradient and second derivative, recorded or not."""
    plain = fused(*arrays)
    xs, ys = leaves(*arrays), leaves(*arrays)
    a, b = fused(*xs), unfused(*ys)
    same(a, b.data)
    same(plain, b.data)
    dy, wanted = values(*a.shape, seed=9), []
    for create_graph in (False, True):
        ga = grad(a, xs, dy, retain_graph=True, create_graph=create_graph)
        gb = grad(b, ys, dy, retain_graph=True, create_graph=create_graph)
        wanted = gb if not create_graph else wanted
        for one, other, first in zip(ga, gb, wanted, strict=True):
            np.testing.assert_allclose(one.data, other.data, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(one.data, first.data, rtol=1e-10, atol=1e-12)
    total_a, total_b = sum((g * g).sum() for g in ga), sum((g * g).sum() for g in gb)
    twice_a, twice_b = (
        [None] * len(ts) if not total.requires_grad else grad(total, ts, allow_unused=True)
        for total, ts in ((total_a, xs), (total_b, ys))
    )
    for x, one, other in zip(xs, twice_a, twice_b, strict=True):
        one, other = (np.zeros(x.shape) if g is None else g.data for g in (one, other))
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("activation", FUSED, ids=str)
def test_fused_activation_and_residual(activation):
    x, w, b = values(2, 3, 4, 4), values(4, 3, 3, 3, seed=1), values(4, seed=2)
    r = values(2, 4, 4, 4, seed=3)
    check_fused(
        lambda x, w, b, r: F.conv2d(x, w, b, padding=1, activation=activation, residual=r),
        lambda x, w, b, r: apply(activation, F.conv2d(x, w, b, padding=1) + r),
        (x, w, b, r),
    )
    check_fused(
        lambda x, w, b: F.conv1d(x, w, b, activation=activation),
        lambda x, w, b: apply(activation, F.conv1d(x, w, b)),
        (x[..., 0], w[..., 0], b),
    )
    check_fused(
        lambda x, w, b: F.conv_transpose2d(x, w, b, 2, activation=activation),
        lambda x, w, b: apply(activation, F.conv_transpose2d(x, w, b, 2)),
        (x, values(3, 2, 2, 2, seed=1), b[:2]),
    )
    check_fused(
        lambda x, d, p, b: F.depthwise_separable_conv2d(x, d, p, b, activation=activation),
        lambda x, d, p, b: apply(activation, F.conv2d(F.conv2d(x, d, groups=3), p, b)),
        (x, values(3, 1, 3, 3, seed=4), values(4, 3, 1, 1, seed=5), b),
    )
    check_fused(
        lambda x, w, b: F.linear(x, w, b, activation=activation),
        lambda x, w, b: apply(activation, F.linear(x, w, b)),
        (x[..., 0, 0], w[..., 0, 0], b),
    )
    for training in (True, False):
        mean, var = values(3, seed=6), values(3, low=0.5, high=2, seed=7)

        def norm(x, g, b, training=training, mean=mean, var=var, **options):
            return F.batch_norm(x, mean.copy(), var.copy(), g, b, training, **options)

        check_fused(
            lambda x, g, b, r, norm=norm: norm(x, g, b, activation=activation, residual=r),
            lambda x, g, b, r, norm=norm: apply(activation, norm(x, g, b) + r),
            (x, values(3, low=0.5, seed=4), values(3, seed=5), values(2, 3, 4, 4, seed=8)),
        )


def test_residual_alone():
    x, w, r = values(2, 3, 4, 4), values(3, 3, 1, 1, seed=1), values(2, 3, 4, 4, seed=3)
    check_fused(
        lambda x, w, r: F.conv2d(x, w, residual=r), lambda x, w, r: F.conv2d(x, w) + r, (x, w, r)
    )
    check_fused(
        lambda x, r: F.batch_norm(x, None, None, training=True, residual=r),
        lambda x, r: F.batch_norm(x, None, None, training=True) + r,
        (x, r),
    )
    # The gradient of the residual is that of the result; nobody may write into it twice.
    t = Tensor(x, requires_grad=True)
    F.conv2d(t, w, residual=t).sum().backward()
    np.testing.assert_allclose(
        t.grad.data, 1 + np.broadcast_to(w.sum((0, 2, 3)).reshape(1, -1, 1, 1), x.shape)
    )


def test_depthwise_separable():
    x, d = values(2, 3, 5, 5), values(6, 1, 3, 3, seed=1)
    p, b = values(4, 6, 1, 1, seed=2), values(4, seed=3)
    geometry = dict(stride=2, padding=(1, 2), dilation=1)
    for dtype in DTYPES:
        arrays = [a.astype(dtype) for a in (x, d, p, b)]
        exact = [a.astype(float) for a in arrays]
        same(
            F.depthwise_separable_conv2d(*arrays, **geometry),
            reference.depthwise_separable_conv2d(*exact, **geometry),
            dtype,
        )
    check_gradients(
        lambda *a: F.depthwise_separable_conv2d(*a, 2, (1, 2)), x[:1], d, p, b, second=True
    )


def test_empty_batches():
    x = np.zeros((0, 3, 6, 6))
    w = values(4, 3, 3, 3)
    cases = {
        "conv2d": lambda x, w: F.conv2d(x, w, activation="relu"),
        "conv_transpose2d": lambda x, w: F.conv_transpose2d(x, w.transpose(0, 1)),
        "linear": lambda x, w: F.linear(x, w[:, 0, :, 0].reshape(2, 6)),
        "max_pool2d": lambda x, w: F.max_pool2d(x, 2) * w.sum(),
        "avg_pool2d": lambda x, w: F.avg_pool2d(x, 2) * w.sum(),
        "adaptive": lambda x, w: F.adaptive_avg_pool2d(x, 1) * w.sum(),
        "relu": lambda x, w: F.relu(x) * w.sum(),
        "softmax": lambda x, w: F.softmax(x) * w.sum(),
        "instance_norm": lambda x, w: F.instance_norm(x, weight=w[0, :, 0, 0]),
        "eval norm": lambda x, w: F.batch_norm(x, np.zeros(3), np.ones(3), w[0, :, 0, 0]),
        "interpolate": lambda x, w: F.interpolate(x, scale_factor=2) * w.sum(),
        "pad": lambda x, w: F.pad(x, (1, 1)) * w.sum(),
        "dropout": lambda x, w: F.dropout(x, 0.5) * w.sum(),
    }
    for name, operation in cases.items():
        a, b = leaves(x, w)
        y = operation(a, b)
        assert y.shape[0] == 0, name
        y.sum().backward()
        assert a.grad.shape == x.shape, name
        assert not b.grad.data.any(), name


# -- dense ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 5, 3), (2, 1, 4, 3), (0, 4, 3)], ids=str)
def test_linear_on_any_leading_shape(shape):
    w, b = values(4, 3, seed=1), values(4, seed=2)
    for dtype in DTYPES:
        x = values(*shape, dtype=dtype)
        y = F.linear(x, w.astype(dtype), b.astype(dtype))
        same(y, x.astype(float) @ w.astype(dtype).T + b.astype(dtype), dtype)
    check_gradients(F.linear, values(*shape), w, b)
    check_gradients(lambda x, w: F.linear(x, w, activation="tanh"), values(*shape), w)


def test_linear_without_inputs_is_its_bias():
    y = F.linear(np.zeros((2, 5, 0)), np.zeros((3, 0)), np.arange(3.0))
    assert y.shape == (2, 5, 3)
    assert (y.data == np.arange(3)).all()


# -- pooling --------------------------------------------------------------------------------------

WINDOWS = [
    (2, {}),
    ((3, 2), dict(stride=(2, 1), padding=(1, 0))),
    (3, dict(stride=2, padding=((1, 0), (0, 1)), ceil_mode=True)),
    (2, dict(padding="same")),
]


@pytest.mark.parametrize("case", WINDOWS, ids=str)
def test_pools(case):
    kernel, how = case
    x = distinct(2, 3, 5, 6)
    for dtype in DTYPES:
        y, indices = F.max_pool2d(x.astype(dtype), kernel, **how, return_indices=True)
        wanted, places = reference.max_pool2d(x.astype(dtype), kernel, **how)
        same(y, wanted, dtype)
        np.testing.assert_array_equal(indices, places)
        same(F.max_pool2d(x.astype(dtype), kernel, **how), wanted, dtype)
        for more in ({}, dict(count_include_pad=False), dict(divisor_override=3)):
            expected = reference.avg_pool2d(x.astype(dtype).astype(float), kernel, **how, **more)
            same(F.avg_pool2d(x.astype(dtype), kernel, **how, **more), expected, dtype)
    check_gradients(lambda x: F.max_pool2d(x, kernel, **how), x[:1])
    check_gradients(lambda x: F.max_pool2d(x, kernel, **how) ** 2, x[:1, :1])
    check_gradients(lambda x: F.max_pool2d(x, kernel, **how, return_indices=True)[0], x[:1])
    check_gradients(lambda x: F.avg_pool2d(x, kernel, **how, count_include_pad=False) ** 2, x[:1])
    check_gradients(lambda x: F.avg_pool2d(x, kernel, **how, divisor_override=-2) ** 2, x[:1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_running_statistics_move_alike_however_they_lie(dtype):
    x = distinct(3, 5, 4, 2).astype(dtype)
    plain = [np.arange(5).astype(dtype), np.arange(1, 6).astype(dtype)]
    wide = [np.repeat(a, 2)[::2] for a in plain]
    assert not wide[0].flags.c_contiguous
    mean, var = x.mean((0, 2, 3), np.float64), x.var((0, 2, 3), np.float64, ddof=1)
    expected = 0.7 * plain[0] + 0.3 * mean, 0.7 * plain[1] + 0.3 * var
    for statistics in (plain, wide):
        F.batch_norm(x, *statistics, training=True, momentum=0.3)
    for i in range(2):
        np.testing.assert_array_equal(plain[i], wide[i])
        np.testing.assert_allclose(
            plain[i], expected[i], rtol=1e-5 if dtype == np.float32 else 1e-12
        )


def test_pools_of_sequences():
    x = distinct(2, 3, 9)
    how = dict(stride=2, padding=1)
    same(F.max_pool1d(x, 3, **how), reference.max_pool1d(x, 3, **how)[0])
    same(F.avg_pool1d(x, 3, **how), reference.avg_pool1d(x, 3, **how))
    same(F.adaptive_avg_pool1d(x, 4), reference.adaptive_avg_pool1d(x, 4))
    same(F.adaptive_avg_pool1d(x, None), x)
    y, indices = F.max_pool1d(x, 2, return_indices=True)
    np.testing.assert_array_equal(np.take_along_axis(x, indices, 2), y.data)
    check_gradients(lambda x: F.max_pool1d(x, 3, **how, dilation=2) ** 2, x[:1])
    check_gradients(lambda x: F.avg_pool1d(x, 3, **how) ** 2, x[:1])
    check_gradients(lambda x: F.adaptive_avg_pool1d(x, 4) ** 2, x[:1])


def test_pool_arguments_by_position():
    x = distinct(1, 1, 7, 7)
    same(
        F.max_pool2d(x, 2, 3, 1, 2, True),
        reference.max_pool2d(x, 2, 3, 1, 2, True)[0],
    )
    same(F.avg_pool2d(x, 2, 3, 1, True, False, 5), reference.avg_pool2d(x, 2, 3, 1, True, False, 5))


@pytest.mark.parametrize("size", [1, 3, (2, 4), (None, 2), (7, None), None], ids=str)
def test_adaptive_pool(size):
    x = distinct(2, 2, 5, 6)
    sizes = size if isinstance(size, tuple) else (size, size)
    sizes = tuple(n if s is None else s for s, n in zip(sizes, (5, 6), strict=True))
    same(F.adaptive_avg_pool2d(x, size), reference.adaptive_avg_pool2d(x, sizes))
    check_gradients(lambda x: F.adaptive_avg_pool2d(x, size) ** 2, x[:1])


# -- normalisation --------------------------------------------------------------------------------

NORMS = [(6, 3), (4, 3, 5), (2, 3, 2, 4)]


@pytest.mark.parametrize("shape", NORMS, ids=str)
def test_batch_norm(shape):
    x = values(*shape)
    g, b = values(3, low=0.5, seed=1), values(3, seed=2)
    mean, var = values(3, seed=3), values(3, low=0.5, high=2.0, seed=4)
    for dtype in DTYPES:
        low = [a.astype(dtype) for a in (x, g, b, mean, var)]
        exact = [a.astype(float) for a in low]
        trained = F.batch_norm(low[0], None, None, low[1], low[2], True, eps=1e-3)
        same(trained, reference.batch_norm_training(*exact[:3], eps=1e-3)[0], dtype)
        infer = F.batch_norm(low[0], low[3], low[4], low[1], low[2])
        same(infer, reference.batch_norm_inference(*exact), dtype)
    plain = F.batch_norm(x, mean, var)
    same(plain, reference.batch_norm_inference(x, np.ones(3), np.zeros(3), mean, var))
    check_gradients(lambda x, g, b: F.batch_norm(x, None, None, g, b, True), x, g, b)
    check_gradients(lambda x: F.batch_norm(x, None, None, training=True), x, second=False)
    check_gradients(lambda x, g, b: F.batch_norm(x, mean, var, g, b), x, g, b)


def test_running_statistics():
    x = values(4, 3, 2, 5) * 3 + 1
    for dtype in DTYPES:
        for wrap in (np.asarray, Tensor):
            mean, var = np.full(3, 2.0, dtype), np.full(3, 3.0, dtype)
            held = wrap(mean), wrap(var)
            F.batch_norm(Tensor(x.astype(dtype), True), *held, training=True, momentum=0.3)
            tolerance = TOLERANCE[dtype] * 10
            np.testing.assert_allclose(mean, 0.7 * 2 + 0.3 * x.mean((0, 2, 3)), rtol=tolerance)
            unbiased = x.var((0, 2, 3), ddof=1)
            np.testing.assert_allclose(var, 0.7 * 3 + 0.3 * unbiased, rtol=tolerance)
    mean, var = np.zeros(3), np.ones(3)
    F.batch_norm(x, mean, None, training=True, momentum=1.0)  # one of them alone
    np.testing.assert_allclose(mean, x.mean((0, 2, 3)))
    F.batch_norm(x, mean, var)
    np.testing.assert_array_equal(var, 1)  # inference changes nothing
    before = mean.copy()
    F.batch_norm(np.zeros((0, 3, 2, 2)), mean, var, training=True)
    np.testing.assert_array_equal(mean, before)  # an empty batch says nothing


@pytest.mark.parametrize("shape", [(2, 3, 3, 4), (2, 3, 6)], ids=str)
def test_instance_norm(shape):
    x, g, b = values(*shape), values(3, low=0.5, seed=1), values(3, seed=2)
    for dtype in DTYPES:
        low = [a.astype(dtype) for a in (x, g, b)]
        exact = [a.astype(float) for a in low]
        y = F.instance_norm(low[0], weight=low[1], bias=low[2])
        same(y, reference.instance_norm(*exact), dtype)
    same(F.instance_norm(x, eps=0.1), reference.instance_norm(x, eps=0.1))
    check_gradients(lambda x, g, b: F.instance_norm(x, weight=g, bias=b), x, g, b)
    check_gradients(F.instance_norm, x)
    plane = tuple(range(2, x.ndim))
    mean, var = np.zeros(3), np.ones(3)
    F.instance_norm(x, mean, var, momentum=0.25)
    np.testing.assert_allclose(mean, 0.25 * x.mean((0, *plane)))
    np.testing.assert_allclose(var, 0.75 + 0.25 * x.var(plane, ddof=1).mean(0))
    y = F.instance_norm(x, mean, var, g, b, use_input_stats=False)
    same(y, reference.batch_norm_inference(x, g, b, mean, var))


def test_statistics_that_move_before_the_gradient_is_computed():
    x, mean, var = values(4, 3), np.zeros(3), np.ones(3)
    t = Tensor(x, requires_grad=True)
    y = F.batch_norm(t, mean, var)
    F.batch_norm(x * 5, mean, var, training=True)
    y.sum().backward()
    np.testing.assert_allclose(t.grad.data, 1 / np.sqrt(1 + 1e-5))


# -- resampling -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        dict(size=(5, 3)),
        dict(size=7),
        dict(scale_factor=2),
        dict(scale_factor=(1.5, 0.7)),
        dict(size=(5, 7), mode="bilinear"),
        dict(size=(5, 2), mode="bilinear", align_corners=True),
        dict(scale_factor=(2, 1.7), mode="bilinear", align_corners=False),
        dict(scale_factor=2.0, mode="bilinear", align_corners=True),
    ],
    ids=str,
)
def test_interpolate(how):
    x = values(2, 2, 4, 3)
    mode, corners = how.get("mode", "nearest"), bool(how.get("align_corners"))
    for dtype in DTYPES:
        low = x.astype(dtype)
        expected = reference.upsample2d(
            low.astype(float), how.get("scale_factor"), mode, size=how.get("size"),
            align_corners=corners,
        )  # fmt: skip
        same(F.interpolate(low, **how), expected, dtype)
    check_gradients(lambda x: F.interpolate(x, **how) ** 2, x[:1])


def test_interpolate_sequences():
    x = values(2, 3, 5)
    same(F.interpolate(x, 10), np.repeat(x, 2, 2))
    same(F.interpolate(x, scale_factor=3), np.repeat(x, 3, 2))
    y = F.interpolate(x, size=(9,), mode="linear", align_corners=True)
    grid = np.linspace(0, 4, 9)
    wanted = np.stack([[np.interp(grid, np.arange(5), row) for row in rows] for rows in x])
    same(y, wanted)
    check_gradients(lambda x: F.interpolate(x, 7, mode="linear") ** 2, x[:1])
    check_gradients(lambda x: F.interpolate(x, scale_factor=(1.6,), mode="linear"), x[:1])


PADS = [
    ((2, 3, 4, 3), (1, 2)),
    ((2, 3, 4, 3), (1, 2, 3, 0)),
    ((2, 3, 4, 3), (-1, 2, 0, -2)),
    ((2, 3, 4, 3), (1, 0, 0, 2, 1, 1)),
    ((5,), (2, 3)),
    ((2, 4), (0, 1, 1, -1)),
]


@pytest.mark.parametrize("case", PADS, ids=str)
@pytest.mark.parametrize("value", [0.0, -1.5, 2])
def test_constant_pad(case, value):
    shape, pad = case
    x = values(*shape)
    ends = [(0, 0)] * (len(shape) - len(pad) // 2)
    ends += [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    cut = tuple(slice(max(0, -b), n - max(0, -a)) for n, (b, a) in zip(shape, ends, strict=True))
    frame = [(max(0, b), max(0, a)) for b, a in ends]
    expected = np.pad(x[cut], frame, constant_values=value)
    same(F.pad(x, pad, value=value), expected)
    same(F.pad(x.astype(np.float32), pad, "constant", value), expected.astype(np.float32),
         np.float32)  # fmt: skip
    check_gradients(lambda x: F.pad(x, pad, value=value) ** 2, x)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("case", [((2, 2, 4, 3), (1, 2, 3, 0)), ((1, 2, 5), (4, 2))], ids=str)
def test_other_pads(mode, case):
    shape, pad = case
    x = values(*shape)
    ends = [(0, 0)] * (len(shape) - len(pad) // 2)
    ends += [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    numpy_mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    same(F.pad(x, pad, mode), np.pad(x, ends, numpy_mode))
    check_gradients(lambda x: F.pad(x, pad, mode) ** 2, x)


def test_pad_with_infinity():
    y = F.pad(np.ones((1, 1, 2, 2)), (1, 0), value=float("-inf"))
    assert y.data[0, 0].tolist() == [[-np.inf, 1, 1], [-np.inf, 1, 1]]


# -- dropout --------------------------------------------------------------------------------------


def test_dropout():
    x = values(4, 3, 8, 8) + 3
    pyconv.manual_seed(3)
    t = Tensor(x, requires_grad=True)
    y = F.dropout(t, 0.25)
    kept = y.data != 0
    assert 0.65 < kept.mean() < 0.85  # 768 draws: 6 standard deviations
    np.testing.assert_allclose(y.data[kept], x[kept] / 0.75)
    dy = values(*x.shape, seed=1)
    (dx,) = grad(y, t, Tensor(dy, True), create_graph=True)
    np.testing.assert_allclose(dx.data, np.where(kept, dy / 0.75, 0))
    pyconv.manual_seed(3)
    same(F.dropout(x, 0.25), y.data)  # the same seed, the same mask
    assert (F.dropout(x, 0.25).data != y.data).any()
    pyconv.manual_seed(3)
    same(F.dropout(x.reshape(4, 3, 4, 2, 8), 0.25), y.data.reshape(4, 3, 4, 2, 8))
    nothing = F.dropout(t, 1.0)
    assert not nothing.data.any()
    assert not grad(nothing.sum(), t)[0].data.any()
    for result in (F.dropout(t, 0.0), F.dropout(t, 0.5, False)):
        assert result is t


# -- what holds for all ---------------------------------------------------------------------------

ONE_ARGUMENT = {
    "relu": F.relu,
    "softmax": F.softmax,
    "conv2d": lambda x: F.conv2d(x, np.ones((2, 3, 3, 3), x.dtype)),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x, np.ones((3, 2, 3, 3), x.dtype)),
    "linear": lambda x: F.linear(x, np.ones((2, 5), x.dtype)),
    "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 2),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "instance_norm": F.instance_norm,
    "interpolate": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "pad": lambda x: F.pad(x, (1, 1), "reflect"),
}


@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_any_memory_layout_gives_the_same(name):
    operation = ONE_ARGUMENT[name]
    x = values(2, 3, 4, 5)
    t = Tensor(x, requires_grad=True)
    wanted = operation(t)
    (wanted.sum() + (wanted * wanted).sum()).backward()
    for layout, array in layouts(x):
        leaf = Tensor(array, requires_grad=True)
        y = operation(leaf)
        np.testing.assert_allclose(y.data, wanted.data, rtol=1e-12, atol=1e-12, err_msg=layout)
        (y.sum() + (y * y).sum()).backward()
        np.testing.assert_allclose(leaf.grad.data, t.grad.data, rtol=1e-10, atol=1e-10)


def test_nothing_is_recorded_without_need():
    x = values(2, 3, 4, 5)
    t = Tensor(x, requires_grad=True)
    for operation in ONE_ARGUMENT.values():
        assert not operation(x).requires_grad
        assert operation(t).requires_grad
        with no_grad():
            assert not operation(t).requires_grad


SEVERAL_ARGUMENTS = {
    "conv2d": (
        lambda x, w, b, r: F.conv2d(x, w, b, padding=1, activation="tanh", residual=r),
        [(2, 3, 4, 4), (4, 3, 3, 3), (4,), (2, 4, 4, 4)],
    ),
    "conv1d": (F.conv1d, [(2, 3, 6), (4, 3, 3), (4,)]),
    "conv_transpose2d": (F.conv_transpose2d, [(2, 3, 3, 3), (3, 4, 2, 2), (4,)]),
    "depthwise_separable_conv2d": (
        F.depthwise_separable_conv2d,
        [(2, 3, 4, 4), (3, 1, 3, 3), (4, 3, 1, 1), (4,)],
    ),
    "linear": (lambda x, w, b: F.linear(x, w, b, activation="sigmoid"), [(3, 4), (2, 4), (2,)]),
    "batch_norm": (
        lambda x, g, b, r: F.batch_norm(x, None, None, g, b, True, activation="relu", residual=r),
        [(4, 3, 2, 2), (3,), (3,), (4, 3, 2, 2)],
    ),
    "batch_norm inference": (
        lambda x, g, b: F.batch_norm(x, x.data[0] * 0, x.data[0] * 0 + 1, g, b),
        [(4, 3), (3,), (3,)],
    ),
    "instance_norm": (
        lambda x, g, b: F.instance_norm(x, weight=g, bias=b),
        [(2, 3, 4, 2), (3,), (3,)],
    ),
    "mse_loss": (F.mse_loss, [(3, 4), (3, 4)]),
    "l1_loss": (F.l1_loss, [(3, 4), (3, 4)]),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits,
        [(3, 4), (3, 4)],
    ),
    "cross_entropy": (F.cross_entropy, [(3, 4), (3, 4)]),
    "cross_entropy of classes": (
        lambda x: F.cross_entropy(x, np.array([1, 0, 3])),
        [(3, 4)],
    ),
    "smoothed cross_entropy": (
        lambda x: F.cross_entropy(x, np.array([1, 0, 3]), label_smoothing=0.1),
        [(3, 4)],
    ),
    "gelu": (F.gelu, [(3, 4)]),
    "silu": (F.silu, [(3, 4)]),
    "log_softmax": (F.log_softmax, [(3, 4)]),
    "interpolate": (lambda x: F.interpolate(x, 5, mode="bilinear"), [(1, 2, 3, 3)]),
    "pad": (lambda x: F.pad(x, (1, 1), value=0.5), [(1, 2, 3)]),
    "dropout": (lambda x: F.dropout(x * 1.0, 0.5), [(2, 30)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), [(1, 2, 4, 4)]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), [(1, 2, 4, 4)]),
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", SEVERAL_ARGUMENTS)
def test_any_subset_of_gradients_in_the_type_of_the_input(name, create_graph):
    operation, shapes = SEVERAL_ARGUMENTS[name]
    arrays = [values(*shape, seed=i) for i, shape in enumerate(shapes)]

    def gradients(dtype, wanted):
        pyconv.manual_seed(0)
        inputs = [
            Tensor(a.astype(dtype), requires_grad=w) for a, w in zip(arrays, wanted, strict=True)
        ]
        y = operation(*inputs)
        assert y.dtype == dtype
        learned = [t for t in inputs if t.requires_grad]
        dy = values(*y.shape, seed=9).astype(dtype)
        return dict(
            zip(
                [i for i, w in enumerate(wanted) if w],
                grad(y, learned, dy, create_graph=create_graph),
                strict=True,
            )
        )

    whole = gradients(np.float64, [True] * len(arrays))
    for wanted in itertools.product([True, False], repeat=len(arrays)):
        if not any(wanted):
            continue
        for i, g in gradients(np.float64, wanted).items():
            np.testing.assert_allclose(g.data, whole[i].data, rtol=1e-12, atol=1e-13)
    for i, g in gradients(np.float32, [True] * len(arrays)).items():
        assert g.dtype == np.float32
        np.testing.assert_allclose(g.data, whole[i].data, rtol=1e-4, atol=1e-4)


SIGNATURES = {
    "conv2d": "x weight bias=None stride=1 padding=0 dilation=1 groups=1",
    "conv1d": "x weight bias=None stride=1 padding=0 dilation=1 groups=1",
    "conv_transpose2d": (
        "x weight bias=None stride=1 padding=0 output_padding=0 groups=1 dilation=1"
    ),
    "conv_transpose1d": (
        "x weight bias=None stride=1 padding=0 output_padding=0 groups=1 dilation=1"
    ),
    "linear": "x weight bias=None",
    "max_pool2d": (
        "x kernel_size stride=None padding=0 dilation=1 ceil_mode=False return_indices=False"
    ),
    "avg_pool2d": (
        "x kernel_size stride=None padding=0 ceil_mode=False count_include_pad=True "
        "divisor_override=None"
    ),
    "adaptive_avg_pool2d": "x output_size",
    "batch_norm": (
        "x running_mean running_var weight=None bias=None training=False momentum=0.1 eps=1e-05"
    ),
    "instance_norm": (
        "x running_mean=None running_var=None weight=None bias=None use_input_stats=True "
        "momentum=0.1 eps=1e-05"
    ),
    "interpolate": "x size=None scale_factor=None mode='nearest' align_corners=None",
    "pad": "x pad mode='constant' value=0.0",
    "dropout": "x p=0.5 training=True",
    "leaky_relu": "x negative_slope=0.01",
    "softmax": "x dim=-1",
    "log_softmax": "x dim=-1",
    "cross_entropy": (
        "x target weight=None ignore_index=-100 reduction='mean' label_smoothing=0.0"
    ),
    "nll_loss": "x target weight=None ignore_index=-100 reduction='mean'",
    "mse_loss": "x target reduction='mean'",
    "l1_loss": "x target reduction='mean'",
    "binary_cross_entropy": "x target weight=None reduction='mean'",
    "binary_cross_entropy_with_logits": ("x target weight=None reduction='mean' pos_weight=None"),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    parameters = inspect.signature(getattr(F, name)).parameters.values()
    found = [
        p.name if p.default is p.empty else f"{p.name}={p.default!r}"
        for p in parameters
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    assert " ".join(found) == SIGNATURES[name]


@pytest.mark.parametrize("name", F.__all__)
def test_every_function_is_documented(name):
    assert len(getattr(F, name).__doc__) > 15


# -- bad input ------------------------------------------------------------------------------------

X = np.zeros((2, 3, 5, 5))
W = np.zeros((4, 3, 3, 3))
S = np.zeros((2, 3, 7))
V = np.zeros(3)

BAD = [
    # what is called, the error, the function, the argument
    *[
        (lambda f=f: getattr(F, f)([[1.0]]), TypeError, f, "x")
        for f in ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "softmax",
                  "log_softmax", "instance_norm", "dropout")
    ],  # fmt: skip
    *[
        (lambda f=f: getattr(F, f)(np.arange(3)), TypeError, f, "x")
        for f in ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "softmax",
                  "log_softmax", "instance_norm", "dropout")
    ],  # fmt: skip
    (lambda: F.relu(np.zeros(3, np.float16)), TypeError, "relu", "float32"),
    (lambda: F.leaky_relu(X, "a"), TypeError, "leaky_relu", "negative_slope"),
    (lambda: F.leaky_relu(Tensor(X, True), True), TypeError, "leaky_relu", "negative_slope"),
    (lambda: F.softmax(X, 4), ValueError, "softmax", "dim"),
    (lambda: F.softmax(X, 0.0), TypeError, "softmax", "dim"),
    (lambda: F.log_softmax(X, -5), ValueError, "log_softmax", "dim"),
    (lambda: F.log_softmax(X, True), TypeError, "log_softmax", "dim"),
    # convolutions
    (lambda: F.conv2d([1], W), TypeError, "conv2d", "x"),
    (lambda: F.conv2d(X, [1]), TypeError, "conv2d", "weight"),
    (lambda: F.conv2d(X, W, 1.0), TypeError, "conv2d", "bias"),
    (lambda: F.conv2d(X, W, residual=[1]), TypeError, "conv2d", "residual"),
    (lambda: F.conv2d(X[0], W), ValueError, "conv2d", "x"),
    (lambda: F.conv2d(X, W[0]), ValueError, "conv2d", "weight"),
    (lambda: F.conv2d(X, W, np.zeros(3)), ValueError, "conv2d", "bias"),
    (lambda: F.conv2d(X, W, residual=X), ValueError, "conv2d", "residual"),
    (lambda: F.conv2d(X, W.astype(np.float32)), TypeError, "conv2d", "weight"),
    (lambda: F.conv2d(X.astype(int), W), TypeError, "conv2d", "x"),
    (lambda: F.conv2d(X, W, stride=0), ValueError, "conv2d", "stride"),
    (lambda: F.conv2d(X, W, stride=1.0), TypeError, "conv2d", "stride"),
    (lambda: F.conv2d(X, W, padding=-1), ValueError, "conv2d", "padding"),
    (lambda: F.conv2d(X, W, padding="all"), ValueError, "conv2d", "padding"),
    (lambda: F.conv2d(X, W, dilation=(1, 2, 3)), ValueError, "conv2d", "dilation"),
    (lambda: F.conv2d(X, W, groups=2), ValueError, "conv2d", "groups"),
    (lambda: F.conv2d(X, W, dilation=3), ValueError, "conv2d", "empty"),
    (lambda: F.conv2d(X, W, activation="swish"), ValueError, "conv2d", "activation"),
    (lambda: F.conv2d(X, W, activation=3), TypeError, "conv2d", "activation"),
    (lambda: F.conv2d(Tensor(X, True), W, activation="swish"), ValueError, "conv2d", "activation"),
    (lambda: F.conv2d(Tensor(X, True), W, activation=[1]), TypeError, "conv2d", "activation"),
    (
        lambda: F.conv2d(Tensor(X, True), W, activation=("leaky_relu", "a")),
        TypeError, "conv2d", "activation",
    ),
    (
        lambda: F.conv2d(Tensor(X, True), W, activation=("silu", 0.0)),
        ValueError, "conv2d", "activation",
    ),
    (lambda: F.conv1d(S, W), ValueError, "conv1d", "weight"),
    (lambda: F.conv1d(X, W[0]), ValueError, "conv1d", "x"),
    (lambda: F.conv1d(S, W[..., 0], stride=(1, 1)), ValueError, "conv1d", "stride"),
    (lambda: F.conv_transpose2d(X, W), ValueError, "conv_transpose2d", "weight"),
    (lambda: F.conv_transpose2d(X, W[:3], padding="same"), ValueError, "conv_transpose2d", "same"),
    (
        lambda: F.conv_transpose2d(X, W[:3], output_padding=1),
        ValueError, "conv_transpose2d", "output_padding",
    ),
    (lambda: F.conv_transpose1d(S, W[..., 0]), ValueError, "conv_transpose1d", "weight"),
    (
        lambda: F.depthwise_separable_conv2d(X, W, W),
        ValueError, "depthwise_separable_conv2d", "depthwise_weight",
    ),
    (
        lambda: F.depthwise_separable_conv2d(X, W[:3, :1], W),
        ValueError, "depthwise_separable_conv2d", "pointwise_weight",
    ),
    (
        lambda: F.depthwise_separable_conv2d(X, W[:3, :1], [1]),
        TypeError, "depthwise_separable_conv2d", "pointwise_weight",
    ),
    # dense
    (lambda: F.linear(3.0, W), TypeError, "linear", "x"),
    (lambda: F.linear(np.zeros(()), V), ValueError, "linear", "x"),
    (lambda: F.linear(X, V), ValueError, "linear", "weight"),
    (lambda: F.linear(X, np.zeros((2, 4))), ValueError, "linear", "5"),
    (lambda: F.linear(X, np.zeros((2, 5)), V), ValueError, "linear", "bias"),
    (lambda: F.linear(X, np.zeros((2, 5), np.float32)), TypeError, "linear", "weight"),
    (lambda: F.linear(X, np.zeros((2, 5)), activation="x"), ValueError, "linear", "activation"),
    # pools
    (lambda: F.max_pool2d([1], 2), TypeError, "max_pool2d", "x"),
    (lambda: F.max_pool2d(S, 2), ValueError, "max_pool2d", "x"),
    (lambda: F.max_pool2d(X, 0), ValueError, "max_pool2d", "kernel_size"),
    (lambda: F.max_pool2d(X, 2.0), TypeError, "max_pool2d", "kernel_size"),
    (lambda: F.max_pool2d(X, 2, 0), ValueError, "max_pool2d", "stride"),
    (lambda: F.max_pool2d(X, 2, padding=2), ValueError, "max_pool2d", "padding"),
    (lambda: F.max_pool2d(X, 6), ValueError, "max_pool2d", "empty"),
    (lambda: F.max_pool2d(X, 2, ceil_mode=1), TypeError, "max_pool2d", "ceil_mode"),
    (lambda: F.max_pool2d(X, 2, return_indices=1), TypeError, "max_pool2d", "return_indices"),
    (lambda: F.max_pool1d(X, 2), ValueError, "max_pool1d", "x"),
    (lambda: F.avg_pool2d(X, 2, divisor_override=0), ValueError, "avg_pool2d", "divisor_override"),
    (lambda: F.avg_pool2d(X, 2, count_include_pad=None), TypeError, "avg_pool2d",
     "count_include_pad"),
    (lambda: F.avg_pool1d(X, 2), ValueError, "avg_pool1d", "x"),
    (lambda: F.adaptive_avg_pool2d(X, 0), ValueError, "adaptive_avg_pool2d", "output_size"),
    (lambda: F.adaptive_avg_pool2d(X, (1, 2, 3)), ValueError, "adaptive_avg_pool2d", "output_size"),
    (lambda: F.adaptive_avg_pool2d(X, "1"), TypeError, "adaptive_avg_pool2d", "output_size"),
    (lambda: F.adaptive_avg_pool2d(S, (None, 1)), ValueError, "adaptive_avg_pool2d", "x"),
    (lambda: F.adaptive_avg_pool1d(X, 1), ValueError, "adaptive_avg_pool1d", "x"),
    # norms
    (lambda: F.batch_norm([1], V, V), TypeError, "batch_norm", "x"),
    (lambda: F.batch_norm(V, V, V), ValueError, "batch_norm", "x"),
    (lambda: F.batch_norm(X, None, V), ValueError, "batch_norm", "running_mean"),
    (lambda: F.batch_norm(X, V, [1]), TypeError, "batch_norm", "running_var"),
    (lambda: F.batch_norm(X, V, V[:2]), ValueError, "batch_norm", "running_var"),
    (lambda: F.batch_norm(X, V, V.astype(np.float32)), TypeError, "batch_norm", "running_var"),
    (lambda: F.batch_norm(X, V[:2], V, training=True), ValueError, "batch_norm", "running_mean"),
    (
        lambda: F.batch_norm(X, V, V.astype(np.float32), training=True),
        TypeError, "batch_norm", "running_var",
    ),
    (
        lambda: F.batch_norm(X, V, np.broadcast_to(np.ones(()), 3), training=True),
        ValueError, "batch_norm", "running_var",
    ),
    (lambda: F.batch_norm(X, V, V, 2.0), TypeError, "batch_norm", "weight"),
    (lambda: F.batch_norm(X, V, V, V[:2]), ValueError, "batch_norm", "weight"),
    (lambda: F.batch_norm(X, V, V, V.astype(np.float32)), TypeError, "batch_norm", "weight"),
    (lambda: F.batch_norm(X, V, V, V, np.zeros((3, 1))), ValueError, "batch_norm", "bias"),
    (lambda: F.batch_norm(X, V, V, training=1), TypeError, "batch_norm", "training"),
    (lambda: F.batch_norm(X, V, V, momentum="a", training=True), TypeError, "batch_norm",
     "momentum"),
    (lambda: F.batch_norm(X, V, V, eps=-1.0), ValueError, "batch_norm", "eps"),
    (lambda: F.batch_norm(X, V, V, eps=None), TypeError, "batch_norm", "eps"),
    (lambda: F.batch_norm(X, V, V, residual=S), ValueError, "batch_norm", "residual"),
    (lambda: F.batch_norm(X, V, V, activation="a"), ValueError, "batch_norm", "activation"),
    (lambda: F.batch_norm(X[:1, :, :1, :1], V, V, training=True), ValueError, "batch_norm",
     "one value"),
    (lambda: F.instance_norm(V), ValueError, "instance_norm", "x"),
    (lambda: F.instance_norm(X, weight=V[:2]), ValueError, "instance_norm", "weight"),
    (lambda: F.instance_norm(X, bias=[1]), TypeError, "instance_norm", "bias"),
    (lambda: F.instance_norm(X, V[:2], V), ValueError, "instance_norm", "running_mean"),
    (lambda: F.instance_norm(X, momentum=None), TypeError, "instance_norm", "momentum"),
    (lambda: F.instance_norm(X, eps="a"), TypeError, "instance_norm", "eps"),
    (lambda: F.instance_norm(X, use_input_stats=0), TypeError, "instance_norm", "use_input_stats"),
    (lambda: F.instance_norm(X, use_input_stats=False), ValueError, "instance_norm",
     "running_mean"),
    (lambda: F.instance_norm(X[:, :, :1, :1]), ValueError, "instance_norm", "one value"),
    # sizes
    (lambda: F.interpolate([1], 2), TypeError, "interpolate", "x"),
    (lambda: F.interpolate(V, 2), ValueError, "interpolate", "x"),
    (lambda: F.interpolate(X), ValueError, "interpolate", "size"),
    (lambda: F.interpolate(X, 2, 2), ValueError, "interpolate", "scale_factor"),
    (lambda: F.interpolate(X, 0), ValueError, "interpolate", "size"),
    (lambda: F.interpolate(X, 2.5), TypeError, "interpolate", "size"),
    (lambda: F.interpolate(X, (1, 2, 3)), ValueError, "interpolate", "size"),
    (lambda: F.interpolate(S, (1, 2)), ValueError, "interpolate", "size"),
    (lambda: F.interpolate(X, scale_factor=-1), ValueError, "interpolate", "scale_factor"),
    (lambda: F.interpolate(X, scale_factor="2"), TypeError, "interpolate", "scale_factor"),
    (lambda: F.interpolate(X, scale_factor=(2,)), ValueError, "interpolate", "scale_factor"),
    (lambda: F.interpolate(S, scale_factor=(2, 2)), ValueError, "interpolate", "scale_factor"),
    (lambda: F.interpolate(X, scale_factor=0.1), ValueError, "interpolate", "empty"),
    (lambda: F.interpolate(X, 2, mode="linear"), ValueError, "interpolate", "mode"),
    (lambda: F.interpolate(S, 2, mode="bilinear"), ValueError, "interpolate", "mode"),
    (lambda: F.interpolate(X, 2, align_corners=True), ValueError, "interpolate", "align_corners"),
    (lambda: F.interpolate(X, 2, None, "bilinear", 1), TypeError, "interpolate", "align_corners"),
    (lambda: F.interpolate(X.astype(int), 2), TypeError, "interpolate", "x"),
    (lambda: F.pad([1], (1, 1)), TypeError, "pad", "x"),
    (lambda: F.pad(X, 1), TypeError, "pad", "pad"),
    (lambda: F.pad(X, (1.0, 1)), TypeError, "pad", "pad"),
    (lambda: F.pad(X, (1,)), ValueError, "pad", "pad"),
    (lambda: F.pad(V, (1, 1, 1, 1)), ValueError, "pad", "pad"),
    (lambda: F.pad(X, (1, 1), "mirror"), ValueError, "pad", "mode"),
    (lambda: F.pad(X, (5, 1), "reflect"), ValueError, "pad", "reflect"),
    (lambda: F.pad(X, (-1, 1), "reflect"), ValueError, "pad", "reflect"),
    (lambda: F.pad(X, (6, 1), "circular"), ValueError, "pad", "circular"),
    (lambda: F.pad(np.zeros((2, 0)), (1, 1), "replicate"), ValueError, "pad", "replicate"),
    (lambda: F.pad(X, (-3, -3)), ValueError, "pad", "pad"),
    (lambda: F.pad(X, (1, 1), value="a"), TypeError, "pad", "value"),
    # dropout
    (lambda: F.dropout(X, 1.5), ValueError, "dropout", "p"),
    (lambda: F.dropout(X, "a"), TypeError, "dropout", "p"),
    (lambda: F.dropout(X, 0.5, 1), TypeError, "dropout", "training"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(BAD)))
def test_bad_input(case):
    call, error, function, argument = BAD[case]
    with pytest.raises(error, match=rf"^{function}: .*{argument}") as caught:
        call()
    assert type(caught.value) is error


def test_nothing_moves_where_an_argument_is_bad():
    mean = np.zeros(3)
    with pytest.raises(ValueError, match="running_var"):
        F.batch_norm(X + 1, mean, V[:2].copy(), training=True)
    assert not mean.any()


def test_batch_norm_lets_go_of_the_residual():
    """Only its gradient is needed, which doesn't depend on it."""
    x = Tensor(np.ones((2, 3, 4, 4), np.float32), requires_grad=True)
    for activation in (None, "relu", "tanh"):
        residual = np.ones(x.shape, np.float32)
        held = weakref.ref(residual)
        y = F.batch_norm(x, None, None, training=True, activation=activation, residual=residual)
        del residual
        assert held() is None and y.requires_grad
