"""Activations and softmaxes, with derivatives of any order; and activations fused to a kernel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pyconv import kernels
from pyconv._autocast import raised
from pyconv.autograd import Tensor, array_module, is_grad_enabled, record, where
from pyconv.functional._common import as_tensor, records
from pyconv.kernels import _checks as check

_MOST_AXES = 4  # that kernels take; arrays with more are reshaped

Activation = Any  # None, a name, or ("leaky_relu", slope)


def relu(x: Any) -> Tensor:
    """max(x, 0); the derivative at 0 is taken as 0.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.relu(np.array([-1.0, 2.0]))
    Tensor([0., 2.])
    """
    return _clipping("relu", as_tensor("relu", "x", x))


def relu6(x: Any) -> Tensor:
    """min(max(x, 0), 6); the derivative at 0 and 6 is taken as 0."""
    return _clipping("relu6", as_tensor("relu6", "x", x))


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else `negative_slope` times x (Maas et al., 2013)."""
    return _clipping("leaky_relu", as_tensor("leaky_relu", "x", x), negative_slope)


def _clipping(name: str, x: Tensor, *slope: float) -> Tensor:
    """The three made of straight pieces. Where the output tells the piece, the input is not kept:
    the layer that follows keeps the output anyway."""
    if x.ndim > _MOST_AXES:
        return _clipping(name, x.reshape(-1), *slope).reshape(*x.shape)

    def backward(dy: Tensor, needs: tuple[bool, ...], y: Tensor | None = None) -> tuple[Tensor]:
        return (_clipped_gradient(name, dy, x_data if y is None else y.data, *slope),)

    y = getattr(kernels, name)(x.data, *slope)
    from_output = not slope or slope[0] > 0
    x_data = None if from_output else x.data
    return record(name, y, (x,), backward, keep_output=from_output, fresh=True)


