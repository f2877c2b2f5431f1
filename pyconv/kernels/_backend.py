"""Which extension computes: `_cpu` for NumPy's arrays, `_cuda` for CuPy's.

`_cuda` is loaded when the first CuPy array arrives. Both have the same functions, and take the same
arguments by position.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from pyconv import _cpu

_HOST = frozenset((np.ndarray, type(None)))


def is_on_device(x: Any) -> bool:
    """Whether `x` is a CuPy array. (Who has one has imported CuPy.)"""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, cupy.ndarray)


def extension(function: str, argument: str) -> Any:
    """`pyconv._cuda`, or an error that says what to install."""
    try:
        from pyconv import _cuda
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "pyconv":
            why = "; install pyconv from source with -C cmake.define.PYCONV_CUDA=ON"
        else:
            why = f" that can be loaded: {error}"
        raise TypeError(
            f"{function}: {argument} is a CuPy array, but this build has no CUDA backend{why}"
        ) from None
    return _cuda


def backend(function: str, **arrays: Any) -> Any:
    """The extension that all these arrays belong to. What is no array doesn't count.

    Raises
    ------
    TypeError
        NumPy's and CuPy's, or two devices, in one call.
    """
    if _HOST.issuperset(map(type, arrays.values())):
        return _cpu
    given = [
        (name, x) for name, x in arrays.items() if isinstance(x, np.ndarray) or is_on_device(x)
    ]
    if not given:
        return _cpu
    first_name, first = given[0]
    on_device = is_on_device(first)
    for name, x in given[1:]:
        if is_on_device(x) != on_device:
            kinds = ("a NumPy array", "a CuPy array")
            raise TypeError(
                f"{function}: {first_name} is {kinds[on_device]}, but {name} is "
                f"{kinds[not on_device]}; all must lie on one device"
            )
        if on_device and x.device != first.device:
            raise TypeError(
                f"{function}: {first_name} lies on device {first.device.id}, but {name} on "
                f"device {x.device.id}"
            )
    return extension(function, first_name) if on_device else _cpu


def may_overlap(a: Any, b: Any) -> bool:
    """Whether two arrays of one backend share memory; by the ends of their memory on a device."""
    if isinstance(a, np.ndarray):
        return np.may_share_memory(a, b) and np.shares_memory(a, b)
    return bool(sys.modules["cupy"].may_share_memory(a, b))
