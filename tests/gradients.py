"""Gradients by differences, to compare the tape's with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyconv.autograd import Tensor, grad

STEP = 1e-5  # about eps^(1/3), where the errors of truncation and rounding of a central
TOLERANCE = 1e-7  # difference meet: both are near STEP^2 times a third derivative of order 1


def central_differences(
    function: Callable[[list[np.ndarray]], float], arrays: list[np.ndarray]
) -> list[np.ndarray]:
    """(f(x + h) - f(x - h)) / 2h for every element of every array."""
    results = []
    for array in arrays:
        slope = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + STEP
            above = function(arrays)
            array[index] = value - STEP
            below = function(arrays)
            array[index] = value
            slope[index] = (above - below) / (2 * STEP)
        results.append(slope)
    return results


def check_gradients(
    operation: Callable[..., Tensor], *arrays: np.ndarray, second: bool = True, seed: int = 0
) -> None:
    """The gradient of a random projection of the result, in every input, and (with `second`) that
    of a random projection of the gradients."""
    arrays = tuple(np.array(a, np.float64) for a in arrays)
    rng = np.random.default_rng(seed)
    direction = rng.uniform(-1, 1, operation(*(Tensor(a) for a in arrays)).shape)
    turns = [rng.uniform(-1, 1, a.shape) for a in arrays]

    def first(values: list[np.ndarray]) -> float:
        y = operation(*(Tensor(a) for a in values))
        return float((y.data * direction).sum())

    def slopes(values: list[np.ndarray], create_graph: bool) -> tuple[list[Tensor], Any]:
        inputs = [Tensor(a, requires_grad=True) for a in values]
        y = operation(*inputs)
        return inputs, grad(y, inputs, Tensor(direction), create_graph=create_graph)

    _, found = slopes(list(arrays), False)
    expected = central_differences(first, list(arrays))
    for slope, wanted in zip(found, expected, strict=True):
        assert slope.shape == wanted.shape
        assert not slope.requires_grad
        np.testing.assert_allclose(slope.data, wanted, rtol=TOLERANCE, atol=TOLERANCE * 10)
    if not second:
        return

    def turned(values: list[np.ndarray]) -> float:
        _, gradients = slopes(values, False)
        return float(sum((g.data * t).sum() for g, t in zip(gradients, turns, strict=True)))

    inputs, recorded = slopes(list(arrays), True)
    for slope, plain in zip(recorded, found, strict=True):  # both ways to the same numbers
        np.testing.assert_allclose(slope.data, plain.data, rtol=1e-10, atol=1e-12)
    total = Tensor(np.zeros(()))
    for g, t in zip(recorded, turns, strict=True):
        total = total + (g * t).sum()
    expected = central_differences(turned, list(arrays))
    if not total.requires_grad:  # linear in everything: all second derivatives are 0
        found = [None] * len(inputs)
    else:
        found = grad(total, inputs, allow_unused=True)
    for slope, wanted in zip(found, expected, strict=True):
        value = np.zeros_like(wanted) if slope is None else slope.data
        np.testing.assert_allclose(value, wanted, rtol=TOLERANCE, atol=TOLERANCE * 10)
