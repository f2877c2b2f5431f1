"""Super-resolution: a network learns what enlarging a picture leaves out.

style.train learns to turn a picture x into one with the content of another, y_c. For a style
y_c = x; here x is a photograph made small and enlarged again by cubic interpolation, and y_c is
the sharp one. Three photographs that come with pyconv are learned from, the fourth is the test:
its peak signal-to-noise ratio (PSNR) before and after. The distance of the pixels is what is made
small; --perceptual adds that of what a network pretrained on ImageNet sees in them (extra
"models").
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import figure, parser, save, table
from PIL import Image

import pyconv
from pyconv import nn
from pyconv.data import sample_picture
from pyconv.recipes import style

LEARNED = ("gateway_of_india", "great_wall", "machu_picchu")
TEST = "colosseum"


def photograph(name: str, size: int) -> np.ndarray:
    """C×H×W in 0..1, the longer side `size` pixels."""
    picture = Image.fromarray(sample_picture(name, 3).transpose(1, 2, 0))
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32).transpose(2, 0, 1) / 255


def blurred(sharp: np.ndarray, factor: int) -> np.ndarray:
    """Made small and enlarged again."""
    picture = Image.fromarray(np.uint8(np.round(sharp.transpose(1, 2, 0) * 255)))
    small = picture.resize((picture.width // factor, picture.height // factor))
    large = small.resize(picture.size, Image.Resampling.BICUBIC)
    return np.asarray(large, np.float32).transpose(2, 0, 1) / 255


def network(width: int = 32) -> nn.Module:
    """Three convolutions (Dong et al., Image super-resolution using deep convolutional networks,
    2014) that compute what is to be added (Kim, Lee and Lee, Accurate image super-resolution using
    very deep convolutional networks, 2016)."""
    last = nn.Conv2d(width, 3, 5, padding=2)
    last.weight.data[...] *= 0.1  # at first little is added
    body = nn.Sequential(
        nn.Conv2d(3, width, 5, padding=2), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), last,
    )  # fmt: skip
    return nn.Residual(body)


def psnr(picture: np.ndarray, wanted: np.ndarray) -> float:
    """In decibels."""
    return float(-10 * np.log10(np.square(picture - wanted).mean()))


def learn(
    factor: int, steps: int, size: int, perceptual: float = 0.0, progress: bool = False
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """The trained network, and the history of its loss."""
    sharp = [photograph(name, size) for name in LEARNED]
    pyconv.manual_seed(0)
    net = style.train(
        [blurred(y, factor) for y in sharp], content=sharp, network=network(),
        alpha=perceptual, content_layer="features.1", pixels=10.0, smooth=0.0,
        size=48, batch_size=4, steps=steps, progress=progress,
    )  # fmt: skip
    return net, net.metadata["history"]


def draw(pictures: dict[str, np.ndarray], path: str) -> None:
    """The middle of each picture."""
    fig = figure(4 * len(pictures), 3.4)
    for axes, (title, picture) in zip(
        fig.subplots(1, len(pictures)), pictures.items(), strict=True
    ):
        height, width = (n // 4 for n in picture.shape[1:])
        axes.imshow(picture[:, height:-height, width:-width].transpose(1, 2, 0))
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    save(fig, path)


def main() -> None:
    """Train, measure, draw."""
    options = parser(__doc__)
    options.add_argument("--factor", type=int, default=3, help="default: 3")
    options.add_argument("--steps", type=int, default=600, help="default: 600")
    options.add_argument("--size", type=int, default=512, help="longer side (default: 512)")
    options.add_argument("--perceptual", type=float, default=0.0, metavar="WEIGHT")
    arguments = options.parse_args()
    net, history = learn(
        arguments.factor, arguments.steps, arguments.size, arguments.perceptual, progress=True
    )
    sharp = photograph(TEST, arguments.size)
    blurry = blurred(sharp, arguments.factor)
    found = style.apply(net, blurry).images[0]
    pictures = {"cubic interpolation": blurry, "network": found}
    rows = [(name, f"{psnr(p, sharp):.2f} dB") for name, p in pictures.items()]
    print(f"{TEST}, {arguments.factor} times enlarged, after {history[-1]['step']} steps\n")
    print(table(("picture", "PSNR"), rows))
    if arguments.plot:
        titles = {f"{n}, {psnr(p, sharp):.2f} dB": p for n, p in pictures.items()}
        draw({**titles, "sharp": sharp}, arguments.plot)


if __name__ == "__main__":
    main()
