"""Files in the IDX format of the MNIST family (LeCun, Cortes and Burges, The MNIST database)."""

from __future__ import annotations

import gzip
import os
import zlib

import numpy as np

from pyconv.data.dataset import Split

_NAMES = ("{part}-{kind}-idx{rank}-ubyte", "{part}-{kind}.idx{rank}-ubyte")
PARTS = ("train", "t10k")
KINDS = (("images", 3), ("labels", 1))


def find(folder: str, part: str, kind: str, rank: int) -> str | None:
    """The path of an IDX file, plain or compressed; None where there is none."""
    for name in _NAMES:
        for ending in ("", ".gz"):
            path = os.path.join(folder, name.format(part=part, kind=kind, rank=rank) + ending)
            if os.path.isfile(path):
                return path
    return None


def is_folder(folder: str) -> bool:
    """Whether there is at least one of the four files."""
    return any(find(folder, part, *kind) for part in PARTS for kind in KINDS)


def read_bytes(path: str) -> bytes:
    """What is in a file, decompressed if its name ends with .gz."""
    try:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            return file.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"load_dataset: {path} is damaged: {error}") from None


def parse(path: str, content: bytes) -> np.ndarray:
    """The array of bytes in an IDX file: two zeros, the type, the rank, the sizes, the data."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != 8 or content[3] < 1:
        raise ValueError(f"load_dataset: {path} is no IDX file of bytes")
    rank = content[3]
    start = 4 + 4 * rank
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], ">u4"))
    expected = start + int(np.prod(shape, dtype=np.int64)) if len(shape) == rank else -1
    if len(content) != expected:
        raise ValueError(
            f"load_dataset: {path} is damaged: {len(content)} bytes for an array of shape {shape}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_folder(folder: str) -> tuple[Split, Split]:
    """The training and the test pictures in a folder of four IDX files."""
    splits = []
    for part in PARTS:
        arrays = []
        for kind, rank in KINDS:
            path = find(folder, part, kind, rank)
            if path is None:
                raise FileNotFoundError(
                    f"load_dataset: {folder} has no {part}-{kind}-idx{rank}-ubyte, plain or .gz"
                )
            array = parse(path, read_bytes(path))
            if array.ndim != rank:
                raise ValueError(f"load_dataset: {path} must be {rank}-D, got {array.shape}")
            arrays.append(array)
        images, labels = arrays
        splits.append(Split(images[:, None], labels.astype(np.int64)))
    return splits[0], splits[1]
