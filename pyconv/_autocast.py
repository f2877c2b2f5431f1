"""Which types operations run in while `pyconv.autocast` is on; kept apart from it, since every
operation asks."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

_FLOAT32 = np.dtype(np.float32)


class _Mode(threading.local):
    dtype: Any = None  # the 16-bit type, where autocast is on in this thread


mode = _Mode()


def lowered(*tensors: Any) -> tuple[Any, ...]:
    """Tensors of float32 on a device in the 16-bit type: what products run in."""
    if mode.dtype is None:
        return tensors
    return tuple(
        t.to(mode.dtype)
        if t is not None and t.dtype == _FLOAT32 and not isinstance(t.data, np.ndarray)
        else t
        for t in tensors
    )


def raised(*tensors: Any) -> tuple[Any, ...]:
    """Tensors of a 16-bit type in float32: what losses and sums run in."""
    if mode.dtype is None:
        return tensors
    return tuple(
        t.to(_FLOAT32) if t is not None and t.dtype.itemsize == 2 and t.dtype.kind in "fV" else t
        for t in tensors
    )
