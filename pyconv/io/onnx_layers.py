"""ONNX operators that are layers: with parameters, with windows, activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pyconv import functional as F  # noqa: N812
from pyconv import nn
from pyconv.autograd import Tensor
from pyconv.io.onnx_graph import Built, Node, Operation
from pyconv.nn.module import Module

Pads = tuple[tuple[int, int], ...]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation of images, sequences or features."""

    ranks = (2, 3, 4)


class InstanceNorm(nn.InstanceNorm2d):
    """Instance normalisation of images or sequences."""

    ranks = (3, 4)


def _fill(module: Module, **arrays: np.ndarray | None) -> Module:
    """The module with these values, in their dtype."""
    for name, array in arrays.items():
        if array is None:
            continue
        own = getattr(module, name)
        if own.shape != array.shape:
            raise ValueError(f"{name} must have shape {own.shape}, got {array.shape}")
        own.data = own.data.astype(array.dtype, order="K")
        own.data[...] = array
    return module


def _rank(node: Node, rank: int) -> int:
    if rank not in (1, 2):
        node.refuse(f"only 1-D and 2-D windows are supported, this one has {rank} axes")
    return rank


def _axes(node: Node, name: str, rank: int, default: int = 1) -> tuple[int, ...]:
    """An attribute with a whole number for each axis."""
    value = tuple(node.attribute(name) or (default,) * rank)
    if len(value) != rank or not all(isinstance(n, int) for n in value):
        node.refuse(f"{name} must have {rank} entries, got {value}")
    return value


