"""Dropout, with random numbers that depend on seed and position alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.kernels import _checks as check
from pyconv.kernels._backend import is_on_device

__all__ = ["dropout", "dropout_backward"]


def dropout(x: np.ndarray, p: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Dropout: zero entries with probability `p`, divide the others by ``1 - p``.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of rank 0 to 4, any strides; or CuPy's of float32, float16 or bfloat16.
        The mask is the same on both.
    p : float
        From 0 to 1; 1 drops all.
    seed : int
        From 0 to 2^64 - 1.

    Returns
    -------
    y : ndarray
        Shape and dtype of `x`; channels-last in memory where `x` is, else contiguous.
    mask : ndarray of bool
        True where an entry is kept; it lies as y does.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype or rank, `p` or `seed` out of range.

    Notes
    -----
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting (2014).
    The entry with the flat index i, in the order of the logical shape, takes the 32-bit word i % 4
    of Philox4x32-10 (Salmon et al., 2011) with the counter i // 4 and the seed as key, and is kept
    where the upper 24 bits times 2^-24 are at least `p`: the mask depends on nothing but shape, `p`
    and seed.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> y, mask = kernels.dropout(np.ones(8), 0.5, seed=1)
    >>> bool((y == 2.0 * mask).all())
    True
    """
    name = "dropout"
    check.storage_array(name, "x", x, ())
    p = check.number(name, "p", p, 0.0, 1.0)
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"{name}: seed must be an int, got {check.kind(seed)}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"{name}: seed must be from 0 to 2^64 - 1, got {seed}")
    return check.backend(name, x=x).dropout(x, p, int(seed))


def dropout_backward(
    dy: np.ndarray, mask: np.ndarray, p: float, *, out: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `dropout`: ``dy / (1 - p)`` where the mask is set, else 0.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result.
    mask : ndarray of bool
        The forward function's second result, of the shape of `dy`.
    p : float
        As for the forward function.
    out : ndarray, optional
        Takes the result; must not overlap an input.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `dy`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, `p` out of range, or `out`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.dropout_backward(np.ones(3), np.array([True, False, True]), 0.5)
    array([2., 0., 2.])
    """
    name = "dropout_backward"
    check.storage_array(name, "dy", dy, ())
    _check_mask(name, mask, dy)
    p = check.number(name, "p", p, 0.0, 1.0)
    check.out_array(name, out, dy.shape, dy.dtype, dy, mask)
    return check.backend(name, dy=dy, mask=mask, out=out).dropout_backward(dy, mask, p, out)


def _check_mask(name: str, mask: Any, dy: np.ndarray) -> None:
    if not isinstance(mask, np.ndarray) and not is_on_device(mask):
        raise TypeError(f"{name}: mask must be a NumPy array, got {check.kind(mask)}")
    if mask.dtype != np.bool_:
        raise TypeError(f"{name}: mask must be bool, got {mask.dtype}")
    check.shape_of(name, "mask", mask, dy.shape, "that of dy")
