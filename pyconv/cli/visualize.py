"""``pyconv visualize``."""

from __future__ import annotations

import argparse
from typing import Any

from pyconv.cli.common import UsageError, at_least, between, class_index
from pyconv.cli.recipe import (
    EPILOG,
    PICTURE_HELP,
    add_common,
    add_model,
    begin,
    channels_of,
    finish,
    open_network,
    open_picture,
)

_METHODS = {
    "ascent": "pictures that excite units of a layer, by gradient ascent from noise",
    "invert": "what each layer keeps of a picture: others that it can't tell from it",
    "filters": "the weights of a convolution",
    "activations": "what the first channels of layers make of a picture",
}
_EXAMPLES = """examples:
  pyconv visualize                                  the first channels of a layer in the middle
  pyconv visualize --unit lion volcano              classes, where the network knows their names
  pyconv visualize --method invert colosseum        layer by layer
  pyconv visualize --method filters --out filters.png

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv visualize``."""
    parser.epilog = _EXAMPLES + EPILOG
    parser.add_argument(
        "picture",
        metavar="PICTURE",
        nargs="?",
        default="colosseum",
        help=f"for invert and activations: {PICTURE_HELP} (default: %(default)s)",
    )
    parser.add_argument(
        "--method",
        choices=tuple(_METHODS),
        default="ascent",
        help="; ".join(f"{name}: {text}" for name, text in _METHODS.items())
        + " (default: %(default)s)",
    )
    add_model(parser)
    parser.add_argument(
        "--layer",
        nargs="+",
        metavar="NAME",
        help="as pyconv layers MODEL lists them; several for invert and activations (default: one "
        "in the middle; for these two, one of each size; filters: the first convolution)",
    )
    parser.add_argument(
        "--unit",
        nargs="+",
        metavar="UNIT",
        help="of ascent: channels; neurons as channel,row,column; or without --layer classes, by "
        "name or number (default: the first 9 channels)",
    )
    parser.add_argument(
        "--channels",
        type=at_least(1),
        default=8,
        metavar="N",
        help="of each layer, for activations (default: %(default)s)",
    )
    tuned = parser.add_argument_group("ascent and invert")
    tuned.add_argument(
        "--until", type=float, metavar="A", help="stop when each activation has reached this"
    )
    tuned.add_argument(
        "--parametrization",
        choices=("fourier", "pixels"),
        default="fourier",
        help="what is optimised: waves or pixels (default: %(default)s)",
    )
    tuned.add_argument("--rate", type=between(0.0), default=0.05, help="default: %(default)s")
    tuned.add_argument(
        "--jitter",
        type=at_least(0),
        default=8,
        metavar="PIXELS",
        help="of ascent: shift before every step (default: %(default)s)",
    )
    for name, text in (
        ("blur", "of ascent, with pixels: standard deviation of a Gaussian after every step"),
        ("total-variation", "penalty on differences between neighbours; of invert 0.01"),
        ("l2", "of ascent: penalty on the distance from grey"),
    ):
        tuned.add_argument(f"--{name}", type=between(0.0), metavar="W", help=f"{text} (default: 0)")
    add_common(
        parser,
        out="visualize.png",
        steps=64,
        size=None,
        size_help="side of the picture (default: as the network was trained)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Compute, write."""
    from pyconv.recipes import visualize

    begin(arguments)
    model, metadata = open_network(arguments)
    method = arguments.method
    tuned = {
        "steps": arguments.steps,
        "rate": arguments.rate,
        "parametrization": arguments.parametrization,
        "seed": arguments.seed,
        "progress": not arguments.quiet,
    }
    if method == "filters":
        result = visualize.filters(model, one_layer(arguments.layer))
    elif method == "ascent":
        layer, units = _units(arguments, model, metadata)
        result = visualize.ascent(
            model,
            layer,
            units,
            shape=_shape(arguments, model, metadata),
            until=arguments.until,
            jitter=arguments.jitter,
            blur=arguments.blur or 0.0,
            total_variation=arguments.total_variation or 0.0,
            l2=arguments.l2 or 0.0,
            **tuned,
        )
        result.titles = _titles(arguments, metadata, units) or result.titles
    else:
        channels, *sides = _shape(arguments, model, metadata)
        picture = open_picture(arguments.picture, channels, max(sides))
        layers = arguments.layer or blocks(model, picture.shape)
        if method == "invert":
            weight = arguments.total_variation
            tuned["weight"] = 1e-2 if weight is None else weight
            result = visualize.invert(model, picture, layers, **tuned)
        else:
            result = visualize.activations(model, picture, layers, channels=arguments.channels)
    across = None
    if method == "activations" and len(result.images) == arguments.channels * len(layers):
        across = arguments.channels  # a row for each layer
    elif method == "invert":
        across = len(result.images)
    finish(result, arguments, across, method=method, titles=result.titles)


def one_layer(layers: list[str] | None) -> str | None:
    """One name, or none."""
    if layers is not None and len(layers) != 1:
        raise UsageError(f"--layer: one is expected, got {' '.join(layers)}")
    return layers[0] if layers else None


def blocks(model: Any, shape: tuple[int, ...]) -> list[str]:
    """The last layer of each size."""
    from pyconv.recipes._network import Network, looked_at
    from pyconv.recipes.style._loss import default_layers

    with looked_at("pyconv", model):
        return default_layers(Network("pyconv", model), shape, None, None)[1]


def middle_layer(model: Any, shape: tuple[int, ...]) -> str:
    """One where a network sees parts of things."""
    found = blocks(model, shape)
    return found[(len(found) + 1) // 2 if len(found) > 1 else 0]


def _shape(arguments: argparse.Namespace, model: Any, metadata: Any) -> tuple[int, ...]:
    """C, H, W."""
    known = metadata.get("input_shape")
    if arguments.size is None:
        if not known or len(known) != 3:
            raise UsageError(f"{arguments.model} doesn't say which pictures it takes; give --size")
        return tuple(known)
    return (channels_of(model, metadata), arguments.size, arguments.size)


def _units(arguments: argparse.Namespace, model: Any, metadata: Any) -> tuple[str, list[Any]]:
    """The layer and its units."""
    layer, texts = one_layer(arguments.layer), arguments.unit
    if layer is None and texts is None:
        layer = middle_layer(model, (1, *_shape(arguments, model, metadata)))
    if texts is None:
        return layer or "", list(range(min(9, _channels(model, layer or "", arguments, metadata))))
    if layer is None:  # the model's own output
        return "", [class_index(text, metadata.get("classes")) for text in texts]
    return layer, [unit(text) for text in texts]


def _channels(model: Any, layer: str, arguments: argparse.Namespace, metadata: Any) -> int:
    """How many channels a layer has."""
    import numpy as np

    from pyconv.recipes._network import Network, looked_at

    picture = np.zeros((1, *_shape(arguments, model, metadata)), np.float32)
    with looked_at("pyconv", model):
        return Network("pyconv", model).features(picture, [layer])[layer].shape[1]


def unit(text: str) -> Any:
    """A channel, or channel, row, column."""
    try:
        found = tuple(int(n) for n in text.split(","))
    except ValueError:
        raise UsageError(f"--unit must be a channel, or channel,row,column, got {text!r}") from None
    return found[0] if len(found) == 1 else found


def _titles(arguments: argparse.Namespace, metadata: Any, units: list[Any]) -> list[str]:
    """The names of classes."""
    classes = metadata.get("classes")
    if arguments.layer or not arguments.unit or not classes:
        return []
    return [classes[u].split(",")[0] for u in units]
