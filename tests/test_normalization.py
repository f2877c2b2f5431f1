"""The normalization kernels against the reference."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import (
    EPS,
    assert_close_sum,
    assert_exact,
    assert_same_bits,
    assert_within,
    channels_last,
    layouts,
    proven_factor,
    random_signs,
    small_integers,
    sum_bound,
)

from pyconv import kernels, reference

Array = np.ndarray
DTYPES = ["float32", "float64"]
ACTIVATIONS = [None, "relu", "relu6", "leaky_relu", ("leaky_relu", 0.3)]
# Around the widths of vectors, and rows that are joined (few channels) or not.
SHAPES = [
    (2, 1, 5, 7), (1, 3, 9, 4), (3, 7, 2, 6), (2, 8, 6, 6), (1, 15, 5, 3), (2, 16, 11, 5),
    (1, 17, 7, 7), (2, 31, 3, 3), (2, 33, 5, 5), (3, 64, 4, 4), (1, 260, 3, 5), (2, 515, 1, 3),
    (40, 24), (3, 300), (2, 5, 70), (300, 3), (257, 64),
]  # fmt: skip


def axes_of(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def channel(values: Array, x: Array) -> Array:
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


def wide(*arrays: Array | None) -> list[Any]:
    """The same numbers in float64."""
    return [None if a is None else a.astype(np.float64) for a in arrays]


def arguments(shape: Any, dtype: Any, rng: np.random.Generator) -> tuple[Array, ...]:
    """x, gamma, beta, residual."""
    c = shape[1]
    x = (random_signs(shape, dtype, rng) * channel(np.linspace(1, 3, c), np.empty(shape))).astype(
        dtype
    )
    return (
        x,
        random_signs(c, dtype, rng),
        random_signs(c, dtype, rng),
        random_signs(shape, dtype, rng),
    )


def applied_bound(x: Array, gamma: Array, beta: Array, var: Array, axes: Any, c: float) -> Array:
    """For gamma (x - mean) / sqrt(var + eps) + beta, where mean and var have errors of sums.

    The mean is off by c/2 eps of the mean |x|, and the factor by a quarter of that for the variance
    and 2.5 operations; c covers them, and the subtraction, product and sum.
    """
    magnitude = np.abs(x) + 2 * np.abs(x).mean(axis=axes, keepdims=True)
    shape = [1 if a in axes else n for a, n in enumerate(x.shape)]
    factor = (np.abs(channel(gamma, x)) / np.sqrt(var.reshape(shape) + 1e-5)).astype(np.float64)
    return c * (magnitude * factor + np.abs(channel(beta, x)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_training_and_inference(shape: Any, dtype: str, isa: str, rng: np.random.Generator) -> None:
    x, gamma, beta, residual = arguments(shape, dtype, rng)
    n = x.size // shape[1]
    for activation in ACTIVATIONS:
        extra = residual if activation != "relu6" else None
        y, mean, var = kernels.batch_norm_training(
            x, gamma, beta, activation=activation, residual=extra
        )
        big, g, b, r = wide(x, gamma, beta, extra)
        expected, mean64, var64 = reference.batch_norm_training(
            big, g, b, activation=activation, residual=r
        )
        assert_close_sum(mean, mean64, np.abs(big).mean(axis=axes_of(x)), n)
        assert_close_sum(var, var64, (big**2).mean(axis=axes_of(x)), n)
        unit = EPS[x.dtype] * (1 if dtype == "float32" else 2)
        bound = applied_bound(big, g, b, var64, axes_of(x), 8)
        if r is not None:
            bound = bound + np.abs(r)
        assert_within(y, expected, unit * bound)

        statistics = wide(mean, var)
        again = kernels.batch_norm_inference(
            x, gamma, beta, mean, var, activation=activation, residual=extra
        )
        assert_same_bits(again, y)
        expected = reference.batch_norm_inference(
            big, g, b, *statistics, activation=activation, residual=r
        )
        assert_within(again, expected, unit * bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", [1, 3, 21, 64, 300])
def test_exact_on_integers(c: int, dtype: str, isa: str, rng: np.random.Generator) -> None:
    """256 values a channel, a deviation of 4: nothing is rounded."""
    shape = (4, c, 4, 16)
    x, dy, residual = (small_integers(shape, dtype, rng) for _ in range(3))
    gamma, beta, mean = (small_integers(c, dtype, rng) for _ in range(3))
    var = np.full(c, 9, dtype)
    how = dict(eps=7.0, activation="relu")
    y = kernels.batch_norm_inference(x, gamma, beta, mean, var, residual=residual, **how)
    expected = reference.batch_norm_inference(
        *wide(x, gamma, beta, mean, var), residual=residual, **how
    )
    assert_exact(y, expected)
    _, means, _ = kernels.batch_norm_training(x, gamma, beta)
    assert_exact(means, x.mean((0, 2, 3)))
    gradients = kernels.batch_norm_backward(dy, x, gamma, mean, var, y=y, **how)
    wanted = reference.batch_norm_backward(*wide(dy, x, gamma, mean, var), y=expected, **how)
    for a, b in zip(gradients, wanted, strict=True):
        assert_exact(a, b)
    without = kernels.batch_norm_backward(
        dy, x, gamma, mean, var, y=y, dresidual=False, **how
    )  # fmt: skip
    for a, b in zip(without, wanted[:3], strict=True):
        assert_exact(a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", [1, 3, 8, 17, 64])
@pytest.mark.parametrize("activation", ["relu", "relu6", "leaky_relu", ("leaky_relu", 0.5)])
def test_gradient_by_shift_equals_the_one_by_output(
    activation: Any, c: int, dtype: str, isa: str, rng: np.random.Generator
) -> None:
    """Also where the output is 0 or 6, or not finite."""
    x, dy = (rng.standard_normal((3, c, 5, 7)).astype(dtype) for _ in range(2))
    x[1, 0, 2, :3] = np.nan, np.inf, -np.inf
    gamma, beta, mean, var = (rng.random(c).astype(dtype) * 4 for _ in range(4))
    x[2, :, 0, 0], beta[0] = mean, 0
    x[2, :, 0, 1], beta[-1] = mean, 6
    how = dict(eps=1e-3, activation=activation)
    y = kernels.batch_norm_inference(x, gamma, beta, mean, var, **how)
    for more in ({}, {"dresidual": False}):
        by_output = kernels.batch_norm_backward(dy, x, gamma, mean, var, y=y, **how, **more)
        by_shift = kernels.batch_norm_backward(dy, x, gamma, mean, var, shift=beta, **how, **more)
        for a, b in zip(by_shift, by_output, strict=True):
            np.testing.assert_array_equal(a, b)


def test_variance_beside_a_large_mean(isa: str, rng: np.random.Generator) -> None:
    """A mean of 1000 deviations. With the error d of blocks' means, it is off by (s + d)^2 - s^2.

    The difference of mean square and squared mean would be off by eps times a million.
    """
    x = (1000 + rng.standard_normal((3, 5, 37, 41))).astype(np.float32)
    one, zero = np.ones(5, np.float32), np.zeros(5, np.float32)
    _, mean, var = kernels.batch_norm_training(x, one, zero)
    big = x.astype(np.float64)
    n = x.size // 5
    mean_error = sum_bound("float32", np.abs(big).mean(axis=(0, 2, 3)), n, proven_factor(64))
    assert_within(mean, big.mean(axis=(0, 2, 3)), mean_error)
    expected = big.var(axis=(0, 2, 3))
    bound = 8 * EPS[x.dtype] * expected + (2 * np.sqrt(expected) + mean_error) * mean_error
    assert (bound < 0.01).all()
    assert_within(var, expected, bound)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "sigmoid", "tanh"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_backward(activation: Any, dtype: str, isa: str, rng: np.random.Generator) -> None:
    for shape in SHAPES:
        x, gamma, _, dy = arguments(shape, dtype, rng)
        mean, var = (f(axes_of(x)) for f in (x.mean, x.var))
        y = (3.5 * random_signs(shape, dtype, rng)).astype(dtype)  # from -3.5 on, never 0
        if activation == "relu6":
            y = y + y.dtype.type(3)
        actual = kernels.batch_norm_backward(
            dy, x, gamma, mean, var, activation=activation, y=None if activation is None else y
        )
        expected = reference.batch_norm_backward(
            *wide(dy, x, gamma, mean, var), activation=activation, y=y.astype(np.float64)
        )
        assert len(actual) == len(expected) == (3 if activation is None else 4)
        check_gradients(actual, expected, wide(dy, x, gamma, mean, var), axes_of(x))
        if activation is not None:
            # Of dy (1 - y)(1 + y) each factor is rounded once; what clips multiplies once.
            magnitude = np.abs(dy) * (1 + np.abs(y)) ** 2
            assert_within(actual[3], expected[3], 2 * EPS[x.dtype] * magnitude)


def check_gradients(actual: Any, expected: Any, inputs: list[Array], axes: Any) -> None:
    """dx, dgamma, dbeta; the sums have the errors of sums, and four operations on each term."""
    dy, x, gamma, mean, var = inputs
    n = x.size // x.shape[1]
    dz = np.abs(expected[3]) if len(expected) == 4 else np.abs(dy)
    # sigmoid and tanh multiply before they sum, with an error of dy (1 + y)^2.
    dz = np.maximum(dz, np.abs(dy) * (20 if len(expected) == 4 else 1))
    inverse = 1 / np.sqrt(channel(var, x) + 1e-5)
    normalised = (np.abs(x) + np.abs(channel(mean, x))) * inverse
    sums = (dz * normalised).sum(axis=axes), dz.sum(axis=axes)
    assert_close_sum(actual[1], expected[1], sums[0], n, 8)
    assert_close_sum(actual[2], expected[2], sums[1], n, 8)
    common = (channel(sums[1], x) + normalised * channel(sums[0], x)) / n
    assert_close_sum(
        actual[0], expected[0], np.abs(channel(gamma, x)) * inverse * (dz + common), n, 8
    )


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_instance_norm(affine: bool, dtype: str, isa: str, rng: np.random.Generator) -> None:
    for shape in [s for s in SHAPES if len(s) > 2] + [(5, 6, 8, 4), (1, 3, 40, 50)]:
        x, gamma, beta, dy = arguments(shape, dtype, rng)
        plane = tuple(range(2, x.ndim))
        big, g, b, dy64 = wide(x, gamma, beta, dy)
        y = kernels.instance_norm(x, *((gamma, beta) if affine else ()))
        expected = reference.instance_norm(big, *((g, b) if affine else ()))
        var = big.var(axis=plane)
        unit = EPS[x.dtype] * (1 if dtype == "float32" else 2)
        # A plane of few cells has a variance that is small beside the error of the mean: it is
        # added to the terms of the bound by its share in the deviation.
        spread = np.abs(big).max(axis=plane) ** 2 / (var + 1e-5)
        c = 8 * (1 + spread).reshape(*shape[:2], *[1] * len(plane))
        assert_within(y, expected, unit * applied_bound(big, g, b, var, plane, c))

        gradients = kernels.instance_norm_backward(dy, x, *((gamma,) if affine else ()))
        wanted = reference.instance_norm_backward(dy64, big, *((g,) if affine else ()))
        inverse = 1 / np.sqrt(var + 1e-5).reshape(*shape[:2], *[1] * len(plane))
        normalised = 2 * np.abs(big).max(axis=plane, keepdims=True) * inverse
        slopes = np.abs(dy64) * (1 + normalised + normalised**2)
        n = x.size // shape[1]
        assert_within(
            gradients[1], wanted[1], unit * (8 * c * slopes * normalised).sum(axis=axes_of(x))
        )
        assert_close_sum(gradients[2], wanted[2], np.abs(dy64).sum(axis=axes_of(x)), n)
        magnitude = (
            inverse * (np.abs(dy64) + slopes.mean(axis=plane, keepdims=True)) * (1 + normalised)
        )
        assert_within(gradients[0], wanted[0], unit * 8 * c * magnitude)


def calls(
    shape: Any, dtype: str, rng: np.random.Generator
) -> list[tuple[Callable[..., Any], Array]]:
    """Every function as one of x alone."""
    x, gamma, beta, other = arguments(shape, dtype, rng)
    mean, var = small_integers(shape[1], dtype, rng), np.ones(shape[1], dtype)
    how = dict(activation="relu", residual=other)
    functions = [
        lambda a: kernels.batch_norm_training(a, gamma, beta, **how),
        lambda a: kernels.batch_norm_inference(a, gamma, beta, mean, var, **how),
        lambda a: kernels.batch_norm_backward(other, a, gamma, mean, var),
        lambda a: kernels.batch_norm_backward(
            a, other, gamma, mean, var, activation="tanh", y=other
        ),
        lambda a: kernels.batch_norm_backward(
            other, other, gamma, mean, var, activation="relu", y=a
        ),
        lambda a: kernels.instance_norm(a, gamma, beta),
        lambda a: kernels.instance_norm_backward(other, a, gamma),
        lambda a: kernels.instance_norm_backward(a, other, gamma),
        lambda a: kernels.batch_norm_training(other, gamma, beta, residual=a),
    ]
    return [(f, x) for f in functions]


def as_tuple(result: Any) -> tuple[Array, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_give_the_same_bits(dtype: str, isa: str, rng: np.random.Generator) -> None:
    for shape in [(2, 3, 5, 4), (2, 19, 3, 4)]:
        for f, x in calls(shape, dtype, rng):
            x = np.broadcast_to(x[:1], x.shape)
            expected = as_tuple(f(np.ascontiguousarray(x)))
            for name, view in layouts(x):
                before = view.copy()
                for a, b in zip(as_tuple(f(view)), expected, strict=True):
                    np.testing.assert_array_equal(a, b, err_msg=name)
                assert_same_bits(np.ascontiguousarray(view), np.ascontiguousarray(before))


@functools.cache
def one_thread(shape: Any) -> list[tuple[Array, ...]]:
    import pyconv

    before = pyconv.get_num_threads()
    pyconv.set_num_threads(1)
    try:
        return [as_tuple(f(x)) for f, x in calls(shape, "float32", np.random.default_rng(5))]
    finally:
        pyconv.set_num_threads(before)


@pytest.mark.parametrize(
    "shape", [(3, 3, 61, 67), (9, 40, 23, 29), (6, 2048, 2, 3), (5, 64, 31, 33)]
)
def test_threads_give_the_same_bits(shape: Any, threads: int) -> None:
    runs = calls(shape, "float32", np.random.default_rng(5))
    for (f, x), expected in zip(runs, one_thread(shape), strict=True):
        for a, b in zip(as_tuple(f(x)), expected, strict=True):
            assert_same_bits(a, b)


def test_results_are_channels_last(isa: str, rng: np.random.Generator) -> None:
    x, gamma, beta, _ = arguments((2, 3, 4, 5), "float32", rng)
    y, _, _ = kernels.batch_norm_training(x, gamma, beta)
    assert y.strides == channels_last(y).strides


@pytest.mark.parametrize("dtype", DTYPES)
def test_out(
    dtype: str, isa: str, rng: np.random.Generator, words: Callable[[str, str], str]
) -> None:
    x, gamma, beta, _ = arguments((2, 5, 3, 4), dtype, rng)
    mean, var = np.zeros(5, dtype), np.ones(5, dtype)
    for f in (
        functools.partial(kernels.batch_norm_inference, x, gamma, beta, mean, var),
        functools.partial(kernels.instance_norm, x, gamma, beta),
    ):
        expected = f()
        for make in (np.ascontiguousarray, channels_last, np.asfortranarray):
            out = make(np.full_like(x, np.nan))
            assert f(out=out) is out
            np.testing.assert_array_equal(out, expected)
        for out, message in [
            (np.empty((2, 5, 3, 3), dtype), "out must have shape"),
            (np.empty(x.shape, "float16"), f"out must be {dtype}"),
            (x, "out must not overlap"),
            (np.broadcast_to(x[:1], x.shape), "out must be writable"),
            ([1], "out must be a NumPy array"),
        ]:
            with pytest.raises((TypeError, ValueError), match=words(f.func.__name__, message)):
                f(out=out)


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty_batch(dtype: str, isa: str) -> None:
    x, c, one = np.empty((0, 3, 2, 2), dtype), np.zeros(3, dtype), np.ones(3, dtype)
    y, mean, var = kernels.batch_norm_training(x, one, c)
    assert y.shape == x.shape and np.isnan(mean).all() and np.isnan(var).all()
    assert kernels.batch_norm_inference(x, one, c, c, one).shape == x.shape
    dx, dgamma, dbeta, dz = kernels.batch_norm_backward(x, x, one, c, one, activation="relu", y=x)
    assert dx.shape == dz.shape == x.shape
    assert_exact(dgamma, np.zeros(3))
    assert_exact(dbeta, np.zeros(3))
    assert kernels.instance_norm(x).shape == x.shape
    dx, dgamma, dbeta = kernels.instance_norm_backward(x, x)
    assert dx.shape == x.shape
    assert_exact(dgamma + dbeta, np.zeros(3))
    none = np.empty((2, 0, 3, 3), dtype)
    assert kernels.batch_norm_training(none, none[0, :, 0, 0], none[0, :, 0, 0])[0].size == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("c", [3, 19, 300])
def test_non_finite(value: float, c: int, isa: str, rng: np.random.Generator) -> None:
    """It stays in its channel."""
    x, gamma, beta, dy = arguments((2, c, 9, 7), "float32", rng)
    x[1, 2, 8, 3] = value
    y, mean, var = kernels.batch_norm_training(x, gamma, beta, activation="relu")
    others = np.arange(c) != 2
    expected = reference.batch_norm_training(x, gamma, beta, activation="relu")
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected[0]))
    np.testing.assert_array_equal(mean[2], expected[1][2])
    np.testing.assert_array_equal(var[2], expected[2][2])
    assert np.isfinite(y[:, others]).all() and np.isnan(y[:, 2]).all()
    y = kernels.batch_norm_inference(x, gamma, beta, gamma, np.ones(c, "float32"))
    assert not np.isfinite(y[1, 2, 8, 3]) and np.isfinite(y).sum() == y.size - 1
    y = kernels.instance_norm(x)
    assert np.isnan(y[1, 2]).all() and np.isfinite(y).sum() == y.size - 63
    dx = kernels.batch_norm_backward(x, dy, gamma, beta, np.ones(c, "float32"))[0]
    assert not np.isfinite(dx[:, 2]).any() and np.isfinite(dx[:, others]).all()
    # NaN lets the gradient through.
    nan = np.full_like(x, np.nan)
    for activation in ("relu", "relu6"):
        dz = kernels.batch_norm_backward(
            dy, dy, gamma, beta, np.ones(c, "float32"), activation=activation, y=nan
        )[3]
        np.testing.assert_array_equal(dz, dy)


def test_zero_variance(isa: str) -> None:
    x = np.full((2, 5, 3, 3), 7, np.float32)
    gamma, beta = np.ones(5, np.float32), np.arange(5, dtype=np.float32)
    y, mean, var = kernels.batch_norm_training(x, gamma, beta)
    assert_exact(mean, np.full(5, 7.0))
    assert_exact(var, np.zeros(5))
    assert_exact(y, np.broadcast_to(channel(np.arange(5.0), x), x.shape))


@given(
    st.integers(1, 6), st.integers(1, 70), st.integers(1, 9), st.integers(1, 9), st.integers(0, 999)
)
def test_any_shape(n: int, c: int, h: int, w: int, seed: int) -> None:
    x, gamma, beta, dy = arguments((n, c, h, w), "float32", np.random.default_rng(seed))
    _, mean, var = kernels.batch_norm_training(x, gamma, beta)
    big = x.astype(np.float64)
    assert_close_sum(mean, big.mean((0, 2, 3)), np.abs(big).mean((0, 2, 3)), n * h * w)
    assert_close_sum(var, big.var((0, 2, 3)), (big**2).mean((0, 2, 3)), n * h * w)
    inputs = dy, x, gamma, mean, var
    expected = reference.batch_norm_backward(*wide(*inputs))
    check_gradients(kernels.batch_norm_backward(*inputs), expected, wide(*inputs), (0, 2, 3))


def bad_calls() -> list[Any]:
    x = np.ones((2, 3, 4, 5), np.float32)
    c = np.ones(3, np.float32)
    training = functools.partial(kernels.batch_norm_training, x, c, c)
    inference = functools.partial(kernels.batch_norm_inference, x, c, c, c, c)
    backward = functools.partial(kernels.batch_norm_backward, x, x, c, c, c)
    cases = []
    for name, function, vectors in [
        ("batch_norm_training", kernels.batch_norm_training, ("gamma", "beta")),
        ("batch_norm_inference", kernels.batch_norm_inference, ("gamma", "beta", "mean", "var")),
    ]:
        good = {v: c for v in vectors}
        for v in vectors:
            for bad, error, message in [
                (None, TypeError, "must be a NumPy array, got None"),
                ([1.0], TypeError, "must be a NumPy array, got list"),
                (
                    np.ones(4, np.float32),
                    ValueError,
                    r"must have shape \(3,\) \(the channels of x\)",
                ),
                (np.ones((1, 3), np.float32), ValueError, "must be 1-D, got 2-D"),
                (np.ones(3), TypeError, "must have the dtype of x, float32, got float64"),
                (np.ones(3, np.int32), TypeError, "must be float32 or float64, got int32"),
            ]:
                call = functools.partial(function, x, **{**good, v: bad})
                cases.append((call, error, f"{name}: {v} {message}"))
        for bad, error, message in [
            (np.ones(3, np.float32), ValueError, "x must be 2-D or 3-D or 4-D, got 1-D"),
            (x.astype(int), TypeError, "x must be float32 or float64, got int64"),
            ("x", TypeError, "x must be a NumPy array, got str 'x'"),
        ]:
            cases.append((functools.partial(function, bad, **good), error, f"{name}: {message}"))
    for name, call in [
        ("batch_norm_training", training), ("batch_norm_inference", inference),
        ("batch_norm_backward", backward),
        ("instance_norm", functools.partial(kernels.instance_norm, x)),
        ("instance_norm_backward", functools.partial(kernels.instance_norm_backward, x, x)),
    ]:  # fmt: skip
        for bad, error, message in [
            (-1.0, ValueError, "must be at least 0.0, got -1.0"),
            (float("nan"), ValueError, "must be at least 0.0, got nan"),
            ("1", TypeError, "must be a number, got str '1'"),
            (True, TypeError, "must be a number, got bool True"),
        ]:
            cases.append((functools.partial(call, eps=bad), error, f"{name}: eps {message}"))
    for name, call in [("batch_norm_training", training), ("batch_norm_inference", inference)]:
        cases += [
            (functools.partial(call, residual=x[:1]), ValueError,
             rf"{name}: residual must have shape \(2, 3, 4, 5\) \(as x\)"),
            (functools.partial(call, residual=x.astype("float64")), TypeError,
             f"{name}: residual must have the dtype of x"),
            (functools.partial(call, activation="swish"), ValueError,
             f"{name}: activation must be"),
            (functools.partial(call, activation=3), TypeError, f"{name}: activation must be"),
        ]  # fmt: skip
    name = "batch_norm_backward"
    cases += [
        (functools.partial(kernels.batch_norm_backward, x[:1], x, c, c, c), ValueError,
         f"{name}: dy must have shape"),
        (functools.partial(kernels.batch_norm_backward, x, x, c, c[:2], c), ValueError,
         f"{name}: mean must have shape"),
        (functools.partial(kernels.batch_norm_backward, x, x, c, c, None), TypeError,
         f"{name}: var must be a NumPy array"),
        (functools.partial(backward, activation="relu"), ValueError,
         f"{name}: y must be the forward's output with an activation, got None"),
        (functools.partial(backward, activation="relu", y=x[:1]), ValueError,
         f"{name}: y must have shape"),
        (functools.partial(backward, activation="gelu", y=x), ValueError,
         f"{name}: activation must be one of relu, relu6, leaky_relu, sigmoid, tanh"),
        (functools.partial(backward, activation=("leaky_relu", -0.5), y=x), ValueError,
         f"{name}: activation's slope must be at least 0, got -0.5"),
        (functools.partial(kernels.instance_norm, x[0, 0]), ValueError,
         "instance_norm: x must be 3-D or 4-D"),
        (functools.partial(kernels.instance_norm, x, c[:2]), ValueError,
         "instance_norm: gamma must have shape"),
        (functools.partial(kernels.instance_norm, x, c, c.astype("float64")), TypeError,
         "instance_norm: beta must have the dtype of x"),
        (functools.partial(kernels.instance_norm_backward, x[:1], x), ValueError,
         "instance_norm_backward: dy must have shape"),
        (functools.partial(kernels.instance_norm_backward, x, [1]), TypeError,
         "instance_norm_backward: x must be a NumPy array, got list"),
        (functools.partial(kernels.instance_norm_backward, x, x, c[:1]), ValueError,
         "instance_norm_backward: gamma must have shape"),
    ]  # fmt: skip
    return cases


def test_bad_input(words: Callable[[str, str], str]) -> None:
    for call, error, message in bad_calls():
        with pytest.raises(error, match=words(message.partition(":")[0], message)):
            call()


@pytest.mark.cpu("16-bit images run on CUDA")
def test_16_bits() -> None:
    x, c = np.ones((2, 3, 4, 5), np.float16), np.ones(3, np.float32)
    message = "x must be float32 or float64, got float16; convert"
    with pytest.raises(TypeError, match=f"batch_norm_training: {message}"):
        kernels.batch_norm_training(x, c, c)
    with pytest.raises(TypeError, match=f"batch_norm_inference: {message}"):
        kernels.batch_norm_inference(x, c, c, c, c)


def test_results_that_go_past_the_caches(isa: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((9, 90, 91, 64), np.float32).transpose(0, 3, 1, 2)  # 18.9 MB
    dy = x[::-1]
    gamma, beta, mean = (rng.standard_normal(64).astype(np.float32) for _ in range(3))
    var = np.full(64, 1.5, np.float32)
    y = kernels.batch_norm_inference(x, gamma, beta, mean, var, activation="relu")
    for image in range(len(x)):
        small = kernels.batch_norm_inference(
            x[image : image + 1], gamma, beta, mean, var, activation="relu"
        )
        assert_same_bits(y[image : image + 1], small)
    inputs = (dy, x, gamma, mean, var)
    expected = reference.batch_norm_backward(*wide(*inputs))
    check_gradients(kernels.batch_norm_backward(*inputs), expected, wide(*inputs), (0, 2, 3))
