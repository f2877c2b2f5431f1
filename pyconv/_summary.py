"""A model as a table: shapes, parameters, multiply-adds, memory, receptive fields.

The module's name is not that of the function, which ``pyconv.summary`` has to stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyconv import autograd, nn
from pyconv.autograd import Tensor
from pyconv.kernels import _checks as check
from pyconv.nn.convolution import _Convolution
from pyconv.nn.module import Module
from pyconv.nn.normalization import _Normalization

__all__ = ["Layer", "Summary", "summary"]


@dataclass(frozen=True)
class Layer:
    """One row of a `Summary`.

    Attributes
    ----------
    name : str
        The dotted name in the model.
    kind : str
        The layer's class.
    output_shape : tuple of int
    parameters : int
        Of this layer alone; one that runs several times counts in its first row.
    multiply_adds : int
        A multiplication and an addition count as one.
    memory : int
        Bytes of the output.
    receptive_field : tuple of int, or None
        How many cells of the input, along each axis, a cell of the output depends on; padding is
        not cut off. None where the layer's input is no image or sequence.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    memory: int
    receptive_field: tuple[int, ...] | None


@dataclass(frozen=True)
class Summary:
    """What `summary` returns; its str is a table.

    Attributes
    ----------
    layers : tuple of Layer
        In the order in which they run.
    parameters, trainable, multiply_adds : int
        Of the whole model.
    memory : int
        Bytes of all outputs, which training keeps.
    parameter_memory : int
        Bytes of the parameters.
    """

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    parameters: int
    trainable: int
    multiply_adds: int
    memory: int
    parameter_memory: int

    def __str__(self) -> str:
        head = ("layer", "kind", "output", "parameters", "multiply-adds", "memory", "field")
        rows = [
            (
                layer.name,
                layer.kind,
                _times(layer.output_shape),
                f"{layer.parameters:,}" if layer.parameters else "",
                f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
                _bytes(layer.memory),
                "" if layer.receptive_field is None else _times(layer.receptive_field),
            )
            for layer in self.layers
        ]
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

        def line(row: Sequence[str]) -> str:
            cells = [
                cell.ljust(w) if i < 3 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ]
            return "  ".join(cells).rstrip()

        rule = "-" * (sum(widths) + 2 * len(widths) - 2)
        return "\n".join(
            [
                f"{self.name}, input {_times(self.input_shape)}",
                rule,
                line(head),
                rule,
                *map(line, rows),
                rule,
                f"parameters: {self.parameters:,} ({self.trainable:,} trainable), "
                f"{_bytes(self.parameter_memory)}",
                f"multiply-adds: {self.multiply_adds:,}",
                f"outputs of all layers: {_bytes(self.memory)}",
            ]
        )


@dataclass(frozen=True)
class _Field:
    """How a tensor sees the input: cells it depends on, and the step between neighbours."""

    size: tuple[float, ...]
    step: tuple[float, ...]
    flat: tuple[int, ...] = ()  # the sides of the plane, once it is flattened


