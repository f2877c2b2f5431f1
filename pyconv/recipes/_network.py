"""A network that is looked at, not trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pyconv.autograd import Tensor
from pyconv.kernels import _checks as check
from pyconv.nn.features import features
from pyconv.nn.module import Module


@contextlib.contextmanager
def looked_at(function: str, model: Any) -> Iterator[None]:
    """Inference mode, and no gradient for the parameters; as it was afterwards."""
    if not isinstance(model, Module):
        raise TypeError(f"{function}: model must be a Module, got {type(model).__name__}")
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(p, p.requires_grad) for p in model.parameters()]
    model.eval()
    model.requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, requires_grad in wanted:
            parameter.requires_grad = requires_grad


class Network:
    """A model on pictures in 0..1: they are brought to where the model is, and their mean and scale
    are applied first.

    Attributes
    ----------
    shape : tuple of int
        C, H, W of the pictures that it was trained on, or None.
    device : str
    """

    def __init__(self, function: str, model: Module) -> None:
        self.function, self.model = function, model
        self.device = next((p.device for p in model.parameters()), "cpu")
        metadata = getattr(model, "metadata", None) or {}
        found = metadata.get("input_shape")
        self.shape = tuple(found) if found else None
        normalization = metadata.get("normalization")
        self._scale: Any = None
        if normalization:
            mean, std = (
                np.asarray(normalization[k], np.float32).reshape(1, -1, 1, 1)
                for k in ("mean", "std")
            )
            self._scale = (self.place(1 / std), self.place(-mean / std))

    def place(self, array: np.ndarray, requires_grad: bool = False) -> Tensor:
        """An array as a Tensor where the model is."""
        return Tensor(Tensor(array).to(self.device).data, requires_grad=requires_grad)

    def picture_shape(self, shape: Any) -> tuple[int, ...]:
        """C, H, W as given, or by default as the model was trained."""
        if shape is not None:
            return check.shape_argument(self.function, "shape", shape, 3)
        if self.shape is None or len(self.shape) != 3:
            raise ValueError(
                f"{self.function}: the model doesn't say which pictures it takes; give "
                "shape=(C, H, W)"
            )
        return self.shape

    def normalized(self, x: Any) -> Any:
        """Pictures in 0..1 as the model takes them."""
        if not isinstance(x, Tensor):
            x = self.place(x)
        if self._scale is None:
            return x
        scale, shift = self._scale
        return x * scale + shift

    def features(self, x: Any, layers: Sequence[str]) -> dict[str, Tensor]:
        """The activations of named layers."""
        try:
            return features(self.model, self.normalized(x), layers)
        except (TypeError, ValueError) as error:
            said = str(error).removeprefix("features: ")
            raise type(error)(f"{self.function}: {said}") from None

    def __call__(self, x: Any) -> Tensor:
        return self.model(self.normalized(x))
