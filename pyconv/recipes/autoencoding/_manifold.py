"""The plane on which an autoencoder lays pictures out, and how far others are from what it can
make."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv import functional, nn
from pyconv.autograd import no_grad
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes import adversarial, dream
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes._pictures import as_pictures, sheet
from pyconv.recipes._result import Result, figure_type, show
from pyconv.recipes._steps import steps_with_bar
from pyconv.recipes.autoencoding._noise import noisy
from pyconv.recipes.autoencoding._quality import roc_auc
from pyconv.recipes.autoencoding._reconstruct import padded_for, reconstruct

_TOGETHER = 256
_EDGE = 0.01  # of the points lie beyond each side of the plane that is shown
_REGIONS = 64  # cells of the plane, along each axis, for which the classifier is asked


@dataclasses.dataclass
class Manifold(Result):
    """A plane of pictures; ``images`` are its grid decoded, row by row from the top.

    Attributes
    ----------
    points : ndarray, N×2
        Where the encoder puts the pictures.
    labels : ndarray of N, or None
    classes : list of str
    extent : tuple of float
        Left, right, bottom and top of the part of the plane that the grid covers.
    walk : ndarray, K×C×H×W
        From one picture to another: first itself, then what the decoder makes of the points on the
        straight line in the plane, last the other.
    blend : ndarray, K×C×H×W
        The same walk on the straight line between the pixels.
    regions, confidence : ndarray, R×R, or None
        Which class the classifier takes the decoded points for, and with which probability; the
        first row is the bottom.
    distances : dict of str to ndarray
        Root mean square errors of the reconstructions of natural pictures, and of such that were
        made of them.
    examples : dict of str to ndarray, C×H×W
        One of each of those.
    """

    points: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 2)))
    labels: np.ndarray | None = None
    classes: list[str] = dataclasses.field(default_factory=list)
    extent: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)
    walk: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 1, 1, 1)))
    blend: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 1, 1, 1)))
    regions: np.ndarray | None = None
    confidence: np.ndarray | None = None
    distances: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    examples: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def figure(self, across: int | None = None) -> Any:
        """The points, the grid, the classifier's regions, the walk, histograms of the distances.

        Parameters
        ----------
        across : int, optional
            Makes no difference; for symmetry with the others.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            matplotlib is not there.
        """
        figure = figure_type()(figsize=(16, 10), layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=[6, 4])
        across = 2 if self.regions is None else 3
        axes = above.subplots(1, across)
        self._draw_points(axes[0])
        show(axes[1], sheet(self.images, gap=0))
        axes[1].set_title("the plane decoded")
        axes[1].axis("off")
        if self.regions is not None:
            self._draw_regions(axes[2])
        left, right = below.subfigures(1, 2, width_ratios=[9, 7])
        rows = (self.walk, self.blend)
        words = ("through the plane", "from pixel to pixel")
        for ax, row, text in zip(left.subplots(2, 1), rows, words, strict=True):
            show(ax, sheet(row, len(row)))
            ax.axis("off")
            ax.set_title(f"a walk between two pictures, {text}")
        kinds = list(self.distances)
        grid = right.add_gridspec(len(kinds), 2, width_ratios=[1, 6])
        most = max(float(d.max()) for d in self.distances.values())
        bins = np.linspace(0, most, 41)
        for i, kind in enumerate(kinds):
            picture, ax = right.add_subplot(grid[i, 0]), right.add_subplot(grid[i, 1])
            show(picture, self.examples[kind])
            picture.axis("off")
            ax.hist(self.distances[kind], bins=bins, color=f"C{i}")
            ax.set_ylabel(kind, fontsize=8)
            ax.set_yticks([])
            ax.tick_params(labelbottom=i == len(kinds) - 1)
        right.supxlabel("distance: root mean square error of the reconstruction", fontsize=9)
        return figure

    def _draw_points(self, ax: Any) -> None:
        x, y = self.points.T
        ax.set_title("where pictures are")
        if self.labels is None:
            ax.scatter(x, y, s=4)
        else:
            for k, name in enumerate(self.classes):
                found = self.labels == k
                ax.scatter(x[found], y[found], s=5, color=_color(k), label=name)
            ax.legend(fontsize=7, markerscale=3, loc="upper right")
        ax.set(xlim=self.extent[:2], ylim=self.extent[2:])

    def _draw_regions(self, ax: Any) -> None:
        assert self.regions is not None and self.confidence is not None
        colors = np.array([_color(k) for k in range(int(self.regions.max()) + 1)])
        weight = self.confidence[..., None]
        ax.imshow(
            np.clip(weight * colors[self.regions] + (1 - weight), 0, 1),
            origin="lower", extent=self.extent, aspect="auto",
        )  # fmt: skip
        ax.set_title("what the classifier takes the decoded plane for")
        for k in np.unique(self.regions):
            rows, columns = np.nonzero(self.regions == k)
            if len(rows) < self.regions.size / 200:
                continue
            # The cell of the class that is nearest to their middle, which may lie outside.
            away = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
            i, size = int(away.argmin()), self.regions.shape[0]
            left, right, bottom, top = self.extent
            ax.text(
                left + (columns[i] + 0.5) / size * (right - left),
                bottom + (rows[i] + 0.5) / size * (top - bottom),
                self.classes[k] if k < len(self.classes) else str(k),
                ha="center", va="center", fontsize=8,
            )  # fmt: skip


def manifold(
    model: Module,
    pictures: Any,
    labels: Any = None,
    *,
    classes: Sequence[str] | None = None,
    classifier: Module | None = None,
    judge: Module | None = None,
    grid: int = 16,
    walk: tuple[int, int] | None = None,
    walk_steps: int = 10,
    count: int = 100,
    noise: float = 0.1,
    epsilon: float = 0.1,
    layer: str | None = None,
    dream_steps: int = 20,
    dream_rate: float = 0.02,
    seed: int = 0,
    progress: bool = True,
) -> Manifold:
    """Look at the plane of an autoencoder whose bottleneck are two numbers, and measure how far
    pictures are from those that an autoencoder can make.

    Natural pictures lie near a surface of few dimensions among all possible pictures, and the
    decoder draws such a surface: its points decoded are pictures. What is reconstructed badly lies
    far from it.

    Parameters
    ----------
    model : Module
        Trained by `fit` with ``latent=2``.
    pictures : ndarray, N×C×H×W
        In 0..1, which the model was not trained on.
    labels : array of N int, optional
        Their classes, for colours.
    classes : sequence of str, optional
        Names; by default the classifier's, or numbers.
    classifier : Module, optional
        Of such pictures. It is asked what each decoded point of the plane is; and adversarial and
        dreamt pictures are made with it.
    judge : Module, optional
        The autoencoder whose error is the distance. By default the model itself; one that was
        trained with noise is nearer to natural pictures, and tells others from them much better:
        what it takes away points back to them.
    grid : int
        Points decoded along each axis.
    walk : (int, int), optional
        Numbers of the two pictures between which it goes; by default the first two of different
        labels.
    walk_steps : int
    count : int
        Pictures, at the most, of which noisy, adversarial and dreamt ones are made.
    noise : float
        Standard deviation of the noise.
    epsilon : float
        L∞ bound of `adversarial.pgd`.
    layer : str, optional
        Of the classifier, whose activations `dream.dream` enhances; by default its last
        convolution.
    dream_steps : int
    dream_rate : float
    seed : int
    progress : bool

    Returns
    -------
    Manifold
        The history has a row for each kind of pictures: its mean ``distance``, the
        ``perturbation`` (root mean square over all pixels) and the ``auc`` with which the distance
        tells it from natural ones.

    Raises
    ------
    TypeError, ValueError
        A model without an encoder to two numbers and a decoder; pictures out of 0..1; arguments out
        of range.

    Notes
    -----
    Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks (2006); for
    distances Alain and Bengio, What regularized auto-encoders learn from the data-generating
    distribution (2014), and Meng and Chen, MagNet: a two-pronged defense against adversarial
    examples (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import autoencoding
    >>> net = models.autoencoder(latent=2, image_size=8, squash=True)
    >>> x = np.random.default_rng(0).random((6, 1, 8, 8), np.float32)
    >>> found = autoencoding.manifold(net, x, grid=3, progress=False)
    >>> found.images.shape, found.points.shape, list(found.distances)
    ((9, 1, 8, 8), (6, 2), ['natural', 'noisy'])
    """
    name = "manifold"
    rng = np.random.default_rng(check.integer(name, "seed", seed, 0))
    x = as_pictures(name, "pictures", pictures)
    for argument, number, least in (
        ("grid", grid, 2), ("walk_steps", walk_steps, 2), ("count", count, 1),
        ("dream_steps", dream_steps, 1),
    ):  # fmt: skip
        check.integer(name, argument, number, least)
    for argument, value in (("noise", noise), ("epsilon", epsilon), ("dream_rate", dream_rate)):
        check.number(name, argument, value, 0.0)
    y = None if labels is None else np.asarray(labels)
    if y is not None and (y.shape != (len(x),) or y.dtype.kind not in "iu"):
        raise ValueError(
            f"{name}: labels must be {len(x)} class numbers, got shape {y.shape} of {y.dtype}"
        )
    plane = _Plane(name, model, x.shape[1:])
    points = plane.encode(x)
    ends = _ends(name, walk, y, len(x))
    extent = _extent(points)
    across = np.linspace(extent[0], extent[1], grid)
    down = np.linspace(extent[3], extent[2], grid)
    images = plane.decode(np.stack(np.meshgrid(across, down), -1).reshape(-1, 2))
    share = np.linspace(0, 1, walk_steps)[:, None]
    line = plane.decode((1 - share) * points[ends[0]] + share * points[ends[1]])
    first, last = x[ends[0]], x[ends[1]]
    share = share[:, :, None, None].astype(np.float32)
    both = (first[None], last[None])
    found = Manifold(
        images, [], [], points, y, list(classes or _names(classifier, y)), extent,
        np.concatenate([both[0], line, both[1]]),
        np.concatenate([both[0], (1 - share) * first + share * last, both[1]]),
    )  # fmt: skip
    if classifier is not None:
        found.regions, found.confidence = _regions(name, plane, classifier, extent)
    kinds = {"natural": x[:count], "noisy": noisy(x[:count], (noise, noise), rng)}
    if classifier is not None:
        attack = adversarial.pgd(
            classifier, x[:count], epsilon=epsilon, seed=seed, progress=progress
        )
        kinds["adversarial"] = attack.images
        chosen = layer or _last_convolution(name, classifier)
        dreamt = []
        with steps_with_bar(len(x[:count]), "dream", progress) as bar:
            for i in bar:
                dreamt.append(
                    dream.dream(
                        classifier,
                        x[i],
                        chosen,
                        steps=dream_steps,
                        rate=dream_rate,
                        octaves=1,
                        jitter=1,
                        seed=seed,
                        progress=False,
                    ).images  # fmt: skip
                )
        kinds["dreamt"] = np.concatenate(dreamt)
    for step, (kind, batch) in enumerate(kinds.items()):
        away = batch - reconstruct(name, model if judge is None else judge, batch)
        found.distances[kind] = np.sqrt(np.mean(away**2, (1, 2, 3), dtype=np.float64))
        found.examples[kind] = batch[0]
        row = {
            "step": step,
            "kind": kind,
            "distance": float(found.distances[kind].mean()),
            "perturbation": float(np.sqrt(np.mean((batch - x[:count]) ** 2))),
        }
        if step:
            two = [found.distances["natural"], found.distances[kind]]
            which = np.arange(len(two[0]) * 2) >= len(two[0])
            row["auc"] = roc_auc(np.concatenate(two), which)
        found.history.append(row)
    return found


class _Plane:
    """The encoder and the decoder of a model, on pictures in 0..1."""

    def __init__(self, function: str, model: Any, shape: tuple[int, ...]) -> None:
        self.function, self.model, self.shape = function, model, shape
        parts = dict(model.named_modules()) if isinstance(model, Module) else {}
        if "encoder" not in parts or "decoder" not in parts:
            raise TypeError(
                f"{function}: model must have an encoder and a decoder, as models.autoencoder with "
                f"latent=2, got {type(model).__name__}"
            )
        self.encoder, self.decoder = parts["encoder"], parts["decoder"]

    def encode(self, x: np.ndarray) -> np.ndarray:
        """N×2."""
        padded = padded_for(self.function, self.model, x)
        with looked_at(self.function, self.model), no_grad():
            network = Network(self.function, self.model)
            parts = [
                self.encoder(network.normalized(padded[i : i + _TOGETHER])).numpy()
                for i in range(0, len(x), _TOGETHER)
            ]
        points = np.concatenate(parts)
        if points.shape[1:] != (2,):
            raise ValueError(
                f"{self.function}: the model's encoder must give two numbers a picture, got the "
                f"shape {points.shape}; fit one with latent=2"
            )
        return points

    def decode(self, points: np.ndarray) -> np.ndarray:
        """N×C×H×W in 0..1."""
        with looked_at(self.function, self.model), no_grad():
            network = Network(self.function, self.model)
            parts = [
                self.decoder(network.place(points[i : i + _TOGETHER].astype(np.float32))).numpy()
                for i in range(0, len(points), _TOGETHER)
            ]
        y = np.concatenate(parts)[:, :, : self.shape[1], : self.shape[2]]
        return np.clip(y, 0, 1).astype(np.float32)


def _extent(points: np.ndarray) -> tuple[float, float, float, float]:
    """The part of the plane that nearly all points are in."""
    (left, bottom), (right, top) = np.quantile(points, [_EDGE, 1 - _EDGE], 0)
    more = 0.02 * max(right - left, top - bottom, 1e-3)
    return float(left - more), float(right + more), float(bottom - more), float(top + more)


def _ends(function: str, walk: Any, labels: np.ndarray | None, count: int) -> tuple[int, int]:
    if walk is None:
        other = np.flatnonzero(labels != labels[0]) if labels is not None else np.empty(0, int)
        return 0, int(other[0]) if len(other) else count - 1
    if not isinstance(walk, (tuple, list)) or len(walk) != 2:
        raise TypeError(f"{function}: walk must be two numbers of pictures, got {walk!r}")
    first, last = (check.integer(function, "walk", i, 0) for i in walk)
    if max(first, last) >= count:
        raise ValueError(f"{function}: walk must be below {count} pictures, got {walk!r}")
    return first, last


def _names(classifier: Any, labels: np.ndarray | None) -> list[str]:
    known = (getattr(classifier, "metadata", None) or {}).get("classes")
    most = int(labels.max()) + 1 if labels is not None else 0
    return list(known) if known else [str(k) for k in range(most)]


def _regions(
    function: str, plane: _Plane, classifier: Module, extent: tuple[float, float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """What the classifier takes the middle of each cell for, from the bottom, and how surely."""
    middle = (np.arange(_REGIONS) + 0.5) / _REGIONS
    across = extent[0] + middle * (extent[1] - extent[0])
    up = extent[2] + middle * (extent[3] - extent[2])
    cells = plane.decode(np.stack(np.meshgrid(across, up), -1).reshape(-1, 2))
    with looked_at(function, classifier), no_grad():
        network = Network(function, classifier)
        parts = [
            functional.softmax(network(cells[i : i + _TOGETHER]), 1).numpy()
            for i in range(0, len(cells), _TOGETHER)
        ]
    shares = np.concatenate(parts)
    if shares.ndim != 2:
        raise ValueError(
            f"{function}: the classifier must give scores of classes, N×K, got {shares.shape}"
        )
    size = (_REGIONS, _REGIONS)
    return shares.argmax(1).reshape(size), shares.max(1).reshape(size)


def _last_convolution(function: str, model: Module) -> str:
    names = [key for key, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    if not names:
        raise ValueError(f"{function}: the classifier has no convolution; name a layer")
    return names[-1]


def _color(k: int) -> tuple[float, float, float]:
    """The colour of a class: those of matplotlib's tab10, then again."""
    import matplotlib

    red, green, blue, _ = matplotlib.colormaps["tab10"](k % 10)
    return red, green, blue
