"""What an autoencoder can't make again."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes._ascent import blurred
from pyconv.recipes._pictures import as_pictures
from pyconv.recipes._result import Result, figure_type, show
from pyconv.recipes._steps import steps_with_bar
from pyconv.recipes.autoencoding._quality import roc_auc
from pyconv.recipes.autoencoding._reconstruct import reconstruct

_SHOWN = 8
_TOGETHER = 256
_SIDES_PER_BLUR = 28  # the errors are blurred by the shorter side divided by this


@dataclasses.dataclass
class Anomalies(Result):
    """How far pictures are from what an autoencoder knows; ``images`` are heat maps.

    Attributes
    ----------
    originals, reconstructions : ndarray, N×C×H×W
    scores : ndarray of N
        The mean squared error of each reconstruction.
    threshold : float
    anomalous : ndarray of N bool
        Whether the score is above the threshold.
    auc : float or None
        The area under the ROC curve, where labels were given.
    """

    originals: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 1, 1, 1)))
    reconstructions: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 1, 1, 1)))
    scores: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    threshold: float = 0.0
    anomalous: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, bool))
    auc: float | None = None

    def comparison(self) -> np.ndarray:
        """For each picture itself, what the autoencoder makes of it, and where the two differ:
        3N×3×H×W."""
        shape = self.images.shape
        columns = [np.broadcast_to(a, shape) for a in (self.originals, self.reconstructions)]
        return np.stack([*columns, self.images], 1).reshape(-1, *shape[1:]).astype(np.float32)

    def _page(self) -> tuple[np.ndarray, int | None]:
        return self.comparison(), 3 if len(self.images) < 4 else 6

    def figure(self, across: int | None = None) -> Any:
        """The pictures with the lowest and the highest scores, what is made of them, heat maps; and
        the scores as a histogram, with the threshold.

        Parameters
        ----------
        across : int, optional
            How many pictures; by default up to 8.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            matplotlib is not there.
        """
        most = max(across or _SHOWN, 2)
        order = np.argsort(self.scores, kind="stable")
        half = min(most // 2, len(order) // 2)
        shown = order if len(order) <= most else np.concatenate([order[:half], order[-half:]])
        figure = figure_type()(figsize=(1.8 * len(shown) + 4, 5.6), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[1.8 * len(shown), 4])
        axes = left.subplots(3, len(shown), squeeze=False)
        for column, i in enumerate(shown):
            rows = (self.originals, self.reconstructions, self.images)
            for ax, pictures in zip(axes[:, column], rows, strict=True):
                show(ax, pictures[i])
                ax.axis("off")
            word = ", anomalous" if self.anomalous[i] else ""
            axes[0, column].set_title(f"{self.scores[i]:.4f}{word}", fontsize=8)
        ax = right.subplots()
        ax.hist(self.scores, bins=min(max(len(self.scores) // 5, 10), 60))
        ax.axvline(self.threshold, color="black", linestyle="--", label="threshold")
        ax.set(xlabel="mean squared error", ylabel="pictures")
        if self.auc is not None:
            ax.set_title(f"ROC-AUC {self.auc:.3f}")
        ax.legend()
        return figure


def anomaly(
    model: Module,
    pictures: Any,
    labels: Any = None,
    *,
    threshold: float | None = None,
    quantile: float = 0.99,
    seed: int = 0,
    progress: bool = True,
) -> Anomalies:
    """Score pictures by how badly an autoencoder makes them again: it has only learned to do that
    with such as it was trained on.

    Parameters
    ----------
    model : Module
        Trained by `fit`.
    pictures : ndarray, C×H×W or N×C×H×W
        In 0..1.
    labels : array of N bool, optional
        Which ones are anomalous; for the ROC-AUC.
    threshold : float, optional
        The score above which a picture is said to be anomalous. By default a `quantile` of the
        scores of those pictures that `fit` kept for validation.
    quantile : float
    seed : int
        There is no chance in it; for symmetry with the others.
    progress : bool

    Returns
    -------
    Anomalies
        The history has the ``score`` of each picture, and whether it is ``anomalous``.

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1, or that the model can't take; no threshold, and a model that doesn't
        know its errors.

    Notes
    -----
    Sakurada and Yairi, Anomaly detection using autoencoders with nonlinear dimensionality reduction
    (2014).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.recipes import autoencoding
    >>> rng = np.random.default_rng(0)
    >>> x = np.full((64, 1, 8, 8), 0.5, np.float32)
    >>> net = autoencoding.fit(x, latent=2, progress=False).model
    >>> found = autoencoding.anomaly(net, rng.random((1, 8, 8), np.float32), progress=False)
    >>> found.anomalous, found.images.shape
    (array([ True]), (1, 3, 8, 8))
    """
    name = "anomaly"
    check.integer(name, "seed", seed, 0)
    x = as_pictures(name, "pictures", pictures)
    check.number(name, "quantile", quantile, 0.0, 1.0)
    known = (getattr(model, "metadata", None) or {}).get("autoencoding") or {}
    if threshold is None:
        if "errors" not in known:
            raise ValueError(
                f"{name}: the model doesn't know its errors; fit it, or give threshold"
            )
        errors = np.asarray(known["errors"], np.float64)
        threshold = float(np.interp(quantile, np.linspace(0, 1, len(errors)), errors))
    check.number(name, "threshold", threshold, 0.0)
    positive = None if labels is None else np.asarray(labels)
    if positive is not None and (positive.shape != (len(x),) or positive.dtype != bool):
        raise ValueError(
            f"{name}: labels must be {len(x)} bools, got shape {positive.shape} of {positive.dtype}"
        )
    parts = []
    with steps_with_bar(-(-len(x) // _TOGETHER), name, progress and len(x) > _TOGETHER) as bar:
        for i in bar:
            parts.append(reconstruct(name, model, x[i * _TOGETHER : (i + 1) * _TOGETHER]))
    made = np.concatenate(parts)
    errors = (made - x) ** 2
    scores = errors.mean((1, 2, 3), dtype=np.float64)
    scale = known.get("cell_error") or float(np.quantile(errors.mean(1), 0.99)) or 1.0
    found = scores > threshold
    return Anomalies(
        heat_maps(x, errors, scale),
        [
            {"step": i, "score": float(s), "anomalous": bool(a)}
            for i, (s, a) in enumerate(zip(scores, found, strict=True))
        ],
        [f"{s:.4f}" for s in scores],
        x,
        made,
        scores,
        threshold,
        found,
        None if positive is None else roc_auc(scores, positive),
    )


def heat_maps(x: np.ndarray, errors: np.ndarray, scale: float) -> np.ndarray:
    """Where the errors are, N×3×H×W: from the dimmed picture through red and yellow to white, which
    is an error of `scale`; a little blurred."""
    sigma = min(x.shape[2:]) / _SIDES_PER_BLUR
    heat = np.sqrt(np.clip(blurred(errors.mean(1, keepdims=True), sigma) / scale, 0, 1))
    colors = np.clip(3 * heat - np.array([0, 1, 2], np.float32).reshape(1, 3, 1, 1), 0, 1)
    dimmed = 0.35 * x.mean(1, keepdims=True) * (1 - heat)
    return np.clip(colors + dimmed, 0, 1).astype(np.float32)
