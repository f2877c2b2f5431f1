"""What is minimised: how far a picture is from the content of one and the style of another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv.autograd import Tensor, no_grad
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes import _ascent
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes._pictures import one_picture


def gram(features: Any) -> Tensor:
    """The Gram matrix of each picture's channels, divided by the number of positions.

    Parameters
    ----------
    features : Tensor, N×C×H×W
        F.

    Returns
    -------
    Tensor, N×C×C
        G[c, d] = mean over positions k of F[c, k] F[d, k].

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import Tensor
    >>> from pyconv.recipes import style
    >>> style.gram(Tensor(np.ones((1, 2, 3, 3), np.float32))).tolist()
    [[[1.0, 1.0], [1.0, 1.0]]]
    """
    n, channels = features.shape[:2]
    rows = features.reshape(n, channels, -1)
    return rows @ rows.transpose(1, 2) / rows.shape[2]


@dataclasses.dataclass
class Loss:
    """α times the content's and β times the style's distance from what is wanted, of `network`,
    and `smooth` times the total variation.

    Attributes
    ----------
    layer : str
        Of the content.
    style : dict of str to (float, Tensor)
        γ and the Gram matrix of each layer.
    """

    network: Network
    layer: str
    style: dict[str, tuple[float, Tensor]]
    alpha: float
    beta: float
    smooth: float

    def represent(self, content: Any) -> Tensor | None:
        """The representation of the content; None where it doesn't count."""
        if not self.alpha:
            return None
        with no_grad():
            found = self.network.features(content, [self.layer])[self.layer].detach()
        if not float((found * found).sum()) > 0:
            raise ValueError(
                f"{self.network.function}: layer {self.layer!r} is zero for the content picture"
            )
        return found

    def __call__(self, x: Any, content: Tensor | None) -> tuple[Tensor, dict[str, float]]:
        """The total, the mean over the pictures, and its parts as numbers."""
        layers = [*self.style] if content is None else [self.layer, *self.style]
        found = self.network.features(x, list(dict.fromkeys(layers)))
        terms: dict[str, list[Any]] = {"content": [], "style": []}
        if content is not None:
            terms["content"].append(distance(found[self.layer], content))
        for layer, (gamma, matrix) in self.style.items():
            terms["style"].append(gamma * distance(gram(found[layer]), matrix))
        total: Any = self.smooth * _ascent.total_variation(x) / len(x) if self.smooth else 0.0
        for weight, name in ((self.alpha, "content"), (self.beta, "style")):
            for term in terms[name]:
                total = total + weight * term
        parts = {name: float(sum(map(float, found))) for name, found in terms.items()}
        return total, {"loss": float(total), **parts}


def distance(found: Any, wanted: Any) -> Any:
    """The square of the difference, relative to that of what is wanted; of a batch the mean, also
    where one and the same is wanted for all of it."""
    away = found - wanted
    return (away * away).sum() / ((wanted * wanted).sum() * (len(away) / len(wanted)))


def default_model() -> Module:
    """The pretrained SqueezeNet."""
    from pyconv.models import squeezenet1_1

    return squeezenet1_1(pretrained=True)


