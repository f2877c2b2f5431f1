"""The experiments on convolutions, residual learning, batch norm and depthwise separable
convolutions, in small: that what the pages say of them is so."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

import pyconv
from pyconv import models

# -- residual learning ----------------------------------------------------------------------------


def test_residual_deep_plain_networks_train_worse(example: ModuleType) -> None:
    data = example.pictures(300, 10, size=14)

    def loss(depth: int, shortcut: str) -> float:
        return example.train(depth, shortcut, data, seed=0, epochs=5, width=4).loss[-1]

    plain = loss(44, "plain")
    assert plain > loss(8, "plain") + 0.3
    assert plain > loss(44, "sum") + 0.3


def test_residual_gradient_without_batch_norm(example: ModuleType) -> None:
    """It vanishes in a deep plain network, and does not beside shortcuts."""
    data, _ = example.pictures(250, 10, size=14)
    weights, outputs = example.without_norm_at_start(44, "plain", data, 2, 4)
    assert len(weights) == 44 and len(outputs) == 21
    assert outputs[0] < 1e-8 * outputs[-1] and weights[0] < 1e-12
    for shortcut in ("sum", "concatenation"):
        weights, outputs = example.without_norm_at_start(44, shortcut, data, 2, 4)
        assert outputs[0] > 1e-2 * outputs[-1] and weights[0] > 1e-4


def test_residual_gradient_with_batch_norm_does_not_vanish(example: ModuleType) -> None:
    """Not even where the plain network trains badly: that is not the cause then."""
    data = example.pictures(150, 10, size=14)
    for shortcut in example.SHORTCUTS:
        norms = example.train(44, shortcut, data, seed=0, epochs=1, width=4).norms
        assert len(norms) == 44 and norms.max() < 100 * norms.min()


@pytest.mark.parametrize("blocks", [1, 4])
def test_residual_identity_is_learned_with_less_error(example: ModuleType, blocks: int) -> None:
    data, _ = example.pictures(500, 10, size=14)
    errors = {
        residual: example.final_error(example.best_identity(blocks, residual, data[0], 40, 2)[1])
        for residual in (False, True)
    }
    assert errors[True].max() < 0.2 * errors[False].min()


def test_residual_layers_are_as_many_as_the_depth(example: ModuleType) -> None:
    pyconv.manual_seed(0)
    for depth in (8, 20):
        for shortcut in example.SHORTCUTS.values():
            model = models.cifar_resnet(depth, 4, 1, shortcut)
            assert len(example.weights(model)) == depth


def test_residual_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("--depths 8 --pictures 100 --epochs 1 --seeds 1 --steps 3")
    assert re.findall(r"^8 +(\w+) .*±", text, re.M) == ["plain", "sum", "concatenation"]
    assert text.count("F(x) + x") == 3


# -- batch normalisation --------------------------------------------------------------------------


def test_batch_norm_learns_faster_and_at_larger_rates(example: ModuleType) -> None:
    data = example.pictures(1000, 10, size=14)

    def last(kind: str, rate: float) -> float:
        return example.train(kind, rate, data, seed=0, epochs=2).loss[-1]

    best = last("none, He's weights", 0.1)
    assert last("batch norm", 0.1) < best - 0.3
    assert last("batch norm", 1.0) < example.LEARNED < last("none, He's weights", 1.0)


def test_batch_norm_keeps_activations_at_one_size(example: ModuleType) -> None:
    (x, _), _ = example.pictures(250, 10, size=14)
    ratios = {}
    for kind in example.KINDS:
        found = example.sizes(example.network(kind, 0), x)
        assert len(found) == 8
        ratios[kind] = max(found) / min(found)
    assert ratios["batch norm"] < 1.1
    assert ratios["none, He's weights"] > 1.5
    assert ratios["none, default weights"] > 10


def test_batch_norm_exact_statistics_are_those_of_the_data(example: ModuleType) -> None:
    """With them, all training pictures as one batch in inference come out as in training."""
    (x, y), _ = example.pictures(300, 10, size=14)
    model = example.network("batch norm", 0)
    exact = example.with_exact_statistics(model, pyconv.Tensor(x))
    assert not exact.training and model.training
    with pyconv.no_grad():
        np.testing.assert_allclose(exact(x).numpy(), model(x).numpy(), atol=1e-4)
    assert (model[1].running_var.numpy() != exact[1].running_var.numpy()).all()
    assert example.statistics_apart(exact, exact) == 0


def test_batch_norm_moving_average_lags_behind(example: ModuleType) -> None:
    data = example.pictures(500, 500, size=14)
    (first, moving, exact), (later, _, _) = example.moving_against_exact(data, 0.1, 0, (10, 60))
    assert first > 4 * later
    assert moving < 0.2 and exact > moving + 0.1


def test_batch_norm_prints_and_draws(
    example: ModuleType, shown: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example, "RATES", (0.1, 10.0))
    monkeypatch.setattr(example, "STEPS", (1, 5))
    text = shown("--pictures 100 --short 1 --epochs 1 --seeds 1")
    assert re.findall(r"^(\d+) +(\S+) .*±", text, re.M) == [("1", "0.900"), ("5", "0.590")]
    assert len(re.findall(r"at the start  ", text)) == 3


# -- depthwise separable convolutions -------------------------------------------------------------


def test_depthwise_separable_parameters_by_the_formula(example: ModuleType) -> None:
    for kernel, d_in, d_out, size in ((3, 5, 7, 6), (1, 4, 4, 3), (5, 3, 8, 9)):
        for kind in example.KINDS:
            formula = example.parameters(kind, kernel, d_in, d_out)
            assert example.counted(kind, kernel, d_in, d_out, size) == (formula, formula * size**2)


def test_depthwise_separable_is_faster_where_it_saves_much(example: ModuleType) -> None:
    """Nine times fewer multiply-adds; how much that is in time depends on the machine."""
    inference, separable_inference, training, separable_training = example.times(256, 256, 14, 5)
    assert separable_inference < inference and separable_training < training


def test_depthwise_separable_learns(example: ModuleType) -> None:
    data = example.pictures(1000, 500, size=14)
    assert example.test_accuracy("separable", 16, data, 0, 4) > 0.5


def test_depthwise_separable_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("--pictures 50 --epochs 1 --seeds 1 --rounds 1")
    rows = re.findall(r"(?:traditional|separable) +([\d,]+) +([\d,]+) +[\d,]+$", text, re.M)
    assert len(rows) == 10 and all(formula == found for formula, found in rows)


# -- a convolutional layer ------------------------------------------------------------------------


def test_convolution_matrix_of_the_notes(example: ModuleType) -> None:
    """A 4×4 image and a 3×3 kernel, as the notes print it: transposed, 16×4."""
    lines = example.equation(example.positions(4, 3, 1, 0), 3).splitlines()
    assert lines[0].split() == [f"i{i}{j}" for i in range(4) for j in range(4)]
    rows = [line.split() for line in lines[1:]]
    assert [row[:2] for row in rows] == [[f"o{i}{j}", "="] for i in range(2) for j in range(2)]
    columns = list(zip(*(row[2:] for row in rows), strict=True))
    assert columns[5] == ("w11", "w10", "w01", "w00")
    assert columns[0] == ("w00", ".", ".", ".") and columns[15] == (".", ".", ".", "w22")


@pytest.mark.parametrize("padding", [0, 1])
def test_convolution_layer_sum_is_the_gradient(example: ModuleType, padding: int) -> None:
    problem = example.Problem(padding, 20)
    w = np.linspace(-1, 1, 9)
    found = problem.gradient(problem.dense(w), "sum")
    np.testing.assert_allclose(found, problem.gradient_of_convolution(w), rtol=1e-9)


def test_convolution_layer_mean_is_another_rate_without_padding(example: ModuleType) -> None:
    problem = example.Problem(0, 50)
    assert set(example.places(problem.where)) == {25}
    rate = 1 / problem.largest_curvature()
    by_sum = example.train(problem, "sum", rate, 30)
    np.testing.assert_allclose(example.train(problem, "mean", 25 * rate, 30), by_sum, atol=1e-12)


def test_convolution_layer_mean_is_another_path_with_padding(example: ModuleType) -> None:
    problem = example.Problem(1, 50)
    assert example.places(problem.where).tolist() == [36, 42, 36, 42, 49, 42, 36, 42, 36]
    M = problem.dense(np.zeros(9))
    ratio = problem.gradient(M, "mean") / problem.gradient(M, "sum")
    np.testing.assert_allclose(ratio, 1 / example.places(problem.where))
    rate = 1 / problem.largest_curvature()
    by_sum = example.train(problem, "sum", rate, 1500)
    by_mean = example.train(problem, "mean", 49 * rate, 1500)
    assert np.abs(by_sum[10] - by_mean[10]).max() > 0.03
    for path in (by_sum, by_mean):  # the minimum is where both are zero
        assert np.abs(path[-1] - example.TEACHER.ravel()).max() < 1e-3


def test_convolution_layer_sizes_follow_the_formula(example: ModuleType) -> None:
    tried, right = example.check_sizes(7)
    assert tried == right > 1000
    assert example.size_by_formula(28, 4, 5, 1) == 28 and example.size_by_formula(7, 0, 3, 3) == 2


def test_convolution_layer_fields_are_those_of_summary(example: ModuleType) -> None:
    (x, _), _ = example.pictures(1, 1)
    for model in example.networks().values():
        for kind, field, gradient in example.fields(model, x):
            height, width = example.box(gradient)[2:]
            assert (height, width) == field, kind
            assert np.count_nonzero(gradient) == height * width


def test_convolution_layer_prints_and_draws(shown: Callable[..., str]) -> None:
    text = shown("--steps 20")
    found = re.search(r"right in ([\d,]+) of ([\d,]+) combinations", text)
    assert found and found[1] == found[2]
    assert "36 42 36" in text and re.search(r"AvgPool2d +16×16 +16×16 +100%", text)
