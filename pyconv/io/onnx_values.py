"""ONNX operators on values: arithmetic, shapes, sizes.

What has a gradient is a Tensor; sizes and axes are arrays of ints and stay NumPy's, so that a
shape computed from the input's costs nothing.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from pyconv import autograd
from pyconv import functional as F  # noqa: N812
from pyconv.autograd import Tensor
from pyconv.functional.activation import _normal_distribution
from pyconv.io.onnx_graph import Built, Node, Operation, numbers

_MOST = 2**26  # elements that ConstantOfShape and Expand may make


def _tensors(values: tuple[Any, ...]) -> bool:
    return any(isinstance(v, Tensor) for v in values)


# -- arithmetic -----------------------------------------------------------------------------------


def _divide(a: Any, b: Any) -> Any:
    if _tensors((a, b)) or a.dtype.kind == "f":
        return a / b
    return (np.abs(a) // np.abs(b)) * np.sign(a) * np.sign(b)  # towards 0, as in C


def _power(a: Any, b: Any) -> Any:
    if isinstance(a, Tensor) and not getattr(b, "requires_grad", False):
        exponent = np.asarray(b.data if isinstance(b, Tensor) else b)
        if exponent.size == 1 and exponent.ndim <= a.ndim:
            return a ** float(exponent.reshape(()))
    return a**b


_BINARY: dict[str, Callable[..., Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": _divide,
    "Pow": _power,
}


def _several(first: Callable[..., Any]) -> Callable[..., Any]:
    def fold(*values: Any) -> Any:
        result = values[0]
        for value in values[1:]:
            result = first(result, value)
        return result

    return fold


def _larger(a: Any, b: Any) -> Any:
    return autograd.maximum(a, b) if _tensors((a, b)) else np.maximum(a, b)


def _smaller(a: Any, b: Any) -> Any:
    return autograd.minimum(a, b) if _tensors((a, b)) else np.minimum(a, b)


_SEVERAL = {
    "Max": _several(_larger),
    "Min": _several(_smaller),
    "Sum": _several(_BINARY["Add"]),
}


def _mean_of(*values: Any) -> Any:
    return _SEVERAL["Sum"](*values) / float(len(values))


def _softplus(x: Tensor) -> Tensor:
    return F.relu(x) + ((-x.abs()).exp() + 1.0).log()


def _rounded(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(x: Any) -> Any:
        # Its slope is 0 everywhere, so a Tensor of the result is a constant.
        return Tensor(function(x.data)) if isinstance(x, Tensor) else function(x)

    return apply


_UNARY: dict[str, Callable[..., Any]] = {
    "Abs": abs,
    "Neg": lambda x: -x,
    "Exp": lambda x: x.exp(),
    "Log": lambda x: x.log(),
    "Sqrt": lambda x: x.sqrt() if isinstance(x, Tensor) else np.sqrt(x),
    "Reciprocal": lambda x: 1.0 / x,
    "Erf": lambda x: _normal_distribution(x * math.sqrt(2.0)) * 2.0 - 1.0,
    "Floor": _rounded(np.floor),
    "Ceil": _rounded(np.ceil),
    "Round": _rounded(np.rint),
    "HardSwish": lambda x: x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
    "Softplus": _softplus,
    "Softsign": lambda x: x / (x.abs() + 1.0),
    "Mish": lambda x: x * F.tanh(_softplus(x)),
}


def _elu(x: Tensor, *, alpha: float, scale: float) -> Tensor:
    below = (x.clamp(None, 0.0).exp() - 1.0) * alpha
    y = autograd.where(x.data > 0, x, below)
    return y if scale == 1 else y * scale


def _hard_sigmoid(x: Tensor, *, alpha: float, beta: float) -> Tensor:
    return (x * alpha + beta).clamp(0.0, 1.0)


def _prelu(x: Tensor, slope: Any) -> Tensor:
    return autograd.where(x.data > 0, x, x * slope)


def _where(condition: Any, a: Any, b: Any) -> Any:
    if _tensors((a, b)):
        return autograd.where(np.asarray(condition), a, b)
    return np.where(condition, a, b)


# -- shapes ---------------------------------------------------------------------------------------


def _reshape(x: Any, shape: Any, *, name: str, allowzero: bool) -> Any:
    wanted = [int(n) for n in numbers(name, "the shape", shape)]
    if not allowzero:
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    if -1 in wanted and 0 in x.shape:  # which NumPy can't divide: of an empty batch, by its images
        rest = math.prod(n for n in wanted[1:] if n != -1)
        images = math.prod(x.shape[1:]) // max(rest, 1)
        wanted = [(0 if i == 0 else images) if n == -1 else n for i, n in enumerate(wanted)]
    return x.reshape(tuple(wanted))


def _flatten(x: Any, *, axis: int) -> Any:
    rows = math.prod(x.shape[: axis if axis >= 0 else axis + x.ndim])
    return x.reshape(rows, math.prod(x.shape) // rows if rows else 0)


def _transpose(x: Any, *, perm: tuple[int, ...] | None) -> Any:
    order = tuple(range(x.ndim))[::-1] if perm is None else perm
    return x.permute(order) if isinstance(x, Tensor) else x.transpose(order)


def _axes_given(name: str, axes: Any, fixed: Any) -> tuple[int, ...] | None:
    """Axes, an input or (in older graphs) an attribute."""
    if axes is None:
        return None if fixed is None else tuple(fixed)
    return tuple(int(a) for a in numbers(name, "axes", axes).reshape(-1))


def _squeeze(x: Any, axes: Any = None, *, name: str, fixed: Any) -> Any:
    wanted = _axes_given(name, axes, fixed)
    if wanted is None:
        wanted = tuple(i for i, n in enumerate(x.shape) if n == 1)
    wanted = tuple(a % x.ndim for a in wanted)
    if any(x.shape[a] != 1 for a in wanted):
        raise ValueError(f"Graph: node {name!r}: axes {wanted} of shape {x.shape} are not all 1")
    return x.reshape(tuple(n for i, n in enumerate(x.shape) if i not in wanted))


def _unsqueeze(x: Any, axes: Any = None, *, name: str, fixed: Any) -> Any:
    wanted = _axes_given(name, axes, fixed) or ()
    rank = np.ndim(x) + len(wanted)
    at = {a % rank for a in wanted}
    sizes = iter(np.shape(x) if not isinstance(x, Tensor) else x.shape)
    return x.reshape(tuple(1 if i in at else next(sizes) for i in range(rank)))


def _concat(*values: Any, axis: int) -> Any:
    return autograd.cat(list(values), axis) if _tensors(values) else np.concatenate(values, axis)


def _split(x: Any, sizes: Any = None, *, name: str, axis: int, fixed: Any, count: int) -> Any:
    given = fixed if sizes is None else numbers(name, "the sizes", sizes).tolist()
    n = x.shape[axis]
    if given is None:
        part = math.ceil(n / count)
        given = [min(part, n - i * part) for i in range(count)]
    if sum(given) != n:
        raise ValueError(f"Graph: node {name!r}: {given} don't add up to the {n} of axis {axis}")
    ends = np.cumsum([0, *given]).tolist()
    before = (slice(None),) * (axis % x.ndim)
    parts = tuple(x[before + (slice(a, b),)] for a, b in zip(ends[:-1], ends[1:], strict=True))
    return parts if len(parts) > 1 else parts[0]


def _slice(
    x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None, *, name: str
) -> Any:
    first, last = numbers(name, "starts", starts).tolist(), numbers(name, "ends", ends).tolist()
    along = range(len(first)) if axes is None else numbers(name, "axes", axes).tolist()
    by = [1] * len(first) if steps is None else numbers(name, "steps", steps).tolist()
    index: list[Any] = [slice(None)] * x.ndim
    for a, start, end, step in zip(along, first, last, by, strict=True):
        n = x.shape[a]
        if step > 0:
            start, end = (min(max(v + n if v < 0 else v, 0), n) for v in (start, end))
        else:
            start = min(max(start + n if start < 0 else start, 0), n - 1)
            end = min(max(end + n if end < 0 else end, -1), n - 1)
        index[a] = slice(start, None if end < 0 else end, step)
    return x[tuple(index)]


def _gather(x: Any, indices: Any, *, name: str, axis: int) -> Any:
    where = numbers(name, "the indices", indices)
    at = axis % x.ndim
    n = x.shape[at]
    if where.size and (where.min() < -n or where.max() >= n):
        raise ValueError(f"Graph: node {name!r}: an index is out of range for the {n} of axis {at}")
    index = (slice(None),) * at + (int(where) if where.ndim == 0 else where,)
    return x[index] if isinstance(x, Tensor) else np.asarray(x[index])


def _shape(x: Any, *, start: int, end: int | None) -> np.ndarray:
    return np.array(x.shape, np.int64)[start:end]


def _expand(x: Any, shape: Any, *, name: str) -> Any:
    before = x.shape if isinstance(x, Tensor) else np.shape(x)
    wanted = tuple(int(n) for n in numbers(name, "the shape", shape))
    full = np.broadcast_shapes(before, wanted)
    if math.prod(full) > max(_MOST, math.prod(before)):
        raise ValueError(f"Graph: node {name!r}: {full} is too large")
    return x.expand(full) if isinstance(x, Tensor) else np.broadcast_to(x, full)


def _constant_of_shape(shape: Any, *, name: str, value: np.ndarray) -> Any:
    wanted = tuple(int(n) for n in numbers(name, "the shape", shape))
    if min(wanted, default=0) < 0 or math.prod(wanted) > _MOST:
        raise ValueError(f"Graph: node {name!r}: shape {wanted} is negative or too large")
    full = np.full(wanted, value.reshape(-1)[0], value.dtype)
    return Tensor(full) if full.dtype.kind == "f" else full


def _cast(x: Any, *, dtype: np.dtype) -> Any:
    if isinstance(x, Tensor):
        return x if x.dtype == dtype else x.to(dtype) if dtype.kind == "f" else x.data.astype(dtype)
    array = np.asarray(x).astype(dtype)
    return Tensor(array) if dtype.kind == "f" and array.ndim else array


def _depth_to_space(x: Tensor, *, block: int, columns: bool) -> Tensor:
    n, c, h, w = x.shape
    b = block
    if columns:
        y = x.reshape(n, c // (b * b), b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    else:
        y = x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(n, c // (b * b), h * b, w * b)


def _reduce(x: Any, axes: Any = None, *, name: str, kind: str, fixed: Any, keep: bool, noop: bool):
    wanted = _axes_given(name, axes, fixed)
    if not wanted:
        if noop:
            return x
        wanted = tuple(range(x.ndim))
    if isinstance(x, Tensor):
        if kind in ("sum", "mean"):
            return getattr(x, kind)(wanted, keepdim=keep)
        for axis in sorted((a % x.ndim for a in wanted), reverse=True):
            x = getattr(x, kind)(axis, keepdim=keep).values
        return x
    return getattr(np, "prod" if kind == "prod" else kind)(x, axis=wanted, keepdims=keep)


# -- builders -------------------------------------------------------------------------------------


def plain(function: Callable[..., Any]) -> Callable[[Node], Built]:
    """A builder for a function of the node's inputs."""
    return lambda node: Built(Operation(node.kind, function))


