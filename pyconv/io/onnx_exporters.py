"""How each operation of pyconv is written in ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pyconv.autograd import Tensor
from pyconv.kernels import _checks as check


class Call:
    """One operation of a traced pass.

    Attributes
    ----------
    kind : str
        As `pyconv.autograd.record` was told.
    result : Tensor
    inputs : tuple of Tensor or None
    kept : dict
        What its gradient keeps: geometry, axes, ...
    module : str
        The name of the module whose output it is; or empty.
    open : tuple of int
        Axes of the result whose lengths go by the number of images.
    again : Call or None
        The same operation in a pass with one image more.
    """

    def __init__(
        self, kind: str, result: Tensor, inputs: tuple[Any, ...], kept: dict[str, Any]
    ) -> None:
        self.kind, self.result, self.inputs, self.kept = kind, result, inputs, kept
        self.module = ""
        self.open: tuple[int, ...] = ()
        self.again: Call | None = None


class Emitter:
    """Collects nodes and initializers."""

    def __init__(self, onnx: Any, state: dict[int, str]) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.names: dict[int, str] = {}  # of Tensors that have a value in the graph
        self.call: Call = Call("", Tensor(0.0), (), {})
        self._state = state
        self._values: set[str] = set()
        self._titles: set[str] = set()
        self._kept: list[Any] = []  # so that no number is given to another Tensor

    def value_info(self, name: str, t: Tensor, open_axes: tuple[int, ...]) -> Any:
        """An input or output of the graph."""
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(t.dtype)
        shape: list[Any] = list(t.shape)
        for axis in open_axes:
            shape[axis] = f"N{axis}" if axis else "N"
        return self.onnx.helper.make_tensor_value_info(name, kind, shape)

    def input(self, t: Tensor) -> str:
        """The name of a Tensor: computed, a parameter or buffer, or a constant."""
        if id(t) not in self.names:
            title = self._state.get(id(t))
            if title is None:
                self.names[id(t)] = self.constant(self._without_batch(t.data))
            else:
                self.names[id(t)] = self.constant(t.data, title)
            self._kept.append(t)
        return self.names[id(t)]

    def _without_batch(self, array: np.ndarray) -> np.ndarray:
        """A constant that is the same for every image holds for any number of them."""
        shape = self.call.result.shape
        for axis in self.call.open:
            at = axis - len(shape)
            if array.ndim >= -at and array.shape[at] == shape[at] > 1:
                first = array.take([0], at)
                if not (array == first).all():
                    _refuse(self.call, "a constant depends on the number of images")
                array = first
        return array

    def constant(self, value: Any, title: str = "constant") -> str:
        """An initializer; its name."""
        array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        name = self._unique(title, self._values)
        self.initializers.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def number(self, value: float) -> str:
        """A constant number of the result's type."""
        return self.constant(np.asarray(value, self.call.result.dtype))

    def ints(self, *values: int) -> str:
        """A constant list of whole numbers."""
        return self.constant(np.array(values, np.int64))

    def node(self, operator: str, inputs: list[str], outputs: Any = 1, **attributes: Any) -> str:
        """Add a node; the name of its first output."""
        title = self._unique(self.call.module or f"{operator}_{len(self.nodes)}", self._titles)
        if isinstance(outputs, int):
            outputs = [self._unique(f"{title}.output", self._values) for _ in range(outputs)]
        while inputs and not inputs[-1]:
            inputs.pop()
        given = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, outputs, title, **given))
        return outputs[0]

    def result(self, name: str) -> None:
        """That value is the result of the call."""
        self.names[id(self.call.result)] = name
        self._kept.append(self.call.result)

    @staticmethod
    def _unique(title: str, taken: set[str]) -> str:
        name, number = title, 1
        while name in taken:
            name, number = f"{title}_{number}", number + 1
        taken.add(name)
        return name

    def activation(self, x: str, activation: Any) -> str:
        """A fused activation, as a node of its own."""
        if activation is None:
            return x
        name, *slope = activation if isinstance(activation, tuple) else (activation,)
        if name == "relu6":
            return self.node("Clip", [x, self.number(0), self.number(6)])
        if name == "leaky_relu":
            return self.node("LeakyRelu", [x], alpha=float(slope[0]) if slope else 0.01)
        if name == "silu":
            return self.node("Mul", [x, self.node("Sigmoid", [x])])
        if name == "gelu":
            return self.node("Mul", [x, _normal(self, x)])
        return self.node({"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}[name], [x])


_FAR = 2**62  # beyond the end of every axis

Exporter = Callable[[Emitter, Call], None]
EXPORTERS: dict[str, Exporter] = {}


def exporter(*kinds: str) -> Callable[[Exporter], Exporter]:
    """Enter a function for these operations."""

    def enter(function: Exporter) -> Exporter:
        EXPORTERS.update(dict.fromkeys(kinds, function))
        return function

    return enter


def _refuse(call: Call, why: str) -> Any:
    where = f" (in {call.module})" if call.module else ""
    raise ValueError(f"save_onnx: {call.kind}{where}: {why}")


def _pads(call: Call, padding: Any, rank: int) -> dict[str, Any]:
    ends = check.pads("save_onnx", "padding", padding, rank)
    if isinstance(ends, str):
        return {"auto_pad": "SAME_UPPER"}
    return {"pads": [*ends[::2], *ends[1::2]]}


def _per_axis(value: Any, rank: int) -> list[int]:
    return list(value) if isinstance(value, tuple) else [value] * rank


# -- layers ---------------------------------------------------------------------------------------


@exporter("conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d")
def _convolution(out: Emitter, call: Call) -> None:
    x, weight, bias, residual = call.inputs
    geometry = call.kept["geometry"]
    rank = weight.ndim - 2
    attributes = {
        "kernel_shape": list(weight.shape[2:]),
        "strides": _per_axis(geometry["stride"], rank),
        "dilations": _per_axis(geometry["dilation"], rank),
        "group": geometry["groups"],
        **_pads(call, geometry["padding"], rank),
    }
    operator = "Conv"
    if "output_padding" in geometry:
        operator = "ConvTranspose"
        attributes["output_padding"] = _per_axis(geometry["output_padding"], rank)
    inputs = [out.input(t) for t in (x, weight, bias) if t is not None]
    y = out.node(operator, inputs, **attributes)
    if residual is not None:
        y = out.node("Add", [y, out.input(residual)])
    out.result(out.activation(y, call.kept["fused"]))


@exporter("depthwise_separable_conv2d")
def _separable(out: Emitter, call: Call) -> None:
    x, first, second, bias = call.inputs
    geometry = call.kept["geometry"]
    y = out.node(
        "Conv", [out.input(x), out.input(first)], kernel_shape=list(first.shape[2:]),
        strides=_per_axis(geometry["stride"], 2), dilations=_per_axis(geometry["dilation"], 2),
        group=x.shape[1], **_pads(call, geometry["padding"], 2),
    )  # fmt: skip
    inputs = [out.input(t) for t in (second, bias) if t is not None]
    y = out.node("Conv", [y, *inputs], kernel_shape=[1, 1])
    out.result(out.activation(y, call.kept["fused"]))


@exporter("linear")
def _linear(out: Emitter, call: Call) -> None:
    y = out.node("Gemm", [out.input(t) for t in call.inputs if t is not None], transB=1)
    out.result(out.activation(y, call.kept["fused"]))


@exporter("gemm")
def _gemm(out: Emitter, call: Call) -> None:
    turned = {"transA": int(call.kept["transpose_a"]), "transB": int(call.kept["transpose_b"])}
    if any(turned.values()):
        out.result(out.node("Gemm", [out.input(t) for t in call.inputs], **turned))
    else:
        out.result(out.node("MatMul", [out.input(t) for t in call.inputs]))


@exporter("batch_norm", "instance_norm")
def _normalization(out: Emitter, call: Call) -> None:
    if "training" in call.kept:
        _batch_norm(out, call)
        return
    x, gamma, beta = call.inputs
    ones = np.ones(x.shape[1], x.dtype)
    scale = out.constant(ones) if gamma is None else out.input(gamma)
    shift = out.constant(0 * ones) if beta is None else out.input(beta)
    inputs = [out.input(x), scale, shift]
    out.result(out.node("InstanceNormalization", inputs, epsilon=call.kept["eps"]))


def _batch_norm(out: Emitter, call: Call) -> None:
    if call.kept["training"]:
        _refuse(call, "normalisation by the batch has no counterpart in inference")
    x, gamma, beta, residual = call.inputs
    title = f"{call.module}." if call.module else ""
    mean = out.constant(call.kept["mean"], f"{title}running_mean")
    var = out.constant(call.kept["var"], f"{title}running_var")
    inputs = [out.input(x), out.input(gamma), out.input(beta), mean, var]
    how = {"epsilon": call.kept["eps"], "momentum": 1 - call.kept["momentum"]}
    y = out.node("BatchNormalization", inputs, **how)
    if residual is not None:
        y = out.node("Add", [y, out.input(residual)])
    out.result(out.activation(y, call.kept["fused"]))


@exporter("max_pool1d", "max_pool2d")
def _max_pool(out: Emitter, call: Call) -> None:
    kernel, stride, padding, dilation, ceil_mode = call.kept["window"]
    rank = call.result.ndim - 2
    y = out.node(
        "MaxPool", [out.input(call.inputs[0])], kernel_shape=_per_axis(kernel, rank),
        strides=_per_axis(kernel if stride is None else stride, rank),
        dilations=_per_axis(dilation, rank), ceil_mode=int(ceil_mode),
        **_pads(call, padding, rank),
    )  # fmt: skip
    out.result(out.activation(y, call.kept.get("activation")))


@exporter("avg_pool1d", "avg_pool2d")
def _avg_pool(out: Emitter, call: Call) -> None:
    kernel, stride, padding, ceil_mode, count_include_pad, divisor = call.kept["window"]
    if divisor is not None:
        _refuse(call, "divisor_override has no counterpart in ONNX")
    rank = call.result.ndim - 2
    out.result(out.node(
        "AveragePool", [out.input(call.inputs[0])], kernel_shape=_per_axis(kernel, rank),
        strides=_per_axis(kernel if stride is None else stride, rank), ceil_mode=int(ceil_mode),
        count_include_pad=int(count_include_pad), **_pads(call, padding, rank),
    ))  # fmt: skip


@exporter("adaptive_avg_pool1d", "adaptive_avg_pool2d")
def _adaptive(out: Emitter, call: Call) -> None:
    x = call.inputs[0]
    before, after = x.shape[2:], call.result.shape[2:]
    y = out.input(x)
    if set(after) == {1}:
        out.result(out.node("GlobalAveragePool", [y]))
    elif all(n % m == 0 for n, m in zip(before, after, strict=True)):
        kernel = [n // m for n, m in zip(before, after, strict=True)]
        out.result(out.node("AveragePool", [y], kernel_shape=kernel, strides=kernel))
    else:  # windows of several sizes: a matrix for each axis
        means = [_means(n, m).astype(x.dtype) for n, m in zip(before, after, strict=True)]
        y = out.node("MatMul", [y, out.constant(means[-1].T)])
        if len(means) == 2:
            y = out.node("MatMul", [out.constant(means[0]), y])
        out.result(y)


def _means(n: int, m: int) -> np.ndarray:
    """Row i has the mean over the cells from floor(i n / m) to ceil((i + 1) n / m)."""
    matrix = np.zeros((m, n))
    for i in range(m):
        begin, end = i * n // m, -((-(i + 1) * n) // m)
        matrix[i, begin:end] = 1 / (end - begin)
    return matrix


@exporter("interpolate")
def _interpolate(out: Emitter, call: Call) -> None:
    factor, mode, how = (call.kept[key] for key in ("scale_factor", "mode", "how"))
    attributes: dict[str, Any] = {"mode": "nearest", "nearest_mode": "floor"}
    coordinates = "asymmetric"
    if mode == "bilinear":
        attributes = {"mode": "linear"}
        coordinates = "align_corners" if how["align_corners"] else "half_pixel"
    inputs = [out.input(call.inputs[0]), ""]
    if how["size"] is not None:
        inputs += ["", out.ints(*how["size"])]
    else:
        inputs.append(out.constant(np.array(factor, np.float32)))
    out.result(out.node(
        "Resize", inputs, axes=[2, 3], coordinate_transformation_mode=coordinates, **attributes
    ))  # fmt: skip


@exporter("pad")
def _pad(out: Emitter, call: Call) -> None:
    rank = call.result.ndim
    if "ends" in call.kept:
        ends = [(0, 0)] * (rank - 2) + list(call.kept["ends"])
    else:
        ends = list(call.kept["frame"])
    mode = "reflect" if call.kept.get("mode") == "reflect" else "constant"
    sides = [n for n, _ in ends] + [n for _, n in ends]
    out.result(out.node("Pad", [out.input(call.inputs[0]), out.ints(*sides)], mode=mode))


# -- element by element ---------------------------------------------------------------------------


def _same(operator: str) -> Exporter:
    """The operation with the same inputs."""
    return lambda out, call: out.result(out.node(operator, [out.input(t) for t in call.inputs]))


for _kind, _operator in {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "matmul": "MatMul",
    "negative": "Neg", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "abs": "Abs",
    "maximum": "Max", "minimum": "Min", "clone": "Identity",
}.items():  # fmt: skip
    EXPORTERS[_kind] = _same(_operator)


@exporter("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu")
def _activation(out: Emitter, call: Call) -> None:
    slope = tuple(call.kept.get("slope", ())) if call.kind == "leaky_relu" else ()
    out.result(out.activation(out.input(call.inputs[0]), (call.kind, *slope)))


@exporter("power")
def _power(out: Emitter, call: Call) -> None:
    inputs = [out.input(t) for t in call.inputs]
    if len(inputs) == 1:
        inputs.append(out.number(call.kept["exponent"]))
    out.result(out.node("Pow", inputs))


@exporter("normal_distribution")
def _normal_distribution(out: Emitter, call: Call) -> None:
    out.result(_normal(out, out.input(call.inputs[0])))


def _normal(out: Emitter, x: str) -> str:
    """(1 + erf(x / sqrt 2)) / 2; the operator Gelu is younger than the set that is written."""
    y = out.node("Erf", [out.node("Mul", [x, out.number(math.sqrt(0.5))])])
    return out.node("Mul", [out.node("Add", [y, out.number(1)]), out.number(0.5)])


@exporter("clamp")
def _clamp(out: Emitter, call: Call) -> None:
    ends = [call.kept[end] for end in ("min", "max")]
    inputs = ["" if end is None else out.number(end) for end in ends]
    out.result(out.node("Clip", [out.input(call.inputs[0]), *inputs]))


@exporter("where")
def _where(out: Emitter, call: Call) -> None:
    inputs = [out.input(t) for t in call.inputs]
    out.result(out.node("Where", [out.constant(call.kept["condition"]), *inputs]))


@exporter("softmax", "log_softmax")
def _softmax(out: Emitter, call: Call) -> None:
    operator = "Softmax" if call.kind == "softmax" else "LogSoftmax"
    out.result(out.node(operator, [out.input(call.inputs[0])], axis=call.kept["dim"]))


# -- shapes ---------------------------------------------------------------------------------------


@exporter("reshape")
def _reshape(out: Emitter, call: Call) -> None:
    x, shape = call.inputs[0], list(call.result.shape)
    if x.ndim > 1 and shape == [x.shape[0], math.prod(x.shape[1:])] and call.open == (0,):
        out.result(out.node("Flatten", [out.input(x)], axis=1))
        return
    if len(call.open) > 1:
        _refuse(call, "several axes of the result depend on the number of images")
    for axis in call.open:
        shape[axis] = -1
    out.result(out.node("Reshape", [out.input(x), out.ints(*shape)]))


@exporter("permute")
def _permute(out: Emitter, call: Call) -> None:
    out.result(out.node("Transpose", [out.input(call.inputs[0])], perm=list(call.kept["order"])))


@exporter("expand")
def _expand(out: Emitter, call: Call) -> None:
    x, shape = call.inputs[0], call.result.shape
    wanted = list(shape)
    for axis in call.open:
        at = axis - len(shape)
        if x.ndim < -at or x.shape[at] != shape[at]:
            _refuse(call, "the number of images is not known")
        wanted[axis] = 1  # as many as there are
    out.result(out.node("Expand", [out.input(x), out.ints(*wanted)]))


@exporter("cat")
def _cat(out: Emitter, call: Call) -> None:
    axis = len(call.kept["before"])
    out.result(out.node("Concat", [out.input(t) for t in call.inputs], axis=axis))


@exporter("sum")
def _sum(out: Emitter, call: Call) -> None:
    inputs = [out.input(call.inputs[0]), out.ints(*call.kept["axes"])]
    out.result(out.node("ReduceSum", inputs, keepdims=int(call.kept["keepdim"])))


@exporter("max", "min")
def _extreme(out: Emitter, call: Call) -> None:
    operator = "ReduceMax" if call.kind == "max" else "ReduceMin"
    if "axis" not in call.kept:
        out.result(out.node(operator, [out.input(call.inputs[0])], keepdims=0))
        return
    inputs = [out.input(call.inputs[0]), out.ints(call.kept["axis"])]
    out.result(out.node(operator, inputs, keepdims=int(call.kept["keepdim"])))


@exporter("getitem")
def _getitem(out: Emitter, call: Call) -> None:
    x = call.inputs[0]
    other = call.again or call
    y, gone, lists = out.input(x), 0, 0
    parts = zip(_parts(call), _parts(other), strict=True)
    for axis, (part, again) in enumerate(parts):
        at = axis - gone
        if isinstance(part, slice):
            n, m = x.shape[axis], other.inputs[0].shape[axis]
            if part.indices(n) == (0, n, 1) and again.indices(m) == (0, m, 1):
                continue
            if part != again:
                _refuse(call, "an index depends on the number of images")
            step = 1 if part.step is None else part.step
            first, last = (0, _FAR) if step > 0 else (_FAR, -_FAR)
            begin = first if part.start is None else part.start
            end = last if part.stop is None else part.stop
            y = out.node("Slice", [y, *(out.ints(v) for v in (begin, end, at, step))])
        elif isinstance(part, (int, np.integer)) and not isinstance(part, bool):
            if part != again:
                _refuse(call, "an index depends on the number of images")
            y = out.node("Gather", [y, out.constant(np.array(int(part), np.int64))], axis=at)
            gone += 1
        elif isinstance(part, np.ndarray) and part.ndim == 1 and part.dtype.kind in "iu":
            if not np.array_equal(part, again):
                _refuse(call, "an index depends on the number of images")
            lists += 1
            y = out.node("Gather", [y, out.constant(part.astype(np.int64))], axis=at)
        else:
            _refuse(call, f"an index of type {type(part).__name__} is not supported")
    if lists > 1 or (lists and gone):
        _refuse(call, "an index with several lists is not supported")
    out.result(y if y != out.input(x) else out.node("Identity", [y]))


def _parts(call: Call) -> list[Any]:
    """The index of each axis, as far as there are some."""
    index = call.kept["index"]
    parts = [np.asarray(p) if isinstance(p, list) else p
             for p in (index if isinstance(index, tuple) else (index,))]  # fmt: skip
    at = [i for i, p in enumerate(parts) if p is Ellipsis]
    if at:
        missing = call.inputs[0].ndim - (len(parts) - 1)
        parts[at[0] : at[0] + 1] = [slice(None)] * missing
    return parts
