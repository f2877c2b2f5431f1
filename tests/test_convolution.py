"""Convolutions of every direct algorithm and instruction set against the reference.

Winograd's are in test_winograd.py: their results are no sums in the order of the definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

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
    one_sign,
    proven_factor,
    random_signs,
    small_integers,
)

import pyconv
from pyconv import kernels, reference

FLOAT32, FLOAT64 = np.float32, np.float64


@pytest.fixture(autouse=True, scope="module")
def strict():
    with pyconv.float32_precision("strict"):
        yield


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, FLOAT32)


class Problem(NamedTuple):
    """A convolution: input and weight shapes, and its geometry."""

    x: tuple[int, ...]
    weight: tuple[int, ...]
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1

    @property
    def geometry(self) -> dict[str, Any]:
        return dict(
            stride=self.stride, padding=self.padding, dilation=self.dilation, groups=self.groups
        )

    def __str__(self) -> str:
        parts = ["x".join(map(str, self.x)), "w" + "x".join(map(str, self.weight))]
        for letter, value, default in (
            ("s", self.stride, 1),
            ("p", self.padding, 0),
            ("d", self.dilation, 1),
            ("g", self.groups, 1),
        ):
            if value != default:
                parts.append(letter + str(value).replace(" ", ""))
        return "-".join(parts)


PROBLEMS = [
    # 1x1, with and without a stride
    Problem((2, 5, 4, 6), (7, 5, 1, 1)),
    Problem((1, 33, 5, 5), (47, 33, 1, 1), 2),
    # 3x3: inside, padded, strided, dilated
    Problem((1, 8, 7, 9), (16, 8, 3, 3)),
    Problem((2, 17, 6, 5), (31, 17, 3, 3), 1, 1),
    Problem((2, 16, 9, 8), (48, 16, 3, 3), 2, 1),
    Problem((1, 6, 11, 10), (9, 6, 3, 3), 1, 2, 2),
    Problem((1, 6, 13, 12), (40, 6, 3, 3), 3, (2, 1), (2, 3)),
    # rectangular kernels, asymmetric and named paddings
    Problem((2, 9, 6, 11), (5, 9, 1, 7), 1, (0, 3)),
    Problem((1, 7, 12, 5), (6, 7, 4, 2), (3, 2), ((2, 1), (0, 3))),
    Problem((1, 6, 7, 8), (8, 6, 2, 5), 2, "same"),
    Problem((1, 6, 7, 8), (8, 6, 4, 3), 1, "valid", (2, 1)),
    # a padding wider than the kernel, and an image smaller than it
    Problem((1, 5, 3, 3), (4, 5, 3, 3), 2, 4),
    Problem((1, 5, 2, 2), (4, 5, 5, 5), 1, 2),
    # more rows than a block, columns around panels of two and three vectors
    Problem((3, 6, 13, 17), (80, 6, 3, 3), 1, 1),
    Problem((1, 130, 3, 3), (66, 130, 3, 3), 1, 1),
    # groups
    Problem((2, 8, 6, 7), (12, 2, 3, 3), 1, 1, 1, 4),
    Problem((1, 36, 5, 5), (72, 18, 3, 3), 2, 1, 1, 2),
    Problem((1, 32, 4, 5), (32, 4, 3, 3), 1, 1, 1, 8),
    # groups of few channels: squares of every side, edges, steps; more inputs or more outputs; a
    # last vector that is not full
    Problem((2, 40, 6, 15), (40, 2, 3, 3), 1, 1, 1, 20),
    Problem((1, 33, 7, 5), (33, 3, 3, 3), 1, 1, 1, 11),
    Problem((2, 36, 9, 8), (36, 4, 3, 3), 2, 1, 1, 9),
    Problem((1, 18, 6, 8), (18, 6, 3, 4), (1, 2), ((1, 0), (2, 3)), (2, 1), 3),
    Problem((1, 24, 5, 13), (24, 8, 3, 3), 1, 1, 1, 3),
    Problem((1, 40, 4, 4), (20, 4, 1, 1), 1, 0, 1, 10),
    Problem((1, 12, 7, 6), (36, 2, 5, 3), 2, 2, 1, 6),
    Problem((1, 12, 5, 5), (18, 2, 3, 3), 1, 1, 1, 6),
    Problem((2, 10, 5, 6), (6, 5, 3, 3), (3, 1), 1, 1, 2),
    # groups that fill vectors: tiles of several sizes, steps, rows in the padding, taps that are no
    # neighbours, chunks of channels that are not full
    Problem((1, 48, 7, 7), (48, 16, 3, 3), 1, 1, 1, 3),
    Problem((2, 48, 5, 29), (48, 16, 3, 3), 1, 1, 1, 3),
    Problem((2, 64, 9, 14), (64, 32, 3, 3), 2, 1, 1, 2),
    Problem((1, 24, 9, 13), (32, 12, 5, 4), (2, 1), ((1, 0), (2, 3)), (1, 2), 2),
    Problem((1, 40, 6, 9), (32, 20, 1, 1), 1, 0, 1, 2),
    Problem((1, 32, 2, 15), (24, 16, 3, 7), (1, 3), 3, 1, 2),
    # depthwise: the sizes with instances of their own, and others; multipliers
    Problem((2, 16, 9, 10), (16, 1, 3, 3), 1, 1, 1, 16),
    Problem((1, 19, 8, 13), (19, 1, 3, 3), 2, 1, 1, 19),
    Problem((1, 33, 9, 9), (33, 1, 5, 5), 1, 2, 1, 33),
    Problem((2, 7, 11, 10), (7, 1, 5, 5), 2, 2, 1, 7),
    Problem((2, 24, 9, 13), (24, 1, 5, 5), 1, 2, 1, 24),
    Problem((1, 8, 11, 10), (8, 1, 5, 5), 2, ((2, 1), (1, 2)), 1, 8),
    Problem((1, 8, 10, 14), (8, 1, 3, 3), 2, ((0, 1), (1, 1)), 1, 8),
    Problem((1, 24, 9, 9), (24, 1, 3, 3), 1, 2, 2, 24),
    Problem((1, 6, 8, 9), (6, 1, 2, 4), (1, 3), ((0, 1), (2, 1)), 1, 6),
    Problem((1, 5, 7, 7), (15, 1, 3, 3), 1, 1, 1, 5),
    Problem((1, 5, 7, 7), (10, 1, 3, 3), 2, "same", 1, 5),
    Problem((1, 6, 2, 2), (6, 1, 3, 3), 1, 1, 1, 6),
    # few channels
    Problem((2, 3, 15, 14), (32, 3, 7, 7), 2, 3),
    Problem((1, 3, 9, 11), (20, 3, 3, 3), 1, 1),
    Problem((2, 3, 9, 19), (16, 3, 3, 3), (2, 1), 1),
    Problem((1, 1, 12, 12), (16, 1, 5, 5)),
    Problem((1, 4, 9, 9), (6, 4, 3, 3), (2, 1), ((0, 1), (1, 0)), (2, 1)),
    Problem((1, 2, 1, 20), (5, 2, 1, 8), 1, (0, 4)),
    Problem((1, 1, 6, 6), (1, 1, 3, 3), 2, 1),
    Problem((1, 3, 2, 2), (4, 3, 3, 6), 1, (1, 3)),
]
LARGE = [  # cut into many tasks in every direction
    Problem((1, 264, 7, 7), (520, 264, 3, 3), 1, 1),  # a large weight, few rows
    Problem((1, 512, 9, 9), (300, 512, 1, 1), 2),
    # A dilation that leaves half of the taps on padding, whole rows of them, with and without a
    # stride; the same of an image whose rows are blocks of their own.
    Problem((2, 20, 13, 14), (33, 20, 3, 3), 1, 7, 7),
    Problem((1, 20, 19, 15), (33, 20, 3, 3), (2, 1), (12, 7), (12, 7)),
    Problem((1, 14, 40, 44), (18, 14, 3, 3), 1, 24, 24),
    Problem((1, 1024, 5, 6), (70, 1024, 1, 1)),  # rows that share the sets of L1
    Problem((15, 1024, 14, 11), (64, 1024, 1, 1)),  # and are spread by each block
    Problem((1, 1030, 17, 16), (130, 1030, 1, 1)),  # the same, in the weight gradient
    Problem((1, 2048, 3, 4), (64, 1024, 3, 3), 1, 1, 1, 2),
    Problem((2, 24, 20, 21), (72, 24, 3, 3), 1, 1),
    Problem((2, 32, 24, 24), (32, 1, 3, 3), 1, 1, 1, 32),
    Problem((2, 32, 24, 24), (32, 1, 3, 3), 2, 1, 1, 32),
    Problem((2, 3, 40, 40), (32, 3, 3, 3), 2, 1),
    Problem((4, 64, 12, 12), (128, 64, 1, 1)),
    Problem((2, 32, 18, 18), (64, 16, 3, 3), 2, 1, 1, 2),
    Problem((2, 64, 25, 23), (64, 4, 3, 3), 1, 1, 1, 16),
    Problem((2, 128, 17, 16), (128, 8, 3, 3), 2, 1, 1, 16),
    Problem((3, 160, 15, 28), (160, 16, 3, 3), 1, 1, 1, 10),
    Problem((2, 160, 29, 28), (160, 16, 3, 3), 2, 1, 1, 10),
]

Gradient = Callable[..., np.ndarray]


def arguments(p: Problem, dtype: Any, rng: np.random.Generator, make: Any) -> dict[str, Any]:
    x, weight = make(p.x, dtype, rng), make(p.weight, dtype, rng)
    shape = reference.conv2d(x.astype(FLOAT64), weight.astype(FLOAT64), **p.geometry).shape
    return dict(x=x, weight=weight, dy=make(shape, dtype, rng))


def accepted(name: str, p: Problem, dtype: Any = FLOAT32) -> list[str]:
    names = kernels.algorithms(name, p.x, p.weight, **p.geometry, dtype=dtype)
    return ["auto", *(n for n in names if not n.startswith("winograd"))]


def wide(*arrays: np.ndarray) -> list[np.ndarray]:
    return [a.astype(FLOAT64) for a in arrays]


def passes(p: Problem, a: dict[str, Any], module: Any = kernels) -> Iterator[tuple[str, Any]]:
    """Each pass of a convolution by its name, as a function of further keywords."""
    yield "conv2d", lambda **k: module.conv2d(a["x"], a["weight"], **p.geometry, **k)
    yield (
        "conv2d_backward_input",
        lambda **k: module.conv2d_backward_input(a["dy"], a["weight"], p.x, **p.geometry, **k),
    )
    yield (
        "conv2d_backward_weight",
        lambda **k: module.conv2d_backward_weight(a["dy"], a["x"], p.weight, **p.geometry, **k),
    )


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_every_pass_and_algorithm_is_exact_on_integers(problem, dtype, isa, rng):
    a = arguments(problem, dtype, rng, small_integers)
    expected = dict(passes(problem, {k: v.astype(FLOAT64) for k, v in a.items()}, reference))
    for name, run in passes(problem, a):
        wanted = expected[name]()
        for algorithm in accepted(name, problem, dtype):
            result = run(algorithm=algorithm)
            assert result.dtype == dtype
            assert_exact(result, wanted)


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_bias_residual_and_activation_are_fused(problem, isa, rng):
    a = arguments(problem, FLOAT32, rng, small_integers)
    bias = small_integers(problem.weight[:1], FLOAT32, rng)
    residual = small_integers(a["dy"].shape, FLOAT32, rng)
    for activation in (None, "relu", "relu6", ("leaky_relu", 0.5)):
        for extra in ({}, {"residual": residual}):
            options = dict(activation=activation, **problem.geometry)
            extra64 = {k: v.astype(FLOAT64) for k, v in extra.items()}
            expected = reference.conv2d(*wide(a["x"], a["weight"], bias), **options, **extra64)
            for algorithm in accepted("conv2d", problem):
                y = kernels.conv2d(
                    a["x"], a["weight"], bias, algorithm=algorithm, **options, **extra
                )
                assert_exact(y, expected)


@pytest.mark.parametrize("sign", ["random", "one"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_errors_stay_within_the_bound_of_the_sum(problem, sign, isa, rng):
    make = random_signs if sign == "random" else one_sign
    a = arguments(problem, FLOAT32, rng, make)
    a64 = {k: v.astype(FLOAT64) for k, v in a.items()}
    magnitudes = dict(passes(problem, {k: np.abs(v) for k, v in a64.items()}, reference))
    expected = dict(passes(problem, a64, reference))
    per_group, (kh, kw) = problem.weight[1], problem.weight[2:]
    terms = {
        "conv2d": per_group * kh * kw,
        "conv2d_backward_input": problem.weight[0] // problem.groups * kh * kw,
        "conv2d_backward_weight": a["dy"].size // problem.weight[0],
    }
    for name, run in passes(problem, a):
        n = terms[name]
        c = 4.0 if sign == "random" else proven_factor(n)
        wanted, magnitude = expected[name](), magnitudes[name]()
        for algorithm in accepted(name, problem):
            assert_close_sum(run(algorithm=algorithm), wanted, magnitude, n, c)


@pytest.mark.parametrize(
    "problem", [*PROBLEMS[3:5], PROBLEMS[15], PROBLEMS[20], PROBLEMS[28], PROBLEMS[38]], ids=str
)
def test_any_layout_of_the_inputs_gives_the_same_bits(problem, rng):
    a = arguments(problem, FLOAT32, rng, random_signs)
    wanted = {name: run() for name, run in passes(problem, a)}
    for key in a:
        for _, value in layouts(a[key]):
            for name, run in passes(problem, {**a, key: value}):
                assert_same_bits(run(), wanted[name])
    same = {**a, "x": np.broadcast_to(a["x"][:1], a["x"].shape)}
    copied = {**same, "x": same["x"].copy()}
    for (_, run), (_, run_copied) in zip(
        passes(problem, same), passes(problem, copied), strict=True
    ):
        assert_same_bits(run(), run_copied())


def test_results_lie_channels_last_and_gradients_as_parameters(rng):
    p = PROBLEMS[3]
    results = {name: run() for name, run in passes(p, arguments(p, FLOAT32, rng, random_signs))}
    for name in ("conv2d", "conv2d_backward_input"):
        assert results[name].transpose(0, 2, 3, 1).flags.c_contiguous
    assert results["conv2d_backward_weight"].transpose(2, 3, 1, 0).flags.c_contiguous


@pytest.mark.parametrize("problem", LARGE, ids=str)
def test_any_number_of_threads_gives_the_same_bits(problem, thread_counts, rng):
    a = arguments(problem, FLOAT32, rng, random_signs)
    before = pyconv.get_num_threads()
    found: dict[str, np.ndarray] = {}
    try:
        for threads in thread_counts:
            pyconv.set_num_threads(threads)
            for name, run in passes(problem, a):
                for algorithm in accepted(name, problem):
                    y = run(algorithm=algorithm)
                    assert_same_bits(y, found.setdefault(f"{name} {algorithm}", y))
    finally:
        pyconv.set_num_threads(before)


@pytest.mark.parametrize("problem", LARGE, ids=str)
def test_large_problems_are_exact(problem, isa, rng):
    a = arguments(problem, FLOAT32, rng, small_integers)
    expected = dict(passes(problem, {k: v.astype(FLOAT64) for k, v in a.items()}, reference))
    for name, run in passes(problem, a):
        assert_exact(run(), expected[name]())


@pytest.mark.parametrize("rows", [1, 5, 6, 7, 12, 13, 14, 15, 27, 28, 29, 97, 139, 141])
@pytest.mark.parametrize("columns", [1, 4, 8, 15, 16, 17, 24, 31, 33, 48, 65])
def test_tiles_of_every_size(rows, columns, isa, rng):
    x = small_integers((1, 3, 1, rows), FLOAT32, rng)
    weight = small_integers((columns, 3, 1, 1), FLOAT32, rng)
    y = kernels.conv2d(x, weight, algorithm="direct")
    assert_exact(y, reference.conv2d(*wide(x, weight)))
    dw = kernels.conv2d_backward_weight(y, x, weight.shape, algorithm="direct")
    assert_exact(dw, reference.conv2d_backward_weight(*wide(y, x), weight.shape))


@st.composite
def problems(draw: Any) -> Problem:
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 8]))
    per_group = 1 if groups == 8 else draw(st.integers(1, 9))
    out = groups * draw(st.integers(1, 3 if groups == 8 else 20))
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    side = st.integers(0, 4)
    padding = draw(st.tuples(st.tuples(side, side), st.tuples(side, side)))
    size = [
        draw(st.integers(max(1, d * (k - 1) + 1 - sum(pad)), 14))
        for k, d, pad in zip(kernel, dilation, padding, strict=True)
    ]
    batch = draw(st.integers(0, 3))
    return Problem(
        (batch, groups * per_group, *size), (out, per_group, *kernel), stride, padding, dilation,
        groups,
    )  # fmt: skip


@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_random_problems_are_exact(problem, seed):
    a = arguments(problem, FLOAT32, np.random.default_rng(seed), small_integers)
    expected = dict(passes(problem, {k: v.astype(FLOAT64) for k, v in a.items()}, reference))
    for name, run in passes(problem, a):
        wanted = expected[name]()
        for algorithm in accepted(name, problem):
            assert_exact(run(algorithm=algorithm), wanted)


def test_an_empty_batch_gives_an_empty_image_and_zero_gradients(isa):
    for p in (PROBLEMS[2], PROBLEMS[20], PROBLEMS[28], PROBLEMS[38]):
        x = np.zeros((0, *p.x[1:]), FLOAT32)
        weight = np.ones(p.weight, FLOAT32)
        y = kernels.conv2d(x, weight, **p.geometry)
        assert y.shape[0] == 0 and y.shape[1] == p.weight[0]
        assert kernels.conv2d_backward_input(y, weight, x.shape, **p.geometry).shape == x.shape
        dw = kernels.conv2d_backward_weight(y, x, p.weight, **p.geometry)
        assert_exact(dw, np.zeros(p.weight))
        assert_exact(kernels.conv2d_backward_bias(y), np.zeros(p.weight[0]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "problem", [*PROBLEMS[2:4], *PROBLEMS[18:24], PROBLEMS[28], PROBLEMS[30], PROBLEMS[38]], ids=str
)
def test_what_is_not_finite_spreads_to_the_windows_that_hold_it(problem, value, isa, rng):
    a = arguments(problem, FLOAT32, rng, random_signs)
    a["x"][0, 0, 1, 2] = value
    expected = reference.conv2d(*wide(a["x"], a["weight"]), **problem.geometry)
    for algorithm in accepted("conv2d", problem):
        y = kernels.conv2d(a["x"], a["weight"], algorithm=algorithm, **problem.geometry)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
        infinite = np.isinf(expected)
        np.testing.assert_array_equal(y[infinite], expected[infinite])
        relu = kernels.conv2d(
            a["x"], a["weight"], algorithm=algorithm, activation="relu", **problem.geometry
        )
        np.testing.assert_array_equal(np.isnan(relu), np.isnan(expected))


def test_out_takes_the_result_in_any_layout(rng):
    for p in (PROBLEMS[3], PROBLEMS[28], PROBLEMS[38]):
        a = arguments(p, FLOAT32, rng, small_integers)
        for _, run in passes(p, a):
            wanted = run()
            for prepare in (np.empty_like, np.ascontiguousarray, np.asfortranarray, channels_last):
                out = prepare(np.full_like(wanted, 9))
                assert np.shares_memory(run(out=out), out)
                assert_exact(out, wanted)
            spread = np.full((*wanted.shape[:-1], 2 * wanted.shape[-1]), 9, FLOAT32)
            run(out=spread[..., ::2])
            assert_exact(spread[..., ::2], wanted)
            assert (spread[..., 1::2] == 9).all()
    out = np.empty(4, FLOAT32)
    assert kernels.conv2d_backward_bias(np.ones((2, 4, 3, 3), FLOAT32), out=out) is out
    assert_exact(out, np.full(4, 18.0))


# -- packed weights --------------------------------------------------------------------------------


@pytest.mark.cpu("packed weights are for the CPU")
@pytest.mark.parametrize(
    "problem",
    [*PROBLEMS[:6], *PROBLEMS[15:33:3], PROBLEMS[22], *PROBLEMS[28:32], *PROBLEMS[43:45]],
    ids=str,
)
def test_a_packed_weight_gives_the_bits_of_the_plain_one(problem, isa, rng):
    a = arguments(problem, FLOAT32, rng, random_signs)
    bias = random_signs(problem.weight[:1], FLOAT32, rng)
    for algorithm in accepted("conv2d", problem):
        packed = kernels.pack_weight(
            a["weight"], problem.x, algorithm=algorithm, **problem.geometry
        )
        assert packed.shape == problem.weight and packed.dtype == FLOAT32
        y = kernels.conv2d(a["x"], packed, bias, activation="relu", **problem.geometry)
        wanted = kernels.conv2d(
            a["x"], a["weight"], bias, activation="relu", algorithm=algorithm, **problem.geometry
        )
        assert_same_bits(y, wanted)


@pytest.mark.cpu("packed weights are for the CPU")
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_weight_packed_for_wide_images_takes_narrow_ones(width, isa, rng):
    x, weight = (small_integers(s, FLOAT32, rng) for s in ((2, 48, 5, width), (48, 16, 3, 3)))
    for stride in (1, 2):
        geometry = dict(stride=stride, padding=1, groups=3)
        packed = kernels.pack_weight(weight, (1, 48, 9, 9), **geometry)
        wanted = reference.conv2d(*wide(x, weight), **geometry)
        assert_exact(kernels.conv2d(x, packed, **geometry), wanted)


@pytest.mark.cpu("packed weights are for the CPU")
def test_a_packed_weight_of_another_geometry_or_instruction_set_still_works(rng):
    p = PROBLEMS[3]
    a = arguments(p, FLOAT32, rng, small_integers)
    packed = kernels.pack_weight(a["weight"])
    for stride in (1, 2):
        y = kernels.conv2d(a["x"], packed, stride=stride)
        assert_exact(y, reference.conv2d(*wide(a["x"], a["weight"]), stride=stride))
    with pyconv.isa("generic"):
        y = kernels.conv2d(a["x"], packed)
        assert_exact(y, reference.conv2d(*wide(a["x"], a["weight"])))


@pytest.mark.cpu("packed weights are for the CPU")
def test_a_packed_weight_is_a_copy(rng):
    weight = small_integers((4, 3, 3, 3), FLOAT32, rng)
    x = small_integers((1, 3, 5, 5), FLOAT32, rng)
    packed = kernels.pack_weight(weight)
    wanted = kernels.conv2d(x, weight)
    weight += 1
    assert_exact(kernels.conv2d(x, packed), wanted)
    with pytest.raises(ValueError, match="read-only"):
        packed.weight[0] = 0


# -- transposed ------------------------------------------------------------------------------------

TRANSPOSED = [
    (Problem((2, 5, 4, 6), (5, 7, 2, 2), 2), 0),
    (Problem((1, 17, 5, 4), (17, 33, 3, 3), 2, 1), 1),
    (Problem((1, 6, 5, 4), (6, 8, 4, 4), 2, 1), 0),
    (Problem((1, 6, 5, 4), (6, 8, 3, 2), (3, 1), ((1, 0), (1, 1)), (1, 2)), (2, 1)),
    (Problem((2, 8, 4, 4), (8, 3, 3, 3), 2, 1, 1, 4), 1),
    (Problem((1, 6, 5, 5), (6, 1, 3, 3), 2, 1, 1, 6), 1),
    (Problem((1, 16, 5, 5), (16, 3, 5, 5), 1, 2), 0),
    (Problem((1, 4, 3, 3), (4, 4, 1, 1), 3), 2),
]


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
@pytest.mark.parametrize(("problem", "extra"), TRANSPOSED, ids=str)
def test_transposed_convolutions_are_exact_on_integers(problem, extra, dtype, isa, rng):
    x = small_integers(problem.x, dtype, rng)
    weight = small_integers(problem.weight, dtype, rng)
    bias = small_integers((problem.weight[1] * problem.groups,), dtype, rng)
    geometry = problem.geometry
    options = dict(activation="relu", output_padding=extra, **geometry)
    expected = reference.conv_transpose2d(*wide(x, weight, bias), **options)
    names = kernels.algorithms(
        "conv_transpose2d", problem.x, problem.weight, output_padding=extra, dtype=dtype,
        **geometry,
    )  # fmt: skip
    for algorithm in ("auto", *(n for n in names if not n.startswith("winograd"))):
        y = kernels.conv_transpose2d(x, weight, bias, algorithm=algorithm, **options)
        assert_exact(y, expected)
    dy = small_integers(expected.shape, dtype, rng)
    for algorithm in accepted_transposed("backward_input", problem, extra, dtype):
        dx = kernels.conv_transpose2d_backward_input(
            dy, weight, problem.x, algorithm=algorithm, **geometry
        )
        assert_exact(
            dx,
            reference.conv_transpose2d_backward_input(*wide(dy, weight), problem.x, **geometry),
        )
    for algorithm in accepted_transposed("backward_weight", problem, extra, dtype):
        dw = kernels.conv_transpose2d_backward_weight(
            dy, x, problem.weight, algorithm=algorithm, **geometry
        )
        wanted = reference.conv_transpose2d_backward_weight(
            *wide(dy, x), problem.weight, **geometry
        )
        assert_exact(dw, wanted)


def accepted_transposed(direction: str, p: Problem, extra: Any, dtype: Any) -> list[str]:
    names = kernels.algorithms(
        f"conv_transpose2d_{direction}", p.x, p.weight, output_padding=extra, dtype=dtype,
        **p.geometry,
    )  # fmt: skip
    return ["auto", *(n for n in names if not n.startswith("winograd"))]


# -- depthwise -------------------------------------------------------------------------------------


@pytest.mark.cpu("about the CPU's caches")
@pytest.mark.parametrize("stride", [1, 2])
def test_large_depthwise_results_past_the_caches(stride, isa, rng):
    """Many images make results that are written past the caches, one doesn't: the same bits."""
    x = channels_last(rng.standard_normal((3, 16, 412, 516), FLOAT32))
    weight = rng.standard_normal((16, 1, 3, 3), FLOAT32)
    geometry = dict(stride=stride, padding=1, groups=16)
    y = kernels.conv2d(x, weight, activation="relu6", **geometry)
    dx = kernels.conv2d_backward_input(y, weight, x.shape, **geometry)
    for i in range(len(x)):
        one = kernels.conv2d(x[i : i + 1], weight, activation="relu6", **geometry)
        assert_same_bits(one, y[i : i + 1])
        back = kernels.conv2d_backward_input(one, weight, x[:1].shape, **geometry)
        assert_same_bits(back, dx[i : i + 1])


