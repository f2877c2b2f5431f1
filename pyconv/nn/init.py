"""Initial values, filled in place; random ones follow from `pyconv.manual_seed`.

Every function takes a Tensor or array, fills it and returns it. The values are drawn in logical
order, whatever the order in memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pyconv.autograd import Tensor
from pyconv.random import next_generator


def _fill(function: str, tensor: Any, values: Any) -> Any:
    array = tensor.data if isinstance(tensor, Tensor) else tensor
    if not hasattr(array, "strides"):
        raise TypeError(
            f"{function}: tensor must be a Tensor or an array, got {type(tensor).__name__}"
        )
    values = values(array.shape) if callable(values) else values
    if not isinstance(array, np.ndarray) and isinstance(values, np.ndarray):
        values = type(array)(values.astype(array.dtype))
    array[...] = values
    return tensor


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0) -> Any:
    """Uniform from a to b.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> bool((nn.init.uniform_(np.empty(5), 2, 3) >= 2).all())
    True
    """
    generator = next_generator()
    return _fill("uniform_", tensor, lambda shape: a + (b - a) * generator.random(shape))


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    """Normal with a mean and a standard deviation."""
    generator = next_generator()
    return _fill("normal_", tensor, lambda shape: mean + std * generator.standard_normal(shape))


def trunc_normal_(
    tensor: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Any:
    """Normal, with what lies outside a..b drawn again."""
    generator = next_generator()

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        values = mean + std * generator.standard_normal(shape)
        while (outside := (values < a) | (values > b)).any():
            values[outside] = mean + std * generator.standard_normal(int(outside.sum()))
        return values

    return _fill("trunc_normal_", tensor, draw)


def constant_(tensor: Any, val: float) -> Any:
    """One value everywhere."""
    return _fill("constant_", tensor, val)


def ones_(tensor: Any) -> Any:
    """Ones."""
    return _fill("ones_", tensor, 1)


def zeros_(tensor: Any) -> Any:
    """Zeros."""
    return _fill("zeros_", tensor, 0)


def eye_(tensor: Any) -> Any:
    """Ones on the diagonal of a matrix."""
    if len(tensor.shape) != 2:
        raise ValueError(f"eye_: tensor must be 2-D, got shape {tensor.shape}")
    return _fill("eye_", tensor, np.eye(*tensor.shape))


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """The convolution weight that passes channels on as they are."""
    shape = tensor.shape
    if len(shape) not in (3, 4) or shape[0] % groups:
        raise ValueError(
            f"dirac_: tensor must be 3-D or 4-D with a first axis that groups divide, got {shape}"
        )
    values = np.zeros(shape)
    per_group = shape[0] // groups
    centre = tuple(k // 2 for k in shape[2:])
    for group in range(groups):
        for i in range(min(per_group, shape[1])):
            values[(group * per_group + i, i) + centre] = 1
    return _fill("dirac_", tensor, values)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much the weights have to be larger to keep the variance through an activation.

    Examples
    --------
    >>> from pyconv import nn
    >>> nn.init.calculate_gain("relu") ** 2
    2.0000000000000004
    """
    linear = ("linear", "sigmoid", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d")
    if nonlinearity in linear:
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else float(param)
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"calculate_gain: no gain is known for {nonlinearity!r}")


def fans(function: str, tensor: Any) -> tuple[int, int]:
    """Inputs of an output, outputs of an input, from the shape of a weight."""
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError(f"{function}: tensor must have at least 2 axes, got shape {shape}")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def _fan(function: str, tensor: Any, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'{function}: mode must be "fan_in" or "fan_out", got {mode!r}')
    return fans(function, tensor)[mode == "fan_out"]


def xavier_uniform_(tensor: Any, gain: float = 1.0) -> Any:
    """Uniform with the variance 2 gain² / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6.0 / sum(fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Any, gain: float = 1.0) -> Any:
    """Normal with the variance 2 gain² / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans("xavier_normal_", tensor))))


def kaiming_uniform_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Any:
    """Uniform with the variance gain² / fan (He et al., 2015); `a` is the slope of leaky_relu."""
    fan = _fan("kaiming_uniform_", tensor, mode)
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3.0 / max(fan, 1))
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Any:
    """Normal with the variance gain² / fan (He et al., 2015); `a` is the slope of leaky_relu."""
    fan = _fan("kaiming_normal_", tensor, mode)
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1)))


def orthogonal_(tensor: Any, gain: float = 1.0) -> Any:
    """Orthonormal rows or columns, times `gain` (Saxe, McClelland and Ganguli, 2014)."""
    fans("orthogonal_", tensor)
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    values = next_generator().standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(values)
    q = q * np.sign(np.diag(r))  # makes the distribution uniform
    q = q.T if rows < columns else q
    return _fill("orthogonal_", tensor, gain * q.reshape(tensor.shape))


def layer_(weight: Any, bias: Any) -> None:
    """What convolutions and dense layers start with: uniform within ±1 / sqrt(fan_in)."""
    kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(max(fans("layer_", weight)[0], 1))
        uniform_(bias, -bound, bound)
