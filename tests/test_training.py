"""The Trainer: it learns, stops, is interrupted, and goes on with the same bits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyconv
from pyconv import EarlyStopping, Trainer, functional, io, models, nn, optim, training
from pyconv.data import DataLoader
from pyconv.data import transforms as T  # noqa: N812
from pyconv.optim import lr_scheduler


def pictures(count: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """A bright bar that stands or lies, in noise."""
    rng = np.random.default_rng(7)
    x = rng.integers(0, 90, (count, 1, 8, 8)).astype(np.uint8)
    y = np.arange(count) % 2
    x[y == 0, :, 2] += 150
    x[y == 1, :, :, 2] += 150
    return x, y


def loader(**options: Any) -> DataLoader:
    steps = T.Compose([T.RandomShift(1), T.ToFloat(), T.GaussianNoise(0.05)])
    return DataLoader(pictures(), 16, True, seed=3, transform=steps, **options)


def plain_loader() -> DataLoader:
    return DataLoader(pictures(), 32, transform=T.ToFloat())


def small_model() -> nn.Module:
    pyconv.manual_seed(11)
    return models.mlp(2, 64, (8,), dropout=0.2)


def norm_model() -> nn.Module:
    pyconv.manual_seed(11)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, bias=False),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(108, 2),
    )


def trainer_of(model: nn.Module, **options: Any) -> Trainer:
    optimizer = options.pop("optimizer", None) or optim.Adam(model.parameters(), lr=0.01)
    return Trainer(model, optimizer, progress=False, **options)


def bits(model: nn.Module) -> dict[str, bytes]:
    return {name: np.asarray(a).tobytes() for name, a in model.state_dict().items()}


def without_time(history: list[dict]) -> list[dict]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in history]


def test_learns() -> None:
    trainer = trainer_of(small_model())
    history = trainer.fit(loader(), plain_loader(), epochs=12)
    assert history is trainer.history and [r["epoch"] for r in history] == list(range(1, 13))
    assert set(history[0]) == {
        "epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "lr", "seconds",
    }  # fmt: skip
    assert history[-1]["validation_accuracy"] > 0.9 > history[0]["validation_accuracy"]
    assert history[-1]["loss"] < history[0]["loss"]
    assert not trainer.model.training


def test_loss_and_accuracy_are_means_over_samples() -> None:
    x = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]], np.float32)
    y = np.array([0, 0, 0])
    model = nn.Identity()
    model.w = nn.Parameter(np.zeros(1, np.float32))
    trainer = trainer_of(model)
    found = trainer.evaluate(DataLoader((x, y), 2))
    assert found["loss"] == pytest.approx(functional.cross_entropy(x, y).item(), rel=1e-6)
    assert found["accuracy"] == pytest.approx(2 / 3)


def test_other_losses_have_no_accuracy() -> None:
    model = nn.Linear(2, 1)
    data = [(np.ones((4, 2), np.float32), np.ones((4, 1), np.float32))]
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), functional.mse_loss,
                      progress=False)  # fmt: skip
    history = trainer.fit(data, data, epochs=30)
    assert "accuracy" not in history[0] and history[-1]["loss"] < 1e-3


def test_accuracy_of_segmentation() -> None:
    scores = np.zeros((1, 2, 2, 2), np.float32)
    scores[0, 1, 0] = 1
    model = nn.Identity()
    model.w = nn.Parameter(np.zeros(1, np.float32))
    found = trainer_of(model).evaluate([(scores, np.array([[[1, 0], [0, 0]]]))])
    assert found["accuracy"] == 0.75


# -- resuming -------------------------------------------------------------------------------------


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.001, momentum=0.5, centered=True),
}
SCHEDULES = {
    "none": lambda o: None,
    "onecycle": lambda o: lr_scheduler.OneCycleLR(o, 0.01, total_steps=18),
    "steps": lambda o: lr_scheduler.MultiStepLR(o, [2, 4]),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
}


@pytest.mark.parametrize(
    ("optimizer", "schedule", "average"),
    [
        ("sgd", "none", None),
        ("adamw", "onecycle", "ema"),
        ("rmsprop", "steps", "swa"),
        ("sgd", "plateau", None),
    ],
)
def test_resumes_bit_for_bit(tmp_path: Path, optimizer: str, schedule: str, average: Any) -> None:
    def everything() -> tuple[Trainer, DataLoader, DataLoader]:
        model = norm_model()
        made = OPTIMIZERS[optimizer](model.parameters())
        averaged = {
            None: lambda: None,
            "ema": lambda: optim.ExponentialMovingAverage(model, 0.9),
            "swa": lambda: optim.AveragedModel(model),
        }[average]()
        trainer = trainer_of(
            model,
            optimizer=made,
            scheduler=SCHEDULES[schedule](made),
            average=averaged,
            average_from=1,
            callbacks=[EarlyStopping(20)],
            clip_grad_norm=2.0,
            l1=1e-4,
        )
        return trainer, loader(workers=2), plain_loader()

    whole, *data = everything()
    whole.fit(*data, epochs=6)

    path = tmp_path / "checkpoint.safetensors"
    first, *data = everything()
    first.fit(*data, epochs=2, checkpoint=path)
    second, *data = everything()
    pyconv.manual_seed(999)  # all of it comes from the file
    second.fit(*data, epochs=4, checkpoint=path, resume=path)
    third, *data = everything()
    third.fit(*data, epochs=6, resume=path)

    assert bits(third.model) == bits(whole.model)
    assert bits(third.result) == bits(whole.result)
    assert without_time(third.history) == without_time(whole.history)


class Interruption(training.Callback):
    """Ctrl-C in the midst of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_batch_end(self, trainer: Trainer) -> None:
        if trainer.epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_interruption_leaves_a_usable_checkpoint(tmp_path: Path, epoch: int) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        trainer_of(small_model(), callbacks=[Interruption(epoch)]).fit(
            loader(workers=1), epochs=4, checkpoint=path
        )
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    resumed = trainer_of(small_model(), callbacks=[Interruption(99)])
    resumed.fit(loader(), epochs=4, resume=path)
    whole = trainer_of(small_model(), callbacks=[Interruption(99)])
    whole.fit(loader(), epochs=4)
    assert bits(resumed.model) == bits(whole.model)
    assert len(resumed.history) == 4
    again = pyconv.load(path)  # a checkpoint is a model, too
    assert type(again) is nn.Sequential and not again.training


