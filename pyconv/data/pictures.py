"""Pictures in files, and folders of them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from pyconv.data.dataset import Dataset, Split
from pyconv.kernels import _checks as check

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_DEEP = ("I", "I;16", "I;16B", "I;16L")  # Pillow's names of grey pictures of 16 bits
_GREY = ("1", "L", "LA", *_DEEP)
_SAMPLES, _WEBP = os.path.join(os.path.dirname(__file__), "samples"), ".webp"
_TEST_SHARE = 5  # one picture in so many is for the test where the folder doesn't say


def read_picture(
    path: Any, channels: int | None = None, size: Any = None, resize: int | None = None
) -> np.ndarray:
    """One picture as an array.

    Parameters
    ----------
    path : str or path
        Any format that Pillow reads. The turn that a camera noted is done; what is transparent
        becomes white.
    channels : {None, 1, 3}
        Grey or colour; None takes what the file has.
    size : int or (int, int), optional
        Height and width to which it is scaled (bilinear).
    resize : int, optional
        Scale the shorter side to this instead, and cut `size` out of the middle.

    Returns
    -------
    ndarray, C×H×W, uint8

    Raises
    ------
    FileNotFoundError
        There is no such file.
    TypeError, ValueError
        It is no picture, or damaged; a size or a number of channels that can't be.

    Examples
    --------
    >>> from pyconv.data import read_picture
    >>> read_picture("shoe.png", channels=1, size=28).shape  # doctest: +SKIP
    (1, 28, 28)
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    from pyconv.io.files import path_of

    name = path_of("read_picture", path)
    if channels not in (None, 1, 3):
        raise ValueError(f"read_picture: channels must be 1, 3 or None, got {channels!r}")
    try:
        with Image.open(name) as file:
            grey = channels == 1 or (channels is None and file.mode in _GREY)
            picture: Image.Image = ImageOps.exif_transpose(file)  # as cameras want it turned
            if picture.has_transparency_data:
                page = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(page, picture.convert("RGBA"))
            if picture.mode in _DEEP:  # which convert would cut off at 255
                picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
            picture = picture.convert("L" if grey else "RGB")
    except UnidentifiedImageError:
        raise ValueError(f"read_picture: {name} is no picture that Pillow can read") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"read_picture: {name}: {error}") from None
    except OSError as error:
        if error.errno is not None:  # of the file system
            raise
        raise ValueError(f"read_picture: {name} is damaged: {error}") from None
    if size is not None:
        height, width = check.pair("read_picture", "size", size, 1)
        if resize is not None:
            side = check.integer("read_picture", "resize", resize, max(height, width))
            factor = side / min(picture.size)
            scaled = [max(round(n * factor), side) for n in picture.size]
            left, top = (scaled[0] - width) // 2, (scaled[1] - height) // 2
            picture = picture.resize((scaled[0], scaled[1]), Image.Resampling.BILINEAR)
            picture = picture.crop((left, top, left + width, top + height))
        else:
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    array = np.asarray(picture, np.uint8)
    return array[None] if grey else np.ascontiguousarray(array.transpose(2, 0, 1))


def sample_pictures() -> tuple[str, ...]:
    """The names of the pictures that come with pyconv: photographs and paintings, free to use.

    Examples
    --------
    >>> from pyconv.data import sample_pictures
    >>> "colosseum" in sample_pictures()
    True
    """
    return tuple(sorted(os.path.splitext(n)[0] for n in os.listdir(_SAMPLES) if n.endswith(_WEBP)))


def sample_picture(name: str = "colosseum", channels: int = 3) -> np.ndarray:
    """One of the pictures that come with pyconv.

    Parameters
    ----------
    name : str
        One of `sample_pictures`.
    channels : {1, 3}
        Grey or colour.

    Returns
    -------
    ndarray, C×H×W, uint8

    Raises
    ------
    ValueError
        There is no such picture.

    Examples
    --------
    >>> from pyconv.data import sample_picture
    >>> sample_picture("great_wall").shape
    (3, 766, 1024)
    """
    if name not in sample_pictures():
        raise ValueError(
            f"sample_picture: there is no {name!r}; there are {', '.join(sample_pictures())}"
        )
    return read_picture(sample_path(name), channels)


def sample_path(name: str) -> str:
    """Where one of `sample_pictures` is."""
    return os.path.join(_SAMPLES, name + _WEBP)


def read_folder(folder: str, size: Any = None) -> Dataset:
    """A folder with one sub-folder a class, or with ``train`` and ``test`` that are such."""
    parts = [os.path.join(folder, part) for part in ("train", "test")]
    if all(os.path.isdir(part) for part in parts):
        listed = [_list(part) for part in parts]
        if list(listed[0]) != list(listed[1]):
            raise ValueError(f"load_dataset: {parts[0]} and {parts[1]} have other classes")
    else:
        found = _list(folder)
        listed = [
            {c: [p for i, p in enumerate(paths) if (i % _TEST_SHARE == _TEST_SHARE - 1) == test]
             for c, paths in found.items()}
            for test in (False, True)
        ]  # fmt: skip
    paths = [path for part in listed for group in part.values() for path in group]
    if not paths:
        raise ValueError(f"load_dataset: {folder} has no pictures in sub-folders")
    pictures = [read_picture(path, None, size) for path in paths]
    if len({len(p) for p in pictures}) > 1:  # some are grey, some in colour
        pictures = [np.broadcast_to(p, (3, *p.shape[1:])) for p in pictures]
    shapes = {p.shape for p in pictures}
    if len(shapes) > 1:
        sizes = sorted(shape[1:] for shape in shapes)
        raise ValueError(
            f"load_dataset: the pictures in {folder} differ in size, from {sizes[0]} to "
            f"{sizes[-1]}; give the size to which they are to be scaled"
        )
    x = np.stack(pictures)
    y = np.array([i for part in listed for i, g in enumerate(part.values()) for _ in g], np.int64)
    n = sum(len(group) for group in listed[0].values())
    name = os.path.basename(os.path.abspath(folder))
    return Dataset(Split(x[:n], y[:n]), Split(x[n:], y[n:]), tuple(listed[0]), name)


def _list(folder: str) -> dict[str, list[str]]:
    """Class to paths of its pictures, both sorted."""
    classes = {}
    for entry in sorted(os.listdir(folder)):
        path = os.path.join(folder, entry)
        if os.path.isdir(path) and not entry.startswith("."):
            names = sorted(n for n in os.listdir(path) if n.lower().endswith(ENDINGS))
            if names:
                classes[entry] = [os.path.join(path, name) for name in names]
    return classes
