"""Networks for small pictures."""

from __future__ import annotations

from pyconv import nn
from pyconv.kernels import _checks as check
from pyconv.models._blocks import conv_norm_relu, he_initialise
from pyconv.models._registry import builder, count


@builder
def small_resnet(
    num_classes: int = 10, in_channels: int = 1, width: int = 16, dropout: float = 0.2
) -> nn.Sequential:
    """The network that ``pyconv train`` trains: convolution, batch norm and ReLU, max pooling, two
    residual blocks, the mean over the plane, dropout, a dense layer.

    Parameters
    ----------
    num_classes, in_channels : int
    width : int
        Channels of the first convolution; twice and four times as many after each pooling.
    dropout : float
        Before the dense layer.

    Returns
    -------
    nn.Sequential
        For pictures of any size from 4×4 on.

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> models.small_resnet()(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    """
    name = "small_resnet"
    w = count(name, "width", width)
    check.number(name, "dropout", dropout, 0.0, 1.0)
    model = nn.Sequential(
        *conv_norm_relu(count(name, "in_channels", in_channels), w),
        nn.MaxPool2d(2),
        *conv_norm_relu(w, 2 * w),
        _block(2 * w, 2 * w, 1, "add"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        *conv_norm_relu(2 * w, 4 * w),
        _block(4 * w, 4 * w, 1, "add"),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(4 * w, count(name, "num_classes", num_classes)),
    )
    he_initialise(model)
    return model


@builder
def cifar_resnet(
    depth: int = 20,
    width: int = 16,
    in_channels: int = 3,
    shortcut: str | None = "add",
    num_classes: int = 10,
) -> nn.Sequential:
    """The residual network for small pictures of He et al., Deep residual learning (2016), 4.2:
    three stages of (depth - 2) / 6 blocks, the size halved and the channels doubled between them.

    Parameters
    ----------
    depth : int
        6 n + 2: 8, 14, 20, 32, 44, 56, ...
    width : int
        Channels of the first stage.
    in_channels : int
    shortcut : {"add", "concat", None}
        The identity (or, where the shape changes, a 1×1 convolution) is added to each block; or the
        block's input stays beside its output, which is half as wide then, as in Huang et al.,
        Densely connected convolutional networks (2017); or there is none, for comparison.
    num_classes : int

    Returns
    -------
    nn.Sequential

    Raises
    ------
    TypeError, ValueError
        Wrong types, or a depth that is not 6 n + 2.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> models.cifar_resnet(depth=8)(np.zeros((2, 3, 32, 32), np.float32)).shape
    (2, 10)
    """
    name = "cifar_resnet"
    check.integer(name, "depth", depth, 8)
    if (depth - 2) % 6:
        raise ValueError(f"{name}: depth must be 6 n + 2 (8, 14, 20, ...), got {depth}")
    check.one_of(name, "shortcut", shortcut, ("add", "concat", None))
    channels = count(name, "width", width)
    layers = conv_norm_relu(count(name, "in_channels", in_channels), channels)
    for stage in range(3):
        for k in range((depth - 2) // 6):
            stride = 2 if stage > 0 and k == 0 else 1
            wide = width * 2**stage
            layers += [_block(channels, wide, stride, shortcut), nn.ReLU()]
            channels = channels + _narrow(wide) if shortcut == "concat" else wide
    layers += [
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, count(name, "num_classes", num_classes)),
    ]
    model = nn.Sequential(*layers)
    he_initialise(model)
    return model


def _narrow(width: int) -> int:
    """Channels that a block adds where they are concatenated."""
    return max(width // 2, 1)


def _block(in_channels: int, width: int, stride: int, shortcut: str | None) -> nn.Module:
    """Two 3×3 convolutions and what goes around them."""
    out_channels = _narrow(width) if shortcut == "concat" else width
    body = nn.Sequential(
        *conv_norm_relu(in_channels, width, 3, stride),
        nn.Conv2d(width, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
    )
    if shortcut is None:
        return body
    other: nn.Module | None = None
    if shortcut == "concat":
        # ceil_mode, for the size that the convolution gives an odd picture.
        other = None if stride == 1 else nn.AvgPool2d(2, ceil_mode=True)
    elif stride != 1 or in_channels != width:
        other = nn.Sequential(
            nn.Conv2d(in_channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
        )
    return nn.Residual(body, other, shortcut)
