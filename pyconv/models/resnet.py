"""Residual networks (He et al., Deep residual learning for image recognition, 2016), the stride in
the bottleneck's 3×3 convolution; names and shapes as torchvision's."""

from __future__ import annotations

from typing import Any

from pyconv import nn
from pyconv.kernels import _checks as check
from pyconv.models._blocks import add_and_activate, he_initialise
from pyconv.models._registry import builder, count
from pyconv.nn.fusion import run


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Any) -> Any:
        other = x if self.downsample is None else self.downsample(x)
        body = [self.conv1, self.bn1, self.relu, self.conv2, self.bn2]
        return add_and_activate(body, self.relu, x, other)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Any) -> Any:
        other = x if self.downsample is None else self.downsample(x)
        body = [
            self.conv1, self.bn1, self.relu, self.conv2, self.bn2, self.relu, self.conv3, self.bn3,
        ]  # fmt: skip
        return add_and_activate(body, self.relu, x, other)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class ResNet(nn.Module):
    """A stem, four stages of blocks, the mean over the plane, a dense layer; built by `resnet18`,
    `resnet34`, `resnet50`."""

    def __init__(
        self,
        name: str,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, ...],
        num_classes: int,
        in_channels: int,
        stem: str,
    ) -> None:
        super().__init__()
        count(name, "in_channels", in_channels)
        if check.one_of(name, "stem", stem, ("imagenet", "cifar")) == "imagenet":
            self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
            pool: nn.Module = nn.MaxPool2d(3, 2, 1)
        else:
            self.conv1 = nn.Conv2d(in_channels, 64, 3, 1, 1, bias=False)
            pool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = pool
        channels = 64
        for i, n in enumerate(blocks):
            width = 64 * 2**i
            stage: list[nn.Module] = []
            for k in range(n):
                stage.append(block(channels, width, 2 if i > 0 and k == 0 else 1))
                channels = width * block.expansion
            self.register_module(f"layer{i + 1}", nn.Sequential(*stage))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, count(name, "num_classes", num_classes))
        he_initialise(self)

    def forward(self, x: Any) -> Any:
        x = run([self.conv1, self.bn1, self.relu, self.maxpool], x)
        x = run([self.layer1, self.layer2, self.layer3, self.layer4, self.avgpool], x)
        return self.fc(x.flatten(1))


@builder
def resnet18(num_classes: int = 1000, in_channels: int = 3, stem: str = "imagenet") -> ResNet:
    """A residual network of 18 layers.

    Parameters
    ----------
    num_classes, in_channels : int
    stem : {"imagenet", "cifar"}
        A 7×7 convolution of stride 2 and max pooling; or, for small pictures, a 3×3 convolution.

    Returns
    -------
    ResNet

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> net = models.resnet18(num_classes=10, stem="cifar").eval()
    >>> net(np.zeros((1, 3, 8, 8), np.float32)).shape
    (1, 10)
    """
    return ResNet("resnet18", BasicBlock, (2, 2, 2, 2), num_classes, in_channels, stem)


@builder
def resnet34(num_classes: int = 1000, in_channels: int = 3, stem: str = "imagenet") -> ResNet:
    """A residual network of 34 layers; see `resnet18`."""
    return ResNet("resnet34", BasicBlock, (3, 4, 6, 3), num_classes, in_channels, stem)


@builder
def resnet50(num_classes: int = 1000, in_channels: int = 3, stem: str = "imagenet") -> ResNet:
    """A residual network of 50 layers, made of bottlenecks; see `resnet18`."""
    return ResNet("resnet50", Bottleneck, (3, 4, 6, 3), num_classes, in_channels, stem)
