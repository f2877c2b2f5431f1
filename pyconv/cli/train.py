"""``pyconv train``."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING, Any

from pyconv.cli.common import (
    UsageError,
    accuracy_table,
    add_running,
    at_least,
    between,
    check_folder,
    check_matplotlib,
    confusion_matrix,
    confusion_table,
    key_and_value,
    load_data,
    print_json,
    save_figure,
    shape,
    start,
    times,
)

if TYPE_CHECKING:
    from pyconv.data import DataLoader, Dataset
    from pyconv.nn import Module
    from pyconv.optim import Optimizer
    from pyconv.training import Trainer

# What a training is made of. A checkpoint carries them all, so that `--resume` needs no other
# argument; those that are given win.
_DEFAULTS: dict[str, Any] = {
    "model": "small_resnet",
    "model_option": [],
    "data": "fashion-mnist",
    "size": None,
    "optimizer": "adamw",
    "lr": None,
    "momentum": 0.9,
    "weight_decay": None,
    "schedule": "onecycle",
    "epochs": 14,
    "batch_size": 64,
    "label_smoothing": 0.05,
    "shift": None,
    "flip": None,
    "average": "none",
    "clip_grad_norm": None,
    "l1": 0.0,
    "patience": None,
    "validation": 0.1,
    "seed": 0,
    "workers": 1,
}
_LR = {"sgd": 0.1, "adam": 3e-3, "adamw": 6e-3, "rmsprop": 1e-3}
_WEIGHT_DECAY = {"sgd": 5e-4, "adam": 0.0, "adamw": 2e-2, "rmsprop": 0.0}
_SMALL_SIDE = 64  # pictures below this get the small stem of a residual network
_SIDES_PER_SHIFT = 28  # a picture is moved by up to its side divided by this
_EVALUATION_BATCH = 250

_EPILOG = """examples:
  pyconv train                                    the pictures that come with pyconv, in a minute
  pyconv train --model cifar_resnet --model-option depth=20 --epochs 20 --plot
  pyconv train --data FOLDER --size 32x32         a folder of pictures, one sub-folder a class
  pyconv train --data FOLDER --download           all 70,000 pictures of Fashion-MNIST
  pyconv train --resume model.checkpoint.safetensors
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv train``."""
    parser.epilog = _EPILOG
    d = _DEFAULTS

    def add(group: Any, flag: str, text: str, **options: Any) -> None:
        # Not given, an argument is not there at all: it may come from a checkpoint.
        group.add_argument(flag, default=argparse.SUPPRESS, help=text, **options)

    what = parser.add_argument_group("what is trained on what")
    add(what, "--model", f"a name of pyconv.models (default: {d['model']})", metavar="NAME")
    add(
        what,
        "--model-option",
        "an argument of the model, such as width=32; may be repeated",
        metavar="KEY=VALUE",
        type=key_and_value,
        action="append",
    )
    add(
        what,
        "--data",
        "fashion-mnist (5,000 training and 1,000 test pictures that come with pyconv), digits, a "
        "folder of IDX files, or a folder of pictures with one sub-folder a class "
        f"(default: {d['data']})",
        metavar="NAME",
    )
    what.add_argument(
        "--download",
        action="store_true",
        help="bring all of Fashion-MNIST into the folder that --data names, first",
    )
    add(what, "--size", "scale the pictures of a folder", type=shape, metavar="HxW")
    add(
        what,
        "--validation",
        f"the share of the training pictures kept for validation (default: {d['validation']})",
        type=between(0.0, 0.9),
        metavar="SHARE",
    )
    add(
        what,
        "--shift",
        "move each training picture by up to so many cells, at random (default: a 28th of the "
        "side)",
        type=at_least(0),
        metavar="CELLS",
    )
    add(
        what,
        "--flip",
        "mirror every other training picture, at random (default: yes, unless the classes are "
        "numbers)",
        action=argparse.BooleanOptionalAction,
    )

    how = parser.add_argument_group("how")
    add(how, "--optimizer", f"default: {d['optimizer']}", choices=tuple(_LR))
    add(
        how,
        "--lr",
        "learning rate, the largest of the schedule (default: "
        + ", ".join(f"{v:g} for {k}" for k, v in _LR.items())
        + ")",
        type=between(0.0),
        metavar="RATE",
    )
    add(how, "--momentum", "of sgd and rmsprop (default: 0.9)", type=between(0.0, 1.0), metavar="M")
    add(
        how,
        "--weight-decay",
        "L2 regularisation (default: "
        + ", ".join(f"{v:g} for {k}" for k, v in _WEIGHT_DECAY.items())
        + ")",
        type=between(0.0),
        metavar="W",
    )
    add(how, "--l1", "L1 regularisation (default: 0)", type=between(0.0), metavar="W")
    add(
        how,
        "--schedule",
        f"of the learning rate (default: {d['schedule']})",
        choices=("onecycle", "cosine", "constant"),
    )
    add(how, "--epochs", f"default: {d['epochs']}", type=at_least(1), metavar="N")
    add(how, "--batch-size", f"default: {d['batch_size']}", type=at_least(1), metavar="N")
    add(
        how,
        "--label-smoothing",
        f"default: {d['label_smoothing']}",
        type=between(0.0, 1.0),
        metavar="S",
    )
    add(
        how,
        "--average",
        "use an average of the weights: ema, exponential; swa, over the last quarter "
        f"(default: {d['average']})",
        choices=("none", "ema", "swa"),
    )
    add(
        how,
        "--clip-grad-norm",
        "the largest norm of the gradient (default: no limit)",
        type=between(0.0, open_low=True),
        metavar="NORM",
    )
    add(
        how,
        "--patience",
        "stop when the validation loss has not got better for N epochs, and take the best "
        "(default: don't)",
        type=at_least(1),
        metavar="N",
    )
    add(
        how,
        "--seed",
        f"of all random numbers (default: {d['seed']})",
        type=at_least(0),
        metavar="N",
    )
    add(
        how,
        "--workers",
        f"threads that prepare batches (default: {d['workers']})",
        type=at_least(0),
        metavar="N",
    )

    files = parser.add_argument_group("files and output")
    files.add_argument(
        "-o",
        "--output",
        default="model.safetensors",
        metavar="FILE",
        help="where the model goes (default: %(default)s)",
    )
    files.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="written after each epoch (default: beside the output, and removed at the end)",
    )
    files.add_argument("--resume", metavar="FILE", help="go on from a checkpoint")
    files.add_argument(
        "--plot",
        nargs="?",
        const="",
        metavar="FILE",
        help="draw loss and accuracy against the epoch (default file: beside the output, .png)",
    )
    files.add_argument("--confusion", action="store_true", help="print the confusion matrix")
    files.add_argument("--quiet", action="store_true", help="no progress bar")
    add_running(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train, test once, save."""
    begin = time.perf_counter()
    start(arguments)
    settings = _settings(arguments)
    stem = os.path.splitext(arguments.output)[0]
    plot = None if arguments.plot is None else arguments.plot or f"{stem}.png"
    if plot is not None:
        check_matplotlib("--plot")
    check_folder(arguments.output)
    checkpoint = arguments.checkpoint or f"{stem}.checkpoint.safetensors"

    import pyconv

    data = _data(arguments, settings)
    pyconv.manual_seed(settings["seed"])
    model = _model(settings, data)
    train, validation, test, normalization = _loaders(settings, data)
    trainer = _trainer(model, settings, len(train), arguments)
    notes = {
        "classes": list(data.classes),
        "input_shape": list(data.train.x.shape[1:]),
        "normalization": normalization,
        "data": settings["data"],
        "size": settings["size"],
        "settings": settings,
    }
    trainer.metadata = notes
    parameters = sum(p.data.size for p in model.parameters())
    print(
        f"{settings['model']}, {parameters:,} parameters; {settings['data']}: "
        f"{len(train.dataset)} pictures to train, "
        f"{0 if validation is None else len(validation.dataset)} to validate, "
        f"{len(test.dataset)} to test",
        flush=True,
    )
    try:
        trainer.fit(
            train, validation, settings["epochs"], checkpoint=checkpoint, resume=arguments.resume
        )
    except KeyboardInterrupt:
        way = f"; go on with --resume {checkpoint}" if os.path.exists(checkpoint) else ""
        raise KeyboardInterrupt(way) from None
    result = trainer.result
    metrics, confusion = _test(result, test, len(data.classes), arguments.device)
    seconds = time.perf_counter() - begin
    pyconv.save(result, arguments.output, {**notes, "test_accuracy": metrics["test_accuracy"]})
    if arguments.checkpoint is None and os.path.exists(checkpoint):
        os.remove(checkpoint)

    print(f"\n{accuracy_table(confusion, data.classes)}")
    if arguments.confusion:
        print(f"\n{confusion_table(confusion, data.classes)}")
    if plot is not None:
        _draw(trainer.history, plot)
        print(f"\nhistory drawn in {plot}")
    print(
        f"\ntest accuracy {metrics['test_accuracy']:.2%} after {trainer.epoch} epochs, "
        f"{seconds:.1f} s; model saved in {arguments.output}"
    )
    if arguments.json:
        last = trainer.history[-1] if trainer.history else {}
        print_json(
            {
                **metrics,
                "validation_accuracy": last.get("validation_accuracy"),
                "seconds": seconds,
                "epochs": trainer.epoch,
                "parameters": parameters,
                "device": arguments.device,
                "isa": pyconv.info()["isa"],
                "threads": pyconv.get_num_threads(),
                "model_file": arguments.output,
                "model": settings["model"],
                "data": settings["data"],
                "seed": settings["seed"],
            }
        )


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Defaults, then what the checkpoint says, then what was given."""
    given = {k: v for k, v in vars(arguments).items() if k in _DEFAULTS}
    stored: dict[str, Any] = {}
    if arguments.resume is not None:
        from pyconv.io import load_state

        stored = load_state(arguments.resume)[1].get("settings") or {}
        if not stored:
            raise ValueError(f"{arguments.resume} is no checkpoint of pyconv train")
    settings = {**_DEFAULTS, **{k: v for k, v in stored.items() if k in _DEFAULTS}, **given}
    name = settings["optimizer"]
    if settings["lr"] is None:
        settings["lr"] = _LR[name]
    if settings["weight_decay"] is None:
        settings["weight_decay"] = _WEIGHT_DECAY[name]
    if settings["patience"] is not None and not settings["validation"]:
        raise UsageError("--patience needs a --validation above 0")
    return settings


def _data(arguments: argparse.Namespace, settings: dict[str, Any]) -> Dataset:
    if not arguments.download:
        size = settings["size"]
        return load_data(settings["data"], None if size is None else tuple(size))
    if settings["data"] in ("fashion-mnist", "digits"):
        raise UsageError("--download needs --data FOLDER, where the files are to go")
    from pyconv.data import load_dataset

    return load_dataset("fashion-mnist", settings["data"], download=True)


def _model(settings: dict[str, Any], data: Dataset) -> Module:
    import numpy as np

    from pyconv import models, no_grad

    name, shape_ = settings["model"], data.train.x.shape[1:]
    if name not in models.names():
        raise UsageError(f"--model must be one of {', '.join(models.names())}, got {name!r}")
    if name in ("autoencoder", "transformer_net", "unet"):
        raise UsageError(f"--model {name} is no classifier")
    fitting: dict[str, Any] = {
        "num_classes": len(data.classes),
        "in_channels": shape_[0],
        "in_features": shape_[0] * shape_[1] * shape_[2],
        "image_size": shape_[1],
        "stem": "cifar" if min(shape_[1:]) < _SMALL_SIDE else "imagenet",
    }
    known = models.arguments_of(name)
    options = {k: v for k, v in fitting.items() if k in known}
    options.update(dict(map(tuple, settings["model_option"])))
    try:
        model = models.build(name, **options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"--model {name}: {error}") from None
    try:
        with no_grad():
            model.eval()(np.zeros((1, *shape_), np.float32))
    except ValueError as error:
        pictures = times(shape_)
        raise UsageError(f"--model {name} can't take pictures of {pictures}: {error}") from None
    return model


def _loaders(
    settings: dict[str, Any], data: Dataset
) -> tuple[DataLoader, DataLoader | None, DataLoader, dict[str, list[float]]]:
    """Training, validation and test pictures; mean and deviation of the training ones."""
    from pyconv.data import DataLoader, random_split
    from pyconv.data import transforms as t

    train, validation = random_split(data.train, settings["validation"], settings["seed"])
    if len(train) == 0 or (settings["validation"] and len(validation) == 0):
        raise ValueError(f"{settings['data']} has too few pictures: {len(data.train)} to train on")
    normalize = t.Normalize.of(train.x)
    steps: list[t.Transform] = []
    shift, flip = settings["shift"], settings["flip"]
    if shift is None:
        shift = max(min(train.x.shape[2:]) // _SIDES_PER_SHIFT, 1)
    if flip is None:
        flip = not all(name.isdigit() for name in data.classes)
    if shift:
        steps.append(t.RandomShift(shift))
    if flip:
        steps.append(t.RandomHorizontalFlip())
    workers = settings["workers"]
    loader = DataLoader(
        train,
        settings["batch_size"],
        shuffle=True,
        seed=settings["seed"],
        # A last batch of a few pictures would give batch norm poor statistics.
        drop_last=len(train) > settings["batch_size"],
        transform=t.Compose([*steps, normalize]),
        workers=workers,
    )

    def plain(split: Any) -> DataLoader:
        return DataLoader(split, _EVALUATION_BATCH, transform=normalize, workers=workers)

    numbers = {"mean": normalize.mean.tolist(), "std": normalize.std.tolist()}
    return loader, plain(validation) if len(validation) else None, plain(data.test), numbers


def _trainer(
    model: Module, settings: dict[str, Any], batches: int, arguments: argparse.Namespace
) -> Trainer:
    from pyconv import functional, optim
    from pyconv.training import EarlyStopping, Trainer

    optimizer = _optimizer(model, settings)
    steps = settings["epochs"] * batches
    scheduler: Any = None
    if settings["schedule"] == "onecycle":
        scheduler = optim.lr_scheduler.OneCycleLR(
            optimizer, settings["lr"], total_steps=steps, pct_start=0.25
        )
    elif settings["schedule"] == "cosine":
        scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    average: Any = None
    if settings["average"] == "ema":
        average = optim.ExponentialMovingAverage(model, 0.99)
    elif settings["average"] == "swa":
        average = optim.AveragedModel(model)
    smoothing = settings["label_smoothing"]

    def loss(output: Any, target: Any) -> Any:
        return functional.cross_entropy(output, target, label_smoothing=smoothing)

    patience = settings["patience"]
    return Trainer(
        model,
        optimizer,
        loss,
        scheduler=scheduler,
        scheduler_per="batch",
        callbacks=[EarlyStopping(patience)] if patience else [],
        clip_grad_norm=settings["clip_grad_norm"],
        l1=settings["l1"],
        average=average,
        average_from=settings["epochs"] * 3 // 4 if settings["average"] == "swa" else 0,
        device=None if arguments.device == "cpu" else arguments.device,
        progress=not arguments.quiet,
    )


def _optimizer(model: Module, settings: dict[str, Any]) -> Optimizer:
    from pyconv import optim

    common = {"lr": settings["lr"], "weight_decay": settings["weight_decay"]}
    parameters, momentum = model.parameters(), settings["momentum"]
    if settings["optimizer"] == "sgd":
        return optim.SGD(parameters, momentum=momentum, nesterov=momentum > 0, **common)
    if settings["optimizer"] == "rmsprop":
        return optim.RMSprop(parameters, momentum=momentum, **common)
    kinds = {"adam": optim.Adam, "adamw": optim.AdamW}
    return kinds[settings["optimizer"]](parameters, **common)


def _test(model: Module, test: DataLoader, classes: int, device: str) -> tuple[dict[str, Any], Any]:
    """The one look at the test pictures."""
    from pyconv import functional, training

    scores = training.predict(model, test, device)
    y = test.dataset.y
    confusion = confusion_matrix(y, scores.argmax(1), classes)
    accuracy = float(confusion.trace() / max(confusion.sum(), 1))
    loss = functional.cross_entropy(scores, y).item()
    return {"test_accuracy": accuracy, "test_loss": loss}, confusion


def _draw(history: list[dict[str, Any]], path: str) -> None:
    """Loss and accuracy against the epoch."""
    from matplotlib.figure import Figure

    from pyconv.recipes._curves import curves

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        curves(axes, history, key)
    save_figure(figure, path)
