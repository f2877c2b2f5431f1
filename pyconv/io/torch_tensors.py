"""What tensors of PyTorch's checkpoints are made of: storages and views into them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pyconv.io.pickles import PickleError

# A storage's class, or a dtype, by PyTorch's name; bfloat16 is read as the float32 that it is the
# upper half of.
BFLOAT16 = "bfloat16"
DTYPES: dict[str, np.dtype] = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "float16": np.dtype(np.float16),
    BFLOAT16: np.dtype(np.uint16),
    "int64": np.dtype(np.int64),
    "int32": np.dtype(np.int32),
    "int16": np.dtype(np.int16),
    "int8": np.dtype(np.int8),
    "uint8": np.dtype(np.uint8),
    "uint16": np.dtype(np.uint16),
    "uint32": np.dtype(np.uint32),
    "uint64": np.dtype(np.uint64),
    "bool": np.dtype(np.bool_),
    "complex64": np.dtype(np.complex64),
    "complex128": np.dtype(np.complex128),
}
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
# Elements of a view that repeats those of its storage, as expanded tensors do.
_MOST_REPEATED = 2**24


class Kind:
    """A class of storages, or a dtype, as a pickle names it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name  # a key of DTYPES; "" for bytes without a type

    @property
    def dtype(self) -> np.dtype:
        return DTYPES[self.name] if self.name else np.dtype(np.uint8)


class Storage:
    """A stretch of memory with numbers of one kind."""

    __slots__ = ("array", "kind")

    def __init__(self, raw: Any, kind: Kind) -> None:
        self.kind = kind
        self.array = widened(raw, kind.name)


def widened(raw: np.ndarray, name: str) -> np.ndarray:
    """bfloat16 as float32, any byte but 0 as True; other arrays as they are."""
    if name == BFLOAT16:
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.view(np.uint8) != 0 if name == "bool" else raw


def view(storage: Any, offset: Any, size: Any, stride: Any) -> np.ndarray:
    """A tensor: the cells of a storage that offset, size and strides name; memory is shared."""
    if not isinstance(storage, Storage):
        raise PickleError(f"has a tensor of {type(storage).__name__}, not of a storage")
    if not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise PickleError("has a tensor whose size or stride is no tuple")
    if not all(type(n) is int for n in (offset, *size, *stride)):
        raise PickleError("has a tensor whose size, stride or offset is no int")
    if len(size) != len(stride) or min(offset, *size, *stride, 0) < 0:
        raise PickleError(f"has a tensor of size {size}, stride {stride}, offset {offset}")
    array = storage.array
    count = math.prod(size)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if count and last >= array.size:
        raise PickleError(
            f"has a tensor of size {size}, stride {stride}, offset {offset} in a storage of "
            f"{array.size} elements"
        )
    if count > max(array.size, _MOST_REPEATED) or len(size) > 64:
        raise PickleError(f"has a tensor of size {size} in a storage of {array.size} elements")
    if not count:
        return np.empty(size, array.dtype)
    steps = tuple(s * array.itemsize for s in stride)
    return np.ndarray(size, array.dtype, array, offset * array.itemsize, steps)


def retyped(storage: Any, offset: Any, size: Any, stride: Any, kind: Any) -> np.ndarray:
    """A tensor of a given dtype in a storage of bytes."""
    if not isinstance(storage, Storage) or not isinstance(kind, Kind):
        raise PickleError("has a tensor without storage or dtype")
    if storage.kind.name or storage.array.size % kind.dtype.itemsize:
        raise PickleError(f"has a storage of {storage.array.size} elements for {kind.name}")
    return view(Storage(storage.array.view(kind.dtype), kind), offset, size, stride)


def names(tensor: Callable[..., Any] = view, typed: Callable[..., Any] = retyped) -> dict[str, Any]:
    """The table of what a checkpoint may ask for; made anew for each, so that none changes it."""
    table: dict[str, Any] = {
        "collections.OrderedDict": _ordered,
        "torch.Size": lambda size=(): tuple(size),
        "torch.device": _device,
        "torch._utils._rebuild_tensor": lambda *a: tensor(*a[:4]),
        "torch._utils._rebuild_tensor_v2": lambda *a: tensor(*a[:4]),
        "torch._utils._rebuild_tensor_v3": lambda *a: typed(*a[:4], a[6]),
        "torch._utils._rebuild_parameter": lambda data, *rest: data,
        "torch._utils._rebuild_parameter_with_state": lambda data, *rest: data,
        "builtins.set": _set,
        "__builtin__.set": _set,
        "torch.storage.UntypedStorage": Kind(""),
        "torch.UntypedStorage": Kind(""),
    }
    table.update({f"torch.{storage}": Kind(name) for storage, name in STORAGES.items()})
    table.update({f"torch.{name}": Kind(name) for name in DTYPES})
    return table


def _device(kind: Any, number: Any = None) -> str:
    if not isinstance(kind, str) or not isinstance(number, (int, type(None))):
        raise PickleError("has a device without a name")
    return kind if number is None else f"{kind}:{number}"


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    if not isinstance(pairs, (list, tuple)):
        raise PickleError(f"has an OrderedDict of {type(pairs).__name__}")
    found = {}
    for pair in pairs:
        key, value = pair
        if not isinstance(key, (str, int)):
            raise PickleError(f"has a key of type {type(key).__name__}")
        found[key] = value
    return found


def _set(items: Any = ()) -> set[Any]:
    if not isinstance(items, (list, tuple)) or not all(
        isinstance(i, (str, int, float)) for i in items
    ):
        raise PickleError("has a set of other things than numbers and str")
    return set(items)
