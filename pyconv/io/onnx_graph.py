"""A loaded graph as a Module: its nodes are modules, its values Tensors or arrays of ints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np

from pyconv.autograd import Tensor
from pyconv.functional._common import as_tensor
from pyconv.nn.fusion import run
from pyconv.nn.module import Module
from pyconv.nn.parameter import Parameter


class Node:
    """What a builder is told of a node.

    Attributes
    ----------
    name, kind : str
        Its name, and the name of its operator.
    inputs, outputs : list of str
        Names of values; an empty one is an input that is left out.
    opset : int
    """

    def __init__(
        self,
        name: str,
        kind: str,
        inputs: list[str],
        outputs: list[str],
        attributes: dict[str, Any],
        constants: dict[str, np.ndarray],
        opset: int,
    ) -> None:
        self.name, self.kind, self.opset = name, kind, opset
        self.inputs, self.outputs = inputs, outputs
        self._attributes = attributes
        self._constants = constants
        self._seen: set[str] = set()

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default."""
        self._seen.add(name)
        return self._attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.inputs) and bool(self.inputs[index])

    def constant(self, index: int) -> np.ndarray | None:
        """The value of an input that is known before anything runs; None of any other."""
        return self._constants.get(self.inputs[index]) if self.has(index) else None

    def weight(self, index: int, *ranks: int) -> np.ndarray:
        """An input that must be known and of floating-point numbers."""
        value = self.constant(index)
        if value is None:
            self.refuse(f"input {index} must be an initializer or a constant")
        if value.dtype not in (np.float32, np.float64):
            self.refuse(f"input {index} must be float32 or float64, got {value.dtype}")
        if ranks and value.ndim not in ranks:
            wanted = " or ".join(map(str, ranks))
            self.refuse(f"input {index} must have {wanted} axes, got shape {value.shape}")
        bad = np.count_nonzero(~np.isfinite(value))
        if bad:
            self.refuse(f"initializer {self.inputs[index]!r} has {bad} values that are not finite")
        return value

    def check_attributes(self) -> None:
        """Refuse those that nobody asked for: they would be ignored."""
        for name in self._attributes:
            if name not in self._seen:
                self.refuse(f"attribute {name!r} is not supported")

    def refuse(self, why: str) -> NoReturn:
        """An error that names the node."""
        raise ValueError(f"load_onnx: node {self.name!r} ({self.kind}): {why}")


class Built(NamedTuple):
    """A node's module, and which of its inputs the module takes when it runs."""

    module: Module
    inputs: tuple[int, ...] | None = None  # None: all


class Operation(Module):
    """A function of Tensors and arrays, with fixed options."""

    def __init__(self, kind: str, function: Callable[..., Any], /, **options: Any) -> None:
        super().__init__()
        self.kind = kind
        self._function = function
        self._options = options

    def forward(self, *inputs: Any) -> Any:
        return self._function(*inputs, **self._options)

    def extra_repr(self) -> str:
        shown = [f"{k}={v!r}" for k, v in self._options.items() if np.ndim(v) < 2]
        return ", ".join([self.kind, *shown])


