"""The checks of arguments, in one place: every message names function, argument, what came and
what was expected."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyconv.kernels._backend import backend, extension, is_on_device, may_overlap

__all__ = ["backend"]  # what this module hands on

_FLOATS = _FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
_PLAIN = frozenset((int, str, bool, type(None)))
ACTIVATIONS = {
    None: 0,
    "relu": 1,
    "relu6": 2,
    "leaky_relu": 3,
    "sigmoid": 4,
    "tanh": 5,
    "silu": 6,
    "gelu": 7,
}


def remembered(checked: Callable[..., Any]) -> Callable[..., Any]:
    """A function that checks arguments, with its last results kept: calls of small kernels would
    take longer to check than to compute.

    The first argument holds shapes of arrays; they are taken as they are. Of the others only ints,
    words, bools, None and tuples of ints are looked up: 1, 1.0 and True are equal keys in a tuple,
    and not equally good arguments.
    """
    keep = functools.lru_cache(maxsize=512, typed=True)(checked)

    def look_up(shapes: Any, *arguments: Any) -> Any:
        for argument in arguments:
            if type(argument) is tuple:
                for item in argument:
                    if type(item) is not int:
                        return checked(shapes, *arguments)
            elif type(argument) not in _PLAIN:
                return checked(shapes, *arguments)
        return keep(shapes, *arguments)

    return look_up


def kind(value: Any) -> str:
    """What came, in words, for a message."""
    if isinstance(value, np.ndarray) or is_on_device(value):
        whose = "" if isinstance(value, np.ndarray) else "CuPy "
        return f"{value.ndim}-D {value.dtype} {whose}array of shape {value.shape}"
    return f"{type(value).__name__} {value!r}" if _short(value) else type(value).__name__


def _short(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str, tuple)) and len(repr(value)) < 60


def float_array(function: str, argument: str, x: Any, ndim: int | tuple[int, ...]) -> np.ndarray:
    """`x` if it is a float32 or float64 array of that rank (an int, or several to choose from;
    () takes any rank up to 4)."""
    if (
        type(x) is np.ndarray
        and (x.dtype is _FLOAT32 or x.dtype is _FLOAT64)
        and (x.ndim == ndim or (type(ndim) is tuple and x.ndim in ndim))
    ):
        return x
    if not isinstance(x, np.ndarray):
        if is_on_device(x):
            extension(function, argument)
            raise TypeError(
                f"{function}: {argument} is a CuPy array, but {function} takes NumPy's alone"
            )
        raise TypeError(f"{function}: {argument} must be a NumPy array, got {kind(x)}")
    if x.dtype is not _FLOATS[0] and x.dtype not in _FLOATS:
        hint = ""
        if x.dtype.itemsize == 2 and x.dtype.kind in "fV":
            hint = "; convert it with .astype(numpy.float32): 16-bit types run on CUDA only"
        raise TypeError(f"{function}: {argument} must be float32 or float64, got {x.dtype}{hint}")
    check_rank(function, argument, x, ndim)
    return x


def any_array(function: str, argument: str, x: Any, ndim: int | tuple[int, ...]) -> Any:
    """As `float_array`, or a CuPy array of float32, for what both backends compute."""
    if type(x) is np.ndarray or not is_on_device(x):
        return float_array(function, argument, x, ndim)
    return _device_array(function, argument, x, ndim, "float32")


def storage_array(function: str, argument: str, x: Any, ndim: int | tuple[int, ...]) -> Any:
    """As `any_array`; on CUDA the 16-bit types in which images may be stored, too."""
    if type(x) is np.ndarray or not is_on_device(x):
        return float_array(function, argument, x, ndim)
    return _device_array(function, argument, x, ndim, "float32", "float16", "bfloat16")


def _device_array(
    function: str, argument: str, x: Any, ndim: int | tuple[int, ...], *dtypes: str
) -> Any:
    extension(function, argument)
    if x.dtype.name not in dtypes:
        wanted = " or ".join(filter(None, (", ".join(dtypes[:-1]), dtypes[-1])))
        raise TypeError(f"{function}: {argument} must be {wanted} on CUDA, got {x.dtype}")
    check_rank(function, argument, x, ndim)
    return x


def check_rank(function: str, argument: str, x: np.ndarray, ndim: int | tuple[int, ...]) -> None:
    ranks = (ndim,) if isinstance(ndim, int) else ndim
    if ranks and x.ndim not in ranks:
        wanted = " or ".join(f"{rank}-D" for rank in ranks)
        raise ValueError(
            f"{function}: {argument} must be {wanted}, got {x.ndim}-D of shape {x.shape}"
        )
    if not ranks and x.ndim > 4:
        raise ValueError(
            f"{function}: {argument} must have at most 4 dimensions, got shape {x.shape}"
        )


def same_dtype(function: str, **arrays: np.ndarray | None) -> None:
    """All arrays that are given have the dtype of the first."""
    first_name, first = None, None
    for name, x in arrays.items():
        if x is None:
            continue
        if first is None:
            first_name, first = name, x
        elif x.dtype is not first.dtype and x.dtype != first.dtype:
            raise TypeError(
                f"{function}: {name} must have the dtype of {first_name}, {first.dtype}, "
                f"got {x.dtype}"
            )


def bias_to_match(bias: Any, x: Any) -> Any:
    """`bias` for `same_dtype`: None where it is one of float32 beside 16-bit arrays, which is as
    good as one of their type."""
    if bias is None or x.dtype.itemsize != 2 or bias.dtype != _FLOAT32:
        return bias
    return None


def shape_of(function: str, argument: str, x: np.ndarray, shape: Sequence[int], why: str) -> None:
    """`x` has that shape; `why` says where it comes from."""
    if x.shape != tuple(shape):
        raise ValueError(
            f"{function}: {argument} must have shape {tuple(shape)} ({why}), got {x.shape}"
        )


def integer(function: str, argument: str, value: Any, minimum: int | None = None) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{function}: {argument} must be an int, got {kind(value)}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{function}: {argument} must be an int, got {kind(value)}") from None
    if minimum is not None and number < minimum:
        raise ValueError(f"{function}: {argument} must be at least {minimum}, got {number}")
    if abs(number) >= 2**62:
        raise ValueError(f"{function}: {argument} is too large, got {number}")
    return number


def number(
    function: str,
    argument: str,
    value: Any,
    minimum: float | None = None,
    maximum: float | None = None,
) -> float:
    if type(value) is not float and (
        isinstance(value, (bool, np.bool_))
        or not isinstance(value, (int, float, np.integer, np.floating))
    ):
        raise TypeError(f"{function}: {argument} must be a number, got {kind(value)}")
    result = float(value)
    if (minimum is not None and not result >= minimum) or (
        maximum is not None and not result <= maximum
    ):
        if maximum is None:
            wanted = f"at least {minimum}"
        elif minimum is None:
            wanted = f"at most {maximum}"
        else:
            wanted = f"from {minimum} to {maximum}"
        raise ValueError(f"{function}: {argument} must be {wanted}, got {value}")
    return result


def boolean(function: str, argument: str, value: Any) -> bool:
    if value is True or value is False:
        return value
    if not isinstance(value, np.bool_):
        raise TypeError(f"{function}: {argument} must be a bool, got {kind(value)}")
    return bool(value)


def one_of(function: str, argument: str, value: Any, choices: tuple[Any, ...]) -> Any:
    """`value`, if it is one of the choices."""
    if value not in choices:
        wanted = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{function}: {argument} must be one of {wanted}, got {value!r}")
    return value


def pair(function: str, argument: str, value: Any, minimum: int, rank: int = 2) -> tuple[int, ...]:
    """An int for both axes, or one int for each (`rank` of them)."""
    if isinstance(value, tuple):
        if len(value) != rank:
            wanted = "an int or a pair of ints" if rank == 2 else "an int or a tuple of one int"
            raise ValueError(f"{function}: {argument} must be {wanted}, got {value!r}")
        return tuple(integer(function, argument, item, minimum) for item in value)
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim > 0):
        raise TypeError(
            f"{function}: {argument} must be an int or a tuple of {rank} ints, got {kind(value)}"
        )
    return (integer(function, argument, value, minimum),) * rank


def pads(
    function: str, argument: str, value: Any, rank: int = 2, words: bool = True
) -> tuple[int, ...] | str:
    """(top, bottom, left, right) (in 1-D (left, right)), or "same"; "valid" gives zeros.

    Accepts an int, a tuple of `rank` ints, a tuple of `rank` pairs, or the words.
    """
    if isinstance(value, str):
        if words and value == "valid":
            return (0,) * (2 * rank)
        if words and value == "same":
            return "same"
        wanted = 'an int, pairs, "valid" or "same"' if words else "an int or pairs"
        raise ValueError(f"{function}: {argument} must be {wanted}, got {value!r}")
    if not isinstance(value, tuple):
        if isinstance(value, (list, np.ndarray)):
            raise TypeError(f"{function}: {argument} must be an int or a tuple, got {kind(value)}")
        return (integer(function, argument, value, 0),) * (2 * rank)
    if len(value) != rank:
        raise ValueError(
            f"{function}: {argument} must have {rank} entries, one an axis, got {value!r}"
        )
    result: list[int] = []
    for item in value:
        if isinstance(item, tuple):
            if len(item) != 2:
                raise ValueError(
                    f"{function}: {argument} must have pairs (before, after), got {item!r}"
                )
            result += [integer(function, argument, side, 0) for side in item]
        else:
            result += [integer(function, argument, item, 0)] * 2
    return tuple(result)


def shape_argument(function: str, argument: str, value: Any, rank: int) -> tuple[int, ...]:
    """A shape given as a tuple (or list) of `rank` ints from 0 on."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{function}: {argument} must be a tuple of ints, got {kind(value)}")
    if len(value) != rank:
        raise ValueError(
            f"{function}: {argument} must have {rank} entries, got {len(value)}: {tuple(value)}"
        )
    shape = tuple(integer(function, argument, item, 0) for item in value)
    check_count(function, argument, shape)
    return shape


