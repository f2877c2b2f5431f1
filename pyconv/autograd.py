"""The tape: what was computed from what, and how gradients flow back.

Each operation is a function that computes an array and hands it to `record` together with its
inputs and a function ``backward(dy, needs)``, which maps the gradient of the result to those of the
inputs. Where gradients are wanted, `record` hangs a `Node` on the result; nodes point to the nodes
of their inputs, so that the results of a computation hold its whole graph and nothing else does.

`backward` functions work on Tensors with the same operations as everybody else. While a gradient
is computed recording is off, and they are plain calls of kernels; with ``create_graph=True`` it is
on, they are recorded in turn, and second derivatives exist by construction (Griewank and Walther,
Evaluating Derivatives, 2008).
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from pyconv._tensor import Tensor

Edge = Union["Node", "Tensor"]  # where a gradient goes: an operation, or a leaf
Backward = Callable[..., Sequence[Any]]


class _Mode(threading.local):
    recording = True
    listener: Callable[..., None] | None = None


_mode = _Mode()
_numbers = itertools.count()


class Node:
    """One recorded operation.

    Attributes
    ----------
    number : int
        Counts up, so that a node's number is larger than those of all it was computed from.
    edges : tuple
        For each input the node or the leaf to which its gradient goes; None if it wants none.
    backward : callable or None
        ``backward(dy, needs)``, or ``backward(dy, needs, y)`` where the result y was kept. It holds
        the saved arrays, and is dropped with them as soon as it has run.
    fresh : bool
        The arrays that `backward` returns are new: nobody else holds them.
    """

    __slots__ = ("backward", "edges", "fresh", "name", "number", "output", "retained")

    def __init__(
        self,
        name: str,
        edges: tuple[Edge | None, ...],
        backward: Backward,
        output: Any,
        fresh: bool,
    ) -> None:
        self.name = name
        self.number = next(_numbers)
        self.edges = edges
        self.backward: Backward | None = backward
        self.output = output
        self.fresh = fresh
        self.retained: weakref.ref[Tensor] | None = None

    def gradients(self, dy: Tensor, needs: tuple[bool, ...]) -> Sequence[Any]:
        """The gradients of the inputs, None where not needed."""
        if self.backward is None:
            raise RuntimeError(
                f"backward: the graph of {self.name} was freed by an earlier backward pass; "
                "give retain_graph=True there to walk it twice"
            )
        if self.output is None:
            return self.backward(dy, needs)
        # The result is made anew around its array: had the node kept it, it would hold itself.
        y = Tensor._wrap(self.output)
        y._requires_grad, y._node = True, self
        return self.backward(dy, needs, y)

    def free(self) -> None:
        """Let go of the saved arrays."""
        self.backward = self.output = None


def record(
    name: str,
    y: Any,
    inputs: Sequence[Tensor | None],
    backward: Backward,
    *,
    keep_output: bool = False,
    fresh: bool = False,
    details: dict[str, Any] | None = None,
) -> Tensor:
    """The array `y` as a Tensor, with its history where one is wanted.

    Parameters
    ----------
    name : str
        Of the operation, for messages.
    y : array
        The result.
    inputs : sequence of Tensor or None
        What it was computed from.
    backward : callable
        ``backward(dy, needs)`` returns one gradient (a Tensor) for each input; it may return None
        for those that `needs`, a tuple of bool, does not ask for. With `keep_output` it is
        ``backward(dy, needs, y)``.
    fresh : bool
        Promises that the returned gradients are new arrays, so that they need no copy.
    details : dict, optional
        For `listening`: what the operation was told and `backward` doesn't keep.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.autograd import Tensor, record
    >>> def cube(x):
    ...     return record("cube", x.data**3, (x,), lambda dy, needs: (dy * 3 * x * x,))
    >>> x = Tensor(np.array([2.0]), requires_grad=True)
    >>> cube(x).backward(np.ones(1))
    >>> x.grad
    Tensor([12.])
    """
    result = Tensor._wrap(y)
    if not _mode.recording:
        return result
    if _mode.listener is not None:
        _mode.listener(name, result, inputs, backward, details or {})
    for t in inputs:
        if t is not None and t._requires_grad:
            break
    else:
        return result
    edges = tuple([None if t is None else _edge(t) for t in inputs])
    result.requires_grad = True
    result._node = Node(name, edges, backward, result.data if keep_output else None, fresh)
    return result


def linear_map(
    name: str,
    x: Tensor,
    forward: Callable[[Any], Any],
    adjoint: Callable[[Any], Any],
    fresh: bool = False,
) -> Tensor:
    """A linear function of one array, given with its adjoint: each is the other's gradient."""

    def backward(dy: Tensor, needs: tuple[bool, ...]) -> tuple[Tensor]:
        return (linear_map(f"{name}_backward", dy, adjoint, forward, fresh),)

    return record(name, forward(x.data), (x,), backward, fresh=fresh)


