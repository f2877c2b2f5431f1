"""Multilayer perceptrons."""

from __future__ import annotations

from pyconv import nn
from pyconv.kernels import _checks as check
from pyconv.models._registry import builder, count

_ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "gelu": nn.GELU}


@builder
def mlp(
    num_classes: int = 10,
    in_features: int = 784,
    hidden: tuple[int, ...] = (256, 128),
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """A multilayer perceptron on flattened pictures, or on feature vectors.

    Parameters
    ----------
    num_classes : int
    in_features : int
        All axes but the batch's, multiplied.
    hidden : tuple of int
        The widths of the hidden layers; () gives one linear layer.
    activation : {"relu", "sigmoid", "tanh", "gelu"}
    dropout : float
        After each hidden layer.

    Returns
    -------
    nn.Sequential

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> models.mlp()(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """
    if not isinstance(hidden, tuple):
        raise TypeError(f"mlp: hidden must be a tuple of ints, got {check.kind(hidden)}")
    layer = _ACTIVATIONS[check.one_of("mlp", "activation", activation, tuple(_ACTIVATIONS))]
    check.number("mlp", "dropout", dropout, 0.0, 1.0)
    width = count("mlp", "in_features", in_features)
    layers: list[nn.Module] = [nn.Flatten()]
    for n in hidden:
        layers += [nn.Linear(width, count("mlp", "hidden", n)), layer()]
        layers += [nn.Dropout(dropout)] if dropout else []
        width = n
    layers.append(nn.Linear(width, count("mlp", "num_classes", num_classes)))
    return nn.Sequential(*layers)
