"""``pyconv style``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pyconv.cli.common import (
    UsageError,
    at_least,
    between,
    check_folder,
    counts,
    load_model,
    numbers,
)
from pyconv.cli.recipe import (
    EPILOG,
    PICTURE_HELP,
    TRAINED,
    add_common,
    begin,
    channels_of,
    default_network,
    finish,
    open_network,
    open_picture,
)

if TYPE_CHECKING:
    from pyconv.recipes import Result

_EXAMPLES = """examples:
  pyconv style photo.jpg painting.jpg            the photograph, painted
  pyconv style photo.jpg painting.jpg --grid     five ratios of content to style
  pyconv style photo.jpg --reconstruct content   what each layer keeps of it
  pyconv style --train FOLDER --style painting.jpg -o painting.safetensors
  pyconv style --model painting.safetensors photo.jpg
  pyconv style --model painting.safetensors photo.jpg --style painting.jpg --compare

A network that others trained on photographs is the better judge of pictures; one of pyconv train
sees them in grey, and so the result is grey.

"""
_CONTENT, _STYLE, _SIZE = "gateway_of_india", "cafe_terrace_at_night", 256
_STEPS, _TRAINING_STEPS = 200, 2000
_RATIOS = [10.0, 1.0, 0.3, 0.1, 0.03]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv style``."""
    parser.epilog = _EXAMPLES + EPILOG
    parser.add_argument(
        "pictures",
        metavar="PICTURE",
        nargs="*",
        help=f"the content and the style, or the picture to work on: {PICTURE_HELP} (default: "
        f"{_CONTENT} and {_STYLE})",
    )
    parser.add_argument(
        "--network",
        metavar="FILE",
        help="whose layers are compared: a file that pyconv train or pyconv.save has written, or "
        "one of ONNX (.onnx), or the name of one that others trained (default: squeezenet1_1 where "
        f"pip install 'pyconv[models]' was done, otherwise {TRAINED}, which pyconv train writes)",
    )
    for name in ("mean", "std"):
        parser.add_argument(
            f"--{name}",
            type=numbers,
            metavar="A,B,C",
            help="of that network's pictures, in 0..1, where its file doesn't say",
        )
    ways = parser.add_argument_group("ways").add_mutually_exclusive_group()
    ways.add_argument(
        "--reconstruct",
        choices=("content", "style"),
        help="what the layers hold of one picture: its content by each layer, its style by the "
        "first one, the first two, ...",
    )
    ways.add_argument(
        "--grid",
        nargs="?",
        type=numbers,
        const=_RATIOS,
        metavar="R,R,...",
        help="a transfer for each ratio of alpha to beta "
        f"(default: {','.join(f'{r:g}' for r in _RATIOS)})",
    )
    ways.add_argument(
        "--train",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="train a network that paints in one style in one pass, on the pictures of a folder "
        "and its sub-folders (default: the four photographs that come with pyconv)",
    )
    ways.add_argument("--model", metavar="NET", help="paint with a network that --train has made")
    _add_aims(parser)
    _add_training(parser)
    add_common(
        parser,
        out="style.png",
        size=None,
        size_help="scale pictures so that their longer side has so many pixels (default: "
        f"{_SIZE}; with --model as they are)",
    )


