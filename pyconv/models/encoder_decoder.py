"""Networks whose output is a picture again."""

from __future__ import annotations

from typing import Any

from pyconv import nn
from pyconv.autograd import cat
from pyconv.functional._common import as_tensor
from pyconv.kernels import _checks as check
from pyconv.models._blocks import conv_norm_relu, he_initialise
from pyconv.models._registry import builder, count
from pyconv.nn import init


@builder
def autoencoder(
    num_classes: int | None = None,
    in_channels: int = 1,
    width: int = 16,
    depth: int = 2,
    *,
    latent: int | None = None,
    image_size: Any = None,
    blocks: int = 0,
    residual: bool = False,
    squash: bool = False,
) -> nn.Module:
    """A convolutional autoencoder: the size halved `depth` times, then doubled as often.

    Parameters
    ----------
    num_classes : int, optional
        Channels of the output; by default as many as the input has, for a reconstruction.
    in_channels : int
    width : int
        Channels of the first layer; doubled with each halving.
    depth : int
    latent : int, optional
        A dense bottleneck of so many numbers, N×latent; `image_size` has to be given then.
    image_size : int or (int, int), optional
        Height and width, multiples of 2^depth.
    blocks : int
        So many 3×3 convolutions more after each halving, and after each doubling but the last. That
        has a kernel of 4×4 then, instead of 2×2.
    residual : bool
        The input is added to the output, so that the layers make the difference: for noise.
    squash : bool
        A sigmoid at the end, which keeps the output in 0..1.

    Returns
    -------
    nn.Sequential
        Of ``encoder`` and ``decoder``; with `residual` the ``body`` of an nn.Residual. Sides must
        be multiples of 2^depth. Unless it is squashed, the output may leave 0..1.

    Raises
    ------
    TypeError, ValueError
        Wrong types, numbers out of range, options that exclude one another.

    Notes
    -----
    Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks (2006);
    Masci et al., Stacked convolutional auto-encoders (2011). `residual`: Zhang et al., Beyond a
    Gaussian denoiser (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> net = models.autoencoder()
    >>> x = np.zeros((2, 1, 28, 28), np.float32)
    >>> net[0](x).shape, net(x).shape
    ((2, 32, 7, 7), (2, 1, 28, 28))
    >>> net = models.autoencoder(latent=2, image_size=28)
    >>> net[0](x).shape, net(x).shape
    ((2, 2), (2, 1, 28, 28))
    """
    name = "autoencoder"
    count(name, "width", width)
    count(name, "depth", depth)
    channels = count(name, "in_channels", in_channels)
    out = channels if num_classes is None else count(name, "num_classes", num_classes)
    check.integer(name, "blocks", blocks, 0)
    if check.boolean(name, "residual", residual) and (latent is not None or out != channels):
        raise ValueError(
            f"{name}: residual needs an output like the input, and no latent, got num_classes "
            f"{num_classes} and latent {latent}"
        )
    encoder: list[nn.Module] = []
    decoder: list[nn.Module] = []
    for level in range(depth):
        wide = width * 2**level
        encoder += conv_norm_relu(channels, wide, 3, 2) + _more(wide, blocks)
        channels = wide
    if latent is not None:
        around, back = _bottleneck(name, channels, depth, latent, image_size)
        encoder += around
        decoder += back
    elif image_size is not None:
        raise ValueError(f"{name}: image_size is for a latent, got {image_size!r} without one")
    for level in reversed(range(depth)):
        narrow = width * 2 ** (level - 1) if level else out
        # Where neighbours of the output overlap there are no seams between its 2×2 squares.
        size, padding = (4, 1) if blocks and not level else (2, 0)
        decoder.append(nn.ConvTranspose2d(channels, narrow, size, 2, padding))
        decoder += [nn.BatchNorm2d(narrow), nn.ReLU(), *_more(narrow, blocks)] if level else []
        channels = narrow
    body = nn.Sequential({"encoder": nn.Sequential(*encoder), "decoder": nn.Sequential(*decoder)})
    model: nn.Module = body
    if residual:  # nothing is taken away before anything was learnt
        for parameter in body.decoder[-1].parameters():
            init.zeros_(parameter)
        model = nn.Residual(body)
    if check.boolean(name, "squash", squash):
        if residual:
            raise ValueError(f"{name}: squash and residual exclude one another")
        body.decoder.append(nn.Sigmoid())
    return model


