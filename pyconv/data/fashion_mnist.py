"""Fashion-MNIST (Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking
machine learning algorithms, 2017)."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from typing import Any

import numpy as np

from pyconv.data import idx
from pyconv.data.dataset import Dataset, Split

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN = "/usr/share/datasets/fashion-mnist"
# SHA-256 of the files' contents, decompressed.
CHECKSUMS = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def shipped() -> Dataset:
    """The 6,000 pictures in the package: the first 500 training and 100 test ones of each class."""
    with np.load(os.path.join(os.path.dirname(__file__), "fashion_mnist_6k.npz")) as file:
        train, test = (
            Split(file[f"x_{part}"][:, None], file[f"y_{part}"].astype(np.int64))
            for part in ("train", "test")
        )
    return Dataset(train, test, CLASSES, "fashion-mnist")


def full(root: str) -> Dataset:
    """All 70,000 pictures, from a folder of IDX files."""
    if not os.path.isdir(root) or not idx.is_folder(root):
        raise FileNotFoundError(
            f"load_dataset: {root} has no IDX files of Fashion-MNIST; give their folder as root "
            f"(Debian's package dataset-fashion-mnist puts them into {DEBIAN}), or download=True"
        )
    return Dataset(*idx.read_folder(root), CLASSES, "fashion-mnist")


def holds_fashion_mnist(root: str) -> bool:
    """Whether the labels in a folder of IDX files are those of Fashion-MNIST."""
    path = idx.find(root, "t10k", "labels", 1)
    return (
        path is not None and _checksum(idx.read_bytes(path)) == CHECKSUMS["t10k-labels-idx1-ubyte"]
    )


def download_fashion_mnist(root: Any, address: str = ADDRESS) -> None:
    """Bring the four files of Fashion-MNIST (30 MB) into a folder; those that are there stay.

    Parameters
    ----------
    root : str or path
        The folder; it is made.
    address : str
        Where the files are, with a slash at the end.

    Raises
    ------
    OSError
        No network, or the folder can't be written.
    ValueError
        A file is not what it should be, by its SHA-256 sum. It is not kept.

    Examples
    --------
    >>> from pyconv.data import download_fashion_mnist
    >>> download_fashion_mnist("fashion-mnist")  # doctest: +SKIP
    """
    from urllib.request import urlopen

    from pyconv.io.files import atomic_write, path_of

    folder = path_of("download_fashion_mnist", root)
    os.makedirs(folder, exist_ok=True)
    for name, checksum in CHECKSUMS.items():
        part, kind, rank = name.split("-")[0], name.split("-")[1], int(name.split("idx")[1][0])
        if idx.find(folder, part, kind, rank):
            continue
        url = f"{address}{name}.gz"
        with urlopen(url, timeout=60) as answer:
            content = answer.read()
        try:
            found = _checksum(gzip.decompress(content))
        except (OSError, EOFError, zlib.error):
            found = "nothing that gzip can read"
        if found != checksum:
            raise ValueError(
                f"download_fashion_mnist: {url} has the SHA-256 sum {found}, expected {checksum}"
            )
        atomic_write(os.path.join(folder, f"{name}.gz"), content)


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
