"""How content is weighed against style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes._result import Result
from pyconv.recipes.style._loss import default_model
from pyconv.recipes.style._transfer import transfer


def grid(
    content: Any,
    style: Any,
    ratios: Sequence[float] = (100.0, 10.0, 1.0, 0.1, 0.01),
    *,
    content_layers: Sequence[str] | None = None,
    model: Module | None = None,
    **options: Any,
) -> Result:
    """Transfers with several ratios of α, the weight of the content, to β, that of the style: one
    row for each content layer, one column for each ratio.

    Parameters
    ----------
    content, style : ndarray, C×H×W or 1×C×H×W
        In 0..1.
    ratios : sequence of float
        α / β, with β = 1.
    content_layers : sequence of str, optional
        By default the one of `transfer`.
    model : Module, optional
        As in `transfer`.
    **options
        Of `transfer`, but for alpha, beta and content_layer.

    Returns
    -------
    Result
        One picture for each; the history has the ``ratio`` of each step, too.

    Raises
    ------
    TypeError, ValueError, ImportError
        As `transfer`.

    Notes
    -----
    Gatys, Ecker and Bethge, Image style transfer using convolutional neural networks (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import style
    >>> x, y = np.random.default_rng(0).random((2, 1, 28, 28), np.float32)
    >>> style.grid(x, y, [10, 0.1], model=models.lenet5(), steps=2, progress=False).titles
    ['α/β = 10', 'α/β = 0.1']
    """
    ratios = [check.number("grid", "ratios", ratio, 0.0) for ratio in ratios]
    layers: list[str | None] = [None] if content_layers is None else [*content_layers]
    if not ratios or not layers:
        raise ValueError("grid: ratios and content_layers must not be empty")
    model = model if model is not None else default_model()
    images, history, titles = [], [], []
    for layer in layers:
        for ratio in ratios:
            found = transfer(
                content, style, model=model, content_layer=layer, alpha=ratio, beta=1.0, **options
            )
            images.append(found.image)
            history += [{**row, "ratio": ratio} for row in found.history]
            titles.append(f"{'' if layer is None else f'{layer}, '}α/β = {ratio:g}")
    return Result(np.concatenate(images), history, titles)
