"""Files: whole or not at all, the same after as before."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import pyconv
from pyconv import io, models, nn


def test_model_comes_back(tmp_path: Path, rng: np.random.Generator) -> None:
    model = models.small_resnet(num_classes=3, width=2).eval()
    path = tmp_path / "net.safetensors"
    pyconv.save(model, path, {"classes": ["a", "b", "c"], "normalization": {"mean": [0.1]}})
    again = pyconv.load(path)
    x = rng.standard_normal((2, 1, 8, 8)).astype(np.float32)
    assert not again.training and np.array_equal(model(x).numpy(), again(x).numpy())
    state, metadata = io.load_state(path)
    assert metadata["classes"] == ["a", "b", "c"] and metadata["normalization"] == {"mean": [0.1]}
    assert metadata["architecture"]["arguments"]["width"] == 2
    assert set(state) == set(model.state_dict())


def test_arrays_lie_in_logical_order(tmp_path: Path) -> None:
    """A convolution's weight lies K×K×I×O in memory; another reader must not see that."""
    layer = nn.Conv2d(3, 4, 2)
    layer.weight.data[...] = np.arange(48).reshape(4, 3, 2, 2)
    assert not layer.weight.data.flags.c_contiguous
    path = tmp_path / "a.safetensors"
    pyconv.save(layer, path)
    assert np.array_equal(
        safetensors.numpy.load_file(path)["weight"].ravel(), np.arange(48, dtype=np.float32)
    )


def test_states_of_all_kinds(tmp_path: Path) -> None:
    state = {
        "scalar": np.array(3, np.int64),
        "empty": np.zeros((0, 2), np.float32),
        "reversed": np.arange(5.0)[::-1],
        "broadcast": np.broadcast_to(np.float32(2), (2, 2)),
        "bool": np.array([True, False]),
        "swapped": np.arange(3, dtype=">f8"),
        "tensor": pyconv.Tensor(np.ones(2, np.float32)),
    }
    path = tmp_path / "a.safetensors"
    pyconv.save(state, path)
    found = pyconv.load(path)
    assert found["scalar"].shape == () and found["scalar"] == 3
    for name in state:
        assert np.array_equal(found[name], np.asarray(state[name])), name
        assert found[name].flags.writeable


