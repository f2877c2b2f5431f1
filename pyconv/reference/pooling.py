"""Pooling: the largest cell or the mean of every window.

Windows lie as those of a convolution. With `ceil_mode` the last window may reach over the end, but
starts in the image or in the padding before it. Padding never wins a maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _shapes as shapes
from ._shapes import Padding, Pair, result


def _geometry(
    size: Sequence[int], kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Pair, Pair, Padding, Pair, Pair]:
    """kernel, stride, padding, dilation, output size; the stride is the kernel's by default."""
    kernel, dilation = shapes.pair(kernel_size), shapes.pair(dilation)
    stride = kernel if stride is None else shapes.pair(stride)
    frame = shapes.resolve_padding(padding, shapes.pair(tuple(size)), kernel, stride, dilation)
    rows, columns = (
        shapes.pool_output_size(size[a], frame[a], kernel[a], stride[a], dilation[a], ceil_mode)
        for a in (0, 1)
    )
    return kernel, stride, frame, dilation, (rows, columns)


def _reaching(
    padding: Padding, size: Sequence[int], kernel: Pair, stride: Pair, dilation: Pair, outputs: Pair
) -> Padding:
    """The padding, with as much more at the end as the last window needs."""
    reach = [(outputs[a] - 1) * stride[a] + shapes.extent(kernel[a], dilation[a]) for a in (0, 1)]
    rows, columns = (
        (padding[a][0], max(padding[a][1], reach[a] - size[a] - padding[a][0])) for a in (0, 1)
    )
    return rows, columns


def max_pool2d(
    x: np.ndarray,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
    *,
    activation: str | None = None,
) -> Any:
    """The largest cell of each window, and where it lies.

    Returns y, N×C×OH×OW, and indices, flat in the image's H×W plane: int32, int64 from 2^31 cells
    on; or y alone with ``return_indices=False``. The first in scan order wins a tie; a NaN wins
    over all, the first NaN over the others. A dilated window that meets no cell at all gives -inf
    and the index -1. "relu" as activation clips y at 0; what is 0 then has the index -1.

    Examples
    --------
    >>> import numpy as np
    >>> y, indices = max_pool2d(np.array([[[[1.0, 5.0, 2.0, 2.0]]]]), (1, 2))
    >>> y, indices
    (array([[[[5., 2.]]]]), array([[[[1, 2]]]], dtype=int32))
    """
    n, channels, *size = x.shape
    kernel, stride, frame, dilation, outputs = _geometry(
        size, kernel_size, stride, padding, dilation, ceil_mode
    )
    frame = _reaching(frame, size, kernel, stride, dilation, outputs)
    cells_in_plane = size[0] * size[1]
    index_type = np.int32 if cells_in_plane < 2**31 else np.int64
    numbers = shapes.pad(np.arange(cells_in_plane).reshape(size), frame, -1)
    padded = shapes.pad(x, frame)

    y = np.full((n, channels, *outputs), -np.inf, x.dtype)
    indices = np.full(y.shape, -1, index_type)
    for _, _, cells in shapes.taps(kernel, outputs, stride, dilation):
        value, number = padded[cells], numbers[cells]
        wins = (indices == -1) | (value > y) | (np.isnan(value) & ~np.isnan(y))
        wins &= number >= 0
        y = np.where(wins, value, y)
        indices = np.where(wins, number, indices).astype(index_type)
    if activation == "relu":
        indices = np.where(y <= 0, -1, indices).astype(index_type)
        y = np.where(y <= 0, 0, y)
    return (y, indices) if return_indices else y


