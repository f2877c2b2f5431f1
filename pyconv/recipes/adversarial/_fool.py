"""Pictures of nothing that a model is sure of."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes import _ascent
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes.adversarial._attack import Attack, probabilities
from pyconv.recipes.adversarial._evolution import evolution
from pyconv.recipes.adversarial._gradient import gradient


def fool(
    model: Module,
    target: int,
    *,
    method: str = "ascent",
    shape: Any = None,
    probability: float = 0.99,
    steps: int = 200,
    seed: int = 0,
    progress: bool = True,
) -> Attack:
    """A picture of nothing that the model is sure of: from noise, by ascent or by evolution.

    Parameters
    ----------
    model : Module
    target : int
        The class.
    method : {"ascent", "evolution"}
    shape : (C, H, W), optional
        By default what the model was trained on.
    probability : float
        Ascent stops when it is reached.
    steps : int
        Steps, or generations.
    seed : int
    progress : bool

    Returns
    -------
    Attack

    Raises
    ------
    TypeError, ValueError
        No such class; arguments out of range.

    Notes
    -----
    Nguyen, Yosinski and Clune, Deep neural networks are easily fooled (2015).

    Examples
    --------
    >>> from pyconv import nn
    >>> from pyconv.recipes import adversarial
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    >>> found = adversarial.fool(net, 3, shape=(1, 28, 28), probability=0.5, progress=False)
    >>> found.after.tolist()
    [3]
    """
    name = "fool"
    check.one_of(name, "method", method, ("ascent", "evolution"))
    rng = np.random.default_rng(check.integer(name, "seed", seed, 0))
    with looked_at(name, model):
        network = Network(name, model)
        noise = _ascent.noise((1, *network.picture_shape(shape)), rng)
        if method == "ascent":
            return gradient(
                model, noise, target, probability=probability, rate=0.02, steps=steps,
                progress=progress,
            )  # fmt: skip
        return evolution(
            probabilities(model), noise, target, epsilon=0.5, generations=steps,
            cells=16, seed=seed, progress=progress,
        )  # fmt: skip