def test_fit_goes_on_where_it_was() -> None:
    parts, whole = trainer_of(small_model()), trainer_of(small_model())
    data = loader()
    pyconv.manual_seed(5)
    parts.fit(data, epochs=2)
    parts.fit(data, epochs=5)
    pyconv.manual_seed(5)
    whole.fit(loader(), epochs=5)
    assert bits(parts.model) == bits(whole.model) and parts.epoch == 5


def test_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    trainer_of(small_model()).fit(loader(), epochs=1, checkpoint=path)

    def refused(trainer: Trainer, match: str, error: type = ValueError, file: Any = path) -> None:
        with pytest.raises(error, match=match):
            trainer.fit(loader(), epochs=2, resume=file)

    refused(trainer_of(norm_model()), "checkpoint.safetensors: load_state_dict")
    refused(trainer_of(small_model(), callbacks=[print]), "state of 0 callbacks, this .* has 1")
    model = small_model()
    refused(
        trainer_of(model, average=optim.AveragedModel(model)),
        "a training without an average, this one is with",
    )
    optimizer = optim.SGD(model.parameters(), 0.1)
    schedule = lr_scheduler.StepLR(optimizer, 1)
    refused(trainer_of(model, optimizer=optimizer, scheduler=schedule), "has a scheduler, one has")
    refused(trainer_of(small_model()), "nowhere", FileNotFoundError, tmp_path / "nowhere")
    pyconv.save(small_model(), path)
    refused(trainer_of(small_model()), "is no checkpoint")


