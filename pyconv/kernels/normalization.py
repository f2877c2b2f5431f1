"""Batch and instance normalisation, forward and backward.

CuPy images are float32, float16 or bfloat16; beside them what has one entry a channel is float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.kernels import _checks as check
from pyconv.kernels._backend import is_on_device

__all__ = [
    "batch_norm_backward",
    "batch_norm_inference",
    "batch_norm_training",
    "instance_norm",
    "instance_norm_backward",
]

_RANKS = (2, 3, 4)
_FLOAT32 = np.dtype(np.float32)
# Their derivative follows from their output.
_CLIPPING = ("relu", "relu6", "leaky_relu")
_INVERTIBLE = ("relu", "relu6", "leaky_relu", "sigmoid", "tanh")


def _fit(x: np.ndarray, vectors: tuple[Any, ...], images: tuple[Any, ...]) -> bool:
    """Whether all are arrays of x's kind and type (on a device, those with an entry a channel of
    float32), with an entry a channel or of x's shape (or None): the usual case, in which nothing
    more need be checked."""
    kind, dtype, shape, channels = type(x), x.dtype, x.shape, x.shape[1:2]
    own = dtype if kind is np.ndarray else _FLOAT32
    for v in vectors:
        if type(v) is not kind or v.dtype is not own or v.shape != channels:
            return False
    for i in images:
        if i is not None and (type(i) is not kind or i.dtype != dtype or i.shape != shape):
            return False
    return True


def _check_channels(function: str, x: np.ndarray, **arrays: np.ndarray | None) -> None:
    for name, values in arrays.items():
        if values is not None:
            check.any_array(function, name, values, 1)
            check.shape_of(function, name, values, (x.shape[1],), "the channels of x")


def _check_like(function: str, argument: str, array: Any, x: np.ndarray) -> None:
    check.storage_array(function, argument, array, x.ndim)
    check.shape_of(function, argument, array, x.shape, "as x")


def _same_dtype(function: str, x: Any, images: dict[str, Any], vectors: dict[str, Any]) -> None:
    """All have the type of x; on a device the entries a channel are float32 already."""
    check.same_dtype(function, x=x, **images, **({} if is_on_device(x) else vectors))


def _eps(function: str, eps: Any) -> float:
    return check.number(function, "eps", eps, 0.0)


def batch_norm_training(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    *,
    eps: float = 1e-5,
    activation: Any = None,
    residual: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Batch normalisation by the batch's own statistics.

    ``activation(gamma (x - mean) / sqrt(var + eps) + beta + residual)``, with the mean and the
    biased variance of every channel.

    Parameters
    ----------
    x : ndarray, N×C, N×C×L or N×C×H×W
        float32 or float64, as all arrays; CuPy arrays: see above.
    gamma, beta : ndarray of C entries
    eps : float, at least 0
    activation : str, tuple or None
        Applied last; see `conv2d`.
    residual : ndarray of x's shape, optional
        Added before the activation.

    Returns
    -------
    y : ndarray of x's shape
    mean, var : ndarray of C entries
        NaN for an empty batch.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape or range.

    Notes
    -----
    Ioffe and Szegedy, Batch normalization (2015). The variance is formed from deviations in
    blocks of rows, merged in a fixed order (Chan, Golub and LeVeque, 1979): x is read from memory
    once for both statistics, and a large mean does no harm.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> y, mean, var = kernels.batch_norm_training(x, one, zero, eps=0.0)
    >>> y.ravel(), mean, var
    (array([-1.,  1.]), array([2.]), array([1.]))
    """
    name = "batch_norm_training"
    check.storage_array(name, "x", x, _RANKS)
    if not _fit(x, (gamma, beta), (residual,)):
        _check_channels(
            name, x, gamma=_required(name, "gamma", gamma), beta=_required(name, "beta", beta)
        )
        if residual is not None:
            _check_like(name, "residual", residual, x)
        _same_dtype(name, x, dict(residual=residual), dict(gamma=gamma, beta=beta))
    code, slope = check.activation(name, activation)
    run = check.backend(name, x=x, gamma=gamma, beta=beta, residual=residual)
    return run.batch_norm_training(x, gamma, beta, residual, _eps(name, eps), code, slope)


