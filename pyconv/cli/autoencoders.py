"""What the commands of `pyconv.recipes.autoencoding` share: what is learned from, and a network
that is there or is trained first."""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from typing import TYPE_CHECKING, Any

from pyconv.cli.common import UsageError, at_least, class_index, load_model, times
from pyconv.cli.recipe import pictures_in

if TYPE_CHECKING:
    import numpy as np

    from pyconv.nn import Module

ENDING = ".safetensors"
DENOISER_NOISE = (0.05, 0.2)  # that is learned from
_TEST_SHARE = 5  # one picture of a folder in so many is for the test


@dataclasses.dataclass
class Pictures:
    """What is learned from, and what is looked at afterwards: N×C×H×W, uint8 or floats in 0..1."""

    train: np.ndarray
    test: np.ndarray
    classes: tuple[str, ...] = ()
    train_y: Any = None
    test_y: Any = None

    def without(self, name: str) -> tuple[Pictures, int]:
        """The training pictures without those of a class, by name or number; and its number."""
        k = class_index(name, self.classes)
        if k >= len(self.classes):
            raise UsageError(f"there are classes from 0 to {len(self.classes) - 1}, got {name}")
        kept = self.train_y != k
        return dataclasses.replace(self, train=self.train[kept], train_y=self.train_y[kept]), k


def add_training(parser: argparse.ArgumentParser, what: str, epochs: int, output: str) -> None:
    """``--train`` and how it is done."""
    group = parser.add_argument_group("training")
    group.add_argument("--train", metavar="WHAT", help=what)
    group.add_argument(
        "-o", "--output", metavar="NET", help=f"where the network goes (default: {output})"
    )
    group.add_argument(
        "--epochs", type=at_least(1), default=epochs, metavar="N", help="default: %(default)s"
    )


def files_given(names: list[str]) -> tuple[str | None, list[str]]:
    """The network among the files, and the pictures."""
    nets = [name for name in names if name.endswith(ENDING)]
    if len(nets) > 1:
        raise UsageError(f"one network is expected, got {' '.join(nets)}")
    return nets[0] if nets else None, [name for name in names if not name.endswith(ENDING)]


def default_file(kind: str, what: str) -> str:
    """Where a network goes that was trained on something."""
    return f"{kind}-{os.path.basename(os.path.abspath(what))}{ENDING}"


def data_set(what: str, size: tuple[int, ...] | None = None) -> Pictures | None:
    """One by name, or a folder of IDX files or of classes; None for a folder without classes."""
    from pyconv.data import idx, load_dataset

    if os.path.isdir(what) and not idx.is_folder(what):
        entries = [os.path.join(what, entry) for entry in os.listdir(what)]
        if not any(os.path.isdir(entry) for entry in entries):
            return None
        found = load_dataset(what, size=size)
    else:
        found = load_dataset(what)
    train, test = found.train, found.test
    return Pictures(train.x, test.x, tuple(found.classes), train.y, test.y)


def folder_of(what: str, size: tuple[int, ...] | None, fallback: tuple[int, ...]) -> Pictures:
    """All pictures of a folder in one size, by default their own; every fifth is for the test."""
    import numpy as np

    from pyconv.data import read_picture

    names = pictures_in(what)
    found = [read_picture(name, None, size) for name in names]
    if len({p.shape[1:] for p in found}) > 1:
        found = [read_picture(name, None, fallback) for name in names]
    channels = max(len(p) for p in found)
    x = np.stack([np.broadcast_to(p, (channels, *p.shape[1:])) for p in found])
    test = np.arange(len(x)) % _TEST_SHARE == _TEST_SHARE - 1
    return Pictures(x[~test], x[test] if test.any() else x)


def whole_pictures(what: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The pictures that come with pyconv, or those of a folder: C×H×W in 0..1, in their sizes, to
    learn from and for the test."""
    import numpy as np

    from pyconv.data import read_picture, sample_picture, sample_pictures

    if what == "samples":
        found = [sample_picture(name) for name in sample_pictures()]
    else:
        found = [read_picture(name) for name in pictures_in(what)]
    channels = max(len(p) for p in found)
    floats = [np.broadcast_to(p, (channels, *p.shape[1:])) / np.float32(255) for p in found]
    train = [p for i, p in enumerate(floats) if i % _TEST_SHARE != _TEST_SHARE - 1]
    return train, floats[_TEST_SHARE - 1 :: _TEST_SHARE] or floats


def trained(
    arguments: argparse.Namespace, x: np.ndarray, path: str, notes: dict[str, Any], **options: Any
) -> Module:
    """Train an autoencoder, say how long that will take, save it."""
    import pyconv
    from pyconv.recipes import autoencoding

    options = {"device": arguments.device, "seed": arguments.seed, **options}
    quiet = arguments.quiet
    if not quiet:
        print(
            f"training on {len(x)} pictures of {times(x.shape[1:])} from {notes['data']}, "
            f"{options['epochs']} epochs: {_about(x, options)}",
            flush=True,
        )
    found = autoencoding.fit(x, progress=not quiet, **options)
    model = found.model
    model.metadata.update(notes)
    pyconv.save(model, path)
    last = found.history[-1]
    print(
        f"mean squared error {last['validation_loss']:.5f} on pictures not learned from; network "
        f"saved in {path}",
        flush=True,
    )
    return model


def _about(x: np.ndarray, options: dict[str, Any]) -> str:
    """How long a training will take, by the time of its first steps."""
    from pyconv.recipes import autoencoding

    few = x[: min(len(x), 160)]
    begin = time.perf_counter()
    autoencoding.fit(few, progress=False, **{**options, "epochs": 1})
    seconds = (time.perf_counter() - begin) / len(few) * len(x) * options["epochs"]
    if seconds > 90:
        return f"about {seconds / 60:.0f} minutes"
    return f"about {max(round(seconds / 5) * 5, 5)} seconds"


def loaded(path: str, quiet: bool, device: str) -> tuple[Module, dict[str, Any]]:
    """An autoencoder from its file, and what is known of it."""
    model, metadata = load_model(path)
    if "autoencoding" not in metadata:
        raise ValueError(f"{path} is no autoencoder that pyconv has trained")
    if not quiet:
        print(f"the network is {path}, trained on {metadata.get('data', 'pictures')}", flush=True)
    if device != "cpu":
        model.to(device)
    return model, metadata
