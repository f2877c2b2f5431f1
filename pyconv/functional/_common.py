"""What the operations share: arguments as Tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.autograd import Tensor, is_grad_enabled
from pyconv.kernels import _checks as check


def as_tensor(function: str, argument: str, value: Any) -> Tensor:
    """A Tensor as it is, an array as a constant."""
    if isinstance(value, Tensor):
        return value
    if not hasattr(value, "dtype") or not hasattr(value, "strides"):
        raise TypeError(
            f"{function}: {argument} must be a Tensor or an array, got {type(value).__name__}"
        )
    return Tensor(value)


def as_float(
    function: str, argument: str, value: Any, ndim: int | tuple[int, ...] | None = None
) -> Tensor:
    """`as_tensor`, of a type that has gradients (and of that rank)."""
    t = value if isinstance(value, Tensor) else as_tensor(function, argument, value)
    check.storage_array(function, argument, t.data, t.ndim if ndim is None else ndim)
    return t


def check_channels(function: str, argument: str, array: Any, x: Tensor) -> None:
    """One entry for each channel of x, of its dtype; 16-bit images go with float32."""
    if array is None:
        return
    if array.shape == x.data.shape[1:2] and array.dtype is x.data.dtype:
        return
    check.shape_of(function, argument, array, (x.shape[1],), "the channels of x")
    wanted = x.dtype if x.dtype.itemsize > 2 else np.dtype(np.float32)
    if array.dtype != wanted:
        raise TypeError(f"{function}: {argument} must be {wanted}, got {array.dtype}")


def optional_tensor(function: str, argument: str, value: Any) -> Tensor | None:
    """`as_tensor`, or None."""
    return None if value is None else as_tensor(function, argument, value)


def array_of(t: Tensor | None) -> Any:
    """The array of a Tensor, None for None."""
    return None if t is None else t.data


def as_array(function: str, argument: str, value: Any) -> Any:
    """The array of an argument that is not differentiated."""
    return as_tensor(function, argument, value).data


def records(*tensors: Tensor | None) -> bool:
    """Whether a gradient is recorded for an operation on these."""
    if is_grad_enabled():
        for t in tensors:
            if t is not None and t._requires_grad:
                return True
    return False
