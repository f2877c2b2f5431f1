"""VGG (Simonyan and Zisserman, Very deep convolutional networks for large-scale image
recognition, 2015); names and shapes as torchvision's."""

from __future__ import annotations

from typing import Any

from pyconv import nn
from pyconv.kernels import _checks as check
from pyconv.models._blocks import he_initialise
from pyconv.models._registry import builder, count
from pyconv.nn import init

# Convolutions in each of the five stages, between which the size is halved.
_STAGES = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    """3×3 convolutions, max pooling, three dense layers; built by `vgg11`, `vgg16`, `vgg19`."""

    def __init__(self, depth: int, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        name = f"vgg{depth}"
        check.number(name, "dropout", dropout, 0.0, 1.0)
        layers: list[nn.Module] = []
        channels = count(name, "in_channels", in_channels)
        for stage, convolutions in enumerate(_STAGES[depth]):
            width = min(64 * 2**stage, 512)
            for _ in range(convolutions):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, count(name, "num_classes", num_classes)),
        )
        he_initialise(self.features)
        for layer in self.classifier:
            if isinstance(layer, nn.Linear):
                init.normal_(layer.weight, 0.0, 0.01)
                init.zeros_(layer.bias)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


@builder
def vgg11(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG with 8 convolutions and 3 dense layers.

    Parameters
    ----------
    num_classes, in_channels : int
    dropout : float
        Between the dense layers.

    Returns
    -------
    VGG
        For pictures from 32×32 on; made for 224×224.

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range.

    Examples
    --------
    >>> from pyconv import models
    >>> net = models.vgg11(num_classes=10)  # doctest: +SKIP
    """
    return VGG(11, num_classes, in_channels, dropout)


@builder
def vgg16(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG with 13 convolutions and 3 dense layers; see `vgg11`."""
    return VGG(16, num_classes, in_channels, dropout)


@builder
def vgg19(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> VGG:
    """VGG with 16 convolutions and 3 dense layers; see `vgg11`."""
    return VGG(19, num_classes, in_channels, dropout)
