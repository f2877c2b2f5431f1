"""What the operations share: arguments as Tensors."""

from __future__ import annotations

from typing import Any

from pyconv.autograd import Tensor, is_grad_enabled


def as_tensor(function: str, argument: str, value: Any) -> Tensor:
    """A Tensor as it is, an array as a constant."""
    if isinstance(value, Tensor):
        return value
    if not hasattr(value, "dtype") or not hasattr(value, "strides"):
        raise TypeError(
            f"{function}: {argument} must be a Tensor or an array, got {type(value).__name__}"
        )
    return Tensor(value)


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
    return is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
