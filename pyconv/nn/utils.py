"""Helpers for training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyconv import kernels
from pyconv.autograd import Tensor


def clip_grad_norm_(parameters: Any, max_norm: float, norm_type: float = 2.0) -> float:
    """Shrink the gradients so that their common norm is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
    norm_type : float
        2, 1, ``float("inf")``, ...

    Returns
    -------
    float
        The norm before.

    Notes
    -----
    Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks (2013).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> p = nn.Parameter(np.zeros(2))
    >>> (p * np.array([3.0, 4.0])).sum().backward()
    >>> nn.utils.clip_grad_norm_([p], 1.0)
    5.0
    >>> p.grad.data.round(3)
    array([0.6, 0.8])
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm must be at least 0, got {max_norm}")
    gradients = _gradients(parameters)
    if not gradients:
        return 0.0
    norm = kernels.grad_norm(gradients, norm_type)
    factor = max_norm / (norm + 1e-6)
    if factor < 1:
        for gradient in gradients:
            gradient *= factor
    return norm


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Keep every element of the gradients within ±`clip_value`, in place."""
    for gradient in _gradients(parameters):
        gradient.clip(-clip_value, clip_value, out=gradient)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Any:
    """All parameters, one after the other in logical order, as one 1-D Tensor."""
    from pyconv.autograd import cat

    return cat([p.reshape(-1) for p in parameters])


def _gradients(parameters: Any) -> list[Any]:
    items = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad.data for p in items if p.grad is not None]