def _add_aims(parser: argparse.ArgumentParser) -> None:
    """What is minimised, and how."""
    group = parser.add_argument_group("what is wanted")
    group.add_argument(
        "--content-layer", metavar="NAME", help="as pyconv layers lists them (default: the middle "
        "one of the default style layers)",
    )  # fmt: skip
    group.add_argument(
        "--style-layers", type=_names, metavar="NAME,NAME,...", help="low to high (default: the "
        "last one of each size, up to five; for --train without the deepest)",
    )  # fmt: skip
    group.add_argument(
        "--layer-weights", type=numbers, metavar="A,B,...", help="one for each style layer "
        "(default: equal, of sum 1)",
    )  # fmt: skip
    for name, text in (
        ("alpha", "weight of the content (default: 1)"),
        ("beta", "weight of the style (default: 3, for --train 10)"),
        ("smooth", "weight of the total variation (default: 0.1, for --train 1)"),
    ):
        group.add_argument(f"--{name}", type=between(0.0), metavar="W", help=text)
    group.add_argument(
        "--start", choices=("noise", "content"), default="noise", help="default: %(default)s"
    )
    group.add_argument(
        "--keep-color", action="store_true", help="take the lightness alone from the result"
    )
    group.add_argument(
        "--method", choices=("lbfgs", "adam"), default="lbfgs", help="default: %(default)s"
    )
    group.add_argument(
        "--rate", type=between(0.0, open_low=True), metavar="R", help="the step's length, of Adam "
        "(default: 0.02, for --train 0.001)",
    )  # fmt: skip
    group.add_argument(
        "--steps", type=at_least(1), metavar="N",
        help=f"default: {_STEPS}, for --train {_TRAINING_STEPS}",
    )  # fmt: skip


def _add_training(parser: argparse.ArgumentParser) -> None:
    """Of --train and --model."""
    group = parser.add_argument_group("for --train and --model")
    group.add_argument(
        "--style", metavar="PICTURE", help=f"whose style is learned (default: {_STYLE})"
    )
    group.add_argument(
        "-o", "--output", default="style.safetensors", metavar="NET",
        help="where the network goes (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--width", type=at_least(1), default=16, metavar="N",
        help="channels of its first layer (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--crop", type=at_least(16), default=128, metavar="N",
        help="side of the squares that it learns from (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--batch-size", type=at_least(1), default=2, metavar="N", help="default: %(default)s"
    )
    group.add_argument(
        "--checkpoint", metavar="FILE",
        help="written after every 50 steps (default: beside the output, and removed at the end)",
    )  # fmt: skip
    group.add_argument("--resume", metavar="FILE", help="go on from a checkpoint")
    group.add_argument(
        "--compare", nargs="?", type=counts, const=[50, 100, 300], metavar="N,N,...",
        help="with --model: the loss of one pass beside that of pictures optimised in so many "
        "steps (default: 50,100,300)",
    )  # fmt: skip


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def run(arguments: argparse.Namespace) -> None:
    """Go the way that was chosen."""
    _check_usage(arguments)
    begin(arguments)
    if arguments.train is not None:
        _train(arguments)
    elif arguments.model is not None:
        _paint(arguments)
    else:
        _optimise(arguments)


def _check_usage(arguments: argparse.Namespace) -> None:
    """As many pictures as the way takes, and no option of another one."""
    way = next((w for w in ("train", "model", "reconstruct") if getattr(arguments, w)), None)
    way = "train" if arguments.train is not None else way
    most = {"train": 0, "model": 1, "reconstruct": 1}.get(way or "", 2)
    if len(arguments.pictures) > most:
        pictures = "no PICTURE" if most == 0 else "one PICTURE" if most == 1 else "two PICTUREs"
        name = f"--{way} takes" if way else "style takes"
        extra = "; the painting is --style" if way == "train" else ""
        raise UsageError(f"{name} {pictures} at the most, got {len(arguments.pictures)}{extra}")
    if arguments.compare is not None and way != "model":
        raise UsageError("--compare needs --model")
    if arguments.style is not None and way != "train" and arguments.compare is None:
        raise UsageError("--style is for --train and --compare; a transfer takes two PICTUREs")
    if arguments.resume is not None and way != "train":
        raise UsageError("--resume needs --train")


