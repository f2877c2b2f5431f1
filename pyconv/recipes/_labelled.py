"""Pictures with classes, as recipes that train take them, and as a network takes pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv.data import Dataset, Split, transforms
from pyconv.kernels import _checks as check
from pyconv.recipes._pictures import resized

_LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601, as Pillow makes colour grey


def labelled(function: str, argument: str, value: Any) -> Split:
    """Pictures, N×C×H×W, uint8 or floats in 0..1, and the numbers of their classes; or an error."""
    if isinstance(value, Dataset):
        value = value.test if argument in ("test", "validation") else value.train
    if isinstance(value, (tuple, list)) and len(value) == 2:
        for part in value:
            if not isinstance(part, np.ndarray):
                raise TypeError(
                    f"{function}: {argument} must be a pair of arrays, got {check.kind(part)} in it"
                )
        if len(value[0]) != len(value[1]):
            raise ValueError(
                f"{function}: {argument} must have a class for each picture, got {len(value[0])} "
                f"pictures and {len(value[1])} classes"
            )
        value = Split(*value)
    if not isinstance(value, Split):
        raise TypeError(
            f"{function}: {argument} must be a Dataset, a Split or a pair of arrays, got "
            f"{check.kind(value)}"
        )
    pictures(function, argument, value.x)
    if value.y.ndim != 1 or value.y.dtype.kind not in "iu":
        raise TypeError(
            f"{function}: {argument} must have one class number for each picture, got "
            f"{check.kind(value.y)}"
        )
    if value.y.min() < 0:
        raise ValueError(f"{function}: {argument} has a class number below 0: {value.y.min()}")
    return value


def pictures(function: str, argument: str, x: Any) -> np.ndarray:
    """N×C×H×W, uint8 or floats in 0..1; or an error."""
    if not isinstance(x, np.ndarray) or (x.dtype != np.uint8 and x.dtype.kind != "f"):
        raise TypeError(
            f"{function}: {argument} must have pictures of uint8, or of floats in 0..1, got "
            f"{check.kind(x)}"
        )
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(
            f"{function}: {argument} must have pictures of N×C×H×W, got shape {x.shape}"
        )
    if x.dtype != np.uint8:
        low, high = float(x.min()), float(x.max())
        if not (low >= 0 and high <= 1):  # NaN, too
            raise ValueError(
                f"{function}: {argument} must have pictures in 0..1, got {low:g} to {high:g}"
            )
    return x


def few(split: Split, count: int, classes: int, seed: int = 0) -> Split:
    """So many pictures of each class (all, where there are fewer), chosen at random, mixed."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(split))
    members = [order[split.y[order] == label][:count] for label in range(classes)]
    return split[generator.permutation(np.concatenate(members))]


class Prepare:
    """A transform: pictures as a network takes them. Grey becomes colour, or colour grey; then
    they are scaled to its size (bilinear, by Pillow, as `read_picture` does), then normalised.

    Parameters
    ----------
    shape : C, H, W
    normalization : dict with "mean" and "std", or None
    augment : transform, optional
        What the pictures go through before.
    """

    def __init__(self, shape: Sequence[int], normalization: Any, augment: Any = None) -> None:
        self.shape = tuple(shape)
        self.augment = augment
        self.normalize: Any = transforms.ToFloat()
        if normalization:
            self.normalize = transforms.Normalize(normalization["mean"], normalization["std"])

    def __call__(self, x: np.ndarray, generator: Any = None) -> np.ndarray:
        if self.augment is not None:
            x = self.augment(x, generator)
        channels, *size = self.shape
        x = colored(x, channels)
        if x.dtype != np.uint8:
            x = x.astype(np.float32, copy=False)
        x = resized(x, (size[0], size[1]), "bilinear")
        return self.normalize(x, generator)


def check_channels(function: str, argument: str, x: np.ndarray, channels: int) -> None:
    """Grey and colour become each other; nothing else does."""
    if x.shape[1] != channels and {x.shape[1], channels} != {1, 3}:
        raise ValueError(
            f"{function}: {argument} must have pictures of {channels} channels, as the model takes "
            f"them, got {x.shape[1]}"
        )


def colored(x: np.ndarray, channels: int) -> np.ndarray:
    """Grey pictures in colour, colour ones in grey."""
    if x.shape[1] == channels:
        return x
    if channels == 3:
        return np.broadcast_to(x, (len(x), 3, *x.shape[2:]))
    grey = np.einsum("c,nchw->nhw", _LUMA, x)[:, None]
    return np.round(grey).astype(np.uint8) if x.dtype == np.uint8 else grey.astype(x.dtype)
