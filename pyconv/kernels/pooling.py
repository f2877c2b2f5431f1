"""Pools: the largest cell or the mean of windows; 2-D and 1-D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv import _cpu
from pyconv.kernels import _checks as check
from pyconv.kernels._backend import is_on_device

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]

# From here on the cells of a plane are counted in int64.
_WIDE_PLANE = 2**31


class _Windows:
    """The windows of one call, checked; `code` is what the extensions take."""

    __slots__ = ("code", "output_size")

    def __init__(
        self,
        function: str,
        size: Sequence[int],
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        ceil_mode: Any,
    ) -> None:
        rank = len(size)
        kernel = check.pair(function, "kernel_size", kernel_size, 1, rank)
        stride = kernel if stride is None else check.pair(function, "stride", stride, 1, rank)
        pads = check.pads(function, "padding", padding, rank)
        dilation = check.pair(function, "dilation", dilation, 1, rank)
        ceil_mode = check.boolean(function, "ceil_mode", ceil_mode)
        windows = [dilation[a] * (kernel[a] - 1) + 1 for a in range(rank)]
        for a in range(rank):
            if size[a] + 3 * windows[a] + stride[a] >= 2**62:
                raise ValueError(
                    f"{function}: kernel_size is too large, got {kernel} with dilation {dilation}"
                )
        if isinstance(pads, str):
            sides: list[int] = []
            for a in range(rank):
                sides += _cpu.same_padding(size[a], kernel[a], stride[a], dilation[a])
            pads = tuple(sides)
        outputs = []
        for a in range(rank):
            before, after = pads[2 * a], pads[2 * a + 1]
            if before >= windows[a] or after >= windows[a]:
                raise ValueError(
                    f"{function}: padding must be smaller than the window, "
                    f"{' by '.join(map(str, windows))} cells, got {padding!r}"
                )
            n = _cpu.pool_output_size(
                size[a], before, after, kernel[a], stride[a], dilation[a], ceil_mode
            )
            if n < 1:
                raise ValueError(
                    f"{function}: the output would be empty: windows of "
                    f"{' by '.join(map(str, windows))} cells do not fit an input of {tuple(size)} "
                    f"with padding {padding!r}"
                )
            outputs.append(n)
        self.output_size = tuple(outputs)
        if rank == 1:
            kernel, stride, dilation = (1, *kernel), (1, *stride), (1, *dilation)
            pads = (0, 0, *pads)
        self.code = (*kernel, *stride, *pads, *dilation, ceil_mode)


@check.remembered
def _windows(
    size: Sequence[int], function: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: Any,
) -> _Windows:  # fmt: skip
    return _Windows(function, size, kernel_size, stride, padding, dilation, ceil_mode)


def _check_images(function: str, x: Any, rank: int) -> None:
    """Images or sequences whose planes are not empty."""
    check.storage_array(function, "x", x, rank + 2)
    _check_plane(function, "x", x.shape)


def _check_plane(function: str, argument: str, shape: Sequence[int]) -> None:
    if min(shape[2:]) < 1:
        raise ValueError(
            f"{function}: {argument} must have cells along every axis, got shape {tuple(shape)}"
        )


def _check_gradient(function: str, dy: Any, input_shape: Any, rank: int) -> tuple[int, ...]:
    """The input's shape; dy has its rank."""
    check.storage_array(function, "dy", dy, rank + 2)
    shape = check.shape_argument(function, "input_shape", input_shape, rank + 2)
    _check_plane(function, "input_shape", shape)
    return shape


def _max_pool(
    function: str, x: Any, window: Sequence[Any], return_indices: Any, activation: Any, rank: int
) -> Any:
    _check_images(function, x, rank)
    if activation is not None and activation != "relu":
        raise ValueError(f'{function}: activation must be None or "relu", got {activation!r}')
    windows = _windows(x.shape[2:], function, *window)
    return_indices = check.boolean(function, "return_indices", return_indices)
    check.check_count(function, "the shape of the output", (*x.shape[:2], *windows.output_size))
    wide = math.prod(x.shape[2:]) >= _WIDE_PLANE
    run = check.backend(function, x=x)
    return run.max_pool(x, windows.code, wide, return_indices, activation is not None)


def _max_pool_backward(
    function: str,
    dy: Any,
    indices: Any,
    input_shape: Any,
    window: Sequence[Any],
    out: Any,
    rank: int,
) -> np.ndarray:
    shape = _check_gradient(function, dy, input_shape, rank)
    windows = _windows(shape[2:], function, *window)
    why = "the output of the forward function"
    check.shape_of(function, "dy", dy, (*shape[:2], *windows.output_size), why)
    if not isinstance(indices, np.ndarray) and not is_on_device(indices):
        raise TypeError(f"{function}: indices must be a NumPy array, got {check.kind(indices)}")
    if indices.dtype not in (np.int32, np.int64):
        raise TypeError(f"{function}: indices must be int32 or int64, got {indices.dtype}")
    check.shape_of(function, "indices", indices, dy.shape, "as dy")
    run = check.backend(function, dy=dy, indices=indices, out=out)
    check.out_array(function, out, shape, dy.dtype, dy, indices)
    return run.max_pool_backward(dy, indices, shape, windows.code, out)


