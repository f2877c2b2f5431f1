"""What an attack returns, and what all of them ask."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyconv import functional
from pyconv.autograd import no_grad
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes._result import Result

Predict = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass
class Attack(Result):
    """Pictures before and after.

    Attributes
    ----------
    originals : ndarray, N×C×H×W
    before, after : ndarray of int, N
        What the model took them for.
    success : ndarray of bool, N
        Whether the wanted class was reached; without one, whether the answer is another than
        before, or than the given label.
    confidence : ndarray, N
        The probability of what they are taken for after.
    queries : int
        How often a picture was shown to the model.
    """

    originals: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 1, 1, 1)))
    before: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    after: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    success: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, bool))
    confidence: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))
    queries: int = 0

    @property
    def perturbation(self) -> np.ndarray:
        """What was added, N×C×H×W."""
        return self.images - self.originals

    def comparison(self) -> np.ndarray:
        """For each picture the original, ten times the perturbation around grey, and the result:
        3N×C×H×W in 0..1."""
        ten_times = np.clip(0.5 + 10 * self.perturbation, 0, 1)
        rows = np.stack([self.originals, ten_times, self.images], 1)
        return rows.reshape(-1, *self.images.shape[1:]).astype(np.float32)


def joined(attacks: Sequence[Attack]) -> Attack:
    """Several attacks as one: their pictures one after the other, and no history.

    Parameters
    ----------
    attacks : sequence of Attack
        At least one; of pictures of one shape.

    Returns
    -------
    Attack

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import adversarial
    >>> net, x = models.lenet5(), np.random.default_rng(0).random((2, 1, 28, 28), np.float32)
    >>> adversarial.joined([adversarial.fgsm(net, one) for one in x]).images.shape
    (2, 1, 28, 28)
    """
    arrays = {
        name: np.concatenate([getattr(a, name) for a in attacks])
        for name in ("images", "originals", "before", "after", "success", "confidence")
    }
    titles = [title for attack in attacks for title in attack.titles]
    return Attack(history=[], titles=titles, queries=sum(a.queries for a in attacks), **arrays)


def probabilities(model: Module) -> Predict:
    """A classifier as a function that is asked and shows nothing else: from pictures, N×C×H×W in
    0..1, to the probabilities of the classes, N×K.

    Parameters
    ----------
    model : Module
        Whose output are scores of classes, N×K.

    Returns
    -------
    callable

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import adversarial
    >>> predict = adversarial.probabilities(models.lenet5())
    >>> predict(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """

    def predict(x: np.ndarray) -> np.ndarray:
        with looked_at("probabilities", model):
            return shares_of(Network("probabilities", model), x)

    return predict


def shares_of(network: Network, x: np.ndarray) -> np.ndarray:
    """The probabilities of the classes, N×K."""
    with no_grad():
        scores = network(x)
    if scores.ndim != 2:
        raise ValueError(
            f"{network.function}: the model must give scores of classes, N×K, got {scores.shape}"
        )
    return functional.softmax(scores, 1).numpy()


def class_number(function: str, argument: str, value: Any, classes: int) -> int:
    found = check.integer(function, argument, value, 0)
    if found >= classes:
        raise ValueError(f"{function}: {argument} must be below {classes}, got {value}")
    return found


def labels_of(function: str, label: Any, before: np.ndarray) -> np.ndarray:
    n, classes = before.shape
    if label is None:
        return before.argmax(1)
    labels = np.asarray(label)
    if labels.dtype.kind not in "iu" or labels.shape not in ((), (n,)):
        raise ValueError(
            f"{function}: label must be one class, or one for each of {n} pictures, got {label!r}"
        )
    labels = np.broadcast_to(labels, (n,)).astype(np.int64)
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"{function}: labels must be in 0..{classes - 1}, got {label!r}")
    return labels


def attack_of(
    images: np.ndarray, originals: np.ndarray, before: np.ndarray, after: np.ndarray,
    wanted: np.ndarray, history: list[dict[str, Any]], queries: int, towards: bool,
) -> Attack:  # fmt: skip
    taken = after.argmax(1)
    success = (taken == wanted) == towards
    titles = [f"{a} → {b}" for a, b in zip(before.argmax(1), taken, strict=True)]
    return Attack(
        np.ascontiguousarray(images, np.float32), history, titles,
        np.ascontiguousarray(originals, np.float32), before.argmax(1), taken, success,
        after.max(1), queries,
    )  # fmt: skip
