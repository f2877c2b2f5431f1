"""Dropout."""

from __future__ import annotations

from typing import Any

from pyconv import kernels, random
from pyconv.autograd import Tensor, linear_map, record
from pyconv.functional._common import as_tensor
from pyconv.kernels import _checks as check


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Zero at random, with probability `p`; what is kept is divided by 1 - p.

    Parameters
    ----------
    x : Tensor or array
    p : float
        From 0 to 1.
    training : bool
        Without, x is returned as it is.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError, ValueError
        Wrong type or dtype, or `p` out of range.

    Notes
    -----
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting (2014).
    What is dropped follows from `pyconv.manual_seed`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.dropout(np.ones(3), 0.5, training=False)
    Tensor([1., 1., 1.])
    """
    x = as_tensor("dropout", "x", x)
    p = check.number("dropout", "p", p, 0.0, 1.0)
    if not check.boolean("dropout", "training", training) or p == 0:
        return x
    if x.ndim > 4:  # more than the kernel takes; what is dropped goes by the flat index anyway
        return dropout(x.reshape(-1), p).reshape(*x.shape)
    y, mask = kernels.dropout(x.data, p, random.next_seed())

    def drop(a: Any) -> Any:  # its own adjoint
        return kernels.dropout_backward(a, mask, p)

    def backward(dy: Tensor, needs: tuple[bool, ...]) -> tuple[Tensor]:
        return (linear_map("dropout_backward", dy, drop, drop, fresh=True),)

    return record("dropout", y, (x,), backward, fresh=True)