# -- depthwise separable ---------------------------------------------------------------------------

SEPARABLE = [
    ((2, 8, 7, 9), (8, 1, 3, 3), 12, dict(padding=1)),
    ((1, 33, 8, 8), (33, 1, 3, 3), 17, dict(stride=2, padding=1)),
    ((1, 6, 9, 7), (12, 1, 5, 5), 70, dict(padding="same")),
    ((1, 16, 21, 30), (16, 1, 3, 3), 40, dict(padding=((0, 2), (1, 1)), dilation=2)),
    ((0, 4, 5, 5), (4, 1, 3, 3), 6, dict()),
]


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64])
@pytest.mark.parametrize(("x", "depthwise", "channels", "geometry"), SEPARABLE, ids=str)
def test_depthwise_separable_is_exact_on_integers(
    x, depthwise, channels, geometry, dtype, isa, rng
):
    image = small_integers(x, dtype, rng)
    d = small_integers(depthwise, dtype, rng)
    p = small_integers((channels, depthwise[0], 1, 1), dtype, rng)
    bias = small_integers((channels,), dtype, rng)
    wanted = reference.depthwise_separable_conv2d(
        *wide(image, d, p, bias), activation="relu", **geometry
    )
    y = kernels.depthwise_separable_conv2d(image, d, p, bias, activation="relu", **geometry)
    assert_exact(y, wanted)
    dy = small_integers(wanted.shape, dtype, rng)
    found = kernels.depthwise_separable_conv2d_backward(dy, image, d, p, **geometry)
    expected = reference.depthwise_separable_conv2d_backward(*wide(dy, image, d, p), **geometry)
    for a, b in zip(found, expected, strict=True):
        assert_exact(a, b)


