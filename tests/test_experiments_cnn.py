"""The experiments on convolutions, residual learning, batch norm and depthwise separable
convolutions, in small: that what the pages say of them is so."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import pyconv
from pyconv import models

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NAMES = ("residual",)

imread = pytest.importorskip("matplotlib.image").imread


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example whose name the test begins with."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    name = next(n for n in NAMES if request.node.name.startswith(f"test_{n}"))
    return importlib.import_module(name)


@pytest.fixture
def shown(
    example: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Callable[[str], str]:
    """Runs the example with some options, looks at its plot, and returns what it prints."""

    def run(options: str) -> str:
        path = tmp_path / "plot.png"
        monkeypatch.setattr(sys, "argv", ["example.py", *options.split(), "--plot", str(path)])
        example.main()
        picture = imread(path)
        assert picture.shape[0] > 300 and picture.std() > 0.02
        return capsys.readouterr().out

    return run


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


def test_residual_prints_and_draws(shown: Callable[[str], str]) -> None:
    text = shown("--depths 8 --pictures 100 --epochs 1 --seeds 1 --steps 3")
    assert re.findall(r"^8 +(\w+) .*±", text, re.M) == ["plain", "sum", "concatenation"]
    assert text.count("F(x) + x") == 3
