"""Parameters: the Tensors that are learned."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.autograd import Tensor


class Parameter(Tensor):
    """A Tensor that a `Module` finds and an optimizer changes.

    Parameters
    ----------
    data : array or Tensor
        Not copied.
    requires_grad : bool

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> nn.Parameter(np.zeros(2)).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def convolution_weight(out_channels: int, in_channels: int, *kernel: int) -> np.ndarray:
    """An empty weight, O×I×K..., that lies K...×I×O in memory, as the kernels read it."""
    rank = len(kernel)
    memory = np.empty((*kernel, in_channels, out_channels), np.float32)
    return memory.transpose(rank + 1, rank, *range(rank))


def transposed_weight(in_channels: int, out_channels: int, *kernel: int) -> np.ndarray:
    """An empty weight, I×O×K..., that lies K...×I×O in memory."""
    rank = len(kernel)
    memory = np.empty((*kernel, in_channels, out_channels), np.float32)
    return memory.transpose(rank, rank + 1, *range(rank))
