"""Problems as calls of kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv import kernels
from pyconv.bench.problems import Convolution

# What a direction reads, in the order of the kernel's arguments.
_READS = {"forward": ("x", "weight"), "input": ("dy", "weight"), "weight": ("dy", "x")}


def operands(problem: Convolution, direction: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The two arrays that a direction reads: normal numbers, channels-last in memory.

    Parameters
    ----------
    problem : Convolution
    direction : {"forward", "input", "weight"}
    seed : int
        The same one gives the same numbers in every process.

    Returns
    -------
    first, second : ndarray of float32
        x and weight; dy and weight; dy and x.

    Examples
    --------
    >>> from pyconv.bench import operands, parse
    >>> [a.shape for a in operands(parse("c2 k3 h4 r3"), "input")]
    [(1, 3, 2, 2), (3, 2, 3, 3)]
    """
    shapes = {
        "x": problem.input_shape(),
        "dy": problem.output_shape(),
        "weight": problem.weight_shape,
    }
    first, second = (
        _normal(shapes[name], name == "weight", np.random.default_rng([seed, *map(ord, name)]))
        for name in _READS[direction]
    )
    return first, second


def _normal(shape: tuple[int, ...], parameter: bool, rng: np.random.Generator) -> np.ndarray:
    """Numbers that don't depend on the order in memory; aligned to a line of the cache."""
    axes = (2, 3, 1, 0) if parameter else (0, 2, 3, 1)
    inside = tuple(shape[axis] for axis in axes)
    count = int(np.prod(shape))
    memory = np.empty(4 * count + 64, np.uint8)
    start = -memory.ctypes.data % 64
    found = memory[start : start + 4 * count].view(np.float32).reshape(inside)
    rng.standard_normal(out=found, dtype=np.float32)
    return found.transpose(np.argsort(axes))


def run(
    problem: Convolution,
    direction: str,
    first: np.ndarray,
    second: Any,
    algorithm: str = "auto",
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Call the kernel of a direction.

    Parameters
    ----------
    problem : Convolution
    direction : {"forward", "input", "weight"}
    first, second : ndarray
        As `operands` gives them; a packed weight will do forward.
    algorithm : str
    out : ndarray, optional

    Returns
    -------
    ndarray

    Examples
    --------
    >>> from pyconv.bench import operands, parse, run
    >>> p = parse("c2 k3 h4 r3")
    >>> run(p, "weight", *operands(p, "weight")).shape
    (3, 2, 3, 3)
    """
    options: dict[str, Any] = {**problem.geometry, "algorithm": algorithm, "out": out}
    if direction == "forward":
        if problem.transposed:
            options["output_padding"] = problem.output_padding
        return getattr(kernels, problem.name)(first, second, **options)
    batch = first.shape[0]
    shape = problem.input_shape(batch) if direction == "input" else problem.weight_shape
    function = getattr(kernels, f"{problem.name}_backward_{direction}")
    return function(first, second, shape, **options)


def pack(problem: Convolution, weight: np.ndarray, algorithm: str = "auto") -> Any:
    """The weight as forward reads it; a transposed convolution takes it as it is."""
    if problem.transposed:
        return weight
    options: dict[str, Any] = dict(problem.geometry)
    return kernels.pack_weight(weight, problem.input_shape(), **options, algorithm=algorithm)


def _question(problem: Convolution, direction: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What `kernels.explain` and `kernels.algorithms` are asked."""
    name = problem.name if direction == "forward" else f"{problem.name}_backward_{direction}"
    options: dict[str, Any] = dict(problem.geometry)
    if problem.transposed:
        options["output_padding"] = problem.output_padding
    return (name, problem.input_shape(), problem.weight_shape), options


def algorithms(problem: Convolution, direction: str) -> list[str]:
    """`kernels.algorithms` for a direction: those that take the problem.

    Examples
    --------
    >>> from pyconv.bench import algorithms, parse
    >>> "direct" in algorithms(parse("dw c8 h9 r3"), "forward")
    True
    """
    arguments, options = _question(problem, direction)
    return kernels.algorithms(*arguments, **options)


def explain(problem: Convolution, direction: str) -> kernels.Explanation:
    """`kernels.explain` for a direction.

    Examples
    --------
    >>> from pyconv.bench import explain, parse
    >>> explain(parse("dw c8 h9 r3"), "forward").algorithm
    'depthwise'
    """
    arguments, options = _question(problem, direction)
    return kernels.explain(*arguments, **options)
