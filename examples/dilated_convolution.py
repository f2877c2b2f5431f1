"""Dilated convolutions: a kernel whose cells lie apart sees further with the same weights.

For single layers and for stacks of 3×3 convolutions this script counts weights and multiply-adds,
and measures the receptive field: the pixels of the input that the gradient of one output reaches.
Their span is compared with the formula and with `pyconv.summary`; their number says whether the
field has holes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import BLUE, GREY, ORANGE, figure, parser, save, table

import pyconv
from pyconv import nn

KERNEL = 3
SINGLE = ((1,), (2,), (4,), (8,))
STACKS = ((1, 1, 1, 1), (2, 2, 2, 2), (4, 4, 4, 4), (1, 2, 4, 8))


def network(dilations: tuple[int, ...], width: int = 4) -> nn.Sequential:
    """Convolutions one after the other, padded so that the size stays."""
    channels = [1, *[width] * (len(dilations) - 1), 1]
    return nn.Sequential(
        *(
            nn.Conv2d(channels[i], channels[i + 1], KERNEL, padding=d, dilation=d)
            for i, d in enumerate(dilations)
        )
    )


def field_by_formula(dilations: tuple[int, ...]) -> int:
    """1 + (k - 1) times the sum of the dilations."""
    return 1 + (KERNEL - 1) * sum(dilations)


def field_by_summary(dilations: tuple[int, ...]) -> int:
    """One side of what `pyconv.summary` says."""
    side = field_by_formula(dilations)
    found = pyconv.summary(network(dilations), (1, 1, side, side)).layers[-1].receptive_field
    assert found is not None and found[0] == found[1]
    return found[0]


def gradient(dilations: tuple[int, ...], side: int, seed: int = 0) -> np.ndarray:
    """Of the output in the middle with respect to each pixel, side×side."""
    pyconv.manual_seed(seed)
    net = network(dilations).double()
    x = pyconv.Tensor(np.zeros((1, 1, side, side)), requires_grad=True)
    net(x)[0, 0, side // 2, side // 2].backward()
    return x.grad.numpy()[0, 0]


def support(slopes: np.ndarray) -> tuple[int, int]:
    """The side of the square of the pixels where the gradient isn't 0, and their number."""
    rows, columns = np.nonzero(slopes)
    sides = {int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1}
    assert len(sides) == 1
    return sides.pop(), len(rows)


def parameters(dilations: tuple[int, ...]) -> int:
    """Weights and biases."""
    return sum(p.data.size for p in network(dilations).parameters())


def multiply_adds(dilations: tuple[int, ...], side: int = 64) -> int:
    """On a picture of side×side pixels."""
    return pyconv.summary(network(dilations), (1, 1, side, side)).multiply_adds


def cells(axes: Any, side: int) -> None:
    """Lines around pixels."""
    axes.set_xticks(np.arange(side + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(side + 1) - 0.5, minor=True)
    axes.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    axes.spines[:].set_color(GREY)


def draw_kernel(axes: Any, dilation: int, side: int = 9) -> None:
    """The pixels that one output sees through a single layer."""
    from matplotlib.colors import ListedColormap

    seen = gradient((dilation,), side) != 0
    shades = seen.astype(int)
    shades[side // 2, side // 2] = 2
    axes.imshow(shades, cmap=ListedColormap(["#f3f4f6", BLUE, ORANGE]), vmin=0, vmax=2)
    cells(axes, side)
    axes.grid(which="minor", color="white", lw=1.5)
    reach = field_by_formula((dilation,))
    axes.set_title(f"dilation {dilation}\nsees {reach}×{reach} with 9 weights", fontsize=10)


def draw_field(axes: Any, dilations: tuple[int, ...], side: int) -> None:
    """How strongly each pixel moves the output, on a logarithmic scale."""
    from matplotlib.colors import LogNorm

    slopes = np.abs(gradient(dilations, side))
    span, count = support(slopes)
    shown = np.ma.masked_equal(slopes / slopes.max(), 0)
    axes.set_facecolor("#f3f4f6")
    axes.imshow(shown, cmap="viridis", norm=LogNorm(1e-4, 1), interpolation="nearest")
    cells(axes, side)
    name = ", ".join(map(str, dilations))
    axes.set_title(f"dilations {name}\n{count} of {span}×{span} pixels", fontsize=10)


def draw(path: str) -> None:
    """Kernels on a grid; what stacks of four see."""
    picture = figure(11, 6.7)
    top, bottom = picture.subplots(2, 4)
    for axes, dilation in zip(top, (1, 2, 3, 4), strict=True):
        draw_kernel(axes, dilation)
    side = max(map(field_by_formula, STACKS)) + 2
    for axes, dilations in zip(bottom, STACKS, strict=True):
        draw_field(axes, dilations, side)
    save(picture, path)


def main() -> None:
    """Count and measure."""
    options = parser(__doc__).parse_args()
    rows = []
    for dilations in (*SINGLE, *STACKS):
        side = field_by_formula(dilations)
        span, count = support(gradient(dilations, side + 4))
        fields = (f"{side}×{side}", f"{field_by_summary(dilations)}×{field_by_summary(dilations)}")
        rows.append(
            (
                ", ".join(map(str, dilations)),
                parameters(dilations),
                f"{multiply_adds(dilations):,}",
                *fields,
                f"{span}×{span}",
                count,
                f"{count / span**2:.0%}",
            )
        )
    titles = ["dilations", "parameters", "multiply-adds", "formula", "summary"]
    print("3×3 convolutions; the field by the formula, by the summary, by the gradient; ", end="")
    print("the pixels seen\n")
    print(table([*titles, "gradient", "pixels", "share"], rows))
    if options.plot:
        draw(options.plot)


if __name__ == "__main__":
    main()
