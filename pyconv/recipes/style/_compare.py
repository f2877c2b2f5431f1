"""One pass against many steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes._pictures import one_picture
from pyconv.recipes._result import Result
from pyconv.recipes.style._apply import apply
from pyconv.recipes.style._loss import default_model, measure
from pyconv.recipes.style._transfer import transfer

_AIMS = ("content_layer", "style_layers", "layer_weights", "alpha", "beta", "smooth")


def compare(
    net: Module,
    picture: Any,
    style: Any,
    steps: Sequence[int] = (50, 100, 300),
    *,
    model: Module | None = None,
    start: str = "noise",
    seed: int = 0,
    progress: bool = True,
    **aims: Any,
) -> Result:
    """The loss of what a trained network makes of a picture in one pass, and that of the picture
    that `transfer` optimises for it alone.

    Parameters
    ----------
    net : Module
        Trained by `train`.
    picture, style : ndarray, C×H×W or 1×C×H×W
        In 0..1: a picture that `net` was not trained on, and the style that it was trained for.
    steps : sequence of int
        Of the optimised pictures, each begun anew.
    model : Module, optional
        The fixed network of the training; by default the pretrained SqueezeNet.
    start : {"noise", "content"}
        Of the optimised pictures.
    seed : int
    progress : bool
    **aims
        content_layer, style_layers, layer_weights, alpha, beta, smooth: of the loss; by default
        what `net` was trained for.

    Returns
    -------
    Result
        The picture, that of one pass, and one for each number of steps. The history has for each
        its ``name``, ``steps``, ``loss``, ``content`` and ``style``.

    Raises
    ------
    TypeError, ValueError, ImportError
        As `transfer`.

    Notes
    -----
    Johnson, Alahi and Fei-Fei, Perceptual losses for real-time style transfer and
    super-resolution (2016), compare so.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import style
    >>> x, y = np.random.default_rng(0).random((2, 1, 28, 28), np.float32)
    >>> found = style.compare(models.transformer_net(None, 1, 2, 1), x, y, [2, 4],
    ...                       model=models.lenet5(), progress=False)
    >>> [row["name"] for row in found.history]
    ['picture', 'one pass', '2 steps', '4 steps']
    """
    name = "compare"
    x = one_picture(name, "picture", picture)
    y = one_picture(name, "style", style)
    counts = [check.integer(name, "steps", n, 1) for n in steps]
    known = (getattr(net, "metadata", None) or {}).get("style", {})
    aims = {**{k: known[k] for k in _AIMS if k in known}, **aims}
    model = model if model is not None else default_model()
    pictures = {"picture": (0, x), "one pass": (0, apply(net, x).images)}
    for n in counts:
        found = transfer(
            x, y, model=model, start=start, steps=n, seed=seed, progress=progress, **aims
        )
        pictures[f"{n} steps"] = (n, found.images)
    history = [
        {"name": k, "steps": n, **measure(p, x, y, model=model, **aims)}
        for k, (n, p) in pictures.items()
    ]
    return Result(np.concatenate([p for _, p in pictures.values()]), history, list(pictures))
