"""Steps of gradient descent, in place, on lists of arrays; the norm of such a list.

Lists of CuPy's arrays (float32) are worked on by one launch.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv import _cpu
from pyconv.kernels import _checks as check

__all__ = ["adam_step", "grad_norm", "sgd_step"]


_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def grad_norm(arrays: Sequence[np.ndarray], order: float = 2) -> float:
    """Norm of all entries of all arrays: ``sum(abs(g) ** order) ** (1 / order)``.

    Parameters
    ----------
    arrays : list or tuple of ndarray
        float32 or float64, of rank 0 to 4, any strides; or CuPy's of float32.
    order : float
        Above 0; ``inf`` gives the largest absolute value.

    Returns
    -------
    float
        Summed in float64; 0 for no entries, a NaN where there is one. Of CuPy's arrays it is one of
        theirs, of float64 and without axes, and nothing waits for it.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype or rank, or an `order` that is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.grad_norm([np.array([3.0]), np.array([[4.0]])])
    5.0
    """
    name = "grad_norm"
    order = check.number(name, "order", order)
    if not order > 0:
        raise ValueError(f"{name}: order must be positive, got {order}")
    arrays = _sequence(name, "arrays", arrays)
    for i, array in enumerate(arrays):
        check.any_array(name, f"arrays[{i}]", array, ())
    backend = _backend(name, arrays=arrays)
    total = backend.power_sum(arrays, order)
    if math.isinf(order) or order == 1:
        return total
    if backend is not _cpu:
        return total ** (1 / order)
    if order == 2:
        return math.sqrt(total)
    with np.errstate(over="ignore"):
        return float(np.float64(total) ** (1 / order))


def scale(arrays: Sequence[Any], factor: Any) -> None:
    """Multiply arrays in place by a number; CuPy's also by one of theirs without axes."""
    backend = _backend("scale", arrays=arrays)
    if backend is not _cpu:
        xp = sys.modules["cupy"]
        backend.scale(list(arrays), xp.asarray(factor, np.float32))
        return
    for array in arrays:
        array *= factor


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
    """One step of gradient descent, in place, all arrays in one pass.

    ::

        g = gradient + weight_decay * parameter
        v = momentum * v + (1 - dampening) * g
        parameter -= lr * (g + momentum * v  with nesterov,  v  with momentum,  g  without)

    Parameters
    ----------
    parameters : list or tuple of ndarray
        float32 or float64, of rank 0 to 4, any strides; or CuPy's of float32; changed.
    gradients : list or tuple of ndarray
        As many, of the same shapes and dtypes.
    momenta : list or tuple of ndarray, or None
        The v of each parameter; changed. Not looked at without momentum.
    lr : float
        Learning rate.
    momentum, dampening : float
    nesterov : bool
    weight_decay : float

    Raises
    ------
    TypeError, ValueError
        Wrong types, dtypes or shapes, lists of different lengths, a read-only array to change.

    Notes
    -----
    Polyak (1964); Sutskever, Martens, Dahl and Hinton, On the importance of initialization and
    momentum in deep learning (2013). Parameter, gradient and momentum that lie in the same order in
    memory, whatever it is, are not copied.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> w, v = np.array([1.0]), np.array([0.0])
    >>> kernels.sgd_step([w], [np.array([2.0])], [v], lr=0.25, momentum=0.5)
    >>> w, v
    (array([0.5]), array([2.]))
    """
    name = "sgd_step"
    lr = check.number(name, "lr", lr)
    momentum = check.number(name, "momentum", momentum)
    dampening = check.number(name, "dampening", dampening)
    nesterov = check.boolean(name, "nesterov", nesterov)
    weight_decay = check.number(name, "weight_decay", weight_decay)
    parameters = _parameters(name, parameters)
    gradients = _like(name, "gradients", gradients, parameters, changed=False)
    velocities = None
    if momentum != 0:
        if momenta is None:
            raise ValueError(f"{name}: momenta must be arrays where momentum is not 0, got None")
        velocities = _like(name, "momenta", momenta, parameters)
    backend = _backend(name, parameters=parameters, gradients=gradients, momenta=velocities or ())
    backend.sgd_step(
        parameters, gradients, velocities, lr, momentum, dampening, nesterov, weight_decay
    )


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
    """One step of Adam, in place, all arrays in one pass.

    ::

        g = gradient + weight_decay * parameter
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        parameter -= lr * (m / (1 - beta1**step)) / (sqrt(v / (1 - beta2**step)) + eps)

    Parameters
    ----------
    parameters : list or tuple of ndarray
        float32 or float64, of rank 0 to 4, any strides; or CuPy's of float32; changed.
    gradients : list or tuple of ndarray
        As many, of the same shapes and dtypes.
    m, v : list or tuple of ndarray
        The moments of each parameter, likewise; changed.
    step : int
        The number of this step, from 1.
    lr : float
        Learning rate.
    betas : (float, float)
        Decay of the moments, from 0 to below 1.
    eps : float
    weight_decay : float
    decoupled : bool
        The weights decay by themselves, ``parameter *= 1 - lr * weight_decay``, and g is the
        gradient.

    Raises
    ------
    TypeError, ValueError
        Wrong types, dtypes or shapes, lists of different lengths, a read-only array to change,
        `step` or `betas` out of range.

    Notes
    -----
    Kingma and Ba, Adam (2015); decoupled: Loshchilov and Hutter, Decoupled weight decay
    regularization (2019). Arrays that lie in the same order in memory are not copied.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> w, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    >>> kernels.adam_step([w], [np.array([3.0])], [m], [v], 1, lr=0.5, eps=0.0)
    >>> w
    array([0.5])
    """
    name = "adam_step"
    step = check.integer(name, "step", step, 1)
    lr = check.number(name, "lr", lr)
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise TypeError(f"{name}: betas must be two numbers, got {check.kind(betas)}")
    for i, beta in enumerate(betas):
        if not 0 <= check.number(name, f"betas[{i}]", beta) < 1:
            raise ValueError(f"{name}: betas[{i}] must be from 0 to below 1, got {beta}")
    beta1, beta2 = (float(beta) for beta in betas)
    eps = check.number(name, "eps", eps)
    weight_decay = check.number(name, "weight_decay", weight_decay)
    decoupled = check.boolean(name, "decoupled", decoupled)
    parameters = _parameters(name, parameters)
    gradients = _like(name, "gradients", gradients, parameters, changed=False)
    m = _like(name, "m", m, parameters)
    v = _like(name, "v", v, parameters)
    backend = _backend(name, parameters=parameters, gradients=gradients, m=m, v=v)
    backend.adam_step(
        parameters, gradients, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled
    )