def elu(node: Node) -> Built:
    alpha = node.attribute("alpha", 1.0 if node.kind == "Elu" else 1.6732632423543772)
    scale = 1.0 if node.kind == "Elu" else node.attribute("gamma", 1.0507009873554805)
    return Built(Operation(node.kind, _elu, alpha=alpha, scale=scale))


def hard_sigmoid(node: Node) -> Built:
    alpha, beta = node.attribute("alpha", 0.2), node.attribute("beta", 0.5)
    return Built(Operation(node.kind, _hard_sigmoid, alpha=alpha, beta=beta))


def reshape(node: Node) -> Built:
    zero = bool(node.attribute("allowzero", 0))
    return Built(Operation(node.kind, _reshape, name=node.name, allowzero=zero))


def flatten(node: Node) -> Built:
    return Built(Operation(node.kind, _flatten, axis=node.attribute("axis", 1)))


def transpose(node: Node) -> Built:
    perm = node.attribute("perm")
    return Built(Operation(node.kind, _transpose, perm=None if perm is None else tuple(perm)))


def with_axes(function: Callable[..., Any]) -> Callable[[Node], Built]:
    """A builder for Squeeze and Unsqueeze."""
    return lambda node: Built(
        Operation(node.kind, function, name=node.name, fixed=node.attribute("axes"))
    )