# -- early stopping -------------------------------------------------------------------------------


class Script(training.Callback):
    """Puts other numbers into the history, and notes the weights of each epoch."""

    def __init__(self, values: list[float]) -> None:
        self.values = values
        self.seen: list[dict[str, bytes]] = []

    def on_epoch_end(self, trainer: Trainer) -> None:
        trainer.record["validation_loss"] = self.values[trainer.epoch - 1]
        self.seen.append(bits(trainer.model))


def test_early_stopping_restores_the_best() -> None:
    script = Script([3.0, 1.0, 2.0, 1.0, 0.5])
    stopping = EarlyStopping(2)
    trainer = trainer_of(small_model(), callbacks=[script, stopping])
    trainer.fit(loader(), epochs=5)
    assert trainer.epoch == 4  # 2.0 and 1.0 are not better than 1.0
    assert (stopping.best, stopping.best_epoch) == (1.0, 2)
    assert bits(trainer.model) == script.seen[1]


def test_the_best_is_restored_without_stopping_too() -> None:
    script = Script([3.0, 1.0, math.nan])
    trainer = trainer_of(small_model(), callbacks=[script, EarlyStopping(9)])
    trainer.fit(loader(), epochs=3)
    assert trainer.epoch == 3 and bits(trainer.model) == script.seen[1]


def test_early_stopping_goes_on_after_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    values = [1.0, 2.0, 2.0, 2.0]
    first = trainer_of(small_model(), callbacks=[Script(values), EarlyStopping(3)])
    first.fit(loader(), epochs=2, checkpoint=path)
    best = bits(first.model)
    second = trainer_of(small_model(), callbacks=[Script(values), EarlyStopping(3)])
    second.fit(loader(), epochs=9, checkpoint=path, resume=path)
    assert second.epoch == 4 and bits(second.model) == best
    third = trainer_of(small_model(), callbacks=[Script(values), EarlyStopping(3)])
    third.fit(loader(), epochs=9, resume=path)  # it had stopped: nothing more to do
    assert third.epoch == 4 and bits(third.model) == best


def test_early_stopping_by_accuracy_and_delta() -> None:
    class Accuracies(Script):
        def on_epoch_end(self, trainer: Trainer) -> None:
            trainer.record["validation_accuracy"] = self.values[trainer.epoch - 1]

    stopping = EarlyStopping(1, "validation_accuracy", min_delta=0.1)
    trainer = trainer_of(small_model(), callbacks=[Accuracies([0.5, 0.7, 0.75]), stopping])
    trainer.fit(loader(), epochs=3)
    assert trainer.epoch == 3 and stopping.best == 0.7


def test_early_stopping_refuses() -> None:
    for arguments, error, match in (
        ((0,), ValueError, "patience must be at least 1"),
        ((1.5,), TypeError, "patience must be an int"),
        ((1, 3), TypeError, "monitor must be a str"),
        ((1, "loss", -1), ValueError, "min_delta must be at least 0"),
    ):
        with pytest.raises(error, match=match):
            EarlyStopping(*arguments)
    trainer = trainer_of(small_model(), callbacks=[EarlyStopping(1)])
    with pytest.raises(ValueError, match="no 'validation_loss'; it has loss, accuracy, lr"):
        trainer.fit(loader(), epochs=1)


# -- what is done to the gradients and weights ----------------------------------------------------