def aims(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given of the recipes' arguments."""
    names = ("content_layer", "style_layers", "layer_weights", "alpha", "beta", "smooth")
    return {k: getattr(arguments, k) for k in names if getattr(arguments, k) is not None}


def _judge(arguments: argparse.Namespace) -> tuple[Any, int]:
    """The network whose layers are compared, and whether it takes grey pictures (1) or colour
    (3)."""
    wanted = argparse.Namespace(**vars(arguments))
    wanted.model = arguments.network or default_network("squeezenet1_1", "--network")
    model, metadata = open_network(wanted)
    channels = channels_of(model, metadata)
    if arguments.network is None and not arguments.quiet:
        print(f"the network is {wanted.model}", flush=True)
    if channels == 1 and not arguments.quiet:
        print(f"{wanted.model} takes grey pictures: these are made grey", flush=True)
    return model, channels


def _train(arguments: argparse.Namespace) -> None:
    """A network for one style."""
    from pyconv.cli.style_training import photographs, train

    check_folder(arguments.output)
    names = photographs(arguments)
    model, channels = _judge(arguments)
    painting = open_picture(arguments.style or _STYLE, channels, arguments.size or _SIZE)
    shown = open_picture(_CONTENT, channels)
    steps = arguments.steps or _TRAINING_STEPS
    train(arguments, names, painting, shown, steps, model=model, **aims(arguments))


def _optimise(arguments: argparse.Namespace) -> None:
    """Transfer, reconstruct, grid."""
    from pyconv.recipes import style

    model, channels = _judge(arguments)
    size = arguments.size or _SIZE
    if arguments.reconstruct is not None:
        names = arguments.pictures or [_CONTENT if arguments.reconstruct == "content" else _STYLE]
    else:
        names = [*arguments.pictures, *[_CONTENT, _STYLE][len(arguments.pictures) :]]
    pictures = [open_picture(name, channels, size) for name in names]
    options = {
        **aims(arguments),
        "method": arguments.method,
        "start": arguments.start,
        "steps": arguments.steps or _STEPS,
        "seed": arguments.seed,
        "progress": not arguments.quiet,
        "keep_color": arguments.keep_color,
        **({} if arguments.rate is None else {"rate": arguments.rate}),
    }
    result: Result
    if arguments.reconstruct is not None:
        given = _without(options, "alpha", "beta", "content_layer", "style_layers")
        result = style.reconstruct(
            pictures[0], arguments.style_layers, what=arguments.reconstruct, model=model, **given
        )
    elif arguments.grid is not None:
        given = _without(options, "alpha", "beta", "content_layer")
        layer = arguments.content_layer
        layers = None if layer is None else _names(layer)
        content, painting = pictures
        result = style.grid(
            content, painting, arguments.grid, content_layers=layers, model=model, **given
        )
    else:
        result = style.transfer(*pictures, model=model, **options)
    across = len(arguments.grid) if arguments.grid is not None else len(result.images)
    finish(result, arguments, across, pictures=names, titles=result.titles)


def _without(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k not in names}


def _paint(arguments: argparse.Namespace) -> None:
    """One pass, and the comparison."""
    from pyconv.recipes import style

    net, metadata = load_model(arguments.model)
    if arguments.device != "cpu":
        net.to(arguments.device)
    name = (arguments.pictures or [_CONTENT])[0]
    picture = open_picture(name, channels_of(net, metadata), arguments.size)
    if arguments.compare is None:
        finish(style.apply(net, picture), arguments, pictures=[name])
        return
    model, channels = _judge(arguments)
    if channels != picture.shape[1]:
        raise ValueError(f"--network takes {channels} channels, {arguments.model} others")
    painting = open_picture(arguments.style or _STYLE, channels, arguments.size or _SIZE)
    result = style.compare(
        net, picture, painting, arguments.compare, model=model, start=arguments.start,
        seed=arguments.seed, progress=not arguments.quiet, **aims(arguments),
    )  # fmt: skip
    print("picture        loss  content    style")
    for row in result.history:
        print(f"{row['name']:<10} {row['loss']:8.3f} {row['content']:8.3f} {row['style']:8.3f}")
    finish(result, arguments, len(result.images), pictures=[name], losses=result.history)