def _required(function: str, argument: str, values: Any) -> Any:
    if values is None:
        raise TypeError(f"{function}: {argument} must be a NumPy array, got None")
    return values


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
    """Batch normalisation by given statistics.

    ``activation(gamma (x - mean) / sqrt(var + eps) + beta + residual)``.

    Parameters
    ----------
    x : ndarray, N×C, N×C×L or N×C×H×W
        float32 or float64, as all arrays; CuPy arrays: see above.
    gamma, beta, mean, var : ndarray of C entries
    eps : float, at least 0
    activation : str, tuple or None
        Applied last; see `conv2d`.
    residual : ndarray of x's shape, optional
        Added before the activation.
    out : ndarray of x's shape, optional
        Takes the result.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape or range.

    Notes
    -----
    Ioffe and Szegedy, Batch normalization (2015).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> one = np.ones(1)
    >>> kernels.batch_norm_inference(np.array([[1.0], [5.0]]), one, one, one, 4 * one, eps=0.0)
    array([[1.],
           [3.]])
    """
    name = "batch_norm_inference"
    check.storage_array(name, "x", x, _RANKS)
    vectors = dict(gamma=gamma, beta=beta, mean=mean, var=var)
    _check_channels(name, x, **{key: _required(name, key, v) for key, v in vectors.items()})
    if residual is not None:
        _check_like(name, "residual", residual, x)
    _same_dtype(name, x, dict(residual=residual), vectors)
    code, slope = check.activation(name, activation)
    run = check.backend(name, x=x, **vectors, residual=residual, out=out)
    check.out_array(name, out, x.shape, x.dtype, x, *vectors.values(), residual)
    return run.batch_norm_inference(
        x, gamma, beta, mean, var, residual, _eps(name, eps), code, slope, out
    )


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
    """The gradients of `batch_norm_training`.

    With m values a channel and the normalised ``n = (x - mean) / sqrt(var + eps)``::

        dbeta = sum dy        dgamma = sum n dy
        dx = gamma / sqrt(var + eps) (dy - dbeta / m - n dgamma / m)

    With an activation, dy is first multiplied by its derivative.

    Parameters
    ----------
    dy, x : ndarray, N×C, N×C×L or N×C×H×W
        float32 or float64, as all arrays; CuPy arrays: see above.
    gamma, mean, var : ndarray of C entries
        The statistics that `batch_norm_training` returned.
    eps : float, at least 0
    activation : None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh" or ("leaky_relu", slope)
        The forward's; a slope of at least 0.
    y : ndarray of x's shape
        The forward's output, with an activation.
    shift : ndarray of C entries
        The forward's `beta`, in the place of `y`: faster. For "relu", "relu6" and "leaky_relu"
        where no residual was added.
    dresidual : bool
        Whether that is wanted, too; it costs an array.

    Returns
    -------
    dx : ndarray of x's shape
    dgamma, dbeta : ndarray of C entries
    dresidual : ndarray of x's shape
        Where it is wanted, with an activation only: dy times the derivative. Without an
        activation it is dy.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape or range; an activation without `y`, or one whose
        derivative does not follow from its output.

    Notes
    -----
    Ioffe and Szegedy, Batch normalization (2015).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x, one = np.array([[1.0], [3.0]]), np.ones(1)
    >>> dx, dgamma, dbeta = kernels.batch_norm_backward(x, x, one, 2 * one, one, eps=0.0)
    >>> dx.ravel(), dgamma, dbeta
    (array([0., 0.]), array([2.]), array([4.]))
    """
    name = "batch_norm_backward"
    check.storage_array(name, "x", x, _RANKS)
    fit = _fit(x, (gamma, mean, var), (dy, y)) and (shift is None or _fit(x, (shift,), ()))
    vectors = dict(gamma=gamma, mean=mean, var=var)
    if not fit:
        _check_like(name, "dy", dy, x)
        _check_channels(name, x, **{key: _required(name, key, v) for key, v in vectors.items()})
    code, slope = check.activation(name, activation)
    if activation is None:
        y = shift = None
    else:
        kind = activation[0] if isinstance(activation, tuple) else activation
        if kind not in _INVERTIBLE:
            raise ValueError(
                f"{name}: activation must be one of {', '.join(_INVERTIBLE)}, whose derivative "
                f"follows from the output, got {activation!r}"
            )
        if kind == "leaky_relu" and not slope >= 0:
            raise ValueError(f"{name}: activation's slope must be at least 0, got {slope}")
        if y is not None and not fit:
            _check_like(name, "y", y, x)
        elif y is None and (shift is None or kind not in _CLIPPING):
            raise ValueError(f"{name}: y must be the forward's output with an activation, got None")
        if not fit:
            _check_channels(name, x, shift=shift)
    if not fit:
        _same_dtype(name, x, dict(dy=dy, y=y), dict(**vectors, shift=shift))
    dresidual = check.boolean(name, "dresidual", dresidual)
    run = check.backend(name, x=x, dy=dy, **vectors, y=y, shift=shift)
    return run.norm_backward(
        dy, x, gamma, mean, var, y, shift, _eps(name, eps), code, slope, dresidual
    )


