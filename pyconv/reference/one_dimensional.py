"""Sequences, N×C×L: images of one row, N×C×1×L.

Sizes are an int or a tuple of one; padding is an int, (p,), ((left, right),) or the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import convolution, pooling
from ._shapes import padding_1d, result, single


def _image(x: np.ndarray) -> np.ndarray:
    return x[:, :, None, :]


def _image_shape(shape: Sequence[int]) -> tuple[int, int, int, int]:
    n, channels, length = shape
    return n, channels, 1, length


def _sequence(y: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    return result(y[:, :, 0, :], out)


def _row(value: Any, other: int = 1) -> tuple[int, int]:
    """A size along the sequence as (rows, columns)."""
    return other, single(value)


def _convolution(stride: Any, padding: Any, dilation: Any, groups: int) -> dict[str, Any]:
    return dict(
        stride=_row(stride), padding=padding_1d(padding), dilation=_row(dilation), groups=groups
    )


def conv1d(
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
    """`conv2d` of one row: `x` N×C×L, `weight` O×(C/groups)×K, `residual` N×O×OL.

    Examples
    --------
    >>> import numpy as np
    >>> conv1d(np.array([[[1.0, 2.0, 4.0]]]), np.array([[[1.0, -1.0]]]))
    array([[[-1., -2.]]])
    """
    y = convolution.conv2d(
        _image(x),
        _image(weight),
        bias,
        **_convolution(stride, padding, dilation, groups),
        activation=activation,
        residual=None if residual is None else _image(residual),
    )
    return _sequence(y, out)


def conv1d_backward_input(
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
    """`conv2d_backward_input` of one row.

    Examples
    --------
    >>> import numpy as np
    >>> conv1d_backward_input(np.ones((1, 1, 2)), np.array([[[1.0, -1.0]]]), (1, 1, 3))
    array([[[ 1.,  0., -1.]]])
    """
    dx = convolution.conv2d_backward_input(
        _image(dy),
        _image(weight),
        _image_shape(input_shape),
        **_convolution(stride, padding, dilation, groups),
    )
    return _sequence(dx, out)


def conv1d_backward_weight(
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
    """`conv2d_backward_weight` of one row.

    Examples
    --------
    >>> import numpy as np
    >>> conv1d_backward_weight(np.ones((1, 1, 2)), np.array([[[1.0, 2.0, 4.0]]]), (1, 1, 2))
    array([[[3., 6.]]])
    """
    dw = convolution.conv2d_backward_weight(
        _image(dy),
        _image(x),
        _image_shape(weight_shape),
        **_convolution(stride, padding, dilation, groups),
    )
    return _sequence(dw, out)


def conv1d_backward_bias(dy: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """The sum over sequences and positions.

    Examples
    --------
    >>> import numpy as np
    >>> conv1d_backward_bias(np.ones((2, 3, 4)))
    array([8., 8., 8.])
    """
    return result(dy.sum(axis=(0, 2)), out)


def conv_transpose1d(
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
    """`conv_transpose2d` of one row: `x` N×C×L, `weight` C×(O/groups)×K.

    Examples
    --------
    >>> import numpy as np
    >>> conv_transpose1d(np.array([[[1.0, 2.0]]]), np.ones((1, 1, 2)), stride=2)
    array([[[1., 1., 2., 2.]]])
    """
    y = convolution.conv_transpose2d(
        _image(x),
        _image(weight),
        bias,
        **_convolution(stride, padding, dilation, groups),
        output_padding=_row(output_padding, 0),
        activation=activation,
    )
    return _sequence(y, out)


def conv_transpose1d_backward_input(
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
    """`conv_transpose2d_backward_input` of one row.

    Examples
    --------
    >>> import numpy as np
    >>> dy = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    >>> conv_transpose1d_backward_input(dy, np.ones((1, 1, 2)), (1, 1, 2), stride=2)
    array([[[3., 7.]]])
    """
    dx = convolution.conv_transpose2d_backward_input(
        _image(dy),
        _image(weight),
        _image_shape(input_shape),
        **_convolution(stride, padding, dilation, groups),
    )
    return _sequence(dx, out)


def conv_transpose1d_backward_weight(
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
    """`conv_transpose2d_backward_weight` of one row.

    Examples
    --------
    >>> import numpy as np
    >>> dy = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    >>> conv_transpose1d_backward_weight(dy, np.ones((1, 1, 2)), (1, 1, 2), stride=2)
    array([[[4., 6.]]])
    """
    dw = convolution.conv_transpose2d_backward_weight(
        _image(dy),
        _image(x),
        _image_shape(weight_shape),
        **_convolution(stride, padding, dilation, groups),
    )
    return _sequence(dw, out)


def _pooling(kernel_size: Any, stride: Any, padding: Any) -> tuple[Any, Any, Any]:
    return _row(kernel_size), None if stride is None else _row(stride), padding_1d(padding)


def max_pool1d(
    x: np.ndarray,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = True,
    *,
    activation: str | None = None,
) -> Any:
    """`max_pool2d` of one row: y and indices, both N×C×OL, or y alone.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool1d(np.array([[[1.0, 5.0, 2.0, 2.0]]]), 2)
    (array([[[5., 2.]]]), array([[[1, 2]]], dtype=int32))
    """
    y, indices = pooling.max_pool2d(
        _image(x),
        *_pooling(kernel_size, stride, padding),
        _row(dilation),
        ceil_mode,
        activation=activation,
    )
    return (y[:, :, 0], indices[:, :, 0]) if return_indices else y[:, :, 0]


def max_pool1d_backward(
    dy: np.ndarray,
    indices: np.ndarray,
    input_shape: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """`max_pool2d_backward` of one row.

    Examples
    --------
    >>> import numpy as np
    >>> max_pool1d_backward(np.ones((1, 1, 2)), np.array([[[1, 2]]]), (1, 1, 4), 2)
    array([[[0., 1., 1., 0.]]])
    """
    dx = pooling.max_pool2d_backward(
        _image(dy),
        _image(indices),
        _image_shape(input_shape),
        *_pooling(kernel_size, stride, padding),
        _row(dilation),
        ceil_mode,
    )
    return _sequence(dx, out)


def avg_pool1d(
    x: np.ndarray,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """`avg_pool2d` of one row.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool1d(np.array([[[1.0, 5.0, 2.0, 2.0]]]), 2)
    array([[[3., 2.]]])
    """
    y = pooling.avg_pool2d(
        _image(x),
        *_pooling(kernel_size, stride, padding),
        ceil_mode,
        count_include_pad,
        divisor_override,
    )
    return _sequence(y, out)


def avg_pool1d_backward(
    dy: np.ndarray,
    input_shape: Sequence[int],
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """`avg_pool2d_backward` of one row.

    Examples
    --------
    >>> import numpy as np
    >>> avg_pool1d_backward(np.array([[[2.0, 4.0]]]), (1, 1, 4), 2)
    array([[[1., 1., 2., 2.]]])
    """
    dx = pooling.avg_pool2d_backward(
        _image(dy),
        _image_shape(input_shape),
        *_pooling(kernel_size, stride, padding),
        ceil_mode,
        count_include_pad,
        divisor_override,
    )
    return _sequence(dx, out)


def adaptive_avg_pool1d(
    x: np.ndarray, output_size: Any, *, out: np.ndarray | None = None
) -> np.ndarray:
    """`adaptive_avg_pool2d` of one row.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_avg_pool1d(np.array([[[1.0, 2.0, 6.0]]]), 2)
    array([[[1.5, 4. ]]])
    """
    return _sequence(pooling.adaptive_avg_pool2d(_image(x), _row(output_size)), out)


def adaptive_avg_pool1d_backward(
    dy: np.ndarray, input_shape: Sequence[int], *, out: np.ndarray | None = None
) -> np.ndarray:
    """`adaptive_avg_pool2d_backward` of one row.

    Examples
    --------
    >>> import numpy as np
    >>> adaptive_avg_pool1d_backward(np.array([[[2.0, 4.0]]]), (1, 1, 3))
    array([[[1., 3., 2.]]])
    """
    dx = pooling.adaptive_avg_pool2d_backward(_image(dy), _image_shape(input_shape))
    return _sequence(dx, out)
