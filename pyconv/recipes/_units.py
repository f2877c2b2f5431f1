"""Which part of a layer is meant."""

from __future__ import annotations

from typing import Any

from pyconv.kernels import _checks as check


def checked_unit(function: str, unit: Any, shape: tuple[int, ...], layer: str) -> tuple[int, ...]:
    """A channel (or class) as (c,), a neuron as (c, y, x), of an output N×C... of this shape."""
    whole = unit if isinstance(unit, tuple) else (unit,)
    if len(whole) not in (1, len(shape) - 1):
        raise ValueError(
            f"{function}: unit must be a channel, or a position (channel, row, column) in layer "
            f"{layer!r} of output shape {shape[1:]}, got {unit!r}"
        )
    found = tuple(check.integer(function, "unit", u, 0) for u in whole)
    for u, size in zip(found, shape[1:], strict=False):
        if u >= size:
            raise ValueError(
                f"{function}: unit {unit!r} is outside of layer {layer!r}, whose output has the "
                f"shape {shape[1:]}"
            )
    return found


def activation(features: Any, picture: int, unit: tuple[int, ...]) -> Any:
    """Of one picture: the unit's value; a channel's is the mean over its positions."""
    index = (picture, *unit)
    found = features[index]
    return found if found.ndim == 0 else found.mean()


def name_of(unit: tuple[int, ...]) -> str:
    """For a title."""
    return str(unit[0]) if len(unit) == 1 else ",".join(map(str, unit))
