"""Cross-entropy over logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.kernels import _checks as check
from pyconv.kernels._backend import is_on_device

__all__ = ["cross_entropy", "cross_entropy_backward"]


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[Any, np.ndarray]:
    """Cross-entropy of logits and classes: the mean of ``-log(softmax(logits)[target])``.

    Parameters
    ----------
    logits : ndarray, N×C
        float32 or float64; of CuPy float32, float16 or bfloat16.
    targets : ndarray of N ints
        The class of each row, from 0 to C - 1; any integer type.

    Returns
    -------
    loss : NumPy scalar of the logits' dtype, or CuPy array of float32 without axes
        The mean over the batch; of an empty batch a NaN.
    probabilities : ndarray, N×C
        The softmax of the logits, for `cross_entropy_backward`.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank or shape, or a class out of range. On CUDA the classes are not
        looked at here, as that would wait for the device: one out of range makes the loss a NaN.

    Notes
    -----
    The negative log likelihood under a softmax (Bridle, 1990), as Goodfellow, Bengio and
    Courville, Deep Learning (2016), 6.2.2.3, state it. The largest logit is subtracted first.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> loss, probabilities = kernels.cross_entropy(np.zeros((2, 4)), np.array([0, 3]))
    >>> round(float(loss), 4), probabilities[0]
    (1.3863, array([0.25, 0.25, 0.25, 0.25]))
    """
    name = "cross_entropy"
    check.storage_array(name, "logits", logits, 2)
    run = check.backend(name, logits=logits, targets=targets)
    classes = _check_targets(name, "logits", logits, targets)
    loss, probabilities = run.cross_entropy(logits, classes)
    return loss if is_on_device(logits) else logits.dtype.type(loss), probabilities


def cross_entropy_backward(
    probabilities: np.ndarray,
    targets: np.ndarray,
    dloss: Any = 1.0,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Gradient of `cross_entropy`: ``dloss / N * (probabilities - one_hot(targets))``.

    Parameters
    ----------
    probabilities : ndarray, N×C
        The forward function's second result.
    targets : ndarray of N ints
    dloss : float, or CuPy array of float32 without axes
        Gradient of the loss.
    out : ndarray, N×C, optional
        Takes the result; must not overlap `probabilities`.

    Returns
    -------
    ndarray, N×C
        Gradient of the logits.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank or shape, or a class out of range. On CUDA the row of such a class
        becomes NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.cross_entropy_backward(np.full((1, 2), 0.5), np.array([1]))
    array([[ 0.5, -0.5]])
    """
    name = "cross_entropy_backward"
    check.storage_array(name, "probabilities", probabilities, 2)
    if is_on_device(dloss):
        check.any_array(name, "dloss", dloss, 0)
    else:
        dloss = check.number(name, "dloss", dloss)
    run = check.backend(name, probabilities=probabilities, targets=targets, dloss=dloss, out=out)
    classes = _check_targets(name, "probabilities", probabilities, targets)
    check.out_array(name, out, probabilities.shape, probabilities.dtype, probabilities, targets)
    return run.cross_entropy_backward(probabilities, classes, dloss, out)


def _check_targets(name: str, rows_name: str, rows: np.ndarray, targets: Any) -> np.ndarray:
    """The classes as int64."""
    on_device = is_on_device(rows)
    if not (is_on_device(targets) if on_device else isinstance(targets, np.ndarray)):
        kind = "a CuPy array" if on_device else "a NumPy array"
        raise TypeError(f"{name}: targets must be {kind}, got {check.kind(targets)}")
    if targets.dtype.kind not in "iu":
        raise TypeError(f"{name}: targets must be of an integer type, got {targets.dtype}")
    check.check_rank(name, "targets", targets, 1)
    check.shape_of(name, "targets", targets, rows.shape[:1], f"one class a row of {rows_name}")
    if len(targets) and not on_device:
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= rows.shape[1]:
            raise ValueError(
                f"{name}: targets must be from 0 to {rows.shape[1] - 1} (the columns of "
                f"{rows_name}), got values from {low} to {high}"
            )
    return targets.astype(np.int64, copy=False)
