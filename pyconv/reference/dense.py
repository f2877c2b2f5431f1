"""Matrix products with a fused last step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._shapes import result
from .activation import activate


def gemm(
    a: np.ndarray,
    b: np.ndarray,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    alpha: float = 1.0,
    beta: float = 0.0,
    c: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    activation: Any = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """activation(alpha op(a) op(b) + beta c + bias), op(a) = a or its transpose.

    `op(a)` is M×K, `op(b)` K×N, `c` M×N, `bias` N. With beta = 0, `c` is not read.

    Examples
    --------
    >>> import numpy as np
    >>> gemm(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]), alpha=2, bias=np.array([0.0, 1.0]))
    array([[2., 5.],
           [6., 9.]])
    """
    left = a.T if transpose_a else a
    right = b.T if transpose_b else b
    with np.errstate(invalid="ignore", over="ignore"):
        z = float(alpha) * (left @ right)
        if c is not None and beta != 0:
            z = z + float(beta) * c
        if bias is not None:
            z = z + bias
    return result(activate(z, activation), out)


def linear(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: Any = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """activation(x weight^T + bias): `x` N×In, `weight` Out×In, `bias` Out.

    Examples
    --------
    >>> import numpy as np
    >>> linear(np.array([[1.0, 2.0]]), np.array([[1.0, 1.0], [1.0, -1.0]]), activation="relu")
    array([[3., 0.]])
    """
    return gemm(x, weight, transpose_b=True, bias=bias, activation=activation, out=out)


def linear_backward(
    dy: np.ndarray, x: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx = dy weight, dw = dy^T x, db = the sum of dy over the batch.

    Examples
    --------
    >>> import numpy as np
    >>> dx, dw, db = linear_backward(np.ones((2, 1)), np.ones((2, 3)), np.ones((1, 3)))
    >>> dw, db
    (array([[2., 2., 2.]]), array([2.]))
    """
    with np.errstate(invalid="ignore", over="ignore"):
        return dy @ weight, dy.T @ x, dy.sum(axis=0)
