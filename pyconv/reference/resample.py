"""Upsampling and padding: every output is a mean of the inputs that it is told to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _shapes as shapes
from ._shapes import result

Axis = tuple[np.ndarray, np.ndarray, np.ndarray]  # first input, second input, weight of the second


def _nearest(size: int, outputs: int, scale: float | None) -> np.ndarray:
    """floor(q size / outputs), in integers; with a scale floor(q / scale)."""
    q = np.arange(outputs)
    sources = q * size // outputs if scale is None else np.floor(q / scale).astype(np.int64)
    return np.minimum(sources, size - 1)


def _linear(size: int, outputs: int, scale: float | None, align_corners: bool) -> Axis:
    """The two inputs that lie around output q, and the second's weight.

    Corners aligned: the first and last outputs lie on the first and last inputs,
    s = q (size - 1) / (outputs - 1). Else cells are areas: s = (q + 1/2) size / outputs - 1/2,
    not below 0 (with a scale, 1 / scale stands for size / outputs).
    """
    q = np.arange(outputs)
    if align_corners:
        source = q * ((size - 1) / (outputs - 1) if outputs > 1 else 0.0)
    else:
        source = np.maximum((q + 0.5) * (size / outputs if scale is None else 1 / scale) - 0.5, 0)
    first = np.minimum(np.floor(source).astype(np.int64), size - 1)
    second = np.minimum(first + 1, size - 1)
    return first, second, np.clip(source - first, 0, 1)


def _axes(
    input_shape: Sequence[int], scale: Any, mode: str, size: Any, align_corners: bool
) -> list[Axis]:
    if (scale is None) == (size is None):
        raise ValueError("give either scale or size")
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f"mode must be 'nearest' or 'bilinear', got {mode!r}")
    if align_corners and mode == "nearest":
        raise ValueError("align_corners is for mode='bilinear'")
    axes = []
    for a, cells in enumerate(input_shape[2:]):
        factor = None
        if scale is not None:
            factor = float(scale[a] if isinstance(scale, (tuple, list)) else scale)
            outputs = math.floor(cells * factor)
        else:
            outputs = shapes.pair(size)[a]
        shapes.positive(outputs)
        if mode == "nearest":
            source = _nearest(cells, outputs, factor)
            axes.append((source, source, np.zeros(outputs)))
        else:
            axes.append(_linear(cells, outputs, factor, align_corners))
    return axes


def _gather(x: np.ndarray, axis: Axis) -> np.ndarray:
    """(1 - t) x[first] + t x[second] along the last axis; a weight of 0 reads nothing."""
    first, second, t = axis
    t = t.astype(x.dtype)
    with np.errstate(invalid="ignore"):
        return np.where(t == 0, x[..., first], (1 - t) * x[..., first] + t * x[..., second])


def _spread(dy: np.ndarray, axis: Axis, size: int) -> np.ndarray:
    """The adjoint of `_gather`."""
    first, second, t = axis
    t = t.astype(dy.dtype)
    dx = np.zeros((*dy.shape[:-1], size), dy.dtype)
    shapes.add_at(dx, (..., first), np.where(t == 0, dy, (1 - t) * dy))
    shapes.add_at(dx, (..., second[t > 0]), (t * dy)[..., t > 0])
    return dx


def _transposed(x: np.ndarray) -> np.ndarray:
    return x.swapaxes(-1, -2)


def upsample2d(
    x: np.ndarray,
    scale: Any = None,
    mode: str = "nearest",
    *,
    size: Any = None,
    align_corners: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Images resized to floor(scale · size), or to `size`: a number for both axes or a pair.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[[[0.0, 4.0]]]])
    >>> upsample2d(x, size=(1, 4)), upsample2d(x, size=(1, 4), mode="bilinear")
    (array([[[[0., 0., 4., 4.]]]]), array([[[[0., 1., 3., 4.]]]]))
    """
    rows, columns = _axes(x.shape, scale, mode, size, align_corners)
    y = _transposed(_gather(_transposed(_gather(x, columns)), rows))
    return result(np.ascontiguousarray(y), out)


def upsample2d_backward(
    dy: np.ndarray,
    input_shape: Sequence[int],
    scale: Any = None,
    mode: str = "nearest",
    *,
    size: Any = None,
    align_corners: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Each dy goes back to the inputs it was a mean of, by their weights.

    Examples
    --------
    >>> import numpy as np
    >>> upsample2d_backward(np.ones((1, 1, 1, 4)), (1, 1, 1, 2), size=(1, 4))
    array([[[[2., 2.]]]])
    """
    rows, columns = _axes(input_shape, scale, mode, size, align_corners)
    dx = _spread(_transposed(dy), rows, input_shape[2])
    dx = _spread(_transposed(dx), columns, input_shape[3])
    return result(dx, out)


def _sources(input_shape: Sequence[int], padding: Any, mode: str) -> list[np.ndarray]:
    """For each axis the input cell of every output; -1 is a zero."""
    frame = shapes.explicit_padding(padding)
    axes = []
    for cells, ends in zip(input_shape[2:], frame, strict=True):
        numbers = np.arange(cells)
        if mode == "zeros":
            axes.append(np.pad(numbers, ends, constant_values=-1))
        elif mode == "reflect":
            if max(ends) >= cells:
                raise ValueError(f"reflection padding {ends} must be smaller than {cells} cells")
            axes.append(np.pad(numbers, ends, mode="reflect"))
        else:
            raise ValueError(f"mode must be 'zeros' or 'reflect', got {mode!r}")
    return axes


def pad2d(
    x: np.ndarray, padding: Any, mode: str = "zeros", *, out: np.ndarray | None = None
) -> np.ndarray:
    """A frame of zeros, or of the image mirrored about its edge cells.

    `padding` is an int, (ph, pw) or ((top, bottom), (left, right)).

    Examples
    --------
    >>> import numpy as np
    >>> pad2d(np.array([[[[1.0, 2.0, 3.0]]]]), ((0, 0), (2, 1)), "reflect")
    array([[[[3., 2., 1., 2., 3., 2.]]]])
    """
    rows, columns = _sources(x.shape, padding, mode)
    inside = np.logical_and.outer(rows >= 0, columns >= 0)
    if not inside.any():
        y = np.zeros((*x.shape[:2], len(rows), len(columns)), x.dtype)
    else:
        y = np.where(inside, x[:, :, rows[:, None], columns], x.dtype.type(0))
    return result(y, out)


def pad2d_backward(
    dy: np.ndarray,
    input_shape: Sequence[int],
    padding: Any,
    mode: str = "zeros",
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Each input gets the sum of dy over its copies.

    Examples
    --------
    >>> import numpy as np
    >>> pad2d_backward(np.ones((1, 1, 1, 6)), (1, 1, 1, 3), ((0, 0), (2, 1)), "reflect")
    array([[[[1., 3., 2.]]]])
    """
    rows, columns = _sources(input_shape, padding, mode)
    p, q = np.nonzero(rows >= 0)[0], np.nonzero(columns >= 0)[0]
    dx = np.zeros(tuple(input_shape), dy.dtype)
    shapes.add_at(dx, (..., rows[p][:, None], columns[q]), dy[:, :, p[:, None], q])
    return result(dx, out)
