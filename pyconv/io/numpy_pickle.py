"""Arrays in pickles of NumPy's, read without running them; see `pyconv.io.pickles`."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from pyconv.io.files import path_of
from pyconv.io.pickles import Filled, PickleError, read_pickle

_KINDS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


def read_arrays(function: str, path: Any) -> Any:
    """The dicts, lists and tuples of arrays in a pickle.

    Parameters
    ----------
    function : str
        Whom a message names.
    path : str or path

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, or asks for anything but arrays of numbers, which the message names.

    Examples
    --------
    >>> import os, pickle, tempfile
    >>> import numpy as np
    >>> from pyconv.io.numpy_pickle import read_arrays
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "a.pkl")
    ...     with open(path, "wb") as file:
    ...         pickle.dump({"a": [np.arange(3.0)]}, file, protocol=2)
    ...     read_arrays("example", path)
    {'a': [array([0., 1., 2.])]}
    """
    name = path_of(function, path)
    with open(name, "rb") as file:
        content = file.read()
    known: dict[str, Any] = {"numpy.ndarray": None, "numpy.dtype": _Dtype, "_codecs.encode": _bytes}
    known["__builtin__.bytes"] = known["builtins.bytes"] = _no_bytes
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        known[f"{module}._reconstruct"] = _reconstruct
    try:
        return _finished(read_pickle(io.BytesIO(content), known), 0)
    except PickleError as error:
        hint = ", which is no array" if str(error).startswith("asks for ") else ""
        raise ValueError(f"{function}: {name} {error}{hint}") from None


class _Dtype(Filled):
    """A dtype, whose byte order comes with its state."""

    def __init__(self, kind: Any, align: Any = False, copy: Any = True) -> None:
        if kind not in _KINDS:
            raise PickleError("has an array of something else than numbers")
        self.dtype = np.dtype(kind)

    def fill(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise PickleError("is damaged: a dtype without byte order")
        self.dtype = self.dtype.newbyteorder(order)


class _Array(Filled):
    """An array, whose shape and numbers come with its state."""

    array: np.ndarray | None = None

    def fill(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise PickleError("is damaged: an array without shape or numbers")
        _, shape, kind, fortran, raw = state
        if (
            not isinstance(shape, tuple)
            or not all(type(n) is int and n >= 0 for n in shape)
            or not isinstance(kind, _Dtype)
            or not isinstance(raw, bytes)
        ):
            raise PickleError("is damaged: an array without shape or numbers")
        if len(raw) != math.prod(shape) * kind.dtype.itemsize:
            raise PickleError(f"is damaged: an array of shape {shape} has {len(raw)} bytes")
        order: Any = "F" if fortran is True else "C"
        stored = np.frombuffer(raw, kind.dtype).reshape(shape, order=order)
        self.array = stored.astype(kind.dtype.newbyteorder("="))


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not None:  # what stands for numpy.ndarray
        raise PickleError("asks for a subclass of numpy.ndarray")
    return _Array()


def _bytes(text: Any, code: Any) -> bytes:
    """How protocols 0 to 2 write bytes."""
    if not isinstance(text, str) or code != "latin1":
        raise PickleError("is damaged: a text that should be bytes")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How they write none."""
    return b""


def _finished(value: Any, depth: int) -> Any:
    if depth > 8:
        raise PickleError("is nested too deeply")
    if isinstance(value, _Array):
        if value.array is None:
            raise PickleError("is damaged: an array without shape or numbers")
        return value.array
    if isinstance(value, dict):
        return {key: _finished(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_finished(item, depth + 1) for item in value)
    return value
