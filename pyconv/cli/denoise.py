"""``pyconv denoise``."""

from __future__ import annotations

import argparse
import os
from typing import Any

from pyconv.cli.autoencoders import (
    DENOISER_NOISE,
    add_training,
    data_set,
    default_file,
    files_given,
    loaded,
    trained,
    whole_pictures,
)
from pyconv.cli.common import UsageError, at_least, check_folder, numbers
from pyconv.cli.recipe import PICTURE_HELP, SAMPLES, add_common, begin, finish, open_picture

_LEVELS = [0.05, 0.1, 0.2, 0.3]
_TESTED = 200  # pictures in the table
_PAGE = 0.1  # the level of the picture that is written
_SIDE = 32  # of the patches that are learned from
_EPILOG = f"""examples:
  pyconv denoise                        small grey pictures of clothes: trains, shows, measures
  pyconv denoise PICTURE                takes noise out of a picture in colour, of any size
  pyconv denoise PICTURE --noise 0.1    puts noise in first, and measures what is left of it
  pyconv denoise --train FOLDER -o NET  a network for such pictures as are in a folder
  pyconv denoise NET PICTURE

Nothing has to be installed or trained before. Without NET one is trained, in a minute or two on two
cores, and kept in the folder that you are in: without a PICTURE on Fashion-MNIST, which comes with
pyconv; for a PICTURE on the pictures that do, too:
  {SAMPLES}
They are names for PICTURE, as well. The same seed gives the same network and picture.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv denoise``."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help=f"a network (.safetensors) that this command has trained, and a picture: "
        f"{PICTURE_HELP}",
    )
    add_training(
        parser,
        "fashion-mnist, digits, samples (the pictures that come with pyconv), a folder of IDX "
        "files, or one of pictures of any size, of which small squares are learned",
        10,
        "denoise-WHAT.safetensors",
    )
    parser.add_argument(
        "--train-noise",
        type=numbers,
        default=list(DENOISER_NOISE),
        metavar="LOW,HIGH",
        help="standard deviations of the noise that is learned from, of 1 for white; one number, "
        "or the ends of a range (default: 0.05,0.2)",
    )
    parser.add_argument(
        "--patches",
        type=at_least(16),
        default=3200,
        metavar="N",
        help=f"squares of {_SIDE}×{_SIDE} from larger pictures (default: %(default)s)",
    )
    parser.add_argument(
        "--noise",
        type=numbers,
        metavar="A,B,C",
        help="standard deviations of noise that is put in first, to measure (default: for a "
        "PICTURE none, otherwise 0.05,0.1,0.2,0.3)",
    )
    add_common(
        parser,
        out="denoised.png",
        size=None,
        size_help="scale the picture so that its longer side has so many pixels (default: as it "
        "is)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Train where that is needed, denoise, measure."""
    from pyconv.recipes import autoencoding

    begin(arguments)
    net, pictures = files_given(arguments.files)
    if len(pictures) > 1:
        raise UsageError(f"one picture is expected, got {' '.join(pictures)}")
    if net is not None and arguments.train is not None:
        raise UsageError("--train makes a network; NET is one that is there")
    levels = arguments.noise
    if levels is not None and not all(level >= 0 for level in levels):
        raise UsageError(f"--noise must not be below 0, got {levels}")
    whole = None
    if pictures:  # before the training, which a wrong name would waste
        whole = open_picture(pictures[0], _channels(pictures[0]), arguments.size)
    model, metadata, path = _network(arguments, net, "samples" if pictures else "fashion-mnist")
    common = {"seed": arguments.seed, "progress": not arguments.quiet}
    known = metadata["autoencoding"]["noise"]
    if whole is not None:
        result = autoencoding.denoise(model, whole, noise=levels, **common)
    else:
        x, page = _test(metadata.get("data", "fashion-mnist"), arguments.seed)
        measured = autoencoding.denoise(model, x, noise=levels or _LEVELS, **common)
        result = autoencoding.denoise(model, page, noise=_PAGE, **common)
        result.history = measured.history
        result.figure = measured.figure  # type: ignore[method-assign]
    if "noise" in result.history[0]:
        print(_table(result.history, known))
    if whole is None and not arguments.quiet:
        print(f"noisy ({_PAGE:g}), denoised and clean, side by side:")
    finish(result, arguments, network=path, levels=result.history)


def _channels(name: str) -> Any:
    """A picture's own; those that come with pyconv are in colour."""
    return None if os.path.exists(name) else 3


def _network(
    arguments: argparse.Namespace, net: str | None, fallback: str
) -> tuple[Any, dict[str, Any], str]:
    """The one that is given, or there, or trained now."""
    from pyconv.recipes import autoencoding

    what = arguments.train or fallback
    path = net or arguments.output or default_file("denoise", what)
    if net is not None or (arguments.train is None and os.path.exists(path)):
        model, metadata = loaded(path, arguments.quiet, arguments.device)
        return model, metadata, path
    check_folder(path)
    found = None if what == "samples" else data_set(what)
    if found is None:
        train, _ = whole_pictures(what)
        x = autoencoding.patches(train, arguments.patches, size=_SIDE, seed=arguments.seed)
    else:
        x = found.train
    noise = (
        (arguments.train_noise * 2)[:2]
        if len(arguments.train_noise) == 1
        else (arguments.train_noise)
    )
    model = trained(
        arguments, x, path, {"data": what}, noise=tuple(noise), epochs=arguments.epochs, flip=True
    )
    return model, model.metadata, path


def _test(what: str, seed: int) -> tuple[Any, Any]:
    """Pictures to measure on, and some to show."""
    import numpy as np

    from pyconv.recipes import autoencoding

    found = None if what == "samples" else data_set(what)
    if found is not None:
        x = found.test[:: max(len(found.test) // _TESTED, 1)][:_TESTED] / np.float32(255)
        return x, x[:: max(len(x) // 16, 1)][:16]
    _, test = whole_pictures(what)
    side = min(128, *(min(p.shape[1:]) for p in test))
    x = autoencoding.patches(test, 16, size=side, seed=seed)
    return x, x[:4]


def _table(history: list[dict[str, Any]], known: list[float]) -> str:
    lines = ["noise   PSNR in dB       SSIM", "        before  after    before  after"]
    for row in history:
        outside = not known[0] <= row["noise"] <= known[1]
        lines.append(
            f"{row['noise']:<7g} {row['psnr_before']:6.2f}  {row['psnr_after']:5.2f}    "
            f"{row['ssim_before']:6.3f}  {row['ssim_after']:5.3f}"
            + ("   not trained on" if outside else "")
        )
    return "\n".join(lines)
