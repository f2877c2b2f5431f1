"""Fashion-MNIST for the examples that train: few pictures, small ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pyconv.data import load_dataset

Split = tuple[np.ndarray, np.ndarray]


def pictures(train: int = 5000, test: int = 1000, size: int = 28) -> tuple[Split, Split]:
    """The first pictures and classes, to train and to test, with mean 0 and variance 1 in training.

    Size 14 is the mean of 2×2 pixels.
    """
    data = load_dataset("fashion-mnist")
    parts = []
    for part, number in ((data.train, train), (data.test, test)):
        x = part.x[:number].astype(np.float32)
        k = 28 // size
        x = x.reshape(len(x), 1, size, k, size, k).mean(axis=(3, 5))
        parts.append((x, part.y[:number]))
    (x, y), (x_test, y_test) = parts
    mean, deviation = x.mean(), x.std()
    return ((x - mean) / deviation, y), ((x_test - mean) / deviation, y_test)


def spread(numbers: Sequence[float], form: str = ".3f") -> str:
    """The mean, and half of what lies between the smallest and the largest."""
    half = (max(numbers) - min(numbers)) / 2
    return f"{np.mean(numbers):{form}} ± {half:{form}}"