def _divisor(function: str, divisor_override: Any) -> float:
    """0 stands for the cells that count."""
    if divisor_override is None:
        return 0.0
    divisor = check.integer(function, "divisor_override", divisor_override)
    if divisor == 0:
        raise ValueError(f"{function}: divisor_override must not be 0")
    return float(divisor)


def _avg_pool(
    function: str, x: Any, window: Sequence[Any], include: Any, divisor: Any, out: Any, rank: int
) -> np.ndarray:
    _check_images(function, x, rank)
    kernel_size, stride, padding, ceil_mode = window
    windows = _windows(x.shape[2:], function, kernel_size, stride, padding, 1, ceil_mode)
    include = check.boolean(function, "count_include_pad", include)
    divisor = _divisor(function, divisor)
    shape = (*x.shape[:2], *windows.output_size)
    check.check_count(function, "the shape of the output", shape)
    run = check.backend(function, x=x, out=out)
    check.out_array(function, out, shape, x.dtype, x)
    return run.avg_pool(x, windows.code, include, divisor, out)


def _avg_pool_backward(
    function: str,
    dy: Any,
    input_shape: Any,
    window: Sequence[Any],
    include: Any,
    divisor: Any,
    out: Any,
    rank: int,
) -> np.ndarray:
    shape = _check_gradient(function, dy, input_shape, rank)
    kernel_size, stride, padding, ceil_mode = window
    windows = _windows(shape[2:], function, kernel_size, stride, padding, 1, ceil_mode)
    include = check.boolean(function, "count_include_pad", include)
    divisor = _divisor(function, divisor)
    why = "the output of the forward function"
    check.shape_of(function, "dy", dy, (*shape[:2], *windows.output_size), why)
    run = check.backend(function, dy=dy, out=out)
    check.out_array(function, out, shape, dy.dtype, dy)
    return run.avg_pool_backward(dy, shape, windows.code, include, divisor, out)


def _adaptive_avg_pool(function: str, x: Any, output_size: Any, out: Any, rank: int) -> np.ndarray:
    _check_images(function, x, rank)
    outputs = check.pair(function, "output_size", output_size, 1, rank)
    shape = (*x.shape[:2], *outputs)
    check.check_count(function, "the shape of the output", shape)
    run = check.backend(function, x=x, out=out)
    check.out_array(function, out, shape, x.dtype, x)
    return run.adaptive_avg_pool(x, *(outputs if rank == 2 else (1, *outputs)), out)


