"""Activations as modules."""

from __future__ import annotations

from typing import Any

from pyconv import functional
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module


class _Activation(Module):
    """An activation; `inplace` is accepted and changes nothing: Tensors are never overwritten."""

    _function: Any

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return type(self)._function(x)


class ReLU(_Activation):
    """max(x, 0); see `functional.relu`."""

    _function = staticmethod(functional.relu)


class ReLU6(_Activation):
    """min(max(x, 0), 6); see `functional.relu6`."""

    _function = staticmethod(functional.relu6)


class SiLU(_Activation):
    """x sigmoid(x); see `functional.silu`."""

    _function = staticmethod(functional.silu)


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)); see `functional.sigmoid`."""

    _function = staticmethod(functional.sigmoid)

    def __init__(self) -> None:
        super().__init__()


class Tanh(_Activation):
    """The hyperbolic tangent; see `functional.tanh`."""

    _function = staticmethod(functional.tanh)

    def __init__(self) -> None:
        super().__init__()


class GELU(_Activation):
    """x P(x); see `functional.gelu`."""

    _function = staticmethod(functional.gelu)

    def __init__(self) -> None:
        super().__init__()


class Identity(Module):
    """The input itself; arguments of the constructor are ignored."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x


class LeakyReLU(Module):
    """x where x > 0, else `negative_slope` x; see `functional.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = check.number("LeakyReLU", "negative_slope", negative_slope)

    def forward(self, x: Any) -> Any:
        return functional.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Softmax(Module):
    """See `functional.softmax`."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return functional.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """See `functional.log_softmax`."""

    def forward(self, x: Any) -> Any:
        return functional.log_softmax(x, self.dim)
