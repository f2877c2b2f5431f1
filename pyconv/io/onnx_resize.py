"""ONNX operators that change the size of images: Pad, Resize, Upsample."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pyconv import functional as F  # noqa: N812
from pyconv.autograd import Tensor
from pyconv.io.onnx_graph import Built, Node, Operation, numbers

_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_ROUNDING = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def pad(node: Node) -> Built:
    mode = node.attribute("mode", "constant")
    if mode not in _PAD_MODES:
        node.refuse(f"mode {mode!r} is not supported")
    how: dict[str, Any] = {"fixed": None, "filling": 0.0}
    if node.opset < 11:
        how["fixed"], how["filling"] = node.attribute("pads"), node.attribute("value", 0.0)
    return Built(Operation("Pad", _pad, name=node.name, mode=_PAD_MODES[mode], **how))


def _pad(
    x: Tensor, pads: Any = None, value: Any = None, axes: Any = None, *,
    name: str, mode: str, fixed: Any, filling: float,
) -> Tensor:  # fmt: skip
    sides = [int(n) for n in (fixed if pads is None else numbers(name, "the padding", pads))]
    at = range(x.ndim) if axes is None else [int(a) % x.ndim for a in numbers(name, "axes", axes)]
    if len(sides) != 2 * len(at):
        raise ValueError(f"Graph: node {name!r}: {len(sides)} pads for {len(at)} axes")
    ends = [(0, 0)] * x.ndim
    for i, axis in enumerate(at):
        ends[axis] = (sides[i], sides[i + len(at)])
    flat = tuple(n for pair in reversed(ends) for n in pair)
    given = value.data if isinstance(value, Tensor) else value
    filling = filling if given is None else float(np.asarray(given).reshape(()))
    return F.pad(x, flat, mode, filling if mode == "constant" else 0.0)


def resize(node: Node) -> Built:
    mode = node.attribute("mode", "nearest")
    if mode not in ("nearest", "linear"):
        node.refuse(f"mode {mode!r} is not supported")
    if node.opset < 11 or node.kind == "Upsample":
        coordinates, rounding = "asymmetric", "floor"
        fixed = node.attribute("scales")
    else:
        coordinates = node.attribute("coordinate_transformation_mode", "half_pixel")
        rounding = node.attribute("nearest_mode", "round_prefer_floor")
        fixed = None
        for name in ("cubic_coeff_a", "extrapolation_value", "exclude_outside"):
            node.attribute(name)  # have no meaning for these modes
        for name, default in (("antialias", 0), ("keep_aspect_ratio_policy", "stretch")):
            if node.attribute(name, default) != default:
                node.refuse(f"{name} {node.attribute(name)!r} is not supported")
    if coordinates not in _COORDINATES or rounding not in _ROUNDING:
        node.refuse(f"coordinates {coordinates!r} with {rounding!r} are not supported")
    if mode == "linear" and coordinates == "asymmetric":
        node.refuse("mode 'linear' with coordinates 'asymmetric' is not supported")
    how = dict(coordinates=coordinates, rounding=rounding, fixed=fixed, linear=mode == "linear")
    axes = node.attribute("axes")
    return Built(Operation(node.kind, _upsample if node.opset < 11 or node.kind == "Upsample"
                           else _resize, name=node.name, axes=axes, **how))  # fmt: skip


def _upsample(x: Tensor, scales: Any = None, **how: Any) -> Tensor:
    return _resize(x, None, scales, None, **how)


def _resize(
    x: Tensor, region: Any = None, scales: Any = None, sizes: Any = None, *,
    name: str, axes: Any, coordinates: str, rounding: str, fixed: Any, linear: bool,
) -> Tensor:  # fmt: skip
    at = range(x.ndim) if axes is None else [a % x.ndim for a in axes]
    scales = fixed if scales is None else _floats(scales)
    factors, shape = [1.0] * x.ndim, list(x.shape)
    if sizes is not None and np.size(sizes):
        for axis, n in zip(at, numbers(name, "the sizes", sizes).tolist(), strict=True):
            shape[axis], factors[axis] = n, n / x.shape[axis]
    elif scales is not None and len(scales):
        for axis, factor in zip(at, scales, strict=True):
            shape[axis], factors[axis] = math.floor(x.shape[axis] * factor), float(factor)
    else:
        raise ValueError(f"Graph: node {name!r}: neither sizes nor scales are given")
    if any(shape[a] != x.shape[a] for a in (0, 1)) or min(shape[2:], default=1) < 1:
        raise ValueError(f"Graph: node {name!r}: {x.shape} can't be resized to {tuple(shape)}")
    if not linear:
        return _nearest(x, shape, factors, coordinates, rounding)
    if coordinates == "pytorch_half_pixel" and any(
        n == 1 < before for n, before in zip(shape[2:], x.shape[2:], strict=True)
    ):
        raise ValueError(f"Graph: node {name!r}: a size of 1 is not supported for {coordinates}")
    mode = "linear" if x.ndim == 3 else "bilinear"
    corners = coordinates == "align_corners"
    exact = [n == before * f for n, before, f in zip(shape, x.shape, factors, strict=True)]
    if corners or all(exact):
        return F.interpolate(x, tuple(shape[2:]), None, mode, corners)
    return F.interpolate(x, None, tuple(factors[2:]), mode, False)


def _nearest(
    x: Tensor, shape: list[int], factors: list[float], coordinates: str, rounding: str
) -> Tensor:
    cells = [
        _sources(n, m, f, coordinates, rounding)
        for n, m, f in zip(x.shape[2:], shape[2:], factors[2:], strict=True)
    ]
    usual = [np.arange(m) * n // m for n, m in zip(x.shape[2:], shape[2:], strict=True)]
    if all(np.array_equal(a, b) for a, b in zip(cells, usual, strict=True)):
        return F.interpolate(x, tuple(shape[2:]))
    for axis, indices in enumerate(cells):
        x = x[(slice(None),) * (axis + 2) + (indices,)]
    return x


def _sources(n: int, m: int, factor: float, coordinates: str, rounding: str) -> np.ndarray:
    """The cell that each of m outputs takes, of n."""
    source: Any
    q = np.arange(m)
    if coordinates == "asymmetric":
        source = q / factor
    elif coordinates == "align_corners":
        source = q * ((n - 1) / (m - 1) if m > 1 else 0.0)
    else:
        source = (q + 0.5) / factor - 0.5
        if coordinates == "pytorch_half_pixel" and m == 1:
            source = np.zeros(1)
    cells: Any
    if rounding == "floor":
        cells = np.floor(source)
    elif rounding == "ceil":
        cells = np.ceil(source)
    else:
        cells = np.ceil(source - 0.5) if rounding.endswith("floor") else np.floor(source + 0.5)
    return np.clip(cells, 0, n - 1).astype(np.int64)


def _floats(value: Any) -> list[float]:
    array = value.data if isinstance(value, Tensor) else value
    return [float(n) for n in np.asarray(array).reshape(-1)]


BUILDERS = {"Pad": pad, "Resize": resize, "Upsample": resize}
