"""Experiments on other convolutions, autoencoders and pooling: what they say is so."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

# -- transposed convolutions ----------------------------------------------------------------------


@pytest.mark.parametrize("problem", [(2, 2, 0), (3, 2, 1), (4, 2, 1), (5, 3, 2), (2, 3, 0)])
def test_transposed_convolution_is_one_of_the_spread_input(example: ModuleType, problem) -> None:
    # Sums of at most 3 * 5 * 5 products of normal numbers.
    assert max(example.differences(*problem, seed=1)) < 75 * 10 * np.finfo(np.float64).eps


def test_transposed_convolution_overlaps_are_even_where_the_stride_divides(
    example: ModuleType,
) -> None:
    for kernel in range(1, 8):
        for stride in range(1, kernel + 1):
            counts = example.overlaps(kernel, stride, 40)[2 * kernel : -2 * kernel]
            counts = counts[:, 2 * kernel : -2 * kernel]
            assert (np.ptp(counts) == 0) == (kernel % stride == 0)
            # Along one axis a pixel gets k / s patches, rounded down or up.
            few, many = kernel // stride, -(-kernel // stride)
            assert set(np.unique(counts)) == {few * few, few * many, many * many}


def test_transposed_convolution_energy_at_a_period(example: ModuleType) -> None:
    rng = np.random.default_rng(0)
    pattern = np.tile(rng.standard_normal((4, 4)), (10, 15))
    noise = rng.standard_normal((40, 60))
    assert example.energy_at_period(pattern, 4) == pytest.approx(1)
    # By Parseval: the variance of the means over the 16 phases.
    means = noise.reshape(10, 4, 15, 4).mean((0, 2))
    assert example.energy_at_period(noise, 4) == pytest.approx(means.var() / noise.var())


def test_transposed_convolution_draws_a_checkerboard(example: ModuleType) -> None:
    """Until it is trained away; sooner where the stride divides the kernel; never if resized."""
    found = {kind: example.learn(kind, 0, 40, (0, 40), 160)[:2] for kind in example.KINDS}
    odd, even, resized = (energies for energies, _ in found.values())
    assert min(odd[0], even[0]) > 0.5 and resized[0] < 0.01
    assert odd[1] > 2 * even[1] > 4 * resized[1]
    assert all(errors[1] < errors[0] / 2 for _, errors in found.values())


def test_transposed_convolution_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("--steps 10 --seeds 1")
    assert len(re.findall(r"(?: +\d\.\de(?:-1\d|\+00)){2}$", text, re.M)) == 6
    assert "4×4          2                    yes        4" in text


# -- dilated convolutions -------------------------------------------------------------------------


@pytest.mark.parametrize("dilations", [(1,), (2,), (4,), (8,), (1, 2, 4), (3, 3), (1, 2, 4, 8)])
def test_dilated_convolution_fields(example: ModuleType, dilations) -> None:
    side = example.field_by_formula(dilations)
    span, count = example.support(example.gradient(dilations, side + 6, seed=1))
    assert span == side == example.field_by_summary(dilations)
    assert (count == side**2) == (dilations[0] == 1)  # a field without holes
    ones = (1,) * len(dilations)
    assert example.parameters(dilations) == example.parameters(ones)
    assert example.multiply_adds(dilations) == example.multiply_adds(ones)


def test_dilated_convolution_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("")
    assert re.search(r"1, 2, 4, 8 +373 .* 31×31 +31×31 +31×31 +961 +100%", text)
    assert re.search(r"4, 4, 4, 4 +373 .* 33×33 +33×33 +33×33 +81 +7%", text)


# -- temporal convolutions ------------------------------------------------------------------------


def test_temporal_convolution_sees_the_past_alone(example: ModuleType) -> None:
    sizes = set()
    for base in example.BASES:
        assert example.outputs_that_knew(base, seed=1) == (0, 300)
        field = example.field_by_formula(base)
        assert field == example.field_by_summary(base) == example.field_by_gradient(base, seed=1)
        sizes.add(sum(p.data.size for p in example.network(base).parameters()))
    assert len(sizes) == 1


def test_temporal_convolution_series_is_whole(example: ModuleType) -> None:
    series = example.sunspots()
    assert len(series) == 12 * (2009 - example.FIRST_YEAR) and series.min() == 0
    assert np.isfinite(series).all() and series.max() == 253.8
    assert 1957 + 9 / 12 == example.FIRST_YEAR + series.argmax() / 12


def test_temporal_convolution_baselines(example: ModuleType) -> None:
    """An autoregression knows a sine from two of its values; persistence is off by a step."""
    series = np.sin(0.3 * np.arange(500)) + 2
    start = example.held_out_from(series)
    assert start == 400
    assert example.error(series, example.autoregression(series, 5, 2)) < 1e-9
    assert (example.persistence(series, 5) == series[395:495]).all()
    # It has learned from nothing held out.
    other = series.copy()
    other[start:] += np.random.default_rng(0).standard_normal(100)
    a, b = (example.autoregression(s, 1, 3) for s in (series, other))
    assert a[0] == b[0] and (a[1:] != b[1:]).any()


def test_temporal_convolution_sees_more_and_forecasts_better(example: ModuleType) -> None:
    """A year ahead a cycle of sunspots counts; nothing of the held-out months is learned from."""
    series = example.sunspots()
    short, long = (
        example.error(series, example.forecast(series, 12, base, 0, 120)) for base in (1, 2)
    )
    assert long < short < example.error(series, example.persistence(series, 12))
    other = series.copy()
    other[example.held_out_from(series) :] = 0
    a, b = (example.forecast(s, 12, 1, 0, 3)[:12] for s in (series, other))
    assert (a == b).all()


def test_temporal_convolution_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("--steps 2 --seeds 1")
    assert re.search(r"1, 2, 4, 8, 16 +7,169 +125 +125 +125 +0 and 300", text)
    assert "2496 months to learn from, 624 held out" in text
    assert re.search(r"persistence +19\.6 +37\.7 +103\.0", text)


# -- autoencoders ---------------------------------------------------------------------------------


def test_autoencoder_components_are_the_best_linear_code(example: ModuleType) -> None:
    train, _, test, _, _ = example.clothes()
    found = [example.again_by_components(train[:200], test[:100], code) for code in (2, 16)]
    two, many = (example.quality(made, test[:100]) for made in found)
    assert 10 < two < many - 2
    # By the singular value decomposition; clipped as pictures are.
    flat = train[:200].reshape(200, -1).astype(np.float64)
    _, _, axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    x = test[:100].reshape(100, -1) - flat.mean(0)
    expected = np.clip(x @ axes[:16].T @ axes[:16] + flat.mean(0), 0, 1)
    np.testing.assert_allclose(found[1].reshape(100, -1), expected, atol=1e-3)


def test_autoencoder_is_lossy_and_specific_and_needs_no_label(example: ModuleType) -> None:
    train, labels, test, classes, _ = example.clothes()
    few = example.few(labels, 100, 0)
    assert (np.bincount(labels[few]) == 100).all()
    small, large = (example.learn(train[few], code, 3, 0) for code in (2, 32))
    qualities = [example.quality(example.again(m, test), test) for m in (small, large)]
    assert qualities[0] + 1 < qualities[1] < 40
    mixed = example.shuffled(test)
    assert np.array_equal(np.sort(mixed[0].ravel()), np.sort(test[0].ravel()))
    assert example.quality(example.again(large, mixed), mixed) < qualities[1] - 5
    codes = example.codes_of(large, test)
    assert codes.shape == (1000, 32)
    right = example.by_neighbour(codes[:500], classes[:500], codes[500:], classes[500:])
    assert right > 0.6  # of ten classes that nobody told it


def test_autoencoder_of_one_class_knows_that_class(example: ModuleType) -> None:
    train, labels, test, classes, names = example.clothes()
    found = [
        example.errors_by_class(example.learn(train[labels == c], 16, 8, 0), test, classes)
        for c in (1, 5)
    ]
    assert names[1] == "Trouser" and names[5] == "Sandal"
    assert found[0][1] < 0.5 * found[1][1] and found[1][5] < 0.5 * found[0][5]
    assert found[0].argmin() == 1


# -- pooling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, pixels", [("max", 1), ("mean", 16)])
def test_pooling_is_its_formula(example: ModuleType, rng, kind, pixels) -> None:
    x = rng.integers(0, 5, (2, 3, 12, 8)).astype(float)  # with ties
    forward, backward, reached = example.differences(kind, x, 4)
    assert max(forward, backward) < 1e-12 and reached == pixels
    parts = example.windows(x, 4)
    assert np.array_equal(parts[1, 2, 1, 0], x[1, 2, 4:8, :4].ravel())
    assert np.array_equal(example.together(parts, 4), x)


def test_pooling_moves_pictures(example: ModuleType, rng) -> None:
    x = rng.standard_normal((2, 1, 5, 6))
    assert np.array_equal(example.moved(x, 2, -1)[:, :, 2:, :-1], x[:, :, :-2, 1:])
    assert not example.moved(x, 2, -1)[:, :, :2].any()


def test_pooling_tolerates_a_shift(example: ModuleType) -> None:
    from pyconv.data import load_dataset

    pictures = load_dataset("fashion-mnist").test.x[:100].astype(np.float32) / 255
    for k in (2, 4):
        largest, mean, stride = (example.change(kind, pictures, k, 0) for kind in example.KINDS)
        assert mean < largest < 0.95 * stride < stride < 1
    assert example.change("max", pictures, 1, 0) == example.change("stride", pictures, 1, 0)


def test_pooling_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("--seeds 1 --epochs 1 --pictures 200 --tests 50")
    assert re.search(r"max +4×4 .* 1\n", text) and re.search(r"mean +4×4 .* 16\n", text)
    assert re.search(r"stride +29,738 +721,280 ", text)
