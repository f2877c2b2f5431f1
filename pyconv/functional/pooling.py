"""Pooling: each is a linear map once the windows (and who won in them) are known."""

from __future__ import annotations

from typing import Any

from pyconv import kernels
from pyconv.autograd import Tensor, array_module, linear_map, record
from pyconv.functional._common import as_tensor, records


def max_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    activation: str | None = None,
) -> Any:
    """The largest element of each window.

    Parameters
    ----------
    x : Tensor or array, N×C×H×W
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        `kernel_size` by default.
    padding : int, pairs, "valid" or "same"
        With elements that never win; smaller than the window.
    dilation : int or (int, int)
    ceil_mode : bool
        Let the last window reach over the edge.
    return_indices : bool
        Return where the largest lies, too, flat in the H×W plane.
    activation : {None, "relu"}
        Applied to the result; where that is 0, the index is -1.

    Returns
    -------
    Tensor, N×C×OH×OW, or (Tensor, array of int)

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    Tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool2d", x, window, return_indices, activation)


def max_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    activation: str | None = None,
) -> Any:
    """`max_pool2d` of sequences, N×C×L."""
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool1d", x, window, return_indices, activation)


def _max_pool(
    name: str, x: Any, window: tuple[Any, ...], return_indices: bool, activation: str | None
) -> Any:
    x = as_tensor(name, "x", x)
    if not isinstance(return_indices, bool):
        raise TypeError(f"{name}: return_indices must be a bool, got {return_indices!r}")
    forward = getattr(kernels, name)
    if not return_indices and not records(x):
        return Tensor._wrap(forward(x.data, *window, return_indices=False, activation=activation))
    y, indices = forward(x.data, *window, return_indices=True, activation=activation)
    shape, xp = x.shape, array_module(x.data)
    adjoint = getattr(kernels, f"{name}_backward")

    def gather(a: Any) -> Any:
        planes, cells = a.reshape(*shape[:2], -1), indices.reshape(*shape[:2], -1)
        taken = xp.take_along_axis(planes, xp.maximum(cells, 0), 2)
        return xp.where(cells >= 0, taken, 0).astype(a.dtype).reshape(indices.shape)

    def scatter(g: Any) -> Any:
        return adjoint(g, indices, shape, *window)

    def backward(dy: Tensor, needs: tuple[bool, ...]) -> tuple[Tensor]:
        return (linear_map(f"{name}_backward", dy, scatter, gather, fresh=True),)

    details = {"activation": activation}
    result = record(name, y, (x,), backward, fresh=True, details=details)
    return (result, indices) if return_indices else result


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    Parameters
    ----------
    x : Tensor or array, N×C×H×W
    kernel_size, stride, padding, ceil_mode
        See `max_pool2d`.
    count_include_pad : bool
        Whether the zeros of the padding count.
    divisor_override : int, optional
        Divide the sum by this.

    Returns
    -------
    Tensor, N×C×OH×OW

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape or geometry.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    Tensor([[[[ 2.5,  4.5],
              [10.5, 12.5]]]])
    """
    window = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _linear_pool("avg_pool2d", x, window)


def avg_pool1d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """`avg_pool2d` of sequences, N×C×L."""
    window = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _linear_pool("avg_pool1d", x, window)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Tensor:
    """The means of windows that share the image evenly.

    Parameters
    ----------
    x : Tensor or array, N×C×H×W
    output_size : int or (int or None, int or None)
        None keeps the size of an axis.

    Returns
    -------
    Tensor, N×C×OH×OW

    Raises
    ------
    TypeError, ValueError
        Wrong type, dtype, rank, shape or size.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import functional as F
    >>> F.adaptive_avg_pool2d(np.ones((1, 2, 5, 7)), (None, 3)).shape
    (1, 2, 5, 3)
    """
    return _adaptive_pool("adaptive_avg_pool2d", x, output_size)


def adaptive_avg_pool1d(x: Any, output_size: Any) -> Tensor:
    """`adaptive_avg_pool2d` of sequences, N×C×L."""
    return _adaptive_pool("adaptive_avg_pool1d", x, output_size)


def _adaptive_pool(name: str, x: Any, output_size: Any) -> Tensor:
    x = as_tensor(name, "x", x)
    rank = 2 if name.endswith("2d") else 1
    if output_size is None or isinstance(output_size, tuple):
        sizes = output_size if isinstance(output_size, tuple) else (None,) * rank
        if len(sizes) == rank and x.ndim == rank + 2:
            sizes = tuple(n if s is None else s for s, n in zip(sizes, x.shape[2:], strict=True))
        output_size = sizes
    forward, adjoint = getattr(kernels, name), getattr(kernels, f"{name}_backward")
    shape = x.shape
    return linear_map(
        name, x, lambda a: forward(a, output_size), lambda g: adjoint(g, shape), fresh=True
    )


def _linear_pool(name: str, x: Any, window: tuple[Any, ...]) -> Tensor:
    x = as_tensor(name, "x", x)
    forward, adjoint = getattr(kernels, name), getattr(kernels, f"{name}_backward")
    shape = x.shape
    return linear_map(
        name, x, lambda a: forward(a, *window), lambda g: adjoint(g, shape, *window), fresh=True
    )
