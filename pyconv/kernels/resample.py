"""Images in another size: interpolation and padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv.kernels import _checks as check

__all__ = ["pad2d", "pad2d_backward", "upsample2d", "upsample2d_backward"]

_Resize = tuple[tuple[int, ...], tuple[float, float], bool, bool]


def _check_mode(function: str, mode: Any, modes: tuple[str, str]) -> bool:
    """Whether it is the second."""
    if not isinstance(mode, str):
        raise TypeError(f"{function}: mode must be a str, got {check.kind(mode)}")
    if mode not in modes:
        raise ValueError(f"{function}: mode must be {modes[0]!r} or {modes[1]!r}, got {mode!r}")
    return mode == modes[1]


def _resize(
    function: str,
    input_shape: Sequence[int],
    scale: Any,
    mode: Any,
    size: Any,
    align_corners: Any,
) -> _Resize:
    """Output shape, scales (0: from the sizes), whether bilinear, whether corners are aligned."""
    if (scale is None) == (size is None):
        given = "neither" if scale is None else f"scale={scale!r} and size={size!r}"
        raise ValueError(f"{function}: give either scale or size, got {given}")
    bilinear = _check_mode(function, mode, ("nearest", "bilinear"))
    align_corners = check.boolean(function, "align_corners", align_corners)
    if align_corners and not bilinear:
        raise ValueError(f"{function}: align_corners is for mode='bilinear', got mode={mode!r}")
    if min(input_shape[2:]) < 1:
        raise ValueError(
            f"{function}: the images must have cells along every axis, got {tuple(input_shape)}"
        )
    scales = (0.0, 0.0)
    if scale is None:
        outputs = check.pair(function, "size", size, 1)
    else:
        scales = _scales(function, scale)
        outputs = tuple(math.floor(n * s) for n, s in zip(input_shape[2:], scales, strict=True))
        if min(outputs) < 1:
            raise ValueError(
                f"{function}: the output would be empty: images of {tuple(input_shape[2:])} cells "
                f"times scale {scale!r}"
            )
    shape = (*input_shape[:2], *outputs)
    check.check_count(function, "the shape of the output", shape)
    return shape, scales, bilinear, align_corners


def _scales(function: str, scale: Any) -> tuple[float, float]:
    if isinstance(scale, tuple) and len(scale) != 2:
        raise ValueError(f"{function}: scale must be a number or a pair of numbers, got {scale!r}")
    rows, columns = scale if isinstance(scale, tuple) else (scale, scale)
    scales = check.number(function, "scale", rows), check.number(function, "scale", columns)
    for factor in scales:
        if not 0 < factor < 2.0**60:
            raise ValueError(f"{function}: scale must be positive and finite, got {scale!r}")
    return scales


def upsample2d(
    x: np.ndarray,
    scale: Any = None,
    mode: str = "nearest",
    *,
    size: Any = None,
    align_corners: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Images in another size, larger or smaller.

    Parameters
    ----------
    x : ndarray, N×C×H×W
        float32 or float64; of CuPy float32, float16 or bfloat16.
    scale : number or (number, number), optional
        The new size is floor(scale · size). Either this or `size`.
    mode : {"nearest", "bilinear"}
        Output q takes the cell floor(q size / outputs), or the two cells around
        (q + 1/2) size / outputs - 1/2, along each axis; 1 / scale stands for size / outputs where
        the scale is given.
    size : int or (int, int), optional
        The new size.
    align_corners : bool
        For "bilinear": output q lies at q (size - 1) / (outputs - 1), the first and last on the
        first and last cells.
    out : ndarray, N×C×OH×OW, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×OH×OW

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or mode.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> x = np.array([[[[0.0, 4.0]]]])
    >>> kernels.upsample2d(x, size=(1, 4))
    array([[[[0., 0., 4., 4.]]]])
    >>> kernels.upsample2d(x, (1, 2), "bilinear")
    array([[[[0., 1., 3., 4.]]]])
    """
    name = "upsample2d"
    check.storage_array(name, "x", x, 4)
    shape, scales, *how = _resize(name, x.shape, scale, mode, size, align_corners)
    run = check.backend(name, x=x, out=out)
    check.out_array(name, out, shape, x.dtype, x)
    return run.upsample2d(x, *shape[2:], *scales, *how, out)


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
    """The gradient of `upsample2d`: each dy goes to the cells it was made of, by their weights.

    Parameters
    ----------
    dy : ndarray, N×C×OH×OW
        float32 or float64; of CuPy float32, float16 or bfloat16.
    input_shape : tuple of int
        The shape of x.
    scale, mode, size, align_corners
        As in `upsample2d`.
    out : ndarray, N×C×H×W, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×H×W

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or mode.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.upsample2d_backward(np.ones((1, 1, 1, 4)), (1, 1, 1, 2), size=(1, 4))
    array([[[[2., 2.]]]])
    """
    name = "upsample2d_backward"
    check.storage_array(name, "dy", dy, 4)
    shape = check.shape_argument(name, "input_shape", input_shape, 4)
    outputs, scales, *how = _resize(name, shape, scale, mode, size, align_corners)
    check.shape_of(name, "dy", dy, outputs, "the output of the forward function")
    run = check.backend(name, dy=dy, out=out)
    check.out_array(name, out, shape, dy.dtype, dy)
    return run.upsample2d_backward(dy, shape, *scales, *how, out)


