"""ncnn, in float32; its files are written here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

from bench import networks
from pyconv.bench import Convolution, operands

_threads = 1


def set_threads(count: int) -> None:
    global _threads
    _threads = count


def version() -> str:
    return f"ncnn {ncnn.__version__}"


def as_array(result: Any) -> np.ndarray:
    return np.array(result)[None]


def _net(param: str, weights: str, x: np.ndarray) -> Callable[[], Any]:
    net = ncnn.Net()
    net.opt.num_threads = _threads
    for name in dir(net.opt):  # float32 throughout
        if name.startswith(("use_fp16", "use_bf16", "use_int8")):
            setattr(net.opt, name, False)
    if net.load_param(param) or net.load_model(weights):
        raise RuntimeError("ncnn could not load the model")
    array = np.ascontiguousarray(x[0])  # a Mat keeps nothing alive
    picture = ncnn.Mat(array).clone()

    def call() -> Any:
        extractor = net.create_extractor()
        extractor.input("x", picture)
        code, y = extractor.extract("y")
        if code:
            raise RuntimeError(f"ncnn: extract returned {code}")
        return y

    return call


def layer(problem: Convolution, direction: str) -> dict[str, Callable[[], Any]]:
    if direction != "forward" or problem.batch != 1:
        return {}
    x, weight = operands(problem, "forward")
    with tempfile.TemporaryDirectory() as folder:
        param, weights = Path(folder) / "layer.param", Path(folder) / "layer.bin"
        line, data = networks.ncnn_convolution(problem, weight, None)
        kind, values = line
        param.write_text(f"7767517\n2 2\nInput input 0 1 x\n{kind} layer 1 1 x y {values}\n")
        weights.write_bytes(data)
        return {"default": _net(str(param), str(weights), x)}


def inference(name: str, folder: str, batch: int) -> dict[str, Callable[[], Any]]:
    x, _ = networks.data(name, batch)
    return {"default": _net(f"{folder}/{name}.param", f"{folder}/{name}.bin", x)}
