"""L-BFGS: steps by a model of the curvature, made from the last steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from pyconv import kernels
from pyconv._frozen import thaw
from pyconv.autograd import array_module, enable_grad
from pyconv.kernels import _checks as check
from pyconv.optim.optimizer import Group, Optimizer, check_state


class Point(NamedTuple):
    """Along the line: the step, and there the loss, the gradient and the slope."""

    t: float
    loss: float
    gradient: Any
    slope: float


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.5).

    All parameters are one vector; there is one group.

    Parameters
    ----------
    params : iterable of Tensor
    lr : float
        Length of a step, where the line search starts.
    max_iter : int
        Iterations of one `step`.
    max_eval : int, optional
        Evaluations of the closure in one `step`; 1.25 `max_iter` by default.
    tolerance_grad, tolerance_change : float
        Stop where no gradient is larger, where parameters and loss change by less.
    history_size : int
        Steps that are remembered.
    line_search_fn : {None, "strong_wolfe"}
        Without, every step has the length `lr`.

    Raises
    ------
    TypeError, ValueError
        Wrong types, several groups, numbers out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn, optim
    >>> p = nn.Parameter(np.array([1.0, -2.0]))
    >>> optimizer = optim.LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (p**4 + p * p).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = optimizer.step(closure)
    >>> bool(abs(p.data).max() < 1e-5)
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if max_eval is None:
            max_eval = check.integer("LBFGS", "max_iter", max_iter, 1) * 5 // 4
        defaults = dict(
            lr=lr,
            max_iter=max_iter,
            max_eval=max_eval,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn=line_search_fn,
        )
        super().__init__(params, defaults)

    def _check(self, group: Group) -> None:
        super()._check(group)
        for name in ("tolerance_grad", "tolerance_change"):
            check.number(self._name, name, group[name], 0.0)
        for name in ("max_iter", "max_eval", "history_size"):
            check.integer(self._name, name, group[name], 1)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(
                'LBFGS: line_search_fn must be None or "strong_wolfe", '
                f"got {group['line_search_fn']!r}"
            )
        if self.param_groups:
            raise ValueError("LBFGS: there can be one group only")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to `max_iter` iterations.

        Parameters
        ----------
        closure : callable
            Sets the gradients to zero, computes the loss with its gradients, and returns it.

        Returns
        -------
        What `closure` returned first.
        """
        if closure is None:
            raise TypeError("LBFGS: step needs a closure that computes the loss and its gradients")
        group = self.param_groups[0]
        self._params = group["params"]
        memory = self.state.setdefault(self._params[0], {})
        if not memory:
            memory.update(func_evals=0, n_iter=0, d=None, t=0.0, old_dirs=[], old_stps=[], H_diag=1)
            memory["prev_flat_grad"] = None

        def evaluate() -> tuple[float, Any]:
            with enable_grad():
                value = closure()
            memory["func_evals"] += 1
            returned.append(value)
            return float(value), self._flat_gradient()

        returned: list[Any] = []
        before = memory["func_evals"]
        loss, g = evaluate()
        for iteration in range(1, group["max_iter"] + 1):
            if _largest(g) <= group["tolerance_grad"]:
                break
            memory["n_iter"] += 1
            d = self._direction(memory, g, group["history_size"])
            first = memory["n_iter"] == 1
            t = min(1.0, 1.0 / float(abs(g).sum())) * group["lr"] if first else group["lr"]
            slope, last_loss = _dot(g, d), loss
            memory["prev_flat_grad"], memory["d"] = g, d
            if slope > -group["tolerance_change"]:
                memory["t"] = t
                break
            start = [p.data.copy(order="K") for p in self._params]
            if group["line_search_fn"] is not None:

                def along(t: float, start: list[Any] = start, d: Any = d) -> Point:
                    self._place(start, t, d)
                    value, gradient = evaluate()
                    return Point(t, value, gradient, _dot(gradient, d))

                end = strong_wolfe(along, t, Point(0.0, loss, g, slope), _largest(d))
                t, loss, g = end.t, end.loss, end.gradient
                self._place(start, t, d)
            else:
                self._place(start, t, d)
                if iteration < group["max_iter"]:
                    loss, g = evaluate()
            memory["t"] = t
            if (
                memory["func_evals"] - before >= group["max_eval"]
                or _largest(d * t) <= group["tolerance_change"]
                or abs(loss - last_loss) < group["tolerance_change"]
            ):
                break
        return returned[0]

    def _direction(self, memory: dict[str, Any], g: Any, history_size: int) -> Any:
        """Minus the gradient times the inverse Hessian, as the remembered steps have it."""
        if memory["prev_flat_grad"] is None:
            return -g
        y, s = g - memory["prev_flat_grad"], memory["d"] * memory["t"]
        curvature = _dot(y, s)
        if curvature > 1e-10:
            memory["old_dirs"] = [*memory["old_dirs"], y][-history_size:]
            memory["old_stps"] = [*memory["old_stps"], s][-history_size:]
            memory["H_diag"] = curvature / _dot(y, y)
        pairs = list(zip(memory["old_dirs"], memory["old_stps"], strict=True))
        q, factors = -g, []
        for y, s in reversed(pairs):
            factors.append(_dot(s, q) / _dot(y, s))
            q = q - factors[-1] * y
        d = q * memory["H_diag"]
        for (y, s), factor in zip(pairs, reversed(factors), strict=True):
            d = d + s * (factor - _dot(y, d) / _dot(y, s))
        return d

    def _flat_gradient(self) -> Any:
        xp = array_module(self._params[0].data)
        return xp.concatenate([
            xp.zeros(p.numel(), p.dtype) if p.grad is None else p.grad.data.reshape(-1)
            for p in self._params
        ])  # fmt: skip

    def _place(self, start: list[Any], t: float, d: Any) -> None:
        """Set the parameters to start + t d."""
        offset = 0
        for p, array in zip(self._params, start, strict=True):
            thaw(p.data)[...] = array + t * d[offset : offset + p.numel()].reshape(p.shape)
            offset += p.numel()

    def state_dict(self) -> dict[str, Any]:
        """See `Optimizer.state_dict`; lists are copied."""
        state = super().state_dict()
        for values in state["state"].values():
            values.update({k: list(v) for k, v in values.items() if isinstance(v, list)})
        return state

    def load_state_dict(self, state_dict: Any) -> None:
        """See `Optimizer.load_state_dict`."""
        check_state(state_dict)
        flat = {
            number: {k: _Opaque(v) for k, v in values.items()}
            for number, values in state_dict["state"].items()
        }
        super().load_state_dict({**state_dict, "state": flat})
        for values in self.state.values():
            values.update({k: v.value for k, v in values.items()})