def default_layers(
    network: Network,
    shape: Sequence[int],
    content: str | None,
    style: Sequence[str] | None,
    shallow: bool = False,
) -> tuple[str, list[str]]:
    """The content layer and the style layers. By default the style layers are, of the container
    with the most numbered modules, the last one of each size of activations, up to five; the
    content layer is the one in their middle. `shallow` leaves the deepest of three or more out."""
    if content is not None and style is not None:
        return content, list(style)
    found = _blocks(network, shape)
    if shallow and len(found) > 2:
        found = found[:-1]
    layers = list(style) if style is not None else found
    return content if content is not None else found[len(found) // 2], layers


def _blocks(network: Network, shape: Sequence[int]) -> list[str]:
    """The last module of each size among those that lie flat in the longest container."""
    containers: dict[str, list[str]] = {}
    for module_name, _ in network.model.named_modules():
        parent, _, own = module_name.rpartition(".")
        if own.isdecimal():
            containers.setdefault(parent, []).append(module_name)
    if not containers:
        raise ValueError(
            f"{network.function}: the model has no blocks in a row; give content_layer and "
            "style_layers"
        )
    names = max(containers.values(), key=len)
    with no_grad():
        probe = network.features(np.full(tuple(shape), 0.5, np.float32), names)
    last: dict[tuple[int, ...], str] = {}
    for module_name, y in probe.items():
        if y.ndim == 4 and min(y.shape[2:]) > 1:
            last[y.shape[2:]] = module_name
    return list(last.values())[:5]


def make_loss(
    function: str,
    network: Network,
    shape: Sequence[int],
    style: Any,
    *,
    content_layer: str | None = None,
    style_layers: Sequence[str] | None = None,
    layer_weights: Sequence[float] | None = None,
    alpha: float = 1.0,
    beta: float = 3.0,
    smooth: float = 1e-1,
    pixels: float = 0.0,
    shallow: bool = False,
) -> Loss:
    """The loss towards a style (or none, for a beta of 0), for pictures of a shape; arguments as
    `transfer` and `train` have them, which are checked here."""
    for argument, value in (
        ("alpha", alpha), ("beta", beta), ("smooth", smooth), ("pixels", pixels),
    ):  # fmt: skip
        check.number(function, argument, value, 0.0)
    if alpha == beta == 0 and pixels:
        return Loss(network, "", {}, alpha, beta, smooth)
    if alpha == beta == 0:
        raise ValueError(f"{function}: alpha and beta are both 0: nothing is to be reconstructed")
    layer, layers = default_layers(network, shape, content_layer, style_layers, shallow)
    if beta and not layers:
        raise ValueError(f"{function}: style_layers is empty")
    weights = [1 / len(layers)] * len(layers) if layer_weights is None else list(layer_weights)
    if len(weights) != len(layers):
        raise ValueError(
            f"{function}: layer_weights must have one number for each of {len(layers)} style "
            f"layers, got {len(weights)}"
        )
    for weight in weights:
        check.number(function, "layer_weights", weight, 0.0)
    matrices: dict[str, Tensor] = {}
    if beta:
        with no_grad():
            matrices = {k: gram(f) for k, f in network.features(style, layers).items()}
    for k, matrix in matrices.items():
        if not float((matrix * matrix).sum()) > 0:
            raise ValueError(f"{function}: layer {k!r} is zero for the style picture")
    goals = {k: (w, matrices[k]) for k, w in zip(layers, weights, strict=True) if beta}
    return Loss(network, layer, goals, alpha, beta, smooth)


def same_channels(function: str, **pictures: np.ndarray) -> None:
    """All are grey, or all are in colour."""
    (first, x), *rest = pictures.items()
    for name, y in rest:
        if x.shape[1] != y.shape[1]:
            raise ValueError(
                f"{function}: {first} has {x.shape[1]} channels and {name} has {y.shape[1]}; both "
                "must be grey or in colour"
            )


def measure(
    picture: Any, content: Any, style: Any, *, model: Module | None = None, **aims: Any
) -> dict[str, float]:
    """How far a picture is from the content of one and the style of another: the loss that
    `transfer` makes small.

    Parameters
    ----------
    picture, content, style : ndarray, C×H×W or 1×C×H×W
        In 0..1; the first two of one size.
    model : Module, optional
        As in `transfer`.
    **aims
        content_layer, style_layers, layer_weights, alpha, beta, smooth: as in `transfer`.

    Returns
    -------
    dict
        ``loss``, and its parts before they are weighted, ``content`` and ``style``.

    Raises
    ------
    TypeError, ValueError, ImportError
        As `transfer`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import style
    >>> x, y = np.random.default_rng(0).random((2, 1, 28, 28), np.float32)
    >>> found = style.measure(x, x, y, model=models.lenet5())
    >>> found["content"], found["style"] > 0
    (0.0, True)
    """
    name = "measure"
    x, c, s = (
        one_picture(name, k, p)
        for k, p in (("picture", picture), ("content", content), ("style", style))
    )
    same_channels(name, content=c, picture=x, style=s)
    if x.shape != c.shape:
        raise ValueError(
            f"{name}: picture and content must have one size, got {x.shape[2:]} and {c.shape[2:]}"
        )
    model = model if model is not None else default_model()
    with looked_at(name, model), no_grad():
        network = Network(name, model)
        loss = make_loss(name, network, c.shape, s, **aims)
        return loss(network.place(x), loss.represent(c))[1]
