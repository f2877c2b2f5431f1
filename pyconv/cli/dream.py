"""``pyconv dream``."""

from __future__ import annotations

import argparse

from pyconv.cli.common import at_least, between
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

_EXAMPLES = """examples:
  pyconv dream                                   the Colosseum, as a whole layer enhances it
  pyconv dream photo.jpg --layer features.12 --unit 3 --size 512
  pyconv dream --strip --out strip.png           what each of the regularisers does

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv dream``."""
    parser.epilog = _EXAMPLES + EPILOG
    parser.add_argument(
        "picture",
        metavar="PICTURE",
        nargs="?",
        default="colosseum",
        help=f"{PICTURE_HELP} (default: %(default)s)",
    )
    add_model(parser)
    parser.add_argument(
        "--layer",
        metavar="NAME",
        help="as pyconv layers MODEL lists them (default: one beyond the middle)",
    )
    parser.add_argument(
        "--unit",
        metavar="UNIT",
        help="a channel, or a neuron as channel,row,column (default: all of the layer, which "
        "enhances whatever it detects)",
    )
    parser.add_argument(
        "--strip",
        action="store_true",
        help="the picture, and the dream without regularisers, with each, and with all",
    )
    tuned = parser.add_argument_group("regularisers and steps")
    tuned.add_argument(
        "--rate",
        type=between(0.0),
        default=0.01,
        help="mean change of a pixel in a step (default: %(default)s)",
    )
    tuned.add_argument(
        "--octaves",
        type=at_least(1),
        default=4,
        metavar="N",
        help="sizes that are gone through, small to large, --steps in each (default: %(default)s)",
    )
    tuned.add_argument(
        "--octave-scale",
        type=between(1.0, open_low=True),
        default=1.4,
        metavar="S",
        help="from one to the next (default: %(default)s)",
    )
    tuned.add_argument(
        "--jitter",
        type=at_least(0),
        default=16,
        metavar="PIXELS",
        help="shift before every step (default: %(default)s)",
    )
    tuned.add_argument(
        "--blur",
        type=between(0.0),
        default=0.5,
        metavar="SIGMA",
        help="of the gradient (default: %(default)s)",
    )
    tuned.add_argument(
        "--tile",
        type=at_least(16),
        default=256,
        metavar="PIXELS",
        help="side of the squares in which gradients are computed (default: %(default)s)",
    )
    add_common(parser, out="dream.png", steps=10)


def run(arguments: argparse.Namespace) -> None:
    """Dream, write."""
    from pyconv.cli.visualize import middle_layer, unit
    from pyconv.recipes import dream

    begin(arguments)
    model, metadata = open_network(arguments)
    picture = open_picture(arguments.picture, channels_of(model, metadata), arguments.size)
    layer = arguments.layer or middle_layer(model, picture.shape)
    recipe = dream.strip if arguments.strip else dream.dream
    result = recipe(
        model,
        picture,
        layer,
        None if arguments.unit is None else unit(arguments.unit),
        steps=arguments.steps,
        rate=arguments.rate,
        octaves=arguments.octaves,
        octave_scale=arguments.octave_scale,
        jitter=arguments.jitter,
        blur=arguments.blur,
        tile=arguments.tile,
        seed=arguments.seed,
        progress=not arguments.quiet,
    )
    finish(result, arguments, len(result.images), layer=layer, titles=result.titles)
