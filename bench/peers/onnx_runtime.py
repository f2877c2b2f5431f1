"""onnxruntime, through ONNX models built here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

from bench import networks, onnx_layer
from pyconv.bench import Convolution

_threads = 1


def set_threads(count: int) -> None:
    global _threads
    _threads = count


def version() -> str:
    return f"onnxruntime {onnxruntime.__version__}"


def as_array(result: Any) -> np.ndarray:
    return np.asarray(result)


def _session(model: bytes | str, x: np.ndarray) -> Callable[[], Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (name,) = [entry.name for entry in session.get_inputs()]
    x = np.ascontiguousarray(x)
    return lambda: session.run(None, {name: x})[0]


def layer(problem: Convolution, direction: str) -> dict[str, Callable[[], Any]]:
    if direction != "forward" or problem.batch != 1:
        return {}
    model, x = onnx_layer.model(problem)
    return {"default": _session(model, x)}


def inference(name: str, folder: str, batch: int) -> dict[str, Callable[[], Any]]:
    return {"default": _session(f"{folder}/{name}.onnx", networks.data(name, batch)[0])}
