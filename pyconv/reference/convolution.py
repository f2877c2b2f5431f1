"""Convolution (the cross-correlation of the field), transposed and depthwise separable.

Each function is a sum over the taps (i, j) of the kernel. For one tap all outputs meet a regular
grid of cells of the padded image, so that a tap is one matrix product over the channels:

    y[n, o, p, q] = sum over c, i, j of  w[o, c, i, j] x[n, c, p s + i d - pad, q s + j d - pad]

with stride s and dilation d (Dumoulin and Visin, 2016). With groups, channels are viewed as
groups × channels of one group, and the groups do not meet. The gradients are the same sum read in
the other directions. `algorithm` is a matter of the kernels and is ignored here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _shapes as shapes
from ._shapes import Padding, Pair, result
from .activation import activate


def _grouped(x: np.ndarray, groups: int) -> np.ndarray:
    """N×C×H×W as N×G×(C/G)×(HW): a stack of matrices."""
    n, channels, height, width = x.shape
    return x.reshape(n, groups, channels // groups, height * width)


def _tap_weights(weight: np.ndarray, groups: int) -> np.ndarray:
    """O×C×KH×KW as KH×KW×G×(O/G)×C: a matrix for each tap and group."""
    out_channels, channels, kh, kw = weight.shape
    split = weight.reshape(groups, out_channels // groups, channels, kh, kw)
    return split.transpose(3, 4, 0, 1, 2)


def _correlate(
    x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> np.ndarray:
    n, channels, *size = x.shape
    out_channels, group_channels, *kernel = weight.shape
    if channels != groups * group_channels:
        raise ValueError(
            f"weight {weight.shape} with groups={groups} takes {groups * group_channels} channels, "
            f"x has {channels}"
        )
    outputs = _output_size(size, kernel, stride, padding, dilation)
    padded = shapes.pad(x, padding)
    matrices = _tap_weights(weight, groups)
    y = np.zeros((n, groups, out_channels // groups, outputs[0] * outputs[1]), x.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        for i, j, cells in shapes.taps((kernel[0], kernel[1]), outputs, stride, dilation):
            y += matrices[i, j] @ _grouped(padded[cells], groups)
    return y.reshape(n, out_channels, *outputs)


def _scatter(
    dy: np.ndarray,
    weight: np.ndarray,
    size: Sequence[int],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """The adjoint of `_correlate` in x: every output is sent back to the cells it came from."""
    n, out_channels, *outputs = dy.shape
    channels = groups * weight.shape[1]
    kernel = (weight.shape[2], weight.shape[3])
    frame = [size[a] + sum(padding[a]) for a in (0, 1)]
    dx = np.zeros((n, channels, *frame), dy.dtype)
    matrices = _tap_weights(weight, groups).swapaxes(-1, -2)
    gradient = _grouped(dy, groups)
    with np.errstate(invalid="ignore", over="ignore"):
        for i, j, cells in shapes.taps(kernel, (outputs[0], outputs[1]), stride, dilation):
            dx[cells] += (matrices[i, j] @ gradient).reshape(n, channels, *outputs)
    return np.ascontiguousarray(shapes.crop(dx, padding, (size[0], size[1])))


def _correlate_gradients(
    dy: np.ndarray,
    x: np.ndarray,
    weight_shape: Sequence[int],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """The adjoint of `_correlate` in the weight: a tap sums all the products it took part in."""
    out_channels, group_channels, *kernel = weight_shape
    outputs = (dy.shape[2], dy.shape[3])
    padded = shapes.pad(x, padding)
    dw = np.zeros((groups, out_channels // groups, group_channels, *kernel), x.dtype)
    gradient = _grouped(dy, groups)
    with np.errstate(invalid="ignore", over="ignore"):
        for i, j, cells in shapes.taps((kernel[0], kernel[1]), outputs, stride, dilation):
            images = _grouped(padded[cells], groups)
            dw[..., i, j] = (gradient @ images.swapaxes(-1, -2)).sum(axis=0)
    return dw.reshape(tuple(weight_shape))


def _output_size(
    size: Sequence[int], kernel: Sequence[int], stride: Pair, padding: Padding, dilation: Pair
) -> Pair:
    rows, columns = (
        shapes.conv_output_size(size[a], padding[a], kernel[a], stride[a], dilation[a])
        for a in (0, 1)
    )
    return rows, columns


def _geometry(
    size: Sequence[int], kernel: Sequence[int], stride: Any, padding: Any, dilation: Any
) -> tuple[Pair, Padding, Pair]:
    stride, dilation = shapes.pair(stride), shapes.pair(dilation)
    size, kernel = shapes.pair(size), shapes.pair(kernel)
    return stride, shapes.resolve_padding(padding, size, kernel, stride, dilation), dilation


def _transposed_padding(padding: Any) -> Padding:
    if isinstance(padding, str):
        if padding != "valid":
            raise ValueError(f"a transposed convolution has no padding {padding!r}")
        padding = 0
    return shapes.explicit_padding(padding)


def _per_channel(bias: np.ndarray) -> np.ndarray:
    return bias[:, None, None]


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: Any = None,
    residual: np.ndarray | None = None,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """activation(x correlated with weight + bias + residual).

    `x` is N×C×H×W, `weight` O×(C/groups)×KH×KW, `bias` O, `residual` as the result, N×O×OH×OW.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d(x, np.ones((1, 1, 2, 2)))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    stride, padding, dilation = _geometry(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    z = _correlate(x, weight, stride, padding, dilation, groups)
    with np.errstate(invalid="ignore", over="ignore"):
        if bias is not None:
            z = z + _per_channel(bias)
        if residual is not None:
            z = z + residual
    return result(activate(z, activation), out)


def conv2d_backward_input(
    dy: np.ndarray,
    weight: np.ndarray,
    input_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """dx[n, c, p s + i d - pad, ...] = sum over o, i, j of w[o, c, i, j] dy[n, o, p, q].

    Examples
    --------
    >>> import numpy as np
    >>> conv2d_backward_input(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), (1, 1, 3, 3))
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    """
    size = input_shape[2:]
    stride, padding, dilation = _geometry(size, weight.shape[2:], stride, padding, dilation)
    return result(_scatter(dy, weight, size, stride, padding, dilation, groups), out)


def conv2d_backward_weight(
    dy: np.ndarray,
    x: np.ndarray,
    weight_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """dw[o, c, i, j] = sum over n, p, q of dy[n, o, p, q] x[n, c, p s + i d - pad, ...].

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d_backward_weight(np.ones((1, 1, 2, 2)), x, (1, 1, 2, 2))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    stride, padding, dilation = _geometry(x.shape[2:], weight_shape[2:], stride, padding, dilation)
    return result(_correlate_gradients(dy, x, weight_shape, stride, padding, dilation, groups), out)


def conv2d_backward_bias(dy: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The sum over images, rows and columns.

    Examples
    --------
    >>> import numpy as np
    >>> conv2d_backward_bias(np.ones((2, 3, 4, 4)))
    array([32., 32., 32.])
    """
    return result(dy.sum(axis=(0, 2, 3)), out)


def conv_transpose2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: Any = None,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """activation(the adjoint of a convolution, applied to x, + bias).

    `x` is N×C×H×W, `weight` C×(O/groups)×KH×KW: the weight of the convolution from O to C channels.

    Examples
    --------
    >>> import numpy as np
    >>> conv_transpose2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)))
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    """
    stride, dilation = shapes.pair(stride), shapes.pair(dilation)
    padding, extra = _transposed_padding(padding), shapes.pair(output_padding)
    size = [
        shapes.transposed_output_size(
            x.shape[2 + a], padding[a], weight.shape[2 + a], stride[a], dilation[a], extra[a]
        )
        for a in (0, 1)
    ]
    z = _scatter(x, weight, size, stride, padding, dilation, groups)
    if bias is not None:
        with np.errstate(invalid="ignore", over="ignore"):
            z = z + _per_channel(bias)
    return result(activate(z, activation), out)


def conv_transpose2d_backward_input(
    dy: np.ndarray,
    weight: np.ndarray,
    input_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The adjoint of an adjoint: the convolution of dy with the same weight.

    Examples
    --------
    >>> import numpy as np
    >>> dy = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv_transpose2d_backward_input(dy, np.ones((1, 1, 2, 2)), (1, 1, 2, 2))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    stride, dilation = shapes.pair(stride), shapes.pair(dilation)
    dx = _correlate(dy, weight, stride, _transposed_padding(padding), dilation, groups)
    # An output padding of a stride or more adds rows that no input has part in.
    dx = np.ascontiguousarray(dx[:, :, : input_shape[2], : input_shape[3]])
    return result(dx, out)


def conv_transpose2d_backward_weight(
    dy: np.ndarray,
    x: np.ndarray,
    weight_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The weight gradient of the convolution that takes dy to x.

    Examples
    --------
    >>> import numpy as np
    >>> dy = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv_transpose2d_backward_weight(dy, np.ones((1, 1, 2, 2)), (1, 1, 2, 2))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    stride, dilation = shapes.pair(stride), shapes.pair(dilation)
    padding = _transposed_padding(padding)
    return result(_correlate_gradients(x, dy, weight_shape, stride, padding, dilation, groups), out)


def depthwise_separable_conv2d(
    x: np.ndarray,
    depthwise_weight: np.ndarray,
    pointwise_weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    activation: Any = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A kernel for each channel, then a 1×1 convolution across channels (Chollet, 2017).

    `depthwise_weight` is (C·m)×1×KH×KW, `pointwise_weight` O×(C·m)×1×1; nothing lies between them.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.ones((1, 2, 3, 3))
    >>> depthwise_separable_conv2d(x, np.ones((2, 1, 3, 3)), np.ones((1, 2, 1, 1)))
    array([[[[18.]]]])
    """
    middle = conv2d(
        x,
        depthwise_weight,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=x.shape[1],
    )
    return conv2d(middle, pointwise_weight, bias, activation=activation, out=out)


def depthwise_separable_conv2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    depthwise_weight: np.ndarray,
    pointwise_weight: np.ndarray,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """dx, d_depthwise, d_pointwise, dbias: back through the 1×1 stage, then the other.

    Examples
    --------
    >>> import numpy as np
    >>> x, dy = np.ones((1, 2, 3, 3)), np.ones((1, 1, 1, 1))
    >>> gradients = depthwise_separable_conv2d_backward(
    ...     dy, x, np.ones((2, 1, 3, 3)), np.ones((1, 2, 1, 1)))
    >>> gradients[2].ravel(), gradients[3]
    (array([9., 9.]), array([1.]))
    """
    stage: dict[str, Any] = dict(
        stride=stride, padding=padding, dilation=dilation, groups=x.shape[1]
    )
    middle = conv2d(x, depthwise_weight, **stage)
    d_middle = conv2d_backward_input(dy, pointwise_weight, middle.shape)
    return (
        conv2d_backward_input(d_middle, depthwise_weight, x.shape, **stage),
        conv2d_backward_weight(d_middle, x, depthwise_weight.shape, **stage),
        conv2d_backward_weight(dy, middle, pointwise_weight.shape),
        conv2d_backward_bias(dy),
    )