def check_count(function: str, argument: str, shape: Sequence[int]) -> None:
    count = 1
    for item in shape:
        count *= max(item, 1)
    if count >= 2**60:
        raise ValueError(
            f"{function}: {argument} {tuple(shape)} has more elements than 64 bits can address"
        )


def activation(function: str, value: Any) -> tuple[int, float]:
    """The code of an activation and its slope (for leaky_relu)."""
    if value is None or isinstance(value, str):
        if value in ACTIVATIONS:
            return ACTIVATIONS[value], 0.01
    elif isinstance(value, tuple) and len(value) == 2 and value[0] == "leaky_relu":
        return ACTIVATIONS["leaky_relu"], number(function, "activation's slope", value[1])
    elif not isinstance(value, tuple):
        raise TypeError(
            f"{function}: activation must be None, a str or ('leaky_relu', slope), "
            f"got {kind(value)}"
        )
    names = ", ".join(name for name in ACTIVATIONS if name)
    raise ValueError(
        f"{function}: activation must be None, ('leaky_relu', slope) or one of "
        f"{names}, got {value!r}"
    )


def out_array(
    function: str, out: Any, shape: Sequence[int], dtype: np.dtype, *inputs: np.ndarray | None
) -> None:
    """`out` can take the result: shape, dtype, writable, apart from every input."""
    if out is None:
        return
    on_device = not isinstance(out, np.ndarray)
    if on_device and not (is_on_device(out) and is_on_device(inputs[0])):
        what = "a CuPy array" if is_on_device(inputs[0]) else "a NumPy array"
        raise TypeError(f"{function}: out must be {what}, got {kind(out)}")
    if out.dtype is not dtype and out.dtype != dtype:
        raise TypeError(f"{function}: out must be {dtype}, got {out.dtype}")
    if out.shape != tuple(shape):
        raise ValueError(f"{function}: out must have shape {tuple(shape)}, got {out.shape}")
    flags = out.flags
    if not on_device and not flags.writeable:
        raise ValueError(f"{function}: out must be writable, got a read-only array")
    if 0 in out.strides and any(
        s == 0 and n > 1 for s, n in zip(out.strides, out.shape, strict=True)
    ):
        raise ValueError(f"{function}: out must not be a broadcast array, its elements overlap")
    owns = flags.owndata
    for x in inputs:
        if x is None or (owns and x is not out and x.flags.owndata):
            continue  # two arrays that own their memory are apart
        if may_overlap(out, x):
            raise ValueError(f"{function}: out must not overlap an input")