def test_depthwise_separable_has_the_same_bits_for_any_number_of_threads(threads, rng):
    image = random_signs((2, 32, 30, 31), FLOAT32, rng)
    d, p = random_signs((32, 1, 3, 3), FLOAT32, rng), random_signs((48, 32, 1, 1), FLOAT32, rng)
    y = kernels.depthwise_separable_conv2d(image, d, p, padding=1)
    gradients = kernels.depthwise_separable_conv2d_backward(y, image, d, p, padding=1)
    pyconv.set_num_threads(1)
    assert_same_bits(kernels.depthwise_separable_conv2d(image, d, p, padding=1), y)
    again = kernels.depthwise_separable_conv2d_backward(y, image, d, p, padding=1)
    for a, b in zip(gradients, again, strict=True):
        assert_same_bits(a, b)


# -- sequences -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("padding", "wide_padding"),
    [(2, (0, 2)), ((1,), (0, 1)), (((3, 0),), ((0, 0), (3, 0))), ("same", "same"), ("valid", 0)],
    ids=str,
)
def test_sequences_are_images_of_one_row(padding, wide_padding, rng):
    x = small_integers((2, 6, 19), FLOAT32, rng)
    weight = small_integers((9, 3, 4), FLOAT32, rng)
    bias = small_integers((9,), FLOAT32, rng)
    geometry = dict(stride=2, dilation=2, groups=2)
    line = dict(padding=padding, **geometry)
    plane = dict(padding=wide_padding, stride=(1, 2), dilation=(1, 2), groups=2)
    y = kernels.conv1d(x, weight[:8], bias[:8], activation="relu", **line)
    lifted, weight2 = x[:, :, None], weight[:8, :, None]
    assert_exact(
        y[:, :, None], kernels.conv2d(lifted, weight2, bias[:8], activation="relu", **plane)
    )
    assert_exact(
        kernels.conv1d_backward_input(y, weight[:8], x.shape, **line)[:, :, None],
        kernels.conv2d_backward_input(y[:, :, None], weight2, lifted.shape, **plane),
    )
    assert_exact(
        kernels.conv1d_backward_weight(y, x, (8, 3, 4), **line)[:, :, None],
        kernels.conv2d_backward_weight(y[:, :, None], lifted, (8, 3, 1, 4), **plane),
    )
    assert_exact(kernels.conv1d_backward_bias(y), y.astype(FLOAT64).sum((0, 2)))