def test_the_same_model_gives_the_same_file(tmp_path: Path) -> None:
    model = models.mlp(num_classes=2, in_features=3)
    for name in "ab":
        pyconv.save(model, tmp_path / name, {"x": 1, "y": [1, 2]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_atomic_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    pyconv.save({"a": np.ones(3)}, path)
    before = path.read_bytes()
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:

            def fail(*arguments: object) -> None:
                raise OSError("disk full")

            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="disk full"):
                pyconv.save({"a": np.zeros(300)}, path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["a.safetensors"]  # no half file is left


def test_atomic_write_keeps_links(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    io.atomic_write(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"


def test_save_refuses(tmp_path: Path) -> None:
    path = tmp_path / "a"
    cases = [
        ((3, path), TypeError, "must be a Module or a mapping"),
        (({"a": [1]}, path), TypeError, "a must be an array, got list"),
        (({1: np.ones(1)}, path), TypeError, "names must be str"),
        (({"a": np.array(["x"])}, path), TypeError, "a must be an array of numbers"),
        (({}, 3), TypeError, "path must be a str or a path, got int"),
        (({}, path, 3), TypeError, "metadata must be a mapping"),
        (({}, path, {"a": object()}), TypeError, "metadata must be what JSON can hold"),
    ]
    for arguments, error, match in cases:
        with pytest.raises(error, match=match):
            pyconv.save(*arguments)
    with pytest.raises(FileNotFoundError):
        pyconv.save({}, tmp_path / "nowhere" / "a")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "content", [b"", b"text", struct.pack("<Q", 2**40) + b"{}", struct.pack("<Q", 2) + b"[]"]
)
def test_load_refuses_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a is no readable safetensors file"):
        pyconv.load(path)


def test_load_refuses_a_cut_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    pyconv.save({"a": np.ones(30)}, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="no readable safetensors file"):
        pyconv.load(path)
    with pytest.raises(FileNotFoundError):
        pyconv.load(tmp_path / "nowhere")


def test_load_refuses_models_that_it_cant_build(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for architecture, match in (
        ({"name": "nothing", "arguments": {}}, "there is no model 'nothing'"),
        ({"name": "mlp", "arguments": {"depth": 3}}, "mlp has no argument 'depth'"),
        ({"name": "mlp", "arguments": {}}, "missing: 1.weight"),
        ({"name": "mlp"}, "arguments"),
    ):
        pyconv.save({"a": np.ones(1)}, path, {"architecture": architecture})
        with pytest.raises(ValueError, match=match):
            pyconv.load(path)


def test_other_safetensors_files_are_states(tmp_path: Path) -> None:
    path = tmp_path / "a"
    safetensors.numpy.save_file({"x": np.arange(3)}, path, {"format": "np"})
    state, metadata = io.load_state(path)
    assert state["x"].tolist() == [0, 1, 2] and metadata == {}
    assert pyconv.load(path)["x"].tolist() == [0, 1, 2]


def test_trees_come_back() -> None:
    value = {
        "a": (1, 2.5, None, True, "x", [3, (4,)]),
        "": {},
        "numbers": {0: {"m": np.arange(3)}, 1: {"m": np.zeros(())}},
        "dots": {"a.b": np.ones(1), "a": {"b": np.zeros(2)}},
        "one": {"$array": "no array"},
        "inf": float("inf"),
        "tensor": pyconv.Tensor(np.ones(2)),
        "scalar": np.float64(0.1),
    }
    tree, arrays = io.pack(value, "top")
    import json

    again = io.unpack(json.loads(json.dumps(tree)), arrays)
    assert again["a"] == value["a"] and again["one"] == value["one"] and again[""] == {}
    assert again["inf"] == float("inf") and again["scalar"] == 0.1
    assert again["numbers"][0]["m"].tolist() == [0, 1, 2] and again["numbers"][1]["m"].shape == ()
    assert again["dots"]["a.b"].tolist() == [1] and again["dots"]["a"]["b"].tolist() == [0, 0]
    assert again["tensor"].tolist() == [1, 1]


def test_trees_refuse() -> None:
    with pytest.raises(TypeError, match="pack: a.0: can't save a object"):
        io.pack({"a": [object()]})
    with pytest.raises(ValueError, match="there is no array 'x'"):
        io.unpack({"$array": "x"}, {})


def test_load_refuses_weights_that_are_not_finite(tmp_path: Path) -> None:
    model = models.mlp(num_classes=2, in_features=3, hidden=())
    model[1].bias.data[:] = [np.nan, -np.inf]
    pyconv.save(model, tmp_path / "a")
    with pytest.raises(ValueError, match=r"load: .*a: 1.bias has 2 values that are not finite"):
        pyconv.load(tmp_path / "a")
    assert np.isnan(io.load_state(tmp_path / "a")[0]["1.bias"][0])  # the numbers as they are


def test_load_refuses_wrong_shapes(tmp_path: Path) -> None:
    model = models.mlp(num_classes=2, in_features=3, hidden=())
    state = {**model.state_dict(), "1.weight": np.zeros((3, 2), np.float32)}
    pyconv.save(state, tmp_path / "a", {"architecture": model.architecture})
    with pytest.raises(ValueError, match=r"a: .*1.weight must have shape \(2, 3\), got \(3, 2\)"):
        pyconv.load(tmp_path / "a")


def test_metadata_stay_with_the_model(tmp_path: Path) -> None:
    model = models.mlp(num_classes=2, in_features=3)
    notes = {"classes": ["a", "b"], "normalization": {"mean": [0.5], "std": [0.2]}, "note": 1}
    pyconv.save(model, tmp_path / "a", notes)
    again = pyconv.load(tmp_path / "a")
    assert again.metadata == {k: notes[k] for k in ("classes", "normalization")}
    pyconv.save(again, tmp_path / "b", {"classes": ["x", "y"]})
    assert pyconv.load(tmp_path / "b").metadata == {**again.metadata, "classes": ["x", "y"]}
