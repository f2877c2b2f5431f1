"""Photographs against paintings: patches of the pictures that come with pyconv."""

from __future__ import annotations

import numpy as np

from pyconv.data.dataset import Dataset, Split
from pyconv.data.pictures import sample_picture

_SIDE = 64
_PICTURES = {
    "photograph": ("colosseum", "gateway_of_india", "great_wall", "machu_picchu"),
    "painting": ("cafe_terrace_at_night", "church_at_auvers"),
}
_CUT = 0.65  # of a picture's width; what is left of it is for training
_COUNTS = (240, 120)  # of each class: to train, to test


def paintings() -> Dataset:
    """3×64×64, as many of photographs as of paintings, the classes in turn."""
    splits = []
    for part, count in enumerate(_COUNTS):
        mixed = np.random.default_rng(0).permutation(count)
        classes = [
            np.concatenate([_patches(name, count // len(names), part) for name in names])[mixed]
            for names in _PICTURES.values()
        ]
        x = np.stack(classes, 1).reshape(2 * count, 3, _SIDE, _SIDE)
        splits.append(Split(x, np.tile([0, 1], count)))
    return Dataset(splits[0], splits[1], tuple(_PICTURES), "paintings")


def _patches(name: str, count: int, part: int) -> np.ndarray:
    """So many windows, spread evenly over a part of a picture."""
    picture = sample_picture(name)
    cut = round(_CUT * picture.shape[2])
    picture = picture[:, :, cut:] if part else picture[:, :, :cut]
    height, width = picture.shape[1:]
    down = round(np.sqrt(count * height / width))
    across = -(-count // down)
    tops = np.linspace(0, height - _SIDE, down).astype(int)
    lefts = np.linspace(0, width - _SIDE, across).astype(int)
    places = np.array([(top, left) for top in tops for left in lefts])
    places = places[np.linspace(0, len(places) - 1, count).astype(int)]
    return np.stack([picture[:, t : t + _SIDE, s : s + _SIDE] for t, s in places])
