"""Noise on pictures, and batches of noisy and clean ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pyconv.data import DataLoader
from pyconv.kernels import _checks as check


def noise_range(function: str, noise: Any) -> tuple[float, float]:
    """One level, or from one to another."""
    pair = noise if isinstance(noise, (tuple, list)) else (noise, noise)
    if len(pair) != 2:
        raise ValueError(f"{function}: noise must be one level or two, got {len(pair)}")
    low, high = (check.number(function, "noise", level, 0.0) for level in pair)
    if low > high:
        raise ValueError(f"{function}: noise must go from a lower level to a higher, got {noise}")
    return low, high


def noisy(x: np.ndarray, noise: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Normal noise on N×C×H×W, for each picture of its own level; then cut off at 0 and 1, as
    files do."""
    low, high = noise
    if high == 0:
        return x
    level = np.float32(low) + np.float32(high - low) * rng.random((len(x), 1, 1, 1), np.float32)
    added = rng.standard_normal((len(x), *x.shape[2:], x.shape[1]), np.float32)
    return np.clip(x + level * added.transpose(0, 3, 1, 2), 0, 1)


class Pairs:
    """Goes through a loader's pictures: those with noise, and what they are to become.

    The noise of an epoch follows from the seed and the epoch, as the loader's order does.
    """

    def __init__(self, loader: DataLoader, noise: tuple[float, float], seed: int) -> None:
        self.loader, self.noise, self.seed = loader, noise, seed

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng([self.seed, self.loader.epoch])
        for x, _ in self.loader:
            yield noisy(x, self.noise, rng), x

    def state_dict(self) -> dict[str, Any]:
        """Of the loader."""
        return self.loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.loader.load_state_dict(state_dict)