def test_l1_and_clipping() -> None:
    def step(**options: Any) -> np.ndarray:
        model = nn.Linear(2, 1)
        model.weight.data[...] = [[1.0, -1.0]]
        model.bias.data[...] = 1
        trainer = Trainer(model, optim.SGD(model.parameters(), 1.0),
                          lambda y, t: (y * 0).sum() if "l1" in options else (y * 10).sum(),
                          progress=False, **options)  # fmt: skip
        trainer.fit([(np.array([[3.0, 4.0]], np.float32), np.zeros(1))], epochs=1)
        return np.append(model.weight.data, model.bias.data)

    assert step(l1=0.25).tolist() == [0.75, -0.75, 1.0]  # towards 0; biases are spared
    moved = step(clip_grad_norm=1.0) - [1, -1, 1]
    assert np.linalg.norm(moved) == pytest.approx(1, rel=1e-5)
    assert moved == pytest.approx(-np.array([3, 4, 1]) / math.sqrt(26), rel=1e-5)


def test_schedules_step_by_batch_or_epoch() -> None:
    def rates(make: Any, **options: Any) -> list[float]:
        model = small_model()
        optimizer = optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
        trainer = trainer_of(model, optimizer=optimizer, scheduler=make(optimizer), **options)
        return [record["lr"] for record in trainer.fit(loader(), epochs=3)]

    def halve(o: optim.Optimizer) -> Any:
        return lr_scheduler.ExponentialLR(o, 0.5)

    assert rates(halve) == [1.0, 0.5, 0.25]
    assert rates(halve, scheduler_per="batch") == [1 / 8, 1 / 64, 1 / 512]  # three batches
    warm = rates(lambda o: lr_scheduler.LinearWarmup(o, 9, 0.1))
    assert warm == pytest.approx([0.4, 0.7, 1.0])


def test_plateau_gets_the_loss() -> None:
    model = small_model()
    optimizer = optim.SGD(model.parameters(), lr=0.0)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer)
    trainer = trainer_of(model, optimizer=optimizer, scheduler=schedule)
    history = trainer.fit(loader(), plain_loader(), epochs=2)
    assert schedule.best == min(r["validation_loss"] for r in history)


