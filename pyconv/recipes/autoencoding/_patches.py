"""Small squares of large pictures, to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv.kernels import _checks as check
from pyconv.recipes._pictures import one_picture, resized


def patches(pictures: Sequence[Any], count: int, *, size: int = 32, seed: int = 0) -> np.ndarray:
    """Squares cut out of pictures at random places: as many of each picture, every other one at
    half the scale, where what is near lies as dense as what is far.

    Parameters
    ----------
    pictures : sequence of ndarray, C×H×W
        In 0..1; of any sizes from `size` on, all grey or all in colour.
    count : int
        How many.
    size : int
        Of the sides.
    seed : int

    Returns
    -------
    ndarray, count×C×size×size, float32

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1, too small, or some grey and some in colour; none at all.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.recipes import autoencoding
    >>> photo = np.random.default_rng(0).random((3, 60, 80), np.float32)
    >>> autoencoding.patches([photo], 10, size=16).shape
    (10, 3, 16, 16)
    """
    name = "patches"
    check.integer(name, "count", count, 1)
    check.integer(name, "size", size, 1)
    rng = np.random.default_rng(check.integer(name, "seed", seed, 0))
    whole = [one_picture(name, "pictures", p) for p in pictures]
    if not whole:
        raise ValueError(f"{name}: there are no pictures")
    if len({p.shape[1] for p in whole}) > 1:
        raise ValueError(f"{name}: pictures must be all grey or all in colour")
    for p in whole:
        if min(p.shape[2:]) < size:
            raise ValueError(
                f"{name}: pictures must be at least {size}×{size}, got {p.shape[2]}×{p.shape[3]}"
            )
    found = np.empty((count, whole[0].shape[1], size, size), np.float32)
    for k, picture in enumerate(whole):
        height, width = picture.shape[2:]
        half = picture
        if min(height, width) >= 2 * size:
            half = np.clip(resized(picture, (height // 2, width // 2)), 0, 1)
        for i, place in enumerate(range(k, count, len(whole))):
            source = half if i % 2 else picture
            top, left = (int(rng.integers(n - size + 1)) for n in source.shape[2:])
            found[place] = source[0, :, top : top + size, left : left + size]
    return found
