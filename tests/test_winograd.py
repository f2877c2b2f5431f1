"""Winograd's convolutions: their errors, their choice, everything else as the direct ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_convolution import Problem, arguments, passes, wide
from tolerances import (
    FACTOR,
    assert_close_elementwise,
    assert_close_sum,
    assert_same_bits,
    channels_last,
    layouts,
    random_signs,
    small_integers,
)

import pyconv
from pyconv import kernels, reference

NAMES = ("winograd2", "winograd4", "winograd6")
PROBLEMS = [
    Problem((1, 8, 7, 9), (16, 8, 3, 3)),
    Problem((2, 17, 6, 5), (31, 17, 3, 3), 1, 1),
    Problem((1, 130, 3, 3), (66, 130, 3, 3), 1, 1),
    Problem((3, 6, 13, 17), (80, 6, 3, 3), 1, 1),
    # paddings as wide as the kernel and wider, each side its own; an image smaller than the kernel
    Problem((1, 20, 9, 12), (33, 20, 3, 3), 1, ((2, 1), (0, 5))),
    Problem((1, 5, 2, 2), (4, 5, 5, 5), 1, 2),
    # dilations: the phases are images of their own, some shorter than others, some empty
    Problem((2, 6, 11, 10), (9, 6, 3, 3), 1, 2, 2),
    Problem((1, 16, 9, 7), (16, 16, 3, 3), 1, (4, 3), (4, 3)),
    Problem((1, 16, 33, 5), (24, 16, 3, 3), 1, (2, 6), (2, 6)),
    Problem((2, 19, 10, 11), (20, 19, 5, 5), 1, ((3, 0), (1, 6)), 2),
    Problem((1, 32, 14, 14), (48, 32, 5, 5), 1, "same"),
]
SLOW = pytest.mark.cpu("slow in an emulator; tests/test_cuda_winograd.py has smaller ones")
LARGE = [  # several blocks of tiles, several groups of panels
    Problem((1, 48, 60, 61), (64, 48, 3, 3), 1, 1),
    pytest.param(Problem((2, 264, 7, 7), (520, 264, 3, 3), 1, 1), marks=SLOW),
    Problem((1, 64, 27, 27), (192, 64, 5, 5), 1, 2),
]


def names_on(isa: str) -> tuple[str, ...]:
    return NAMES[:2] if isa == "cuda" else NAMES


def accepted(name: str, p: Problem) -> list[str]:
    names = kernels.algorithms(name, p.x, p.weight, **p.geometry)
    return [n for n in names if n in NAMES]


def terms(name: str, p: Problem) -> int:
    if name == "conv2d_backward_weight":
        return p.x[0] * p.x[2] * p.x[3] * 4  # at the most
    channels = p.weight[1] if name == "conv2d" else p.weight[0]
    return channels * p.weight[2] * p.weight[3]


def magnitude(p: Problem, x: np.ndarray, weight: np.ndarray, pads: tuple[int, ...]) -> np.ndarray:
    """The sum of |x w| of each output. A tile's transforms mix all its outputs and all taps, so
    that an output beside the border errs as one inside: the padding counts as the image does.
    """
    return reference.conv2d(filled(x, pads), np.abs(weight), dilation=p.dilation)


def filled(x: np.ndarray, pads: tuple[int, ...]) -> np.ndarray:
    """|x|, with a padding as large as its largest value."""
    top, bottom, left, right = pads
    widths = ((0, 0), (0, 0), (top, bottom), (left, right))
    return np.pad(np.abs(x), widths, constant_values=np.abs(x).max())


def magnitudes(p: Problem, a: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    span = (p.dilation,) * 2 if isinstance(p.dilation, int) else p.dilation
    reach = [d * (k - 1) for d, k in zip(span, p.weight[2:], strict=True)]
    if p.padding == "same":
        pads = tuple(side for r in reach for side in (r // 2, r - r // 2))
    else:
        padding = (p.padding,) * 2 if isinstance(p.padding, int) else p.padding
        pads = tuple(
            side for pad in padding for side in (pad if isinstance(pad, tuple) else (pad,) * 2)
        )
    turned = a["weight"].transpose(1, 0, 2, 3)[..., ::-1, ::-1]
    # Rows and columns of dy that the image does not see would give a negative padding.
    back = [reach[i // 2] - pad for i, pad in enumerate(pads)]
    crop = [max(0, -pad) for pad in back]
    h, w = a["dy"].shape[2:]
    dy = a["dy"][:, :, crop[0] : h - crop[1], crop[2] : w - crop[3]]
    return {
        "conv2d": magnitude(p, a["x"], a["weight"], pads),
        "conv2d_backward_input": magnitude(p, dy, turned, tuple(max(0, pad) for pad in back)),
        "conv2d_backward_weight": reference.conv2d_backward_weight(
            np.abs(a["dy"]), filled(a["x"], pads), p.weight, dilation=p.dilation
        ),
    }


def check(p: Problem, rng: np.random.Generator, dtype: Any = np.float32) -> None:
    a = arguments(p, dtype, rng, random_signs)
    a64 = {k: v.astype(np.float64) for k, v in a.items()}
    expected = dict(passes(p, a64, reference))
    sizes = magnitudes(p, a64)
    for name, run in passes(p, a):
        wanted, size = expected[name](), sizes[name]
        for algorithm in accepted(name, p):
            y = run(algorithm=algorithm)
            assert y.dtype == dtype
            assert_close_sum(y, wanted, size, terms(name, p), FACTOR[algorithm])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_errors_stay_within_the_stated_factor(problem, dtype, isa, rng):
    assert accepted("conv2d", problem) == accepted("conv2d_backward_input", problem)
    three = problem.weight[2] == 3
    of_5x5 = 0 if isa == "cuda" else 2
    assert len(accepted("conv2d", problem)) == (len(names_on(isa)) if three else of_5x5)
    of_three = len(names_on(isa)) if three else 0
    assert len(accepted("conv2d_backward_weight", problem)) == of_three
    check(problem, rng, dtype)


@pytest.mark.parametrize("problem", LARGE, ids=str)
def test_errors_of_large_problems(problem, isa, rng):
    check(problem, rng)


@pytest.mark.parametrize("activation", [None, "relu", "relu6", ("leaky_relu", 0.5), "tanh"])
def test_bias_residual_and_activation_are_fused(activation, isa, rng):
    p = PROBLEMS[4]
    dtype = np.float32 if isa == "cuda" else np.float64
    a = arguments(p, dtype, rng, small_integers)
    bias = small_integers(p.weight[:1], dtype, rng)
    residual = small_integers(a["dy"].shape, dtype, rng)
    wide_a, wide_bias, wide_residual = wide(a["x"], a["weight"]), *wide(bias, residual)
    options = dict(activation=activation, **p.geometry)
    largest = np.abs(reference.conv2d(*wide_a, wide_bias, **p.geometry)).max()
    for extra, wide_extra in (({}, {}), ({"residual": residual}, {"residual": wide_residual})):
        expected = reference.conv2d(*wide_a, wide_bias, **options, **wide_extra)
        for algorithm in accepted("conv2d", p):
            y = kernels.conv2d(a["x"], a["weight"], bias, algorithm=algorithm, **options, **extra)
            assert_close_elementwise(y, expected, FACTOR[algorithm], largest)


def test_transposed_convolution_is_the_backward_pass(isa, rng):
    x = random_signs((2, 16, 7, 6), np.float32, rng)
    weight = random_signs((16, 20, 3, 3), np.float32, rng)
    bias = random_signs((20,), np.float32, rng)
    options: Any = dict(padding=1, activation="relu")
    expected = reference.conv_transpose2d(*wide(x, weight, bias), **options)
    for name in names_on(isa):
        y = kernels.conv_transpose2d(x, weight, bias, algorithm=name, **options)
        # The padding counts as the image does; one more for the bias.
        assert_close_sum(y, expected, 16 * 9 + 1.0, 16 * 9 + 1, FACTOR[name])


@pytest.mark.cpu("about threads and packed weights")
@pytest.mark.parametrize("problem", [PROBLEMS[1], PROBLEMS[6], *LARGE], ids=str)
def test_threads_layouts_and_packing_change_no_bit(problem, rng):
    a = arguments(problem, np.float32, rng, random_signs)
    before = pyconv.get_num_threads()
    for algorithm in accepted("conv2d", problem):
        for name, run in passes(problem, a):
            if algorithm not in accepted(name, problem):
                continue
            wanted = run(algorithm=algorithm)
            try:
                for threads in (1, 2, 3, 7):
                    pyconv.set_num_threads(threads)
                    assert_same_bits(run(algorithm=algorithm), wanted)
            finally:
                pyconv.set_num_threads(before)
            for key in a:
                for _, value in layouts(a[key]):
                    changed = dict(passes(problem, {**a, key: value}))[name]
                    assert_same_bits(changed(algorithm=algorithm), wanted)
        wanted = kernels.conv2d(a["x"], a["weight"], algorithm=algorithm, **problem.geometry)
        packed = kernels.pack_weight(
            a["weight"], problem.x, algorithm=algorithm, **problem.geometry
        )
        assert packed.algorithm == algorithm
        assert_same_bits(kernels.conv2d(a["x"], packed, **problem.geometry), wanted)


@pytest.mark.cpu("on CUDA the whole problem says where sums are cut")
def test_the_same_bits_in_every_batch(rng):
    x = random_signs((5, 32, 12, 12), np.float32, rng)
    weight = random_signs((32, 32, 3, 3), np.float32, rng)
    whole = kernels.conv2d(x, weight, padding=1, algorithm="winograd4")
    for i in range(5):
        one = kernels.conv2d(x[i : i + 1], weight, padding=1, algorithm="winograd4")
        assert_same_bits(one, whole[i : i + 1])


def test_out_takes_the_result(rng):
    x = random_signs((1, 16, 8, 8), np.float32, rng)
    weight = random_signs((16, 16, 3, 3), np.float32, rng)
    wanted = kernels.conv2d(x, weight, algorithm="winograd4")
    for make in (np.empty_like, np.asfortranarray, channels_last):
        out = make(np.zeros_like(wanted))
        assert kernels.conv2d(x, weight, algorithm="winograd4", out=out) is out
        assert_same_bits(out, wanted)


def test_what_is_not_finite_stays_in_its_tiles(isa, rng):
    x = random_signs((1, 16, 20, 20), np.float32, rng)
    weight = random_signs((16, 16, 3, 3), np.float32, rng)
    clean = kernels.conv2d(x, weight, padding=1, algorithm="winograd4")
    x[0, 0, 9, 9] = np.nan
    y = kernels.conv2d(x, weight, padding=1, algorithm="winograd4", activation="relu")
    touched = np.isnan(y).any(axis=(0, 1))
    assert touched[8:11, 8:11].all()
    rows, columns = np.nonzero(touched)
    assert min(*rows, *columns) >= 8 and max(*rows, *columns) < 12
    assert_same_bits(y[..., :8], np.maximum(clean, 0)[..., :8])


@pytest.mark.cpu("the CPU's estimate; tests/test_cuda_winograd.py has the other")
def test_auto_takes_it_where_it_pays():
    def runs(x: tuple[int, ...], weight: tuple[int, ...], **options: Any) -> str:
        return kernels.explain("conv2d", x, weight, **options).algorithm

    assert runs((1, 64, 56, 56), (64, 64, 3, 3), padding=1) == "winograd4"
    assert runs((1, 64, 27, 27), (192, 64, 5, 5), padding=2) == "winograd4"
    # A weight that is transformed for few tiles: smaller tiles, or none.
    assert runs((1, 256, 14, 14), (256, 256, 3, 3), padding=1) == "winograd2"
    assert runs((1, 512, 7, 7), (512, 512, 3, 3), padding=1) == "direct"
    assert runs((16, 512, 7, 7), (512, 512, 3, 3), padding=1) == "winograd4"
    assert runs((1, 14, 56, 56), (64, 14, 3, 3), padding=1) == "direct"
    # A dilation that leaves each phase a pixel or two.
    assert runs((1, 256, 33, 33), (256, 256, 3, 3), padding=24, dilation=24) == "direct"
    assert runs((1, 64, 56, 56), (64, 64, 3, 3), padding=1, dtype="float64") == "direct"
    with pyconv.float32_precision("strict"):
        assert runs((1, 64, 56, 56), (64, 64, 3, 3), padding=1) == "direct"
    gradient = "conv2d_backward_weight"
    wide, narrow = ((64, 64, 56, 56), (64, 64, 3, 3)), ((1, 512, 7, 7), (512, 512, 3, 3))
    assert kernels.explain(gradient, *wide, padding=1).algorithm == "winograd4"
    assert kernels.explain(gradient, *narrow, padding=1).algorithm == "direct"
    text = str(kernels.explain("conv2d", (1, 512, 7, 7), (512, 512, 3, 3), padding=1))
    assert "winograd6: passed over, its error is large; only by name" in text
    assert "winograd4: passed over, direct is estimated to take" in text


@pytest.mark.cpu("about packed weights; tests/test_cuda_winograd.py has the other")
def test_strict_precision_keeps_to_direct_sums(rng):
    x = random_signs((1, 32, 16, 16), np.float32, rng)
    weight = random_signs((32, 32, 3, 3), np.float32, rng)
    packed = kernels.pack_weight(weight, x.shape, padding=1)
    assert packed.algorithm == "winograd4"
    direct = kernels.conv2d(x, weight, padding=1, algorithm="direct")
    assert (kernels.conv2d(x, weight, padding=1) != direct).any()
    with pyconv.float32_precision("strict"):
        assert_same_bits(kernels.conv2d(x, weight, padding=1), direct)
        assert_same_bits(kernels.conv2d(x, packed, padding=1), direct)
        with pytest.raises(ValueError, match="conv2d: .*'winograd4'.*precision is strict"):
            kernels.conv2d(x, weight, padding=1, algorithm="winograd4")


@pytest.mark.cpu("about 5x5 kernels and winograd6")
@pytest.mark.parametrize(
    ("weight", "options", "reason"),
    [
        ((16, 16, 3, 3), {"stride": 2}, "the stride is not 1"),
        ((16, 8, 3, 3), {"groups": 2}, "groups is 2, not 1"),
        ((16, 16, 3, 2), {}, "the kernel is 3x2, not 3x3 or 5x5"),
        ((16, 16, 1, 1), {}, "the kernel is 1x1, not 3x3 or 5x5"),
    ],
)
def test_refusals_say_why(weight, options, reason):
    x = np.zeros((1, 16, 8, 8), np.float32)
    with pytest.raises(ValueError, match=f"algorithm 'winograd4' can't take .*: {reason}"):
        kernels.conv2d(x, np.zeros(weight, np.float32), algorithm="winograd4", **options)
    if weight[2:] == (3, 3):
        return
    with pytest.raises(ValueError, match="winograd6.*, not 3x3"):
        kernels.conv2d(x, np.zeros((16, 16, 5, 5), np.float32), algorithm="winograd6")


@pytest.mark.cpu("about 5x5 kernels")
def test_a_weight_gradient_of_5x5_is_refused_for_its_error():
    x = np.zeros((1, 16, 8, 8), np.float32)
    with pytest.raises(ValueError, match="winograd4.*5x5 weight gradient would be larger"):
        kernels.conv2d_backward_weight(x, x, (16, 16, 5, 5), padding=2, algorithm="winograd4")


def test_an_empty_batch(isa):
    x, weight = np.zeros((0, 16, 8, 8), np.float32), np.zeros((16, 16, 3, 3), np.float32)
    for name in names_on(isa):
        assert kernels.conv2d(x, weight, algorithm=name).shape == (0, 16, 6, 6)
        dy = np.zeros((0, 16, 6, 6), np.float32)
        dx = kernels.conv2d_backward_input(dy, weight, x.shape, algorithm=name)
        assert dx.shape == x.shape
        dw = kernels.conv2d_backward_weight(dy, x, weight.shape, algorithm=name)
        np.testing.assert_array_equal(dw, np.zeros_like(weight))
