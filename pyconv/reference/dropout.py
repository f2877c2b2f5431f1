"""Dropout (Srivastava et al., 2014), with random numbers that depend on seed and position alone."""

from __future__ import annotations

import numpy as np

from ._philox import random_words
from ._shapes import result


def dropout(x: np.ndarray, p: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """x / (1 - p) where an entry is kept, 0 where it is dropped, and the mask of the kept.

    The entry with the flat index i, in the order of the logical shape, is kept where u >= p; u is
    the upper 24 bits of its 32-bit random word (see `_philox`) times 2^-24. The factor 1 / (1 - p)
    is rounded to the type of x once. p = 1 drops all.

    Examples
    --------
    >>> import numpy as np
    >>> y, mask = dropout(np.ones(8), 0.5, seed=1)
    >>> bool((y == 2.0 * mask).all())
    True
    """
    u = (random_words(x.size, seed) >> np.uint64(8)).astype(np.float64) * 2.0**-24
    mask = (u >= p).reshape(x.shape)
    return dropout_backward(x, mask, p), mask


def dropout_backward(
    dy: np.ndarray, mask: np.ndarray, p: float, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dy / (1 - p) where the mask is set, else 0.

    Examples
    --------
    >>> import numpy as np
    >>> dropout_backward(np.ones(3), np.array([True, False, True]), 0.5)
    array([2., 0., 2.])
    """
    scale = dy.dtype.type(1 / (1 - p) if p < 1 else 0)
    with np.errstate(invalid="ignore", over="ignore"):
        return result(np.where(mask, dy * scale, dy.dtype.type(0)), out)
