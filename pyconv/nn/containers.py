"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyconv.autograd import cat
from pyconv.functional._common import as_tensor
from pyconv.functional.activation import activate
from pyconv.nn.fusion import acting, fusable, fuses, run
from pyconv.nn.module import Module


class Sequential(Module):
    """Modules one after the other.

    Parameters
    ----------
    *modules : Module, or one dict of names and Modules

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    >>> net(np.zeros((1, 1, 4, 4), np.float32)).shape
    (1, 2)
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            named = list(modules[0].items())
        else:
            named = [(str(i), module) for i, module in enumerate(modules)]
        for name, module in named:
            _check_module("Sequential", module)
            self.register_module(name, module)

    def forward(self, x: Any) -> Any:
        return run([m for m in self._modules.values() if m is not None], x)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(dict(list(self._modules.items())[index]))
        return list(self.children())[index]

    def append(self, module: Module) -> Sequential:
        """One more at the end."""
        _check_module("Sequential", module)
        number = len(self)
        while str(number) in self._modules:  # a slice keeps the names it had
            number += 1
        self.register_module(str(number), module)
        return self


class ModuleList(Module):
    """A list of modules, which a `forward` of one's own uses.

    Examples
    --------
    >>> from pyconv import nn
    >>> layers = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    >>> len(layers), layers[1]
    (2, Tanh())
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        if not isinstance(modules, Iterable):
            raise TypeError(
                f"ModuleList: expected an iterable of Modules, got {type(modules).__name__}"
            )
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> ModuleList:
        """One more at the end."""
        _check_module("ModuleList", module)
        self.register_module(str(len(self._modules)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int) -> Module:
        return list(self.children())[index]


class Residual(Module):
    """``body(x) + shortcut(x)``, or the two side by side along the channels.

    Parameters
    ----------
    body : Module
    shortcut : Module, optional
        The identity by default.
    mode : {"add", "concat"}
        "concat" gives the channels of the shortcut first.

    Notes
    -----
    He et al., Deep residual learning for image recognition (2016); concatenated: Huang et al.,
    Densely connected convolutional networks (2017). Where the body ends with a convolution or
    normalisation, the sum and an activation that follows are fused with it.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> block = nn.Residual(nn.Conv2d(2, 3, 1), mode="concat")
    >>> block(np.zeros((1, 2, 4, 4), np.float32)).shape
    (1, 5, 4, 4)
    """

    def __init__(self, body: Module, shortcut: Module | None = None, mode: str = "add") -> None:
        super().__init__()
        _check_module("Residual", body)
        if shortcut is not None:
            _check_module("Residual", shortcut)
        if mode not in ("add", "concat"):
            raise ValueError(f'Residual: mode must be "add" or "concat", got {mode!r}')
        self.body = body
        self.shortcut = shortcut
        self.mode = mode

    @fusable("activation")
    def forward(self, x: Any, activation: Any = None) -> Any:
        x = as_tensor("Residual", "x", x)
        other = x if self.shortcut is None else self.shortcut(x)
        if self.mode == "concat":
            return activate(cat([other, self.body(x)], dim=1), activation)
        layers = [self.body]
        if type(self.body) is Sequential and not self.body._forward_hooks and len(self.body):
            layers = acting(list(self.body))
        if fuses(layers[-1], "residual"):
            return run(layers, x, activation, other)
        return activate(run(layers, x) + other, activation)

    def extra_repr(self) -> str:
        return "" if self.mode == "add" else f"mode={self.mode!r}"


def _check_module(name: str, module: Any) -> None:
    if not isinstance(module, Module):
        raise TypeError(f"{name}: expected a Module, got {type(module).__name__}")
