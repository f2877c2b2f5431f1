"""``pyconv predict MODEL PICTURE...``."""

from __future__ import annotations

import argparse

from pyconv.cli.common import (
    MODEL_HELP,
    add_running,
    at_least,
    load_model,
    print_json,
    start,
    transform_of,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv predict``."""
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument(
        "pictures", metavar="PICTURE", nargs="+", help="a file in any format that Pillow reads"
    )
    parser.add_argument(
        "--top", type=at_least(1), default=3, metavar="N", help="classes to show (default: 3)"
    )
    parser.add_argument(
        "--invert",
        action="store_true",
        help="dark on bright becomes bright on dark, as the pictures of Fashion-MNIST are",
    )
    add_running(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the likeliest classes of each picture."""
    import numpy as np

    from pyconv import functional, training
    from pyconv.data import read_picture

    start(arguments)
    model, metadata = load_model(arguments.model)
    wanted = metadata.get("input_shape")
    if not wanted or len(wanted) != 3:
        raise ValueError(f"{arguments.model} does not say which pictures the model takes")
    channels, *size = wanted
    if channels not in (1, 3):
        raise ValueError(f"the model takes pictures of {channels} channels, files have 1 or 3")
    resize = metadata.get("resize")
    x = np.stack([read_picture(p, channels, tuple(size), resize) for p in arguments.pictures])
    if arguments.invert:
        x = 255 - x
    if arguments.device != "cpu":
        model.to(arguments.device)
    batch = transform_of(metadata)(x, None)
    scores = training.predict(model, [batch], arguments.device)
    shares = functional.softmax(scores, 1).numpy()
    names = metadata.get("classes") or [str(i) for i in range(shares.shape[1])]
    if len(names) != shares.shape[1]:
        raise ValueError(
            f"{arguments.model} names {len(names)} classes, the model has {shares.shape[1]}"
        )
    found = []
    for path, row in zip(arguments.pictures, shares, strict=True):
        best = np.argsort(-row, kind="stable")[: arguments.top]
        found.append({"picture": path, "classes": [[names[i], float(row[i])] for i in best]})
        print(f"{path}: " + ", ".join(f"{names[i]} {row[i]:.1%}" for i in best))
    if arguments.json:
        print_json({"predictions": found, "model_file": arguments.model})
