"""Losses. Targets of a floating-point type are differentiated too; class numbers, weights not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv import kernels
from pyconv._autocast import raised
from pyconv.autograd import (
    Tensor,
    array_module,
    is_grad_enabled,
    linear_map,
    maximum,
    record,
    where,
)
from pyconv.functional._common import as_array, as_float, as_tensor
from pyconv.functional.activation import log_softmax, sigmoid, softmax
from pyconv.kernels import _checks as check

_REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(
    x: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy between logits and classes, ``-log softmax(x)[target]``.

    Parameters
    ----------
    x : Tensor or array, N×C or N×C×d1×...
        Logits.
    target : array or Tensor, N or N×d1×..., of int; or of x's shape and dtype
        Class numbers, or the probabilities of all classes (which are differentiated).
    weight : array of C entries, optional
        A factor for each class. The mean is weighted by it (for class numbers).
    ignore_index : int
        Targets that don't count.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
        From 0 to 1: the share of the target that is spread over all classes (Szegedy et al.,
        2016).

    Returns
    -------
    Tensor
        A number, or the shape of the class numbers with ``reduction="none"``.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype or shape; a class or smoothing out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> round(F.cross_entropy(np.zeros((2, 4)), np.array([0, 3])).item(), 4)
    1.3863
    """
    name = "cross_entropy"
    x, given = raised(as_float(name, "x", x), as_tensor(name, "target", target))
    target = given.data
    check.backend(name, x=x.data, target=target)
    _check_reduction(name, reduction)
    smoothing = check.number(name, "label_smoothing", label_smoothing, 0.0, 1.0)
    if target.dtype.kind == "f":
        return _probability_target(name, x, given, weight, reduction, smoothing)
    if (  # the usual case: nothing is ignored, and the kernel checks the rest
        weight is None
        and reduction == "mean"
        and smoothing == 0
        and type(ignore_index) is int
        and ignore_index < 0
        and x.ndim == 2
        and type(target) is type(x.data)
        and target.dtype.kind == "i"
        and target.shape == x.shape[:1]
        and target.size
        and _in_range(target, x.shape[1])
    ):
        return _mean_cross_entropy(x, target)
    picked = _check_classes(name, x, target, ignore_index)
    if weight is not None:
        _per_class(name, x, weight)  # the message is to name this function
    plain = weight is None and reduction == "mean" and smoothing == 0
    if plain and x.ndim == 2 and x.shape[0] and bool((target == picked).all()):
        return _mean_cross_entropy(x, picked)
    log_p = log_softmax(x, _class_axis(x))
    loss = nll_loss(log_p, target, weight, ignore_index, reduction)
    if smoothing == 0:
        return loss
    factors, weights = _factors(name, x, target, picked, weight, ignore_index)
    spread = -log_p if factors is None else -log_p * Tensor(factors)
    smooth = where(target != ignore_index, spread.sum(_class_axis(x)), 0.0)
    if reduction == "sum":
        smooth = smooth.sum()
    elif reduction == "mean":
        smooth = smooth.sum() / Tensor(weights.sum())
    return loss * (1 - smoothing) + smooth * (smoothing / x.shape[_class_axis(x)])


def _in_range(classes: Any, count: int) -> bool:
    """Whether all class numbers are from 0 to count - 1; a device is waited for, once."""
    if isinstance(classes, np.ndarray):
        return 0 <= classes.min() and classes.max() < count
    return bool(((classes >= 0) & (classes < count)).all())


def _mean_cross_entropy(x: Tensor, target: Any) -> Tensor:
    """The plain case, in one kernel."""
    loss, probabilities = kernels.cross_entropy(x.data, target)

    def backward(dy: Tensor, needs: tuple[bool, ...]) -> tuple[Tensor]:
        if not is_grad_enabled():
            dloss = float(dy.item()) if isinstance(dy.data, np.ndarray) else dy.data
            dx = kernels.cross_entropy_backward(probabilities, target, dloss)
            return (Tensor._wrap(dx),)
        n, classes = x.shape
        xp = array_module(x.data)
        one_hot = (target[:, None] == xp.arange(classes)).astype(x.dtype)
        return ((softmax(x, 1) - Tensor(one_hot)) * (dy / n),)

    return record("cross_entropy", loss, (x,), backward, fresh=True)


def _probability_target(
    name: str, x: Tensor, target: Tensor, weight: Any, reduction: str, smoothing: float
) -> Tensor:
    if target.shape != x.shape:
        raise ValueError(
            f"{name}: target of probabilities must have the shape of x, {x.shape}, "
            f"got {target.shape}"
        )
    if target.dtype != x.dtype:
        raise TypeError(
            f"{name}: target of probabilities must be {x.dtype} like x, got {target.dtype}"
        )
    axis = _class_axis(x)
    classes = x.shape[axis]
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    if weight is not None:
        target = target * Tensor(_per_class(name, x, weight))
    loss = -(log_softmax(x, axis) * target).sum(axis)
    return _reduce(loss, reduction)


