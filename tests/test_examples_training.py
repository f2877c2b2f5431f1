"""The experiments on fitting and descent, small: what their pages say is so."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest
from programs import EXAMPLES

import pyconv

# -- one hidden layer and several -----------------------------------------------------------------


def test_mlp_polygon_nears_the_function_with_more_units(example: ModuleType) -> None:
    x = np.linspace(-1, 1, 5001)
    errors = []
    for n in (8, 32, 128, 512):
        corners = np.linspace(-1, 1, n + 1)
        model = example.polygon(corners, example.target(corners))
        assert [la.weight.shape[0] for la in model if isinstance(la, pyconv.nn.Linear)] == [n, 1]
        # On the corners it is the function, up to sums of at most 512 terms.
        assert example.greatest_error(model, corners, example.target(corners)) < 1e-12
        errors.append(example.greatest_error(model, x, example.target(x)))
    # The kinks are the worst places: there the error goes with the pieces' length.
    assert all(after < before / 3 for before, after in zip(errors[:-1], errors[1:], strict=True))
    assert 0 <= example.target(x).min() and example.target(x).max() <= 1


def test_mlp_one_hidden_layer_learns_better_with_more_units(example: ModuleType) -> None:
    errors, _ = example.fit_function((2, 32), seeds=2, steps=80)
    for kind in example.ACTIVATIONS:
        assert max(errors[kind, 32]) < min(errors[kind, 2]), kind


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_mlp_deep_sawtooth_needs_few_units_and_is_exact(example: ModuleType, k: int) -> None:
    deep, shallow = example.deep_sawtooth(k), example.shallow_sawtooth(k)
    u = np.linspace(0, 1, 2**11 + 1)  # whole numbers over 2^11: no operation rounds
    expected = example.sawtooth(u, k)
    assert (example.output(deep, u) == expected).all()
    assert (example.output(shallow, u) == expected).all()
    # 2^k pieces, counted: a network of one layer has at most one corner a unit.
    assert (np.diff(np.sign(np.diff(expected))) != 0).sum() == 2**k - 1
    units = [
        sum(m.weight.shape[0] for m in model.modules() if isinstance(m, pyconv.nn.Linear)) - 1
        for model in (deep, shallow)
    ]
    assert units == [2 * k, 2**k]
    parameters = [sum(p.data.size for p in model.parameters()) for model in (deep, shallow)]
    assert parameters == [6 * k + 1, 3 * 2**k + 1]


@pytest.mark.parametrize("widths", [(1, 1), (784, 10), (3, 7, 5, 2), (784, 256, 128, 10)])
def test_mlp_formulas_are_what_summary_counts(example: ModuleType, widths: tuple[int, ...]) -> None:
    assert example.by_summary(widths) == example.by_formula(widths)
    first = widths[0] * widths[1]
    assert example.by_formula(widths)[0] == (first + widths[1], first)


def test_mlp_prints_and_draws(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, shown: Callable[..., str]
) -> None:
    monkeypatch.setattr(example, "SHALLOW", (2, 4))
    monkeypatch.setattr(example, "DEEP", (2, 3))
    text = shown("--units 2 4 --seeds 1 --steps 5")
    rows = re.findall(r"^(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +0 +0$", text, re.M)
    assert [tuple(map(int, row))[2:4] for row in rows] == [(2 * k, 2**k) for k in range(1, 9)]
    (line,) = re.findall(r"^784 → 256 → 10 +(.*)", text, re.M)
    assert line.split() == 2 * ["203,530", "203,264"]


# -- under-fitted, right, over-fitted -------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures() -> Iterator[NamedTuple]:
    """Of examples/fitting.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        yield importlib.import_module("fitting").load(test=500)


def test_fitting_more_pictures_close_the_gap(example: ModuleType, pictures: NamedTuple) -> None:
    found = example.curve(pictures, (250, 2000), 2, "pictures", width=64, epochs=20)
    few, many = ([r.gap for r in found[n]] for n in (250, 2000))
    assert max(many) < min(few) and min(few) > 0.1
    assert min(r.test for r in found[2000]) > max(r.test for r in found[250]) + 0.03