def test_transposed_sequences_match_the_reference(rng):
    x, weight = small_integers((2, 6, 7), FLOAT32, rng), small_integers((6, 4, 3), FLOAT32, rng)
    geometry = dict(stride=2, padding=1, groups=2)
    y = kernels.conv_transpose1d(x, weight, output_padding=1, **geometry)
    assert_exact(y, reference.conv_transpose1d(*wide(x, weight), output_padding=1, **geometry))
    assert_exact(
        kernels.conv_transpose1d_backward_input(y, weight, x.shape, **geometry),
        reference.conv_transpose1d_backward_input(*wide(y, weight), x.shape, **geometry),
    )
    assert_exact(
        kernels.conv_transpose1d_backward_weight(y, x, weight.shape, **geometry),
        reference.conv_transpose1d_backward_weight(*wide(y, x), weight.shape, **geometry),
    )


# -- explain ---------------------------------------------------------------------------------------


@pytest.mark.cpu("about the algorithms of the CPU")
def test_explain_says_what_runs_and_why_the_others_refuse():
    said = kernels.explain("conv2d", (1, 32, 9, 9), (32, 32, 3, 3), padding=1)
    assert said.algorithm == "direct"
    assert "32 input channels" in said.refusals["few_channels"]
    assert "32 output channels" in said.refusals["few_outputs"]
    assert "groups is 1" in said.refusals["depthwise"]
    assert "direct: runs" in str(said) and "depthwise: refused, groups" in str(said)
    first = kernels.explain("conv1d", (1, 3, 9), (9, 3, 3))
    assert first.algorithm == "few_channels"
    assert "direct: would do" in str(first)
    few = dict(padding=1, groups=8)
    for per_group, name in ((2, "grouped"), (8, "grouped"), (16, "grouped"), (48, "direct")):
        channels = 8 * per_group
        said = kernels.explain("conv2d", (1, channels, 9, 9), (channels, per_group, 3, 3), **few)
        assert said.algorithm == name
    assert said.refusals["grouped"] == (
        "48 to 48 channels a group fill no vector together; "
        "groups that fill vectors: 8 to 32 channels a group"
    )
    said = kernels.explain("conv2d", (1, 40, 9, 9), (40, 5, 3, 3), **few)
    assert "5 to 5 channels a group: there is no kernel" in said.refusals["grouped"]


