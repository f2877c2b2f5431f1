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
# Whose initializers are learned; those of other operators (scales, ends, ...) are constants.
_TRAINED = ("Gemm", "MatMul", "Add", "Mul", "PRelu")

OPERATORS: dict[str, Callable[[Node], Built]] = {
    "Conv": layers.conv,
    "ConvTranspose": layers.conv_transpose,
    "Gemm": layers.gemm,
    "MatMul": layers.matmul,
    "BatchNormalization": layers.batch_normalization,
    "InstanceNormalization": layers.instance_normalization,
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
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < _OLDEST:
        raise ValueError(f"load_onnx: opset must be {_OLDEST} or later, got {opset}")
    graph = model.graph
    if graph.sparse_initializer:
        raise ValueError("load_onnx: sparse initializers are not supported")
    constants: dict[str, np.ndarray] = {}
    for tensor in graph.initializer:
        constants[tensor.name] = _array(onnx, tensor)
    initial = set(constants)
    inputs = {value.name: _shape(value) for value in graph.input if value.name not in constants}
    nodes = []
    for i, proto in enumerate(graph.node):
        if proto.op_type == "Constant" and proto.domain in ("", "ai.onnx"):
            constants[proto.output[0]] = _constant(onnx, proto)
        else:
            nodes.append((i, proto))
    known = {"", *inputs, *constants}
    steps: list[tuple[str, Module, tuple[str, ...], tuple[str, ...]]] = []
    trained: set[str] = set()
    taken: set[str] = set()
    for i, proto in nodes:
        title = _title(proto.name or f"{proto.op_type}_{i}", taken)
        node = Node(
            title, proto.op_type, list(proto.input), list(proto.output),
            {a.name: _attribute(onnx, a) for a in proto.attribute}, constants, opset,
        )  # fmt: skip
        if proto.domain not in ("", "ai.onnx") or proto.op_type not in OPERATORS:
            domain = "" if proto.domain in ("", "ai.onnx") else f"{proto.domain}."
            raise ValueError(
                f"load_onnx: node {title!r}: operator {domain}{proto.op_type} is not supported"
            )
        for value in proto.input:
            if value not in known:
                node.refuse(f"its input {value!r} is neither an initializer nor computed before")
        _check_signature(onnx, node, proto)
        try:
            built = OPERATORS[proto.op_type](node)
        except (TypeError, IndexError, ValueError) as error:
            if str(error).startswith("load_onnx: "):
                raise
            node.refuse(str(error))
        node.check_attributes()
        made = tuple(proto.output)
        if set(made) & known - {""}:
            node.refuse(f"its output {made[0]!r} exists already")
        known.update(made)
        taken_inputs = built.inputs
        values = node.inputs if taken_inputs is None else [node.inputs[k] for k in taken_inputs]
        while values and not values[-1]:
            values.pop()
        for k, value in enumerate(values):
            if value in initial and constants[value].dtype.kind == "f":
                if proto.op_type in _TRAINED and constants[value].size > 1:
                    node.weight(k)
                    trained.add(value)
        steps.append((title, built.module, tuple(values), made))
    missing = [value.name for value in graph.output if value.name not in known - {""}]
    if missing:
        raise ValueError(f"load_onnx: no node computes the output {missing[0]!r}")
    outputs = tuple(value.name for value in graph.output)
    return Graph(inputs, outputs, steps, constants, trained)


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


def _title(name: str, taken: set[str]) -> str:
    """A name for a module, which no other has, nor is part of another's."""
    parts = [part or "_" for part in name.split(".")]
    if any(hasattr(Module, part) or part in Module().__dict__ for part in parts):
        parts = [f"{part}_" for part in parts]

    def clashes(title: str) -> bool:
        return any(
            title == t or title.startswith(f"{t}.") or t.startswith(f"{title}.") for t in taken
        )

    title = ".".join(parts)
    if clashes(title):
        title = title.replace(".", "_")
    while clashes(title):
        title += "_"
    taken.add(title)
    return title


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
