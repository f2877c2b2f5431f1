"""Style transfer: the content of one picture in the manner of another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyconv.autograd import Tensor, no_grad
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.optim import LBFGS, Adam
from pyconv.recipes import _ascent
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes._pictures import one_picture
from pyconv.recipes._result import Result
from pyconv.recipes._steps import steps_with_bar

__all__ = ["gram", "reconstruct", "transfer"]


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
    """α times the content's and β times the style's distance from what is wanted, of `network`.

    Attributes
    ----------
    content : dict of str to Tensor
        The representation of the content.
    style : dict of str to (float, Tensor)
        γ and the Gram matrix of each layer.
    """

    network: Network
    alpha: float
    beta: float
    content: dict[str, Tensor]
    style: dict[str, tuple[float, Tensor]]

    def __call__(self, x: Any) -> tuple[Tensor, dict[str, float]]:
        """The total, and its parts as numbers."""
        found = self.network.features(x, list(dict.fromkeys([*self.content, *self.style])))
        zero = self.network.place(np.zeros((), np.float32))
        content = style = zero
        for layer, wanted in self.content.items():
            content = content + _distance(found[layer], wanted)
        for layer, (weight, matrix) in self.style.items():
            style = style + weight * _distance(gram(found[layer]), matrix)
        total = self.alpha * content + self.beta * style
        return total, {"loss": float(total), "content": float(content), "style": float(style)}


def _distance(found: Any, wanted: Any) -> Tensor:
    """The square of the difference, relative to that of what is wanted."""
    away = found - wanted
    return (away * away).sum() / (wanted * wanted).sum()


def transfer(
    content: Any,
    style: Any,
    *,
    model: Module | None = None,
    content_layer: str | None = None,
    style_layers: Sequence[str] | None = None,
    layer_weights: Sequence[float] | None = None,
    alpha: float = 1.0,
    beta: float = 3.0,
    smooth: float = 1e-1,
    start: str = "noise",
    keep_color: bool = False,
    method: str = "lbfgs",
    steps: int = 200,
    rate: float = 0.02,
    seed: int = 0,
    progress: bool = True,
) -> Result:
    """A picture with the content of one and the style of another, by optimisation.

    The loss is α L_content + β L_style + a little total variation: L_content the squared distance
    of a layer's activations from those of the content, L_style the sum over layers l of γ_l times
    that of the Gram matrices from those of the style; each is divided by the square of what is
    wanted, so that α and β mean the same for all layers and sizes.

    Parameters
    ----------
    content, style : ndarray, C×H×W or 1×C×H×W
        In 0..1, of any two sizes; the result has that of `content`.
    model : Module, optional
        Whose layers are compared; by default the pretrained SqueezeNet of the extra "models".
    content_layer : str, optional
    style_layers : sequence of str, optional
        Low to high. By default, as `default_layers` says.
    layer_weights : sequence of float, optional
        γ, one a style layer; by default all are equal and sum to 1.
    alpha, beta : float
        Weights of content and style; where one is 0 only the other is reconstructed.
    smooth : float
        Weight of the total variation.
    start : {"noise", "content"}
    keep_color : bool
        The hues of the content; from the result comes the lightness alone.
    method : {"lbfgs", "adam"}
    steps : int
        Evaluations of the loss.
    rate : float
        The step's length, of Adam.
    seed : int
    progress : bool

    Returns
    -------
    Result
        One picture. The history has ``loss``, ``content`` and ``style``.

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1; no such layer; arguments out of range.
    ImportError
        There is no model, and the pretrained one is not installed.

    Notes
    -----
    Gatys, Ecker and Bethge, Image style transfer using convolutional neural networks (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import style
    >>> x, y = np.random.default_rng(0).random((2, 1, 28, 28), np.float32)
    >>> found = style.transfer(x, y, model=models.lenet5(), content_layer="3",
    ...                        style_layers=["0"], steps=8, progress=False)
    >>> found.image.shape, found.history[-1]["loss"] < found.history[0]["loss"]
    ((1, 1, 28, 28), True)
    """
    name = "transfer"
    x = one_picture(name, "content", content)
    y = one_picture(name, "style", style)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"{name}: content has {x.shape[1]} channels and style has {y.shape[1]}; both must "
            "be grey or in colour"
        )
    for argument, value in (
        ("alpha", alpha), ("beta", beta), ("smooth", smooth), ("rate", rate),
    ):  # fmt: skip
        check.number(name, argument, value, 0.0)
    check.one_of(name, "start", start, ("noise", "content"))
    check.one_of(name, "method", method, ("lbfgs", "adam"))
    if alpha == beta == 0:
        raise ValueError(f"{name}: alpha and beta are both 0: nothing is to be reconstructed")
    model = model if model is not None else default_model()
    with looked_at(name, model):
        network = Network(name, model)
        layer, layers = default_layers(network, x.shape, content_layer, style_layers)
        loss = make_loss(name, network, x, y, layer, layers, layer_weights, alpha, beta)
        rng = np.random.default_rng(check.integer(name, "seed", seed, 0))
        picture = _ascent.Fourier(x.shape, rng, network.place)
        if start == "content":
            picture.set_image(x)

        def total() -> tuple[Tensor, dict[str, float]]:
            image = picture.image()
            value, parts = loss(image)
            if smooth:
                value = value + smooth * _ascent.total_variation(image)
            return value, parts

        history = minimize(name, picture.values, total, method, steps, rate, progress)
        result = np.ascontiguousarray(picture.image().numpy(), np.float32)
    if keep_color:
        result = lightness_of(result, x)
    return Result(result, history, ["style transfer"])


def reconstruct(
    picture: Any,
    layers: Sequence[str] | None = None,
    *,
    what: str = "content",
    model: Module | None = None,
    **options: Any,
) -> Result:
    """What single layers hold of a picture: its content layer by layer, or its style by the first
    layer, the first two, and so on.

    Parameters
    ----------
    picture : ndarray, C×H×W or 1×C×H×W
        In 0..1.
    layers : sequence of str, optional
        By default the style layers of `default_layers`.
    what : {"content", "style"}
    model : Module, optional
        As in `transfer`.
    **options
        Of `transfer`: steps, method, seed, ...

    Returns
    -------
    Result
        The picture, and one for each layer.

    Raises
    ------
    TypeError, ValueError, ImportError
        As `transfer`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import style
    >>> x = np.random.default_rng(0).random((1, 28, 28), np.float32)
    >>> style.reconstruct(x, ["0", "3"], model=models.lenet5(), steps=4,
    ...                   progress=False).images.shape
    (3, 1, 28, 28)
    """
    name = "reconstruct"
    x = one_picture(name, "picture", picture)
    check.one_of(name, "what", what, ("content", "style"))
    model = model if model is not None else default_model()
    if layers is None:
        with looked_at(name, model):
            layers = default_layers(Network(name, model), x.shape, None, None)[1]
    images, history, titles = [x], [], ["picture"]
    for i, layer in enumerate(layers):
        of_style = what == "style"
        found = transfer(
            x, x, model=model, content_layer=layer,
            style_layers=list(layers[: i + 1]) if of_style else [layer],
            alpha=float(not of_style), beta=float(of_style), **options,
        )  # fmt: skip
        images.append(found.image)
        history += [{**row, "layer": layer} for row in found.history]
        titles.append(f"to {layer}" if of_style and i else layer)
    return Result(np.concatenate(images), history, titles)


def default_model() -> Module:
    """The pretrained SqueezeNet."""
    from pyconv.models import squeezenet1_1

    return squeezenet1_1(pretrained=True)


def default_layers(
    network: Network, shape: Sequence[int], content: str | None, style: Sequence[str] | None
) -> tuple[str, list[str]]:
    """The content layer and the style layers. By default the style layers are, of the container
    with the most numbered modules, the last one of each size of activations, up to five; the
    content layer is the one in their middle."""
    if content is not None and style is not None:
        return content, list(style)
    found = _blocks(network, shape)
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
    content: Any,
    style: Any,
    layer: str,
    layers: Sequence[str],
    weights: Sequence[float] | None,
    alpha: float,
    beta: float,
) -> Loss:
    """The loss towards two pictures."""
    if weights is None:
        weights = [1 / len(layers)] * len(layers)
    if len(weights) != len(layers):
        raise ValueError(
            f"{function}: layer_weights must have one number for each of {len(layers)} style "
            f"layers, got {len(weights)}"
        )
    for weight in weights:
        check.number(function, "layer_weights", weight, 0.0)
    with no_grad():
        wanted = network.features(content, [layer]) if alpha else {}
        if alpha and not float((wanted[layer] * wanted[layer]).sum()) > 0:
            raise ValueError(f"{function}: layer {layer!r} is zero for the content picture")
        found = network.features(style, list(layers)) if beta else {}
        matrices = {k: gram(f) for k, f in found.items()}
    for k, matrix in matrices.items():
        if not float((matrix * matrix).sum()) > 0:
            raise ValueError(f"{function}: layer {k!r} is zero for the style picture")
    return Loss(
        network, alpha, beta, {k: t.detach() for k, t in wanted.items()},
        {k: (w, matrices[k]) for k, w in zip(layers, weights, strict=True)} if beta else {},
    )  # fmt: skip


def minimize(
    function: str,
    image: Tensor,
    loss: Callable[[], tuple[Tensor, dict[str, float]]],
    method: str,
    steps: int,
    rate: float,
    progress: bool,
) -> list[dict[str, Any]]:
    """Change the image so that the loss gets less; the history of `steps` evaluations."""
    check.integer(function, "steps", steps, 1)
    history: list[dict[str, Any]] = []
    optimizer: Any
    if method == "adam":
        optimizer = Adam([image], lr=rate)
    else:
        optimizer = LBFGS(
            [image], max_iter=steps, max_eval=steps, history_size=20,
            tolerance_change=0.0, line_search_fn="strong_wolfe",
        )  # fmt: skip
    with steps_with_bar(steps, function, progress) as bar:

        def closure() -> Tensor:
            optimizer.zero_grad()
            value, parts = loss()
            value.backward()
            if len(history) < steps:
                history.append({"step": len(history), **parts})
                bar.set_postfix(loss=f"{parts['loss']:.3g}", refresh=False)
                bar.update()
            return value

        if method == "adam":
            for _ in range(steps):
                optimizer.step(closure)
        else:
            optimizer.step(closure)
    return history


# Lightness, and two differences of colours, of R'G'B' (ITU-R BT.601).
_LIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32).reshape(1, 3, 1, 1)


def lightness_of(picture: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """The lightness of one picture with the hues of another (Gatys et al., Preserving color in
    neural artistic style transfer, 2016). Grey pictures have lightness alone."""
    if picture.shape[1] != 3:
        return picture
    light, other = ((p * _LIGHTNESS).sum(1, keepdims=True) for p in (picture, colors))
    return np.clip(colors + light - other, 0, 1).astype(np.float32)