def is_grad_enabled() -> bool:
    """Whether the calling thread records."""
    return _mode.recording


@contextlib.contextmanager
def set_grad_enabled(mode: bool) -> Iterator[None]:
    """Record, or don't, until the block ends, in the calling thread; also a decorator."""
    before = _mode.recording
    _mode.recording = bool(mode)
    try:
        yield
    finally:
        _mode.recording = before


@contextlib.contextmanager
def listening(listener: Callable[..., None]) -> Iterator[None]:
    """Tell ``listener(name, result, inputs, backward, details)`` of every operation that `record`
    sees in the calling thread, until the block ends."""
    before = _mode.listener
    _mode.listener = listener
    try:
        yield
    finally:
        _mode.listener = before


def no_grad() -> contextlib.AbstractContextManager[None]:
    """Nothing is recorded in the calling thread until the block ends; also a decorator.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.autograd import Tensor, no_grad
    >>> x = Tensor(np.ones(2), requires_grad=True)
    >>> with no_grad():
    ...     (x * 2).requires_grad
    False
    """
    return set_grad_enabled(False)


def enable_grad() -> contextlib.AbstractContextManager[None]:
    """Record in the calling thread until the block ends, inside a `no_grad` block."""
    return set_grad_enabled(True)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of outputs with respect to inputs; no ``.grad`` is touched.

    Only what lies between inputs and outputs is computed.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
        Summed, each times its `grad_outputs`.
    inputs : Tensor or sequence of Tensor
        Leaves, or results on the way.
    grad_outputs : Tensor, array or sequence of them, optional
        One for each output; can be left out (or None) for outputs with one element.
    retain_graph : bool, optional
        Keep what was saved for another pass. The default is `create_graph`.
    create_graph : bool
        Record the computation of the gradients, so that they can be differentiated.
    allow_unused : bool
        Return None for an input that no output depends on, instead of raising.

    Returns
    -------
    tuple of Tensor
        One gradient for each input.

    Raises
    ------
    TypeError, ValueError
        Wrong types, shapes or dtypes, or a missing gradient of an output with several elements.
    RuntimeError
        An output or input that requires no gradient, an unused input, or a freed graph.

    Examples
    --------
    >>> import numpy as np
    >>> import pyconv
    >>> x = pyconv.Tensor(np.array(3.0), requires_grad=True)
    >>> (slope,) = pyconv.grad(x**3, x, create_graph=True)
    >>> slope.item(), pyconv.grad(slope, x)[0].item()
    (27.0, 18.0)
    """
    outs, ins = _tensors("grad", "outputs", outputs), _tensors("grad", "inputs", inputs)
    single = grad_outputs is None or not isinstance(grad_outputs, (tuple, list))
    seeds = [grad_outputs] * len(outs) if single and len(outs) == 1 else grad_outputs
    if seeds is None:
        seeds = [None] * len(outs)
    if not isinstance(seeds, (tuple, list)) or len(seeds) != len(outs):
        raise ValueError(f"grad: grad_outputs must have {len(outs)} entries, one for each output")
    for i, t in enumerate(ins):
        if not t.requires_grad:
            raise RuntimeError(f"grad: inputs[{i}] does not require a gradient")
    targets = [_edge(t) for t in ins]
    found = _propagate("grad", outs, seeds, set(targets), retain_graph, create_graph)
    results: list[Tensor | None] = []
    for i, target in enumerate(targets):
        if target not in found and not allow_unused:
            raise RuntimeError(
                f"grad: inputs[{i}] was not used to compute the outputs; "
                "give allow_unused=True to get None for it"
            )
        results.append(found.get(target))
    return tuple(results)


def backward(
    outputs: Tensor | Sequence[Tensor],
    gradients: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradients of outputs to the ``.grad`` of every leaf; see `Tensor.backward`."""
    outs = _tensors("backward", "outputs", outputs)
    seeds = gradients if isinstance(gradients, (tuple, list)) else [gradients] * len(outs)
    found = _propagate("backward", outs, seeds, None, retain_graph, create_graph)
    for leaf, g in found.items():
        _accumulate(leaf, g, create_graph)


