"""The image transformation network of Johnson, Alahi and Fei-Fei."""

from __future__ import annotations

from typing import Any

from pyconv import functional, nn
from pyconv.functional._common import as_tensor
from pyconv.kernels import _checks as check
from pyconv.models._registry import builder, count

_LEAST = 5  # a side of fewer pixels can't be mirrored at its edges


class TransformerNet(nn.Module):
    """Down by four, residual blocks, up again; built by `transformer_net`."""

    def __init__(self, num_classes: int | None, in_channels: int, width: int, blocks: int) -> None:
        super().__init__()
        name = "transformer_net"
        channels = count(name, "in_channels", in_channels)
        out = channels if num_classes is None else count(name, "num_classes", num_classes)
        wide = count(name, "width", width)
        check.integer(name, "blocks", blocks, 0)
        self.stem = _stage(channels, wide, 9)
        self.down = nn.ModuleList([_stage(wide * n, wide * 2 * n, 3, 2) for n in (1, 2)])
        self.blocks = nn.Sequential(*[_block(4 * wide) for _ in range(blocks)])
        self.up = nn.ModuleList([_stage(wide * 2 * n, wide * n, 3) for n in (2, 1)])
        self.head = nn.Conv2d(wide, out, 9, padding=4, padding_mode="reflect")

    def forward(self, x: Any) -> Any:
        x = as_tensor("transformer_net", "x", x)
        if x.ndim != 4 or min(x.shape[2:]) < _LEAST:
            raise ValueError(
                f"transformer_net: x must be N×C×H×W with sides of at least {_LEAST}, got shape "
                f"{x.shape}"
            )
        y, sizes = self.stem(x), []
        for stage in self.down:
            sizes.append(y.shape[2:])
            y = stage(y)
        y = self.blocks(y)
        for stage, size in zip(self.up, reversed(sizes), strict=True):
            y = stage(functional.interpolate(y, size))
        return functional.sigmoid(self.head(y))


def _stage(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Convolution of the mirrored image, instance normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2,
            bias=False, padding_mode="reflect",
        ),
        nn.InstanceNorm2d(out_channels, affine=True),
        nn.ReLU(),
    )  # fmt: skip


def _block(channels: int) -> nn.Residual:
    """Two convolutions; no ReLU after the second or the sum."""
    first, second = (_stage(channels, channels, 3) for _ in range(2))
    return nn.Residual(nn.Sequential(*first, *list(second)[:2]))


@builder
def transformer_net(
    num_classes: int | None = None,
    in_channels: int = 3,
    width: int = 32,
    blocks: int = 5,
) -> TransformerNet:
    """The image transformation network: a picture in 0..1 in, one of the same size out.

    A convolution of 9×9, two of 3×3 that halve the size, residual blocks; twice the nearest
    neighbours and a convolution of 3×3, and one of 9×9, squashed into 0..1. Images are mirrored at
    their edges; all but the last are followed by instance normalisation and ReLU.

    Parameters
    ----------
    num_classes : int, optional
        Channels of the output; by default as many as the input has.
    in_channels : int
    width : int
        Channels of the first layer; four times as many in the residual blocks.
    blocks : int
        Residual blocks.

    Returns
    -------
    TransformerNet
        For pictures of any size from 5×5 on.

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range.

    Notes
    -----
    Johnson, Alahi and Fei-Fei, Perceptual losses for real-time style transfer and
    super-resolution (2016); width 32 and five blocks are theirs. Instance normalisation, which
    takes a picture's own contrast away, is in the place of their batch normalisation (Ulyanov,
    Vedaldi and Lempitsky, Instance normalization: the missing ingredient for fast stylization,
    2016); nearest neighbours and a convolution are in that of their transposed convolutions, which
    leave checkerboards (Odena, Dumoulin and Olah, Deconvolution and checkerboard artifacts, 2016).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> net = models.transformer_net(width=4, blocks=1)
    >>> net(np.full((1, 3, 17, 22), 0.5, np.float32)).shape
    (1, 3, 17, 22)
    """
    return TransformerNet(num_classes, in_channels, width, blocks)
