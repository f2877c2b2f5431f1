"""Batch and instance normalisation.

Batch normalisation: Ioffe and Szegedy (2015). Arrays are N×C, N×C×L or N×C×H×W; the statistics of
a channel are taken over all other axes. `var` is always the biased variance.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._shapes import result
from .activation import activate, activation_backward_from_output


def _per_channel(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """C values, to be broadcast along axis 1."""
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


def batch_norm_training(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    *,
    eps: float = 1e-5,
    activation: Any = None,
    residual: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """activation(gamma (x - mean) / sqrt(var + eps) + beta + residual), mean, var.

    Examples
    --------
    >>> import numpy as np
    >>> y, mean, var = batch_norm_training(
    ...     np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), eps=0.0)
    >>> y.ravel(), mean, var
    (array([-1.,  1.]), array([2.]), array([1.]))
    """
    axes = (0, *range(2, x.ndim))
    cells = x.size // max(1, x.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):
        mean = x.sum(axis=axes) / cells
        var = ((x - _per_channel(mean, x)) ** 2).sum(axis=axes) / cells
    y = batch_norm_inference(
        x, gamma, beta, mean, var, eps=eps, activation=activation, residual=residual
    )
    return y, mean, var


def batch_norm_inference(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    eps: float = 1e-5,
    activation: Any = None,
    residual: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """activation(gamma (x - mean) / sqrt(var + eps) + beta + residual).

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones(1)
    >>> batch_norm_inference(np.array([[1.0], [5.0]]), one, one, one, 4 * one, eps=0.0)
    array([[1.],
           [3.]])
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        scale = gamma / np.sqrt(var + float(eps))
        z = (x - _per_channel(mean, x)) * _per_channel(scale, x) + _per_channel(beta, x)
        if residual is not None:
            z = z + residual
    return result(activate(z, activation), out)


def batch_norm_backward(
    dy: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    eps: float = 1e-5,
    activation: Any = None,
    y: np.ndarray | None = None,
    shift: np.ndarray | None = None,
    dresidual: bool = True,
) -> tuple[np.ndarray, ...]:
    """dx, dgamma, dbeta of `batch_norm_training`, with m cells a channel:

        n = (x - mean) / sqrt(var + eps)        the normalised x
        dbeta = sum dy        dgamma = sum n dy
        dx = gamma / sqrt(var + eps) (dy - dbeta / m - n dgamma / m)

    With an activation, `y` is the forward's output, from which its derivative follows; dy is
    multiplied by that first, and what comes out is also the fourth result, dresidual, if it
    is wanted. Where nothing was added before an activation that clips, `y` may be left out: its
    sign and size are those of gamma n + shift, the forward's beta.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0], [3.0]])
    >>> dx, dgamma, dbeta = batch_norm_backward(
    ...     x, x, np.ones(1), np.array([2.0]), np.ones(1), eps=0.0)
    >>> dx.ravel(), dgamma, dbeta
    (array([0., 0.]), array([2.]), array([4.]))
    """
    if activation is not None:
        if y is None and shift is not None:
            y = batch_norm_inference(x, gamma, shift, mean, var, eps=eps, activation=activation)
        if y is None:
            raise ValueError("with an activation, y must be the output of the forward function")
        dy = activation_backward_from_output(dy, y, activation)
    axes = (0, *range(2, x.ndim))
    cells = x.size // max(1, x.shape[1])
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        inverse_deviation = 1 / np.sqrt(var + float(eps))
        normalised = (x - _per_channel(mean, x)) * _per_channel(inverse_deviation, x)
        dbeta = dy.sum(axis=axes)
        dgamma = (dy * normalised).sum(axis=axes)
        common = _per_channel(dbeta, x) / cells + normalised * _per_channel(dgamma, x) / cells
        dx = _per_channel(gamma * inverse_deviation, x) * (dy - common)
    more = activation is not None and dresidual
    return (dx, dgamma, dbeta, dy) if more else (dx, dgamma, dbeta)


def instance_norm(
    x: np.ndarray,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    *,
    eps: float = 1e-5,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Every plane of every image normalised by itself (Ulyanov et al., 2016).

    Examples
    --------
    >>> import numpy as np
    >>> instance_norm(np.array([[[[1.0, 3.0]]]]), eps=0.0)
    array([[[[-1.,  1.]]]])
    """
    y, _ = _normalised(x, eps)
    if gamma is not None:
        y = y * _per_channel(gamma, x)
    if beta is not None:
        y = y + _per_channel(beta, x)
    return result(y, out)


def instance_norm_backward(
    dy: np.ndarray, x: np.ndarray, gamma: np.ndarray | None = None, *, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dx, dgamma, dbeta: batch normalisation's formulas on each plane, summed over the images.

    Without `gamma` the results are those for a gamma of ones.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[[1.0, 3.0]]]])
    >>> dx, dgamma, dbeta = instance_norm_backward(x, x, eps=0.0)
    >>> dx, dgamma, dbeta
    (array([[[[0., 0.]]]]), array([2.]), array([4.]))
    """
    normalised, inverse_deviation = _normalised(x, eps)
    plane = tuple(range(2, x.ndim))
    images = (0, *plane)
    with np.errstate(invalid="ignore", over="ignore"):
        g = dy if gamma is None else dy * _per_channel(gamma, x)
        means = g.mean(axis=plane, keepdims=True)
        slopes = (g * normalised).mean(axis=plane, keepdims=True)
        dx = inverse_deviation * (g - means - normalised * slopes)
        return dx, (dy * normalised).sum(axis=images), dy.sum(axis=images)


def _normalised(x: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """(x - mean) / sqrt(var + eps) of each plane, and 1 / sqrt(var + eps)."""
    plane = tuple(range(2, x.ndim))
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        deviation = x - x.mean(axis=plane, keepdims=True)
        var = (deviation**2).mean(axis=plane, keepdims=True)
        inverse_deviation = 1 / np.sqrt(var + float(eps))
        return deviation * inverse_deviation, inverse_deviation
