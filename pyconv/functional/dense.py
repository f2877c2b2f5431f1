"""Dense layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pyconv import kernels
from pyconv._autocast import lowered
from pyconv._tensor_arithmetic import gemm
from pyconv.autograd import Tensor, is_grad_enabled, record
from pyconv.functional._common import array_of, as_tensor, optional_tensor
from pyconv.functional.activation import activate, gradient_through, split


def linear(x: Any, weight: Any, bias: Any = None, *, activation: Any = None) -> Tensor:
    """Dense layer, ``activation(x @ weight.T + bias)``.

    Parameters
    ----------
    x : Tensor or array, ...×In
        Any leading shape.
    weight : Tensor or array, Out×In
    bias : Tensor or array of Out entries, optional
    activation : None, str or ("leaky_relu", slope)
        See `conv2d`.

    Returns
    -------
    Tensor, ...×Out

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype or shape.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.linear(np.ones((2, 5, 3)), np.ones((4, 3))).shape
    (2, 5, 4)
    """
    x, weight = as_tensor("linear", "x", x), as_tensor("linear", "weight", weight)
    bias = optional_tensor("linear", "bias", bias)
    if x.ndim == 0:
        raise ValueError("linear: x must have at least one axis, got a 0-D array")
    if x.ndim != 2:
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        flat = linear(rows, weight, bias, activation=activation)
        return flat.reshape(*x.shape[:-1], flat.shape[1])
    x, weight, bias = lowered(x, weight, bias)
    fused, alone = split("linear", activation, x, weight, bias)
    y = kernels.linear(x.data, weight.data, array_of(bias), activation=fused)

    def backward(dy: Tensor, needs: tuple[bool, ...], y: Tensor | None = None) -> Sequence[Any]:
        dz = gradient_through(dy, y, fused)
        if all(needs) and not is_grad_enabled():
            all_three = kernels.linear_backward(dz.data, x.data, weight.data)
            return [Tensor._wrap(g) for g in all_three]
        return (
            gemm(dz, weight) if needs[0] else None,
            gemm(dz, x, transpose_a=True) if needs[1] else None,
            dz.sum(0) if needs[2] else None,
        )

    result = record(
        "linear", y, (x, weight, bias), backward, keep_output=fused is not None, fresh=True
    )
    return activate(result, alone)
