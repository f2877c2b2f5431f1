"""Initial values, filled in place; random ones follow from `pyconv.manual_seed`.

Every function takes a Tensor or array, fills it and returns it. The values are drawn in logical
order, whatever the order in memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pyconv._frozen import thaw
from pyconv.autograd import Tensor, assign
from pyconv.kernels import _checks as check
from pyconv.random import next_generator


def _array(function: str, tensor: Any) -> Any:
    """The array to fill, of floating-point numbers."""
    array = tensor.data if isinstance(tensor, Tensor) else tensor
    if not hasattr(array, "strides") or not hasattr(array, "dtype"):
        raise TypeError(
            f"{function}: tensor must be a Tensor or an array, got {type(tensor).__name__}"
        )
    if array.dtype.kind not in "fV":
        raise TypeError(f"{function}: tensor must be of floating-point numbers, got {array.dtype}")
    return thaw(array)


def _fill(function: str, tensor: Any, values: Any) -> Any:
    """`values` is an array, a number, or a function that draws an array of a shape."""
    array = _array(function, tensor)
    values = values(array.shape) if callable(values) else values
    assign(array, values.astype(array.dtype) if isinstance(values, np.ndarray) else values)
    return tensor


def _draw_uniform(function: str, tensor: Any, a: float, b: float) -> Any:
    generator = next_generator()
    return _fill(function, tensor, lambda shape: a + (b - a) * generator.random(shape))


def _draw_normal(function: str, tensor: Any, mean: float, std: float) -> Any:
    generator = next_generator()
    return _fill(function, tensor, lambda shape: mean + std * generator.standard_normal(shape))


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0) -> Any:
    """Uniform from a to b.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> bool((nn.init.uniform_(np.empty(5), 2, 3) >= 2).all())
    True
    """
    a, b = check.number("uniform_", "a", a), check.number("uniform_", "b", b)
    if not a <= b:
        raise ValueError(f"uniform_: a must be at most b, got {a} and {b}")
    return _draw_uniform("uniform_", tensor, a, b)


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0) -> Any:
    """Normal with a mean and a standard deviation."""
    mean = check.number("normal_", "mean", mean)
    return _draw_normal("normal_", tensor, mean, check.number("normal_", "std", std, 0.0))


def trunc_normal_(
    tensor: Any, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Any:
    """Normal, with nothing outside a..b.

    Notes
    -----
    What lies outside is drawn again. Where hardly anything lies inside, the draws are from a
    distribution there, uniform or exponential, that the normal one is cut out of (Robert,
    Simulation of truncated normal variables, 1995).
    """
    name = "trunc_normal_"
    mean = check.number(name, "mean", mean)
    if not check.number(name, "std", std) > 0:
        raise ValueError(f"{name}: std must be positive, got {std}")
    if not check.number(name, "a", a) < check.number(name, "b", b):
        raise ValueError(f"{name}: a must be below b, got {a} and {b}")
    generator = next_generator()
    low, high = (a - mean) / std, (b - mean) / std
    propose = _proposals(generator, low, high)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        values = np.empty(math.prod(shape))
        missing = np.arange(values.size)
        while missing.size:
            drawn, accepted = propose(missing.size)
            values[missing[accepted]] = drawn[accepted]
            missing = missing[~accepted]
        return np.clip(mean + std * values.reshape(shape), a, b)

    return _fill(name, tensor, draw)


def _proposals(generator: np.random.Generator, low: float, high: float) -> Any:
    """A function that draws n numbers and says which are of the normal distribution between."""
    if math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)) > 0.02:

        def normal(n: int) -> tuple[np.ndarray, np.ndarray]:
            z = generator.standard_normal(n)
            return z, (low <= z) & (z <= high)

        return normal
    if low <= 0 <= high:

        def uniform(n: int) -> tuple[np.ndarray, np.ndarray]:
            z = low + (high - low) * generator.random(n)
            return z, generator.random(n) <= np.exp(-z * z / 2)

        return uniform
    near, width = min(abs(low), abs(high)), high - low
    sign = 1.0 if low > 0 else -1.0

    def exponential(n: int) -> tuple[np.ndarray, np.ndarray]:
        # exp(-z^2 / 2) is exp(-near s) exp(-s^2 / 2) and a constant, s the way from the near end.
        s = -np.log1p(generator.random(n) * math.expm1(-near * width)) / near
        return sign * (near + s), generator.random(n) <= np.exp(-s * s / 2)

    return exponential


def constant_(tensor: Any, val: float) -> Any:
    """One value everywhere."""
    return _fill("constant_", tensor, check.number("constant_", "val", val))


def ones_(tensor: Any) -> Any:
    """Ones."""
    return _fill("ones_", tensor, 1)


def zeros_(tensor: Any) -> Any:
    """Zeros."""
    return _fill("zeros_", tensor, 0)


def eye_(tensor: Any) -> Any:
    """Ones on the diagonal of a matrix."""
    shape = _array("eye_", tensor).shape
    if len(shape) != 2:
        raise ValueError(f"eye_: tensor must be 2-D, got shape {shape}")
    return _fill("eye_", tensor, np.eye(*shape))


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """The convolution weight that passes channels on as they are."""
    shape = _array("dirac_", tensor).shape
    groups = check.integer("dirac_", "groups", groups, 1)
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
    if param is not None:
        param = check.number("calculate_gain", "param", param)
    return _gain("calculate_gain", nonlinearity, param)


def _gain(function: str, nonlinearity: Any, param: float | None) -> float:
    linear = ("linear", "sigmoid", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d")
    if nonlinearity in linear:
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"{function}: no gain is known for {nonlinearity!r}")


def fans(function: str, tensor: Any) -> tuple[int, int]:
    """Inputs of an output, outputs of an input, from the shape of a weight."""
    shape = _array(function, tensor).shape
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
    bound = _xavier("xavier_uniform_", tensor, gain, 6.0)
    return _draw_uniform("xavier_uniform_", tensor, -bound, bound)


def xavier_normal_(tensor: Any, gain: float = 1.0) -> Any:
    """Normal with the variance 2 gain² / (fan_in + fan_out) (Glorot and Bengio, 2010)."""
    std = _xavier("xavier_normal_", tensor, gain, 2.0)
    return _draw_normal("xavier_normal_", tensor, 0.0, std)


def _xavier(function: str, tensor: Any, gain: Any, factor: float) -> float:
    both = sum(fans(function, tensor))
    return check.number(function, "gain", gain) * math.sqrt(factor / max(both, 1))


def kaiming_uniform_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Any:
    """Uniform with the variance gain² / fan (He et al., 2015); `a` is the slope of leaky_relu."""
    gain, fan = _kaiming("kaiming_uniform_", tensor, a, mode, nonlinearity)
    bound = gain * math.sqrt(3.0 / fan)
    return _draw_uniform("kaiming_uniform_", tensor, -bound, bound)


def kaiming_normal_(
    tensor: Any, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Any:
    """Normal with the variance gain² / fan (He et al., 2015); `a` is the slope of leaky_relu."""
    gain, fan = _kaiming("kaiming_normal_", tensor, a, mode, nonlinearity)
    return _draw_normal("kaiming_normal_", tensor, 0.0, gain / math.sqrt(fan))


def _kaiming(function: str, tensor: Any, a: Any, mode: Any, nonlinearity: Any) -> tuple[float, int]:
    """The gain, and the number of inputs or outputs."""
    gain = _gain(function, nonlinearity, check.number(function, "a", a))
    return gain, max(_fan(function, tensor, mode), 1)


def orthogonal_(tensor: Any, gain: float = 1.0) -> Any:
    """Orthonormal rows or columns, times `gain` (Saxe, McClelland and Ganguli, 2014)."""
    fans("orthogonal_", tensor)
    gain = check.number("orthogonal_", "gain", gain)
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
