"""State dicts of torchvision load unchanged: names, order and shapes, from a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pyconv
from pyconv import models
from pyconv.nn import init

NORM = ("weight", "bias", "running_mean", "running_var")
LARGE = ("vgg11", "vgg16", "vgg19")  # half a gigabyte each: looked at, but not written to files


def table() -> dict[str, dict[str, tuple[int, ...]]]:
    """For each network the name and shape of every entry, in torchvision's order."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    text = (Path(__file__).parent / "torchvision_states.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("["):
            state = found[line.strip("[]")] = {}
        elif line and not line.startswith("#"):
            layer, *entries = line.split()
            if entries[0] == "norm":
                state.update({f"{layer}.{entry}": (int(entries[1]),) for entry in NORM})
                state[f"{layer}.num_batches_tracked"] = ()
            else:
                for entry in entries:
                    name, _, shape = entry.partition("=")
                    state[f"{layer}.{name}"] = tuple(map(int, shape.split("x")))
    return found


TABLE = table()


def test_the_table_has_every_network_that_torchvision_has_too() -> None:
    assert set(TABLE) == {
        "resnet18", "resnet34", "resnet50", *LARGE, "mobilenet_v2", "squeezenet1_1",
    }  # fmt: skip
    assert set(TABLE) <= set(models.names())


@pytest.fixture
def empty_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that nobody fills take no time and no memory."""
    monkeypatch.setattr(init, "_fill", lambda function, tensor, values: tensor)


@pytest.mark.usefixtures("empty_weights")
@pytest.mark.parametrize("name", TABLE)
def test_names_and_shapes(name: str) -> None:
    state = models.build(name).state_dict()
    assert [(key, a.shape) for key, a in state.items()] == list(TABLE[name].items())
    for key, array in state.items():
        assert array.dtype == (np.int64 if key.endswith("num_batches_tracked") else np.float32)


@pytest.mark.usefixtures("empty_weights")
@pytest.mark.parametrize("name", [name for name in TABLE if name not in LARGE])
def test_a_checkpoint_loads_unchanged(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    state = {
        key: rng.random(shape, np.float32) if shape else np.array(7)
        for key, shape in TABLE[name].items()
    }
    pyconv.save_torch(state, tmp_path / "a.pth")
    model = models.build(name)
    found = model.load_state_dict(pyconv.load_torch(tmp_path / "a.pth"))
    assert found.missing_keys == found.unexpected_keys == []
    for key, array in model.state_dict().items():
        assert np.array_equal(array, state[key]), key
