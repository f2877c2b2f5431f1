"""Activations, each with its derivative, and the two softmaxes.

Results lie in memory as the input does: what is channels-last stays so, and nothing is copied.
CuPy arrays are float32, float16 or bfloat16; computed in float32, 16-bit results are rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.kernels import _checks as check

__all__ = [
    "gelu",
    "gelu_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_softmax",
    "log_softmax_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
]


def relu(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Rectified linear unit, ``max(x, 0)``.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of rank 0 to 4, any strides.
    out : ndarray, optional
        Takes the result; must not overlap `x`.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, or `out`.

    Notes
    -----
    Nair and Hinton (2010). A NaN stays one.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    return _forward("relu", x, out)


def relu_backward(dy: np.ndarray, x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `relu`: ``dy`` where ``x > 0``, else ``0``; 0 at 0.

    Where `x` is a NaN, it is dy.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result, of the shape and dtype of `x`.
    x : ndarray
        The input of the forward function.
    out : ndarray, optional
        Takes the result; must not overlap an input.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, or `out`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.relu_backward(np.ones(3), np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    return _backward("relu", dy, x, out)


def relu6(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """``min(max(x, 0), 6)``.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of rank 0 to 4, any strides.
    out : ndarray, optional
        Takes the result; must not overlap `x`.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, or `out`.

    Notes
    -----
    Krizhevsky, Convolutional deep belief networks on CIFAR-10 (2010). A NaN stays one.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.relu6(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """
    return _forward("relu6", x, out)


def relu6_backward(dy: np.ndarray, x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `relu6`: ``dy`` where ``0 < x < 6``, else ``0``.

    Where `x` is a NaN, it is dy.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result, of the shape and dtype of `x`.
    x : ndarray
        The input of the forward function.
    out : ndarray, optional
        Takes the result; must not overlap an input.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, or `out`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.relu6_backward(np.ones(3), np.array([-1.0, 2.0, 6.0]))
    array([0., 1., 0.])
    """
    return _backward("relu6", dy, x, out)


def leaky_relu(
    x: np.ndarray, negative_slope: float = 0.01, *, out: np.ndarray | None = None
) -> np.ndarray:
    """``x`` where ``x > 0``, else ``negative_slope * x``.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of rank 0 to 4, any strides.
    negative_slope : float
        Factor of negative entries.
    out : ndarray, optional
        Takes the result; must not overlap `x`.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, or `out`.

    Notes
    -----
    Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic models
    (2013). A NaN stays one.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.leaky_relu(np.array([-2.0, 0.0, 2.0]), 0.5)
    array([-1.,  0.,  2.])
    """
    slope = check.number("leaky_relu", "negative_slope", negative_slope)
    return _forward("leaky_relu", x, out, slope)


def leaky_relu_backward(
    dy: np.ndarray, x: np.ndarray, negative_slope: float = 0.01, *, out: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `leaky_relu`: ``dy`` where ``x > 0``, else ``negative_slope * dy``.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result, of the shape and dtype of `x`.
    x : ndarray
        The input of the forward function.
    negative_slope : float
        Factor of negative entries.
    out : ndarray, optional
        Takes the result; must not overlap an input.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, or `out`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.leaky_relu_backward(np.ones(3), np.array([-2.0, 0.0, 2.0]), 0.5)
    array([0.5, 0.5, 1. ])
    """
    slope = check.number("leaky_relu_backward", "negative_slope", negative_slope)
    return _backward("leaky_relu", dy, x, out, slope)


def sigmoid(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The logistic function ``s(x) = 1 / (1 + exp(-x))``.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of rank 0 to 4, any strides.
    out : ndarray, optional
        Takes the result; must not overlap `x`.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, or `out`.

    Notes
    -----
    In float32 off by less than 2 · 2^-23 of the result.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return _forward("sigmoid", x, out)


def sigmoid_backward(dy: np.ndarray, x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `sigmoid`: ``dy * s(x) * s(-x)``, as 1 - s(x) = s(-x).

    Parameters
    ----------
    dy : ndarray
        Gradient of the result, of the shape and dtype of `x`.
    x : ndarray
        The input of the forward function.
    out : ndarray, optional
        Takes the result; must not overlap an input.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, or `out`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.sigmoid_backward(np.ones(1), np.zeros(1))
    array([0.25])
    """
    return _backward("sigmoid", dy, x, out)


def tanh(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The hyperbolic tangent.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of rank 0 to 4, any strides.
    out : ndarray, optional
        Takes the result; must not overlap `x`.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, or `out`.

    Notes
    -----
    In float32 off by less than 2 · 2^-23 of the result.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.tanh(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    return _forward("tanh", x, out)


def tanh_backward(dy: np.ndarray, x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `tanh`: ``dy * (1 - tanh(x)**2)``.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result, of the shape and dtype of `x`.
    x : ndarray
        The input of the forward function.
    out : ndarray, optional
        Takes the result; must not overlap an input.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, or `out`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.tanh_backward(np.ones(2), np.array([0.0, 1000.0]))
    array([1., 0.])
    """
    return _backward("tanh", dy, x, out)


def silu(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Sigmoid linear unit, ``x * s(x)``, s the sigmoid; also called swish.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of rank 0 to 4, any strides.
    out : ndarray, optional
        Takes the result; must not overlap `x`.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, or `out`.

    Notes
    -----
    Elfwing, Uchibe and Doya, Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning (2018).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.silu(np.array([0.0, 1000.0]))
    array([   0., 1000.])
    """
    return _forward("silu", x, out)


def silu_backward(dy: np.ndarray, x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `silu`: ``dy * s(x) * (1 + x * s(-x))``.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result, of the shape and dtype of `x`.
    x : ndarray
        The input of the forward function.
    out : ndarray, optional
        Takes the result; must not overlap an input.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, or `out`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.silu_backward(np.ones(1), np.zeros(1))
    array([0.5])
    """
    return _backward("silu", dy, x, out)


def gelu(x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gaussian error linear unit, ``x * P(x)``, P the normal distribution function.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of rank 0 to 4, any strides.
    out : ndarray, optional
        Takes the result; must not overlap `x`.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, or `out`.

    Notes
    -----
    Hendrycks and Gimpel, Gaussian error linear units (2016); the exact form, not the one with
    tanh. In float32 off by less than 4 · 2^-23 of the result, for large negative x, too.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.gelu(np.array([0.0, 1000.0]))
    array([   0., 1000.])
    """
    return _forward("gelu", x, out)


def gelu_backward(dy: np.ndarray, x: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Gradient of `gelu`: ``dy * (P(x) + x * p(x))``, p the density.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result, of the shape and dtype of `x`.
    x : ndarray
        The input of the forward function.
    out : ndarray, optional
        Takes the result; must not overlap an input.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, or `out`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.gelu_backward(np.ones(1), np.zeros(1))
    array([0.5])
    """
    return _backward("gelu", dy, x, out)


def softmax(x: np.ndarray, axis: int = -1, *, out: np.ndarray | None = None) -> np.ndarray:
    """Softmax along an axis, ``exp(x) / sum(exp(x))``.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of rank 1 to 4, any strides.
    axis : int
        Axis of the sum; from the end where negative.
    out : ndarray, optional
        Takes the result; must not overlap `x`.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, axis, or `out`.

    Notes
    -----
    Bridle (1990). The largest x is subtracted first, so that no exponential overflows. Where x
    holds a NaN or +inf, all of its row is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    return _softmax("softmax", False, x, axis, out)


def softmax_backward(
    dy: np.ndarray, y: np.ndarray, axis: int = -1, *, out: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `softmax`: ``y * (dy - sum(y * dy))``.

    Parameters
    ----------
    dy : ndarray
        Gradient of the result, of the shape and dtype of `y`.
    y : ndarray
        The result of the forward function.
    axis : int
        As for the forward function.
    out : ndarray, optional
        Takes the result; must not overlap an input.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `y`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, axis, or `out`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.softmax_backward(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    array([ 0.25, -0.25])
    """
    return _softmax_backward("softmax_backward", False, dy, y, axis, out)


def log_softmax(x: np.ndarray, axis: int = -1, *, out: np.ndarray | None = None) -> np.ndarray:
    """Logarithm of the softmax along an axis, ``x - log(sum(exp(x)))``.

    Parameters
    ----------
    x, axis, out
        As for `softmax`.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `x`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, axis, or `out`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.log_softmax(np.array([1000.0, 0.0]))
    array([    0., -1000.])
    """
    return _softmax("log_softmax", True, x, axis, out)


def log_softmax_backward(
    dy: np.ndarray, y: np.ndarray, axis: int = -1, *, out: np.ndarray | None = None
) -> np.ndarray:
    """Gradient of `log_softmax`: ``dy - exp(y) * sum(dy)``.

    Parameters
    ----------
    dy, y, axis, out
        As for `softmax_backward`.

    Returns
    -------
    ndarray
        Shape, dtype and memory order of `y`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, axis, or `out`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.log_softmax_backward(np.array([1.0, 0.0]), np.log([0.5, 0.5]))
    array([ 0.5, -0.5])
    """
    return _softmax_backward("log_softmax_backward", True, dy, y, axis, out)


def _forward(name: str, x: Any, out: Any, slope: float = 0.0) -> np.ndarray:
    check.storage_array(name, "x", x, ())
    run = check.backend(name, x=x, out=out)
    check.out_array(name, out, x.shape, x.dtype, x)
    return run.activation(check.ACTIVATIONS[name], x, slope, out)


def _backward(activation: str, dy: Any, x: Any, out: Any, slope: float = 0.0) -> np.ndarray:
    name = f"{activation}_backward"
    run = _check_gradient(name, dy, "x", x, out)
    return run.activation_backward(check.ACTIVATIONS[activation], dy, x, slope, out)


def _softmax(name: str, logarithm: bool, x: Any, axis: Any, out: Any) -> np.ndarray:
    check.storage_array(name, "x", x, ())
    axis = _check_axis(name, axis, x.ndim)
    run = check.backend(name, x=x, out=out)
    check.out_array(name, out, x.shape, x.dtype, x)
    return run.softmax(logarithm, x, axis, out)


def _softmax_backward(
    name: str, logarithm: bool, dy: Any, y: Any, axis: Any, out: Any
) -> np.ndarray:
    run = _check_gradient(name, dy, "y", y, out)
    axis = _check_axis(name, axis, y.ndim)
    return run.softmax_backward(logarithm, dy, y, axis, out)


def _check_gradient(name: str, dy: Any, other_name: str, other: Any, out: Any) -> Any:
    """The extension that computes."""
    check.storage_array(name, "dy", dy, ())
    check.storage_array(name, other_name, other, ())
    check.shape_of(name, "dy", dy, other.shape, f"that of {other_name}")
    run = check.backend(name, **{"dy": dy, other_name: other, "out": out})
    check.same_dtype(name, **{"dy": dy, other_name: other})
    check.out_array(name, out, other.shape, other.dtype, dy, other)
    return run


def _check_axis(name: str, axis: Any, rank: int) -> int:
    """The axis counted from the front."""
    axis = check.integer(name, "axis", axis)
    if not -rank <= axis < rank:
        raise ValueError(
            f"{name}: axis must be from {-rank} to {rank - 1} for {rank}-D arrays, got {axis}"
            if rank
            else f"{name}: an array without axes has no axis {axis}"
        )
    return axis % rank