class _Opaque:
    """A value that is taken over as it is: the vectors have no parameter's shape."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _largest(x: Any) -> float:
    return float(abs(x).max()) if x.size else 0.0


def strong_wolfe(
    along: Callable[[float], Point],
    t: float,
    origin: Point,
    longest: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance: float = 1e-9,
    max_steps: int = 25,
) -> Point:
    """A step that lowers the loss enough (by `c1`) and flattens it enough (by `c2`).

    Nocedal and Wright (2006), algorithms 3.5 and 3.6, steps by cubic interpolation.

    Parameters
    ----------
    along : callable
        The point at a step.
    t : float
        The first step to try.
    origin : Point
        At the step 0.
    longest : float
        The largest element of the direction.
    """

    def too_high(point: Point) -> bool:
        return not point.loss <= origin.loss + c1 * point.t * origin.slope  # a NaN is

    def flat(point: Point) -> bool:
        return abs(point.slope) <= -c2 * origin.slope

    before, point = origin, along(t)
    steps = 0
    while True:  # go on until a minimum is enclosed
        if steps == max_steps:
            return point if point.loss < origin.loss else origin
        if too_high(point) or (steps > 0 and point.loss >= before.loss):
            low = 0
            break
        if flat(point):
            return point
        if point.slope >= 0:
            low = 1
            break
        bounds = point.t + 0.01 * (point.t - before.t), 10 * point.t
        before, point = point, along(cubic_minimum(before, point, bounds))
        steps += 1
    ends = [before, point]  # a minimum lies between; `low` is the lowest that is not too high
    stalled = False
    while steps < max_steps and abs(ends[1].t - ends[0].t) * longest >= tolerance:
        t = cubic_minimum(ends[0], ends[1])
        first, last = sorted((ends[0].t, ends[1].t))
        margin = 0.1 * (last - first)
        near = min(last - t, t - first) < margin
        if near and (stalled or t >= last or t <= first):  # move away from the end
            t = last - margin if abs(t - last) < abs(t - first) else first + margin
            near = False
        stalled = near
        point = along(t)
        steps += 1
        if too_high(point) or point.loss >= ends[low].loss:
            ends[1 - low] = point
        elif flat(point):
            return point
        else:
            if point.slope * (ends[1 - low].t - ends[low].t) >= 0:
                ends[1 - low] = ends[low]
            ends[low] = point
    return ends[low]


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two points and their slopes is smallest, within the bounds."""
    first, last = sorted((a.t, b.t)) if bounds is None else bounds
    if a.t > b.t:
        a, b = b, a
    if a.t == b.t:
        return a.t
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (first + last) / 2
    d2 = math.sqrt(square)
    with np.errstate(all="ignore"):
        divisor = b.slope - a.slope + 2 * d2
        if divisor == 0:
            return (first + last) / 2
        t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / divisor)
    if not math.isfinite(t):
        return (first + last) / 2
    return min(max(t, first), last)


def _dot(a: Any, b: Any) -> float:
    """The dot product of two vectors."""
    if isinstance(a, np.ndarray):
        return float(a @ b)
    return float(kernels.gemm(a[None], b[:, None])[0, 0])  # CuPy's would ask another library