@pytest.mark.parametrize(
    "problem", [p for p in PROBLEMS + LARGE if p.groups == p.x[1] == p.weight[0]], ids=str
)
def test_depthwise_convolutions_have_kernels_of_their_own(problem):
    for name in ("conv2d", "conv2d_backward_input", "conv2d_backward_weight"):
        said = kernels.explain(name, problem.x, problem.weight, **problem.geometry)
        assert said.algorithm == "depthwise"


def test_a_forced_algorithm_that_refuses_says_why():
    x, weight = np.ones((1, 8, 5, 5), FLOAT32), np.ones((8, 8, 3, 3), FLOAT32)
    with pytest.raises(ValueError, match="conv2d: algorithm 'depthwise' can't .* groups is 1"):
        kernels.conv2d(x, weight, algorithm="depthwise")
    with pytest.raises(ValueError, match="conv2d: algorithm must be one of auto, .*'fast'"):
        kernels.conv2d(x, weight, algorithm="fast")


# -- bad input -------------------------------------------------------------------------------------

X, W, DY = (
    ones(2, 4, 6, 6),
    ones(8, 4, 3, 3),
    ones(2, 8, 4, 4),
)
GOOD: dict[str, dict[str, Any]] = {
    "conv2d": dict(x=X, weight=W),
    "conv2d_backward_input": dict(dy=DY, weight=W, input_shape=X.shape),
    "conv2d_backward_weight": dict(dy=DY, x=X, weight_shape=W.shape),
    "conv2d_backward_bias": dict(dy=DY),
    "pack_weight": dict(weight=W),
    "conv_transpose2d": dict(x=DY, weight=W),
    "conv_transpose2d_backward_input": dict(dy=X, weight=W, input_shape=DY.shape),
    "conv_transpose2d_backward_weight": dict(dy=X, x=DY, weight_shape=W.shape),
    "depthwise_separable_conv2d": dict(
        x=X, depthwise_weight=ones(4, 1, 3, 3), pointwise_weight=ones(8, 4, 1, 1),
    ),
    "depthwise_separable_conv2d_backward": dict(
        dy=DY,
        x=X,
        depthwise_weight=ones(4, 1, 3, 3),
        pointwise_weight=ones(8, 4, 1, 1),
    ),
    "conv1d": dict(x=X[..., 0], weight=W[..., 0]),
    "conv1d_backward_input": dict(dy=DY[..., 0], weight=W[..., 0], input_shape=(2, 4, 6)),
    "conv1d_backward_weight": dict(dy=DY[..., 0], x=X[..., 0], weight_shape=(8, 4, 3)),
    "conv1d_backward_bias": dict(dy=DY[..., 0]),
    "conv_transpose1d": dict(x=DY[..., 0], weight=W[..., 0]),
    "conv_transpose1d_backward_input": dict(dy=X[..., 0], weight=W[..., 0], input_shape=(2, 8, 4)),
    "conv_transpose1d_backward_weight": dict(dy=X[..., 0], x=DY[..., 0], weight_shape=(8, 4, 3)),
    "explain": dict(name="conv2d", input_shape=X.shape, weight_shape=W.shape),
    "algorithms": dict(name="conv2d", input_shape=X.shape, weight_shape=W.shape),
}  # fmt: skip
ARRAYS = ("x", "dy", "weight", "depthwise_weight", "pointwise_weight")


