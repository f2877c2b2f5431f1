"""Arrays that something was computed from, and that may not change while it is kept.

A packed weight is a copy in another form. So that none is ever stale, the arrays that it was made
of are read-only while it is in use; whoever is about to write one of them thaws it first, and a
copy is good only as long as all its sources are frozen.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import numpy as np

_thaws = itertools.count(1)
_last_thaw = 0
_frozen: dict[int, weakref.ref[np.ndarray]] = {}  # those that were writable before


def freeze(array: Any) -> bool:
    """Make an array read-only; False where that can't be promised: it was so before, by someone
    else's hand, or lies on another device."""
    if not isinstance(array, np.ndarray):
        return False
    if is_frozen(array):
        return True
    if not array.flags.writeable:
        return False
    key = id(array)
    _frozen[key] = weakref.ref(array, lambda gone: _frozen.pop(key, None))
    array.flags.writeable = False
    return True


def is_frozen(array: np.ndarray) -> bool:
    """Whether it has been read-only since `freeze`."""
    reference = _frozen.get(id(array))
    return reference is not None and reference() is array and not array.flags.writeable


def last_thaw() -> int:
    """As long as this number stays, what was frozen is so, if it is read-only."""
    return _last_thaw


def thaw(array: Any) -> Any:
    """The array, writable again if `freeze` made it read-only."""
    global _last_thaw
    if isinstance(array, np.ndarray) and not array.flags.writeable:
        reference = _frozen.get(id(array))
        if reference is not None and reference() is array:
            _frozen.pop(id(array), None)
            _last_thaw = next(_thaws)
            array.flags.writeable = True
    return array