def _propagate(
    function: str,
    outputs: Sequence[Tensor],
    seeds: Sequence[Any],
    targets: set[Edge] | None,
    retain_graph: bool | None,
    create_graph: bool,
) -> dict[Any, Tensor]:
    """Walk the graph back from the outputs; the gradients of the targets, or of all leaves.

    Nodes are visited by falling number: when it is a node's turn, all that was computed from it
    has been visited, and its gradient is complete.
    """
    retain = create_graph if retain_graph is None else retain_graph
    found: dict[Any, Tensor] = {}
    pending: dict[Edge, Tensor] = {}
    mine: set[Edge] = set()  # where the pending array is held by nobody else
    queue: list[tuple[int, Node]] = []

    def send(edge: Edge, g: Tensor, fresh: bool) -> None:
        before = pending.get(edge)
        if before is None:
            pending[edge] = g
            if fresh:
                mine.add(edge)
            if isinstance(edge, Node):
                heapq.heappush(queue, (-edge.number, edge))
        elif edge in mine and not create_graph:
            before.data += g.data
        elif fresh and not create_graph:
            g.data += before.data
            pending[edge] = g
            mine.add(edge)
        else:
            pending[edge] = before + g
            mine.add(edge)

    with set_grad_enabled(create_graph):
        roots = [(t, _seed(function, t, g)) for t, g in zip(outputs, seeds, strict=True)]
        for t, g in roots:
            send(_edge(t), g, False)
        wanted = None if targets is None else _leading_to(targets, pending)
        while queue:
            node = heapq.heappop(queue)[1]
            dy = pending.pop(node)
            if node.retained is not None and targets is None:
                _retain(node, dy, create_graph)
            if targets is not None and node in targets:
                found[node] = dy if node in mine else dy.clone()
            if wanted is None:
                needs = tuple([edge is not None for edge in node.edges])
            else:
                needs = tuple([edge is not None and edge in wanted for edge in node.edges])
            if True not in needs:
                continue
            results = node.gradients(dy, needs)
            if not retain:
                node.free()
            for edge, need, result in zip(node.edges, needs, results, strict=True):
                if need and edge is not None and result is not None:
                    send(edge, result, node.fresh and result is not dy)
        for edge, g in pending.items():
            if targets is None or edge in targets:
                # What is handed out belongs to the receiver alone.
                found[edge] = g if edge in mine else g.clone()
    return found


def _leading_to(targets: set[Edge], roots: Any) -> set[Edge]:
    """All nodes and leaves between the roots and the targets, the targets included."""
    nodes: dict[int, Node] = {}
    stack = [edge for edge in roots if isinstance(edge, Node)]
    while stack:
        node = stack.pop()
        if node.number not in nodes:
            nodes[node.number] = node
            stack += [edge for edge in node.edges if isinstance(edge, Node)]
    reached = set(targets)
    for number in sorted(nodes):  # inputs before what was computed from them
        if any(edge in reached for edge in nodes[number].edges):
            reached.add(nodes[number])
    return reached


def _seed(function: str, t: Tensor, g: Any) -> Tensor:
    """The gradient to start from, checked; a one where the output has one element."""
    if not t.requires_grad:
        raise RuntimeError(f"{function}: the output does not require a gradient")
    if g is None:
        if t.data.size != 1:
            raise ValueError(
                f"{function}: an output of shape {t.shape} needs a gradient, "
                "only one with a single element does without"
            )
        xp = array_module(t.data)
        return Tensor._wrap(xp.ones(t.shape, t.dtype))
    g = g if isinstance(g, Tensor) else Tensor(g)
    if g.shape != t.shape:
        raise ValueError(f"{function}: gradient must have shape {t.shape}, got {g.shape}")
    if g.dtype != t.dtype:
        raise TypeError(f"{function}: gradient must be {t.dtype}, got {g.dtype}")
    return g


def _accumulate(t: Tensor, g: Tensor, create_graph: bool) -> None:
    """t.grad += g, in place where nothing is recorded."""
    if t.grad is None:
        t.grad = g
    elif create_graph:
        t.grad = t.grad + g
    else:
        t.grad.data += g.data


def _retain(node: Node, dy: Tensor, create_graph: bool) -> None:
    t = node.retained() if node.retained is not None else None
    if t is not None:
        _accumulate(t, dy if create_graph else dy.detach().clone(), create_graph)


def _edge(t: Tensor) -> Any:
    """Where the gradient of `t` goes, None if it wants none."""
    return t._node if t._node is not None else t if t._requires_grad else None


def _tensors(function: str, argument: str, value: Any) -> list[Tensor]:
    items = list(value) if isinstance(value, (tuple, list)) else [value]
    for item in items:
        if not isinstance(item, Tensor):
            raise TypeError(f"{function}: {argument} must be Tensors, got {type(item).__name__}")
    return items


# The class needs the tape and the tape makes Tensors.
from pyconv._tensor import Tensor, array_module, assign, mover  # noqa: E402
from pyconv._tensor_arithmetic import maximum, minimum, where  # noqa: E402
from pyconv._tensor_shape import cat, stack  # noqa: E402

__all__ = [
    "Node",
    "Tensor",
    "array_module",
    "assign",
    "backward",
    "cat",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "linear_map",
    "listening",
    "maximum",
    "minimum",
    "mover",
    "no_grad",
    "record",
    "set_grad_enabled",
    "stack",
    "where",
]
