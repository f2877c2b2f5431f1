"""What the examples share: arguments, tables, the look of the plots."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from PIL import Image

BLUE, ORANGE, GREEN, RED, GREY = "#2563a8", "#e0781e", "#3a8f4d", "#c2344d", "#8a8f98"


def parser(text: str | None, plot: bool = True) -> argparse.ArgumentParser:
    """A parser, with --plot if there is something to draw; its help is an example's docstring."""
    found = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if plot:
        found.add_argument("--plot", metavar="FILE", help="draw the results too (needs matplotlib)")
    return found


def table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns as wide as they have to be; the first from the left, the others from the right."""
    lines = [list(map(str, row)) for row in (titles, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def text(row: list[str]) -> str:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return "  ".join(cells).rstrip()

    return "\n".join(map(text, lines))


def figure(width: float, height: float) -> Any:
    """An empty figure that needs no screen, sizes in inches; `save` writes it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Any, **labels: Any) -> None:
    """Labels, a faint grid, no frame at the top and right."""
    axes.set(**labels)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Any, path: str) -> None:
    """Write a figure in the format that the file's name says; a PNG with a palette of 256 colours,
    which makes it a third as large."""
    figure.savefig(path, dpi=150)
    if path.endswith(".png"):
        with Image.open(path) as picture:
            reduced = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        reduced.save(path, optimize=True)
    print(f"\ndrawn in {path}")
