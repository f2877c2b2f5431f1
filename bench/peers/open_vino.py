"""OpenVINO, through the same ONNX models; the package openvino-telemetry must not be there."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

if importlib.util.find_spec("openvino_telemetry"):
    raise ImportError("openvino-telemetry calls a server; uninstall it first")

import numpy as np
import openvino

from bench import networks, onnx_layer
from pyconv.bench import Convolution

_threads = 1


def set_threads(count: int) -> None:
    global _threads
    _threads = count


def version() -> str:
    return f"OpenVINO {openvino.__version__.split('-')[0]}"


def as_array(result: Any) -> np.ndarray:
    return np.array(result)


def _request(model: bytes | str, x: np.ndarray) -> Callable[[], Any]:
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": _threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    x = np.ascontiguousarray(x)
    request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
    output = request.get_output_tensor()

    def call(keep: np.ndarray = x) -> Any:
        request.infer()
        return output.data

    return call


def layer(problem: Convolution, direction: str) -> dict[str, Callable[[], Any]]:
    if direction != "forward" or problem.batch != 1:
        return {}
    model, x = onnx_layer.model(problem)
    return {"latency": _request(model, x)}


def inference(name: str, folder: str, batch: int) -> dict[str, Callable[[], Any]]:
    return {"latency": _request(f"{folder}/{name}.onnx", networks.data(name, batch)[0])}
