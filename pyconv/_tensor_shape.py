"""New shapes, parts and unions: operations of Tensors that move elements, with gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv import autograd
from pyconv._autocast import raised
from pyconv._tensor_reduction import axes_of


def _sizes(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """f(2, 3) and f((2, 3)) alike."""
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        return tuple(shape[0])
    return shape


def reshape(x: Any, *shape: Any) -> Any:
    """The elements in logical order in another shape; one entry may be -1."""
    sizes, before = _sizes(shape), x.shape
    return autograd.linear_map(
        "reshape", x, lambda a: a.reshape(sizes), lambda g: g.reshape(before)
    )


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Several neighbouring axes as one."""
    if x.ndim == 0:
        return reshape(x, 1)
    (start,), (end,) = axes_of("flatten", x, start_dim), axes_of("flatten", x, end_dim)
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    count = math.prod(x.shape[start : end + 1])
    return reshape(x, *x.shape[:start], count, *x.shape[end + 1 :])


def permute(x: Any, *dims: Any) -> Any:
    """The axes in another order."""
    order = tuple(d % x.ndim if x.ndim else d for d in _sizes(dims))
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"permute: dims must name each of the {x.ndim} axes once, got {dims}")
    back = tuple(int(i) for i in np.argsort(order))
    return autograd.linear_map(
        "permute", x, lambda a: a.transpose(order), lambda g: g.transpose(back)
    )


def transpose(x: Any, dim0: int, dim1: int) -> Any:
    """With two axes exchanged."""
    (a,), (b,) = axes_of("transpose", x, dim0), axes_of("transpose", x, dim1)
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    return permute(x, *order)


def squeeze(x: Any, dim: int | tuple[int, ...] | None = None) -> Any:
    """Without the axes of length 1: all, or those named."""
    axes = axes_of("squeeze", x, dim)
    return reshape(x, *(n for i, n in enumerate(x.shape) if i not in axes or n != 1))


def unsqueeze(x: Any, dim: int) -> Any:
    """With an axis of length 1 at `dim`."""
    if not -x.ndim - 1 <= dim <= x.ndim:
        raise ValueError(f"unsqueeze: dim {dim} is out of range for shape {x.shape}")
    at = dim % (x.ndim + 1)
    return reshape(x, *x.shape[:at], 1, *x.shape[at:])


def expand(x: Any, *sizes: Any) -> Any:
    """Repeated along axes of length 1, without a copy; -1 keeps an axis."""
    wanted = _sizes(sizes)
    extra = len(wanted) - x.ndim
    shape = tuple(x.shape[i - extra] if n == -1 else n for i, n in enumerate(wanted))
    xp = autograd.array_module(x.data)

    before = x.shape

    def backward(dy: Any, needs: tuple[bool, ...]) -> Any:
        from pyconv._tensor_arithmetic import unbroadcast

        return (unbroadcast(dy, before),)

    return autograd.record("expand", xp.broadcast_to(x.data, shape), (x,), backward)


def plain_index(index: Any) -> Any:
    """An index without Tensors in it."""
    if isinstance(index, tuple):
        return tuple(plain_index(item) for item in index)
    return index.data if isinstance(index, autograd.Tensor) else index


def getitem(x: Any, index: Any) -> Any:
    """x[index], for all that NumPy takes."""
    index = plain_index(index)
    parts = index if isinstance(index, tuple) else (index,)
    advanced = any(hasattr(part, "dtype") or isinstance(part, (list, bool)) for part in parts)
    shape = x.shape
    xp = autograd.array_module(x.data)

    def adjoint(g: Any) -> Any:
        dx = xp.zeros(shape, g.dtype)
        if advanced:  # an element may be taken twice
            xp.add.at(dx, index, g)
        else:
            dx[index] = g
        return dx

    return autograd.linear_map("getitem", x, lambda a: a[index], adjoint)


def cat(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors one after the other along an axis.

    Parameters
    ----------
    tensors : sequence of Tensor or array
        Of one dtype, and one shape except along `dim`.
    dim : int
        Counted from the end if negative.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError, ValueError
        Not a sequence of tensors, different dtypes, or shapes that don't fit.

    Examples
    --------
    >>> import numpy as np
    >>> import pyconv
    >>> x = pyconv.Tensor(np.zeros((1, 2)))
    >>> pyconv.cat([x, x + 1], dim=1)
    Tensor([[0., 0., 1., 1.]])
    """
    items = _items("cat", tensors)
    first = items[0]
    (axis,) = axes_of("cat", first, dim)
    for i, t in enumerate(items):
        if t.ndim != first.ndim or any(
            a != b for k, (a, b) in enumerate(zip(t.shape, first.shape, strict=True)) if k != axis
        ):
            raise ValueError(
                f"cat: tensors[{i}] must have the shape {first.shape} except along axis {axis}, "
                f"got {t.shape}"
            )
    ends = np.cumsum([t.shape[axis] for t in items]).tolist()
    before = (slice(None),) * axis

    def backward(dy: Any, needs: tuple[bool, ...]) -> Any:
        parts = [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        return [
            dy[before + (part,)] if need else None for part, need in zip(parts, needs, strict=True)
        ]

    xp = autograd.array_module(first.data)
    y = _concatenate(xp, [t.data for t in items], axis)
    return autograd.record("cat", y, items, backward)


def _concatenate(xp: Any, arrays: list[Any], axis: int) -> Any:
    """Images stay channels-last in memory."""
    if arrays[0].ndim in (3, 4) and axis == 1:
        return xp.moveaxis(xp.concatenate([xp.moveaxis(a, 1, -1) for a in arrays], -1), -1, 1)
    return xp.concatenate(arrays, axis)


def stack(tensors: Sequence[Any], dim: int = 0) -> Any:
    """Tensors of one shape side by side along a new axis.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.autograd import Tensor, stack
    >>> x = Tensor(np.zeros(2))
    >>> stack([x, x + 1])
    Tensor([[0., 0.],
            [1., 1.]])
    """
    return cat([unsqueeze(t, dim) for t in _items("stack", tensors)], dim)


def _items(name: str, tensors: Any) -> list[Any]:
    if not isinstance(tensors, (list, tuple)) or not tensors:
        raise TypeError(f"{name}: tensors must be a list or tuple of at least one Tensor")
    items = [t if isinstance(t, autograd.Tensor) else autograd.Tensor(t) for t in tensors]
    if any(t.dtype == np.float32 for t in items):
        items = list(raised(*items))
    for i, t in enumerate(items):
        if t.device != items[0].device:
            raise TypeError(
                f"{name}: tensors[{i}] must be on {items[0].device} like the first, got {t.device}"
            )
        if t.dtype != items[0].dtype:
            raise TypeError(
                f"{name}: tensors[{i}] must be {items[0].dtype} like the first, got {t.dtype}"
            )
    return items
