"""``pyconv manifold``."""

from __future__ import annotations

import argparse
import os
from typing import Any

from pyconv.cli.autoencoders import (
    DENOISER_NOISE,
    data_set,
    default_file,
    loaded,
    trained,
)
from pyconv.cli.common import (
    UsageError,
    at_least,
    between,
    check_folder,
    check_pictures,
    load_model,
)
from pyconv.cli.recipe import TRAINED, add_common, begin, finish

_MODEL = "manifold-{}.safetensors"
_CLASSIFIER = "manifold-classifier-{}.safetensors"
_EPILOG = f"""The autoencoder has a bottleneck of two numbers: it lays all pictures out on a plane.
The figure (--figure, needs the extra plot) shows where each class lies, what the plane looks like
decoded, which class a classifier takes each decoded point for, a walk between two pictures, and how
far natural, noisy, adversarial and dreamt pictures are from what a second autoencoder, the one of
pyconv denoise, makes of them; --out is the plane decoded alone.

Nothing has to be installed or trained before: on two cores the two autoencoders and the classifier
take about two minutes, once, on Fashion-MNIST, which comes with pyconv. They are kept in the folder
that you are in. If pyconv train has left {TRAINED} there, that is the classifier.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv manifold``."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--data",
        default="fashion-mnist",
        metavar="NAME",
        help="fashion-mnist, digits, or a folder of IDX files (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        metavar="NET",
        help="an autoencoder with two numbers in its bottleneck, of this command or of "
        "autoencoding.fit (default: trained, unless it is there already)",
    )
    parser.add_argument(
        "--judge",
        metavar="NET",
        help="an autoencoder whose error is the distance (default: the same)",
    )
    parser.add_argument(
        "--classifier",
        metavar="FILE",
        help=f"a network of pyconv train (default: {TRAINED}, if it takes such pictures; else the "
        "same)",
    )
    parser.add_argument(
        "--epochs",
        type=at_least(1),
        default=10,
        metavar="N",
        help="of each training (default: %(default)s)",
    )
    parser.add_argument(
        "--walk",
        type=int,
        nargs=2,
        metavar=("A", "B"),
        help="numbers of the test pictures that it goes between (default: the first two of "
        "different classes)",
    )
    parser.add_argument(
        "--grid", type=at_least(2), default=16, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--count",
        type=at_least(1),
        default=100,
        metavar="N",
        help="pictures that noise, attacks and dreams are made of (default: %(default)s)",
    )
    for name, default, text in (
        ("noise", 0.1, "standard deviation of the noise"),
        ("epsilon", 0.1, "the most that an attack changes a pixel"),
        ("dream-rate", 0.02, "how much a step of a dream changes a pixel, on average"),
    ):
        parser.add_argument(
            f"--{name}",
            type=between(0.0),
            default=default,
            metavar="S",
            help=f"{text} (default: %(default)s)",
        )
    add_common(parser, out="manifold.png", steps=20, size_help=None)


def run(arguments: argparse.Namespace) -> None:
    """Train what is missing, look."""
    import numpy as np

    from pyconv.recipes import autoencoding

    begin(arguments)
    data = data_set(arguments.data)
    if data is None:
        raise UsageError(f"--data: {arguments.data} has no classes")
    title = os.path.basename(os.path.abspath(arguments.data))
    model = _autoencoder(arguments, arguments.model, _MODEL.format(title), data.train, latent=2)
    judge = _autoencoder(
        arguments, arguments.judge, default_file("denoise", arguments.data), data.train,
        noise=DENOISER_NOISE, flip=True,
    )  # fmt: skip
    classifier = _classifier(arguments, _CLASSIFIER.format(title), data)
    x = data.test / np.float32(255)
    result = autoencoding.manifold(
        model, x, data.test_y, classes=data.classes, classifier=classifier, judge=judge,
        grid=arguments.grid, walk=None if arguments.walk is None else tuple(arguments.walk),
        count=arguments.count, noise=arguments.noise, epsilon=arguments.epsilon,
        dream_steps=arguments.steps, dream_rate=arguments.dream_rate, seed=arguments.seed,
        progress=not arguments.quiet,
    )  # fmt: skip
    print("pictures     changed by  distance  ROC-AUC against natural")
    for row in result.history:
        auc = f"{row['auc']:.3f}" if "auc" in row else ""
        print(f"{row['kind']:<12} {row['perturbation']:10.4f} {row['distance']:9.4f}  {auc}")
    finish(result, arguments, distances=result.history)


def _autoencoder(
    arguments: argparse.Namespace, given: str | None, path: str, x: Any, **options: Any
) -> Any:
    """The one that is given, or there, or trained now."""
    if given is not None or os.path.exists(path):
        model, metadata = loaded(given or path, arguments.quiet, arguments.device)
        check_pictures(x[:1], metadata)
        return model
    check_folder(path)
    notes = {"data": arguments.data}
    return trained(arguments, x, path, notes, epochs=arguments.epochs, **options)


def _classifier(arguments: argparse.Namespace, path: str, data: Any) -> Any:
    """The one that is given, or there, or trained now."""
    for name in (arguments.classifier, TRAINED, path):
        if name is None or (name != arguments.classifier and not os.path.exists(name)):
            continue
        model, metadata = load_model(name)
        fits = list(metadata.get("input_shape") or []) == list(data.train.shape[1:])
        if fits and metadata.get("classes") is not None:
            if not arguments.quiet:
                print(f"the classifier is {name}")
            return model if arguments.device == "cpu" else model.to(arguments.device)
        if name == arguments.classifier:
            raise ValueError(f"{name} is no classifier of such pictures as {arguments.data} has")
    return _trained_classifier(arguments, path, data)


def _trained_classifier(arguments: argparse.Namespace, path: str, data: Any) -> Any:
    """As ``pyconv train`` does it, but shorter."""
    import pyconv
    from pyconv import models, optim
    from pyconv.data import DataLoader
    from pyconv.data import transforms as t
    from pyconv.training import Trainer, predict

    check_folder(path)
    if not arguments.quiet:
        print("training a classifier", flush=True)
    normalize = t.Normalize.of(data.train)
    pyconv.manual_seed(arguments.seed)
    model = models.small_resnet(len(data.classes), data.train.shape[1], width=8)
    loader = DataLoader(
        (data.train, data.train_y), 64, shuffle=True, seed=arguments.seed, drop_last=True,
        transform=t.Compose([t.RandomHorizontalFlip(), normalize]),
    )  # fmt: skip
    optimizer = optim.AdamW(model.parameters(), lr=6e-3, weight_decay=2e-2)
    epochs = arguments.epochs
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=epochs * len(loader))
    device = None if arguments.device == "cpu" else arguments.device
    trainer = Trainer(
        model, optimizer, scheduler=schedule, device=device, progress=not arguments.quiet
    )
    trainer.fit(loader, epochs=epochs)
    test = DataLoader((data.test, data.test_y), 250, transform=normalize)
    right = (predict(model, test, device).argmax(1) == data.test_y).mean()
    metadata = {
        "classes": list(data.classes),
        "input_shape": list(data.train.shape[1:]),
        "normalization": {"mean": normalize.mean.tolist(), "std": normalize.std.tolist()},
        "data": arguments.data,
    }
    model.__dict__["metadata"] = metadata
    pyconv.save(model, path)
    print(f"the classifier is right on {right:.1%} of the test pictures; saved in {path}")
    return model.eval()
