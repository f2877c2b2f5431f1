"""Data sets by name."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from pyconv.data import fashion_mnist, idx, patches, pictures
from pyconv.data.dataset import Dataset, Split
from pyconv.kernels import _checks as check

NAMES = ("fashion-mnist", "paintings", "digits")


def load_dataset(
    name: Any, root: Any = None, *, download: bool = False, size: Any = None
) -> Dataset:
    """Pictures and their classes.

    Parameters
    ----------
    name : str or path
        - ``"fashion-mnist"``: 28×28, grey, ten classes of clothing. Without `root` the 5,000
          training and 1,000 test pictures in the package; with it all 60,000 and 10,000.
        - ``"paintings"``: 480 training and 240 test patches of 64×64 in colour, cut from the
          photographs and the paintings in the package (see `sample_pictures`), from the left of
          each to train, from its right to test.
        - ``"digits"``: 1,797 digits of 8×8, from scikit-learn.
        - a folder of four IDX files, as those of the MNIST family, compressed or not.
        - a folder of pictures, one sub-folder a class, or ``train`` and ``test`` folders that are
          such. Otherwise every fifth picture of a class is for the test.
    root : str or path, optional
        For "fashion-mnist": the folder of its IDX files. Debian's package dataset-fashion-mnist
        puts them into ``/usr/share/datasets/fashion-mnist``.
    download : bool
        Bring the files of "fashion-mnist" into `root` where they are missing.
    size : int or (int, int), optional
        For a folder of pictures: height and width to which they are scaled.

    Returns
    -------
    Dataset
        ``.train`` and ``.test``, each with ``.x`` (N×C×H×W, uint8) and ``.y`` (N, int64), and
        ``.classes``.

    Raises
    ------
    TypeError, ValueError
        Wrong types, a name that is not known, files that are damaged.
    FileNotFoundError
        The files are not there.
    ImportError
        "digits" without scikit-learn.

    Examples
    --------
    >>> from pyconv.data import load_dataset
    >>> data = load_dataset("fashion-mnist")
    >>> data.train.x.shape, data.test.y.shape, data.classes[9]
    ((5000, 1, 28, 28), (1000,), 'Ankle boot')
    """
    name = _text("name", name)
    check.boolean("load_dataset", "download", download)
    if name != "fashion-mnist" and (root is not None or download):
        raise ValueError('load_dataset: root and download are for "fashion-mnist" only')
    if name == "fashion-mnist":
        if root is None and not download:
            return fashion_mnist.shipped()
        if root is None:
            raise ValueError("load_dataset: download needs root, the folder to download to")
        root = _text("root", root)
        if download:
            fashion_mnist.download_fashion_mnist(root)
        return fashion_mnist.full(root)
    if name == "paintings":
        return patches.paintings()
    if name == "digits":
        return _digits()
    if not os.path.isdir(name):
        raise ValueError(
            f"load_dataset: name must be one of {', '.join(NAMES)} or a folder, got {name!r}"
        )
    if not idx.is_folder(name):
        return pictures.read_folder(name, size)
    if fashion_mnist.holds_fashion_mnist(name):
        return fashion_mnist.full(name)
    train, test = idx.read_folder(name)
    labels = int(max(train.y.max(initial=0), test.y.max(initial=0))) + 1
    title = os.path.basename(os.path.abspath(name))
    return Dataset(train, test, tuple(map(str, range(labels))), title)


def _digits() -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError(
            'load_dataset: "digits" needs scikit-learn: pip install "pyconv[models]"'
        ) from None
    found = load_digits()
    # 0..16 in the source.
    x = np.round(found.images[:, None] * (255 / 16)).astype(np.uint8)
    y = found.target.astype(np.int64)
    test = np.arange(len(y)) % 5 == 4
    classes = tuple(map(str, range(10)))
    return Dataset(Split(x[~test], y[~test]), Split(x[test], y[test]), classes, "digits")


def _text(argument: str, value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(
            f"load_dataset: {argument} must be a str or a path, got {check.kind(value)}"
        )
    return os.fspath(value)
