"""First-order optimizers: each step is one pass over parameters, gradients and state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pyconv import kernels
from pyconv.autograd import Tensor, array_module
from pyconv.kernels import _checks as check
from pyconv.optim.optimizer import Group, Optimizer, arrays, gradients, like


class SGD(Optimizer):
    """Gradient descent, with momentum (Polyak, 1964) or Nesterov's (Sutskever et al., 2013).

    ``v = momentum v + (1 - dampening) g``, then ``p -= lr v``; with Nesterov
    ``p -= lr (g + momentum v)``. The first step sets v = g.

    Parameters
    ----------
    params : iterable of Tensor or of dicts
    lr, momentum, dampening, weight_decay : float
    nesterov : bool
        Needs a momentum and no dampening.

    Raises
    ------
    TypeError, ValueError
        Wrong types, negative numbers, a parameter given twice.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn, optim
    >>> p = nn.Parameter(np.array([1.0]))
    >>> optimizer = optim.SGD([p], lr=0.25)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.item()
    0.5
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )
        super().__init__(params, defaults)

    def _check(self, group: Group) -> None:
        super()._check(group)
        check.number(self._name, "dampening", group["dampening"])
        if check.boolean(self._name, "nesterov", group["nesterov"]) and (
            group["momentum"] <= 0 or group["dampening"] != 0
        ):
            raise ValueError(f"{self._name}: nesterov needs a momentum and no dampening")

    def _step(self, group: Group, params: list[Tensor]) -> None:
        momenta = None
        if group["momentum"] != 0:
            momenta = [self._momentum(p, group) for p in params]
        names = ("lr", "momentum", "dampening", "nesterov", "weight_decay")
        settings = {name: group[name] for name in names}
        kernels.sgd_step(arrays(params), gradients(params), momenta, **settings)

    def _momentum(self, p: Tensor, group: Group) -> Any:
        state = self.state.setdefault(p, {})
        if state.get("momentum_buffer") is None:
            v = like(p)
            if group["dampening"] != 0 and p.grad is not None:
                # So that momentum v + (1 - dampening) g is g.
                v += p.grad.data
                v += group["weight_decay"] * p.data
                v *= group["dampening"] / group["momentum"]
            state["momentum_buffer"] = v
        return state["momentum_buffer"]


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): steps scaled by running moments of the gradient.

    Parameters
    ----------
    params : iterable of Tensor or of dicts
    lr : float
    betas : (float, float)
        Decay of the first and second moments.
    eps : float
    weight_decay : float
        Times the parameter, added to the gradient.

    Raises
    ------
    TypeError, ValueError
        Wrong types, numbers out of range, a parameter given twice.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn, optim
    >>> p = nn.Parameter(np.array([1.0]))
    >>> optimizer = optim.Adam([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> round(p.item(), 4)
    0.5
    """

    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    def _check(self, group: Group) -> None:
        if not isinstance(group["betas"], (tuple, list)) or len(group["betas"]) != 2:
            raise ValueError(f"{self._name}: betas must be two numbers, got {group['betas']!r}")
        super()._check(group)

    def _step(self, group: Group, params: list[Tensor]) -> None:
        by_step: dict[int, list[Tensor]] = {}  # a parameter frozen for a while counts its own steps
        for p in params:
            state = self.state.setdefault(p, {})
            if not state:
                state.update(step=0, exp_avg=like(p), exp_avg_sq=like(p))
            state["step"] = int(state["step"]) + 1
            by_step.setdefault(state["step"], []).append(p)
        for step, some in by_step.items():
            kernels.adam_step(
                arrays(some),
                gradients(some),
                [self.state[p]["exp_avg"] for p in some],
                [self.state[p]["exp_avg_sq"] for p in some],
                step,
                lr=group["lr"],
                betas=tuple(group["betas"]),
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                decoupled=self._decoupled,
            )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): the parameter shrinks by
    itself, ``p *= 1 - lr weight_decay``. Arguments as `Adam`."""

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)


class RMSprop(Optimizer):
    """RMSprop (Hinton, Lecture 6e, 2012): steps scaled by the running mean of squared gradients.

    Parameters
    ----------
    params : iterable of Tensor or of dicts
    lr : float
    alpha : float
        Decay of the running mean.
    eps, weight_decay, momentum : float
    centered : bool
        Divide by the standard deviation instead of the root mean square (Graves, 2013).

    Raises
    ------
    TypeError, ValueError
        Wrong types, numbers out of range, a parameter given twice.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
        )
        super().__init__(params, defaults)

    def _check(self, group: Group) -> None:
        super()._check(group)
        check.number(self._name, "alpha", group["alpha"], 0.0)
        check.boolean(self._name, "centered", group["centered"])

    def _step(self, group: Group, params: list[Tensor]) -> None:
        with np.errstate(all="ignore"):
            for p, gradient in zip(params, gradients(params), strict=True):
                self._update(group, p, gradient)

    def _update(self, group: Group, p: Tensor, g: Any) -> None:
        xp, alpha = array_module(p.data), float(group["alpha"])
        state = self.state.setdefault(p, {})
        if not state:
            state.update(step=0, square_avg=like(p))
        # Both settings may be switched on between steps.
        if group["momentum"] > 0 and "momentum_buffer" not in state:
            state["momentum_buffer"] = like(p)
        if group["centered"] and "grad_avg" not in state:
            state["grad_avg"] = like(p)
        state["step"] += 1
        if group["weight_decay"] != 0:
            g = g + group["weight_decay"] * p.data
        square = state["square_avg"]
        square *= alpha
        square += (1 - alpha) * (g * g)
        spread = square
        if group["centered"]:
            mean = state["grad_avg"]
            mean += (1 - alpha) * (g - mean)
            spread = square - mean * mean
        step = g / (xp.sqrt(spread) + group["eps"])
        if group["momentum"] > 0:
            v = state["momentum_buffer"]
            v *= group["momentum"]
            v += step
            step = v
        p.data -= group["lr"] * step