def summary(model: Module, input_shape: Sequence[int]) -> Summary:
    """Run a model once on zeros, and say what each of its layers does.

    Parameters
    ----------
    model : Module
        Runs in inference mode; its own mode is kept.
    input_shape : sequence of int
        N×C×H×W, N×C×L or N×F; without N for one sample.

    Returns
    -------
    Summary
        Its ``layers`` are the modules without submodules, in the order in which they run. Printed,
        it is a table.

    Raises
    ------
    TypeError, ValueError
        No Module, no shape, or one that the model can't take.

    Notes
    -----
    Multiply-adds of a convolution are Cout × OH × OW × Cin / groups × KH × KW for each sample, of a
    transposed one the same with the input's plane, of a dense layer In × Out; additions of biases,
    norms, pools and activations are not counted.

    Receptive fields follow r' = r + (k - 1) d j and j' = j s for a window of k cells, dilation d
    and stride s, from r = j = 1 (Araujo, Norris and Sim, Computing receptive fields of
    convolutional neural networks, 2019). A dense layer on a flattened plane is a window as large
    as the plane. Where branches meet, the largest counts.

    Examples
    --------
    >>> import pyconv
    >>> from pyconv import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
    >>> table = pyconv.summary(net, (1, 28, 28))
    >>> table.parameters, table.multiply_adds, table.layers[-1].receptive_field
    (40, 24336, (4, 4))
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: model must be a Module, got {type(model).__name__}")
    shape = _with_batch(model, _shape(input_shape))
    x = Tensor(np.zeros(shape, _dtype(model)), requires_grad=True)
    rank = max(len(shape) - 2, 0)
    tracer = _Tracer(x, _Field((1.0,) * rank, (1.0,) * rank))
    handles = [
        module.register_forward_hook(tracer.hook(name))
        for name, module in model.named_modules()
        if not any(True for _ in module.children())
    ]
    modes = [(m, m.training) for m in model.modules()]
    frozen = [p for p in model.parameters() if not p.requires_grad]
    model.eval()
    try:
        with autograd.enable_grad():  # the tape tells what was computed from what
            model(x)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    parameters = list(model.parameters())
    return Summary(
        name=getattr(model, "architecture", {}).get("name", type(model).__name__),
        input_shape=shape,
        layers=tuple(tracer.layers),
        parameters=sum(p.data.size for p in parameters),
        trainable=sum(p.data.size for p in parameters) - sum(p.data.size for p in frozen),
        multiply_adds=sum(layer.multiply_adds for layer in tracer.layers),
        memory=sum(layer.memory for layer in tracer.layers),
        parameter_memory=sum(p.data.nbytes for p in parameters),
    )


class _Tracer:
    """Hooks that write down a row for each layer that runs."""

    def __init__(self, x: Tensor, field: _Field) -> None:
        self.layers: list[Layer] = []
        self._fields: dict[int, _Field] = {id(x): field}
        self._kept: list[Any] = [x]  # so that no number is given to another object
        self._counted: set[int] = set()

    def hook(self, name: str) -> Any:
        def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            y = output[0] if isinstance(output, tuple) else output
            if not isinstance(y, Tensor):  # sizes that a loaded graph computes
                return
            field = self._after(module, self._before(inputs[0]), inputs[0], y)
            self._kept.append(y)
            self._fields[id(y)] = field
            if y._node is not None:
                self._kept.append(y._node)
                self._fields[id(y._node)] = field
            self.layers.append(self._row(name, module, inputs[0], y, field))

        return note

    def _row(self, name: str, module: Module, x: Any, y: Any, field: _Field) -> Layer:
        own = [p for p in module.parameters() if id(p) not in self._counted]
        self._counted.update(map(id, own))
        seen = tuple(math.ceil(r - 1e-9) for r in field.size)
        return Layer(
            name,
            getattr(module, "kind", type(module).__name__),
            tuple(y.shape),
            sum(p.data.size for p in own),
            _multiply_adds(module, x, y),
            y.data.nbytes,
            seen or None,
        )

    def _before(self, x: Any) -> _Field:
        """The field of a tensor: known, or the union over what the tape says it comes from."""
        if id(x) in self._fields:
            return self._fields[id(x)]
        node = getattr(x, "_node", None)
        return self._of_node(node, {}) or next(iter(self._fields.values()))

    def _of_node(self, node: Any, seen: dict[int, _Field | None]) -> _Field | None:
        if node is None:
            return None
        if id(node) in self._fields:
            return self._fields[id(node)]
        if id(node) not in seen:
            seen[id(node)] = None
            found = [self._of_node(e, seen) for e in getattr(node, "edges", ())]
            seen[id(node)] = _union([f for f in found if f is not None])
        return seen[id(node)]

    def _after(self, module: Module, field: _Field, x: Any, y: Any) -> _Field:
        rank = len(field.size)
        if not rank:
            return field
        if isinstance(module, nn.Flatten):
            return _Field(field.size, field.step, tuple(x.shape[2:])) if x.ndim > 2 else field
        if isinstance(module, nn.Linear):
            plane = field.flat
            return _window(field, plane, (1,) * rank, (1,) * rank) if plane else field
        if isinstance(module, nn.DepthwiseSeparableConv2d):
            module = module.depthwise
        if isinstance(module, (nn.ConvTranspose2d, nn.Upsample)):
            # Backwards: k / s cells of the input meet in one of the output, steps shrink by s.
            scale = tuple(b / a for a, b in zip(x.shape[2:], y.shape[2:], strict=True))
            cells = (2 if getattr(module, "mode", "") == "bilinear" else 1,) * rank
            if isinstance(module, nn.ConvTranspose2d):
                scale = tuple(float(s) for s in module.stride)
                span = zip(module.kernel_size, module.dilation, module.stride, strict=True)
                cells = tuple(math.ceil(((k - 1) * d + 1) / s) for k, d, s in span)
            wide = _window(field, cells, (1,) * rank, (1,) * rank)
            steps = zip(field.step, scale, strict=True)
            return _Field(wide.size, tuple(j / s for j, s in steps))
        if isinstance(module, nn.AdaptiveAvgPool2d):
            sides = list(zip(x.shape[2:], y.shape[2:], strict=True))
            kernel = tuple(math.ceil(a / b) for a, b in sides)
            return _window(field, kernel, tuple(a / b for a, b in sides), (1,) * rank)
        if hasattr(module, "kernel_size") and hasattr(module, "stride"):
            dilation = _per_axis(getattr(module, "dilation", 1), rank)
            kernel = _per_axis(module.kernel_size, rank)
            return _window(field, kernel, _per_axis(module.stride, rank), dilation)
        return field


def _window(field: _Field, kernel: Any, stride: Any, dilation: Any) -> _Field:
    size = [
        r + (k - 1) * d * j
        for r, j, k, d in zip(field.size, field.step, kernel, dilation, strict=True)
    ]
    return _Field(tuple(size), tuple(j * s for j, s in zip(field.step, stride, strict=True)))


def _union(fields: list[_Field]) -> _Field | None:
    if not fields:
        return None
    return _Field(
        tuple(map(max, zip(*(f.size for f in fields), strict=True))),
        tuple(map(max, zip(*(f.step for f in fields), strict=True))),
        fields[0].flat,
    )


def _multiply_adds(module: Module, x: Any, y: Any) -> int:
    if isinstance(module, _Convolution):
        plane = x if module.transposed else y  # where a kernel is laid at every cell
        channels = y.shape[1] if module.transposed else x.shape[1]
        return int(
            plane.data.size * channels // module.groups * math.prod(module.kernel_size)
        )  # fmt: skip
    if isinstance(module, nn.Linear):
        return int(y.data.size * module.in_features)
    return 0


def _per_axis(value: Any, rank: int) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,) * rank


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TypeError(f"summary: input_shape must be a tuple of ints, got {check.kind(value)}")
    if not value:
        raise ValueError("summary: input_shape must not be empty")
    return tuple(check.integer("summary", "input_shape", n, 1) for n in value)


def _with_batch(model: Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """With N, if it was left out: the first layer that knows its rank decides."""
    if len(shape) == 1:
        return (1, *shape)
    for module in model.modules():
        rank = None
        if isinstance(module, _Convolution):
            rank = module.rank + 2
        elif isinstance(module, _Normalization):
            rank = min(module.ranks)
        elif isinstance(module, nn.Linear):
            rank = 2
        if rank is not None:
            flattened = rank == 2 and any(isinstance(m, nn.Flatten) for m in model.modules())
            return (1, *shape) if len(shape) == (3 if flattened else rank - 1) else shape
    return shape


def _dtype(model: Module) -> Any:
    return next((p.dtype for p in model.parameters()), np.dtype(np.float32))


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
