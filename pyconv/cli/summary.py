"""``pyconv summary MODEL``."""

from __future__ import annotations

import argparse
from typing import Any

from pyconv.cli.common import key_and_value, print_json, shape

_SMALL = {"cifar_resnet": 32, "lenet5": 28, "mlp": 28, "small_resnet": 28, "autoencoder": 28}
_STEPS = 256  # of a sequence
_GREY = ("autoencoder", "lenet5", "mlp", "small_resnet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv summary``."""
    add_model_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """A model by its name or file, and the shape of its pictures."""
    parser.add_argument("model", metavar="MODEL", help="a model's name, or a file")
    parser.add_argument(
        "--input-shape",
        type=shape,
        metavar="CxHxW",
        help="of a picture (default: what the model was trained or made for)",
    )
    parser.add_argument(
        "--model-option",
        type=key_and_value,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an argument of the named model, such as num_classes=10; may be repeated",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the table of a model."""
    from dataclasses import asdict

    import pyconv

    model, size = find_model(arguments)
    found = pyconv.summary(model, size)
    if arguments.json:
        print_json(asdict(found))
    else:
        print(found)


def find_model(arguments: argparse.Namespace) -> tuple[Any, tuple[int, ...]]:
    """The model that `add_model_arguments` asked for, and the shape of its pictures."""
    import os

    from pyconv import models
    from pyconv.cli.common import UsageError, load_model

    name, options = arguments.model, dict(arguments.model_option)
    if name in models.names():
        try:
            model = models.build(name, **options)
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from None
        made_for = default_shape(name, model.architecture["arguments"])
        return model, arguments.input_shape or made_for
    if not os.path.exists(name):
        raise UsageError(f"{name!r} is neither a file nor one of {', '.join(models.names())}")
    if options:
        raise UsageError("--model-option is for a model's name, not for a file")
    model, metadata = load_model(name)
    wanted: Any = arguments.input_shape or metadata.get("input_shape")
    if not wanted:
        kind = metadata.get("architecture")
        if not kind:
            raise UsageError(f"{name} doesn't say which pictures it takes; give --input-shape")
        wanted = default_shape(kind["name"], kind["arguments"])
    return model, tuple(wanted)


def default_shape(name: str, arguments: dict[str, Any]) -> tuple[int, ...]:
    """The pictures, or the sequence, that a model was made for."""
    if name == "tcn":
        return (arguments["in_channels"], _STEPS)
    if name == "mlp" and arguments["in_features"] != 28 * 28:
        return (arguments["in_features"],)
    side = arguments.get("image_size") or _SMALL.get(name, 224)
    if arguments.get("stem") == "cifar":
        side = 32
    return (arguments.get("in_channels", 1 if name in _GREY else 3), side, side)
