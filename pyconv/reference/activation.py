"""Activations, each with its derivative, and the two softmaxes.

``NAME_backward(dy, x)`` takes the input of the forward function; ``softmax_backward`` and
``log_softmax_backward`` take its output.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._shapes import result

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def relu(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """max(x, 0). A NaN stays one.

    Examples
    --------
    >>> import numpy as np
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return result(np.where(x <= 0, x.dtype.type(0), x), out)


def relu_backward(dy: np.ndarray, x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """dy where x > 0, else 0; the derivative at 0 is taken as 0. Where x is a NaN, dy.

    Examples
    --------
    >>> import numpy as np
    >>> relu_backward(np.ones(3), np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    return result(np.where(x <= 0, dy.dtype.type(0), dy), out)


def relu6(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """min(max(x, 0), 6). A NaN stays one.

    Examples
    --------
    >>> import numpy as np
    >>> relu6(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """
    return result(np.clip(x, 0, 6), out)


def relu6_backward(dy: np.ndarray, x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """dy where 0 < x < 6, else 0. Where x is a NaN, dy.

    Examples
    --------
    >>> import numpy as np
    >>> relu6_backward(np.ones(3), np.array([-1.0, 2.0, 6.0]))
    array([0., 1., 0.])
    """
    return result(np.where((x <= 0) | (x >= 6), dy.dtype.type(0), dy), out)


def leaky_relu(
    x: np.ndarray, negative_slope: float = 0.01, *, out: np.ndarray | None = None
) -> np.ndarray:
    """x where x > 0, else slope x (Maas et al., 2013). A NaN stays one.

    Examples
    --------
    >>> import numpy as np
    >>> leaky_relu(np.array([-2.0, 0.0, 2.0]), 0.5)
    array([-1.,  0.,  2.])
    """
    return result(np.where(x > 0, x, x * x.dtype.type(negative_slope)), out)


def leaky_relu_backward(
    dy: np.ndarray,
    x: np.ndarray,
    negative_slope: float = 0.01,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """dy where x > 0, else slope dy.

    Examples
    --------
    >>> import numpy as np
    >>> leaky_relu_backward(np.ones(3), np.array([-2.0, 0.0, 2.0]), 0.5)
    array([0.5, 0.5, 1. ])
    """
    return result(np.where(x > 0, dy, dy * dy.dtype.type(negative_slope)), out)


def sigmoid(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """1 / (1 + exp(-x)), with an exponent that is never positive.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    with np.errstate(under="ignore"):
        e = np.exp(-np.abs(x))
    return result(np.where(x < 0, e, x.dtype.type(1)) / (1 + e), out)


def sigmoid_backward(dy: np.ndarray, x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """dy s(x) s(-x), as 1 - s(x) = s(-x).

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid_backward(np.ones(1), np.zeros(1))
    array([0.25])
    """
    with np.errstate(invalid="ignore"):
        return result(dy * sigmoid(x) * sigmoid(-x), out)


def tanh(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The hyperbolic tangent.

    Examples
    --------
    >>> import numpy as np
    >>> tanh(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    return result(np.tanh(x), out)


def tanh_backward(dy: np.ndarray, x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """dy (1 - tanh(x)^2).

    Examples
    --------
    >>> import numpy as np
    >>> tanh_backward(np.ones(2), np.array([0.0, 1000.0]))
    array([1., 0.])
    """
    with np.errstate(invalid="ignore"):
        return result(dy * (1 - np.tanh(x) ** 2), out)


def silu(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """x s(x), s the sigmoid (Elfwing, Uchibe and Doya, 2018).

    Examples
    --------
    >>> import numpy as np
    >>> silu(np.array([0.0, 1000.0]))
    array([   0., 1000.])
    """
    with np.errstate(invalid="ignore"):
        return result(x * sigmoid(x), out)


def silu_backward(dy: np.ndarray, x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """dy s(x) (1 + x s(-x)).

    Examples
    --------
    >>> import numpy as np
    >>> silu_backward(np.ones(1), np.zeros(1))
    array([0.5])
    """
    with np.errstate(invalid="ignore"):
        return result(dy * sigmoid(x) * (1 + x * sigmoid(-x)), out)


def gelu(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """x P(x), P the distribution function of the normal distribution (Hendrycks and Gimpel, 2016).

    Examples
    --------
    >>> import numpy as np
    >>> gelu(np.array([0.0, 1000.0]))
    array([   0., 1000.])
    """
    with np.errstate(invalid="ignore"):
        return result(x * _normal_distribution(x), out)


def gelu_backward(dy: np.ndarray, x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """dy (P(x) + x p(x)), p the density of the normal distribution.

    Examples
    --------
    >>> import numpy as np
    >>> gelu_backward(np.ones(1), np.zeros(1))
    array([0.5])
    """
    with np.errstate(all="ignore"):
        density = np.exp(-x * x / 2) / x.dtype.type(math.sqrt(2 * math.pi))
        return result(dy * (_normal_distribution(x) + x * density), out)


def _normal_distribution(x: np.ndarray) -> np.ndarray:
    """P(x) = erfc(-x / sqrt 2) / 2: unlike 1 + erf, exact for very negative x, too."""
    return (_erfc(-x.astype(np.float64) / math.sqrt(2)) / 2).astype(x.dtype)


def softmax(x: np.ndarray, axis: int = -1, *, out: np.ndarray | None = None) -> np.ndarray:
    """exp(x) / sum exp(x), after subtracting the largest x.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    with np.errstate(invalid="ignore", under="ignore"):
        e = np.exp(x - np.max(x, axis=axis, keepdims=True))
        return result(e / np.sum(e, axis=axis, keepdims=True), out)


def softmax_backward(
    dy: np.ndarray, y: np.ndarray, axis: int = -1, *, out: np.ndarray | None = None
) -> np.ndarray:
    """y (dy - sum y dy).

    Examples
    --------
    >>> import numpy as np
    >>> softmax_backward(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array([ 0.25, -0.25])
    """
    with np.errstate(invalid="ignore"):
        return result(y * (dy - np.sum(y * dy, axis=axis, keepdims=True)), out)


def log_softmax(x: np.ndarray, axis: int = -1, *, out: np.ndarray | None = None) -> np.ndarray:
    """x - log sum exp(x), after subtracting the largest x.

    Examples
    --------
    >>> import numpy as np
    >>> log_softmax(np.array([1000.0, 0.0]))
    array([    0., -1000.])
    """
    with np.errstate(invalid="ignore", under="ignore"):
        z = x - np.max(x, axis=axis, keepdims=True)
        return result(z - np.log(np.sum(np.exp(z), axis=axis, keepdims=True)), out)


def log_softmax_backward(
    dy: np.ndarray, y: np.ndarray, axis: int = -1, *, out: np.ndarray | None = None
) -> np.ndarray:
    """dy - exp(y) sum dy.

    Examples
    --------
    >>> import numpy as np
    >>> log_softmax_backward(np.array([1.0, 0.0]), np.log([0.5, 0.5]))
    array([ 0.5, -0.5])
    """
    with np.errstate(invalid="ignore"):
        return result(dy - np.exp(y) * np.sum(dy, axis=axis, keepdims=True), out)


def activate(z: np.ndarray, activation: Any) -> np.ndarray:
    """The last step of a fused operation: `activation` is None, a name or ("leaky_relu", slope)."""
    name, arguments = _parsed(activation)
    return z if name is None else _FORWARD[name](z, *arguments)


def activation_backward_from_output(dy: np.ndarray, y: np.ndarray, activation: Any) -> np.ndarray:
    """dy times the derivative of an activation, written in terms of its output y.

    The three that clip keep the sign of their input (the slope is positive), so that y decides.
    """
    name, arguments = _parsed(activation)
    if name is None:
        return dy
    if name in ("relu", "relu6", "leaky_relu"):
        return _BACKWARD[name](dy, y, *arguments)
    if name == "sigmoid":
        return dy * y * (1 - y)
    if name == "tanh":
        return dy * (1 - y * y)
    raise ValueError(f"the derivative of {name} does not follow from its output")


def _parsed(activation: Any) -> tuple[str | None, tuple[float, ...]]:
    name, arguments = activation, ()
    if isinstance(activation, tuple):
        name, *rest = activation
        arguments = tuple(rest)
        if name != "leaky_relu" or len(arguments) != 1:
            raise ValueError(f"activation must be ('leaky_relu', slope), got {activation!r}")
    if name is not None and name not in _FORWARD:
        raise ValueError(f"activation must be None or one of {list(_FORWARD)}, got {name!r}")
    return name, arguments


_FORWARD: dict[str, Any] = {
    "relu": relu,
    "relu6": relu6,
    "leaky_relu": leaky_relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "silu": silu,
    "gelu": gelu,
}
_BACKWARD: dict[str, Any] = {
    "relu": relu_backward,
    "relu6": relu6_backward,
    "leaky_relu": leaky_relu_backward,
}