def test_fitting_few_units_underfit_and_many_overfit(
    example: ModuleType, pictures: NamedTuple
) -> None:
    found = example.curve(pictures, (1, 128), 2, "units", epochs=15)
    for narrow, wide in zip(found[1], found[128], strict=True):
        assert narrow.train < 0.5 and abs(narrow.gap) < 0.06
        assert wide.train > 0.93 and wide.gap > 0.08


def test_fitting_the_test_loss_rises_again(example: ModuleType, pictures: NamedTuple) -> None:
    split = pictures.some(500, 0)
    _, history = example.learn(split, 0, watch=pictures.test)
    losses = [record["validation_loss"] for record in history]
    assert np.argmin(losses) < 30 and losses[-1] > 1.03 * min(losses)
    assert history[-1]["loss"] < 0.1 * history[0]["loss"]
    _, stopped = example.learn(split, 0, patience=3)
    assert len(stopped) < 30 and "validation_loss" in stopped[-1]


@pytest.mark.parametrize("name", ["augmentation: shifts", "L1", "dropout: 70 %"])
def test_fitting_remedies_close_the_gap(
    example: ModuleType, pictures: NamedTuple, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(example.REMEDIES, name, (500, *example.REMEDIES[name][1:]))
    monkeypatch.setitem(example.REMEDIES, "nothing", (500, 1, {}))
    with_it, without = (
        example.remedy(pictures, which, 0, width=64, epochs=40) for which in (name, "nothing")
    )
    assert with_it.train < without.train - 0.005 and with_it.gap < without.gap


def test_fitting_regularisation_makes_weights_small(
    example: ModuleType, pictures: NamedTuple
) -> None:
    split, sizes, tiny = pictures.some(500, 0), {}, {}
    for name in ("nothing", "L1", "L2"):
        network, _ = example.learn(split, 0, width=32, epochs=30, **example.REMEDIES[name][2])
        weights = np.concatenate([p.data.ravel() for p in network.parameters() if p.ndim > 1])
        sizes[name], tiny[name] = np.abs(weights).sum(), (np.abs(weights) < 0.002).mean()
    assert max(sizes["L1"], sizes["L2"]) < 0.92 * sizes["nothing"]
    assert tiny["L1"] > 2 * max(tiny["L2"], tiny["nothing"])  # L1 takes weights to zero


def test_fitting_mean_of_predictions_has_a_lower_loss(
    example: ModuleType, pictures: NamedTuple
) -> None:
    """-log is convex: the loss of the mean is at most the mean of the losses."""
    split = pictures.some(500, 0)
    networks = [example.learn(split, seed, width=32, epochs=10)[0] for seed in range(3)]
    alone = [example.judge([network], split, pictures.test).loss for network in networks]
    assert example.judge(networks, split, pictures.test).loss < np.mean(alone) - 0.005


@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_fitting_averages_of_weights_are_used(
    example: ModuleType, pictures: NamedTuple, kind: str
) -> None:
    split = pictures.some(200, 0)
    settings = {"width": 8, "epochs": 4}
    network, _ = example.learn(split, 0, average=getattr(example, kind), **settings)
    last, _ = example.learn(split, 0, **settings)
    pairs = list(zip(network.parameters(), last.parameters(), strict=True))
    assert all((a.data != b.data).any() for a, b in pairs)


def test_fitting_prints_and_draws(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, shown: Callable[..., str]
) -> None:
    fewer = {name: (90, number, more) for name, (_, number, more) in example.REMEDIES.items()}
    monkeypatch.setattr(example, "REMEDIES", fewer)
    monkeypatch.setattr(example, "FEW", 90)
    text = shown("--sizes 60 120 --widths 2 8 --epochs 1 --seeds 1")
    for name in (
        "more data: 5000",
        "early stopping",
        "mean of weights: SWA",
        "L2",
        "dropout: 70 %",
    ):
        (line,) = re.findall(rf"^{re.escape(name)} +(.*)", text, re.M)
        numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", line)]
        assert len(numbers) == 10 and numbers[6] == pytest.approx(numbers[0] - numbers[3], abs=0.11)


# -- where descent ends ---------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 8])
def test_optimizers_constant_rate_ends_in_a_cloud(example: ModuleType, batch: int) -> None:
    problem, radii = example.noisy_problem(), []
    for lr in (0.06, 0.015):
        found = [
            example.root_mean_square(example.walk(problem, batch, lr, 5000, way=way, seed=1)[2000:])
            for way in ("drawn", "shuffled")
        ]
        # Neighbouring steps resemble each other for 1 / (lr l) = 350 steps: few independent ones.
        theory = example.radius_by_theory(problem, batch, lr)
        assert found[0] == pytest.approx(theory, rel=0.4)
        assert found[1] < found[0]
        radii.append(found[0])
    assert radii[1] < 0.7 * radii[0]  # by theory a half: the root of the rates' ratio


def test_optimizers_full_batch_and_falling_rates_end_in_the_point(example: ModuleType) -> None:
    problem = example.noisy_problem()
    assert example.walk(problem, None, 0.07, 3000)[-1] < 1e-12
    ends = {}
    for decay in (0.0, 0.02):
        found = example.walk(problem, 4, 0.07 * (4 if decay else 1), 8000, decay=decay)
        ends[decay] = [example.root_mean_square(found[i : i + 400]) for i in (800, 7600)]
    assert ends[0.0][1] > 0.5 * ends[0.0][0]  # it stays where it is
    assert ends[0.02][1] < 0.3 * ends[0.02][0]  # it comes nearer
    assert ends[0.02][1] < 0.1 * ends[0.0][1]


@pytest.mark.parametrize("nesterov", [False, True])
def test_optimizers_momentum_is_that_of_the_notes_at_a_constant_rate(
    example: ModuleType, nesterov: bool
) -> None:
    problem = example.noisy_problem()
    for rate, alpha in ((0.07, 0.9), (0.3, 0.5)):
        difference, notes, sgd = example.apart(problem, [rate] * 80, alpha, nesterov)
        # 80 steps on numbers of about 4, each rounded some times.
        assert difference.max() < 80 * 10 * 4 * np.finfo(np.float64).eps
        assert notes[-1] < 0.2 * notes[0] and sgd[-1] < 0.2 * sgd[0]
        rates = [rate] * 20 + [rate / 10] * 60
        difference, _, _ = example.apart(problem, rates, alpha, nesterov)
        assert difference[:21].max() < 1e-12 < 1e-4 < difference[21]


def test_optimizers_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("--steps 200 --pictures 300 --epochs 2 --seeds 1")
    rows = re.findall(r"^(.*[a-zA-Z0-9.]) +[\d.]+ +([\d.]+) +([\d.]+) +[\d.]+ \(", text, re.M)
    found = {name.strip(): (float(first), float(last)) for name, first, last in rows}
    assert len(found) == 7
    for name, (first, last) in found.items():
        assert last < first, name


# -- backpropagation, counted ---------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(3, 2), (4, 8, 6, 3), (5, 1, 7, 2, 3), (6,) * 9])
@pytest.mark.parametrize("batch", [1, 3])
def test_backpropagation_multiplications_are_those_of_the_formulas(
    example: ModuleType, widths: tuple[int, ...], batch: int
) -> None:
    problem = example.make_problem(widths, batch)
    stored = example.count_backward(example.backward, *problem)
    again = example.count_backward(example.backward_without_deltas, *problem)
    assert stored == example.stored_by_formula(widths, batch)
    assert again == example.recomputed_by_formula(widths, batch)
    forward = sum(n * m for m, n in zip(widths[:-1], widths[1:], strict=True))
    assert example.count(example.forward, *problem[:2]) == batch * forward
    for kept, chain in zip(
        example.backward(*problem), example.backward_without_deltas(*problem), strict=True
    ):
        assert all((a == b).all() for a, b in zip(kept, chain, strict=True))


def test_backpropagation_without_deltas_grows_with_the_square_of_the_depth(
    example: ModuleType,
) -> None:
    counts = {
        (function, depth): example.count_backward(
            getattr(example, function), *example.make_problem((8,) * (depth + 1), 1)
        )
        for function in ("backward", "backward_without_deltas")
        for depth in (16, 64)
    }
    ratios = [counts[f, 64] / counts[f, 16] for f in ("backward", "backward_without_deltas")]
    assert 3.9 < ratios[0] < 4.3 and 12 < ratios[1] < 16