def instance_norm(
    x: np.ndarray,
    gamma: np.ndarray | None = None,
    beta: np.ndarray | None = None,
    *,
    eps: float = 1e-5,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Every plane of every image normalised by itself.

    Parameters
    ----------
    x : ndarray, N×C×L or N×C×H×W
        float32 or float64, as all arrays; CuPy arrays: see above.
    gamma, beta : ndarray of C entries, optional
        Ones and zeros by default.
    eps : float, at least 0
    out : ndarray of x's shape, optional
        Takes the result.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape or range.

    Notes
    -----
    Ulyanov, Vedaldi and Lempitsky, Instance normalization (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.instance_norm(np.array([[[[1.0, 3.0]]]]), eps=0.0)
    array([[[[-1.,  1.]]]])
    """
    name = "instance_norm"
    check.storage_array(name, "x", x, (3, 4))
    _check_channels(name, x, gamma=gamma, beta=beta)
    _same_dtype(name, x, {}, dict(gamma=gamma, beta=beta))
    run = check.backend(name, x=x, gamma=gamma, beta=beta, out=out)
    check.out_array(name, out, x.shape, x.dtype, x, gamma, beta)
    return run.instance_norm(x, gamma, beta, _eps(name, eps), out)


def instance_norm_backward(
    dy: np.ndarray, x: np.ndarray, gamma: np.ndarray | None = None, *, eps: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of `instance_norm`.

    Parameters
    ----------
    dy, x : ndarray, N×C×L or N×C×H×W
        float32 or float64, as all arrays; CuPy arrays: see above.
    gamma : ndarray of C entries, optional
        Ones by default.
    eps : float, at least 0

    Returns
    -------
    dx : ndarray of x's shape
    dgamma, dbeta : ndarray of C entries
        Summed over the images.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape or range.

    Notes
    -----
    The formulas of `batch_norm_backward` on each plane.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x = np.array([[[[1.0, 3.0]]]])
    >>> kernels.instance_norm_backward(x, x, eps=0.0)
    (array([[[[0., 0.]]]]), array([2.]), array([4.]))
    """
    name = "instance_norm_backward"
    check.storage_array(name, "x", x, (3, 4))
    _check_like(name, "dy", dy, x)
    _check_channels(name, x, gamma=gamma)
    _same_dtype(name, x, dict(dy=dy), dict(gamma=gamma))
    run = check.backend(name, x=x, dy=dy, gamma=gamma)
    return run.norm_backward(dy, x, gamma, None, None, None, None, _eps(name, eps), 0, 0.0, False)
