"""ONNX files as Modules."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from pyconv import nn
from pyconv.io import onnx_layers as layers
from pyconv.io import onnx_resize, onnx_values
from pyconv.io.files import path_of
from pyconv.io.onnx_graph import Built, Graph, Node
from pyconv.nn.module import Module

_OLDEST = 9  # opset
_STANDARD = ("", "ai.onnx")  # the domain of the operators of ONNX itself
# Whose initializers are learned; those of other operators (scales, ends, ...) are constants.
_TRAINED = ("Gemm", "MatMul", "Add", "Mul", "PRelu", "LayerNormalization")

OPERATORS: dict[str, Callable[[Node], Built]] = {
    "Conv": layers.conv,
    "ConvTranspose": layers.conv_transpose,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    "BatchNormalization": layers.batch_normalization,
    "InstanceNormalization": layers.instance_normalization,
    "LayerNormalization": layers.layer_normalization,
    "LRN": layers.lrn,
    "Dropout": layers.dropout,
    "MaxPool": layers.max_pool,
    "AveragePool": layers.average_pool,
    "GlobalAveragePool": layers.global_average_pool,
    "GlobalMaxPool": layers.global_max_pool,
    "Relu": layers.activation(nn.ReLU),
    "Sigmoid": layers.activation(nn.Sigmoid),
    "Tanh": layers.activation(nn.Tanh),
    "Identity": layers.activation(nn.Identity),
    "LeakyRelu": layers.leaky_relu,
    "Gelu": layers.gelu,
    "Clip": layers.clip,
    "Softmax": layers.softmax,
    "LogSoftmax": layers.softmax,
    **onnx_values.BUILDERS,
    **onnx_resize.BUILDERS,
}


def load_onnx(path_or_bytes: Any) -> Module:
    """Read an ONNX file as a network that runs, trains further, and has gradients to its input.

    Parameters
    ----------
    path_or_bytes : str, path or bytes
        The file, or its content. Operator set 9 or later; weights in the file itself, as float32
        or float64.

    Returns
    -------
    Module
        In inference mode, called with the graph's inputs in order. Its submodules have the nodes'
        names, as `features` takes them; those of ``Conv``, ``Gemm``, ``BatchNormalization``, ...
        are layers of `nn` with their parameters. Other initializers of floats are parameters
        where they are multiplied or added, under their own names with ``_`` for dots, and else
        buffers.

    Raises
    ------
    ImportError
        Without the package onnx.
    FileNotFoundError
        There is no such file.
    TypeError
        Neither a path nor bytes.
    ValueError
        No ONNX file, or a damaged one; an operator, an attribute or a type that is not supported,
        which the message names with its node; missing initializers, values in other files, weights
        that are not finite.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import pyconv
    >>> from pyconv import models
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.onnx")
    ...     pyconv.save_onnx(models.lenet5(), path, (1, 28, 28))
    ...     net = pyconv.load_onnx(path)
    >>> net(np.zeros((5, 1, 28, 28), np.float32)).shape
    (5, 10)
    """
    onnx = needs_onnx("load_onnx")
    if isinstance(path_or_bytes, (bytes, bytearray, memoryview)):
        name, content = "bytes", bytes(path_or_bytes)
    elif isinstance(path_or_bytes, (str, os.PathLike)):
        name = path_of("load_onnx", path_or_bytes)
        with open(name, "rb") as file:
            content = file.read()
    else:
        raise TypeError(
            f"load_onnx: path_or_bytes must be a path or bytes, got {type(path_or_bytes).__name__}"
        )
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # google.protobuf's, whose class depends on its version
        raise ValueError(f"load_onnx: {name} is no readable ONNX file: {error}") from None
    if not model.graph.output or not model.opset_import:
        raise ValueError(f"load_onnx: {name} is no readable ONNX file: it has no graph")
    try:
        return _graph(onnx, model).eval()
    except (TypeError, AttributeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(f"load_onnx: {name} is damaged: {error}") from None


def needs_onnx(function: str) -> Any:
    """The package onnx, or an ImportError that says how to get it."""
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError:
        raise ImportError(f'{function}: needs onnx: pip install "pyconv[onnx]"') from None
    return onnx


def _graph(onnx: Any, model: Any) -> Graph:
    opset = next((o.version for o in model.opset_import if o.domain in _STANDARD), 0)
    if opset < _OLDEST:
        raise ValueError(f"load_onnx: opset must be {_OLDEST} or later, got {opset}")
    graph = model.graph
    if graph.sparse_initializer:
        raise ValueError("load_onnx: sparse initializers are not supported")
    constants = {tensor.name: _array(onnx, tensor) for tensor in graph.initializer}
    initial = set(constants)
    inputs = {value.name: _shape(value) for value in graph.input if value.name not in initial}
    outputs = tuple(value.name for value in graph.output)
    nodes = []
    for i, proto in enumerate(graph.node):
        if proto.op_type == "Constant" and proto.domain in _STANDARD:
            constants[proto.output[0]] = _constant(onnx, proto)
        elif (
            proto.op_type == "Identity"
            and proto.domain in _STANDARD
            and (proto.input and proto.input[0] in constants and proto.output)
        ):  # by which exporters write equal initializers once
            constants[proto.output[0]] = constants[proto.input[0]]
            initial.update(proto.output if proto.input[0] in initial else ())
        else:
            nodes.append((proto.name or f"{proto.op_type}_{i}", proto))
    used = {*outputs, *(value for _, proto in nodes for value in proto.input)}
    known = {*inputs, *constants}
    titles = _Titles()
    steps: list[Any] = []
    trained: set[str] = set()
    for name, proto in nodes:
        title = titles.take(name)
        if proto.domain not in _STANDARD or proto.op_type not in OPERATORS:
            operator = ".".join(filter(None, (proto.domain, proto.op_type)))
            raise ValueError(f"load_onnx: node {title!r}: operator {operator} is not supported")
        attributes = {a.name: _attribute(onnx, a) for a in proto.attribute}
        node = Node(
            title, proto.op_type, list(proto.input), list(proto.output), attributes, constants,
            opset,
        )  # fmt: skip
        for value in node.inputs:
            if value and value not in known:
                node.refuse(f"its input {value!r} is neither an initializer nor computed before")
        _check_signature(onnx, node, proto)
        module, values = _build(node)
        made = tuple(node.outputs)
        if node.kind != "Split":  # of others only the first is computed: no indices, no masks
            for value in made[1:]:
                if value in used:
                    node.refuse(f"its output {value!r} is not supported")
            made = made[:1]
        for value in made:
            if value in known:
                node.refuse(f"its output {value!r} exists already")
        known.update(made)
        if node.kind in _TRAINED:
            trained.update(_learned(node, values, initial))
        steps.append((title, module, values, made))
    for value in outputs:
        if value not in known - {""}:
            raise ValueError(f"load_onnx: no node computes the output {value!r}")
    return Graph(inputs, outputs, steps, constants, trained)


def _build(node: Node) -> tuple[Module, tuple[str, ...]]:
    """The node's module, and the values that it takes when it runs."""
    try:
        built = OPERATORS[node.kind](node)
    except (TypeError, IndexError, ValueError) as error:
        if str(error).startswith("load_onnx: "):
            raise
        node.refuse(str(error))
    node.check_attributes()
    values = node.inputs if built.inputs is None else [node.inputs[k] for k in built.inputs]
    while values and not values[-1]:
        values = values[:-1]
    return built.module, tuple(values)


