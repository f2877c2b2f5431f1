"""Pictures as recipes take and give them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.autograd import Tensor


def as_pictures(function: str, argument: str, value: Any) -> np.ndarray:
    """N×C×H×W float32 in 0..1, channels-last in memory, of one picture or several; or an error."""
    array = value.data if isinstance(value, Tensor) else value
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{function}: {argument} must be a NumPy array, got {type(array).__name__}")
    if array.dtype.kind != "f":
        raise TypeError(
            f"{function}: {argument} must be of floats in 0..1, got {array.dtype}; divide by 255"
        )
    if array.ndim not in (3, 4):
        raise ValueError(
            f"{function}: {argument} must be C×H×W or N×C×H×W, got shape {array.shape}"
        )
    if 0 in array.shape:
        raise ValueError(f"{function}: {argument} is empty, its shape is {array.shape}")
    low, high = float(array.min()), float(array.max())
    if not (0 <= low and high <= 1):  # NaN, too
        raise ValueError(f"{function}: {argument} must lie in 0..1, got {low:g} to {high:g}")
    batch = array if array.ndim == 4 else array[None]
    return np.ascontiguousarray(batch.transpose(0, 2, 3, 1), np.float32).transpose(0, 3, 1, 2)


def one_picture(function: str, argument: str, value: Any) -> np.ndarray:
    """1×C×H×W float32 in 0..1; or an error."""
    found = as_pictures(function, argument, value)
    if len(found) != 1:
        raise ValueError(f"{function}: {argument} must be one picture, got {len(found)}")
    return found


def resized(x: np.ndarray, size: tuple[int, int], method: str = "bicubic") -> np.ndarray:
    """Pictures, N×C×H×W, uint8 or float32, in another height and width, channels-last in memory: by
    Pillow, which averages over the pixels that become one; "bicubic" or "bilinear"."""
    if x.shape[2:] == size:
        return x
    from PIL import Image

    resample = Image.Resampling[method.upper()]
    result = np.empty((len(x), *size, x.shape[1]), x.dtype)
    for i, picture in enumerate(x):
        for c, plane in enumerate(picture):
            image = Image.fromarray(np.ascontiguousarray(plane))
            result[i, :, :, c] = np.asarray(image.resize(size[::-1], resample))
    return result.transpose(0, 3, 1, 2)


def sheet(images: np.ndarray, across: int | None = None, gap: int = 2) -> np.ndarray:
    """Pictures side by side, C×H×W; by default about as many rows as columns.

    Examples
    --------
    >>> sheet(np.zeros((5, 3, 8, 8), np.float32)).shape
    (3, 18, 28)
    """
    n, channels, height, width = images.shape
    if across is None:
        across = int(np.ceil(np.sqrt(n)))
    down = -(-n // across)
    page = np.ones(
        (channels, down * (height + gap) - gap, across * (width + gap) - gap), np.float32
    )
    for i, image in enumerate(images):
        y, x = i // across * (height + gap), i % across * (width + gap)
        page[:, y : y + height, x : x + width] = image
    return page
