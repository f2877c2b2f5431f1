"""PyTorch, eager: both layouts; its weights packed as torch.compile's freezing does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench import networks
from pyconv.bench import Convolution, operands

Calls = dict[str, Callable[[], Any]]
LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


def set_threads(count: int) -> None:
    torch.set_num_threads(count)


def version() -> str:
    return f"PyTorch {torch.__version__}"


def as_array(result: torch.Tensor) -> np.ndarray:
    return result.detach().numpy()


def layer(problem: Convolution, direction: str) -> Calls:
    arrays = [np.ascontiguousarray(a) for a in operands(problem, direction)]
    p = problem
    more = [p.output_padding] * 2
    geometry = (p.stride, p.padding, p.dilation)
    calls: Calls = {}
    for name, layout in LAYOUTS.items():
        first, second = (torch.from_numpy(a).to(memory_format=layout) for a in arrays)
        if direction == "forward":

            def call(x: torch.Tensor = first, w: torch.Tensor = second) -> torch.Tensor:
                return torch.convolution(x, w, None, *geometry, p.transposed, more, p.groups)
        else:
            # Of the other operand only the shape is read.
            shape = p.input_shape() if direction == "input" else p.weight_shape
            other = torch.empty(shape).to(memory_format=layout)
            x, w = (other, second) if direction == "input" else (second, other)
            mask = [direction == "input", direction == "weight", False]

            def call(
                dy: torch.Tensor = first,
                x: torch.Tensor = x,
                w: torch.Tensor = w,
                mask: list[bool] = mask,
            ) -> torch.Tensor:
                found = torch.ops.aten.convolution_backward(
                    dy, x, w, None, *geometry, p.transposed, more, p.groups, mask
                )
                return found[0 if mask[0] else 1]

        calls[name] = call
    if direction == "forward" and p.batch == 1 and not p.transposed:
        calls["packed"] = _packed(p, *(torch.from_numpy(a) for a in arrays))
    return calls


@torch.no_grad()
def _packed(p: Convolution, x: torch.Tensor, w: torch.Tensor) -> Callable[[], torch.Tensor]:
    x = x.to(memory_format=torch.channels_last)
    ready = torch.ops.mkldnn._reorder_convolution_weight(
        w, p.padding, p.stride, p.dilation, p.groups, list(x.shape)
    )
    convolve = torch.ops.mkldnn._convolution_pointwise
    return lambda: convolve(
        x, ready, None, p.padding, p.stride, p.dilation, p.groups, "none", [], ""
    )


def inference(name: str, folder: str, batch: int) -> Calls:
    x, _ = networks.data(name, batch)
    calls: Calls = {}
    for layout, format in LAYOUTS.items():
        model = networks.theirs(name, folder).eval().to(memory_format=format)
        pictures = torch.from_numpy(x).to(memory_format=format)

        @torch.no_grad()
        def call(model: Any = model, pictures: torch.Tensor = pictures) -> torch.Tensor:
            return model(pictures)

        calls[layout] = call
    return calls


@torch.no_grad()
def exact(name: str, folder: str, batch: int) -> np.ndarray:
    """In float64."""
    x, _ = networks.data(name, batch)
    return networks.theirs(name, folder).eval().double()(torch.from_numpy(x).double()).numpy()


def step(name: str, folder: str, batch: int, layouts: list[str] | None = None) -> Calls:
    x, y = networks.data(name, batch)
    labels = torch.from_numpy(y)
    calls: Calls = {}
    for layout in layouts or LAYOUTS:
        format = LAYOUTS[layout]
        model = networks.theirs(name, folder).train().to(memory_format=format)
        optimizer = torch.optim.SGD(model.parameters(), lr=networks.RATE, momentum=0.9)
        pictures = torch.from_numpy(x).to(memory_format=format)

        def call(
            model: Any = model, optimizer: Any = optimizer, pictures: torch.Tensor = pictures
        ) -> torch.Tensor:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(pictures), labels)
            loss.backward()
            optimizer.step()
            return loss.detach().reshape(1)

        calls[layout] = call
    return calls


def export(name: str, folder: str, batch: int) -> None:
    networks.export(name, folder, batch)
