"""Matrix products of every instruction set against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import (
    assert_close_sum,
    assert_exact,
    assert_same_bits,
    layouts,
    one_sign,
    proven_factor,
    random_signs,
    small_integers,
)

import pyconv
from pyconv import kernels, reference

FLOAT32, FLOAT64 = np.float32, np.float64

# M, N, K: around the tiles (6 x 16, 14 x 32), the dots of few rows, the blocks of k, and few rows
# against a b of more than 1 MiB.
SIZES = [
    (1, 1, 1),
    (1, 10, 300),
    (3, 65, 17),
    (4, 64, 64),
    (5, 7, 9),
    (13, 31, 33),
    (14, 32, 16),
    (15, 33, 15),
    (16, 100, 16),
    (17, 16, 1),
    (29, 48, 50),
    (97, 80, 385),
    (141, 72, 257),
    (40, 1, 600),
    (70, 10, 129),
    (33, 12, 64),
    (30, 800, 70),
    (1, 1030, 300),
    (4, 523, 520),
    (2, 3, 0),
    (0, 4, 5),
    (4, 0, 5),
]


def wide(*arrays: Any) -> list[Any]:
    return [None if a is None else a.astype(FLOAT64) for a in arrays]


def operands(
    m: int, n: int, k: int, ta: bool, tb: bool, dtype: Any, rng: Any, make: Any
) -> tuple[np.ndarray, np.ndarray]:
    a = make((k, m) if ta else (m, k), dtype, rng)
    b = make((n, k) if tb else (k, n), dtype, rng)
    return a, b


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
@pytest.mark.parametrize("transposes", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gemm_is_exact_on_integers(size, transposes, dtype, isa, rng):
    m, n, k = size
    ta, tb = transposes
    a, b = operands(m, n, k, ta, tb, dtype, rng, small_integers)
    c, bias = small_integers((m, n), dtype, rng), small_integers((n,), dtype, rng)
    options = dict(transpose_a=ta, transpose_b=tb)
    assert_exact(kernels.gemm(a, b, **options), reference.gemm(*wide(a, b), **options))
    options |= dict(alpha=-2.0, beta=0.5, activation="relu")
    expected = reference.gemm(
        *wide(a, b), c=c.astype(FLOAT64), bias=bias.astype(FLOAT64), **options
    )
    assert_exact(kernels.gemm(a, b, c=c, bias=bias, **options), expected)


@pytest.mark.parametrize("sign", ["random", "one"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_errors_stay_within_the_bound_of_the_sum(size, sign, isa, rng):
    m, n, k = size
    a, b = operands(
        m, n, k, False, True, FLOAT32, rng, random_signs if sign == "random" else one_sign
    )
    expected = reference.gemm(*wide(a, b), transpose_b=True)
    magnitude = reference.gemm(*wide(abs(a), abs(b)), transpose_b=True)
    c = 4.0 if sign == "random" else proven_factor(k)
    assert_close_sum(kernels.gemm(a, b, transpose_b=True), expected, magnitude, k, c)


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_linear_and_its_gradients_are_exact_on_integers(size, dtype, isa, rng):
    m, n, k = size
    x, weight = operands(m, n, k, False, True, dtype, rng, small_integers)
    bias, dy = small_integers((n,), dtype, rng), small_integers((m, n), dtype, rng)
    for options in ({}, {"activation": ("leaky_relu", 0.25)}):
        expected = reference.linear(*wide(x, weight, bias), **options)
        assert_exact(kernels.linear(x, weight, bias, **options), expected)
    found = kernels.linear_backward(dy, x, weight)
    for a, b in zip(found, reference.linear_backward(*wide(dy, x, weight)), strict=True):
        assert_exact(a, b)


@pytest.mark.cpu("packed weights are for the CPU")
@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
@pytest.mark.parametrize("size", [size for size in SIZES if all(size[1:])], ids=str)
def test_linear_with_a_packed_weight_is_exact_on_integers(size, dtype, isa, rng):
    m, n, k = size
    x, weight = operands(m, n, k, False, True, dtype, rng, small_integers)
    bias = small_integers((n,), dtype, rng)
    packed = kernels.pack_weight(weight)
    for options in ({}, {"activation": ("leaky_relu", 0.25)}):
        expected = reference.linear(*wide(x, weight, bias), **options)
        assert_exact(kernels.linear(x, packed, bias, **options), expected)


def test_any_layout_gives_the_same_values(rng):
    a, b = small_integers((19, 23), FLOAT32, rng), small_integers((23, 35), FLOAT32, rng)
    wanted = reference.gemm(*wide(a, b))
    for _, left in layouts(a):
        for _, right in layouts(b):
            assert_exact(kernels.gemm(left, right), wanted)
    constant = np.broadcast_to(a[:1], a.shape)
    assert_exact(kernels.gemm(constant, b), reference.gemm(*wide(constant, b)))


@pytest.mark.parametrize(
    "size", [(300, 200, 700), (8, 1000, 512), (1000, 8, 64), (3, 1030, 300)], ids=str
)
def test_any_number_of_threads_gives_the_same_bits(size, thread_counts, rng):
    m, n, k = size
    x, weight = operands(m, n, k, False, True, FLOAT32, rng, random_signs)
    dy = random_signs((m, n), FLOAT32, rng)
    before, found = pyconv.get_num_threads(), []
    try:
        for threads in thread_counts:
            pyconv.set_num_threads(threads)
            found.append([kernels.linear(x, weight), *kernels.linear_backward(dy, x, weight)])
    finally:
        pyconv.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert_same_bits(a, b)


@given(
    st.tuples(*[st.integers(0, 70)] * 3), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1)
)
def test_random_sizes_are_exact(size, ta, tb, seed):
    rng = np.random.default_rng(seed)
    a, b = operands(*size, ta, tb, FLOAT32, rng, small_integers)
    options = dict(transpose_a=ta, transpose_b=tb)
    assert_exact(kernels.gemm(a, b, **options), reference.gemm(*wide(a, b), **options))


def test_what_is_not_finite_goes_through(isa):
    a = np.ones((3, 5), FLOAT32)
    b = np.ones((5, 40), FLOAT32)
    a[1, 2], b[0, 7] = np.nan, np.inf
    y = kernels.gemm(a, b, activation="relu")
    assert np.isnan(y[1]).all() and np.isinf(y[[0, 2], 7]).all()
    assert np.isfinite(np.delete(y[[0, 2]], 7, axis=1)).all()
    c = np.full((3, 40), np.nan, FLOAT32)
    assert np.isfinite(kernels.gemm(a[:1], b[:, :7], c=c[:1, :7])).all()  # beta = 0: not read


def test_out_takes_the_result(rng):
    a, b = small_integers((9, 12), FLOAT32, rng), small_integers((12, 20), FLOAT32, rng)
    wanted = reference.gemm(*wide(a, b))
    for out in (
        np.empty((9, 20), FLOAT32),
        np.empty((20, 9), FLOAT32).T,
        np.empty((9, 40), FLOAT32)[:, ::2],
    ):
        assert kernels.gemm(a, b, out=out) is out
        assert_exact(out, wanted)
        out[...] = 0
        assert kernels.linear(a, b.T, out=out) is out
        assert_exact(out, wanted)


@pytest.mark.cpu("packed weights are for the CPU")
def test_out_takes_the_result_with_a_packed_weight(rng):
    x, weight = small_integers((9, 12), FLOAT32, rng), small_integers((20, 12), FLOAT32, rng)
    out = np.empty((9, 20), FLOAT32)
    kernels.linear(x, kernels.pack_weight(weight), out=out)
    assert_exact(out, reference.linear(*wide(x, weight)))


A, B = np.ones((3, 4), FLOAT32), np.ones((4, 5), FLOAT32)
W, DY = np.ones((5, 4), FLOAT32), np.ones((3, 5), FLOAT32)
GOOD: dict[str, dict[str, Any]] = {
    "gemm": dict(a=A, b=B),
    "linear": dict(x=A, weight=W),
    "linear_backward": dict(dy=DY, x=A, weight=W),
}
MISTAKES = [
    *(
        (name, argument, wrong, error, f"{name}: {argument} {message}")
        for name, good in GOOD.items()
        for argument, value in good.items()
        for wrong, error, message in (
            (value.tolist(), TypeError, "must be a NumPy array, got list"),
            (value.astype(int), TypeError, "must be float32 or float64, got int64"),
            (value[0], ValueError, "must be 2-D, got 1-D"),
        )
    ),
    ("gemm", "b", B.astype(FLOAT64), TypeError, "gemm: b must have the dtype of a, float32"),
    ("gemm", "b", np.ones((3, 5), FLOAT32), ValueError, r"gemm: b must have 4 rows .* got 3"),
    ("gemm", "transpose_a", 1, TypeError, "gemm: transpose_a must be a bool"),
    ("gemm", "transpose_b", "no", TypeError, "gemm: transpose_b must be a bool"),
    ("gemm", "transpose_b", True, ValueError, "gemm: b must have 4 rows"),
    ("gemm", "alpha", "2", TypeError, "gemm: alpha must be a number"),
    ("gemm", "beta", 1.0, ValueError, "gemm: c must be given where beta is not 0"),
    ("gemm", "c", A, ValueError, r"gemm: c must have shape \(3, 5\)"),
    ("gemm", "bias", np.ones(4, FLOAT32), ValueError, r"gemm: bias must have shape \(5,\)"),
    ("gemm", "activation", "max", ValueError, "gemm: activation must be None"),
    ("gemm", "out", A, ValueError, r"gemm: out must have shape \(3, 5\)"),
    ("linear", "weight", B, ValueError, "linear: weight must have 4 columns"),
    ("linear", "weight", W.astype(FLOAT64), TypeError, "linear: weight must have the dtype of x"),
    ("linear", "bias", np.ones(4, FLOAT32), ValueError, "linear: bias must have shape"),
    ("linear", "out", DY.astype(FLOAT64), TypeError, "linear: out must be float32"),
    ("linear_backward", "dy", DY[:2], ValueError, r"linear_backward: dy must have shape \(3, 5\)"),
    ("linear_backward", "weight", B, ValueError, "linear_backward: weight must have shape"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "argument", "value", "error", "message"), MISTAKES)
def test_bad_input_is_refused_with_a_message(name, argument, value, error, message, words):
    with pytest.raises(error, match=words(name, message)):
        getattr(kernels, name)(**{**GOOD[name], argument: value})


@pytest.mark.cpu("packed weights are for the CPU")
def test_a_weight_packed_for_a_convolution_is_no_matrix():
    packed = kernels.pack_weight(np.ones((5, 4, 1, 1), FLOAT32))
    with pytest.raises(ValueError, match="linear: weight was packed for a convolution"):
        kernels.linear(A, packed)
    matrix = kernels.pack_weight(W)
    with pytest.raises(ValueError, match="conv2d: weight was packed for another rank"):
        kernels.conv2d(np.ones((1, 4, 3, 3), FLOAT32), matrix)
