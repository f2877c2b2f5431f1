"""Output sizes, padding and the cells that one kernel tap meets.

Formulas from Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]  # ((top, bottom), (left, right))


def pair(value: Any) -> Pair:
    """An int for both axes, or (rows, columns)."""
    if not isinstance(value, (tuple, list)):
        return int(value), int(value)
    rows, columns = value
    return int(rows), int(columns)


def single(value: Any) -> int:
    """An int, or a tuple of one: the arguments of 1-D operations."""
    if not isinstance(value, (tuple, list)):
        return int(value)
    (only,) = value
    return int(only)


def extent(kernel: int, dilation: int) -> int:
    """The cells from the first tap to the last, both included: d(k - 1) + 1."""
    return dilation * (kernel - 1) + 1


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    """The least padding that keeps ceil(size / stride); if odd, the extra cell is at the end."""
    outputs = -(-size // stride)
    total = max(0, (outputs - 1) * stride + extent(kernel, dilation) - size)
    return total // 2, total - total // 2


def resolve_padding(
    padding: Any, size: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)
) -> Padding:
    """Padding in any of its notations as ((top, bottom), (left, right))."""
    if isinstance(padding, str):
        if padding == "valid":
            return (0, 0), (0, 0)
        if padding == "same":
            rows, columns = (
                same_padding(size[axis], kernel[axis], stride[axis], dilation[axis])
                for axis in (0, 1)
            )
            return rows, columns
        raise ValueError(f"padding must be 'valid', 'same' or numbers, got {padding!r}")
    return explicit_padding(padding)


def explicit_padding(padding: Any) -> Padding:
    """p, (ph, pw) or ((top, bottom), (left, right)) as the last of them."""
    if not isinstance(padding, (tuple, list)):
        return pair(padding), pair(padding)
    rows, columns = padding
    return pair(rows), pair(columns)


def padding_1d(padding: Any) -> Any:
    """The padding of a sequence, (p,) or ((left, right),) or p, for an image of one row."""
    if isinstance(padding, str):
        return padding
    if not isinstance(padding, (tuple, list)):
        return (0, 0), pair(padding)
    (only,) = padding
    return (0, 0), pair(only)


def conv_output_size(size: int, padding: Pair, kernel: int, stride: int, dilation: int) -> int:
    """floor((size + padding - extent) / stride) + 1."""
    result = (size + sum(padding) - extent(kernel, dilation)) // stride + 1
    return positive(result)


def pool_output_size(
    size: int, padding: Pair, kernel: int, stride: int, dilation: int, ceil_mode: bool
) -> int:
    """As a convolution's, or rounded up; but no window starts in the padding after the image."""
    span = size + sum(padding) - extent(kernel, dilation)
    if not ceil_mode:
        return positive(span // stride + 1)
    result = -(-span // stride) + 1
    if (result - 1) * stride >= size + padding[0]:
        result -= 1
    return positive(result)


def transposed_output_size(
    size: int, padding: Pair, kernel: int, stride: int, dilation: int, output_padding: int
) -> int:
    """(size - 1) stride - padding + extent + output_padding."""
    result = (size - 1) * stride - sum(padding) + extent(kernel, dilation) + output_padding
    return positive(result)


def positive(size: int) -> int:
    if size < 1:
        raise ValueError(f"the output would be empty: size {size} along one axis")
    return size


def taps(
    kernel: Pair, outputs: Pair, stride: Pair, dilation: Pair
) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """Each tap (i, j) in scan order, and the cells of the padded image that it meets.

    Tap (i, j) of output (p, q) lies on cell (p stride + i dilation, q stride + j dilation).
    """
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            rows, columns = (
                slice(
                    tap * dilation[axis],
                    tap * dilation[axis] + (outputs[axis] - 1) * stride[axis] + 1,
                    stride[axis],
                )
                for axis, tap in enumerate((i, j))
            )
            yield i, j, (..., rows, columns)


def pad(x: np.ndarray, padding: Padding, value: float = 0) -> np.ndarray:
    """The image in a frame of `value`."""
    frame = [(0, 0)] * (x.ndim - 2) + [*padding]
    return np.pad(x, frame, constant_values=value)


def crop(x: np.ndarray, padding: Padding, size: Pair) -> np.ndarray:
    """The image without its frame."""
    top, left = padding[0][0], padding[1][0]
    return x[..., top : top + size[0], left : left + size[1]]


def add_at(x: np.ndarray, index: Any, values: np.ndarray) -> None:
    """x[index] += values, where an index that occurs twice counts twice."""
    np.add.at(x, index, values)


def result(y: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """`y` itself, or `out` filled with it."""
    if out is None:
        return y
    if out.shape != y.shape or out.dtype != y.dtype:
        raise ValueError(
            f"out must be {y.dtype} of shape {y.shape}, got {out.dtype} of shape {out.shape}"
        )
    out[...] = y
    return out