def _adaptive_avg_pool_backward(
    function: str, dy: Any, input_shape: Any, out: Any, rank: int
) -> np.ndarray:
    shape = _check_gradient(function, dy, input_shape, rank)
    _check_plane(function, "dy", dy.shape)
    check.shape_of(function, "dy", dy, (*shape[:2], *dy.shape[2:]), "the images of input_shape")
    run = check.backend(function, dy=dy, out=out)
    check.out_array(function, out, shape, dy.dtype, dy)
    return run.adaptive_avg_pool_backward(dy, shape, out)


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

    The first in scan order wins a tie; the first NaN wins over all.

    Parameters
    ----------
    x : ndarray, N×C×H×W
        float32 or float64; of CuPy float32, float16 or bfloat16.
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        `kernel_size` by default.
    padding : int, pairs, "valid" or "same"
        Of cells that never win; smaller than the window.
    dilation : int or (int, int)
        Distance of a window's cells.
    ceil_mode : bool
        Let the last window reach over the end, if it starts in the image or the padding before it.
    return_indices : bool
        Whether to return the indices, too.
    activation : {None, "relu"}
        "relu" gives max(y, 0), and the index -1 where that is 0, so that no gradient passes.

    Returns
    -------
    y : ndarray, N×C×OH×OW
        -inf where a dilated window meets no cell.
    indices : ndarray, N×C×OH×OW
        Flat in the H×W plane; int32, int64 from 2^31 cells on; -1 where there is none.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.max_pool2d(np.array([[[[1.0, 5.0, 2.0, 2.0]]]]), (1, 2))
    (array([[[[5., 2.]]]]), array([[[[1, 2]]]], dtype=int32))
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool2d", x, window, return_indices, activation, 2)


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
    """The gradient of `max_pool2d`: each dy goes to the cell that won.

    Parameters
    ----------
    dy : ndarray, N×C×OH×OW
        float32 or float64; of CuPy float32, float16 or bfloat16.
    indices : ndarray, N×C×OH×OW
        What the forward function returned, int32 or int64.
    input_shape : tuple of int
        The shape of x.
    kernel_size, stride, padding, dilation, ceil_mode
        As in `max_pool2d`.
    out : ndarray, N×C×H×W, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×H×W

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> dy, indices = np.ones((1, 1, 1, 2)), np.array([[[[1, 2]]]])
    >>> kernels.max_pool2d_backward(dy, indices, (1, 1, 1, 4), (1, 2))
    array([[[[0., 1., 1., 0.]]]])
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool_backward("max_pool2d_backward", dy, indices, input_shape, window, out, 2)


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
    """The mean of each window.

    Parameters
    ----------
    x : ndarray, N×C×H×W
        float32 or float64; of CuPy float32, float16 or bfloat16.
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        `kernel_size` by default.
    padding : int, pairs, "valid" or "same"
        Of zeros; smaller than the window.
    ceil_mode : bool
        Let the last window reach over the end, if it starts in the image or the padding before it.
    count_include_pad : bool
        Whether the zeros of the padding count. What a window has beyond them never does.
    divisor_override : int, optional
        Divide the sums by this instead; not 0.
    out : ndarray, N×C×OH×OW, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×OH×OW

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.avg_pool2d(np.array([[[[1.0, 5.0, 2.0, 2.0]]]]), (1, 2))
    array([[[[3., 2.]]]])
    """
    window = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool("avg_pool2d", x, window, count_include_pad, divisor_override, out, 2)


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
    """The gradient of `avg_pool2d`: each cell of a window gets dy over the divisor.

    Parameters
    ----------
    dy : ndarray, N×C×OH×OW
        float32 or float64; of CuPy float32, float16 or bfloat16.
    input_shape : tuple of int
        The shape of x.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in `avg_pool2d`.
    out : ndarray, N×C×H×W, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×H×W

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.avg_pool2d_backward(np.array([[[[2.0, 4.0]]]]), (1, 1, 1, 4), (1, 2))
    array([[[[1., 1., 2., 2.]]]])
    """
    window = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool_backward(
        "avg_pool2d_backward", dy, input_shape, window, count_include_pad, divisor_override, out, 2
    )


def adaptive_avg_pool2d(
    x: np.ndarray, output_size: Any, *, out: np.ndarray | None = None
) -> np.ndarray:
    """The means of windows that share the image as evenly as cells allow; they may overlap.

    Output o of an axis is the mean of the cells from floor(o size / outputs) to
    ceil((o + 1) size / outputs).

    Parameters
    ----------
    x : ndarray, N×C×H×W
        float32 or float64; of CuPy float32, float16 or bfloat16.
    output_size : int or (int, int)
        Outputs along each axis.
    out : ndarray, N×C×OH×OW, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×OH×OW

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.adaptive_avg_pool2d(np.array([[[[1.0, 2.0, 6.0]]]]), (1, 2))
    array([[[[1.5, 4. ]]]])
    """
    return _adaptive_avg_pool("adaptive_avg_pool2d", x, output_size, out, 2)


def adaptive_avg_pool2d_backward(
    dy: np.ndarray, input_shape: Sequence[int], *, out: np.ndarray | None = None
) -> np.ndarray:
    """The gradient of `adaptive_avg_pool2d`: each cell of a window gets dy / cells.

    Parameters
    ----------
    dy : ndarray, N×C×OH×OW
        float32 or float64; of CuPy float32, float16 or bfloat16.
    input_shape : tuple of int
        The shape of x.
    out : ndarray, N×C×H×W, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×H×W

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.adaptive_avg_pool2d_backward(np.array([[[[2.0, 4.0]]]]), (1, 1, 1, 3))
    array([[[[1., 3., 2.]]]])
    """
    return _adaptive_avg_pool_backward("adaptive_avg_pool2d_backward", dy, input_shape, out, 2)


def max_pool1d(
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

    The first in scan order wins a tie; the first NaN wins over all.

    Parameters
    ----------
    x : ndarray, N×C×L
        float32 or float64; of CuPy float32, float16 or bfloat16.
    kernel_size : int or (int,)
    stride : int or (int,), optional
        `kernel_size` by default.
    padding : int, ((int, int),), "valid" or "same"
        Of cells that never win; smaller than the window.
    dilation : int or (int,)
        Distance of a window's cells.
    ceil_mode : bool
        Let the last window reach over the end, if it starts in the image or the padding before it.
    return_indices : bool
        Whether to return the indices, too.
    activation : {None, "relu"}
        "relu" gives max(y, 0), and the index -1 where that is 0, so that no gradient passes.

    Returns
    -------
    y : ndarray, N×C×OL
        -inf where a dilated window meets no cell.
    indices : ndarray, N×C×OL
        Flat in the sequence; int32, int64 from 2^31 cells on; -1 where there is none.

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.max_pool1d(np.array([[[1.0, 5.0, 2.0, 2.0]]]), 2)
    (array([[[5., 2.]]]), array([[[1, 2]]], dtype=int32))
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool1d", x, window, return_indices, activation, 1)


def max_pool1d_backward(
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
    """The gradient of `max_pool1d`: each dy goes to the cell that won.

    Parameters
    ----------
    dy : ndarray, N×C×OL
        float32 or float64; of CuPy float32, float16 or bfloat16.
    indices : ndarray, N×C×OL
        What the forward function returned, int32 or int64.
    input_shape : tuple of int
        The shape of x.
    kernel_size, stride, padding, dilation, ceil_mode
        As in `max_pool1d`.
    out : ndarray, N×C×L, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×L

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> dy, indices = np.ones((1, 1, 2)), np.array([[[1, 2]]])
    >>> kernels.max_pool1d_backward(dy, indices, (1, 1, 4), 2)
    array([[[0., 1., 1., 0.]]])
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool_backward("max_pool1d_backward", dy, indices, input_shape, window, out, 1)


