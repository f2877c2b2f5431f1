"""The base of all optimizers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pyconv._frozen import thaw
from pyconv.autograd import Tensor, assign, enable_grad
from pyconv.kernels import _checks as check
from pyconv.nn.module import clear_gradients

Group = dict[str, Any]


class Optimizer:
    """Groups of parameters with their settings, and a state for each parameter.

    Parameters
    ----------
    params : iterable of Tensor, or of dicts
        A dict has ``"params"`` and settings that differ from the others'.
    defaults : dict
        The settings of groups that don't give them.

    Attributes
    ----------
    param_groups : list of dict
        ``"params"`` and the settings of each group; they may be changed between steps.
    state : dict
        Parameter to what the optimizer remembers of it.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[Group] = []
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            raise TypeError(
                f"{self._name}: params must be an iterable of Tensors, got {type(params).__name__}"
            )
        items = list(params)
        if not items:
            raise ValueError(f"{self._name}: params must not be empty")
        if not isinstance(items[0], dict):
            items = [{"params": items}]
        for group in items:
            self.add_param_group(group)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def add_param_group(self, param_group: Group) -> None:
        """One more group: a dict with ``"params"`` and settings; other entries are kept with it.

        Raises
        ------
        TypeError, ValueError
            No Tensors, wrong settings, or a parameter that is in another group.
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f'{self._name}: a group must be a dict with "params"')
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        if not isinstance(params, Iterable):
            raise TypeError(
                f"{self._name}: params must be an iterable of Tensors, got {type(params).__name__}"
            )
        params = list(params)
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"{self._name}: params must be Tensors, got {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError(f"{self._name}: only leaves can be optimized")
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if len({id(p) for p in params}) < len(params) or known & {id(p) for p in params}:
            raise ValueError(f"{self._name}: a parameter is given twice")
        group = {"params": params}
        group.update({k: v for k, v in {**self.defaults, **param_group}.items() if k != "params"})
        self._check(group)
        self.param_groups.append(group)

    def _check(self, group: Group) -> None:
        """Settings of the right types and in their ranges; each optimizer adds its own."""
        for name in ("lr", "weight_decay", "eps", "momentum"):
            if name in group:
                check.number(self._name, name, group[name], 0.0)
        for i, beta in enumerate(group.get("betas", ())):
            check.number(self._name, f"betas[{i}]", beta, 0.0)
            if beta >= 1:
                raise ValueError(f"{self._name}: betas[{i}] must be below 1, got {beta}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients, or fill them with zeros."""
        for group in self.param_groups:
            clear_gradients(group["params"], set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters by their gradients; those without one stay.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss anew with its gradients, and returns it.

        Returns
        -------
        What `closure` returned, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            for p in params:
                thaw(p.data)
            if params:
                self._step(group, params)
        return loss

    def _step(self, group: Group, params: list[Tensor]) -> None:
        raise NotImplementedError(f"{self._name} has no _step")

    def state_dict(self) -> dict[str, Any]:
        """The state, by number of the parameter, and the settings: ``state``, ``param_groups``.

        The arrays are the optimizer's own, not copies.
        """
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for p in group["params"]:
                numbers[id(p)] = len(numbers)
            settings = {k: v for k, v in group.items() if k != "params"}
            groups.append({**settings, "params": [numbers[id(p)] for p in group["params"]]})
        state = {numbers[id(p)]: dict(values) for p, values in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises
        ------
        TypeError, ValueError
            Not such a dict, other groups, or a state of a wrong shape; nothing is changed then.
        """
        check_state(state_dict)
        saved = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in self.param_groups]
        if [len(group["params"]) for group in saved] != sizes:
            raise ValueError(
                f"load_state_dict: the optimizer has groups of {sizes} parameters, the state of "
                f"{[len(group['params']) for group in saved]}"
            )
        own = [p for group in self.param_groups for p in group["params"]]
        numbers = [n for group in saved for n in group["params"]]
        state: dict[Tensor, dict[str, Any]] = {}
        for p, number in zip(own, numbers, strict=True):
            if number in state_dict["state"]:
                values = state_dict["state"][number]
                state[p] = {name: _adopt(name, value, p) for name, value in values.items()}
        for group, settings in zip(self.param_groups, saved, strict=True):
            group.update({k: copy.copy(v) for k, v in settings.items() if k != "params"})
        self.state = state

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            settings = ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            lines.append(f"  group {i}: {len(group['params'])} parameters, {settings}")
        return f"{self._name}(\n" + "\n".join(lines) + "\n)"


def check_state(state_dict: Any) -> None:
    """It has the two entries of an optimizer's state."""
    if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
        raise TypeError('load_state_dict: expected a dict with "state" and "param_groups"')
    if not isinstance(state_dict["state"], Mapping) or not all(
        isinstance(group, Mapping) and "params" in group for group in state_dict["param_groups"]
    ):
        raise TypeError('load_state_dict: "state" must be a dict, each group a dict with "params"')


def arrays(params: list[Tensor]) -> list[Any]:
    """Their arrays."""
    return [p.data for p in params]


def gradients(params: list[Tensor]) -> list[Any]:
    """The arrays of their gradients."""
    return [p.grad.data for p in params if p.grad is not None]


def like(p: Tensor) -> Any:
    """Zeros in the shape, dtype and memory order of a parameter."""
    zeros = p.data.copy(order="K")
    zeros[...] = 0
    return zeros


def _adopt(name: str, value: Any, p: Tensor) -> Any:
    """A copy of a saved value; an array of the parameter's shape in its dtype and memory order."""
    value = value.data if isinstance(value, Tensor) else value
    if not hasattr(value, "shape") or (value.shape == () and p.shape != ()):
        return value.item() if hasattr(value, "item") else copy.deepcopy(value)
    if value.shape != p.shape:
        raise ValueError(f"load_state_dict: {name} must have shape {p.shape}, got {value.shape}")
    own = like(p)
    assign(own, value)
    return own
