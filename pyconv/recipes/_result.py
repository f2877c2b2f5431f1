"""What a recipe returns."""

from __future__ import annotations

import dataclasses
import io
import os
from typing import Any

import numpy as np

from pyconv.io.files import atomic_write, path_of
from pyconv.kernels import _checks as check
from pyconv.recipes._pictures import sheet


@dataclasses.dataclass
class Result:
    """Pictures, and how they came about.

    Attributes
    ----------
    images : ndarray, N×C×H×W, float32
        In 0..1.
    history : list of dict
        One entry a step.
    titles : list of str
        Of the images; empty where there are none.
    """

    images: np.ndarray
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    titles: list[str] = dataclasses.field(default_factory=list)

    @property
    def image(self) -> np.ndarray:
        """The first of the images, 1×C×H×W."""
        return self.images[:1]

    def figure(self, across: int | None = None) -> Any:
        """The images with their titles and, behind them, the history.

        Parameters
        ----------
        across : int, optional
            Images in a row; by default up to 8.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            matplotlib is not there.
        """
        new_figure = figure_type()
        curves = sorted({k for row in self.history for k, v in row.items() if _is_number(v)})
        curves = [name for name in curves if name != "step"]
        across = min(len(self.images), across or 8) or 1
        down = -(-len(self.images) // across)
        figure = new_figure(
            figsize=(2.2 * across + (4 if curves else 0), max(2.4 * down, 2.4)),
            layout="constrained",
        )
        pictures, *rest = figure.subfigures(
            1, 2 if curves else 1, squeeze=False, width_ratios=[2.2 * across, 4][: 1 + bool(curves)]
        )[0]
        axes = pictures.subplots(down, across, squeeze=False).flat
        for i, ax in enumerate(axes):
            ax.axis("off")
            if i < len(self.images):
                show(ax, self.images[i])
                if self.titles:
                    ax.set_title(self.titles[i], fontsize=8)
        for part in rest:
            for ax, name in zip(
                part.subplots(len(curves), 1, squeeze=False).flat, curves, strict=True
            ):
                points = [(i, r[name]) for i, r in enumerate(self.history) if name in r]
                ax.plot(*zip(*points, strict=True))
                ax.set_ylabel(name, fontsize=8)
                ax.set_xlabel("step", fontsize=8)
        return figure

    def save(self, path: Any, across: int | None = None, scale: int = 1) -> None:
        """Write the images, side by side, in the format of the path's ending; as a whole or not
        at all.

        Parameters
        ----------
        path : str or path
        across : int, optional
            Images in a row; by default about as many as there are rows.
        scale : int
            Each pixel becomes a square of so many.

        Raises
        ------
        ValueError
            Pillow writes no such format.
        OSError
            The folder is missing or can't be written.
        """
        check.integer("save", "scale", scale, 1)
        images, usual = self._page()
        images = images.repeat(scale, 2).repeat(scale, 3)
        save_picture(path, sheet(images, across or usual))

    def _page(self) -> tuple[np.ndarray, int | None]:
        """What `save` writes, and how many in a row."""
        return self.images, None


def picture_format(path: Any) -> tuple[str, str]:
    """The path as str, and Pillow's name of the format of its ending; or an error."""
    from PIL import Image

    name = path_of("save", path)
    ending = os.path.splitext(name)[1].lower()
    form = Image.registered_extensions().get(ending)
    if form is None or form not in Image.SAVE:
        raise ValueError(f"save: Pillow writes no pictures with the ending {ending!r}: {name}")
    return name, form


def save_picture(path: Any, picture: np.ndarray) -> None:
    """Write a picture, C×H×W in 0..1."""
    from PIL import Image

    name, form = picture_format(path)
    pixels = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    packed = io.BytesIO()
    image.save(packed, form, **({"quality": 95} if form == "JPEG" else {}))
    atomic_write(name, packed.getvalue())


def show(ax: Any, picture: np.ndarray) -> None:
    if len(picture) == 1:
        ax.imshow(picture[0], cmap="gray", vmin=0, vmax=1)
    else:
        ax.imshow(np.clip(picture.transpose(1, 2, 0), 0, 1))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def figure_type() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('figure: matplotlib is needed: pip install "pyconv[plot]"') from None
    return Figure
