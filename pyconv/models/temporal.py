"""Networks for sequences."""

from __future__ import annotations

import math

from pyconv import nn
from pyconv.kernels import _checks as check
from pyconv.models._registry import builder, count

_LONGEST = 30  # the power of two that the reach of a layer is at most


@builder
def tcn(
    num_classes: int = 1,
    in_channels: int = 1,
    width: int = 16,
    depth: int = 4,
    kernel_size: int = 3,
    dilation_base: int = 2,
    dropout: float = 0.0,
) -> nn.Sequential:
    """A temporal convolutional network (Bai, Kolter and Koltun, An empirical evaluation of generic
    convolutional and recurrent networks for sequence modeling, 2018): residual blocks of two
    dilated convolutions that see the past alone, then a 1×1 convolution.

    Parameters
    ----------
    num_classes : int
        Channels of the output: numbers, or scores, at each step.
    in_channels : int
        Channels of the input.
    width : int
        Channels of all layers between.
    depth : int
        Blocks.
    kernel_size : int
        Of the dilated convolutions.
    dilation_base : int
        The block i, counted from 0, has the dilation dilation_base^i: 1, 2, 4, 8, ... for 2, and 1
        everywhere for 1.
    dropout : float
        After each dilated convolution.

    Returns
    -------
    nn.Sequential
        Takes N×in_channels×L and gives N×num_classes×L, for any L. The output at a step depends on
        the input at this step and before it: on 1 + 2 (k - 1) (1 + b + b² + ...) steps in all, for
        kernels of k cells and dilations 1, b, b², ... What would lie before the first is 0.

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range.

    Notes
    -----
    The paper's weight normalisation is left out; weights begin as those of `nn.Conv1d` do.

    Examples
    --------
    >>> import numpy as np
    >>> import pyconv
    >>> from pyconv import models
    >>> net = models.tcn(in_channels=2, depth=3)
    >>> net(np.zeros((4, 2, 100), np.float32)).shape
    (4, 1, 100)
    >>> pyconv.summary(net, (1, 2, 100)).layers[-1].receptive_field
    (29,)
    """
    name = "tcn"
    channels = count(name, "in_channels", in_channels)
    wide = count(name, "width", width)
    kernel = count(name, "kernel_size", kernel_size)
    base = count(name, "dilation_base", dilation_base)
    check.number(name, "dropout", dropout, 0.0, 1.0)
    blocks = count(name, "depth", depth)
    if (blocks - 1) * math.log2(base) + math.log2(kernel) > _LONGEST:
        raise ValueError(
            f"{name}: kernel_size dilation_base^(depth - 1) must be at most 2^{_LONGEST}, got "
            f"{kernel} and {base}^{blocks - 1}"
        )
    layers: list[nn.Module] = []
    for level in range(blocks):
        layers += [_block(channels, wide, kernel, base**level, dropout), nn.ReLU()]
        channels = wide
    layers.append(nn.Conv1d(wide, count(name, "num_classes", num_classes), 1))
    return nn.Sequential(*layers)


def _block(
    in_channels: int, width: int, kernel_size: int, dilation: int, dropout: float
) -> nn.Residual:
    """Two causal convolutions, with their input added."""
    body: list[nn.Module] = []
    for channels in (in_channels, width):
        body += [_causal(channels, width, kernel_size, dilation), nn.ReLU()]
        body += [nn.Dropout(dropout)] if dropout else []
    fits = in_channels == width
    return nn.Residual(nn.Sequential(*body), None if fits else nn.Conv1d(in_channels, width, 1))


def _causal(in_channels: int, out_channels: int, kernel_size: int, dilation: int) -> nn.Conv1d:
    """A convolution whose last cell lies on the present step: all its padding is before the first,
    so that y_t is a sum over x_t, x_(t-d), x_(t-2d), ..."""
    before = (kernel_size - 1) * dilation
    return nn.Conv1d(
        in_channels, out_channels, kernel_size, padding=((before, 0),), dilation=dilation
    )