def _learned(node: Node, values: tuple[str, ...], initial: set[str]) -> set[str]:
    """Those among the values that are parameters: initializers of more than one float."""
    found = set()
    for k, value in enumerate(values):
        array = node.constant(k)
        if value in initial and array is not None and array.dtype.kind == "f" and array.size > 1:
            node.weight(k)
            found.add(value)
    return found


def _check_signature(onnx: Any, node: Node, proto: Any) -> None:
    """The node has the inputs and outputs that its operator needs, and attributes of its types."""
    try:
        schema = onnx.defs.get_schema(proto.op_type, node.opset, "")
    except onnx.defs.SchemaError:
        node.refuse(f"there is no such operator in opset {node.opset}")
    for what, names, least, most in (
        ("inputs", node.inputs, schema.min_input, schema.max_input),
        ("outputs", node.outputs, schema.min_output, schema.max_output),
    ):
        if not least <= len(names) <= most:
            node.refuse(f"expected {least} to {most} {what}, got {len(names)}")
        if "" in names[:least]:
            node.refuse(f"one of its first {least} {what} is left out")
    for attribute in proto.attribute:
        known = schema.attributes.get(attribute.name)
        if known is not None and known.type.value != attribute.type:
            node.refuse(f"attribute {attribute.name!r} has a wrong type")
    for name, known in schema.attributes.items():
        if known.required and all(a.name != name for a in proto.attribute):
            node.refuse(f"attribute {name!r} is missing")


class _Titles:
    """Names for modules: none is another's, or the beginning of another's."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._beginnings: set[str] = set()
        self._reserved = {*dir(Graph), *vars(Graph({}, (), [], {}, set()))}

    def take(self, name: str) -> str:
        """The name itself, or one like it where that can't be."""
        parts = [part or "_" for part in name.split(".")]
        parts = [f"{part}_" if part in self._reserved else part for part in parts]
        if self._clashes(parts):
            parts = ["_".join(parts)]
        while self._clashes(parts):
            parts[-1] += "_"
        self._taken.add(".".join(parts))
        self._beginnings.update(_beginnings(parts))
        return ".".join(parts)

    def _clashes(self, parts: list[str]) -> bool:
        title = ".".join(parts)
        return (
            title in self._taken
            or title in self._beginnings
            or any(begin in self._taken for begin in _beginnings(parts))
        )


def _beginnings(parts: list[str]) -> list[str]:
    return [".".join(parts[:i]) for i in range(1, len(parts))]


def _shape(value: Any) -> tuple[Any, ...] | None:
    """Numbers, and names of what may have any size; None where the rank is not known."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else d.dim_param or "?"
        for d in kind.shape.dim
    )


def _array(onnx: Any, tensor: Any) -> np.ndarray:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise ValueError(
            f"load_onnx: initializer {tensor.name!r} lies in another file, which is not supported; "
            "save the model with all data in one file"
        )
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # of several classes, by the type of the data
        raise ValueError(
            f"load_onnx: initializer {tensor.name!r} of shape {tuple(tensor.dims)} is damaged: "
            f"{error}"
        ) from None
    if array.dtype.kind not in "biuf" or array.dtype == np.float16:
        raise ValueError(
            f"load_onnx: initializer {tensor.name!r} has type {array.dtype}, which is not "
            "supported; convert the model to float32"
        )
    return array


def _constant(onnx: Any, proto: Any) -> np.ndarray:
    for attribute in proto.attribute:
        value = _attribute(onnx, attribute)
        if attribute.name == "value":
            return value
        if attribute.name in ("value_float", "value_floats"):
            return np.array(value, np.float32)
        if attribute.name in ("value_int", "value_ints"):
            return np.array(value, np.int64)
    raise ValueError(f"load_onnx: node {proto.name!r} (Constant): its value is not supported")


def _attribute(onnx: Any, proto: Any) -> Any:
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return _array(onnx, value)
    if proto.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return tuple(value)
    return value
