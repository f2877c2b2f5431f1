"""Images stored in 16 bits on CUDA: every function against the float64 reference on what is stored.

The sums are those of float32, and are rounded once, when they are stored.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import test_activation
import test_normalization
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


def rounded_bound(storage: str, expected: Array, bound: Array | float) -> Array:
    """What rounding adds to a float32 result that is within `bound`."""
    relative, smallest = ROUNDING[storage]
    finite = np.nan_to_num(expected, posinf=0, neginf=0)
    return bound + relative * (abs(finite) + bound) + smallest


def as_stored(x: Array, dtype: np.dtype) -> tuple[Any, Array]:
    """The array as it lies, stored on the device, and its values in float64."""
    rounded = x.astype(dtype)
    return to_device(rounded), rounded.astype(np.float64)


# -- activations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", test_activation.NAMES)
def test_activations(name: str, storage: np.dtype, rng: np.random.Generator) -> None:
    special = [0.0, -0.0, np.inf, -np.inf, np.nan]
    values = np.concatenate([np.linspace(-30, 30, 3000), np.logspace(-8, 1, 500), special])
    x, wide = as_stored(values, storage)
    for start in (0, 1):  # in accesses of 16 bytes and one by one
        y = getattr(kernels, name)(x[start:])
        expected = getattr(reference, name)(wide[start:])
        assert y.dtype == storage
        bound = test_activation.forward_bound(name, wide[start:].astype(np.float32), expected)
        bound = np.nan_to_num(bound, posinf=0)
        bound = rounded_bound(storage.name, expected, bound)
        assert_within(to_host(y).astype(np.float64), expected, bound)


@pytest.mark.parametrize("name", test_activation.NAMES)
def test_gradients_of_activations(name: str, storage: np.dtype, rng: np.random.Generator) -> None:
    values = np.concatenate([np.linspace(-30, 30, 3000), np.logspace(-8, 1, 500)])
    x, wide = as_stored(values, storage)
    dy, wide_dy = as_stored(rng.uniform(-2, 2, values.shape), storage)
    dx = getattr(kernels, f"{name}_backward")(dy, x)
    expected = getattr(reference, f"{name}_backward")(wide_dy, wide)
    bound = test_activation.backward_bound(
        name, wide_dy, np.where(wide == 0, 1e-30, wide).astype(np.float32), expected
    )
    bound = rounded_bound(storage.name, expected, bound)
    assert_within(to_host(dx).astype(np.float64), expected, bound)


# A few rows to a block, rows that a block shares, rows that no block keeps; and side by side: in
# tiles with what lies behind them, kept by their threads, not kept.
ROWS: list[tuple[tuple[int, ...], int]] = [
    ((300, 10), 1), ((70, 33), 1), ((3, 1000), 1), ((2, 30_000), 1),
    ((5, 21, 7), 1), ((2, 40, 611), 1), ((1, 500, 101), 1),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape, axis", ROWS)
def test_softmaxes(shape: tuple[int, ...], axis: int, dtype: str, rng: np.random.Generator) -> None:
    if dtype == "bfloat16":
        storage = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    else:
        storage = np.dtype(dtype)
    x, wide = as_stored(rng.uniform(-8, 8, shape), storage)
    check_softmaxes(x, wide, axis, rng)


def check_softmaxes(x: Any, wide: Array, axis: int, rng: np.random.Generator) -> None:
    eps, n, storage = 2.0**-23, wide.shape[axis], x.dtype

    def check(actual: Any, expected: Array, bound: Array) -> None:
        assert actual.dtype == storage
        if storage != np.float32:
            bound = rounded_bound(storage.name, expected, bound)
        assert_within(to_host(actual).astype(np.float64), expected, bound + 2.0**-126)

    distance = abs(wide - wide.max(axis, keepdims=True))
    expected = reference.softmax(wide, axis)
    p = kernels.softmax(x, axis)
    check(p, expected, (4 + n / 8 + distance.max(axis, keepdims=True)) * eps * expected)
    expected = reference.log_softmax(wide, axis)
    y = kernels.log_softmax(x, axis)
    check(y, expected, (4 + n / 8 + distance + abs(expected)) * eps)

    dy, wide_dy = as_stored(rng.uniform(-1, 1, wide.shape), storage)
    wide_p, wide_y = (to_host(a).astype(np.float64) for a in (p, y))
    expected = reference.softmax_backward(wide_dy, wide_p, axis)
    magnitude = wide_p * (abs(wide_dy) + abs(wide_dy * wide_p).sum(axis, keepdims=True))
    check(kernels.softmax_backward(dy, p, axis), expected, (4 + n / 8) * eps * magnitude)
    expected = reference.log_softmax_backward(wide_dy, wide_y, axis)
    magnitude = abs(wide_dy) + np.exp(wide_y) * abs(wide_dy).sum(axis, keepdims=True)
    check(kernels.log_softmax_backward(dy, y, axis), expected, (4 + n / 8) * eps * magnitude)


def test_softmax_of_many_columns(rng: np.random.Generator) -> None:
    """So many that threads take several."""
    for dtype, lanes in (("float32", 4), ("float16", 8)):
        columns = 2**16 * lanes // 2
        x, wide = as_stored(rng.uniform(-8, 8, (2, 2, 1, columns)), np.dtype(dtype))
        check_softmaxes(x, wide, 1, rng)


# -- cross-entropy ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (150, 10), (7, 33), (5, 1000), (3, 30_000)])
def test_cross_entropy(shape: Any, storage: np.dtype, rng: np.random.Generator) -> None:
    x, wide = as_stored(rng.uniform(-8, 8, shape), storage)
    targets = rng.integers(0, shape[1], shape[0])
    loss, p = kernels.cross_entropy(x, to_device(targets))
    expected, probabilities = reference.cross_entropy(wide, targets)
    assert loss.dtype == np.float32 and loss.shape == () and p.dtype == storage
    relative = (4 + shape[1] / 8 + 16) * 2.0**-23
    assert_within(to_host(loss), np.array(expected), relative + 2.0**-23 * abs(expected))
    bound = rounded_bound(storage.name, probabilities, relative * probabilities)
    assert_within(to_host(p).astype(np.float64), probabilities, bound)

    wide_p = to_host(p).astype(np.float64)
    for dloss in (-0.75, to_device(np.array(2.5, np.float32))):
        dx = kernels.cross_entropy_backward(p, to_device(targets), dloss)
        expected = reference.cross_entropy_backward(wide_p, targets, float(dloss))
        bound = rounded_bound(storage.name, expected, 2.0**-22 * abs(expected))
        assert_within(to_host(dx).astype(np.float64), expected, bound)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_class_out_of_range_is_nan(dtype: str, rng: np.random.Generator) -> None:
    x, _ = as_stored(rng.uniform(-1, 1, (9, 10)), np.dtype(dtype))
    for bad in (-1, 10, -100, 2**40, -(2**63)):
        targets = np.arange(9)
        targets[4] = bad
        loss, p = kernels.cross_entropy(x, to_device(targets))
        dx = to_host(kernels.cross_entropy_backward(p, to_device(targets)))
        assert np.isnan(to_host(loss)) and np.isnan(dx[4]).all()
        assert np.isfinite(to_host(p)).all() and np.isfinite(np.delete(dx, 4, 0)).all()


# -- normalisation ---------------------------------------------------------------------------------

# Pixels of few channels that share a row, rows that end within 16 bytes, several blocks, pixels
# that blocks share, channels one by one.
IMAGES = [
    (2, 1, 5, 7), (3, 3, 3, 5), (2, 12, 9, 9), (4, 16, 24, 24), (3, 100, 5, 3), (9, 2056),
    (5, 1030), (3, 300, 5, 4),
]  # fmt: skip


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_batch_norm(shape: Any, storage: np.dtype, rng: np.random.Generator) -> None:
    c, n, axes = shape[1], np.prod(shape) // shape[1], test_normalization.axes_of(np.empty(shape))
    x, wide = stored(random_signs(shape, np.float32, rng), storage)
    residual, added = stored(random_signs(shape, np.float32, rng), storage)
    gamma, beta = (random_signs((c,), np.float32, rng) for _ in range(2))
    on_device = [to_device(a) for a in (gamma, beta)]
    big = gamma.astype(np.float64), beta.astype(np.float64)
    for activation in (None, "relu", "silu"):
        how = dict(activation=activation)
        y, mean, var = kernels.batch_norm_training(x, *on_device, residual=residual, **how)
        assert y.dtype == storage and mean.dtype == var.dtype == np.float32
        expected, mean64, var64 = reference.batch_norm_training(wide, *big, residual=added, **how)
        assert_within(to_host(mean), mean64, sum_bound(np.float32, abs(wide).mean(axis=axes), n))
        assert_within(to_host(var), var64, sum_bound(np.float32, (wide**2).mean(axis=axes), n))
        bound = test_normalization.applied_bound(wide, *big, var64, axes, 8) + abs(added)
        bound = rounded_bound(storage.name, expected, 2.0**-23 * bound * 1.1)  # silu's slope
        assert_within(to_host(y).astype(np.float64), expected, bound)
        again = kernels.batch_norm_inference(x, *on_device, mean, var, residual=residual, **how)
        assert_same_bits(to_host(again), to_host(y))


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_gradients_of_batch_norm(shape: Any, storage: np.dtype, rng: np.random.Generator) -> None:
    c, axes = shape[1], test_normalization.axes_of(np.empty(shape))
    x, wide = stored(random_signs(shape, np.float32, rng), storage)
    dy, wide_dy = stored(random_signs(shape, np.float32, rng), storage)
    y, wide_y = stored(3.5 * random_signs(shape, np.float32, rng), storage)
    gamma = random_signs((c,), np.float32, rng)
    mean, var = (f(axis=axes).astype(np.float32) for f in (wide.mean, wide.var))
    vectors = [to_device(a) for a in (gamma, mean, var)]
    big = [a.astype(np.float64) for a in (gamma, mean, var)]
    for activation, dresidual in ((None, True), ("relu", True), ("relu6", False), ("tanh", True)):
        told = dict(activation=activation, y=None if activation is None else y)
        actual = kernels.batch_norm_backward(dy, x, *vectors, **told, dresidual=dresidual)
        told["y"] = None if activation is None else wide_y
        expected = reference.batch_norm_backward(wide_dy, wide, *big, **told)
        check_norm_gradients(actual, expected, wide_dy, wide, big, axes, storage, activation)


def check_norm_gradients(
    actual: Any, expected: Any, dy: Array, x: Array, big: Any, axes: Any,
    storage: np.dtype, activation: Any,
) -> None:  # fmt: skip
    """As in test_normalization, and roundings: of dx, and of dz, which is stored and read again."""
    channel, (gamma, mean, var), n = test_normalization.channel, big, x.size // x.shape[1]
    relative, _ = ROUNDING[storage.name]
    dz = abs(dy) * (20 if activation == "tanh" else 1)
    inverse = 1 / np.sqrt(channel(var, x) + 1e-5)
    normalised = (abs(x) + abs(channel(mean, x))) * inverse
    sums = (dz * normalised).sum(axis=axes), dz.sum(axis=axes)
    assert actual[0].dtype == storage and actual[1].dtype == actual[2].dtype == np.float32
    assert_within(to_host(actual[1]), expected[1], sum_bound(np.float32, sums[0], n, 8))
    assert_within(to_host(actual[2]), expected[2], sum_bound(np.float32, sums[1], n, 8))
    common = (channel(sums[1], x) + normalised * channel(sums[0], x)) / n
    factor = abs(channel(gamma, x)) * inverse
    bound = sum_bound(np.float32, factor * (dz + common), n, 8)
    if activation == "tanh":
        bound = bound + factor * relative * abs(expected[3])
    bound = rounded_bound(storage.name, expected[0], bound)
    assert_within(to_host(actual[0]).astype(np.float64), expected[0], bound)
    if len(actual) == 4:
        assert actual[3].dtype == storage
        exact = 2.0**-22 * abs(dy) * 21 if activation == "tanh" else 0
        bound = rounded_bound(storage.name, expected[3], exact)
        assert_within(to_host(actual[3]).astype(np.float64), expected[3], bound)


@pytest.mark.parametrize("shape", [s for s in IMAGES if len(s) > 2], ids=str)
def test_instance_norm(shape: Any, storage: np.dtype, rng: np.random.Generator) -> None:
    x, wide = stored(random_signs(shape, np.float32, rng), storage)
    dy, wide_dy = stored(random_signs(shape, np.float32, rng), storage)
    gamma, beta = (random_signs((shape[1],), np.float32, rng) for _ in range(2))
    y = kernels.instance_norm(x, to_device(gamma), to_device(beta))
    plane = tuple(range(2, len(shape)))
    big = gamma.astype(np.float64), beta.astype(np.float64)
    expected = reference.instance_norm(wide, *big)
    var = wide.var(axis=plane)
    spread = (abs(wide).max(axis=plane) ** 2 / (var + 1e-5)).reshape(*shape[:2], 1, 1)
    bound = test_normalization.applied_bound(wide, *big, var, plane, 8 * (1 + spread))
    bound = rounded_bound(storage.name, expected, 2.0**-23 * bound)
    assert_within(to_host(y).astype(np.float64), expected, bound)

    dx, dgamma, dbeta = kernels.instance_norm_backward(dy, x, to_device(gamma))
    wanted = reference.instance_norm_backward(wide_dy, wide, big[0])
    assert dx.dtype == storage and dgamma.dtype == dbeta.dtype == np.float32
    inverse = 1 / np.sqrt(var + 1e-5).reshape(*shape[:2], 1, 1)
    normalised = 2 * abs(wide).max(axis=plane, keepdims=True) * inverse
    slopes = abs(wide_dy) * (1 + normalised + normalised**2)
    c = 8 * (1 + spread)
    bound = 2.0**-23 * (8 * c * slopes * normalised).sum(axis=(0, *plane))
    assert_within(to_host(dgamma), wanted[1], bound)
    n = wide.size // shape[1]
    bound = sum_bound(np.float32, abs(wide_dy).sum(axis=(0, *plane)), n)
    assert_within(to_host(dbeta), wanted[2], bound)
    magnitude = inverse * (abs(wide_dy) + slopes.mean(axis=plane, keepdims=True)) * (1 + normalised)
    bound = rounded_bound(storage.name, wanted[0], 2.0**-23 * 8 * c * magnitude)
    assert_within(to_host(dx).astype(np.float64), wanted[0], bound)


def test_images_of_one_type_beside_float32(storage: np.dtype) -> None:
    x, c = to_device(np.ones((2, 8, 3, 3), storage)), to_device(np.ones(8, np.float32))
    with pytest.raises(TypeError, match="gamma must be float32 on CUDA, got"):
        kernels.batch_norm_training(x, c.astype(storage), c)
    message = f"residual must have the dtype of x, {storage}, got float32"
    with pytest.raises(TypeError, match=message):
        kernels.batch_norm_training(x, c, c, residual=x.astype(np.float32))
    with pytest.raises(TypeError, match="out must be"):
        kernels.gelu(x, out=x.astype(np.float32))
    with pytest.raises(TypeError, match="must have the dtype of dy"):
        kernels.gelu_backward(x.astype(np.float32), x)


def test_statistics_that_move(rng: np.random.Generator) -> None:
    cuda = importlib.import_module("pyconv._cuda")
    for c in (1, 7, 300):
        running_mean, running_var, mean, var = (rng.random(c).astype(np.float32) for _ in range(4))
        moved = [to_device(a) for a in (running_mean, running_var)]
        cuda.move_statistics(*moved, to_device(mean), to_device(var), 0.1, 1.25)
        expected = 0.9 * running_mean + 0.1 * mean, 0.9 * running_var + 0.125 * var
        for a, b in zip(moved, expected, strict=True):
            assert_within(to_host(a), b.astype(np.float64), 4 * 2.0**-23)


def test_nothing_waits_for_the_device(rng: np.random.Generator) -> None:
    """What waits cannot be captured."""
    cupy = importlib.import_module("cupy")
    shape, c = (2, 8, 4, 4), np.ones(8, np.float32)
    x, dy = (stored(random_signs(shape, np.float32, rng), np.dtype("float16"))[0] for _ in "xy")
    logits = stored(random_signs((6, 10), np.float32, rng), np.dtype("float16"))[0]
    targets, ones = to_device(np.arange(6)), to_device(c)

    def all_results() -> list[Any]:
        loss, p = kernels.cross_entropy(logits, targets)
        return [
            kernels.gelu(x), kernels.gelu_backward(dy, x), kernels.softmax(x, 1),
            kernels.softmax_backward(dy, x, 1), loss, p,
            kernels.cross_entropy_backward(p, targets, loss),
            *kernels.batch_norm_training(x, ones, ones, activation="relu"),
            kernels.batch_norm_inference(x, ones, ones, ones, ones),
            *kernels.batch_norm_backward(dy, x, ones, ones, ones, activation="relu", y=x),
            kernels.instance_norm(x), *kernels.instance_norm_backward(dy, x),
        ]  # fmt: skip

    stream = cupy.cuda.Stream(non_blocking=True)
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc), stream:
        kept = all_results()  # the pool now has the memory
        expected = [to_host(a) for a in kept]
        del kept
        stream.synchronize()
        stream.begin_capture()
        results = all_results()
        graph = stream.end_capture()
        graph.launch(stream)
        stream.synchronize()
        for a, b in zip(results, expected, strict=True):
            assert_same_bits(to_host(a), b)
        del results, graph


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
    geometry = dict(
        stride=stride, padding=((pads[0], pads[1]), (pads[2], pads[3])), dilation=dilation, groups=c
    )
    taps = kernel[0] * kernel[1]
    x, wide_x = stored(random_signs((2, c, *size), np.float32, rng), storage)
    rounded = random_signs((c, 1, *kernel), np.float32, rng).astype(storage)
    weight, wide_weight = to_device(rounded), rounded.astype(np.float64)
    shape = reference.conv2d(wide_x, wide_weight, **geometry).shape
    residual, wide_residual = stored(random_signs(shape, np.float32, rng), storage)
    magnitude = reference.conv2d(abs(wide_x), abs(wide_weight), **geometry) + 2
    for kind in (np.dtype(np.float32), storage):
        bias = random_signs((c,), np.float32, rng).astype(kind)
        expected = reference.conv2d(
            wide_x, wide_weight, bias.astype(np.float64), residual=wide_residual,
            activation=activation, **geometry,
        )  # fmt: skip
        y = kernels.conv2d(
            x, weight, to_device(bias), residual=residual, activation=activation,
            algorithm="depthwise", **geometry,
        )  # fmt: skip
        assert y.dtype == storage
        # No activation is steeper than 1.1, or in float32 further off than 8 eps of its result.
        assert_rounded(y, expected, 2 * magnitude, taps + 2)
    dy, wide_dy = stored(random_signs(shape, np.float32, rng), storage)
    dx = kernels.conv2d_backward_input(dy, weight, x.shape, algorithm="depthwise", **geometry)
    expected, magnitude = (
        reference.conv2d_backward_input(a, b, x.shape, **geometry)
        for a, b in ((wide_dy, wide_weight), (abs(wide_dy), abs(wide_weight)))
    )
    assert_rounded(dx, expected, magnitude, taps)
    dw = kernels.conv2d_backward_weight(dy, x, weight.shape, algorithm="depthwise", **geometry)
    expected, magnitude = (
        reference.conv2d_backward_weight(a, b, weight.shape, **geometry)
        for a, b in ((wide_dy, wide_x), (abs(wide_dy), abs(wide_x)))
    )
    assert_rounded(dw, expected, magnitude, dy.size // c)


@pytest.mark.parametrize("kernel, stride", [(3, 1), (3, 2), (5, 1), (5, 2), (4, 1)])
def test_depthwise_gradients_take_nothing_from_pixels_that_a_tap_does_not_meet(
    kernel: int, stride: int
) -> None:
    """The last column meets the last taps alone; runs of outputs reach past the end of a row."""
    geometry = dict(stride=stride, groups=8)
    size = kernel + 4 * stride  # five outputs
    x = np.ones((1, 8, size, size), np.float32)
    x[..., -1] = np.nan
    dy = np.ones((1, 8, 5, 5), np.float32)
    dw = kernels.conv2d_backward_weight(
        stored(dy, dy.dtype)[0], stored(x, x.dtype)[0], (8, 1, kernel, kernel),
        algorithm="depthwise", **geometry,
    )  # fmt: skip
    wide = (dy.astype(np.float64), x.astype(np.float64))
    assert_exact(
        to_host(dw), reference.conv2d_backward_weight(*wide, (8, 1, kernel, kernel), **geometry)
    )


# -- what all of them have in common ---------------------------------------------------------------


def calls() -> list[Callable[..., Any]]:
    """Every function that takes out=, as one of images of (2, 16, 6, 8) alone."""
    shape = (2, 16, 12, 16)
    cells = np.arange(12 * 16, dtype=np.int32).reshape(12, 16)[::2, ::2, None]
    memory = np.ascontiguousarray(np.broadcast_to(cells, (2, 6, 8, 16)))
    won = to_device(np.moveaxis(memory, -1, 1))
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


def test_windows_that_kernels_can_not_count_are_refused(image: Any) -> None:
    """Cells are counted in 31 bits on CUDA."""
    far = dict(kernel_size=2, stride=2**31, padding=2**31, dilation=2**31)
    with pytest.raises(ValueError, match="cells of an image and a window must be at most"):
        kernels.max_pool2d(image, **far)
    weight = importlib.import_module("cupy").zeros((16, 1, 2, 2), image.dtype)
    far = dict(stride=2**31, padding=2**31, dilation=2**31, groups=16)
    with pytest.raises(ValueError, match="cells of an image, its padding and a kernel"):
        kernels.conv2d(image, weight, **far)


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