def _backend(name: str, **lists: Sequence[Any]) -> Any:
    """The extension that all arrays of all lists belong to."""
    types = {kind for arrays in lists.values() for kind in map(type, arrays)}
    if types <= {np.ndarray}:
        return _cpu
    named = {
        f"{key}[{i}]": array for key, arrays in lists.items() for i, array in enumerate(arrays)
    }
    return check.backend(name, **named)


def _sequence(name: str, argument: str, arrays: Any) -> list[Any]:
    if not isinstance(arrays, (list, tuple)):
        raise TypeError(f"{name}: {argument} must be a list of arrays, got {check.kind(arrays)}")
    return list(arrays)


def _parameters(name: str, arrays: Any) -> list[Any]:
    arrays = _sequence(name, "parameters", arrays)
    for i, array in enumerate(arrays):
        if (
            type(array) is np.ndarray
            and array.ndim <= 4
            and (array.dtype is _FLOAT32 or array.dtype is _FLOAT64)
            and array.flags.writeable
        ):
            continue
        check.any_array(name, f"parameters[{i}]", array, ())
        _check_writable(name, f"parameters[{i}]", array)
    return arrays


def _check_writable(name: str, argument: str, array: Any) -> None:
    if isinstance(array, np.ndarray):
        if not array.flags.writeable:
            raise ValueError(f"{name}: {argument} must be writable, got a read-only array")
    elif 0 in array.strides and array.size > 1:
        raise ValueError(f"{name}: {argument} must not be a broadcast array, its elements overlap")


def _like(
    name: str, argument: str, arrays: Any, parameters: list[Any], changed: bool = True
) -> list[Any]:
    """As many arrays as parameters, of their shapes and dtypes."""
    arrays = _sequence(name, argument, arrays)
    if len(arrays) != len(parameters):
        raise ValueError(
            f"{name}: {argument} must have {len(parameters)} arrays, as parameters has, "
            f"got {len(arrays)}"
        )
    for i, (array, parameter) in enumerate(zip(arrays, parameters, strict=True)):
        if (
            type(array) is np.ndarray
            and array.dtype is parameter.dtype
            and array.shape == parameter.shape
            and (not changed or array.flags.writeable)
        ):
            continue
        check.any_array(name, f"{argument}[{i}]", array, ())
        other = f"parameters[{i}]"
        check.shape_of(name, f"{argument}[{i}]", array, parameter.shape, f"that of {other}")
        check.same_dtype(name, **{other: parameter, f"{argument}[{i}]": array})
        if changed:
            _check_writable(name, f"{argument}[{i}]", array)
    return arrays
