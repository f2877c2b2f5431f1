"""Pictures and their classes in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pyconv.kernels import _checks as check


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs and targets that belong together.

    Attributes
    ----------
    x : array, N×...
        For pictures N×C×H×W, uint8.
    y : array, N×...
        For classes their numbers, int64.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.data import Split
    >>> split = Split(np.zeros((3, 1, 2, 2), np.uint8), np.array([0, 1, 1]))
    >>> len(split), split[:2].y
    (3, array([0, 1]))
    """

    x: np.ndarray
    y: np.ndarray

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            value = getattr(self, name)
            if not isinstance(value, np.ndarray):
                raise TypeError(f"Split: {name} must be an array, got {check.kind(value)}")
            if value.ndim == 0:
                raise ValueError(f"Split: {name} must have an axis of samples, got a scalar")
        if len(self.x) != len(self.y):
            raise ValueError(
                f"Split: x and y must have as many entries, got {len(self.x)} and {len(self.y)}"
            )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Any) -> Split:
        """The samples at a slice, or at an array of indices or of bool."""
        if isinstance(index, (int, np.integer)):
            raise TypeError("Split: index must be a slice or an array; take .x and .y for one")
        return Split(self.x[index], self.y[index])

    def __repr__(self) -> str:
        return f"Split(x: {self.x.shape} {self.x.dtype}, y: {self.y.shape} {self.y.dtype})"


@dataclass(frozen=True, eq=False)
class Dataset:
    """What `load_dataset` returns.

    Attributes
    ----------
    train, test : Split
    classes : tuple of str
        The name of each class.
    name : str
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    name: str

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, train: {len(self.train)}, test: {len(self.test)}, "
            f"classes: {', '.join(self.classes)})"
        )


def random_split(split: Split, fraction: float, seed: int = 0) -> tuple[Split, Split]:
    """Cut a part from a split, the same fraction of every class.

    Parameters
    ----------
    split : Split
        Whose y are class numbers.
    fraction : float
        From 0 to 1: the size of the second part.
    seed : int

    Returns
    -------
    rest, part : Split
        The order of the samples is kept.

    Raises
    ------
    TypeError, ValueError
        Wrong types, or a fraction out of range.

    Examples
    --------
    >>> from pyconv.data import load_dataset, random_split
    >>> train, validation = random_split(load_dataset("fashion-mnist").train, 0.1)
    >>> len(train), len(validation)
    (4500, 500)
    """
    if not isinstance(split, Split):
        raise TypeError(f"random_split: split must be a Split, got {type(split).__name__}")
    check.number("random_split", "fraction", fraction, 0.0, 1.0)
    generator = np.random.default_rng(check.integer("random_split", "seed", seed, 0))
    chosen = np.zeros(len(split), bool)
    for label in np.unique(split.y):
        members = np.flatnonzero(split.y == label)
        count = round(fraction * len(members))
        chosen[generator.permutation(members)[:count]] = True
    return split[~chosen], split[chosen]
