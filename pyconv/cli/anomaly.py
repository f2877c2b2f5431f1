"""``pyconv anomaly``."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from pyconv.cli.autoencoders import (
    Pictures,
    add_training,
    data_set,
    default_file,
    files_given,
    folder_of,
    loaded,
    trained,
)
from pyconv.cli.common import UsageError, at_least, between, check_folder
from pyconv.cli.recipe import add_common, begin, finish, pictures_in

if TYPE_CHECKING:
    import numpy as np

_SIZE = 32
_SHOWN = 8  # pictures on the page, where many were scored
_WITHOUT = "Bag"
_EPILOG = """examples:
  pyconv anomaly                              clothes: trains without bags, and looks for them
  pyconv anomaly --train fashion-mnist --without Trouser
  pyconv anomaly --train FOLDER -o NET        what is usual is what the folder has
  pyconv anomaly NET PICTURE...               scores and heat maps

Nothing has to be installed or trained before. Without NET one is trained, in about a minute on two
cores, on Fashion-MNIST, which comes with pyconv, without one of its classes, and kept in the folder
that you are in. The same seed gives the same network.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv anomaly``."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="a network (.safetensors) that this command has trained; pictures, or folders of them "
        "(default: the test pictures of what the network was trained on)",
    )
    add_training(
        parser,
        "fashion-mnist, digits, a folder of IDX files, or one of pictures (default: fashion-mnist)",
        10,
        "anomaly-WHAT.safetensors",
    )
    parser.add_argument(
        "--without",
        metavar="CLASS",
        help="leave a class out of the training, by name or number, and measure how well it is "
        f"found (default: {_WITHOUT}, where nothing is given at all)",
    )
    parser.add_argument(
        "--latent",
        type=at_least(1),
        default=16,
        metavar="N",
        help="numbers in the bottleneck (default: %(default)s)",
    )
    parser.add_argument(
        "--quantile",
        type=between(0.0, 1.0),
        default=0.99,
        metavar="Q",
        help="of the usual pictures' scores is the threshold (default: %(default)s)",
    )
    parser.add_argument(
        "--invert",
        action="store_true",
        help="dark on bright becomes bright on dark, as the pictures of Fashion-MNIST are",
    )
    add_common(
        parser,
        out="anomaly.png",
        size=None,
        size_help="sides of the squares that the pictures of a folder are scaled to (default: "
        f"their own, where they have one size, otherwise {_SIZE})",
    )


def run(arguments: argparse.Namespace) -> None:
    """Train where that is needed, score, draw heat maps."""
    import numpy as np

    from pyconv.recipes import autoencoding

    begin(arguments)
    net, given = files_given(arguments.files)
    if net is not None and (arguments.train is not None or arguments.without is not None):
        raise UsageError("--train and --without make a network; NET is one that is there")
    names = [n for g in given for n in (pictures_in(g) if os.path.isdir(g) else [g])]
    for name in names:  # before the training, which a wrong name would waste
        if not os.path.exists(name):
            raise FileNotFoundError(f"{name}: no such file")
    model, metadata, path = _network(arguments, net)
    labels = None
    if names:
        x = _read(names, metadata["input_shape"], arguments.invert)
    else:
        x, labels, names = _test(metadata)
    result = autoencoding.anomaly(
        model, x, labels, quantile=arguments.quantile, seed=arguments.seed,
        progress=not arguments.quiet,
    )  # fmt: skip
    scores, flags = result.scores, result.anomalous
    known: dict[str, Any] = {
        "network": path,
        "threshold": result.threshold,
        "auc": result.auc,
        "anomalous": int(flags.sum()),
    }
    if labels is None and len(names) <= 1000:
        for name, score, flag in zip(names, scores, flags, strict=True):
            print(f"{name}: {score:.5f}{' anomalous' if flag else ''}")
        rows = zip(names, scores, flags, strict=True)
        known["pictures"] = [[n, float(s), bool(a)] for n, s, a in rows]
    print(
        f"{flags.sum()} of {len(flags)} pictures are anomalous: their mean squared error is above "
        f"{result.threshold:.5f}"
    )
    if labels is not None:
        print(
            f"{metadata['without']}, left out of the training: {flags[labels].mean():.0%} found, "
            f"ROC-AUC {result.auc:.3f}; of the others {flags[~labels].mean():.1%} are called "
            "anomalous"
        )
    if len(x) > _SHOWN:
        print("on the page: the pictures with the highest scores, and some in the middle")
        order = np.argsort(-scores, kind="stable")
        half = _SHOWN // 2
        chosen = np.concatenate([order[:half], order[len(order) // 2 :][:half]])
        page = autoencoding.anomaly(model, x[chosen], threshold=result.threshold, progress=False)
        page.history = result.history
        if arguments.figure is not None:
            page.figure = result.figure  # type: ignore[method-assign]
        result = page
    finish(result, arguments, **known)


def _network(arguments: argparse.Namespace, net: str | None) -> tuple[Any, dict[str, Any], str]:
    """The one that is given, or there, or trained now."""
    what = arguments.train or "fashion-mnist"
    path = net or arguments.output or default_file("anomaly", what)
    there = arguments.train is None and arguments.without is None and os.path.exists(path)
    if net is not None or there:
        model, metadata = loaded(path, arguments.quiet, arguments.device)
        return model, metadata, path
    check_folder(path)
    data = _data(what, arguments.size)
    notes: dict[str, Any] = {"data": what, "size": arguments.size}
    without = arguments.without
    if without is None and arguments.train is None:
        without = _WITHOUT
    x = data.train
    if without is not None:
        if data.train_y is None:
            raise UsageError(f"--without needs classes, and {what} has none")
        rest, k = data.without(without)
        x, notes["without"] = rest.train, data.classes[k]
        if not arguments.quiet:
            print(f"{data.classes[k]} is left out")
    model = trained(arguments, x, path, notes, latent=arguments.latent, epochs=arguments.epochs)
    return model, model.metadata, path


def _data(what: str, size: int | None) -> Pictures:
    sides = None if size is None else (size, size)
    try:
        found = data_set(what, sides)
    except ValueError as error:
        if sides is not None or "differ in size" not in str(error):
            raise
        found = data_set(what, (_SIZE, _SIZE))
    return found if found is not None else folder_of(what, sides, (_SIZE, _SIZE))


def _read(names: list[str], wanted: Any, invert: bool) -> np.ndarray:
    """Pictures from files, in the network's size."""
    import numpy as np

    from pyconv.data import read_picture

    channels, *sides = wanted
    x = np.stack([read_picture(name, channels, tuple(sides)) for name in names])
    return (255 - x if invert else x) / np.float32(255)


def _test(metadata: dict[str, Any]) -> tuple[np.ndarray, Any, list[str]]:
    """The test pictures of what a network was trained on, and which ones it can't know."""
    import numpy as np

    data = _data(metadata["data"], metadata.get("size"))
    x = data.test / np.float32(255)
    without = metadata.get("without")
    names = [str(i) for i in range(len(x))]
    if without is None or data.test_y is None:
        return x, None, names
    return x, data.test_y == data.classes.index(without), names
