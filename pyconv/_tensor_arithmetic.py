"""Element by element, and matrix products: operations of Tensors, each with its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyconv import autograd, kernels
from pyconv._autocast import lowered, mode, raised

_quietly = np.errstate(all="ignore")  # NaN and Inf are results, as on any other device


def is_floating(dtype: np.dtype) -> bool:
    """Whether it is a type of floating-point numbers; bfloat16 is of kind "V"."""
    return dtype.kind in "fV"


def operand(name: str, one: Any, other: Any) -> Any:
    """`other` as a Tensor that may meet the Tensor `one`."""
    if isinstance(other, autograd.Tensor):
        if type(one.data) is not type(other.data) and one.device != other.device:
            raise TypeError(
                f"{name}: one Tensor is on {one.device}, the other on {other.device}; move one of "
                "them with .to()"
            )
        if one.dtype != other.dtype and is_floating(one.dtype) and is_floating(other.dtype):
            if mode.dtype is not None and one.dtype.itemsize == 4:
                return other.to(one.dtype)
            raise TypeError(f"{name}: {one.dtype} and {other.dtype} don't mix; convert one of them")
        if is_floating(one.dtype) and other.dtype.kind in "biu":
            return autograd.Tensor._wrap(other.data.astype(one.dtype))
        return other
    if isinstance(other, (bool, int, float)):
        scalar = type(other) if not is_floating(one.dtype) else None
        dtype = one.dtype if scalar is not float else np.dtype(np.float32)
        return autograd.Tensor._wrap(autograd.array_module(one.data).asarray(other, dtype))
    if isinstance(other, np.generic) and other.dtype.kind in "biuf":
        return operand(name, one, other.item())
    if isinstance(other, np.ndarray) or hasattr(other, "__cuda_array_interface__"):
        return operand(name, one, autograd.Tensor(other))
    raise TypeError(
        f"{name}: expected a Tensor, an array or a number beside a Tensor, "
        f"got {type(other).__name__}"
    )


def _pair(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands, one of which is a Tensor, as two that match."""
    if not isinstance(a, autograd.Tensor):
        return (
            (operand(name, b, a), b)
            if isinstance(b, autograd.Tensor)
            else _pair(name, autograd.Tensor(a), b)
        )
    if mode.dtype is not None and isinstance(b, autograd.Tensor) and b.dtype == np.float32:
        (a,) = raised(a)
    b = operand(name, a, b)
    if a.dtype.kind in "biu" and is_floating(b.dtype):
        a = autograd.Tensor._wrap(a.data.astype(b.dtype))
    return a, b


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """The sum of a gradient over the axes along which its operand was repeated."""
    if g.shape == shape:
        return g
    extra = g.ndim - len(shape)
    repeated = [extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1]
    axes = (*range(extra), *repeated)
    return g.sum(axes, keepdim=True).reshape(shape) if axes else g.reshape(shape)


@_quietly
def add(a: Any, b: Any) -> Any:
    """a + b."""
    a, b = _pair("add", a, b)
    a_shape, b_shape = a.shape, b.shape  # the graph must not keep arrays that it doesn't need

    def backward(dy: Any, needs: tuple[bool, ...]) -> Any:
        return (
            unbroadcast(dy, a_shape) if needs[0] else None,
            unbroadcast(dy, b_shape) if needs[1] else None,
        )

    return autograd.record("add", a.data + b.data, (a, b), backward)


@_quietly
def subtract(a: Any, b: Any) -> Any:
    """a - b."""
    a, b = _pair("subtract", a, b)
    a_shape, b_shape = a.shape, b.shape

    def backward(dy: Any, needs: tuple[bool, ...]) -> Any:
        return (
            unbroadcast(dy, a_shape) if needs[0] else None,
            unbroadcast(-dy, b_shape) if needs[1] else None,
        )

    return autograd.record("subtract", a.data - b.data, (a, b), backward)


def subtract_from(b: Any, a: Any) -> Any:
    """a - b, where only b is sure to be a Tensor."""
    return subtract(operand("subtract", b, a), b)


@_quietly
def multiply(a: Any, b: Any) -> Any:
    """a * b."""
    a, b = _pair("multiply", a, b)

    def backward(dy: Any, needs: tuple[bool, ...]) -> Any:
        return (
            unbroadcast(dy * b, a.shape) if needs[0] else None,
            unbroadcast(dy * a, b.shape) if needs[1] else None,
        )

    return autograd.record("multiply", a.data * b.data, (a, b), backward)


