"""Helpers for training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyconv import kernels
from pyconv.autograd import Tensor, array_module
from pyconv.kernels import _checks as check
from pyconv.kernels.optimizer import scale
from pyconv.nn.module import M, Module


def clip_grad_norm_(parameters: Any, max_norm: float, norm_type: float = 2.0) -> Any:
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
        The norm before; on CUDA one of CuPy's arrays, without axes, and nothing waits for it.

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
    name = "clip_grad_norm_"
    max_norm = check.number(name, "max_norm", max_norm, 0.0)
    if not check.number(name, "norm_type", norm_type) > 0:
        raise ValueError(f"{name}: norm_type must be positive, got {norm_type}")
    gradients = _gradients(name, parameters)
    if not gradients:
        return 0.0
    norm = kernels.grad_norm(gradients, norm_type)
    factor = max_norm / (norm + 1e-6)
    if not isinstance(norm, float):
        scale(gradients, array_module(norm).where(factor < 1, factor, 1.0))
    elif factor < 1:
        scale(gradients, factor)
    return norm


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Keep every element of the gradients within ±`clip_value`, in place."""
    clip_value = check.number("clip_grad_value_", "clip_value", clip_value, 0.0)
    for gradient in _gradients("clip_grad_value_", parameters):
        gradient.clip(-clip_value, clip_value, out=gradient)


def freeze(module: M) -> M:
    """Keep a module, and all below it, as it is while the rest of a model is trained.

    Its parameters get no gradients, and it stays in inference mode, whatever `Module.train` is
    called with: a frozen batch normalisation keeps its statistics, a frozen dropout drops nothing.

    Parameters
    ----------
    module : Module

    Returns
    -------
    Module
        The same.

    Examples
    --------
    >>> from pyconv import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    >>> for layer in model[:2]:
    ...     _ = nn.utils.freeze(layer)
    >>> [layer.training for layer in model.train()]
    [False, False, True, True]
    >>> [name for name, p in model.named_parameters() if p.requires_grad]
    ['3.weight', '3.bias']
    """
    _set_frozen("freeze", module, True)
    return module.eval()


def unfreeze(module: M) -> M:
    """Let a module, and all below it, be trained again; the next `Module.train` puts it into
    training mode."""
    _set_frozen("unfreeze", module, False)
    return module


def _set_frozen(function: str, module: Any, frozen: bool) -> None:
    if not isinstance(module, Module):
        raise TypeError(f"{function}: module must be a Module, got {type(module).__name__}")
    for part in module.modules():
        part.frozen = frozen
    module.requires_grad_(not frozen)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Any:
    """All parameters, one after the other in logical order, as one 1-D Tensor."""
    from pyconv.autograd import cat

    return cat([p.reshape(-1) for p in _tensors("parameters_to_vector", parameters)])


def _tensors(name: str, parameters: Any) -> list[Tensor]:
    items = [parameters]
    if not isinstance(parameters, Tensor) and isinstance(parameters, Iterable):
        items = list(parameters)
    for item in items:
        if not isinstance(item, Tensor):
            raise TypeError(f"{name}: parameters must be Tensors, got {type(item).__name__}")
    return items


def _gradients(name: str, parameters: Any) -> list[Any]:
    return [p.grad.data for p in _tensors(name, parameters) if p.grad is not None]