def _padding(node: Node, rank: int, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> Any:
    """As the functions of pyconv take it."""
    way = node.attribute("auto_pad", "NOTSET")
    pads = tuple(node.attribute("pads") or (0,) * (2 * rank))
    if way == "VALID":
        return 0
    if way == "SAME_UPPER":
        return "same"
    if way == "SAME_LOWER":
        if _axes(node, "strides", rank) != (1,) * rank:
            node.refuse("auto_pad SAME_LOWER is supported for strides of 1 only")
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((n - n // 2, n // 2) for n in total)
    if way != "NOTSET":
        node.refuse(f"auto_pad {way!r} is not supported")
    if len(pads) != 2 * rank or min(pads, default=0) < 0:
        node.refuse(f"pads must have {2 * rank} entries from 0 on, got {pads}")
    return tuple((pads[i], pads[i + rank]) for i in range(rank))


def _filters(node: Node) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Weight, bias and the number of axes of an image."""
    weight = node.weight(1, 3, 4)
    bias = node.weight(2, 1) if node.has(2) else None
    rank = weight.ndim - 2
    if _axes(node, "kernel_shape", rank, 0) not in (weight.shape[2:], (0,) * rank):
        node.refuse(f"kernel_shape is not that of the weight, {weight.shape}")
    return weight, bias, rank


def conv(node: Node) -> Built:
    weight, bias, rank = _filters(node)
    kernel = weight.shape[2:]
    stride, dilation = _axes(node, "strides", rank), _axes(node, "dilations", rank)
    groups = node.attribute("group", 1)
    layer = nn.Conv2d if rank == 2 else nn.Conv1d
    padding = _padding(node, rank, kernel, dilation)
    module = layer(
        weight.shape[1] * groups, weight.shape[0], kernel, stride, padding, dilation, groups,
        bias is not None,
    )  # fmt: skip
    return Built(_fill(module, weight=weight, bias=bias), (0,))


def conv_transpose(node: Node) -> Built:
    weight, bias, rank = _filters(node)
    kernel = weight.shape[2:]
    if node.attribute("output_shape") is not None:
        node.refuse("attribute 'output_shape' is not supported")
    if node.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        node.refuse(f"auto_pad {node.attribute('auto_pad')!r} is not supported")
    stride, dilation = _axes(node, "strides", rank), _axes(node, "dilations", rank)
    groups = node.attribute("group", 1)
    layer = nn.ConvTranspose2d if rank == 2 else nn.ConvTranspose1d
    module = layer(
        weight.shape[0], weight.shape[1] * groups, kernel, stride,
        _padding(node, rank, kernel, dilation), _axes(node, "output_padding", rank, 0), groups,
        bias is not None, dilation,
    )  # fmt: skip
    return Built(_fill(module, weight=weight, bias=bias), (0,))


def gemm(node: Node) -> Built:
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    a_turned, b_turned = node.attribute("transA", 0), node.attribute("transB", 0)
    bias, known = node.constant(2), node.constant(1) is not None
    fits = not node.has(2) or (bias is not None and bias.size == max(bias.shape, default=1))
    if known and fits and (a_turned, alpha) == (0, 1.0) and (beta == 1.0 or not node.has(2)):
        weight = node.weight(1, 2)
        weight = weight if b_turned else weight.T
        if bias is not None:
            bias = np.broadcast_to(node.weight(2).reshape(-1), weight.shape[:1])
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
        return Built(_fill(layer, weight=weight, bias=bias), (0,))
    return Built(
        Operation(
            "Gemm", _gemm, alpha=alpha, beta=beta, a_turned=bool(a_turned), b_turned=bool(b_turned)
        )
    )


def _gemm(
    a: Tensor,
    b: Tensor,
    c: Any = None,
    *,
    alpha: float,
    beta: float,
    a_turned: bool,
    b_turned: bool,
) -> Tensor:
    y = (a.T if a_turned else a) @ (b.T if b_turned else b)
    y = y if alpha == 1 else y * alpha
    if c is None:
        return y
    return y + (c if beta == 1 else c * beta)


def matmul(node: Node) -> Built:
    b = node.constant(1)
    if b is not None and b.ndim == 2 and b.dtype.kind == "f":
        weight = node.weight(1).T
        return Built(_fill(nn.Linear(weight.shape[1], weight.shape[0], False), weight=weight), (0,))
    return Built(Operation("MatMul", _matmul))


def _matmul(a: Any, b: Any) -> Any:
    return a @ b


def batch_normalization(node: Node) -> Built:
    if node.attribute("training_mode", 0) or len(node.outputs) > 1:
        node.refuse("training mode is not supported; export the network in inference mode")
    if node.attribute("spatial", 1) != 1:
        node.refuse("attribute 'spatial' must be 1")
    scale, shift, mean, var = (node.weight(i, 1) for i in range(1, 5))
    eps, momentum = node.attribute("epsilon", 1e-5), node.attribute("momentum", 0.9)
    layer = BatchNorm(len(scale), eps, 1 - momentum)
    return Built(_fill(layer, weight=scale, bias=shift, running_mean=mean, running_var=var), (0,))


def instance_normalization(node: Node) -> Built:
    scale, shift = node.weight(1, 1), node.weight(2, 1)
    layer = InstanceNorm(len(scale), node.attribute("epsilon", 1e-5), affine=True)
    return Built(_fill(layer, weight=scale, bias=shift), (0,))


def layer_normalization(node: Node) -> Built:
    node.attribute("stash_type")  # of sums of 16-bit numbers
    axis, eps = node.attribute("axis", -1), node.attribute("epsilon", 1e-5)
    return Built(Operation(node.kind, _layer_norm, axis=axis, eps=eps))


def _layer_norm(x: Tensor, scale: Any, shift: Any = None, *, axis: int, eps: float) -> Tensor:
    axes = tuple(range(axis % x.ndim, x.ndim))
    deviation = x - x.mean(axes, keepdim=True)
    variance = (deviation * deviation).mean(axes, keepdim=True)
    y = deviation * (variance + eps) ** -0.5 * scale
    return y if shift is None else y + shift


def dropout(node: Node) -> Built:
    ratio = node.attribute("ratio", 0.5)
    known = node.constant(1)
    if known is not None:
        ratio = float(known)
    training = node.constant(2)
    if node.has(2) and (training is None or bool(training)):
        node.refuse("training mode is not supported; export the network in inference mode")
    return Built(nn.Dropout(ratio), (0,))


# -- windows --------------------------------------------------------------------------------------


def max_pool(node: Node) -> Built:
    kernel = tuple(node.attribute("kernel_shape") or ())
    rank = _rank(node, len(kernel))
    node.attribute("storage_order")  # of the indices
    dilation = _axes(node, "dilations", rank)
    layer = nn.MaxPool2d if rank == 2 else nn.MaxPool1d
    padding = _padding(node, rank, kernel, dilation)
    stride = _axes(node, "strides", rank)
    ceil_mode = bool(node.attribute("ceil_mode", 0))
    return Built(layer(kernel, stride, padding, dilation, ceil_mode=ceil_mode))


def average_pool(node: Node) -> Built:
    kernel = tuple(node.attribute("kernel_shape") or ())
    rank = _rank(node, len(kernel))
    if _axes(node, "dilations", rank) != (1,) * rank:
        node.refuse("dilations other than 1 are not supported")
    layer = nn.AvgPool2d if rank == 2 else nn.AvgPool1d
    padding = _padding(node, rank, kernel, (1,) * rank)
    stride = _axes(node, "strides", rank)
    ceil_mode = bool(node.attribute("ceil_mode", 0))
    return Built(
        layer(kernel, stride, padding, ceil_mode, bool(node.attribute("count_include_pad", 0)))
    )


def global_average_pool(node: Node) -> Built:
    return Built(Operation(node.kind, _global_mean))


def _global_mean(x: Tensor) -> Tensor:
    if x.ndim == 4:
        return F.adaptive_avg_pool2d(x, 1)
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


def global_max_pool(node: Node) -> Built:
    return Built(Operation(node.kind, _global_max))


def _global_max(x: Tensor) -> Tensor:
    shape = (*x.shape[:2], *(1,) * (x.ndim - 2))
    return x.reshape(*x.shape[:2], -1).max(2).values.reshape(*shape)


def lrn(node: Node) -> Built:
    how = {name: node.attribute(name, default) for name, default in
           (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0), ("size", None))}  # fmt: skip
    if how["size"] is None:
        node.refuse("attribute 'size' is missing")
    return Built(Operation("LRN", _lrn, **how))


def _lrn(x: Tensor, *, alpha: float, beta: float, bias: float, size: int) -> Tensor:
    before = (size - 1) // 2
    squares = F.pad(x * x, (0, 0) * (x.ndim - 2) + (before, size - 1 - before))
    window = squares[:, : x.shape[1]]
    for i in range(1, size):
        window = window + squares[:, i : i + x.shape[1]]
    return x * (window * (alpha / size) + bias) ** -beta


# -- activations ----------------------------------------------------------------------------------


def activation(layer: type[Module]) -> Any:
    """A builder for an activation without settings."""
    return lambda node: Built(layer())


def leaky_relu(node: Node) -> Built:
    return Built(nn.LeakyReLU(node.attribute("alpha", 0.01)))


def gelu(node: Node) -> Built:
    if node.attribute("approximate", "none") == "none":
        return Built(nn.GELU())
    return Built(Operation("Gelu", _gelu_tanh))


def _gelu_tanh(x: Tensor) -> Tensor:
    inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
    return x * (F.tanh(inner) + 1.0) * 0.5


def clip(node: Node) -> Built:
    low, high = node.attribute("min"), node.attribute("max")
    for i in (1, 2):
        if node.has(i) and node.constant(i) is None:
            node.refuse("its ends must be constants")
    if node.has(1):
        low = float(node.constant(1))  # type: ignore[arg-type]
    if node.has(2):
        high = float(node.constant(2))  # type: ignore[arg-type]
    if low == 0 and high == 6:
        return Built(nn.ReLU6(), (0,))
    if low is None and high is None:
        return Built(nn.Identity(), (0,))
    return Built(Operation("Clip", _clip, low=low, high=high), (0,))


def _clip(x: Any, *, low: float | None, high: float | None) -> Any:
    return x.clamp(low, high) if isinstance(x, Tensor) else np.clip(x, low, high)


def softmax(node: Node) -> Built:
    function = F.softmax if node.kind == "Softmax" else F.log_softmax
    if node.opset >= 13:
        layer = nn.Softmax if node.kind == "Softmax" else nn.LogSoftmax
        return Built(layer(node.attribute("axis", -1)))
    return Built(
        Operation(node.kind, _over_the_rest, function=function, axis=node.attribute("axis", 1))
    )


def _over_the_rest(x: Tensor, *, function: Any, axis: int) -> Tensor:
    """Until opset 12: over all axes from `axis` on."""
    rows = math.prod(x.shape[: axis % x.ndim])
    return function(x.reshape(rows, -1), 1).reshape(*x.shape)
