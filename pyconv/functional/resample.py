"""New sizes: interpolation and padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv import kernels
from pyconv.autograd import Tensor, array_module, linear_map
from pyconv.functional._common import as_float, as_tensor
from pyconv.kernels import _checks as check

_NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def interpolate(
    x: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Images or sequences in another size.

    Parameters
    ----------
    x : Tensor or array, N×C×H×W or N×C×L
    size : int or tuple of int, optional
        The new size; either this or `scale_factor`.
    scale_factor : number or tuple of numbers, optional
    mode : {"nearest", "bilinear", "linear"}
        "bilinear" for images, "linear" for sequences.
    align_corners : bool, optional
        For "bilinear" and "linear": the first and last cells lie on each other, instead of the
        outer edges.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape, size or mode.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.interpolate(np.array([[[0.0, 4.0]]]), scale_factor=2, mode="linear")
    Tensor([[[0., 1., 3., 4.]]])
    """
    x = as_float("interpolate", "x", x, (3, 4))
    modes = ("nearest", "bilinear") if x.ndim == 4 else ("nearest", "linear")
    if mode not in modes:
        raise ValueError(f"interpolate: mode must be one of {modes} for {x.ndim}-D, got {mode!r}")
    if align_corners is not None and mode == "nearest":
        raise ValueError("interpolate: align_corners is for the modes bilinear and linear")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor")
    if align_corners is not None:
        check.boolean("interpolate", "align_corners", align_corners)
    if size is not None:
        size = check.pair("interpolate", "size", size, 1, x.ndim - 2)
    else:
        scale_factor = _scales(x, scale_factor)
    if x.ndim == 3:
        y = interpolate(
            x.unsqueeze(2),
            None if size is None else (1, *size),
            None if scale_factor is None else (1.0, *scale_factor),
            "nearest" if mode == "nearest" else "bilinear",
            align_corners,
        )
        return y.squeeze(2)
    shape = x.shape
    how = dict(size=size, align_corners=bool(align_corners))
    return linear_map(
        "interpolate",
        x,
        lambda a: kernels.upsample2d(a, scale_factor, mode, **how),
        lambda g: kernels.upsample2d_backward(g, shape, scale_factor, mode, **how),
        fresh=True,
    )


def _scales(x: Tensor, scale_factor: Any) -> tuple[float, ...]:
    """A factor for each axis, none of which leaves nothing."""
    name, argument, rank = "interpolate", "scale_factor", x.ndim - 2
    factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * rank
    if len(factors) != rank:
        raise ValueError(
            f"{name}: {argument} must be a number or {rank} numbers, got {scale_factor!r}"
        )
    factors = tuple(check.number(name, argument, factor) for factor in factors)
    if not all(0 < factor < 2.0**60 for factor in factors):
        raise ValueError(f"{name}: {argument} must be positive and finite, got {scale_factor!r}")
    if any(int(n * factor) < 1 for n, factor in zip(x.shape[2:], factors, strict=True)):
        raise ValueError(
            f"{name}: the output would be empty: {argument}={scale_factor!r} for shape {x.shape}"
        )
    return factors


def pad(x: Any, pad: Any, mode: str = "constant", value: float = 0.0) -> Tensor:
    """A frame around the last axes.

    Parameters
    ----------
    x : Tensor or array
    pad : tuple of int
        (left, right) of the last axis, then those of the axis before it, and so on. Negative
        numbers cut off (with the mode "constant").
    mode : {"constant", "reflect", "replicate", "circular"}
    value : float
        What "constant" fills with.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError, ValueError
        Wrong type, shape, mode, or a pad that the axis can't mirror.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.pad(np.array([1.0, 2.0, 3.0]), (2, 1), "reflect")
    Tensor([3., 2., 1., 2., 3., 2.])
    """
    x = as_tensor("pad", "x", x)
    ends = _ends(x.shape, pad)
    value = check.number("pad", "value", value)
    if mode == "constant":
        return _constant_pad(x, ends, value)
    if mode not in _NUMPY_MODES:
        modes = ("constant", *_NUMPY_MODES)
        raise ValueError(f"pad: mode must be one of {modes}, got {mode!r}")
    for axis, (before, after) in enumerate(ends):
        limit = x.shape[axis] - (mode == "reflect")
        most = limit if mode != "replicate" else None if x.shape[axis] else 0
        if min(before, after) < 0 or (most is not None and max(before, after, 0) > max(most, 0)):
            raise ValueError(
                f"pad: {mode} padding {before, after} does not fit axis {axis} of shape {x.shape}"
            )
    if mode == "reflect" and x.ndim == 4 and not any(ends[0] + ends[1]):
        return _pad2d(x, (ends[2], ends[3]), "reflect")
    for axis, (before, after) in enumerate(ends):
        if before or after:
            numpy_mode: Any = _NUMPY_MODES[mode]
            cells = np.pad(np.arange(x.shape[axis]), (before, after), mode=numpy_mode)
            x = x[(slice(None),) * axis + (array_module(x.data).asarray(cells),)]
    return x


def _ends(shape: tuple[int, ...], pad: Any) -> list[tuple[int, int]]:
    """(before, after) for each axis, from the first on."""
    if not isinstance(pad, tuple) or not all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in pad
    ):
        raise TypeError(f"pad: pad must be a tuple of ints, got {pad!r}")
    if len(pad) % 2 or len(pad) > 2 * len(shape):
        raise ValueError(f"pad: pad must have two entries an axis, got {pad} for shape {shape}")
    ends = [(0, 0)] * (len(shape) - len(pad) // 2)
    ends += [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    for n, (before, after) in zip(shape, ends, strict=True):
        if n + min(before, 0) + min(after, 0) < 0:
            raise ValueError(f"pad: pad={pad} cuts off more than there is in shape {shape}")
    return ends


def _constant_pad(x: Tensor, ends: list[tuple[int, int]], value: float) -> Tensor:
    if x.ndim == 4 and value == 0 and not any(ends[0] + ends[1]) and min(ends[2] + ends[3]) >= 0:
        return _pad2d(x, (ends[2], ends[3]), "zeros")
    kept = tuple(
        slice(max(0, -before), n - max(0, -after))
        for n, (before, after) in zip(x.shape, ends, strict=True)
    )
    x = x[kept]
    frame = [(max(0, before), max(0, after)) for before, after in ends]
    inside = tuple(slice(b, b + n) for n, (b, _) in zip(x.shape, frame, strict=True))
    xp = array_module(x.data)
    return (
        linear_map("pad", x, lambda a: xp.pad(a, frame, constant_values=value), lambda g: g[inside])
        if value == 0
        else _filled(x, frame, inside, value)
    )


def _filled(x: Tensor, frame: Any, inside: Any, value: float) -> Tensor:
    framed = _constant_pad(x, frame, 0.0)
    xp = array_module(x.data)
    border = xp.full(framed.shape, value, x.dtype)
    border[inside] = 0
    return framed + Tensor(border)


def _pad2d(x: Tensor, ends: Any, mode: str) -> Tensor:
    shape = x.shape
    return linear_map(
        "pad",
        x,
        lambda a: kernels.pad2d(a, ends, mode),
        lambda g: kernels.pad2d_backward(g, shape, ends, mode),
        fresh=True,
    )
