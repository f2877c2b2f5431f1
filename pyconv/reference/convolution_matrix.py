"""The convolution as a dense layer: one row for each output, one column for each input.

A row holds the kernel at the cells that its output sees, and zeros elsewhere. Rows share their
entries, so that the gradient of a weight is the sum over all positions that hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _shapes as shapes


def conv2d_matrix(
    weight: np.ndarray,
    input_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> np.ndarray:
    """The dense matrix M with ``conv2d(x, weight, ...).ravel() == M @ x.ravel()``.

    Parameters
    ----------
    weight : ndarray, O×(C/groups)×KH×KW, of any dtype
    input_shape : (N, C, H, W)
    stride, padding, dilation, groups : as in `conv2d`

    Returns
    -------
    ndarray, (N·O·OH·OW)×(N·C·H·W)
        Block-diagonal: one block for each image.

    Examples
    --------
    >>> import numpy as np
    >>> weight = np.array([[[[1, 2], [3, 4]]]])
    >>> conv2d_matrix(weight, (1, 1, 2, 3))
    array([[1, 2, 0, 3, 4, 0],
           [0, 1, 2, 0, 3, 4]])
    """
    n, channels, *size = input_shape
    out_channels, group_channels, *kernel = weight.shape
    stride, dilation = shapes.pair(stride), shapes.pair(dilation)
    frame = shapes.resolve_padding(
        padding, shapes.pair(size), shapes.pair(kernel), stride, dilation
    )
    outputs = [
        shapes.conv_output_size(size[a], frame[a], kernel[a], stride[a], dilation[a])
        for a in (0, 1)
    ]
    block = np.zeros((out_channels, *outputs, channels, *size), weight.dtype)
    for o in range(out_channels):
        first = o // (out_channels // groups) * group_channels
        for i, j in np.ndindex(*kernel):
            for p, q in np.ndindex(*outputs):
                row = p * stride[0] + i * dilation[0] - frame[0][0]
                column = q * stride[1] + j * dilation[1] - frame[1][0]
                if 0 <= row < size[0] and 0 <= column < size[1]:
                    block[o, p, q, first : first + group_channels, row, column] = weight[o, :, i, j]
    rows, columns = out_channels * outputs[0] * outputs[1], channels * size[0] * size[1]
    matrix = np.zeros((n, rows, n, columns), weight.dtype)
    for image in range(n):
        matrix[image, :, image] = block.reshape(rows, columns)
    return matrix.reshape(n * rows, n * columns)


def conv2d_matrix_backward(
    dy: np.ndarray,
    x: np.ndarray,
    weight_shape: Sequence[int],
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> np.ndarray:
    """The gradient of the weight through `conv2d_matrix`.

    A dense layer y = M x has the gradient dM = dy x^T. Of that, a weight gets the sum over the
    positions of M where it stands; the other positions are zeros by construction and stay so.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d_matrix_backward(np.ones((1, 1, 2, 2)), x, (1, 1, 2, 2))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    # The matrix of the weights' numbers, from 1, says which weight stands where.
    count = int(np.prod(weight_shape))
    numbers = np.arange(1, count + 1).reshape(tuple(weight_shape))
    where = conv2d_matrix(
        numbers, x.shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    d_matrix = np.outer(dy, x)
    sums = np.bincount(where.ravel(), weights=d_matrix.ravel(), minlength=count + 1)
    return sums[1:].reshape(tuple(weight_shape)).astype(x.dtype)