@_quietly
def divide(a: Any, b: Any) -> Any:
    """a / b."""
    a, b = _pair("divide", a, b)
    y = a.data / b.data
    if y.dtype.kind == "f" and a.dtype.kind in "biu":
        y = y.astype(np.float32)

    def backward(dy: Any, needs: tuple[bool, ...]) -> Any:
        return (
            unbroadcast(dy / b, a.shape) if needs[0] else None,
            unbroadcast(-dy * a / (b * b), b.shape) if needs[1] else None,
        )

    return autograd.record("divide", y, (a, b), backward)


def divide_into(b: Any, a: Any) -> Any:
    """a / b, where only b is sure to be a Tensor."""
    return divide(operand("divide", b, a), b)


@_quietly
def power(a: Any, b: Any) -> Any:
    """a ** b, for a number or a Tensor b."""
    (a,) = raised(a)
    if isinstance(b, (int, float)) and not isinstance(b, bool):
        exponent = b

        def backward(dy: Any, needs: tuple[bool, ...]) -> Any:
            if exponent == 0:
                return (dy * 0,)
            return (dy * exponent * (a if exponent == 2 else a ** (exponent - 1)),)

        y = a.data * a.data if exponent == 2 else a.data**exponent
        return autograd.record("power", y, (a,), backward)
    a, b = _pair("power", a, b)

    def backward_of_both(dy: Any, needs: tuple[bool, ...], y: Any) -> Any:
        da = db = None
        if needs[0]:
            da = unbroadcast(where(b.data == 0, 0.0, dy * b * a ** (b - 1)), a.shape)
        if needs[1]:  # 0 ** b is 0 for all b > 0: its slope is 0, where log(0) would give a NaN
            zero = (a.data == 0) & (b.data >= 0)
            db = unbroadcast(where(zero, 0.0, dy * y * log(where(zero, 1.0, a))), b.shape)
        return da, db

    return autograd.record("power", a.data**b.data, (a, b), backward_of_both, keep_output=True)


def power_of(b: Any, a: Any) -> Any:
    """a ** b, where only b is sure to be a Tensor."""
    return power(operand("power", b, a), b)


def negative(x: Any) -> Any:
    """-x."""
    return autograd.linear_map("negative", x, np.negative, np.negative)


@_quietly
def exp(x: Any) -> Any:
    """e ** x."""
    x = _floating("exp", x)
    y = autograd.array_module(x.data).exp(x.data)
    return autograd.record("exp", y, (x,), lambda dy, needs, y: (dy * y,), keep_output=True)


@_quietly
def log(x: Any) -> Any:
    """The natural logarithm."""
    x = _floating("log", x)
    y = autograd.array_module(x.data).log(x.data)
    return autograd.record("log", y, (x,), lambda dy, needs: (dy / x,))


@_quietly
def sqrt(x: Any) -> Any:
    """The square root."""
    x = _floating("sqrt", x)
    y = autograd.array_module(x.data).sqrt(x.data)
    return autograd.record("sqrt", y, (x,), lambda dy, needs, y: (dy / (y * 2),), keep_output=True)


def _floating(name: str, x: Any) -> Any:
    if x.dtype.kind in "biu":
        raise TypeError(f"{name}: expected a floating-point tensor, got {x.dtype}")
    return raised(x)[0]


def absolute(x: Any) -> Any:
    """abs(x); the slope at 0 is taken as 0."""
    xp = autograd.array_module(x.data)
    return autograd.record(
        "abs", xp.abs(x.data), (x,), lambda dy, needs: (dy * autograd.Tensor(xp.sign(x.data)),)
    )


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    """x kept between two numbers, either of which may be None; the slope is 1 at the ends."""
    if min is None and max is None:
        raise ValueError("clamp: give min, max or both")
    xp = autograd.array_module(x.data)
    y = x.data
    inside = xp.ones(x.shape, bool)
    if min is not None:
        inside &= ~(x.data < min)
        y = xp.maximum(y, xp.asarray(min, x.dtype))
    if max is not None:
        inside &= ~(x.data > max)
        y = xp.minimum(y, xp.asarray(max, x.dtype))
    ends = {"min": min, "max": max}
    return autograd.record(
        "clamp", y, (x,), lambda dy, needs: (where(inside, dy, 0.0),), details=ends
    )


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition (an array of bool) holds, else b.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.autograd import Tensor, where
    >>> where(np.array([True, False]), Tensor(np.array([1.0, 2.0])), 0.0)
    Tensor([1., 0.])
    """
    condition = condition.data if isinstance(condition, autograd.Tensor) else condition
    if getattr(condition, "dtype", None) != np.bool_:
        raise TypeError("where: condition must be an array of bool")
    a, b = _pair("where", a, b)
    a_shape, b_shape = a.shape, b.shape

    def backward(dy: Any, needs: tuple[bool, ...]) -> Any:
        return (
            unbroadcast(where(condition, dy, 0.0), a_shape) if needs[0] else None,
            unbroadcast(where(condition, 0.0, dy), b_shape) if needs[1] else None,
        )

    xp = autograd.array_module(a.data)
    return autograd.record("where", xp.where(condition, a.data, b.data), (a, b), backward)


def maximum(a: Any, b: Any) -> Any:
    """The larger of two, element by element; at a tie each gets half of the gradient."""
    return _choose("maximum", a, b, lambda a, b: a > b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two, element by element; at a tie each gets half of the gradient."""
    return _choose("minimum", a, b, lambda a, b: a < b)