class Step(NamedTuple):
    """Modules that run one after the other; all but the first take the output of the one before."""

    names: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Graph(Module):
    """A network that `load_onnx` has read.

    Called with the graph's inputs in order; one output is a Tensor, several are a tuple.

    Attributes
    ----------
    input_names, output_names : tuple of str
    metadata : dict
        ``input_shape`` (C×H×W), where the graph has one input of such a fixed shape.
    """

    def __init__(
        self,
        inputs: dict[str, tuple[Any, ...] | None],
        outputs: tuple[str, ...],
        steps: list[tuple[str, Module, tuple[str, ...], tuple[str, ...]]],
        constants: dict[str, np.ndarray],
        trained: set[str],
    ) -> None:
        super().__init__()
        self.input_names, self.output_names = tuple(inputs), outputs
        self._shapes = dict(inputs)
        only = next(iter(inputs.values())) if len(inputs) == 1 else None
        known = only is not None and len(only) == 4 and all(isinstance(n, int) for n in only[1:])
        # Not through Module.__setattr__: it is neither parameter nor submodule.
        self.__dict__["metadata"] = {"input_shape": list(only[1:])} if known and only else {}
        used = {value for _, _, names, _ in steps for value in names} | set(outputs)
        self._numbers: dict[str, np.ndarray] = {}  # sizes, axes, ...: not for a device
        self._tensors: dict[str, str] = {}  # value: name of the parameter or buffer
        for name, module, _, _ in steps:
            _register(self, name, module)
        for value, array in constants.items():
            if value in used:
                self._keep(value, array, value in trained)
        self._steps = _chains(steps, outputs)
        self._last = {v: i for i, step in enumerate(self._steps) for v in step.inputs}

    def _keep(self, value: str, array: np.ndarray, trained: bool) -> None:
        if array.dtype.kind != "f":
            self._numbers[value] = array
            return
        name = value.replace(".", "_") or "_"
        while hasattr(self, name):
            name += "_"
        if trained:
            self.register_parameter(name, Parameter(array.copy()))
        else:
            self.register_buffer(name, array.copy())
        self._tensors[value] = name

    def forward(self, *inputs: Any) -> Any:
        if len(inputs) != len(self.input_names):
            raise ValueError(
                f"Graph: expected {len(self.input_names)} inputs "
                f"({', '.join(self.input_names)}), got {len(inputs)}"
            )
        values: dict[str, Any] = dict(self._numbers)
        values.update({value: getattr(self, name) for value, name in self._tensors.items()})
        for name, x in zip(self.input_names, inputs, strict=True):
            values[name] = self._input(name, x)
        for i, step in enumerate(self._steps):
            arguments = [values[name] if name else None for name in step.inputs]
            modules = [self.get_submodule(name) for name in step.names]
            try:
                if len(modules) > 1 and len(arguments) == 1:
                    y = run(modules, arguments[0])
                else:
                    y = modules[0](*arguments)
                    y = run(modules[1:], y) if len(modules) > 1 else y
            except (AttributeError, IndexError, KeyError) as error:  # of a shape that it can't have
                raise ValueError(f"Graph: node {' or '.join(step.names)}: {error}") from error
            found = y if isinstance(y, tuple) else (y,)
            values.update(zip(step.outputs, found, strict=True))
            for name in step.inputs:
                if self._last[name] == i and name not in self.output_names:
                    values.pop(name, None)  # its memory is needed no more
        results = tuple(values[name] for name in self.output_names)
        return results[0] if len(results) == 1 else results

    def sequences(self) -> list[tuple[str, ...]]:
        """Names of nodes that run one after the other, each alone using what the one before
        gives."""
        return [step.names for step in self._steps]

    def _input(self, name: str, x: Any) -> Tensor:
        t = as_tensor("Graph", name, x)
        wanted = self._shapes[name]
        if wanted is not None and (
            len(wanted) != t.ndim
            or any(isinstance(w, int) and w != n for w, n in zip(wanted, t.shape, strict=True))
        ):
            shape = "×".join(str(w) for w in wanted)
            raise ValueError(f"Graph: {name} must have shape {shape}, got {t.shape}")
        return t


def _register(graph: Module, name: str, module: Module) -> None:
    """Under its dotted name, in modules that are only there to hold others."""
    *way, last = name.split(".")
    holder = graph
    for part in way:
        found = holder._modules.get(part)
        if found is None:
            found = Module()
            holder.register_module(part, found)
        holder = found
    holder.register_module(last, module)


def _chains(
    steps: list[tuple[str, Module, tuple[str, ...], tuple[str, ...]]], outputs: tuple[str, ...]
) -> list[Step]:
    """Nodes that alone use what the node before gives are joined to it, so that they can be fused;
    see `pyconv.nn.fusion`."""
    uses: dict[str, int] = {}
    for value in [v for _, _, inputs, _ in steps for v in inputs] + list(outputs):
        uses[value] = uses.get(value, 0) + 1
    chains: list[Step] = []
    made_by: dict[str, int] = {}
    for name, _, inputs, made in steps:
        at = made_by.get(inputs[0]) if len(inputs) == 1 and uses[inputs[0]] == 1 else None
        if at is not None and len(made) == 1 and len(chains[at].outputs) == 1:
            chains[at] = Step((*chains[at].names, name), chains[at].inputs, made)
        else:
            at = len(chains)
            chains.append(Step((name,), inputs, made))
        made_by.update(dict.fromkeys(made, at))
    return chains


def numbers(node: str, what: str, value: Any) -> np.ndarray:
    """Sizes, axes, ...: whole numbers that don't depend on what the network computes."""
    if isinstance(value, Tensor):
        raise ValueError(
            f"load_onnx: node {node!r}: {what} is computed from the image, which is not supported"
        )
    return np.asarray(value)