def array_mistakes() -> Iterator[tuple[str, str, Any, type[Exception], str]]:
    for name, good in GOOD.items():
        for argument in ARRAYS:
            if argument not in good:
                continue
            value = good[argument]
            say = f"{name}: {argument}"
            yield (
                name,
                argument,
                value.tolist(),
                TypeError,
                f"{say} must be a NumPy array, got list",
            )
            yield name, argument, None, TypeError, f"{say} must be a NumPy array"
            yield name, argument, value.astype(int), TypeError, f"{say} must be float32 or float64"
            if not name.endswith("backward_bias"):  # CUDA has nothing against it
                yield name, argument, value.astype(np.float16), TypeError, "CUDA only"
            yield name, argument, value[None], ValueError, f"{say} must be .-D"
            if len(good) > 1 and name not in ("pack_weight",):
                yield name, argument, value.astype(FLOAT64), TypeError, "must have the dtype of"


def geometry_mistakes() -> Iterator[tuple[str, str, Any, type[Exception], str]]:
    for name, good in GOOD.items():
        if name.endswith("bias"):
            continue
        rank = 1 if "1d" in name else 2
        for argument in ("stride", "dilation"):
            say = f"{name}: {argument}"
            yield name, argument, 0, ValueError, f"{say} must be at least 1, got 0"
            yield name, argument, True, TypeError, f"{say} must be an int, got bool"
            yield name, argument, 1.5, TypeError, f"{say} must be an int, got float"
            yield name, argument, (1,) * (rank + 1), ValueError, f"{say} must be an int or a"
            yield name, argument, [1] * rank, TypeError, f"{say} must be an int or a tuple"
            yield name, argument, 2**70, ValueError, f"{say} is too large"
        say = f"{name}: padding"
        yield name, "padding", -1, ValueError, f"{say} must be at least 0"
        yield name, "padding", "full", ValueError, f"{say} must be an int, pairs"
        yield name, "padding", (1, 2, 3), ValueError, f"{say} must have {rank} entries"
        yield name, "padding", ((1, 2, 3),) * rank, ValueError, f"{say} must have pairs"
        yield name, "padding", [1, 1], TypeError, f"{say} must be an int or a tuple"
        if "separable" not in name:
            yield name, "groups", 0, ValueError, f"{name}: groups must be at least 1"
            yield name, "groups", 3, ValueError, f"{name}: .*(groups|channels)"
            yield name, "groups", "2", TypeError, f"{name}: groups must be an int"
            if name not in ("explain", "algorithms"):
                yield name, "algorithm", None, TypeError, f"{name}: algorithm must be a str"
                if name != "pack_weight":
                    yield name, "algorithm", "best", ValueError, f"{name}: algorithm must be one of"
        if "shape" in "".join(good):
            for argument in good:
                if not argument.endswith("_shape"):
                    continue
                shape = good[argument]
                say = f"{name}: {argument}"
                yield name, argument, X, TypeError, f"{say} must be a tuple of ints"
                yield name, argument, shape[1:], ValueError, f"{say} must have {len(shape)} entries"
                yield name, argument, (*shape[:-1], -1), ValueError, f"{say} must be at least 0"
                yield name, argument, (*shape[:-1], 2.0), TypeError, f"{say} must be an int"
                yield name, argument, (*shape[:-1], 2**61), ValueError, "more elements than 64 bits"


