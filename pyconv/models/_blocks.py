"""What several models are made of."""

from __future__ import annotations

from typing import Any

from pyconv import nn
from pyconv.nn import init
from pyconv.nn.fusion import acting, fused_activation, fuses, run
from pyconv.nn.module import Module


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1
) -> list[Module]:
    """Convolution that keeps the size (for stride 1), batch norm, ReLU."""
    return [
        nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]  # fmt: skip


def add_and_activate(layers: list[Module], activation: Module, x: Any, other: Any) -> Any:
    """``activation(layers(x) + other)``, in the last layer's registers where that is possible."""
    layers = acting(layers)
    name = fused_activation(activation)
    if name is not None and fuses(layers[-1], "residual"):
        return run(layers, x, name, other)
    return activation(run(layers, x) + other)


def he_initialise(model: Module) -> None:
    """Normal weights by He et al., Delving deep into rectifiers (2015), biases of 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