def nll_loss(
    x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """The negative log likelihood, ``-x[target]`` for log probabilities x.

    Parameters
    ----------
    x : Tensor or array, N×C or N×C×d1×...
        Log probabilities.
    target : array or Tensor of int, N or N×d1×...
    weight, ignore_index, reduction
        See `cross_entropy`.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype or shape; a class out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.nll_loss(np.array([[-1.0, -2.0]]), np.array([1]))
    Tensor(2.)
    """
    name = "nll_loss"
    (x,), target = raised(as_float(name, "x", x)), as_array(name, "target", target)
    check.backend(name, x=x.data, target=target)
    _check_reduction(name, reduction)
    picked = _check_classes(name, x, target, ignore_index)
    _, weights = _factors(name, x, target, picked, weight, ignore_index)
    axis, shape, xp = _class_axis(x), x.shape, array_module(x.data)
    places = xp.expand_dims(picked, axis)

    def scatter(g: Any) -> Any:
        dx = xp.zeros(shape, g.dtype)
        xp.put_along_axis(dx, places, xp.expand_dims(g, axis), axis)
        return dx

    chosen = linear_map(
        name, x, lambda a: xp.squeeze(xp.take_along_axis(a, places, axis), axis), scatter
    )
    losses = _where_counted(chosen, weights)
    if reduction == "mean":
        return losses.sum() / Tensor(weights.sum())
    return _reduce(losses, reduction)


def _where_counted(chosen: Tensor, weights: Any) -> Tensor:
    """-weights chosen, and 0 where the weight is 0, be `chosen` infinite or not."""
    return where(weights != 0, -chosen * Tensor(weights), 0.0)


def _class_axis(x: Tensor) -> int:
    return 1 if x.ndim > 1 else 0


def _check_classes(name: str, x: Tensor, target: Any, ignore_index: int) -> Any:
    """The class numbers, with a 0 where they are to be ignored."""
    if x.ndim == 0:
        raise ValueError(f"{name}: x must have an axis of classes, got a 0-D array")
    ignore_index = check.integer(name, "ignore_index", ignore_index)
    expected = (*x.shape[: _class_axis(x)], *x.shape[_class_axis(x) + 1 :])
    if target.dtype.kind not in "iu":
        raise TypeError(f"{name}: target must be class numbers (of int), got {target.dtype}")
    if target.shape != expected:
        raise ValueError(
            f"{name}: target must have shape {expected}, that of x without the classes, "
            f"got {target.shape}"
        )
    xp = array_module(x.data)
    picked = xp.where(target == ignore_index, 0, target).astype(np.int64)
    classes = x.shape[_class_axis(x)]
    if picked.size and not _in_range(picked, classes):
        raise ValueError(
            f"{name}: target must be from 0 to {classes - 1} (or ignore_index={ignore_index}), "
            f"got values from {int(target.min())} to {int(target.max())}"
        )
    return picked


def _per_class(name: str, x: Tensor, weight: Any) -> Any:
    """The weights of the classes, to be broadcast along x."""
    array = as_array(name, "weight", weight)
    axis = _class_axis(x)
    if array.shape != (x.shape[axis],):
        raise ValueError(
            f"{name}: weight must have shape {(x.shape[axis],)}, one entry a class, "
            f"got {array.shape}"
        )
    if array.dtype != x.dtype:
        raise TypeError(f"{name}: weight must be {x.dtype} like x, got {array.dtype}")
    return array.reshape(-1, *(1,) * (x.ndim - axis - 1))


def _factors(
    name: str, x: Tensor, target: Any, picked: Any, weight: Any, ignore_index: int
) -> tuple[Any, Any]:
    """The class weights (or None), and the weight of each target."""
    counted = target != ignore_index
    if weight is None:
        return None, array_module(x.data).asarray(counted.astype(x.dtype))
    factors = _per_class(name, x, weight)
    return factors, factors.reshape(-1)[picked] * counted


def _check_reduction(name: str, reduction: Any) -> None:
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{name}: reduction must be one of {_REDUCTIONS}, got {reduction!r}")


def _reduce(losses: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.mean()


def _same_shapes(name: str, x: Any, target: Any, reduction: str) -> tuple[Tensor, Tensor]:
    x, target = raised(as_float(name, "x", x), as_float(name, "target", target))
    check.backend(name, x=x.data, target=target.data)
    _check_reduction(name, reduction)
    if x.shape != target.shape:
        raise ValueError(f"{name}: target must have the shape of x, {x.shape}, got {target.shape}")
    if x.dtype != target.dtype:
        raise TypeError(f"{name}: target must be {x.dtype} like x, got {target.dtype}")
    return x, target


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared error (x - target)²; both are differentiated.

    Parameters
    ----------
    x, target : Tensor or array
        Of one shape and dtype.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError, ValueError
        Different shapes or dtypes, or no such reduction.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.mse_loss(np.array([1.0, 3.0]), np.zeros(2))
    Tensor(5.)
    """
    x, target = _same_shapes("mse_loss", x, target, reduction)
    return _reduce((x - target) ** 2, reduction)


def l1_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The absolute error abs(x - target); both are differentiated. See `mse_loss`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.l1_loss(np.array([1.0, -3.0]), np.zeros(2))
    Tensor(2.)
    """
    x, target = _same_shapes("l1_loss", x, target, reduction)
    return _reduce((x - target).abs(), reduction)


def binary_cross_entropy(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """``-(target log x + (1 - target) log(1 - x))`` for probabilities x.

    The logarithms are kept at or above -100, so that the loss stays finite.

    Parameters
    ----------
    x, target : Tensor or array
        Of one shape and dtype, from 0 to 1; both are differentiated.
    weight : array, optional
        Factors, to be broadcast along x.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError, ValueError
        Different shapes or dtypes, x out of range, or no such reduction.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> round(F.binary_cross_entropy(np.array([0.5]), np.ones(1)).item(), 4)
    0.6931
    """
    name = "binary_cross_entropy"
    x, target = _same_shapes(name, x, target, reduction)
    if x.data.size and not (0 <= x.data.min() and x.data.max() <= 1):
        raise ValueError(f"{name}: x must be from 0 to 1; for logits use {name}_with_logits")
    xp, t, factors = array_module(x.data), target.data, _weights(name, x, weight)
    with np.errstate(divide="ignore"):
        log_p = xp.maximum(xp.log(x.data), -100)
        log_q = xp.maximum(xp.log(1 - x.data), -100)
    losses = -factors * (t * log_p + (1 - t) * log_q)

    def backward(dy: Tensor, needs: tuple[bool, ...]) -> Sequence[Any]:
        dy = dy * Tensor(factors)
        slope = (x - target) / (x * (1.0 - x)).clamp(min=1e-12) if needs[0] else None
        odds = (1.0 - x).log().clamp(min=-100) - x.log().clamp(min=-100) if needs[1] else None
        return tuple(None if s is None else dy * s for s in (slope, odds))

    return _reduce(record(name, losses, (x, target), backward, fresh=True), reduction)


def binary_cross_entropy_with_logits(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(x), exact for logits of any size.

    Parameters
    ----------
    x, target : Tensor or array
        Of one shape and dtype; both are differentiated.
    weight : array, optional
        Factors, to be broadcast along x.
    reduction : {"mean", "sum", "none"}
    pos_weight : array, optional
        Factors of the positive term, to be broadcast along x.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError, ValueError
        Different shapes or dtypes, or no such reduction.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.binary_cross_entropy_with_logits(np.array([1000.0]), np.zeros(1))
    Tensor(1000.)
    """
    name = "binary_cross_entropy_with_logits"
    x, target = _same_shapes(name, x, target, reduction)
    xp, t, factors = array_module(x.data), target.data, _weights(name, x, weight)
    gains = _weights(name, x, pos_weight, "pos_weight")
    positive = t * gains
    # -p log s(x) - (1 - t) log s(-x), where -log s(-x) = max(x, 0) + log(1 + exp(-|x|)).
    rest = 1 - t
    tail = xp.log1p(xp.exp(-xp.abs(x.data)))
    losses = factors * (
        positive * (xp.maximum(-x.data, 0) + tail) + rest * (xp.maximum(x.data, 0) + tail)
    )

    def backward(dy: Tensor, needs: tuple[bool, ...]) -> Sequence[Any]:
        dy, gain = dy * Tensor(factors), Tensor(gains)
        dx = dtarget = None
        if needs[0]:
            dx = dy * ((1.0 - target) * sigmoid(x) - target * gain * sigmoid(-x))
        if needs[1]:
            tail = (1.0 + (-abs(x)).exp()).log()
            dtarget = dy * (gain * (maximum(-x, 0.0) + tail) - (maximum(x, 0.0) + tail))
        return dx, dtarget

    return _reduce(record(name, losses, (x, target), backward, fresh=True), reduction)


def _weights(name: str, x: Tensor, weight: Any, argument: str = "weight") -> Any:
    if weight is None:
        return array_module(x.data).ones((1,) * x.ndim, x.dtype)
    array = as_array(name, argument, weight)
    if array.dtype != x.dtype:
        raise TypeError(f"{name}: {argument} must be {x.dtype} like x, got {array.dtype}")
    try:
        fits = np.broadcast_shapes(array.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: {argument} of shape {array.shape} does not fit x's {x.shape}")
    return array
