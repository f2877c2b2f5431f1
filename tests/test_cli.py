"""The command line: what it prints, writes and returns."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from large import LARGE
from PIL import Image
from programs import run_python

import pyconv
from pyconv import io, models
from pyconv.cli import main

QUICK = ["--model", "mlp", "--model-option", "hidden=(8,)", "--epochs", "2", "--quiet"]


@pytest.fixture
def pictures(tmp_path: Path) -> str:
    """A folder of three classes: dark, grey and bright."""
    rng = np.random.default_rng(0)
    for name, value in (("bright", 200), ("dark", 20), ("grey", 100)):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for i in range(20):
            picture = (value + rng.integers(0, 30, (8, 8))).astype(np.uint8)
            Image.fromarray(picture).save(folder / f"{i:02}.png")
    return str(tmp_path / "pictures")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def last_json(text: str) -> dict:
    return json.loads(text.splitlines()[-1])


def one_line(capsys: pytest.CaptureFixture[str], code: int, *argv: str) -> str:
    """The one line that a failing command prints."""
    assert main(argv) == code
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and err.startswith("pyconv") and ": error: " in err
    return err


# -- train ----------------------------------------------------------------------------------------


def test_train_evaluate_predict(pictures: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["train", "--data", pictures, *QUICK, "--epochs", "12", "--lr", "0.02",
                 "--batch-size", "8", "--json", "--confusion", "--plot"])  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 0 and err == ""
    found = last_json(out)
    assert found["test_accuracy"] > 0.9 and found["epochs"] == 12 and found["seconds"] > 0
    assert found["parameters"] == 64 * 8 + 8 + 8 * 3 + 3
    assert found["device"] == "cpu" and found["isa"] == pyconv.info()["isa"]
    assert found["threads"] == pyconv.get_num_threads()
    assert found["model_file"] == "model.safetensors"
    assert "42 pictures to train, 6 to validate, 12 to test" in out
    assert "bright" in out and "accuracy" in out and "0 bright" in out
    assert sorted(os.listdir()) == ["model.png", "model.safetensors", "pictures"]
    with Image.open("model.png") as plot:
        assert plot.size[0] > 100

    assert main(["evaluate", "model.safetensors", "--json", "--confusion"]) == 0
    again = last_json(capsys.readouterr().out)
    assert again["accuracy"] == found["test_accuracy"] and again["data"] == pictures
    assert again["loss"] == pytest.approx(found["test_loss"])
    assert np.sum(again["confusion"]) == 12

    files = [f"{pictures}/{name}/00.png" for name in ("dark", "bright")]
    assert main(["predict", "model.safetensors", *files, "--json", "--top", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{files[0]}: dark ")
    best = [p["classes"][0][0] for p in last_json(out)["predictions"]]
    assert best == ["dark", "bright"]
    assert main(["predict", "model.safetensors", files[0], "--invert", "--json"]) == 0
    assert last_json(capsys.readouterr().out)["predictions"][0]["classes"][0][0] == "bright"

    assert main(["summary", "model.safetensors"]) == 0
    assert "input 1×1×8×8" in capsys.readouterr().out


def test_training_follows_from_the_seed(pictures: str) -> None:
    def state(name: str, *more: str) -> dict[str, np.ndarray]:
        assert main(["train", "--data", pictures, *QUICK, "-o", name, *more]) == 0
        return io.load_state(name)[0]

    first, same, other = state("a"), state("b", "--workers", "0"), state("c", "--seed", "1")
    assert all(np.array_equal(first[key], same[key]) for key in first)
    assert any(not np.array_equal(first[key], other[key]) for key in first)


def test_the_progress_bar(pictures: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", pictures, *QUICK[:-1]]) == 0
    err = capsys.readouterr().err
    assert "epoch 2/2: 100%" in err and "loss=" in err and "accuracy=" in err


def test_resume_gives_the_same_model(pictures: str, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """Interrupted in the second epoch, then resumed by the checkpoint alone."""
    options = ["train", "--data", pictures, *QUICK, "--average", "ema", "--seed", "4"]
    assert main([*options, "-o", "whole"]) == 0
    capsys.readouterr()

    from pyconv.training import Trainer

    step = Trainer._one_step

    def interrupted(self: Trainer, *arguments: object) -> None:
        if self.epoch == 1:
            raise KeyboardInterrupt
        step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", interrupted)
        message = one_line(capsys, 130, *options, "-o", "part")
    assert "interrupted; go on with --resume part.checkpoint.safetensors" in message
    assert not os.path.exists("part") and os.path.exists("part.checkpoint.safetensors")
    assert main(["evaluate", "part.checkpoint.safetensors"]) == 0

    resume = ["--resume", "part.checkpoint.safetensors", "-o", "part", "--quiet"]
    assert main(["train", *resume]) == 0
    whole, part = io.load_state("whole")[0], io.load_state("part")[0]
    assert all(np.array_equal(whole[key], part[key]) for key in whole)
    assert not os.path.exists("part.checkpoint.safetensors")


@pytest.mark.parametrize(
    "options",
    [
        ["--optimizer", "sgd", "--schedule", "cosine", "--patience", "1", "--clip-grad-norm", "1"],
        ["--optimizer", "adam", "--schedule", "constant", "--average", "swa", "--l1", "1e-5"],
        [
            "--optimizer",
            "rmsprop",
            "--no-flip",
            "--shift",
            "0",
            "--validation",
            "0",
            "--label-smoothing",
            "0",
        ],
        ["--model", "cifar_resnet", "--model-option", "depth=8", "--model-option", "width=2"],
        ["--size", "6x5", "--checkpoint", "kept", "--threads", "1"],
    ],
)
def test_arguments(pictures: str, options: list[str]) -> None:
    quick = QUICK if "--model" not in options else QUICK[4:]
    before = pyconv.get_num_threads()
    try:
        assert main(["train", "--data", pictures, *quick, *options]) == 0
        if "--threads" in options:
            assert pyconv.get_num_threads() == 1
    finally:
        pyconv.set_num_threads(before)
    assert os.path.exists("kept") == ("kept" in options)
    assert main(["evaluate", "model.safetensors"]) == 0


def test_the_default_network_on_the_shipped_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    """The arguments that nobody gives; a narrow network and one epoch, to be quick."""
    assert main(["train", "--model-option", "width=2", "--epochs", "1", "--batch-size", "250",
                 "--quiet", "--json"]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "4500 pictures to train, 500 to validate, 1000 to test" in out
    assert "Ankle boot" in out and last_json(out)["test_accuracy"] > 0.1


# -- the others -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in models.names() if n not in LARGE])
def test_summary_has_a_shape_for_each_model(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", name]) == 0
    assert "multiply-adds" in capsys.readouterr().out


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "lenet5"]) == 0
    assert "multiply-adds: 416,520" in capsys.readouterr().out
    assert main(["summary", "cifar_resnet", "--model-option", "depth=8", "--json",
                 "--input-shape", "3x16x16"]) == 0  # fmt: skip
    found = last_json(capsys.readouterr().out)
    assert found["input_shape"] == [1, 3, 16, 16] and found["layers"][0]["receptive_field"] == [
        3,
        3,
    ]


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    assert pyconv.info()["isa"] in capsys.readouterr().out
    assert main(["info", "--json"]) == 0
    assert last_json(capsys.readouterr().out)["version"] == pyconv.__version__


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "summary", "info"])
def test_help_says_all_arguments(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and f"usage: pyconv {command}" in out and "--json" in out


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("train", "evaluate", "predict", "summary", "info"))
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pyconv {pyconv.__version__}\n"


def test_as_a_program() -> None:
    for argv, code in ((["info", "--json"], 0), (["paint"], 2), (["evaluate", "nowhere"], 1)):
        done = run_python("-m", "pyconv", *argv)
        assert done.returncode == code
        assert done.stderr.count("\n") == (code > 0)


def test_it_starts_without_the_layers() -> None:
    script = (
        "import sys; from pyconv.cli import main; main(['train', '--help'])\n"
        "loaded = {'pyconv.nn', 'pyconv.models', 'tqdm', 'PIL', 'safetensors', 'matplotlib'}\n"
        "sys.exit(', '.join(loaded & set(sys.modules)) or 0)"
    )
    done = run_python("-c", script)
    assert done.returncode == 0, done.stderr


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: COMMAND; see pyconv --help"),
        (["paint"], "invalid choice: 'paint'"),
        (["train", "--epochs", "0"], "--epochs: must be at least 1, got 0"),
        (["train", "--epochs", "x"], "--epochs: expected a whole number, got 'x'"),
        (["train", "--lr", "-1"], "--lr: must be at least 0, got -1"),
        (["train", "--lr", "nan"], "--lr: must be at least 0, got nan"),
        (["train", "--lr", "x"], "--lr: expected a number, got 'x'"),
        (["train", "--clip-grad-norm", "0"], "must be above 0, got 0"),
        (["train", "--optimizer", "x"], "--optimizer: invalid choice: 'x'"),
        (["train", "--size", "8xx"], "--size: expected a shape as 3x224x224"),
        (["train", "--model-option", "x"], "expected KEY=VALUE, got 'x'"),
        (["train", "--model", "x"], "--model must be one of"),
        (["train", "--model", "unet"], "--model unet is no classifier"),
        (["train", "--model", "transformer_net"], "--model transformer_net is no classifier"),
        (["train", "--model-option", "x=1"], "small_resnet has no argument 'x'"),
        (["train", "--model-option", "width=0"], "width must be at least 1, got 0"),
        (["train", "--patience", "3", "--validation", "0"], "--patience needs a --validation"),
        (["train", "--download"], "--download needs --data FOLDER"),
        (["summary", "x"], "'x' is neither a file nor one of"),
        (["summary", "mlp", "--model-option", "x=1"], "mlp has no argument 'x'"),
        (["summary", "mlp", "--input-shape", "0x1"], "sizes must be at least 1"),
        (["predict", "model"], "the following arguments are required: PICTURE"),
        (["evaluate", "model", "--part", "x"], "--part: invalid choice: 'x'"),
        (["info", "more"], "unrecognized arguments: more"),
    ],
)
def test_wrong_usage(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in one_line(capsys, 2, *argv)


def test_pictures_too_small_for_the_model(
    pictures: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = one_line(capsys, 2, "train", "--data", pictures, "--model", "lenet5")
    assert "--model lenet5: lenet5: image_size must be one of 28, 32, got 8" in message
    message = one_line(
        capsys, 2, "train", "--data", pictures, "--size", "1x1", "--model", "small_resnet"
    )
    assert "--model small_resnet can't take pictures of 1×1×1: " in message
    assert os.listdir() == ["pictures"]


def test_failures(capsys: pytest.CaptureFixture[str]) -> None:
    pyconv.save(models.mlp(10, 784, (4,)), "model", {"input_shape": [1, 28, 28]})
    pyconv.save({"a": np.ones(1)}, "state")
    Path("text").write_text("text")
    os.mkdir("empty")
    for argv, message in (
        (["train", "--data", "nowhere"], "or a folder, got 'nowhere'"),
        (["train", "--data", "empty"], "empty has no pictures in sub-folders"),
        (["train", "-o", "nowhere/model"], "nowhere: no such folder"),
        (["train", "--resume", "nowhere"], "nowhere: No such file or directory"),
        (["train", "--resume", "model"], "model is no checkpoint of pyconv train"),
        (["evaluate", "nowhere"], "nowhere: No such file or directory"),
        (["evaluate", "text"], "text is no readable safetensors file"),
        (["evaluate", "state"], "state does not say which model it holds"),
        (["evaluate", "model", "--data", "digits"], "pictures of 1×28×28, got 1×8×8"),
        (["predict", "model", "nowhere.png"], "nowhere.png: No such file or directory"),
        (["predict", "model", "text"], "text is no picture that Pillow can read"),
        (["predict", "state", "text"], "state does not say which model it holds"),
        (["summary", "state"], "state does not say which model it holds"),
        (["summary", "resnet18", "--input-shape", "1x32x32"], "channels"),
    ):
        assert message in one_line(capsys, 1, *argv)


def test_missing_extras(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert 'needs matplotlib: pip install "pyconv[plot]"' in one_line(capsys, 1, "train", "--plot")
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert 'pip install "pyconv[models]"' in one_line(capsys, 1, "train", "--data", "digits")
    monkeypatch.setitem(sys.modules, "cupy", None)
    message = one_line(capsys, 1, "train", "--device", "cuda", "--model", "mlp", "--quiet")
    assert "CuPy" in message


def test_predict_refuses_other_classes_than_the_model_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = {"classes": ["a"], "input_shape": [1, 2, 2]}
    pyconv.save(models.mlp(num_classes=3, in_features=4), "net.safetensors", notes)
    Image.new("L", (2, 2)).save("a.png")
    error = one_line(capsys, 1, "predict", "net.safetensors", "a.png")
    assert "net.safetensors names 1 classes, the model has 3" in error
