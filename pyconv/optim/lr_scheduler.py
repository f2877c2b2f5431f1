"""Schedules of the learning rate.

Each ``step()`` computes the next rate from the present one, so that schedules can be chained on
one optimizer; `OneCycleLR` and `ReduceLROnPlateau` are meant to be alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pyconv.autograd import Tensor
from pyconv.kernels import _checks as check
from pyconv.optim.optimizer import Optimizer


class _State:
    """The state of a schedule is all it knows, except the optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """All settings and counts."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict: state_dict must be a mapping, got {type(state_dict).__name__}"
            )
        self.__dict__.update(state_dict)


class LRScheduler(_State):
    """The base of the schedules: counts the steps and sets the rates.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        The number of steps done; -1 starts, and remembers the rates as ``"initial_lr"``.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = _checked(self, optimizer)
        last_epoch = check.integer(type(self).__name__, "last_epoch", last_epoch, -1)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"{type(self).__name__}: last_epoch={last_epoch} needs 'initial_lr' in "
                    f"group {i} of the optimizer"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def step(self) -> None:
        """Go to the next rate; call it after the optimizer's step."""
        self.last_epoch += 1
        rates = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = list(rates)

    def get_lr(self) -> list[float]:
        """The rates at `last_epoch`; each schedule has its own."""
        raise NotImplementedError(f"{type(self).__name__} has no get_lr")

    def get_last_lr(self) -> list[float]:
        """The rates that were set last, one for each group."""
        return list(self._last_lr)

    def _present(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]


class StepLR(LRScheduler):
    """Times `gamma` every `step_size` steps.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn, optim
    >>> optimizer = optim.SGD([nn.Parameter(np.zeros(1))], lr=1.0)
    >>> schedule = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr()
    ...     schedule.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = check.integer("StepLR", "step_size", step_size, 1)
        self.gamma = check.number("StepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if due else lr for lr in self._present()]


class MultiStepLR(LRScheduler):
    """Times `gamma` at each of the `milestones`."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(milestones, Iterable):
            raise TypeError(
                f"MultiStepLR: milestones must be an iterable of ints, "
                f"got {type(milestones).__name__}"
            )
        self.milestones = Counter(
            check.integer("MultiStepLR", "milestones", m, 0) for m in milestones
        )
        self.gamma = check.number("MultiStepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        times = self.milestones[self.last_epoch]
        return [lr * self.gamma**times if times else lr for lr in self._present()]

    def state_dict(self) -> dict[str, Any]:
        """All settings and counts; the milestones as a sorted list."""
        return {**super().state_dict(), "milestones": sorted(self.milestones.elements())}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state_dict)
        self.milestones = Counter(state_dict["milestones"])


