"""Networks as ONNX files: a forward pass is traced, and each operation on it written as nodes.

`pyconv.autograd.record` tells of every operation its name, its inputs and the function that
computes its gradient; what else is to be known (strides, axes, ...) is what that function keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyconv import autograd
from pyconv._summary import _dtype, _with_batch
from pyconv.autograd import Tensor
from pyconv.io.files import atomic_write, path_of
from pyconv.io.onnx_exporters import EXPORTERS, Call, Emitter
from pyconv.io.onnx_read import needs_onnx
from pyconv.nn.module import Module

_OPSET = 18  # the first whose Resize takes sizes without the batch's
_IR = 8  # of the file format, which goes with it
_BATCH = 2  # of the first pass: 1 could be mistaken for an axis that is broadcast


def save_onnx(model: Module, path: Any, input_shape: Any) -> None:
    """Write a network to an ONNX file (operator set 18), as a whole or not at all.

    The network runs in inference mode (its own mode is kept), and what it computes from its input
    is written down. It runs twice, for two numbers of images, so that their number stays open;
    where the second pass is refused, it is that of the first. What Python decides on the way is
    decided for good.

    Parameters
    ----------
    model : Module
    path : str or path
    input_shape : tuple of int, or array, or tuple of arrays
        N×C×H×W, N×C×L or N×F, without N for one sample, as for `summary`; or inputs to run with.

    Raises
    ------
    ImportError
        Without the package onnx.
    TypeError, ValueError
        No Module or shape; an operation without a counterpart in ONNX, which the message names; an
        output that doesn't depend on the input.
    OSError
        The file can't be written; what was there before is still there.

    Examples
    --------
    >>> import os, tempfile
    >>> import pyconv
    >>> from pyconv import models
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pyconv.save_onnx(models.lenet5(), os.path.join(folder, "net.onnx"), (1, 28, 28))
    """
    onnx = needs_onnx("save_onnx")
    name = path_of("save_onnx", path)
    if not isinstance(model, Module):
        raise TypeError(f"save_onnx: model must be a Module, got {type(model).__name__}")
    if any(not isinstance(t.data, np.ndarray) for t in model._state().values()):
        raise TypeError('save_onnx: model must be on the CPU; model.to("cpu") moves it')
    inputs = _inputs(model, input_shape)
    calls, outputs = _trace(model, inputs)
    open_axes = _open_axes(model, inputs, calls)
    emitter = Emitter(onnx, {id(t): key for key, t in model._state().items()})
    graph_inputs = []
    for i, x in enumerate(inputs):
        title = "input" if i == 0 else f"input_{i}"
        emitter.names[id(x)] = title
        graph_inputs.append(emitter.value_info(title, x, (0,) if open_axes else ()))
    for call in _needed(calls, outputs):
        export = EXPORTERS.get(call.kind)
        if export is None:
            where = f" (in {call.module})" if call.module else ""
            raise ValueError(f"save_onnx: {call.kind}{where} has no counterpart in ONNX")
        emitter.call = call
        export(emitter, call)
    graph_outputs = []
    for i, y in enumerate(outputs):
        if id(y) not in emitter.names:
            raise ValueError("save_onnx: an output of the model doesn't depend on its input")
        title = "output" if i == 0 else f"output_{i}"
        emitter.call = Call("output", y, (), {})
        emitter.node("Identity", [emitter.names[id(y)]], [title])
        graph_outputs.append(emitter.value_info(title, y, open_axes.get(id(y), ())))
    graph = onnx.helper.make_graph(
        emitter.nodes, type(model).__name__, graph_inputs, graph_outputs, emitter.initializers
    )
    proto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", _OPSET)], ir_version=_IR,
        producer_name="pyconv",
    )  # fmt: skip
    try:
        content = proto.SerializeToString(deterministic=True)
    except Exception as error:  # protobuf takes no more than 2 GiB
        raise ValueError(f"save_onnx: the model can't be written in one file: {error}") from None
    atomic_write(name, content)


def _inputs(model: Module, given: Any) -> list[Tensor]:
    if isinstance(given, (tuple, list)) and given and all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in given
    ):  # fmt: skip
        if min(given) < 1:
            raise ValueError(f"save_onnx: input_shape must have sizes from 1 on, got {given}")
        _, *rest = _with_batch(model, tuple(map(int, given)))
        return [Tensor(np.zeros((_BATCH, *rest), _dtype(model)), requires_grad=True)]
    arrays = given if isinstance(given, (tuple, list)) and given else (given,)
    found = []
    for x in arrays:
        array = x.data if isinstance(x, Tensor) else x
        if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
            raise TypeError(
                "save_onnx: input_shape must be a tuple of ints or arrays of float32 or float64, "
                f"got {type(x).__name__}"
            )
        found.append(Tensor(array, requires_grad=True))
    return found


def _trace(model: Module, inputs: list[Tensor]) -> tuple[list[Call], list[Tensor]]:
    """All operations of a forward pass, each with the innermost module that returned its result."""
    calls: list[Call] = []
    by_result: dict[int, Call] = {}

    def listen(
        kind: str, y: Tensor, arguments: Any, backward: Callable[..., Any], details: dict[str, Any]
    ) -> None:
        call = Call(kind, y, tuple(arguments), {**_kept(backward), **details})
        calls.append(call)
        by_result[id(y)] = call

    def hook(name: str) -> Any:
        def note(module: Module, arguments: Any, y: Any) -> None:
            call = by_result.get(id(y))
            if call is not None and not call.module:
                call.module = name

        return note

    # A module with a hook is run by itself: nothing is fused, every layer is a node.
    handles = [m.register_forward_hook(hook(name)) for name, m in model.named_modules()]
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        with autograd.enable_grad(), autograd.listening(listen):
            y = model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    outputs = list(y) if isinstance(y, (tuple, list)) else [y]
    for t in outputs:
        if not isinstance(t, Tensor):
            raise TypeError(
                f"save_onnx: outputs of the model must be Tensors, got {type(t).__name__}"
            )
    return calls, outputs


def _open_axes(model: Module, inputs: list[Tensor], calls: list[Call]) -> dict[int, Any]:
    """For each result the axes whose lengths go by the number of images, which a second pass with
    one more tells; nothing where the model refuses that. The calls are told theirs."""
    more = [np.concatenate([x.data, x.data[:1]]) for x in inputs if x.ndim]
    try:
        again, _ = _trace(model, [Tensor(x, requires_grad=True) for x in more])
    except (ValueError, TypeError):
        return {}
    if [call.kind for call in again] != [call.kind for call in calls]:
        raise ValueError("save_onnx: what the model does depends on the number of images")
    computed = {id(call.result) for call in calls} | {id(x) for x in inputs}
    for call, other in zip(calls, again, strict=True):
        for a, b in zip(call.inputs, other.inputs, strict=True):
            if a is not None and id(a) not in computed and not _same(a.data, b.data):
                raise ValueError(
                    f"save_onnx: {call.kind}: a constant depends on the number of images"
                )
        call.again = other
        sizes = zip(call.result.shape, other.result.shape, strict=True)
        call.open = tuple(i for i, (a, b) in enumerate(sizes) if a != b)
    return {**{id(x): (0,) for x in inputs}, **{id(call.result): call.open for call in calls}}


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two passes have the same constant; of other shapes the exporter judges."""
    return a.shape != b.shape or np.array_equal(a, b, equal_nan=True)


def _kept(function: Any) -> dict[str, Any]:
    """What a function keeps of its surroundings, and what the functions in there keep."""
    found: dict[str, Any] = {}
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    for name, cell in zip(code.co_freevars if code else (), cells or (), strict=True):
        found[name] = cell.cell_contents
    for name in ("forward", "scatter"):
        if callable(found.get(name)):
            found.update(_kept(found[name]))
    return found


def _needed(calls: list[Call], outputs: list[Tensor]) -> list[Call]:
    """Those on which an output depends."""
    wanted = {id(y) for y in outputs}
    found = []
    for call in reversed(calls):
        if id(call.result) in wanted:
            found.append(call)
            wanted.update(id(t) for t in call.inputs if t is not None)
    return found[::-1]