def _clipped_gradient(name: str, dy: Tensor, z: Any, *slope: float) -> Tensor:
    if not is_grad_enabled():
        return Tensor._wrap(getattr(kernels, f"{name}_backward")(dy.data, z, *slope))
    if name == "leaky_relu":
        return where(z > 0, dy, dy * float(slope[0]))
    flat = z <= 0 if name == "relu" else (z <= 0) | (z >= 6)
    return where(flat, 0.0, dy)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x))."""
    return _smooth("sigmoid", x, _sigmoid_slope)


def tanh(x: Any) -> Tensor:
    """The hyperbolic tangent."""
    return _smooth("tanh", x, _tanh_slope)


def silu(x: Any) -> Tensor:
    """x times its sigmoid (Elfwing, Uchibe and Doya, 2018)."""
    return _smooth("silu", x, _silu_slope)


def gelu(x: Any) -> Tensor:
    """x P(x), P the distribution function of the normal distribution (Hendrycks and Gimpel, 2016).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.gelu(np.array([0.0, 1000.0]))
    Tensor([   0., 1000.])
    """
    return _smooth("gelu", x, _gelu_slope)


def _smooth(name: str, x: Any, slope: Callable[[Tensor], Tensor]) -> Tensor:
    """A kernel and its derivative: another kernel, or, where that is recorded, a formula."""
    x = as_tensor(name, "x", x)
    if x.ndim > _MOST_AXES:
        return _smooth(name, x.reshape(-1), slope).reshape(*x.shape)

    def backward(dy: Tensor, needs: tuple[bool, ...]) -> tuple[Tensor]:
        if is_grad_enabled():
            return (dy * slope(x),)
        return (Tensor._wrap(getattr(kernels, f"{name}_backward")(dy.data, x.data)),)

    return record(name, getattr(kernels, name)(x.data), (x,), backward, fresh=True)


def _sigmoid_slope(x: Tensor) -> Tensor:
    return sigmoid(x) * sigmoid(-x)


def _tanh_slope(x: Tensor) -> Tensor:
    return 1.0 - tanh(x) ** 2


def _silu_slope(x: Tensor) -> Tensor:
    return sigmoid(x) * (1.0 + x * sigmoid(-x))


def _gelu_slope(x: Tensor) -> Tensor:
    return _normal_distribution(x) + x * _normal_density(x)


def _normal_density(x: Tensor) -> Tensor:
    return (x * x * -0.5).exp() * (1 / math.sqrt(2 * math.pi))


def _normal_distribution(x: Tensor) -> Tensor:
    one = array_module(x.data).ones(x.shape, x.dtype)
    slope = kernels.gelu_backward(one, x.data)
    y = slope - x.data * _normal_density(x.detach()).data
    return record(
        "normal_distribution", y, (x,), lambda dy, needs: (dy * _normal_density(x),), fresh=True
    )


def softmax(x: Any, dim: int = -1) -> Tensor:
    """exp(x) / sum exp(x) along an axis.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]), dim=1)
    Tensor([[0.5, 0.5],
            [1. , 0. ]])
    """
    (x,) = raised(as_tensor("softmax", "x", x))
    dim = _one_axis("softmax", x, dim)
    if x.ndim > _MOST_AXES:
        return softmax(_around(x, dim), 1).reshape(*x.shape)

    def backward(dy: Tensor, needs: tuple[bool, ...], y: Tensor) -> tuple[Tensor]:
        if is_grad_enabled():
            return (y * (dy - (y * dy).sum(dim, keepdim=True)),)
        return (Tensor._wrap(kernels.softmax_backward(dy.data, y.data, dim)),)

    y = kernels.softmax(x.data, dim)
    return record("softmax", y, (x,), backward, keep_output=True, fresh=True)


def log_softmax(x: Any, dim: int = -1) -> Tensor:
    """x - log sum exp(x) along an axis."""
    (x,) = raised(as_tensor("log_softmax", "x", x))
    dim = _one_axis("log_softmax", x, dim)
    if x.ndim > _MOST_AXES:
        return log_softmax(_around(x, dim), 1).reshape(*x.shape)

    def backward(dy: Tensor, needs: tuple[bool, ...], y: Tensor) -> tuple[Tensor]:
        if is_grad_enabled():
            return (dy - y.exp() * dy.sum(dim, keepdim=True),)
        return (Tensor._wrap(kernels.log_softmax_backward(dy.data, y.data, dim)),)

    y = kernels.log_softmax(x.data, dim)
    return record("log_softmax", y, (x,), backward, keep_output=True, fresh=True)


def _one_axis(name: str, x: Tensor, dim: Any) -> int:
    axis = check.integer(name, "dim", dim)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"{name}: dim {dim} is out of range for shape {x.shape}")
    return axis % x.ndim


def _around(x: Tensor, axis: int) -> Tensor:
    """All axes before, the axis, all after."""
    before, after = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    return x.reshape(before, x.shape[axis], after)


# -- fused ----------------------------------------------------------------------------------------

_BY_NAME = {
    "relu": relu,
    "relu6": relu6,
    "leaky_relu": leaky_relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "silu": silu,
    "gelu": gelu,
}
_FROM_OUTPUT = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh")


def activate(x: Tensor, activation: Activation) -> Tensor:
    """The activation that a name stands for, applied."""
    if activation is None:
        return x
    name, *slope = activation if isinstance(activation, tuple) else (activation,)
    return _BY_NAME[name](x, *slope)


def split(
    function: str, activation: Activation, *inputs: Tensor | None
) -> tuple[Activation, Activation]:
    """What the kernel applies, and what has to run on its own, since its derivative doesn't follow
    from the output that the fused operation keeps."""
    _, slope = check.activation(function, activation)
    if activation is None or not records(*inputs):
        return activation, None
    alone = slope <= 0 if isinstance(activation, tuple) else activation not in _FROM_OUTPUT
    return (None, activation) if alone else (activation, None)


def gradient_through(dy: Tensor, y: Tensor | None, activation: Activation) -> Tensor:
    """dy times the derivative of a fused activation, by its output y."""
    if activation is None or y is None:
        return dy
    name, *slope = activation if isinstance(activation, tuple) else (activation,)
    if name == "sigmoid":
        return dy * (y * (1.0 - y))
    if name == "tanh":
        return dy * (1.0 - y * y)
    if name == "leaky_relu" and not slope:
        slope = [0.01]
    return _clipped_gradient(name, dy, y.data, *slope)
