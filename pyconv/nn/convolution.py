"""Convolution layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv import functional
from pyconv.functional.activation import activate
from pyconv.kernels import _checks as check
from pyconv.nn import inference, init
from pyconv.nn.fusion import fusable
from pyconv.nn.module import Module
from pyconv.nn.parameter import Parameter, convolution_weight, transposed_weight

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """What all convolution layers share: their geometry, weight and bias."""

    rank = 2
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        bias: bool,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_channels = check.integer(name, "in_channels", in_channels, 1)
        self.out_channels = check.integer(name, "out_channels", out_channels, 1)
        self.kernel_size = check.pair(name, "kernel_size", kernel_size, 1, self.rank)
        self.stride = check.pair(name, "stride", stride, 1, self.rank)
        self.dilation = check.pair(name, "dilation", dilation, 1, self.rank)
        check.pads(name, "padding", padding, self.rank)
        self.padding = padding
        self.groups = check.integer(name, "groups", groups, 1)
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: groups must divide in_channels and out_channels, "
                f"{in_channels} and {out_channels}, got {groups}"
            )
        if self.transposed:
            weight = transposed_weight(in_channels, out_channels // groups, *self.kernel_size)
        else:
            weight = convolution_weight(out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(weight)
        has_bias = check.boolean(name, "bias", bias)
        self.register_parameter(
            "bias", Parameter(np.empty(out_channels, weight.dtype)) if has_bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights: uniform within ±1 / sqrt(fan_in)."""
        init.layer_(self.weight, self.bias)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        zero, one = (0,) * self.rank, (1,) * self.rank
        if self.stride != one:
            parts.append(f"stride={self.stride}")
        if self.padding not in (0, zero):
            parts.append(f"padding={self.padding!r}")
        if self.dilation != one:
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if getattr(self, "padding_mode", "zeros") != "zeros":
            parts.append(f"padding_mode={self.padding_mode!r}")
        if getattr(self, "output_padding", zero) != zero:
            parts.append(f"output_padding={self.output_padding}")
        return ", ".join(parts)


class Conv2d(_Convolution):
    """Convolution of images, N×Cin×H×W to N×Cout×OH×OW; see `functional.conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (int, int)
    padding : int, (ph, pw), ((top, bottom), (left, right)), "valid" or "same"
    groups : int
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What the padding is filled with.

    Attributes
    ----------
    weight : Parameter, Cout×(Cin/groups)×KH×KW
        Lies KH×KW×Cin×Cout in memory.
    bias : Parameter of Cout entries, or None

    Raises
    ------
    TypeError, ValueError
        Arguments of a wrong type or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> nn.Conv2d(3, 16, 3, padding=1)(np.zeros((1, 3, 8, 8), np.float32)).shape
    (1, 16, 8, 8)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"{type(self).__name__}: padding_mode must be one of {_PADDING_MODES}, "
                f"got {padding_mode!r}"
            )
        if padding_mode != "zeros" and padding == "same":
            raise ValueError(f'{type(self).__name__}: "same" needs padding_mode="zeros"')
        self.padding_mode = padding_mode

    @fusable("activation", "residual", "norm")
    def forward(
        self, x: Any, activation: Any = None, residual: Any = None, norm: Any = None
    ) -> Any:
        if not self.training:
            y = inference.convolve(self, norm, x, activation, residual)
            if y is not None:
                return y
        if norm is not None:
            return norm(self.forward(x), activation=activation, residual=residual)
        convolve = functional.conv2d if self.rank == 2 else functional.conv1d
        padding = self.padding
        if self.padding_mode != "zeros":
            ends = check.pads(type(self).__name__, "padding", padding, self.rank)
            frame = tuple(ends[i + k] for i in range(len(ends) - 2, -1, -2) for k in (0, 1))
            x, padding = functional.pad(x, frame, self.padding_mode), 0
        parameters = self._parameters  # without __getattr__, which is slow
        return convolve(
            x,
            parameters["weight"],
            parameters["bias"],
            self.stride,
            padding,
            self.dilation,
            self.groups,
            activation=activation,
            residual=residual,
        )


class Conv1d(Conv2d):
    """Convolution of sequences, N×Cin×L to N×Cout×OL; as `Conv2d`, along one axis.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> nn.Conv1d(3, 16, 3, stride=2)(np.zeros((1, 3, 9), np.float32)).shape
    (1, 16, 4)
    """

    rank = 1


class ConvTranspose2d(_Convolution):
    """Transposed convolution of images; see `functional.conv_transpose2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, output_padding, dilation : int or (int, int)
    padding : int, (ph, pw) or ((top, bottom), (left, right))
    groups : int
    bias : bool

    Attributes
    ----------
    weight : Parameter, Cin×(Cout/groups)×KH×KW
    bias : Parameter of Cout entries, or None

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> nn.ConvTranspose2d(8, 4, 2, stride=2)(np.zeros((1, 8, 5, 5), np.float32)).shape
    (1, 4, 10, 10)
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        name = type(self).__name__
        if padding == "same":
            raise ValueError(f'{name}: padding must be explicit or "valid", got "same"')
        self.output_padding = check.pair(name, "output_padding", output_padding, 0, self.rank)

    @fusable("activation")
    def forward(self, x: Any, activation: Any = None) -> Any:
        convolve = functional.conv_transpose2d if self.rank == 2 else functional.conv_transpose1d
        return convolve(
            x,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
            activation=activation,
        )


class ConvTranspose1d(ConvTranspose2d):
    """Transposed convolution of sequences; as `ConvTranspose2d`, along one axis."""

    rank = 1


class DepthwiseSeparableConv2d(Module):
    """A convolution of each channel by itself, then a 1×1 convolution, as one operation.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, dilation
        Of the depthwise convolution; see `Conv2d`.
    bias : bool
        Of the pointwise convolution.

    Attributes
    ----------
    depthwise, pointwise : Conv2d

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> layer = nn.DepthwiseSeparableConv2d(8, 16, 3, padding=1)
    >>> layer(np.zeros((1, 8, 5, 5), np.float32)).shape
    (1, 16, 5, 5)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check.integer(name, "in_channels", in_channels, 1)
        check.integer(name, "out_channels", out_channels, 1)
        for argument, value in (
            ("kernel_size", kernel_size),
            ("stride", stride),
            ("dilation", dilation),
        ):
            check.pair(name, argument, value, 1)
        check.pads(name, "padding", padding)
        check.boolean(name, "bias", bias)
        self.depthwise = Conv2d(
            in_channels, in_channels, kernel_size, stride, padding, dilation, in_channels, False
        )
        self.pointwise = Conv2d(in_channels, out_channels, 1, bias=bias)

    @fusable("activation")
    def forward(self, x: Any, activation: Any = None) -> Any:
        first, second = self.depthwise, self.pointwise
        if first._forward_hooks or second._forward_hooks:
            return activate(second(first(x)), activation)
        return functional.depthwise_separable_conv2d(
            x,
            first.weight,
            second.weight,
            second.bias,
            first.stride,
            first.padding,
            first.dilation,
            activation=activation,
        )
