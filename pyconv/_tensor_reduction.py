"""Sums, means, extremes: operations of Tensors along axes, each with its gradient."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from pyconv import autograd
from pyconv._autocast import raised


class Extreme(NamedTuple):
    """What `max` and `min` along an axis return."""

    values: Any
    indices: Any


def axes_of(name: str, x: Any, dim: Any) -> tuple[int, ...]:
    """`dim` as sorted axes from 0 on; None is all of them."""
    if dim is None:
        return tuple(range(x.ndim))
    axes = []
    for axis in dim if isinstance(dim, (tuple, list)) else (dim,):
        if isinstance(axis, bool):
            raise TypeError(f"{name}: dim must be an int, got a bool")
        try:
            axis = operator.index(axis)
        except TypeError:
            raise TypeError(f"{name}: dim must be an int, got {type(axis).__name__}") from None
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"{name}: dim {axis} is out of range for shape {x.shape}")
        axes.append(axis % x.ndim)
    if len(set(axes)) < len(axes):
        raise ValueError(f"{name}: dim {dim} names an axis twice")
    return tuple(sorted(axes))


def sum(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The sum over one axis, several, or all."""
    axes = axes_of("sum", x, dim)
    (x,) = raised(x)
    shape = x.shape
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    xp = autograd.array_module(x.data)

    def forward(a: Any) -> Any:
        with np.errstate(all="ignore"):
            return xp.sum(a, axis=axes, keepdims=keepdim)

    return autograd.linear_map("sum", x, forward, lambda g: xp.broadcast_to(g.reshape(kept), shape))


def mean(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The mean over one axis, several, or all."""
    if x.dtype.kind in "biu":
        raise TypeError(f"mean: expected a floating-point tensor, got {x.dtype}")
    return sum(x, dim, keepdim) / _count(x, axes_of("mean", x, dim))


def var(x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False) -> Any:
    """The variance; divided by n - 1, or by n without `unbiased`."""
    axes = axes_of("var", x, dim)
    deviation = x - mean(x, axes, keepdim=True)
    n = _count(x, axes) - (1 if unbiased else 0)
    return sum(deviation * deviation, axes, keepdim) / float(n if n > 0 else 0)


def std(x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False) -> Any:
    """The square root of `var`."""
    return var(x, dim, unbiased, keepdim).sqrt()


def _count(x: Any, axes: tuple[int, ...]) -> float:
    return float(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))


def max(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The largest element, or with `dim` the largest along it and their indices.

    The gradient goes to the first of those that tie along an axis, and in equal parts to those
    that tie for the largest of all.
    """
    return _extreme("max", x, dim, keepdim)


def min(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest element, or with `dim` the smallest along it and their indices; see `max`."""
    return _extreme("min", x, dim, keepdim)


def _extreme(name: str, x: Any, dim: int | None, keepdim: bool) -> Any:
    xp = autograd.array_module(x.data)
    if x.data.size == 0:
        raise ValueError(f"{name}: a tensor of shape {x.shape} has no elements")
    if dim is None:
        y = getattr(x.data, name)()

        def backward(dy: Any, needs: tuple[bool, ...]) -> Any:
            ties = ((x.data == y) | (xp.isnan(x.data) & xp.isnan(y))).astype(x.dtype)
            return (dy * autograd.Tensor(ties / ties.sum()),)

        return autograd.record(name, y, (x,), backward)
    (axis,) = axes_of(name, x, dim)
    indices = xp.expand_dims(getattr(xp, f"arg{name}")(x.data, axis=axis), axis)
    shape = x.shape

    def forward(a: Any) -> Any:
        values = xp.take_along_axis(a, indices, axis)
        return values if keepdim else xp.squeeze(values, axis)

    def adjoint(g: Any) -> Any:
        dx = xp.zeros(shape, g.dtype)
        xp.put_along_axis(dx, indices, g if keepdim else xp.expand_dims(g, axis), axis)
        return dx

    values = autograd.linear_map(name, x, forward, adjoint)
    return Extreme(values, autograd.Tensor(indices if keepdim else xp.squeeze(indices, axis)))


def argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index of the largest element, of all (flat) or along an axis."""
    return autograd.Tensor._wrap(x.data.argmax(axis=dim, keepdims=keepdim))


def argmin(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index of the smallest element, of all (flat) or along an axis."""
    return autograd.Tensor._wrap(x.data.argmin(axis=dim, keepdims=keepdim))