def concat(node: Node) -> Built:
    return Built(Operation(node.kind, _concat, axis=node.attribute("axis", 1)))


def split(node: Node) -> Built:
    node.attribute("num_outputs")
    how = dict(axis=node.attribute("axis", 0), fixed=node.attribute("split"))
    return Built(Operation(node.kind, _split, name=node.name, count=len(node.outputs), **how))


def slices(node: Node) -> Built:
    if node.opset >= 10:
        return Built(Operation(node.kind, _slice, name=node.name))
    fixed = {n: node.attribute(n) for n in ("starts", "ends", "axes")}
    return Built(Operation(node.kind, _fixed_slice, name=node.name, **fixed))


def _fixed_slice(x: Any, *, name: str, starts: Any, ends: Any, axes: Any) -> Any:
    return _slice(x, starts, ends, axes, name=name)


def gather(node: Node) -> Built:
    return Built(Operation(node.kind, _gather, name=node.name, axis=node.attribute("axis", 0)))


def shape(node: Node) -> Built:
    start, end = node.attribute("start", 0), node.attribute("end")
    return Built(Operation(node.kind, _shape, start=start, end=end))


def expand(node: Node) -> Built:
    return Built(Operation(node.kind, _expand, name=node.name))


def constant_of_shape(node: Node) -> Built:
    value = node.attribute("value", np.zeros(1, np.float32))
    return Built(Operation(node.kind, _constant_of_shape, name=node.name, value=value))