SPECIAL = [
    ("conv2d", "x", ones(2, 5, 6, 6), ValueError, "weight must have 5 / groups channels"),
    ("conv2d", "x", ones(2, 4, 2, 6), ValueError, "the output would be empty"),
    ("conv2d", "weight", ones(0, 4, 3, 3), ValueError, "weight must not be empty"),
    ("conv2d", "bias", ones(7), ValueError, r"bias must have shape \(8,\)"),
    ("conv2d", "bias", [0.0] * 8, TypeError, "bias must be a NumPy array"),
    ("conv2d", "bias", np.ones(8), TypeError, "bias must have the dtype of x"),
    ("conv2d", "residual", ones(2, 8, 4, 5), ValueError, "residual must have shape"),
    ("conv2d", "residual", 1.0, TypeError, "residual must be a NumPy array"),
    ("conv2d", "activation", "softmax", ValueError, "activation must be None"),
    ("conv2d", "activation", 3, TypeError, "activation must be None"),
    ("conv2d", "activation", ("leaky_relu", "a"), TypeError, "slope must be a number"),
    ("conv2d", "out", ones(2, 8, 4, 5), ValueError, "out must have shape"),
    ("conv2d", "out", np.ones((2, 8, 4, 4)), TypeError, "out must be float32"),
    ("conv2d", "out", [1], TypeError, "out must be a NumPy array"),
    ("conv2d", "out", np.broadcast_to(FLOAT32(1), (2, 8, 4, 4)), ValueError,
     "out must be writable"),
    ("conv2d_backward_input", "dy", DY[:1], ValueError, "dy must have shape"),
    ("conv2d_backward_weight", "dy", DY[:, :, :3], ValueError, "dy must have shape"),
    ("conv2d_backward_bias", "out", ones(3), ValueError, "out must have shape"),
    ("conv_transpose2d", "padding", "same", ValueError, '"same" has no meaning'),
    ("conv_transpose2d", "output_padding", 1, ValueError, "output_padding must be smaller"),
    ("conv_transpose2d", "padding", 3, ValueError, "the output would be empty"),
    ("conv_transpose2d_backward_input", "dy", X[:, :, :5], ValueError, "dy must have shape"),
    ("depthwise_separable_conv2d", "pointwise_weight", ones(8, 5, 1, 1), ValueError,
     "pointwise_weight must have shape"),
    ("depthwise_separable_conv2d", "depthwise_weight", ones(6, 1, 3, 3), ValueError,
     "depthwise_weight must have shape"),
    ("depthwise_separable_conv2d_backward", "dy", DY[:1], ValueError, "dy must have shape"),
    ("explain", "name", "conv3d", ValueError, "name must be one of"),
    ("explain", "name", 3, TypeError, "name must be a str"),
    ("explain", "device", "tpu", ValueError, "device must be 'cpu'"),
    ("explain", "dtype", "int8", TypeError, "dtype must be float32 or float64"),
    ("algorithms", "device", "tpu", ValueError, "algorithms: device must be"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "argument", "value", "error", "message"),
    [*array_mistakes(), *geometry_mistakes(), *SPECIAL],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_bad_input_is_refused_with_a_message(name, argument, value, error, message, words):
    with pytest.raises(error, match=words(name, message)):
        getattr(kernels, name)(**{**GOOD[name], argument: value})


@pytest.mark.cpu("CUDA takes float16")
@pytest.mark.parametrize("name", ["conv1d_backward_bias", "conv2d_backward_bias"])
def test_16_bit_types_run_on_cuda_only(name):
    dy = GOOD[name]["dy"].astype(np.float16)
    with pytest.raises(TypeError, match=f"{name}: dy .*16-bit types run on CUDA only"):
        getattr(kernels, name)(dy)


def test_out_may_not_overlap_an_input():
    x = ones(1, 4, 3, 3)
    weight = ones(4, 4, 1, 1)
    with pytest.raises(ValueError, match="out must not overlap an input"):
        kernels.conv2d(x, weight, out=x)


def test_good_input_is_good():
    for name, good in GOOD.items():
        getattr(kernels, name)(**good)