def _more(width: int, blocks: int) -> list[nn.Module]:
    return [layer for _ in range(blocks) for layer in conv_norm_relu(width, width)]


def _bottleneck(
    name: str, channels: int, depth: int, latent: Any, image_size: Any
) -> tuple[list[nn.Module], list[nn.Module]]:
    """Dense layers to the latent numbers and from them."""
    count(name, "latent", latent)
    if image_size is None:
        raise ValueError(f"{name}: latent needs image_size, the height and width of the pictures")
    sides = check.pair(name, "image_size", image_size, 1)
    if any(side % 2**depth for side in sides):
        raise ValueError(
            f"{name}: image_size must be multiples of 2^depth = {2**depth}, got {image_size!r}"
        )
    shape = (channels, *(side // 2**depth for side in sides))
    size = shape[0] * shape[1] * shape[2]
    to, back = nn.Linear(size, latent), nn.Linear(latent, size)
    return [nn.Flatten(), to], [back, nn.ReLU(), nn.Unflatten(1, shape)]


class UNet(nn.Module):
    """An encoder and a decoder with connections between their levels; built by `unet`."""

    def __init__(self, num_classes: int, in_channels: int, width: int, depth: int) -> None:
        super().__init__()
        channels = count("unet", "in_channels", in_channels)
        wide = count("unet", "width", width)
        down = []
        for _ in range(count("unet", "depth", depth)):
            down.append(_pair(channels, wide))
            channels, wide = wide, 2 * wide
        self.down = nn.ModuleList(down)
        self.pool = nn.MaxPool2d(2)
        self.bottom = _pair(channels, wide)
        up, joined = [], []
        for _ in range(depth):
            up.append(nn.ConvTranspose2d(wide, wide // 2, 2, 2))
            joined.append(_pair(wide, wide // 2))
            wide //= 2
        self.up = nn.ModuleList(up)
        self.joined = nn.ModuleList(joined)
        self.head = nn.Conv2d(wide, count("unet", "num_classes", num_classes), 1)
        he_initialise(self)

    def forward(self, x: Any) -> Any:
        x = as_tensor("unet", "x", x)
        step = 2 ** len(self.down)
        if x.ndim == 4 and (x.shape[2] % step or x.shape[3] % step):
            raise ValueError(f"unet: the sides of x must be multiples of {step}, got {x.shape}")
        levels = []
        for block in self.down:
            x = block(x)
            levels.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for up, block, level in zip(self.up, self.joined, reversed(levels), strict=True):
            x = block(cat([level, up(x)], dim=1))
        return self.head(x)


def _pair(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        *conv_norm_relu(in_channels, out_channels), *conv_norm_relu(out_channels, out_channels)
    )


@builder
def unet(num_classes: int = 2, in_channels: int = 3, width: int = 64, depth: int = 4) -> UNet:
    """U-Net (Ronneberger, Fischer and Brox, U-Net: convolutional networks for biomedical image
    segmentation, 2015), with padding, so that the output has the input's size, and batch norm.

    Parameters
    ----------
    num_classes : int
        Channels of the output: a score for each class at each cell.
    in_channels : int
    width : int
        Channels of the first level; doubled with each of the levels below.
    depth : int
        How often the size is halved; the sides must be multiples of 2^depth.

    Returns
    -------
    UNet

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> models.unet(width=4, depth=2)(np.zeros((1, 3, 16, 16), np.float32)).shape
    (1, 2, 16, 16)
    """
    return UNet(num_classes, in_channels, width, depth)