def cast(node: Node) -> Built:
    import onnx

    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.attribute("to")))
    except (KeyError, TypeError):
        node.refuse(f"attribute 'to' is {node.attribute('to')!r}, which is no known type")
    if dtype.kind not in "biuf" or dtype == np.float16:
        node.refuse(f"casts to {dtype} are not supported")
    return Built(Operation(node.kind, _cast, dtype=dtype))


def depth_to_space(node: Node) -> Built:
    block, mode = node.attribute("blocksize", 1), node.attribute("mode", "DCR")
    return Built(Operation(node.kind, _depth_to_space, block=block, columns=mode == "CRD"))


def reduce(node: Node) -> Built:
    kind = node.kind.removeprefix("Reduce").lower()
    how = dict(
        kind=kind,
        fixed=node.attribute("axes"),
        keep=bool(node.attribute("keepdims", 1)),
        noop=bool(node.attribute("noop_with_empty_axes", 0)),
    )
    return Built(Operation(node.kind, _reduce, name=node.name, **how))


BUILDERS: dict[str, Callable[[Node], Built]] = {
    **{name: plain(function) for name, function in {**_BINARY, **_SEVERAL, **_UNARY}.items()},
    "Mean": plain(_mean_of),
    "PRelu": plain(_prelu),
    "Where": plain(_where),
    "Elu": elu,
    "Selu": elu,
    "HardSigmoid": hard_sigmoid,
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": with_axes(_squeeze),
    "Unsqueeze": with_axes(_unsqueeze),
    "Concat": concat,
    "Split": split,
    "Slice": slices,
    "Gather": gather,
    "Shape": shape,
    "Expand": expand,
    "ConstantOfShape": constant_of_shape,
    "Cast": cast,
    "DepthToSpace": depth_to_space,
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"), reduce),
}
