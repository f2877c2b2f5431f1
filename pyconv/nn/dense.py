"""Dense layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pyconv import functional
from pyconv.functional._common import as_tensor
from pyconv.kernels import _checks as check
from pyconv.nn import init
from pyconv.nn.fusion import fusable
from pyconv.nn.module import Module
from pyconv.nn.parameter import Parameter


class Linear(Module):
    """Dense layer, ``x @ weight.T + bias``, on the last axis; see `functional.linear`.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool

    Attributes
    ----------
    weight : Parameter, Out×In
    bias : Parameter of Out entries, or None

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> nn.Linear(3, 2)(np.zeros((5, 3), np.float32)).shape
    (5, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features = check.integer("Linear", "in_features", in_features, 1)
        self.out_features = check.integer("Linear", "out_features", out_features, 1)
        self.weight = Parameter(np.empty((out_features, in_features), np.float32))
        has_bias = check.boolean("Linear", "bias", bias)
        self.register_parameter(
            "bias", Parameter(np.empty(out_features, np.float32)) if has_bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights: uniform within ±1 / sqrt(in_features)."""
        init.layer_(self.weight, self.bias)

    @fusable("activation")
    def forward(self, x: Any, activation: Any = None) -> Any:
        return functional.linear(x, self.weight, self.bias, activation=activation)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}" + (
            ", bias=False" if self.bias is None else ""
        )


class Flatten(Module):
    """Several neighbouring axes as one; by default all but the batch's.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> nn.Flatten()(np.zeros((2, 3, 4, 5))).shape
    (2, 60)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Any:
        return as_tensor("Flatten", "x", x).flatten(self.start_dim, self.end_dim)


class Unflatten(Module):
    """One axis as several, the opposite of `Flatten`.

    Parameters
    ----------
    dim : int
        From 1 on: the batch stays as it is.
    unflattened_size : sequence of int

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> nn.Unflatten(1, (3, 4, 5))(np.zeros((2, 60))).shape
    (2, 3, 4, 5)
    """

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        self.dim = check.integer("Unflatten", "dim", dim, 1)
        if not isinstance(unflattened_size, (tuple, list)) or not unflattened_size:
            raise TypeError(
                f"Unflatten: unflattened_size must be a tuple of ints, got {unflattened_size!r}"
            )
        self.unflattened_size = tuple(
            check.integer("Unflatten", "unflattened_size", n, 1) for n in unflattened_size
        )

    def forward(self, x: Any) -> Any:
        x = as_tensor("Unflatten", "x", x)
        size = math.prod(self.unflattened_size)
        if x.ndim <= self.dim or x.shape[self.dim] != size:
            raise ValueError(
                f"Unflatten: x must have {size} entries in axis {self.dim}, got shape {x.shape}"
            )
        return x.reshape(*x.shape[: self.dim], *self.unflattened_size, *x.shape[self.dim + 1 :])

    def extra_repr(self) -> str:
        return f"{self.dim}, {self.unflattened_size}"
