"""Cross-entropy over logits."""

from __future__ import annotations

import numpy as np

from ._shapes import result
from .activation import log_softmax, softmax


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[np.floating, np.ndarray]:
    """The mean over the batch of -log softmax(logits)[target], and the probabilities.

    `logits` is N×C, `targets` N class numbers. The loss of an empty batch is a NaN.

    Examples
    --------
    >>> import numpy as np
    >>> loss, probabilities = cross_entropy(np.zeros((2, 4)), np.array([0, 3]))
    >>> round(float(loss), 4), probabilities[0]
    (1.3863, array([0.25, 0.25, 0.25, 0.25]))
    """
    n = len(logits)
    chosen = log_softmax(logits)[np.arange(n), targets]
    with np.errstate(invalid="ignore"):
        return -chosen.sum() / logits.dtype.type(n), softmax(logits)


def cross_entropy_backward(
    probabilities: np.ndarray,
    targets: np.ndarray,
    dloss: float = 1.0,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """dlogits = dloss / N (probabilities - 1 at the target).

    Examples
    --------
    >>> import numpy as np
    >>> cross_entropy_backward(np.full((1, 2), 0.5), np.array([1]))
    array([[ 0.5, -0.5]])
    """
    n = len(probabilities)
    d_logits = probabilities.copy()
    d_logits[np.arange(n), targets] -= 1
    return result(d_logits * probabilities.dtype.type(float(dloss) / max(n, 1)), out)
