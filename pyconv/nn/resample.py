"""Layers that change the size of images."""

from __future__ import annotations

from typing import Any

from pyconv import functional
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module


class Upsample(Module):
    """Images or sequences in another size; see `functional.interpolate`.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> nn.Upsample(scale_factor=2)(np.zeros((1, 3, 4, 5), np.float32)).shape
    (1, 3, 8, 10)
    """

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners

    def forward(self, x: Any) -> Any:
        return functional.interpolate(
            x, self.size, self.scale_factor, self.mode, self.align_corners
        )

    def extra_repr(self) -> str:
        size = (
            f"size={self.size}"
            if self.scale_factor is None
            else (f"scale_factor={self.scale_factor}")
        )
        return f"{size}, mode={self.mode!r}"


class ReflectionPad2d(Module):
    """A frame in which the image is mirrored about its edge cells.

    Parameters
    ----------
    padding : int or (left, right, top, bottom)

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> nn.ReflectionPad2d((1, 0, 0, 0))(np.array([[[[1.0, 2.0, 3.0]]]]))
    Tensor([[[[2., 1., 2., 3.]]]])
    """

    _mode = "reflect"

    def __init__(self, padding: Any) -> None:
        super().__init__()
        name = type(self).__name__
        sides = padding if isinstance(padding, tuple) else (padding,) * 4
        if len(sides) != 4:
            raise ValueError(
                f"{name}: padding must be an int or (left, right, top, bottom), got {padding!r}"
            )
        self.padding = tuple(check.integer(name, "padding", side, 0) for side in sides)

    def forward(self, x: Any) -> Any:
        return functional.pad(x, self.padding, self._mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class ZeroPad2d(ReflectionPad2d):
    """A frame of zeros; as `ReflectionPad2d`."""

    _mode = "constant"
