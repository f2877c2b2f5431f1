"""Noise taken away."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes._pictures import as_pictures
from pyconv.recipes._result import Result, figure_type, show
from pyconv.recipes._steps import steps_with_bar
from pyconv.recipes.autoencoding._noise import noisy
from pyconv.recipes.autoencoding._quality import psnr, ssim
from pyconv.recipes.autoencoding._reconstruct import reconstruct

_SHOWN = 4  # pictures a level in the figure
_TOGETHER = 256  # pictures at once


@dataclasses.dataclass
class Denoised(Result):
    """Pictures with noise and without.

    Attributes
    ----------
    given : ndarray, N×C×H×W
        The noisy pictures; ``images`` are what the model made of them.
    originals : ndarray, N×C×H×W
        The clean ones, where they are known; otherwise there are none.
    """

    given: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 1, 1, 1)))
    originals: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 1, 1, 1)))

    def comparison(self) -> np.ndarray:
        """For each picture the noisy one, what was made of it and, where it is known, the clean
        one: 2N or 3N×C×H×W."""
        columns = [self.given, self.images]
        if len(self.originals):
            columns.append(self.originals)
        return np.stack(columns, 1).reshape(-1, *self.images.shape[1:]).astype(np.float32)

    def save(self, path: Any, across: int | None = None, scale: int = 1) -> None:
        """Write the pictures in their own size; where the clean ones are known the `comparison`,
        enlarged. See `Result.save`."""
        super().save(path, across, scale if len(self.originals) else 1)

    def _page(self) -> tuple[np.ndarray, int | None]:
        if not len(self.originals):
            return self.images, None
        threes = min(max(len(self.images) // 4, 1), 4)
        return self.comparison(), 3 * threes

    def figure(self, across: int | None = None) -> Any:
        """Some pictures of each level, noisy, denoised and clean; the measures before and after
        against the level, where there are several.

        Parameters
        ----------
        across : int, optional
            Pictures of each level; by default up to 4.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            matplotlib is not there.
        """
        most = across or _SHOWN
        kinds = 3 if len(self.originals) else 2
        titles = ("noisy", "denoised", "clean")[:kinds]
        levels = [row for row in self.history if "noise" in row]
        each = len(self.images) // max(len(levels), 1)
        shown = [k * each + i for k in range(max(len(levels), 1)) for i in range(min(each, most))]
        across = min(max(each, 1), most)
        down = -(-len(shown) // across)
        curves = len(levels) > 1
        figure = figure_type()(
            figsize=(1.4 * kinds * across + (4 if curves else 0), max(1.6 * down, 2.4)),
            layout="constrained",
        )
        parts = figure.subfigures(
            1, 1 + curves, squeeze=False, width_ratios=[1.4 * kinds * across, 4][: 1 + curves]
        )[0]
        rows = self.comparison().reshape(-1, kinds, *self.images.shape[1:])
        axes = list(parts[0].subplots(down, kinds * across, squeeze=False).flat)
        for ax in axes:
            ax.axis("off")
        for ax, (index, kind) in zip(axes, ((i, k) for i in shown for k in range(kinds)),
                                     strict=False):  # fmt: skip
            show(ax, rows[index, kind])
            level = f", {levels[index // each]['noise']:g}" if levels and kind == 0 else ""
            ax.set_title(titles[kind] + level, fontsize=8)
        if curves:
            where = [row["noise"] for row in levels]
            measures = (("psnr", "PSNR in dB"), ("ssim", "SSIM"))
            for ax, (key, text) in zip(parts[1].subplots(2, 1), measures, strict=True):
                for time in ("before", "after"):
                    ax.plot(where, [row[f"{key}_{time}"] for row in levels], "o-", label=time)
                ax.set(xlabel="standard deviation of the noise", ylabel=text)
                ax.legend()
        return figure


def denoise(
    model: Module,
    pictures: Any,
    *,
    noise: Any = None,
    clean: Any = None,
    seed: int = 0,
    progress: bool = True,
) -> Denoised:
    """Take the noise out of pictures; or first put some in, to see how well that goes.

    Parameters
    ----------
    model : Module
        Trained by `fit` with noise. One without a dense layer takes pictures of any size; large
        ones go through it in tiles that overlap. A model of grey pictures gets the channels of
        pictures in colour one by one.
    pictures : ndarray, C×H×W or N×C×H×W
        In 0..1; noisy, unless `noise` is given.
    noise : float or sequence of float, optional
        Standard deviations of normal noise that is added first; each picture at every level.
    clean : ndarray, optional
        What noisy pictures should become, to measure with.
    seed : int
        Of the noise.
    progress : bool

    Returns
    -------
    Denoised
        Level after level. The history has a row for each: ``noise``, and the means over the
        pictures of ``psnr_before``, ``psnr_after``, ``ssim_before`` and ``ssim_after``, as far as
        these are known.

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1, or that the model can't take; arguments that exclude one another.

    Notes
    -----
    Vincent et al., Extracting and composing robust features with denoising autoencoders (2008). For
    the measures see `psnr` and `ssim`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import autoencoding
    >>> x = np.random.default_rng(0).random((2, 1, 16, 16), np.float32)
    >>> found = autoencoding.denoise(
    ...     models.autoencoder(residual=True), x, noise=[0.1, 0.2], progress=False
    ... )
    >>> found.images.shape, found.history[1]["noise"]
    ((4, 1, 16, 16), 0.2)
    """
    name = "denoise"
    check.integer(name, "seed", seed, 0)
    x = as_pictures(name, "pictures", pictures)
    if noise is not None and clean is not None:
        raise ValueError(f"{name}: noise is put into clean pictures; give noise or clean, not both")
    listed: list[float | None] = [None]
    if noise is not None:
        several = noise if isinstance(noise, (list, tuple, range, np.ndarray)) else [noise]
        listed = [check.number(name, "noise", level, 0.0) for level in several]
        if not listed:
            raise ValueError(f"{name}: noise is an empty sequence")
    wanted = x if noise is not None else None
    if clean is not None:
        wanted = as_pictures(name, "clean", clean)
        if wanted.shape != x.shape:
            raise ValueError(
                f"{name}: clean must have the shape of pictures, {x.shape}, got {wanted.shape}"
            )
    given, images, history = [], [], []
    with steps_with_bar(len(listed), name, progress and len(listed) > 1) as bar:
        for step in bar:
            level = listed[step]
            rng = np.random.default_rng([seed, step])
            before = x if level is None else noisy(x, (level, level), rng)
            after = np.concatenate(
                [
                    reconstruct(name, model, before[i : i + _TOGETHER])
                    for i in range(0, len(x), _TOGETHER)
                ]
            )
            row: dict[str, Any] = {"step": step}
            if level is not None:
                row["noise"] = level
            if wanted is not None:
                for key, measure in (("psnr", psnr), ("ssim", ssim)):
                    row[f"{key}_before"] = float(measure(before, wanted).mean())
                    row[f"{key}_after"] = float(measure(after, wanted).mean())
            history.append(row)
            given.append(before)
            images.append(after)
    originals = np.empty((0, *x.shape[1:]), np.float32)
    if wanted is not None:
        originals = np.concatenate([wanted] * len(listed))
    return Denoised(np.concatenate(images), history, [], np.concatenate(given), originals)
