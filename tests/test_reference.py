"""The reference against the definitions: brute force, differences, adjoints, known answers."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tolerances import assert_close_sum, assert_exact, layouts, small_integers

from pyconv import reference
from pyconv.reference._philox import philox4x32_10, random_words

Array = np.ndarray


def assert_gradient(
    f: Callable[..., Array], arguments: list[Array], dy: Array, gradients: Any
) -> None:
    """Central differences of sum(dy · f) with respect to each argument.

    A step of h = 2^-17 has an error of h² / 6 times the third derivative and of eps / h times the
    value: both around 1e-10 for values around 1, and the sum has at most a few hundred terms.
    """
    h = 2.0**-17
    assert len(arguments) == len(gradients)
    for x, gradient in zip(arguments, gradients, strict=True):
        assert gradient.shape == x.shape and gradient.dtype == x.dtype
        numeric = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            value = x[index]
            x[index] = value + h
            above = (dy * f(*arguments)).sum()
            x[index] = value - h
            below = (dy * f(*arguments)).sum()
            x[index] = value
            numeric[index] = (above - below) / (2 * h)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-7, atol=2e-8)


# Convolution


def brute_conv2d(x: Array, w: Array, stride: Any, pads: Any, dilation: Any, groups: int) -> Array:
    """Six loops, cell by cell."""
    (sh, sw), ((top, bottom), (left, right)), (dh, dw) = stride, pads, dilation
    n, channels, height, width = x.shape
    out_channels, group_channels, kh, kw = w.shape
    rows = (height + top + bottom - dh * (kh - 1) - 1) // sh + 1
    columns = (width + left + right - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((n, out_channels, rows, columns))
    for b, o, p, q in np.ndindex(*y.shape):
        first = o // (out_channels // groups) * group_channels
        for c, i, j in np.ndindex(group_channels, kh, kw):
            row, column = p * sh + i * dh - top, q * sw + j * dw - left
            if 0 <= row < height and 0 <= column < width:
                y[b, o, p, q] += x[b, first + c, row, column] * w[o, c, i, j]
    return y


small_pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
frame = st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * 2)


@st.composite
def convolutions(draw: Any) -> dict[str, Any]:
    """Shapes and options of a small convolution that has an output."""
    groups = draw(st.integers(1, 2))
    kernel, dilation, padding = draw(small_pair), draw(small_pair), draw(frame)
    size = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    for a in (0, 1):
        assume(size[a] + sum(padding[a]) >= dilation[a] * (kernel[a] - 1) + 1)
    channels, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    return {
        "x_shape": (draw(st.integers(0, 2)), channels, *size),
        "w_shape": (outputs, channels // groups, *kernel),
        "options": {
            "stride": draw(small_pair),
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        },
        "rng": np.random.default_rng(draw(st.integers(0, 99))),
    }


@given(convolutions())
def test_conv2d_is_six_loops_and_a_matrix(case: dict[str, Any]) -> None:
    options = case["options"]
    x = small_integers(case["x_shape"], np.float64, case["rng"])
    w = small_integers(case["w_shape"], np.float64, case["rng"])
    y = reference.conv2d(x, w, **options)
    assert_exact(y, brute_conv2d(x, w, *options.values()))
    matrix = reference.conv2d_matrix(w, x.shape, **options)
    assert_exact(y.ravel(), matrix @ x.ravel())

    dy = small_integers(y.shape, np.float64, case["rng"])
    dx = reference.conv2d_backward_input(dy, w, x.shape, **options)
    assert_exact(dx.ravel(), matrix.T @ dy.ravel())
    dw = reference.conv2d_backward_weight(dy, x, w.shape, **options)
    assert_exact(dw, reference.conv2d_matrix_backward(dy, x, w.shape, **options))
    # Linear in the weight: <dy, conv(x, w)> = <dw, w>.
    assert (dy * y).sum() == (dw * w).sum()


@given(convolutions(), st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_transposed_convolution_is_the_adjoint(case: dict[str, Any], extra: Any) -> None:
    options, (n, _, *size) = case["options"], case["x_shape"]
    w = small_integers(case["w_shape"], np.float64, case["rng"])  # from the result's to x's
    for a in (0, 1):
        assume(extra[a] < options["stride"][a])
        reach = options["dilation"][a] * (w.shape[2 + a] - 1) + 1
        rows = (size[a] - 1) * options["stride"][a] + reach + extra[a]
        assume(rows > sum(options["padding"][a]))
    x = small_integers((n, len(w), *size), np.float64, case["rng"])
    y = reference.conv_transpose2d(x, w, output_padding=extra, **options)
    z = small_integers(y.shape, np.float64, case["rng"])
    there = reference.conv2d(z, w, **options)
    assert there.shape == x.shape
    assert (z * y).sum() == (there * x).sum()
    assert_exact(reference.conv_transpose2d_backward_input(z, w, x.shape, **options), there)
    dw = reference.conv_transpose2d_backward_weight(z, x, w.shape, **options)
    assert dw.shape == w.shape
    assert (dw * w).sum() == (z * y).sum()


def test_the_matrix_of_a_3x3_kernel_on_a_4x4_image() -> None:
    weight = np.array([f"w{i}{j}" for i in range(3) for j in range(3)], dtype=object)
    matrix = reference.conv2d_matrix(weight.reshape(1, 1, 3, 3), (1, 1, 4, 4))
    rows = [
        "w00 w01 w02 0   w10 w11 w12 0   w20 w21 w22 0   0   0   0   0",
        "0   w00 w01 w02 0   w10 w11 w12 0   w20 w21 w22 0   0   0   0",
        "0   0   0   0   w00 w01 w02 0   w10 w11 w12 0   w20 w21 w22 0",
        "0   0   0   0   0   w00 w01 w02 0   w10 w11 w12 0   w20 w21 w22",
    ]
    assert [[str(entry) for entry in row] for row in matrix] == [row.split() for row in rows]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_same_padding_is_the_least_that_keeps_the_size(
    stride: int, dilation: int, kernel: int
) -> None:
    for length in range(1, 10):
        x, w = np.ones((1, 1, length)), np.ones((1, 1, kernel))
        options = {"stride": stride, "dilation": dilation}
        y = reference.conv1d(x, w, padding="same", **options)
        outputs = math.ceil(length / stride)
        assert y.shape[2] == outputs
        reach = dilation * (kernel - 1) + 1
        least = next(p for p in itertools.count() if (length + p - reach) // stride + 1 >= outputs)
        explicit = ((least // 2, least - least // 2),)
        assert_exact(y, reference.conv1d(x, w, padding=explicit, **options))


def test_notations_of_padding(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((1, 2, 7, 8)), rng.standard_normal((3, 2, 3, 2))
    for one, other in [
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ((1, (0, 2)), ((1, 1), (0, 2))),
        ("valid", 0),
        ("same", ((1, 1), (0, 1))),
    ]:
        assert_exact(reference.conv2d(x, w, padding=one), reference.conv2d(x, w, padding=other))
    with pytest.raises(ValueError, match="transposed convolution"):
        reference.conv_transpose2d(x, w.swapaxes(0, 1), padding="same")
    with pytest.raises(ValueError, match="'full'"):
        reference.conv2d(x, w, padding="full")
    with pytest.raises(ValueError, match="empty"):
        reference.conv2d(x, np.ones((1, 2, 9, 1)))


def test_the_order_of_a_fused_convolution(rng: np.random.Generator) -> None:
    x, w, b = rng.standard_normal((2, 2, 4, 4)), rng.standard_normal((3, 2, 3, 3)), np.ones(3)
    plain = reference.conv2d(x, w)
    residual = rng.standard_normal(plain.shape)
    fused = reference.conv2d(x, w, b, residual=residual, activation="tanh")
    assert_exact(fused, np.tanh(plain + 1 + residual))
    leaky = reference.conv2d(x, w, activation=("leaky_relu", 0.5))
    assert_exact(leaky, np.where(plain > 0, plain, plain / 2))
    with pytest.raises(ValueError, match="softplus"):
        reference.conv2d(x, w, activation="softplus")


def test_conv2d_derivatives(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((2, 2, 4, 5)), rng.standard_normal((2, 1, 2, 3))
    b = rng.standard_normal(2)
    options = {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "dilation": (1, 2), "groups": 2}
    dy = rng.standard_normal(reference.conv2d(x, w, **options).shape)
    gradients = (
        reference.conv2d_backward_input(dy, w, x.shape, **options),
        reference.conv2d_backward_weight(dy, x, w.shape, **options),
        reference.conv2d_backward_bias(dy),
    )
    assert_gradient(lambda *a: reference.conv2d(*a, **options), [x, w, b], dy, gradients)


@pytest.mark.parametrize("dilation, extra", [(1, 1), (3, 2)])
def test_conv_transpose2d_derivatives(dilation: int, extra: int, rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((2, 2, 3, 2)), rng.standard_normal((2, 2, 2, 3))
    options = {"stride": 2, "padding": 1, "dilation": dilation, "groups": 2}

    def f(*arguments: Array) -> Array:
        return reference.conv_transpose2d(*arguments, output_padding=extra, **options)

    b = rng.standard_normal(4)
    dy = rng.standard_normal(f(x, w).shape)
    gradients = (
        reference.conv_transpose2d_backward_input(dy, w, x.shape, **options),
        reference.conv_transpose2d_backward_weight(dy, x, w.shape, **options),
        dy.sum(axis=(0, 2, 3)),
    )
    assert_gradient(f, [x, w, b], dy, gradients)


def test_depthwise_separable_derivatives(rng: np.random.Generator) -> None:
    options = {"stride": 2, "padding": (1, 0)}
    arguments = [rng.standard_normal(s) for s in [(2, 2, 4, 5), (4, 1, 3, 2), (3, 4, 1, 1), (3,)]]
    x, depthwise, pointwise, _ = arguments
    f = reference.depthwise_separable_conv2d
    y = f(*arguments, **options)
    middle = brute_conv2d(x, depthwise, (2, 2), ((1, 1), (0, 0)), (1, 1), 2)
    expected = np.einsum("ncpq,oc->nopq", middle, pointwise[..., 0, 0])
    assert_close_sum(y - arguments[3][:, None, None], expected, 50.0, 30)
    dy = rng.standard_normal(y.shape)
    gradients = reference.depthwise_separable_conv2d_backward(
        dy, x, depthwise, pointwise, **options
    )
    assert_gradient(lambda *a: f(*a, **options), arguments, dy, gradients)


def test_sequences_are_images_of_one_row(rng: np.random.Generator) -> None:
    x, w, b = rng.standard_normal((2, 4, 9)), rng.standard_normal((6, 2, 3)), np.ones(6)
    options = {"stride": (2,), "padding": ((1, 2),), "dilation": 2, "groups": 2}
    y = reference.conv1d(x, w, b, **options)
    dy = rng.standard_normal(y.shape)
    gradients = (
        reference.conv1d_backward_input(dy, w, x.shape, **options),
        reference.conv1d_backward_weight(dy, x, w.shape, **options),
        reference.conv1d_backward_bias(dy),
    )
    assert_gradient(lambda *a: reference.conv1d(*a, **options), [x, w, b], dy, gradients)
    image = brute_conv2d(x[:, :, None], w[:, :, None], (1, 2), ((0, 0), (1, 2)), (1, 2), 2)
    assert_close_sum(y - 1, image[:, :, 0], 50.0, 7)

    w = rng.standard_normal((4, 3, 3))
    y = reference.conv_transpose1d(x, w, output_padding=(1,), **options)
    assert y.shape == (2, 6, (9 - 1) * 2 - (1 + 2) + (2 * 2 + 1) + 1)
    dy = rng.standard_normal(y.shape)
    gradients = (
        reference.conv_transpose1d_backward_input(dy, w, x.shape, **options),
        reference.conv_transpose1d_backward_weight(dy, x, w.shape, **options),
    )
    assert_gradient(
        lambda *a: reference.conv_transpose1d(*a, output_padding=1, **options),
        [x, w],
        dy,
        gradients,
    )


# Pooling


def pool_windows(size: int, kernel: int, stride: int, pads: Any, dilation: int, ceil: bool) -> Any:
    """The positions of each window, from the definition: slide as long as the rules allow."""
    before, after = pads
    windows, start = [], -before
    while True:
        last = start + dilation * (kernel - 1)
        fits = last < size + after
        # Rounded up: the window may reach over the end if it begins before it, and if the one
        # before it did not reach it already.
        missed = windows and windows[-1][-1] < size + after - 1
        if not fits and not (ceil and start < size and (missed or not windows)):
            return windows
        windows.append([start + dilation * tap for tap in range(kernel)])
        start += stride


@st.composite
def pools(draw: Any) -> dict[str, Any]:
    kernel, dilation = draw(small_pair), draw(small_pair)
    stride = draw(st.none() | small_pair)
    padding = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in kernel)
    size = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    for a in (0, 1):
        assume(size[a] + sum(padding[a]) >= dilation[a] * (kernel[a] - 1) + 1)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return {
        "x": small_integers((draw(st.integers(0, 2)), 2, *size), np.float64, rng),
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil": draw(st.booleans()),
        "rng": rng,
    }


@given(pools(), st.booleans())
def test_max_pool2d_by_brute_force(case: dict[str, Any], strange: bool) -> None:
    x, kernel, padding, dilation = case["x"], case["kernel"], case["padding"], case["dilation"]
    if strange:
        kinds = case["rng"].integers(0, 5, x.shape)
        x = np.where(kinds == 0, np.nan, np.where(kinds < 3, -np.inf, x))
    stride = case["stride"] or kernel
    rows, columns = (
        pool_windows(x.shape[2 + a], kernel[a], stride[a], padding[a], dilation[a], case["ceil"])
        for a in (0, 1)
    )
    options = (kernel, case["stride"], padding, dilation, case["ceil"])
    y, indices = reference.max_pool2d(x, *options)
    assert y.shape == indices.shape == (*x.shape[:2], len(rows), len(columns))
    assert indices.dtype == np.int32
    expected, where = np.full(y.shape, -np.inf), np.full(y.shape, -1)
    for n, c, p, q in np.ndindex(*y.shape):
        for i, j in itertools.product(rows[p], columns[q]):
            if not (0 <= i < x.shape[2] and 0 <= j < x.shape[3]):
                continue
            value, best = x[n, c, i, j], expected[n, c, p, q]
            first = where[n, c, p, q] < 0
            if first or (not math.isnan(best) and (math.isnan(value) or value > best)):
                expected[n, c, p, q], where[n, c, p, q] = value, i * x.shape[3] + j
    assert_exact(y, expected)
    assert_exact(indices, where)
    assert_exact(reference.max_pool2d(x, *options, return_indices=False), expected)

    dy = small_integers(y.shape, np.float64, case["rng"])
    dx = np.zeros((*x.shape[:2], x.shape[2] * x.shape[3]))
    for index in np.ndindex(*y.shape):
        if where[index] >= 0:
            dx[(*index[:2], where[index])] += dy[index]
    assert_exact(reference.max_pool2d_backward(dy, indices, x.shape, *options), dx.reshape(x.shape))


@given(pools(), st.booleans(), st.sampled_from([None, 3]))
def test_avg_pool2d_by_brute_force(
    case: dict[str, Any], count_pad: bool, override: int | None
) -> None:
    x, kernel, padding = case["x"], case["kernel"], case["padding"]
    stride, size = case["stride"] or kernel, x.shape[2:]
    rows, columns = (
        pool_windows(size[a], kernel[a], stride[a], padding[a], 1, case["ceil"]) for a in (0, 1)
    )
    options = (kernel, case["stride"], padding, case["ceil"], count_pad, override)
    y = reference.avg_pool2d(x, *options)
    expected = np.zeros((*x.shape[:2], len(rows), len(columns)))
    matrix = np.zeros((len(rows), len(columns), *size))
    for p, q in np.ndindex(len(rows), len(columns)):
        cells = [
            (i, j)
            for i, j in itertools.product(rows[p], columns[q])
            if i < size[0] + padding[0][1] and j < size[1] + padding[1][1]
        ]
        inside = [(i, j) for i, j in cells if 0 <= i < size[0] and 0 <= j < size[1]]
        divisor = override or len(cells if count_pad else inside)
        for i, j in inside:
            matrix[p, q, i, j] = 1 / divisor
    expected = np.einsum("pqij,ncij->ncpq", matrix, x)
    assert_close_sum(y, expected, 3.0, 9)
    dy = small_integers(y.shape, np.float64, case["rng"])
    dx = reference.avg_pool2d_backward(dy, x.shape, *options)
    assert_close_sum(dx, np.einsum("pqij,ncpq->ncij", matrix, dy), 27.0, 9)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 8), st.integers(1, 8))
def test_adaptive_avg_pool2d_by_brute_force(h: int, w: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(h * 1000 + w * 100 + rows * 10 + columns)
    x = small_integers((2, 2, h, w), np.float64, rng)
    matrix = np.zeros((rows, columns, h, w))
    for p, q in np.ndindex(rows, columns):
        top, bottom = math.floor(p * h / rows), math.ceil((p + 1) * h / rows)
        left, right = math.floor(q * w / columns), math.ceil((q + 1) * w / columns)
        matrix[p, q, top:bottom, left:right] = 1 / ((bottom - top) * (right - left))
    y = reference.adaptive_avg_pool2d(x, (rows, columns))
    assert_close_sum(y, np.einsum("pqij,ncij->ncpq", matrix, x), 3.0, 49)
    dy = small_integers(y.shape, np.float64, rng)
    dx = reference.adaptive_avg_pool2d_backward(dy, x.shape)
    assert_close_sum(dx, np.einsum("pqij,ncpq->ncij", matrix, dy), 3.0 * rows * columns, 64)


def test_pools_of_sequences(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 9))
    y, indices = reference.max_pool1d(x, (3,), 2, ((1, 0),), ceil_mode=True)
    windows = [[0, 1], [1, 2, 3], [3, 4, 5], [5, 6, 7], [7, 8]]
    assert_exact(y, np.stack([x[..., w].max(-1) for w in windows], -1))
    assert_exact(indices, np.stack([x[..., w].argmax(-1) + w[0] for w in windows], -1))
    dy = rng.standard_normal(y.shape)
    dx = reference.max_pool1d_backward(dy, indices, x.shape, (3,), 2, ((1, 0),), ceil_mode=True)
    assert_gradient(lambda x: reference.max_pool1d(x, 3, 2, ((1, 0),), 1, True)[0], [x], dy, [dx])
    y = reference.avg_pool1d(x, 3, 2, 1, count_include_pad=False)
    assert_close_sum(y[..., 0], (x[..., 0] + x[..., 1]) / 2, 4.0, 3)
    dy = rng.standard_normal(y.shape)
    dx = reference.avg_pool1d_backward(dy, x.shape, 3, 2, 1, count_include_pad=False)
    assert_gradient(lambda x: reference.avg_pool1d(x, 3, 2, 1, False, False), [x], dy, [dx])
    dy = rng.standard_normal((2, 3, 4))
    dx = reference.adaptive_avg_pool1d_backward(dy, x.shape)
    assert_gradient(lambda x: reference.adaptive_avg_pool1d(x, 4), [x], dy, [dx])


# Resampling


@pytest.mark.parametrize(
    "mode, align", [("nearest", False), ("bilinear", False), ("bilinear", True)]
)
@pytest.mark.parametrize(
    "how", [{"scale": 2}, {"scale": (1.5, 0.5)}, {"size": (5, 3)}, {"size": 1}]
)
def test_upsample2d(mode: str, align: bool, how: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 2, 3, 4))
    y = reference.upsample2d(x, mode=mode, align_corners=align, **how)
    expected = np.zeros_like(y)
    for p, q in np.ndindex(y.shape[2:]):
        weights = []
        for a, place in enumerate((p, q)):
            size, outputs = x.shape[2 + a], y.shape[2 + a]
            scale = how.get("scale")
            factor = outputs / size if scale is None else np.broadcast_to(scale, 2)[a]
            assert scale is None or outputs == math.floor(size * factor)
            if mode == "nearest":
                tent = np.arange(size) == min(math.floor(place / factor), size - 1)
            else:
                source = (place + 0.5) / factor - 0.5
                if align:
                    source = place * (size - 1) / max(outputs - 1, 1)
                source = min(max(source, 0), size - 1)
                tent = np.maximum(0, 1 - np.abs(np.arange(size) - source))
            weights.append(tent.astype(float))
        expected[:, :, p, q] = np.einsum("i,j,ncij->nc", *weights, x)
    assert_close_sum(y, expected, 4.0, 8)
    dy = rng.standard_normal(y.shape)
    dx = reference.upsample2d_backward(dy, x.shape, mode=mode, align_corners=align, **how)
    assert_gradient(
        lambda x: reference.upsample2d(x, mode=mode, align_corners=align, **how), [x], dy, [dx]
    )


@pytest.mark.parametrize("how", [{}, {"scale": 2, "size": 3}])
def test_upsample2d_takes_a_scale_or_a_size(how: Any) -> None:
    with pytest.raises(ValueError, match="either scale or size"):
        reference.upsample2d(np.ones((1, 1, 2, 2)), **how)


@pytest.mark.parametrize("padding", [2, (1, 0), ((0, 1), (2, 1))])
def test_pad2d(padding: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 2, 3, 4))
    sides = np.broadcast_to(
        np.array(padding).reshape(-1, 1) if padding == (1, 0) else padding, (2, 2)
    )
    frame = [(0, 0), (0, 0), *map(tuple, sides)]
    for mode, name in [("zeros", "constant"), ("reflect", "reflect")]:
        y = reference.pad2d(x, padding, mode)
        assert_exact(y, np.pad(x, frame, mode=name))
        dy = rng.standard_normal(y.shape)
        dx = reference.pad2d_backward(dy, x.shape, padding, mode)
        assert_gradient(lambda x, mode=mode: reference.pad2d(x, padding, mode), [x], dy, [dx])


def test_reflection_is_smaller_than_the_image() -> None:
    with pytest.raises(ValueError, match="smaller"):
        reference.pad2d(np.ones((1, 1, 3, 3)), 3, "reflect")


# Dense, normalisation, activations, loss


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_gemm(transpose_a: bool, transpose_b: bool, rng: np.random.Generator) -> None:
    a = small_integers((3, 4), np.float64, rng)
    b, c = small_integers((4, 5), np.float64, rng), small_integers((3, 5), np.float64, rng)
    bias = small_integers(5, np.float64, rng)
    expected = np.zeros((3, 5))
    for i, j in np.ndindex(3, 5):
        total = sum(a[i, k] * b[k, j] for k in range(4))
        expected[i, j] = max(0.0, 2 * total - 3 * c[i, j] + bias[j])
    y = reference.gemm(
        a.T if transpose_a else a,
        b.T if transpose_b else b,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
        alpha=2,
        beta=-3,
        c=c,
        bias=bias,
        activation="relu",
    )
    assert_exact(y, expected)
    assert_exact(reference.gemm(a, b, c=np.full((3, 5), np.nan)), a @ b)


def test_linear_derivatives(rng: np.random.Generator) -> None:
    x, w, b = rng.standard_normal((3, 4)), rng.standard_normal((2, 4)), rng.standard_normal(2)
    dy = rng.standard_normal((3, 2))
    assert_gradient(reference.linear, [x, w, b], dy, reference.linear_backward(dy, x, w))


ACTIVATIONS = ["relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu"]


def away_from_corners(shape: Any, rng: np.random.Generator) -> Array:
    """Numbers from -8 to 8 that are nowhere near 0 and 6, where an activation has a corner."""
    x = rng.uniform(-8, 8, shape)
    for corner in (0, 6):
        x = np.where(np.abs(x - corner) < 0.01, x + 0.05, x)
    return x


@pytest.mark.parametrize("shape", [(3, 3), (4, 3, 3), (2, 3, 2, 3)])
@pytest.mark.parametrize("activation", [None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh"])
def test_batch_norm_derivatives(shape: Any, activation: Any, rng: np.random.Generator) -> None:
    x, residual = 3 + rng.standard_normal(shape), rng.standard_normal(shape)
    gamma, beta = rng.standard_normal((2, 3))

    def f(x: Array, gamma: Array, beta: Array, residual: Array) -> Array:
        return reference.batch_norm_training(
            x, gamma, beta, eps=0.1, activation=activation, residual=residual
        )[0]

    y, mean, var = reference.batch_norm_training(
        x, gamma, beta, eps=0.1, activation=activation, residual=residual
    )
    flat = np.moveaxis(x, 1, 0).reshape(3, -1)
    np.testing.assert_allclose(mean, flat.mean(1), rtol=1e-14)
    np.testing.assert_allclose(var, flat.var(1), rtol=1e-13)
    inference = reference.batch_norm_inference(
        x, gamma, beta, mean, var, eps=0.1, activation=activation, residual=residual
    )
    assert_exact(inference, y)
    dy = rng.standard_normal(shape)
    gradients = reference.batch_norm_backward(
        dy, x, gamma, mean, var, eps=0.1, activation=activation, y=y
    )
    if activation is None:
        assert len(gradients) == 3
        gradients = (*gradients, dy)
    assert_gradient(f, [x, gamma, beta, residual], dy, gradients)


@pytest.mark.parametrize("activation, y", [("relu", None), ("gelu", np.ones((2, 3)))])
def test_batch_norm_backward_needs_an_output_that_tells(activation: str, y: Any) -> None:
    x, c = np.ones((2, 3)), np.ones(3)
    with pytest.raises(ValueError, match="output"):
        reference.batch_norm_backward(x, x, c, c, c, activation=activation, y=y)


def test_batch_norm_of_nothing() -> None:
    y, mean, var = reference.batch_norm_training(np.ones((0, 3, 2, 2)), np.ones(3), np.ones(3))
    assert y.shape == (0, 3, 2, 2) and np.isnan(mean).all() and np.isnan(var).all()


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 2, 3)])
def test_instance_norm_derivatives(shape: Any, rng: np.random.Generator) -> None:
    x, dy = 3 + rng.standard_normal(shape), rng.standard_normal(shape)
    gamma, beta = rng.standard_normal((2, 3))
    y = reference.instance_norm(x, eps=0)
    plane = tuple(range(2, x.ndim))
    np.testing.assert_allclose(y.mean(axis=plane), 0, atol=1e-14)
    np.testing.assert_allclose(y.var(axis=plane), 1, rtol=1e-13)
    assert_gradient(
        lambda *a: reference.instance_norm(*a, eps=0.1),
        [x, gamma, beta],
        dy,
        reference.instance_norm_backward(dy, x, gamma, eps=0.1),
    )
    dx = reference.instance_norm_backward(dy, x, eps=0.1)[0]
    assert_gradient(lambda x: reference.instance_norm(x, eps=0.1), [x], dy, [dx])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivatives(name: str, rng: np.random.Generator) -> None:
    x, dy = away_from_corners((6, 7), rng), rng.standard_normal((6, 7))
    backward = getattr(reference, f"{name}_backward")
    assert_gradient(getattr(reference, name), [x], dy, [backward(dy, x)])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_scalars(name: str) -> None:
    formulas: dict[str, Callable[[float], float]] = {
        "relu": lambda x: max(x, 0.0),
        "relu6": lambda x: min(max(x, 0.0), 6.0),
        "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
        "sigmoid": lambda x: 0.5 + math.tanh(x / 2) / 2,
        "tanh": math.tanh,
        "silu": lambda x: x * (0.5 + math.tanh(x / 2) / 2),
        "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    }
    x = np.linspace(-9, 9, 73)
    expected = [formulas[name](value) for value in x]
    # The formulas above lose the digits that their two terms cancel: the error is absolute.
    np.testing.assert_allclose(getattr(reference, name)(x), expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_nan_stays_one(name: str) -> None:
    assert np.isnan(getattr(reference, name)(np.array([np.nan])))


def test_corners_of_activations() -> None:
    dy, x = np.full(4, 2.0), np.array([0.0, -0.0, 6.0, np.nan])
    assert_exact(reference.relu_backward(dy, x), np.array([0.0, 0.0, 2.0, 2.0]))
    assert_exact(reference.relu6_backward(dy, x), np.array([0.0, 0.0, 0.0, 2.0]))
    assert_exact(reference.leaky_relu_backward(dy, x, 0.25), np.array([0.5, 0.5, 2.0, 0.5]))
    # The tail of the normal distribution, where 1 + erf would be 0: P(-10) from its series.
    tail = -10 * 7.619853024160526e-24
    np.testing.assert_allclose(reference.gelu(np.array([-10.0])), tail, rtol=1e-13)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_derivatives(name: str, axis: int, rng: np.random.Generator) -> None:
    f, backward = getattr(reference, name), getattr(reference, f"{name}_backward")
    x, dy = rng.standard_normal((3, 4, 2)), rng.standard_normal((3, 4, 2))
    y = f(x, axis)
    probabilities = y if name == "softmax" else np.exp(y)
    ratio = np.exp(x) / np.exp(x).sum(axis, keepdims=True)
    np.testing.assert_allclose(probabilities, ratio, rtol=1e-14)
    np.testing.assert_allclose(f(x + 900, axis), y, rtol=1e-12)
    assert_gradient(lambda x: f(x, axis), [x], dy, [backward(dy, y, axis)])


def test_cross_entropy_derivatives(rng: np.random.Generator) -> None:
    logits, targets = rng.standard_normal((4, 3)), np.array([2, 0, 2, 1])
    loss, probabilities = reference.cross_entropy(logits, targets)
    expected = -np.mean([math.log(p[t]) for p, t in zip(probabilities, targets, strict=True)])
    np.testing.assert_allclose(loss, expected, rtol=1e-14)
    gradient = reference.cross_entropy_backward(probabilities, targets, 2.5)
    assert_gradient(
        lambda x: reference.cross_entropy(x, targets)[0], [logits], np.array(2.5), [gradient]
    )
    empty = reference.cross_entropy(np.ones((0, 3)), np.ones(0, np.int64))
    assert math.isnan(empty[0]) and empty[1].shape == (0, 3)


# Random numbers, optimizers


@pytest.mark.parametrize(
    "counter, key, words",
    [
        ([0] * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ],
)
def test_philox_known_answers(counter: list[int], key: Any, words: str) -> None:
    result = philox4x32_10([np.array([word]) for word in counter], key)
    assert " ".join(f"{int(word[0]):08x}" for word in result) == words


def philox_of_ints(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 in Python's integers."""
    c, k = counter, key
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


