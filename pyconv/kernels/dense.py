"""Dense layers: matrix products with a fused last step.

CuPy arrays are float32, float16 or bfloat16, all of a call the same; only a bias may be float32
beside 16-bit ones. Sums are float32, on tensor cores for 16-bit arrays, and for float32 where
`pyconv.set_float32_precision` says "tf32"; 16-bit results are rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.kernels import _checks as check
from pyconv.kernels.convolution import PackedWeight

__all__ = ["gemm", "linear", "linear_backward"]


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
    """Matrix product: ``activation(alpha * op(a) @ op(b) + beta * c + bias)``.

    Parameters
    ----------
    a, b : ndarray, M×K and K×N (K×M and N×K where transposed)
        float32 or float64, both the same; of CuPy float32, float16 or bfloat16.
    transpose_a, transpose_b : bool
        Use the transposed matrix.
    alpha, beta : float
        Factors of the product and of `c`. With ``beta=0`` `c` is not read.
    c : ndarray, M×N, optional
        Added, times `beta`.
    bias : ndarray of N entries, optional
        Added to every row.
    activation : str, tuple or None
        Applied last; see `conv2d`.
    out : ndarray, M×N, optional
        Takes the result.

    Returns
    -------
    ndarray, M×N

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank or shape.

    Notes
    -----
    The BLAS operation GEMM (Dongarra et al., 1990), computed in blocks around one micro-kernel
    as by Goto and van de Geijn (2008).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> a = np.arange(6, dtype=np.float32).reshape(2, 3)
    >>> kernels.gemm(a, a, transpose_b=True)
    array([[ 5., 14.],
           [14., 50.]], dtype=float32)
    """
    check.storage_array("gemm", "a", a, 2)
    check.storage_array("gemm", "b", b, 2)
    transpose_a = check.boolean("gemm", "transpose_a", transpose_a)
    transpose_b = check.boolean("gemm", "transpose_b", transpose_b)
    m, k = a.shape[::-1] if transpose_a else a.shape
    k_b, n = b.shape[::-1] if transpose_b else b.shape
    if k != k_b:
        raise ValueError(
            f"gemm: b must have {k} rows (the columns of a), got {k_b}: "
            f"a is {a.shape}{' transposed' if transpose_a else ''}, "
            f"b is {b.shape}{' transposed' if transpose_b else ''}"
        )
    alpha = check.number("gemm", "alpha", alpha)
    beta = check.number("gemm", "beta", beta)
    if c is not None:
        check.storage_array("gemm", "c", c, 2)
        check.shape_of("gemm", "c", c, (m, n), "rows of a, columns of b")
    elif beta != 0:
        raise ValueError(f"gemm: c must be given where beta is not 0, got beta={beta}")
    _check_bias("gemm", bias, n)
    if a.dtype is not b.dtype or c is not None or bias is not None:
        check.same_dtype("gemm", a=a, b=b, c=c, bias=check.bias_to_match(bias, a))
    code, slope = check.activation("gemm", activation)
    run = check.backend("gemm", a=a, b=b, c=c, bias=bias, out=out)
    check.out_array("gemm", out, (m, n), a.dtype, a, b, c, bias)
    return run.gemm(a, b, transpose_a, transpose_b, alpha, beta, c, bias, code, slope, out)


def linear(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    activation: Any = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Dense layer: ``activation(x @ weight.T + bias)``.

    Parameters
    ----------
    x : ndarray, N×In
        float32 or float64.
    weight : ndarray, Out×In, or PackedWeight
    bias : ndarray of Out entries, optional
    activation : str, tuple or None
        See `conv2d`.
    out : ndarray, N×Out, optional
        Takes the result.

    Returns
    -------
    ndarray, N×Out

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank or shape.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x = np.array([[1, 2]], np.float32)
    >>> weight = np.array([[1, 1], [1, -1], [0, 3]], np.float32)
    >>> kernels.linear(x, weight, activation="relu")
    array([[3., 0., 6.]], dtype=float32)
    """
    check.storage_array("linear", "x", x, 2)
    if isinstance(weight, PackedWeight):
        return weight._linear(x, bias, activation, out)
    check.storage_array("linear", "weight", weight, 2)
    if weight.shape[1] != x.shape[1]:
        raise ValueError(
            f"linear: weight must have {x.shape[1]} columns (the features of x), "
            f"got shape {weight.shape}"
        )
    _check_bias("linear", bias, weight.shape[0])
    if x.dtype is not weight.dtype or bias is not None:
        check.same_dtype("linear", x=x, weight=weight, bias=check.bias_to_match(bias, x))
    code, slope = check.activation("linear", activation)
    run = check.backend("linear", x=x, weight=weight, bias=bias, out=out)
    check.out_array("linear", out, (x.shape[0], weight.shape[0]), x.dtype, x, weight, bias)
    return run.linear(x, weight, bias, code, slope, out)


def linear_backward(
    dy: np.ndarray, x: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of `linear` (without an activation).

    Parameters
    ----------
    dy : ndarray, N×Out
        Gradient of the result.
    x : ndarray, N×In
    weight : ndarray, Out×In

    Returns
    -------
    dx : ndarray, N×In
        ``dy @ weight``
    dw : ndarray, Out×In
        ``dy.T @ x``
    db : ndarray of Out entries
        The sum of `dy` over the batch.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank or shape.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x, weight = np.ones((2, 3), np.float32), np.ones((1, 3), np.float32)
    >>> dx, dw, db = kernels.linear_backward(np.ones((2, 1), np.float32), x, weight)
    >>> dw, db
    (array([[2., 2., 2.]], dtype=float32), array([2.], dtype=float32))
    """
    check.storage_array("linear_backward", "dy", dy, 2)
    check.storage_array("linear_backward", "x", x, 2)
    check.storage_array("linear_backward", "weight", weight, 2)
    check.shape_of(
        "linear_backward", "weight", weight, (dy.shape[1], x.shape[1]), "columns of dy and of x"
    )
    check.shape_of("linear_backward", "dy", dy, (x.shape[0], dy.shape[1]), "rows of x")
    check.same_dtype("linear_backward", dy=dy, x=x, weight=weight)
    run = check.backend("linear_backward", dy=dy, x=x, weight=weight)
    return run.linear_backward(dy, x, weight)


def _check_bias(function: str, bias: Any, columns: int) -> None:
    if bias is not None:
        check.storage_array(function, "bias", bias, 1)
        check.shape_of(function, "bias", bias, (columns,), "one entry a column")