def avg_pool1d(
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
    """The mean of each window.

    Parameters
    ----------
    x : ndarray, N×C×L
        float32 or float64; of CuPy float32, float16 or bfloat16.
    kernel_size : int or (int,)
    stride : int or (int,), optional
        `kernel_size` by default.
    padding : int, ((int, int),), "valid" or "same"
        Of zeros; smaller than the window.
    ceil_mode : bool
        Let the last window reach over the end, if it starts in the image or the padding before it.
    count_include_pad : bool
        Whether the zeros of the padding count. What a window has beyond them never does.
    divisor_override : int, optional
        Divide the sums by this instead; not 0.
    out : ndarray, N×C×OL, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×OL

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.avg_pool1d(np.array([[[1.0, 5.0, 2.0, 2.0]]]), 2)
    array([[[3., 2.]]])
    """
    window = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool("avg_pool1d", x, window, count_include_pad, divisor_override, out, 1)


def avg_pool1d_backward(
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
    """The gradient of `avg_pool1d`: each cell of a window gets dy over the divisor.

    Parameters
    ----------
    dy : ndarray, N×C×OL
        float32 or float64; of CuPy float32, float16 or bfloat16.
    input_shape : tuple of int
        The shape of x.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        As in `avg_pool1d`.
    out : ndarray, N×C×L, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×L

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.avg_pool1d_backward(np.array([[[2.0, 4.0]]]), (1, 1, 4), 2)
    array([[[1., 1., 2., 2.]]])
    """
    window = (kernel_size, stride, padding, ceil_mode)
    return _avg_pool_backward(
        "avg_pool1d_backward", dy, input_shape, window, count_include_pad, divisor_override, out, 1
    )


def adaptive_avg_pool1d(
    x: np.ndarray, output_size: Any, *, out: np.ndarray | None = None
) -> np.ndarray:
    """The means of windows that share the image as evenly as cells allow; they may overlap.

    Output o of an axis is the mean of the cells from floor(o size / outputs) to
    ceil((o + 1) size / outputs).

    Parameters
    ----------
    x : ndarray, N×C×L
        float32 or float64; of CuPy float32, float16 or bfloat16.
    output_size : int or (int,)
        Outputs along each axis.
    out : ndarray, N×C×OL, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×OL

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.adaptive_avg_pool1d(np.array([[[1.0, 2.0, 6.0]]]), 2)
    array([[[1.5, 4. ]]])
    """
    return _adaptive_avg_pool("adaptive_avg_pool1d", x, output_size, out, 1)


def adaptive_avg_pool1d_backward(
    dy: np.ndarray, input_shape: Sequence[int], *, out: np.ndarray | None = None
) -> np.ndarray:
    """The gradient of `adaptive_avg_pool1d`: each cell of a window gets dy / cells.

    Parameters
    ----------
    dy : ndarray, N×C×OL
        float32 or float64; of CuPy float32, float16 or bfloat16.
    input_shape : tuple of int
        The shape of x.
    out : ndarray, N×C×L, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×L

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.adaptive_avg_pool1d_backward(np.array([[[2.0, 4.0]]]), (1, 1, 3))
    array([[[1., 3., 2.]]])
    """
    return _adaptive_avg_pool_backward("adaptive_avg_pool1d_backward", dy, input_shape, out, 1)
