"""Style transfer by optimisation: the picture is what is learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyconv.autograd import Tensor
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.optim import LBFGS, Adam
from pyconv.recipes import _ascent
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes._pictures import one_picture
from pyconv.recipes._result import Result
from pyconv.recipes._steps import steps_with_bar
from pyconv.recipes.style._loss import default_layers, default_model, make_loss, same_channels


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
    same_channels(name, content=x, style=y)
    check.number(name, "rate", rate, 0.0)
    check.integer(name, "steps", steps, 1)
    check.one_of(name, "start", start, ("noise", "content"))
    check.one_of(name, "method", method, ("lbfgs", "adam"))
    rng = np.random.default_rng(check.integer(name, "seed", seed, 0))
    model = model if model is not None else default_model()
    with looked_at(name, model):
        network = Network(name, model)
        loss = make_loss(
            name, network, x.shape, y, content_layer=content_layer,
            style_layers=style_layers, layer_weights=layer_weights, alpha=alpha, beta=beta,
            smooth=smooth,
        )  # fmt: skip
        wanted = loss.represent(x)
        picture = _ascent.Fourier(x.shape, rng, network.place)
        if start == "content":
            picture.set_image(x)

        def total() -> tuple[Tensor, dict[str, float]]:
            return loss(picture.image(), wanted)

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