class ExponentialLR(LRScheduler):
    """Times `gamma` every step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = check.number("ExponentialLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [lr * self.gamma if self.last_epoch > 0 else lr for lr in self._present()]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to `eta_min` in `T_max` steps, and back (Loshchilov and
    Hutter, SGDR, 2017)."""

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = check.integer("CosineAnnealingLR", "T_max", T_max, 1)
        self.eta_min = check.number("CosineAnnealingLR", "eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step, half = self.last_epoch, self.T_max
        if step == 0:
            return self._present()
        if (step - 1 - half) % (2 * half) == 0:  # the ratio below would be 0 / 0
            rise = (1 - math.cos(math.pi / half)) / 2
            return [
                lr + (base - self.eta_min) * rise
                for lr, base in zip(self._present(), self.base_lrs, strict=True)
            ]
        ratio = (1 + math.cos(math.pi * step / half)) / (1 + math.cos(math.pi * (step - 1) / half))
        return [self.eta_min + (lr - self.eta_min) * ratio for lr in self._present()]


class LinearWarmup(LRScheduler):
    """A straight line from `start_factor` times the rate to the rate, in `steps` steps (Goyal et
    al., 2017).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn, optim
    >>> optimizer = optim.SGD([nn.Parameter(np.zeros(1))], lr=1.0)
    >>> schedule = optim.lr_scheduler.LinearWarmup(optimizer, steps=9)
    >>> schedule.get_last_lr()
    [0.1]
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.2]
    """

    def __init__(
        self, optimizer: Optimizer, steps: int, start_factor: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.steps = check.integer("LinearWarmup", "steps", steps, 1)
        if not 0 < check.number("LinearWarmup", "start_factor", start_factor) <= 1:
            raise ValueError(
                f"LinearWarmup: start_factor must be above 0 and at most 1, got {start_factor}"
            )
        self.start_factor = start_factor
        super().__init__(optimizer, last_epoch)

    def _factor(self, step: int) -> float:
        return self.start_factor + (1 - self.start_factor) * min(step, self.steps) / self.steps

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [lr * self.start_factor for lr in self._present()]
        if self.last_epoch > self.steps:
            return self._present()
        ratio = self._factor(self.last_epoch) / self._factor(self.last_epoch - 1)
        return [lr * ratio for lr in self._present()]


class OneCycleLR(LRScheduler):
    """Up to `max_lr`, then down far below the start, the momentum the other way round (Smith and
    Topin, Super-convergence, 2018). A step is a batch.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float or list of float
        One for all groups, or one each.
    total_steps : int, optional
        Or `epochs` times `steps_per_epoch`.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        The share of the steps that go up.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
        Move the momentum (Adam: the first beta), too.
    base_momentum, max_momentum : float
    div_factor : float
        The start is ``max_lr / div_factor``.
    final_div_factor : float
        The end is the start divided by this.
    three_phase : bool
        Come down to the start as fast as it went up, then to the end.
    last_epoch : int

    Raises
    ------
    TypeError, ValueError
        Wrong types, numbers out of range, no number of steps.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        name = "OneCycleLR"
        _checked(self, optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(f"{name}: give total_steps, or epochs and steps_per_epoch")
            total_steps = check.integer(name, "epochs", epochs, 1) * check.integer(
                name, "steps_per_epoch", steps_per_epoch, 1
            )
        self.total_steps = check.integer(name, "total_steps", total_steps, 1)
        check.number(name, "pct_start", pct_start, 0.0, 1.0)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f'{name}: anneal_strategy must be "cos" or "linear", got {anneal_strategy!r}'
            )
        for argument, factor in (
            ("div_factor", div_factor),
            ("final_div_factor", final_div_factor),
        ):
            if not check.number(name, argument, factor) > 0:
                raise ValueError(f"{name}: {argument} must be positive, got {factor}")
        check.number(name, "base_momentum", base_momentum)
        check.number(name, "max_momentum", max_momentum)
        check.boolean(name, "three_phase", three_phase)
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = check.boolean(name, "cycle_momentum", cycle_momentum)
        up, end = float(pct_start * self.total_steps) - 1, self.total_steps - 1
        # Where each phase ends, and between which values it goes.
        low, high = ("base_momentum", "max_momentum")
        self.phases: list[tuple[float, str, str, str, str]] = (
            [
                (up, "initial_lr", "max_lr", high, low),
                (2 * up, "max_lr", "initial_lr", low, high),
                (end, "initial_lr", "min_lr", high, high),
            ]
            if three_phase
            else [(up, "initial_lr", "max_lr", high, low), (end, "max_lr", "min_lr", low, high)]
        )
        groups = optimizer.param_groups
        peaks = list(max_lr) if isinstance(max_lr, (list, tuple)) else [max_lr] * len(groups)
        if len(peaks) != len(groups):
            raise ValueError(f"{name}: max_lr must have {len(groups)} entries, got {len(peaks)}")
        peaks = [check.number(name, "max_lr", peak, 0.0) for peak in peaks]
        if last_epoch == -1:
            for group, peak in zip(groups, peaks, strict=True):
                group["initial_lr"] = peak / div_factor
                group["max_lr"] = peak
                group["min_lr"] = group["initial_lr"] / final_div_factor
        if cycle_momentum:
            if not ({"momentum", "betas"} & set(groups[0])):
                raise ValueError(f"{name}: cycle_momentum needs an optimizer with a momentum")
            for group in groups:
                group["max_momentum"], group["base_momentum"] = max_momentum, base_momentum
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"OneCycleLR: step {step} of {self.total_steps}: the cycle is over")
        start: float = 0
        phases = list(self.phases)
        while len(phases) > 1 and step > phases[0][0]:
            start = phases.pop(0)[0]
        end, from_lr, to_lr, from_momentum, to_momentum = phases[0]
        share = (step - start) / (end - start) if end != start else 1.0
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[from_lr], group[to_lr], share))
            if self.cycle_momentum:
                momentum = self._between(group[from_momentum], group[to_momentum], share)
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        return rates

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return start + (end - start) * share
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


class ReduceLROnPlateau(_State):
    """Times `factor` when a metric has not got better for more than `patience` steps.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether small or large metrics are good.
    factor : float
        Below 1.
    patience : int
    threshold : float
        By how much the best has to be beaten,
    threshold_mode : {"rel", "abs"}
        relative to it or absolutely.
    cooldown : int
        Steps to wait after a reduction.
    min_lr : float or list of float
    eps : float
        Smaller changes are not made.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn, optim
    >>> optimizer = optim.SGD([nn.Parameter(np.zeros(1))], lr=1.0)
    >>> schedule = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for metric in (3.0, 3.0, 3.0):
    ...     schedule.step(metric)
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau"
        self.optimizer = _checked(self, optimizer)
        if mode not in ("min", "max"):
            raise ValueError(f'{name}: mode must be "min" or "max", got {mode!r}')
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f'{name}: threshold_mode must be "rel" or "abs", got {threshold_mode!r}'
            )
        if not check.number(name, "factor", factor) < 1:
            raise ValueError(f"{name}: factor must be below 1, got {factor}")
        groups = optimizer.param_groups
        self.min_lrs = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * len(groups)
        if len(self.min_lrs) != len(groups):
            raise ValueError(
                f"{name}: min_lr must have {len(groups)} entries, got {len(self.min_lrs)}"
            )
        for least in self.min_lrs:
            check.number(name, "min_lr", least, 0.0)
        self.mode = mode
        self.factor = factor
        self.patience = check.integer(name, "patience", patience, 0)
        self.threshold = check.number(name, "threshold", threshold)
        self.threshold_mode = threshold_mode
        self.cooldown = check.integer(name, "cooldown", cooldown, 0)
        self.eps = check.number(name, "eps", eps, 0.0)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in groups]

    def step(self, metrics: Any) -> None:
        """Take note of a metric (a number or Tensor), and reduce the rates if it is time."""
        value = metrics.item() if isinstance(metrics, (Tensor, np.ndarray)) else metrics
        current = check.number("ReduceLROnPlateau", "metrics", value)
        self.last_epoch += 1
        if self._better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        groups = self.optimizer.param_groups
        if self.num_bad_epochs > self.patience:
            for group, least in zip(groups, self.min_lrs, strict=True):
                rate = max(group["lr"] * self.factor, least)
                if group["lr"] - rate > self.eps:
                    group["lr"] = rate
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [group["lr"] for group in groups]

    def get_last_lr(self) -> list[float]:
        """The rates as they are, one for each group."""
        return list(self._last_lr)

    def _better(self, value: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "abs":
            bar = self.best + sign * self.threshold
        else:
            bar = self.best * (1 + sign * self.threshold)
        return sign * value > sign * bar


def _checked(schedule: Any, optimizer: Any) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"{type(schedule).__name__}: optimizer must be an Optimizer, "
            f"got {type(optimizer).__name__}"
        )
    return optimizer
