"""pyconv itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import pyconv
from bench import networks
from pyconv import bench, functional, optim

Calls = dict[str, Callable[[], Any]]


def set_threads(count: int) -> None:
    pyconv.set_num_threads(count)


def version() -> str:
    return f"pyconv {pyconv.__version__}"


def as_array(result: Any) -> np.ndarray:
    return np.asarray(result.data if isinstance(result, pyconv.Tensor) else result)


def layer(problem: bench.Convolution, direction: str) -> Calls:
    """Plain, and forward at batch 1 with a packed weight, too."""
    first, second = bench.operands(problem, direction)
    calls: Calls = {"plain": lambda: bench.run(problem, direction, first, second)}
    if direction == "forward" and problem.batch == 1:
        packed = bench.pack(problem, second)
        calls["packed"] = lambda: bench.run(problem, direction, first, packed)
    return calls


def inference(name: str, folder: str, batch: int) -> Calls:
    model = networks.ours(name, folder).eval()
    x, _ = networks.data(name, batch)

    def call() -> Any:
        with pyconv.no_grad():
            return model(x)

    return {"eval": call}


def step(name: str, folder: str, batch: int, layouts: list[str] | None = None) -> Calls:
    model = networks.ours(name, folder).train()
    optimizer = optim.SGD(model.parameters(), lr=networks.RATE, momentum=0.9)
    x, y = networks.data(name, batch)

    def call() -> Any:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return np.atleast_1d(np.asarray(loss.data))

    return {"step": call}
