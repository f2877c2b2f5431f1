"""Steps of gradient descent, in place, on lists of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def grad_norm(arrays: Sequence[np.ndarray], order: float = 2) -> float:
    """``(sum |g|^order)^(1 / order)`` over all entries of all arrays, in float64; inf: the largest.

    Examples
    --------
    >>> import numpy as np
    >>> grad_norm([np.array([3.0]), np.array([[4.0]])])
    5.0
    """
    if not order > 0:
        raise ValueError(f"order must be positive, got {order!r}")
    entries = [np.abs(array.astype(np.float64)).ravel() for array in arrays]
    flat = np.concatenate([np.zeros(1), *entries])
    with np.errstate(over="ignore", under="ignore"):
        if math.isinf(order):
            return float(flat.max())
        return float((flat**order).sum() ** (1 / order))


def sgd_step(
    parameters: Sequence[np.ndarray],
    gradients: Sequence[np.ndarray],
    momenta: Sequence[np.ndarray] | None,
    *,
    lr: float,
    momentum: float = 0,
    dampening: float = 0,
    nesterov: bool = False,
    weight_decay: float = 0,
) -> None:
    """Gradient descent with momentum (Sutskever et al., 2013), in place.

        g = gradient + weight_decay parameter
        v = momentum v + (1 - dampening) g
        parameter -= lr (g + momentum v  with Nesterov,  v  with momentum,  g  without)

    Without momentum, `momenta` is not read. PyTorch's first step sets v = g, without dampening: an
    optimizer that wants this starts from v = (dampening / momentum) g.

    Examples
    --------
    >>> import numpy as np
    >>> w, v = np.array([1.0]), np.array([0.0])
    >>> sgd_step([w], [np.array([2.0])], [v], lr=0.25, momentum=0.5)
    >>> w, v
    (array([0.5]), array([2.]))
    """
    for k, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        g = gradient + float(weight_decay) * parameter
        if momentum != 0:
            if momenta is None:
                raise ValueError("with momentum, momenta must be arrays")
            v = momenta[k]
            v[...] = float(momentum) * v + (1 - float(dampening)) * g
            g = g + float(momentum) * v if nesterov else v
        parameter -= float(lr) * g


def adam_step(
    parameters: Sequence[np.ndarray],
    gradients: Sequence[np.ndarray],
    m: Sequence[np.ndarray],
    v: Sequence[np.ndarray],
    step: int,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0,
    decoupled: bool = False,
) -> None:
    """Adam (Kingma and Ba, 2015), in place; `step` is the number of this step, from 1.

        g = gradient + weight_decay parameter
        m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
        parameter -= lr (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + eps)

    With `decoupled` the weights decay by themselves, ``parameter *= 1 - lr weight_decay``, and g is
    the gradient (AdamW: Loshchilov and Hutter, 2019).

    Examples
    --------
    >>> import numpy as np
    >>> w, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    >>> adam_step([w], [np.array([3.0])], [m], [v], 1, lr=0.5, eps=0.0)
    >>> w
    array([0.5])
    """
    beta1, beta2 = (float(beta) for beta in betas)
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    arrays = zip(parameters, gradients, m, v, strict=True)
    for parameter, gradient, first, second in arrays:
        g = gradient
        if decoupled:
            parameter *= 1 - float(lr) * float(weight_decay)
        else:
            g = gradient + float(weight_decay) * parameter
        first[...] = beta1 * first + (1 - beta1) * g
        second[...] = beta2 * second + (1 - beta2) * g * g
        deviation = np.sqrt(second) / math.sqrt(correction2) + float(eps)
        parameter -= float(lr) / correction1 * first / deviation
