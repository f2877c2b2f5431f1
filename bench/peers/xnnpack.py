"""XNNPACK, as LiteRT (once TensorFlow Lite) runs it; the flatbuffers are built here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from pyconv.bench import Convolution, operands

_threads = 1


def set_threads(count: int) -> None:
    global _threads
    _threads = count


def version() -> str:
    from importlib.metadata import version

    return f"XNNPACK of ai-edge-litert {version('ai-edge-litert')}"


def as_array(result: Any) -> np.ndarray:
    (output,) = result.get_output_details()
    return result.get_tensor(output["index"]).transpose(0, 3, 1, 2)


class _Model:
    """A flatbuffer in the making."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.model.subgraphs = [self.graph]
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, shape: Any, array: np.ndarray | None = None) -> int:
        entry = schema.TensorT()
        entry.shape = [int(n) for n in shape]
        entry.name = f"t{len(self.graph.tensors)}"
        whole = array is not None and array.dtype == np.int32
        entry.type = schema.TensorType.INT32 if whole else schema.TensorType.FLOAT32
        if array is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
            entry.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(entry)
        return len(self.graph.tensors) - 1

    def operator(
        self, kind: str, inputs: list[int], output: int, options: Any, version: int
    ) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version = version
        entry = schema.OperatorT()
        entry.opcodeIndex = len(self.model.operatorCodes)
        self.model.operatorCodes.append(code)
        entry.inputs, entry.outputs = inputs, [output]
        entry.builtinOptions = options
        name = type(options).__name__[:-1]
        entry.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        self.graph.operators.append(entry)

    def finish(self, source: int, target: int) -> bytes:
        self.graph.inputs, self.graph.outputs = [source], [target]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _build(p: Convolution, weight: np.ndarray) -> bytes:
    made = _Model()
    n, c, h, w = p.input_shape()
    source = x = made.tensor((n, h, w, c))
    reach = [d * (k - 1) for d, k in zip(p.dilation, p.kernel, strict=True)]
    same = p.stride == (1, 1) and [2 * q for q in p.padding] == reach
    if any(p.padding) and not same:  # XNNPACK makes one of the two
        pads = np.array([[0, 0], [p.padding[0]] * 2, [p.padding[1]] * 2, [0, 0]], np.int32)
        x = made.tensor((n, h + 2 * p.padding[0], w + 2 * p.padding[1], c))
        made.operator("PAD", [source, made.tensor((4, 2), pads)], x, schema.PadOptionsT(), 1)
    depthwise = p.depthwise
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    if depthwise:
        options.depthMultiplier = p.out_channels // p.channels
        array = weight[:, 0].transpose(1, 2, 0)[None]
    else:
        array = weight.transpose(0, 2, 3, 1)
    options.padding = schema.Padding.SAME if same else schema.Padding.VALID
    options.strideH, options.strideW = p.stride
    options.dilationHFactor, options.dilationWFactor = p.dilation
    _, out, oh, ow = p.output_shape()
    y = made.tensor((n, oh, ow, out))
    bias = made.tensor((out,), np.zeros(out, np.float32))
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    made.operator(kind, [x, made.tensor(array.shape, array), bias], y, options, 2)
    return made.finish(source, y)


def layer(problem: Convolution, direction: str) -> dict[str, Callable[[], Any]]:
    """No transposed ones: padding can't be told."""
    if direction != "forward" or problem.batch != 1 or problem.transposed:
        return {}
    x, weight = operands(problem, direction)
    found = litert.Interpreter(model_content=_build(problem, weight), num_threads=_threads)
    found.allocate_tensors()
    (entry,) = found.get_input_details()
    found.set_tensor(entry["index"], np.ascontiguousarray(x.transpose(0, 2, 3, 1)))

    def call() -> Any:
        found.invoke()
        return found

    return {"default": call}


def inference(name: str, folder: str, batch: int) -> dict[str, Callable[[], Any]]:
    """Whole networks would need a converter of their own."""
    return {}