def max_pool2d_backward(
    dy: np.ndarray,
    indices: np.ndarray,
    input_shape: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Each dy goes to the cell that won. The indices say where; the rest is for the kernels.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool2d_backward(np.ones((1, 1, 1, 2)), np.array([[[[1, 2]]]]), (1, 1, 1, 4), (1, 2))
    array([[[[0., 1., 1., 0.]]]])
    """
    n, channels, height, width = input_shape
    dx = np.zeros((n, channels, height * width), dy.dtype)
    images, planes, rows, columns = np.nonzero(indices >= 0)
    shapes.add_at(
        dx,
        (images, planes, indices[images, planes, rows, columns]),
        dy[images, planes, rows, columns],
    )
    return result(dx.reshape(n, channels, height, width), out)


def _divisors(
    size: Sequence[int],
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    outputs: Pair,
    count_include_pad: bool,
    divisor_override: int | None,
) -> np.ndarray:
    """How many cells each window counts, OH×OW.

    Padding counts with `count_include_pad`; what a ceil_mode window has beyond it never does.
    """
    if divisor_override is not None:
        return np.full(outputs, divisor_override)
    counts = []
    for a in (0, 1):
        start = np.arange(outputs[a]) * stride[a] - padding[a][0]
        end = np.minimum(start + kernel[a], size[a] + padding[a][1])
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, size[a])
        counts.append(end - start)
    return np.outer(counts[0], counts[1])


def avg_pool2d(
    x: np.ndarray,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The sum of each window over the cells that count, or over `divisor_override`.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool2d(np.array([[[[1.0, 5.0, 2.0, 2.0]]]]), (1, 2))
    array([[[[3., 2.]]]])
    """
    n, channels, *size = x.shape
    kernel, stride, frame, dilation, outputs = _geometry(
        size, kernel_size, stride, padding, 1, ceil_mode
    )
    divisors = _divisors(size, kernel, stride, frame, outputs, count_include_pad, divisor_override)
    padded = shapes.pad(x, _reaching(frame, size, kernel, stride, dilation, outputs))
    total = np.zeros((n, channels, *outputs), x.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        for _, _, cells in shapes.taps(kernel, outputs, stride, dilation):
            total += padded[cells]
    return result(total / divisors.astype(x.dtype), out)


def avg_pool2d_backward(
    dy: np.ndarray,
    input_shape: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Each cell of a window gets dy / divisor.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool2d_backward(np.array([[[[2.0, 4.0]]]]), (1, 1, 1, 4), (1, 2))
    array([[[[1., 1., 2., 2.]]]])
    """
    n, channels, *size = input_shape
    kernel, stride, frame, dilation, outputs = _geometry(
        size, kernel_size, stride, padding, 1, ceil_mode
    )
    divisors = _divisors(size, kernel, stride, frame, outputs, count_include_pad, divisor_override)
    frame = _reaching(frame, size, kernel, stride, dilation, outputs)
    dx = np.zeros((n, channels, *(size[a] + sum(frame[a]) for a in (0, 1))), dy.dtype)
    share = dy / divisors.astype(dy.dtype)
    for _, _, cells in shapes.taps(kernel, outputs, stride, dilation):
        dx[cells] += share
    dx = shapes.crop(dx, frame, (size[0], size[1]))
    return result(np.ascontiguousarray(dx), out)


def _adaptive_windows(size: int, outputs: int) -> list[slice]:
    """Window o reaches from floor(o size / outputs) to ceil((o + 1) size / outputs)."""
    return [
        slice(o * size // outputs, -(-(o + 1) * size // outputs))
        for o in range(shapes.positive(outputs))
    ]


def adaptive_avg_pool2d(
    x: np.ndarray, output_size: Any, *, out: np.ndarray | None = None
) -> np.ndarray:
    """The means of windows that share the image as evenly as cells allow; they may overlap.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_avg_pool2d(np.array([[[[1.0, 2.0, 6.0]]]]), (1, 2))
    array([[[[1.5, 4. ]]]])
    """
    rows, columns = shapes.pair(output_size)
    y = np.zeros((*x.shape[:2], rows, columns), x.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        for p, window_rows in enumerate(_adaptive_windows(x.shape[2], rows)):
            for q, window_columns in enumerate(_adaptive_windows(x.shape[3], columns)):
                y[:, :, p, q] = x[:, :, window_rows, window_columns].mean(axis=(2, 3))
    return result(y, out)


def adaptive_avg_pool2d_backward(
    dy: np.ndarray, input_shape: Sequence[int], *, out: np.ndarray | None = None
) -> np.ndarray:
    """Each cell of a window gets dy / cells.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_avg_pool2d_backward(np.array([[[[2.0, 4.0]]]]), (1, 1, 1, 3))
    array([[[[1., 3., 2.]]]])
    """
    dx = np.zeros(tuple(input_shape), dy.dtype)
    for p, rows in enumerate(_adaptive_windows(input_shape[2], dy.shape[2])):
        for q, columns in enumerate(_adaptive_windows(input_shape[3], dy.shape[3])):
            window = dx[:, :, rows, columns]
            window += dy[:, :, p, q, None, None] / (window.shape[2] * window.shape[3])
    return result(dx, out)