def _choose(name: str, a: Any, b: Any, first_wins: Callable[[Any, Any], Any]) -> Any:
    a, b = _pair(name, a, b)
    xp = autograd.array_module(a.data)

    def backward(dy: Any, needs: tuple[bool, ...]) -> Any:
        share = (first_wins(a.data, b.data) + 0.5 * (a.data == b.data)).astype(dy.dtype)
        return (
            unbroadcast(dy * autograd.Tensor(share), a.shape) if needs[0] else None,
            unbroadcast(dy * autograd.Tensor(1 - share), b.shape) if needs[1] else None,
        )

    return autograd.record(name, getattr(xp, name)(a.data, b.data), (a, b), backward)


def relu(x: Any) -> Any:
    """max(x, 0); see `functional.relu`."""
    from pyconv import functional

    return functional.relu(x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)); see `functional.sigmoid`."""
    from pyconv import functional

    return functional.sigmoid(x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent; see `functional.tanh`."""
    from pyconv import functional

    return functional.tanh(x)


def _comparison(name: str, symbol: str) -> Callable[[Any, Any], Any]:
    def compare(a: Any, b: Any) -> Any:
        other = b.data if isinstance(b, autograd.Tensor) else b
        return getattr(a.data, name)(other)

    compare.__doc__ = f"a {symbol} b, as an array of bool."
    compare.__name__ = name
    return compare


less = _comparison("__lt__", "<")
less_equal = _comparison("__le__", "<=")
greater = _comparison("__gt__", ">")
greater_equal = _comparison("__ge__", ">=")
equal = _comparison("__eq__", "==")
not_equal = _comparison("__ne__", "!=")


def gemm(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    """The product of two matrices, each transposed or not."""

    def backward(dy: Any, needs: tuple[bool, ...]) -> Any:
        da = db = None
        if needs[0] and transpose_a:
            da = gemm(b, dy, transpose_b, True)
        elif needs[0]:
            da = gemm(dy, b, False, not transpose_b)
        if needs[1] and transpose_b:
            db = gemm(dy, a, True, transpose_a)
        elif needs[1]:
            db = gemm(a, dy, not transpose_a, False)
        return da, db

    y = kernels.gemm(a.data, b.data, transpose_a=transpose_a, transpose_b=transpose_b)
    return autograd.record("gemm", y, (a, b), backward, fresh=True)


def matmul(a: Any, b: Any) -> Any:
    """The matrix product over the last two axes; those before broadcast, vectors are allowed."""
    a, b = lowered(*_pair("matmul", a, b))
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul: both operands must have axes, use * for numbers")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} don't fit")
    if a.ndim == 1:
        return matmul(a.reshape(1, -1), b)[..., 0, :] if b.ndim > 1 else (a * b).sum()
    if b.ndim == 1:
        return matmul(a, b.reshape(-1, 1))[..., 0]
    if is_floating(a.dtype) and b.ndim == 2:
        y = gemm(a if a.ndim == 2 else a.reshape(-1, a.shape[-1]), b)
        return y if a.ndim == 2 else y.reshape(*a.shape[:-1], b.shape[1])
    return _batched_matmul(a, b)


@_quietly
def _batched_matmul(a: Any, b: Any) -> Any:
    def backward(dy: Any, needs: tuple[bool, ...]) -> Any:
        return (
            unbroadcast(matmul(dy, b.transpose(-1, -2)), a.shape) if needs[0] else None,
            unbroadcast(matmul(a.transpose(-1, -2), dy), b.shape) if needs[1] else None,
        )

    y = a.data @ b.data if isinstance(a.data, np.ndarray) else _products(a.data, b.data)
    return autograd.record("matmul", y, (a, b), backward)


def _products(a: Any, b: Any) -> Any:
    """a @ b on a device, without the libraries that CuPy would ask."""
    xp = autograd.array_module(a)
    leading = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    y = xp.empty((*leading, a.shape[-2], b.shape[-1]), a.dtype)
    a, b = (xp.broadcast_to(x, (*leading, *x.shape[-2:])) for x in (a, b))
    for i in np.ndindex(leading):
        kernels.gemm(a[i], b[i], out=y[i])
    return y


def matmul_from(b: Any, a: Any) -> Any:
    """a @ b, where only b is sure to be a Tensor."""
    return matmul(operand("matmul", b, a), b)
