"""LeNet-5."""

from __future__ import annotations

from pyconv import nn
from pyconv.kernels import _checks as check
from pyconv.models._registry import builder, count


@builder
def lenet5(num_classes: int = 10, in_channels: int = 1, image_size: int = 28) -> nn.Sequential:
    """LeNet-5 (LeCun et al., Gradient-based learning applied to document recognition, 1998).

    Tanh and average pooling, as in the paper; all maps of the second convolution see all of the
    first, and the last layer is a dense one.

    Parameters
    ----------
    num_classes, in_channels : int
    image_size : {28, 32}
        The paper's 32, or 28 with two cells of padding.

    Returns
    -------
    nn.Sequential

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range.

    Examples
    --------
    >>> from pyconv import models
    >>> sum(p.data.size for p in models.lenet5().parameters())
    61706
    """
    padding = 2 if check.one_of("lenet5", "image_size", image_size, (28, 32)) == 28 else 0
    return nn.Sequential(
        nn.Conv2d(count("lenet5", "in_channels", in_channels), 6, 5, padding=padding),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, count("lenet5", "num_classes", num_classes)),
    )