def test_average_is_evaluated_with_statistics_of_its_own() -> None:
    model = norm_model()
    average = optim.AveragedModel(model)
    trainer = trainer_of(model, average=average, average_from=1)
    assert trainer.result is model
    seen = []

    class Note(training.Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            if trainer.epoch >= 1:
                seen.append(trainer.model.state_dict()["0.weight"].copy())

    trainer.callbacks.append(Note())
    data = plain_loader()
    trainer.fit(data, epochs=3)
    assert trainer.result is average.module and len(seen) == 4 == average.n_averaged.item()
    assert np.allclose(average.module[0].weight.data, np.mean(seen, 0), atol=1e-6)
    assert average.module[1].num_batches_tracked.item() == len(data)
    x = data.transform(data.dataset.x, None)[:32]
    mean = average.module[0](x).numpy().mean((0, 2, 3))
    rest = average.module[0](data.transform(data.dataset.x, None)[32:]).numpy().mean((0, 2, 3))
    assert np.allclose(average.module[1].running_mean.data, (mean + rest) / 2, atol=1e-5)
    assert trainer.evaluate(data) == trainer.evaluate(data, average.module)
    assert not average.training


def test_line_search_optimizers() -> None:
    pyconv.manual_seed(0)
    model = models.mlp(2, 64, ())
    x, y = pictures()
    data = [((x / np.float32(255)).astype(np.float32), y)]
    optimizer = optim.LBFGS(model.parameters(), max_iter=5, line_search_fn="strong_wolfe")
    trainer = trainer_of(model, optimizer=optimizer)
    history = trainer.fit(data, epochs=4)
    assert history[-1]["loss"] < 0.2 * history[0]["loss"]


# -- the way --------------------------------------------------------------------------------------


def test_callbacks_are_called_in_turn() -> None:
    calls: list[str] = []

    class Note(training.Callback):
        def on_fit_begin(self, trainer: Trainer) -> None:
            calls.append(f"begin {trainer.epoch}")

        def on_batch_end(self, trainer: Trainer) -> None:
            calls.append("batch")

        def on_epoch_end(self, trainer: Trainer) -> None:
            calls.append(f"epoch {trainer.epoch} {trainer.record is trainer.history[-1]}")

        def on_fit_end(self, trainer: Trainer) -> None:
            calls.append("end")

    def stop(trainer: Trainer) -> None:
        calls.append("callable")
        trainer.stop = True

    trainer_of(small_model(), callbacks=[Note(), stop]).fit(loader(), epochs=5)
    assert calls == ["begin 0", *["batch"] * 3, "epoch 1 True", "callable", "end"]


def test_the_bar_shows_loss_and_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    model = small_model()
    Trainer(model, optim.SGD(model.parameters(), 0.1)).fit(loader(), plain_loader(), epochs=1)
    out, err = capsys.readouterr()
    assert out == "" and "epoch 1/1: 100%" in err
    for word in ("loss=", "accuracy=", "validation_loss=", "validation_accuracy="):
        assert word in err
    trainer_of(model).fit(loader(), epochs=1)
    assert capsys.readouterr().err == ""


def test_predict_keeps_order_and_mode() -> None:
    model = small_model()
    data = plain_loader()
    found = training.predict(model, data)
    assert found.shape == (48, 2) and model.training
    model.eval()
    assert np.allclose(found, model(T.ToFloat()(data.dataset.x)).numpy(), atol=1e-6)
    with pytest.raises(ValueError, match="predict: data has no batches"):
        training.predict(model, [])


def test_ensemble_averages() -> None:
    pair = [models.mlp(2, 4, ()), models.mlp(2, 4, ())]
    x = np.ones((3, 4), np.float32)
    together = pyconv.Ensemble(pair)(x).numpy()
    assert np.allclose(together, (pair[0](x).numpy() + pair[1](x).numpy()) / 2)


def test_checkpoints_carry_metadata(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    trainer = trainer_of(small_model())
    trainer.metadata = {"classes": ["a", "b"]}
    trainer.fit(loader(), epochs=1, checkpoint=path)
    state, metadata = io.load_state(path)
    assert metadata["classes"] == ["a", "b"] and metadata["checkpoint"]["epoch"] == 1
    assert state["model.1.weight"].shape == (8, 64)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"model": 3}, TypeError, "model must be of type Module, got int"),
        ({"optimizer": 3}, TypeError, "optimizer must be of type Optimizer, got int"),
        ({"loss": 3}, TypeError, "loss must be callable"),
        ({"scheduler": 3}, TypeError, "scheduler must have a step"),
        ({"scheduler_per": "x"}, ValueError, 'scheduler_per must be "auto"'),
        ({"callbacks": [3]}, TypeError, "callbacks must be Callbacks or callable"),
        ({"clip_grad_norm": -1}, ValueError, "clip_grad_norm must be at least 0"),
        ({"l1": "x"}, TypeError, "l1 must be a number"),
        ({"average": 3}, TypeError, "average must be of type AveragedModel"),
        ({"average_from": -1}, ValueError, "average_from must be at least 0"),
        ({"device": 3}, TypeError, "device must be a str"),
        ({"progress": 3}, TypeError, "progress must be a bool"),
    ],
)
def test_trainer_refuses(change: dict, error: type, match: str) -> None:
    model = small_model()
    arguments = {"model": model, "optimizer": optim.SGD(model.parameters(), 0.1), **change}
    with pytest.raises(error, match=match):
        Trainer(**arguments)


def test_fit_refuses() -> None:
    trainer = trainer_of(small_model())
    with pytest.raises(TypeError, match="train can be gone through only once"):
        trainer.fit(iter(loader()))
    with pytest.raises(TypeError, match="validation must be a DataLoader or an iterable"):
        trainer.fit(loader(), 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="epochs must be at least 0"):
        trainer.fit(loader(), epochs=-1)
    with pytest.raises(ValueError, match="fit: data has no samples"):
        trainer.fit([], epochs=1)
    with pytest.raises(ValueError, match="evaluate: data has no samples"):
        trainer.evaluate([])
