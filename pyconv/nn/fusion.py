"""Fusion: what follows a layer is computed by that layer, while its result is in registers.

A convolution, dense layer or normalisation applies a following activation (and adds a residual). In
inference a convolution takes the normalisation behind it, too.
A ReLU before a max pooling is applied to what the windows give, which is the same and less.
The containers hand these over as arguments of ``forward``, where nobody listens in between: modules
with forward hooks are run by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pyconv.nn.activation import Identity, LeakyReLU, ReLU, ReLU6, Sigmoid, Tanh
from pyconv.nn.module import Module

_ACTIVATIONS: dict[type, str] = {
    ReLU: "relu", ReLU6: "relu6", LeakyReLU: "leaky_relu", Sigmoid: "sigmoid", Tanh: "tanh",
}  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])


def fusable(*arguments: str) -> Callable[[F], F]:
    """Says of a ``forward`` that it takes ``activation=``, or ``residual=`` too. The mark is on
    the function, so that a subclass with a ``forward`` of its own doesn't inherit it."""

    def mark(forward: F) -> F:
        forward.fuses = arguments  # type: ignore[attr-defined]
        return forward

    return mark


def foldable(forward: F) -> F:
    """Says of the ``forward`` of a normalisation that in inference it can be folded into the
    convolution before it, which takes it as ``norm=``."""
    forward.folds = True  # type: ignore[attr-defined]
    return forward


def acting(modules: list[Module]) -> list[Module]:
    """Without identities that nobody listens to: others may be fused over them."""
    if Identity not in map(type, modules):
        return modules
    return [m for m in modules if m._forward_hooks or type(m) is not Identity] or modules[-1:]


def clips_windows(forward: F) -> F:
    """Says of the ``forward`` of a max pooling that it takes ``activation="relu"``."""
    forward.clips = True  # type: ignore[attr-defined]
    return forward


def folds(module: Module, norm: Module) -> bool:
    """Whether the convolution can take over a normalisation; nobody listens in between."""
    return (
        getattr(type(norm).forward, "folds", False)
        and not (module.training or norm.training or norm._forward_hooks)
        and fuses(module, "norm")
    )


def fuses(module: Module, argument: str) -> bool:
    """Whether this module takes the argument, and nobody listens to it."""
    return not module._forward_hooks and argument in getattr(type(module).forward, "fuses", ())


def fused_activation(module: Module) -> Any:
    """What an activation module is called in `functional`; None if it can't be fused."""
    name = _ACTIVATIONS.get(type(module))
    if name is None or module._forward_hooks:
        return None
    if isinstance(module, LeakyReLU):
        return (name, module.negative_slope) if module.negative_slope > 0 else None
    return name


def _clips(module: Module) -> bool:
    if module._forward_hooks or getattr(module, "return_indices", False):
        return False
    return getattr(type(module).forward, "clips", False)


def run(modules: list[Module], x: Any, activation: Any = None, residual: Any = None) -> Any:
    """The modules one after the other. `activation` and `residual` are for the last one, which
    must take them."""
    modules = acting(modules)
    i, count = 0, len(modules)
    while i < count:
        module, options = modules[i], {}
        if i + 1 < count and folds(module, modules[i + 1]):
            i += 1
            options["norm"] = modules[i]
        if i + 1 == count:
            if residual is not None:
                options["residual"] = residual
            if activation is not None:
                options["activation"] = activation
        elif fuses(module, "activation"):
            name = fused_activation(modules[i + 1])
            if name is not None:
                i += 1
                if name == "relu" and i + 1 < count and _clips(modules[i + 1]):
                    x = module(x, **options)
                    module, options = modules[i + 1], {}
                    i += 1
                options["activation"] = name
        x = module(x, **options)
        i += 1
    return x
