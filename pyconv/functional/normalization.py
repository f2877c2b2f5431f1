"""Batch and instance normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv import kernels
from pyconv._frozen import thaw
from pyconv.autograd import Tensor, array_module, is_grad_enabled, record
from pyconv.functional._common import (
    array_of,
    as_array,
    as_float,
    check_channels,
    optional_tensor,
    records,
)
from pyconv.functional.activation import activate, gradient_through, split
from pyconv.kernels import _checks as check


def batch_norm(
    x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    activation: Any = None,
    residual: Any = None,
) -> Tensor:
    """Batch normalisation, ``activation(weight (x - mean) / sqrt(var + eps) + bias + residual)``.

    Parameters
    ----------
    x : Tensor or array, N×C, N×C×L or N×C×H×W
    running_mean, running_var : Tensor or array of C entries, or None
        The statistics that are used without `training`. With `training` they are moved, in place,
        towards the batch's by `momentum` (the variance as the unbiased estimate).
    weight, bias : Tensor or array of C entries, optional
        Ones and zeros by default.
    training : bool
        Normalise by the statistics of the batch.
    momentum : float
        Share of the new value in the running statistics.
    eps : float
    activation : None, str or ("leaky_relu", slope)
        See `conv2d`.
    residual : Tensor or array of x's shape, optional
        Added before the activation.

    Returns
    -------
    Tensor, as x

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank or shape; missing statistics; a single value a channel in training.

    Notes
    -----
    Ioffe and Szegedy, Batch normalization (2015).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.batch_norm(np.array([[1.0], [3.0]]), None, None, training=True, eps=0.0)
    Tensor([[-1.],
            [ 1.]])
    """
    statistics = (running_mean, running_var)
    return _batch_norm(
        "batch_norm", x, statistics, weight, bias, training, momentum, eps, activation, residual
    )


def _batch_norm(
    name: str,
    x: Any,
    statistics: tuple[Any, Any],
    weight: Any,
    bias: Any,
    training: bool,
    momentum: float,
    eps: float,
    activation: Any = None,
    residual: Any = None,
) -> Tensor:
    x = as_float(name, "x", x, (2, 3, 4))
    training = check.boolean(name, "training", training)
    eps = check.number(name, "eps", eps, 0.0)
    running_mean, running_var = _running(name, x, *statistics, training)
    xp, channels = array_module(x.data), x.shape[1]
    dtype = x.dtype if x.dtype.itemsize > 2 else np.dtype(np.float32)
    gamma = optional_tensor(name, "weight", weight)
    beta = optional_tensor(name, "bias", bias)
    check_channels(name, "weight", gamma, x)
    check_channels(name, "bias", beta, x)
    gamma = Tensor(xp.ones(channels, dtype)) if gamma is None else gamma
    beta = Tensor(xp.zeros(channels, dtype)) if beta is None else beta
    residual = optional_tensor(name, "residual", residual)
    if residual is not None:
        check.shape_of(name, "residual", residual, x.shape, "as x")
        check.same_dtype(name, x=x, residual=residual)
    fused, alone = split(name, activation, x, gamma, beta, residual)
    how = dict(eps=eps, activation=fused, residual=array_of(residual))
    if not training:
        mean, var = running_mean, running_var
        if records(x, gamma, beta):  # they may move before the gradient is computed
            mean, var = mean.copy(), var.copy()
        y = kernels.batch_norm_inference(x.data, gamma.data, beta.data, mean, var, **how)
    else:
        momentum = check.number(name, "momentum", momentum)
        values = x.data.size // max(channels, 1)
        if values == 1:
            raise ValueError(
                f"{name}: training needs more than one value a channel, x has shape {x.shape}"
            )
        y, mean, var = kernels.batch_norm_training(x.data, gamma.data, beta.data, **how)
        if values > 1:
            _move_both(running_mean, running_var, mean, var, momentum, values / (values - 1))

    # Where nothing was added before it, the derivative of what clips follows from x, too. (Did
    # `backward` ask for the residual, it would keep it.)
    from_x = residual is None and fused is not None and fused not in ("sigmoid", "tanh")

    def backward(dy: Tensor, needs: tuple[bool, ...], y: Tensor | None = None) -> Sequence[Any]:
        if training and not is_grad_enabled():
            told = {"shift": beta.data} if from_x else {"y": array_of(y)}
            gradients = kernels.batch_norm_backward(
                dy.data, x.data, gamma.data, mean, var, eps=eps, activation=fused, **told,
                dresidual=needs[3],
            )  # fmt: skip
            dx, dgamma, dbeta, *rest = (Tensor._wrap(g) for g in gradients)
            return dx, dgamma, dbeta, rest[0] if rest else dy
        dz = gradient_through(dy, y, fused)
        dx, dgamma, dbeta = _gradients(dz, x, gamma, eps, None if training else (mean, var), needs)
        return dx, dgamma, dbeta, dz

    result = record(
        name,
        y,
        (x, gamma, beta, residual),
        backward,
        keep_output=fused is not None,
        fresh=residual is None or fused is not None,
        details={"momentum": momentum},
    )
    return activate(result, alone)


def _gradients(
    dz: Tensor,
    x: Tensor,
    gamma: Tensor,
    eps: float,
    statistics: tuple[Any, Any] | None,
    needs: tuple[bool, ...],
) -> tuple[Any, Any, Any]:
    """dx, dgamma, dbeta in operations of Tensors; the statistics of the batch, or given ones."""
    axes = (0, *range(2, x.ndim))
    channel = (1, -1, *(1,) * (x.ndim - 2))
    if statistics is None:
        mean = x.mean(axes, keepdim=True)
        var = x.var(axes, unbiased=False, keepdim=True)
    else:
        mean, var = (Tensor(s).reshape(channel) for s in statistics)
    scale = (var + eps) ** -0.5
    slope = gamma.reshape(channel) * scale
    if statistics is not None:
        return (
            dz * slope if needs[0] else None,
            (dz * ((x - mean) * scale)).sum(axes) if needs[1] else None,
            dz.sum(axes) if needs[2] else None,
        )
    normalised = (x - mean) * scale
    dgamma, dbeta = (dz * normalised).sum(axes), dz.sum(axes)
    values = float(x.data.size // x.shape[1])
    common = (dbeta.reshape(channel) + normalised * dgamma.reshape(channel)) / values
    return slope * (dz - common), dgamma, dbeta


def _running(
    name: str, x: Tensor, running_mean: Any, running_var: Any, moved: bool
) -> tuple[Any, Any]:
    """The arrays of the running statistics, which can be `moved`, or are needed."""
    if isinstance(running_mean, Tensor) and isinstance(running_var, Tensor):
        a, b, usual = running_mean.data, running_var.data, x.data.shape[1:2]
        if (
            type(a) is type(b) is np.ndarray
            and a.dtype is b.dtype is x.data.dtype
            and a.shape == b.shape == usual
            and a.flags.writeable
            and b.flags.writeable
        ):
            return a, b
    arrays = []
    for argument, value in (("running_mean", running_mean), ("running_var", running_var)):
        if value is None and not moved:
            raise ValueError(f"{name}: {argument} is needed where it is to normalise, got None")
        array = None if value is None else as_array(name, argument, value)
        array = thaw(array) if moved else array
        check_channels(name, argument, array, x)
        if moved and isinstance(array, np.ndarray) and not array.flags.writeable:
            raise ValueError(f"{name}: {argument} must be writable, got a read-only array")
        arrays.append(array)
    return arrays[0], arrays[1]


def _move_both(
    running_mean: Any, running_var: Any, mean: Any, var: Any, momentum: float, scale: float
) -> None:
    """Both moved, the new variance times `scale`; in one call where they lie as usual."""
    for running in (running_mean, running_var):
        if (
            type(running) is not type(mean)
            or running.dtype != mean.dtype
            or not running.flags.c_contiguous
        ):
            _move(running_mean, mean, momentum)
            _move(running_var, var * scale, momentum)
            return
    backend = check.backend("batch_norm", running_mean=running_mean, x=mean)
    backend.move_statistics(running_mean, running_var, mean, var, momentum, scale)


def _move(running: Any, new: Any, momentum: float) -> None:
    """running = (1 - momentum) running + momentum new, in place."""
    if running is not None:
        running *= 1 - momentum
        running += momentum * new


def instance_norm(
    x: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Every plane of every image normalised by itself.

    Parameters
    ----------
    x : Tensor or array, N×C×L or N×C×H×W
    running_mean, running_var : Tensor or array of C entries, optional
        Moved towards the means of the planes' statistics; used without `use_input_stats`.
    weight, bias : Tensor or array of C entries, optional
        Ones and zeros by default.
    use_input_stats : bool
        Without, this is `batch_norm` by the running statistics.
    momentum, eps : float
        See `batch_norm`.

    Returns
    -------
    Tensor, as x

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank or shape; missing statistics; a single value a plane.

    Notes
    -----
    Ulyanov, Vedaldi and Lempitsky, Instance normalization (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.instance_norm(np.array([[[[1.0, 3.0]]]]), eps=0.0)
    Tensor([[[[-1.,  1.]]]])
    """
    name = "instance_norm"
    use_input_stats = check.boolean(name, "use_input_stats", use_input_stats)
    momentum = check.number(name, "momentum", momentum)
    if not use_input_stats:
        statistics = (running_mean, running_var)
        return _batch_norm(name, x, statistics, weight, bias, False, momentum, eps)
    x = as_float(name, "x", x, (3, 4))
    eps = check.number(name, "eps", eps, 0.0)
    running_mean, running_var = _running(name, x, running_mean, running_var, True)
    gamma, beta = optional_tensor(name, "weight", weight), optional_tensor(name, "bias", bias)
    check_channels(name, "weight", gamma, x)
    check_channels(name, "bias", beta, x)
    plane = tuple(range(2, x.ndim))
    cells = math.prod(x.shape[2:])
    if cells == 1:
        raise ValueError(f"{name}: x must have more than one value a plane, got shape {x.shape}")
    y = kernels.instance_norm(x.data, array_of(gamma), array_of(beta), eps=eps)
    if x.data.size:
        if running_mean is not None:
            _move(running_mean, x.data.mean((0, *plane)), momentum)
        if running_var is not None:
            var = x.data.var(plane).mean(0) * (cells / (cells - 1))
            _move(running_var, var, momentum)

    def backward(dy: Tensor, needs: tuple[bool, ...]) -> Sequence[Any]:
        if not is_grad_enabled():
            gradients = kernels.instance_norm_backward(dy.data, x.data, array_of(gamma), eps=eps)
            return [Tensor._wrap(g) for g in gradients]
        deviation = x - x.mean(plane, keepdim=True)
        scale = ((deviation * deviation).mean(plane, keepdim=True) + eps) ** -0.5
        normalised = deviation * scale
        g = dy if gamma is None else dy * gamma.reshape(1, -1, *(1,) * len(plane))
        slope = (g * normalised).mean(plane, keepdim=True)
        dx = scale * (g - g.mean(plane, keepdim=True) - normalised * slope)
        return dx, (dy * normalised).sum((0, *plane)), dy.sum((0, *plane))

    return record(name, y, (x, gamma, beta), backward, fresh=True)