@given(st.integers(0, 2**64 - 1), st.integers(0, 40), st.floats(0, 1))
def test_dropout_follows_its_definition(seed: int, size: int, p: float) -> None:
    x = np.arange(1.0, size + 1)
    y, mask = reference.dropout(x, p, seed)
    assert len(random_words(size, seed)) == size and mask.dtype == bool
    for i in range(size):
        word = philox_of_ints([i // 4, 0, 0, 0], [seed & 0xFFFFFFFF, seed >> 32])[i % 4]
        kept = (word >> 8) / 2**24 >= p
        assert mask[i] == kept
        assert y[i] == (x[i] * (1 / (1 - p)) if kept else 0)
    assert_exact(reference.dropout_backward(x, mask, p), y)


def test_dropout_keeps_an_entry_whose_number_is_p() -> None:
    u = (random_words(5, 11) >> np.uint64(8)) / 2**24
    for i in range(5):
        assert reference.dropout(np.ones(5), u[i], 11)[1][i]
        assert not reference.dropout(np.ones(5), np.nextafter(u[i], 1), 11)[1][i]


def test_dropout_counts_by_logical_position() -> None:
    x = np.arange(1.0, 121).reshape(2, 3, 4, 5)
    for name, other in layouts(x):
        assert_exact(reference.dropout(other, 0.5, 7)[0], reference.dropout(x, 0.5, 7)[0])
        assert name


def test_dropout_drops_p_of_all() -> None:
    # 4 standard deviations of the mean of 40,000 draws.
    n, p = 40_000, 0.3
    _, mask = reference.dropout(np.ones(n), p, 3)
    assert abs(mask.mean() - (1 - p)) < 4 * math.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_step_by_scalars(nesterov: bool) -> None:
    w, v = np.array([2.0]), np.array([0.5])
    options = {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.3}
    reference.sgd_step([w], [np.array([1.5])], [v], nesterov=nesterov, **options)
    g = 1.5 + 0.3 * 2
    velocity = 0.9 * 0.5 + 0.8 * g
    np.testing.assert_allclose(v, velocity, rtol=1e-15)
    step = g + 0.9 * velocity if nesterov else velocity
    np.testing.assert_allclose(w, 2 - 0.1 * step, rtol=1e-15)


def test_sgd_step_without_momentum_reads_no_momenta() -> None:
    w = np.array([2.0])
    reference.sgd_step([w], [np.array([1.0])], None, lr=0.5)
    assert w == 1.5
    with pytest.raises(ValueError, match="momenta"):
        reference.sgd_step([w], [w], None, lr=0.5, momentum=0.9)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_step_by_scalars(decoupled: bool) -> None:
    weight, first, second = 2.0, 0.0, 0.0
    w, m, v = np.array([weight]), np.zeros(1), np.zeros(1)
    for step in range(1, 5):
        gradient = 0.7 * step - 1
        reference.adam_step(
            [w],
            [np.array([gradient])],
            [m],
            [v],
            step,
            lr=0.1,
            weight_decay=0.3,
            decoupled=decoupled,
        )
        g = gradient if decoupled else gradient + 0.3 * weight
        weight = weight * (1 - 0.1 * 0.3) if decoupled else weight
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
        mean, square = first / (1 - 0.9**step), second / (1 - 0.999**step)
        weight -= 0.1 * mean / (math.sqrt(square) + 1e-8)
        np.testing.assert_allclose([w[0], m[0], v[0]], [weight, first, second], rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3.5, math.inf])
def test_grad_norm(order: float, rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal((3, 4)).astype(np.float32), rng.standard_normal(5)]
    flat = np.concatenate([array.ravel().astype(np.float64) for array in arrays])
    expected = np.linalg.norm(flat, order)
    assert reference.grad_norm(arrays, order) == pytest.approx(expected, rel=1e-14)
    assert reference.grad_norm([], order) == 0
    with pytest.raises(ValueError, match="order"):
        reference.grad_norm(arrays, 0)


# All functions


def test_all_names_are_functions_with_examples() -> None:
    for name in reference.__all__:
        function = getattr(reference, name)
        assert inspect.isfunction(function) and ">>>" in (function.__doc__ or ""), name


@pytest.mark.parametrize("name", [n for n in reference.__all__ if "backward" in n])
def test_a_backward_function_has_the_defaults_of_its_forward(name: str) -> None:
    forward = inspect.signature(
        getattr(reference, name.split("_backward")[0], None) or reference.batch_norm_training
    ).parameters
    for argument, parameter in inspect.signature(getattr(reference, name)).parameters.items():
        if argument in forward:
            assert parameter.default == forward[argument].default, argument


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_results_have_the_type_of_the_input(dtype: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 2, 4, 4)).astype(dtype)
    w, c = x[:, :, :3, :3], np.ones(2, dtype)
    results = [
        reference.conv2d(x, w, c, activation="gelu"),
        reference.conv_transpose2d(x, w, c, activation="silu"),
        reference.conv2d_matrix_backward(x[:, :, :2, :2], x, w.shape),
        reference.max_pool2d(x, 2)[0],
        reference.avg_pool2d(x, 3, padding=1),
        reference.adaptive_avg_pool2d(x, 3),
        reference.avg_pool2d_backward(x, (2, 2, 8, 8), 2),
        *reference.batch_norm_training(x, c, c),
        *reference.batch_norm_backward(x, x, c, c, c, activation="tanh", y=x),
        *reference.instance_norm_backward(x, x, c),
        reference.upsample2d(x, 1.5, "bilinear"),
        reference.upsample2d_backward(x, (2, 2, 3, 3), size=4, mode="bilinear"),
        reference.pad2d(x, 1),
        reference.dropout(x, 0.3, 1)[0],
        reference.gemm(w[0, 0], w[0, 1], alpha=np.float64(2), beta=1, c=w[1, 0]),
        *(getattr(reference, name)(x) for name in ACTIVATIONS),
        *(getattr(reference, f"{name}_backward")(x, x) for name in ACTIVATIONS),
        reference.softmax(x),
        reference.cross_entropy(w[0, 0], np.array([0, 1, 2]))[0],
        reference.cross_entropy_backward(w[0, 0], np.array([0, 1, 2]), np.float64(2)),
    ]
    assert [result.dtype for result in results] == [np.dtype(dtype)] * len(results)


def test_out_takes_the_result(rng: np.random.Generator) -> None:
    x, w = rng.standard_normal((2, 2, 4, 4)), rng.standard_normal((3, 2, 3, 3))
    out = np.empty((2, 3, 2, 2))
    assert reference.conv2d(x, w, out=out) is out
    assert_exact(out, reference.conv2d(x, w))
    with pytest.raises(ValueError, match="out must be float64 of shape"):
        reference.relu(x, out=out)


def test_layouts_have_one_value(rng: np.random.Generator) -> None:
    x = np.repeat(rng.standard_normal((1, 3, 4, 5)), 2, axis=0)
    found = dict(layouts(x))
    assert len(found) == 8
    for array in found.values():
        assert_exact(array, x)
    assert found["channels-last"].strides[1] == 8 and found["broadcast"].strides[0] == 0
    assert found["negative-stride"].strides[-1] < 0 and not found["unaligned"].flags.aligned
    assert not found["read-only"].flags.writeable and not found["slice"].flags.contiguous