def _frame(
    function: str, input_shape: Sequence[int], padding: Any, mode: Any
) -> tuple[tuple[int, ...], bool]:
    """(top, bottom, left, right), and whether they reflect."""
    reflect = _check_mode(function, mode, ("zeros", "reflect"))
    ends = check.pads(function, "padding", padding, words=False)
    assert not isinstance(ends, str)
    height, width = input_shape[2:]
    if reflect and (max(ends[:2]) >= height or max(ends[2:]) >= width):
        raise ValueError(
            f"{function}: padding must be smaller than the image with mode='reflect', got "
            f"{padding!r} for {height} by {width} cells"
        )
    return ends, reflect


def _framed(function: str, shape: Sequence[int], ends: tuple[int, ...]) -> tuple[int, ...]:
    framed = (*shape[:2], shape[2] + ends[0] + ends[1], shape[3] + ends[2] + ends[3])
    check.check_count(function, "the shape of the output", framed)
    if min(framed[2:]) < 1:
        raise ValueError(f"{function}: the output would be empty, of shape {framed}")
    return framed


def pad2d(
    x: np.ndarray, padding: Any, mode: str = "zeros", *, out: np.ndarray | None = None
) -> np.ndarray:
    """A frame of zeros, or of the image mirrored about its edge cells.

    Parameters
    ----------
    x : ndarray, N×C×H×W
        float32 or float64; of CuPy float32, float16 or bfloat16.
    padding : int, (int, int) or ((top, bottom), (left, right))
        Cells on every side; with "reflect" fewer than the image has.
    mode : {"zeros", "reflect"}
    out : ndarray, N×C×OH×OW, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×OH×OW

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or mode.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.pad2d(np.array([[[[1.0, 2.0, 3.0]]]]), ((0, 0), (2, 1)), "reflect")
    array([[[[3., 2., 1., 2., 3., 2.]]]])
    """
    name = "pad2d"
    check.storage_array(name, "x", x, 4)
    ends, reflect = _frame(name, x.shape, padding, mode)
    run = check.backend(name, x=x, out=out)
    check.out_array(name, out, _framed(name, x.shape, ends), x.dtype, x)
    return run.pad2d(x, *ends, reflect, out)


def pad2d_backward(
    dy: np.ndarray,
    input_shape: Sequence[int],
    padding: Any,
    mode: str = "zeros",
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The gradient of `pad2d`: each cell gets the sum of dy over its copies.

    Parameters
    ----------
    dy : ndarray, N×C×OH×OW
        float32 or float64; of CuPy float32, float16 or bfloat16.
    input_shape : tuple of int
        The shape of x.
    padding, mode
        As in `pad2d`.
    out : ndarray, N×C×H×W, optional
        Takes the result.

    Returns
    -------
    ndarray, N×C×H×W

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, range or mode.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import kernels
    >>> kernels.pad2d_backward(np.ones((1, 1, 1, 6)), (1, 1, 1, 3), ((0, 0), (2, 1)), "reflect")
    array([[[[1., 3., 2.]]]])
    """
    name = "pad2d_backward"
    check.storage_array(name, "dy", dy, 4)
    shape = check.shape_argument(name, "input_shape", input_shape, 4)
    ends, reflect = _frame(name, shape, padding, mode)
    check.shape_of(name, "dy", dy, _framed(name, shape, ends), "the padded image")
    run = check.backend(name, dy=dy, out=out)
    check.out_array(name, out, shape, dy.dtype, dy)
    return run.pad2d_backward(dy, shape, *ends, reflect, out)
