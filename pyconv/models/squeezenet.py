"""SqueezeNet (Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, 2016),
version 1.1; names and shapes as torchvision's."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv import nn
from pyconv.autograd import cat
from pyconv.io.numpy_pickle import read_arrays
from pyconv.kernels import _checks as check
from pyconv.models._pretrained import check_wanted, describe, fill, package_file
from pyconv.models._registry import builder, count
from pyconv.nn import init
from pyconv.nn.fusion import run

_FIRES = (3, 4, 6, 7, 9, 10, 11, 12)  # among the features
_MEAN = (123.68, 116.779, 103.939)  # of ImageNet, RGB, from 0 to 255


class Fire(nn.Module):
    """Narrowed by 1×1 convolutions, then widened by 1×1 and 3×3 side by side."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.squeeze_activation = nn.ReLU()
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand1x1_activation = nn.ReLU()
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.expand3x3_activation = nn.ReLU()

    def forward(self, x: Any) -> Any:
        x = run([self.squeeze, self.squeeze_activation], x)
        return cat(
            [
                run([self.expand1x1, self.expand1x1_activation], x),
                run([self.expand3x3, self.expand3x3_activation], x),
            ],
            dim=1,
        )


class SqueezeNet(nn.Module):
    """Fire modules and a convolutional classifier; built by `squeezenet1_1`."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        name = "squeezenet1_1"
        check.number(name, "dropout", dropout, 0.0, 1.0)
        self.features = nn.Sequential(
            nn.Conv2d(count(name, "in_channels", in_channels), 64, 3, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(64, 16, 64),
            Fire(128, 16, 64),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(128, 32, 128),
            Fire(256, 32, 128),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            Fire(512, 64, 256),
        )
        last = nn.Conv2d(512, count(name, "num_classes", num_classes), 1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), last, nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                if module is last:
                    init.normal_(module.weight, 0.0, 0.01)
                else:
                    init.kaiming_uniform_(module.weight)
                init.zeros_(module.bias)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x)).flatten(1)


@builder
def squeezenet1_1(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5, pretrained: bool = False
) -> SqueezeNet:
    """SqueezeNet 1.1.

    Parameters
    ----------
    num_classes, in_channels : int
    dropout : float
        Before the last convolution.
    pretrained : bool
        With weights for ImageNet, from the package ndf (extra "models"). The model is in inference
        mode then, and its ``metadata`` has the names of the classes and how pictures are prepared:
        227×227, RGB, with the mean colour subtracted.

    Returns
    -------
    SqueezeNet

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range; a file of weights that is damaged.
    ImportError
        Pretrained weights without their package.

    Examples
    --------
    >>> from pyconv import models
    >>> sum(p.data.size for p in models.squeezenet1_1().parameters())
    1235496
    """
    name = "squeezenet1_1"
    check.boolean(name, "pretrained", pretrained)
    model = SqueezeNet(num_classes, in_channels, dropout)
    if not pretrained:
        return model
    check_wanted(name, num_classes, in_channels)
    path = package_file(name, "ndf", "example_models", "weights", "squeezenet_weights.pkl")
    fill(name, model, _state(name, path), path)
    describe(model, [c / 255 for c in _MEAN], (1 / 255,) * 3, 256, 227)
    return model


def _state(function: str, path: str) -> dict[str, np.ndarray]:
    """The file's arrays under our names: a kernel, H×W×I×O, and a bias for each layer; the first
    kernel takes BGR, ours RGB."""
    layers = {"features.0": "conv1", "classifier.1": "conv10"}
    for number, place in enumerate(_FIRES, 2):
        for ours, theirs in (("squeeze", "squeeze1x1"), ("expand1x1",) * 2, ("expand3x3",) * 2):
            layers[f"features.{place}.{ours}"] = f"fire{number}/{theirs}"
    found = read_arrays(function, path)
    state: dict[str, np.ndarray] = {}
    try:
        for ours, theirs in layers.items():
            weight, bias = found[theirs]
            state[f"{ours}.weight"] = weight.transpose(3, 2, 0, 1)
            state[f"{ours}.bias"] = bias
        state["features.0.weight"] = state["features.0.weight"][:, ::-1]
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{function}: {path} doesn't hold this network: {error}") from None
    return state
