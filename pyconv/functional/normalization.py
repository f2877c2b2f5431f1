"""Batch and instance normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyconv import kernels
from pyconv.autograd import Tensor, array_module, is_grad_enabled, record
from pyconv.functional._common import array_of, as_array, as_tensor, optional_tensor
from pyconv.functional.activation import activate, gradient_through, split


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
    name = "batch_norm"
    x = as_tensor(name, "x", x)
    if x.ndim not in (2, 3, 4):
        raise ValueError(f"{name}: x must be 2-D, 3-D or 4-D, got shape {x.shape}")
    if not isinstance(training, bool):
        raise TypeError(f"{name}: training must be a bool, got {type(training).__name__}")
    xp, channels = array_module(x.data), x.shape[1]
    gamma = (
        Tensor(xp.ones(channels, x.dtype)) if weight is None else as_tensor(name, "weight", weight)
    )
    beta = Tensor(xp.zeros(channels, x.dtype)) if bias is None else as_tensor(name, "bias", bias)
    residual = optional_tensor(name, "residual", residual)
    fused, alone = split(activation, x, gamma, beta, residual)
    how = dict(eps=eps, activation=fused, residual=array_of(residual))
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError(f"{name}: running_mean and running_var are needed without training")
        mean = as_array(name, "running_mean", running_mean)
        var = as_array(name, "running_var", running_var)
        y = kernels.batch_norm_inference(x.data, gamma.data, beta.data, mean, var, **how)
    else:
        values = x.data.size // max(channels, 1)
        if values == 1 or (values == 0 and x.data.size):
            raise ValueError(
                f"{name}: training needs more than one value a channel, x has shape {x.shape}"
            )
        y, mean, var = kernels.batch_norm_training(x.data, gamma.data, beta.data, **how)
        if values > 1:
            _move(name, "running_mean", running_mean, mean, momentum)
            _move(name, "running_var", running_var, var * (values / (values - 1)), momentum)

    def backward(dy: Tensor, needs: tuple[bool, ...], y: Tensor | None = None) -> Sequence[Any]:
        if training and not is_grad_enabled():
            gradients = kernels.batch_norm_backward(
                dy.data, x.data, gamma.data, mean, var, eps=eps, activation=fused, y=array_of(y)
            )
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


def _move(name: str, argument: str, running: Any, new: Any, momentum: float) -> None:
    """running = (1 - momentum) running + momentum new, in place."""
    if running is None:
        return
    array = as_array(name, argument, running)
    if array.shape != new.shape:
        raise ValueError(f"{name}: {argument} must have shape {new.shape}, got {array.shape}")
    array *= 1 - momentum
    array += momentum * new


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
    x : Tensor or array, N×C×H×W
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
        Wrong type, dtype, rank or shape.

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
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    x = as_tensor(name, "x", x)
    gamma, beta = optional_tensor(name, "weight", weight), optional_tensor(name, "bias", bias)
    y = kernels.instance_norm(x.data, array_of(gamma), array_of(beta), eps=eps)
    if running_mean is not None and running_var is not None:
        cells = x.shape[2] * x.shape[3]
        var = x.data.var((2, 3)).mean(0) * (cells / max(cells - 1, 1))
        _move(name, "running_mean", running_mean, x.data.mean((0, 2, 3)), momentum)
        _move(name, "running_var", running_var, var, momentum)

    def backward(dy: Tensor, needs: tuple[bool, ...]) -> Sequence[Any]:
        if not is_grad_enabled():
            gradients = kernels.instance_norm_backward(dy.data, x.data, array_of(gamma), eps=eps)
            return [Tensor._wrap(g) for g in gradients]
        plane = (2, 3)
        deviation = x - x.mean(plane, keepdim=True)
        scale = ((deviation * deviation).mean(plane, keepdim=True) + eps) ** -0.5
        normalised = deviation * scale
        g = dy if gamma is None else dy * gamma.reshape(1, -1, 1, 1)
        slope = (g * normalised).mean(plane, keepdim=True)
        dx = scale * (g - g.mean(plane, keepdim=True) - normalised * slope)
        return dx, (dy * normalised).sum((0, 2, 3)), dy.sum((0, 2, 3))

    return record(name, y, (x, gamma, beta), backward, fresh=True)
