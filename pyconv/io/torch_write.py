"""Checkpoints that ``torch.load`` reads, written without PyTorch; the format: see `torch_read`."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyconv.autograd import Tensor
from pyconv.io.files import atomic_write, path_of
from pyconv.io.torch_tensors import BFLOAT16, DTYPES, STORAGES
from pyconv.nn.module import Module

_ALIGNMENT = 64  # where torch.save lets each storage begin, for mmap
_HEADER = 30  # bytes before the name of an entry
_FOLDER = "archive"
_CLASSES = {DTYPES[name]: storage for storage, name in STORAGES.items() if name != BFLOAT16}
_OF_BFLOAT16 = next(storage for storage, name in STORAGES.items() if name == BFLOAT16)
_SMALL, _INT = 2**8, 2**31


def save_torch(model_or_state: Any, path: Any) -> None:
    """Write a checkpoint for PyTorch, as a whole or not at all; PyTorch is not needed.

    ``torch.load(path, weights_only=True)`` reads it, and `load_torch`.

    Parameters
    ----------
    model_or_state : Module, or dicts, lists and tuples with arrays
        Of a Module its ``state_dict()``. Beside arrays and Tensors there may be numbers, str, bool
        and None. Arrays of float32, float64, float16, bfloat16, signed integers, uint8, bool and
        complex numbers; one that is there twice is shared by both places.
    path : str or path

    Raises
    ------
    TypeError
        `path` is no path, or a value has a type that a checkpoint can't hold, which the message
        names with its place.
    OSError
        The file can't be written; what was there before is still there.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import pyconv
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "a.pt")
    ...     pyconv.save_torch({"epoch": 3, "weights": [np.arange(2.0)]}, path)
    ...     pyconv.load_torch(path)
    {'epoch': 3, 'weights': [array([0., 1.])]}
    """
    name = path_of("save_torch", path)
    if isinstance(model_or_state, Module):
        model_or_state = model_or_state.state_dict()
    pickle = _Pickle()
    pickle.value(model_or_state, "")
    entries = [("data.pkl", bytes(pickle.code) + b"."), ("byteorder", b"little")]
    entries += [(f"data/{i}", _raw(a)) for i, a in enumerate(pickle.arrays)]
    entries.append(("version", b"3\n"))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for entry, content in entries:
            # The same state gives the same file: no time of day in it.
            info = zipfile.ZipInfo(f"{_FOLDER}/{entry}")
            begin = file.tell() + _HEADER + len(info.filename) + 4
            padding = -begin % _ALIGNMENT
            info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
            archive.writestr(info, content)
    atomic_write(name, file.getvalue())


def _raw(array: np.ndarray) -> bytes:
    """In logical order, little-endian."""
    return np.asarray(array, array.dtype.newbyteorder("<")).tobytes()


class _Pickle:
    """A program of protocol 2, which makes the value; its arrays are put aside."""

    def __init__(self) -> None:
        self.code = bytearray(b"\x80\x02")
        self.arrays: list[np.ndarray] = []
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no number is given to another array
        self._inside: set[int] = set()

    def value(self, value: Any, place: str) -> None:
        if isinstance(value, Tensor):
            value = value.data
        if hasattr(value, "get") and hasattr(value, "__cuda_array_interface__"):
            value = value.get()
        if isinstance(value, np.generic) and value.dtype.kind in "biuf":
            value = value.item()
        if isinstance(value, np.ndarray):
            self._array(value, place)
        elif value is None or isinstance(value, bool):
            self.code += {None: b"N", True: b"\x88", False: b"\x89"}[value]
        elif isinstance(value, int):
            self._int(value)
        elif isinstance(value, float):
            self.code += b"G" + struct.pack(">d", value)
        elif isinstance(value, str):
            self._str(value)
        elif isinstance(value, (Mapping, list, tuple)):
            self._container(value, place)
        else:
            raise TypeError(
                f"save_torch: {place or 'model_or_state'} must be a Module, an array, a number, "
                f"a str, None, or a dict, list or tuple of these, got {type(value).__name__}"
            )

    def _container(self, value: Any, place: str) -> None:
        if id(value) in self._inside:
            raise TypeError(f"save_torch: {place or 'model_or_state'} contains itself")
        self._inside.add(id(value))
        if isinstance(value, Mapping):
            self.code += b"}("
            for key, item in value.items():
                if not isinstance(key, (str, int)):
                    raise TypeError(
                        f"save_torch: keys must be str or int, got {type(key).__name__}"
                        + (f" in {place}" if place else "")
                    )
                self.value(key, place)
                self.value(item, f"{place}.{key}" if place else str(key))
            self.code += b"u"
        else:
            self.code += b"(" if isinstance(value, tuple) else b"]("
            for i, item in enumerate(value):
                self.value(item, f"{place}.{i}" if place else str(i))
            self.code += b"t" if isinstance(value, tuple) else b"e"
        self._inside.remove(id(value))

    def _array(self, array: np.ndarray, place: str) -> None:
        storage = _CLASSES.get(array.dtype.newbyteorder("="))
        original, key = array, self._numbers.get(id(array))
        if array.dtype.name == BFLOAT16:
            storage, array = _OF_BFLOAT16, array.view(np.uint16)
        if storage is None:
            raise TypeError(
                f"save_torch: {place or 'model_or_state'} has dtype {array.dtype}, which has no "
                "storage in PyTorch's files"
            )
        if key is None:
            key = self._numbers[id(original)] = len(self.arrays)
            self.arrays.append(array)
            self._kept.append(original)
        strides = [1]
        for n in reversed(array.shape[1:]):
            strides.insert(0, strides[0] * max(n, 1))
        self._name("torch._utils", "_rebuild_tensor_v2")
        self.code += b"(("
        self._str("storage")
        self._name("torch", storage)
        self._str(str(key))
        self._str("cpu")
        self._int(array.size)
        self.code += b"tQ"
        self._int(0)
        for numbers in (array.shape, strides[: array.ndim]):
            self.code += b"("
            for n in numbers:
                self._int(n)
            self.code += b"t"
        self.code += b"\x89"  # requires no gradient
        self._name("collections", "OrderedDict")
        self.code += b")RtR"  # no hooks

    def _name(self, module: str, name: str) -> None:
        self.code += f"c{module}\n{name}\n".encode()

    def _str(self, text: str) -> None:
        encoded = text.encode("utf-8", "surrogatepass")
        self.code += b"X" + struct.pack("<I", len(encoded)) + encoded

    def _int(self, n: int) -> None:
        if 0 <= n < _SMALL:
            self.code += b"K" + struct.pack("<B", n)
        elif -_INT <= n < _INT:
            self.code += b"J" + struct.pack("<i", n)
        else:
            raw = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
            if len(raw) >= _SMALL:
                raise TypeError(f"save_torch: {n} is too large a number")
            self.code += b"\x8a" + struct.pack("<B", len(raw)) + raw
