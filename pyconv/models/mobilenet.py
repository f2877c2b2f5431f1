"""MobileNetV2 (Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks, 2018); names
and shapes as torchvision's."""

from __future__ import annotations

from typing import Any

from pyconv import nn
from pyconv.kernels import _checks as check
from pyconv.models._blocks import he_initialise
from pyconv.models._registry import builder, count
from pyconv.nn import init
from pyconv.nn.fusion import acting, fuses, run

# Expansion, output channels, blocks, stride of the first.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    groups: int = 1,
    padding: str | None = None,
    eps: float = 1e-5,
    momentum: float = 0.1,
) -> nn.Sequential:
    """Convolution, batch norm, ReLU6; by default with half a kernel of padding on every side."""
    pads = kernel_size // 2 if padding is None else padding
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, pads, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels, eps, momentum),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """Widened by a 1×1 convolution, filtered channel by channel, narrowed by a linear 1×1."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        expansion: int,
        kernel_size: int = 3,
        padding: str | None = None,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        width = in_channels * expansion
        how: dict[str, Any] = dict(padding=padding, eps=eps, momentum=momentum)
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(convolution(in_channels, width, 1, **how))
        layers += [
            convolution(width, width, kernel_size, stride, width, **how),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels, eps, momentum),
        ]
        self.conv = nn.Sequential(*layers)
        self.use_res_connect = stride == 1 and in_channels == out_channels

    def forward(self, x: Any) -> Any:
        if not self.use_res_connect:
            return self.conv(x)
        layers = acting(list(self.conv))
        if self.conv._forward_hooks or not fuses(layers[-1], "residual"):
            return self.conv(x) + x
        return run(layers, x, residual=x)


class MobileNetV2(nn.Module):
    """A stem, inverted residuals, a wide 1×1 convolution, a dense layer; built by
    `mobilenet_v2`."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        name = "mobilenet_v2"
        check.number(name, "dropout", dropout, 0.0, 1.0)
        layers: list[nn.Module] = [convolution(count(name, "in_channels", in_channels), 32, 3, 2)]
        channels = 32
        for expansion, width, blocks, stride in _STAGES:
            for k in range(blocks):
                layers.append(InvertedResidual(channels, width, stride if k == 0 else 1, expansion))
                channels = width
        layers.append(convolution(channels, 1280, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(1280, count(name, "num_classes", num_classes))
        )
        he_initialise(self)
        init.normal_(self.classifier[1].weight, 0.0, 0.01)
        init.zeros_(self.classifier[1].bias)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).mean((2, 3)))


@builder
def mobilenet_v2(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2
) -> MobileNetV2:
    """MobileNetV2 of width 1.

    Parameters
    ----------
    num_classes, in_channels : int
    dropout : float
        Before the dense layer.

    Returns
    -------
    MobileNetV2

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range.

    Examples
    --------
    >>> from pyconv import models
    >>> sum(p.data.size for p in models.mobilenet_v2().parameters())
    3504872
    """
    return MobileNetV2(num_classes, in_channels, dropout)
