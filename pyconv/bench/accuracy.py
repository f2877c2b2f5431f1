"""Errors of float32 results against float64."""

from __future__ import annotations

import dataclasses

import numpy as np

from pyconv.bench.calls import run
from pyconv.bench.problems import Convolution

EPS = 2.0**-23


@dataclasses.dataclass(frozen=True)
class Error:
    """How far a result is from the exact one.

    Attributes
    ----------
    relative : float
        ``‖y - y64‖ / ‖y64‖``, Euclidean.
    factor : float
        The least c for which ``|y - y64| <= c · 2^-23 · Σ |x w|`` in each element, the sum being
        that over the products of the element. Direct kernels have c <= 4 on random signs.
    """

    relative: float
    factor: float


def exact(
    problem: Convolution, direction: str, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """The result in float64, by pyconv's direct kernels.

    Parameters
    ----------
    problem : Convolution
    direction : {"forward", "input", "weight"}
    first, second : ndarray
        x and weight; dy and weight; dy and x.

    Returns
    -------
    ndarray of float64

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.bench import exact, parse
    >>> p = parse("c2 k3 h4 r3")
    >>> exact(p, "forward", np.ones(p.input_shape()), np.ones(p.weight_shape))[0, 0]
    array([[18., 18.],
           [18., 18.]])
    """
    return run(problem, direction, first.astype(np.float64), second.astype(np.float64), "direct")


class Judge:
    """The exact result of a problem, to compare others with.

    Parameters
    ----------
    problem : Convolution
    direction : {"forward", "input", "weight"}
    first, second : ndarray
        As in `exact`. Forward and backward to the input, only the first image is compared.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.bench import Judge, exact, parse
    >>> p = parse("c2 k3 h4 r3")
    >>> rng = np.random.default_rng(0)
    >>> x, weight = rng.normal(size=p.input_shape()), rng.normal(size=p.weight_shape)
    >>> judge = Judge(p, "forward", x, weight)
    >>> judge(exact(p, "forward", x, weight)).relative
    0.0
    """

    def __init__(
        self, problem: Convolution, direction: str, first: np.ndarray, second: np.ndarray
    ) -> None:
        self._images = first.shape[0] if direction == "weight" else 1
        self._one_image = direction != "weight"
        first = first[: self._images]
        self._exact = exact(problem, direction, first, second)
        self._magnitude = exact(problem, direction, np.abs(first), np.abs(second))

    def __call__(self, y: np.ndarray) -> Error:
        """The error of a result.

        Raises
        ------
        ValueError
            Another shape.
        """
        y = y[: self._images] if self._one_image else y
        if y.shape != self._exact.shape:
            raise ValueError(f"Judge: y must have shape {self._exact.shape}, got {y.shape}")
        difference = np.abs(y - self._exact)
        norm = float(np.linalg.norm(self._exact))
        relative = float(np.linalg.norm(difference)) / norm if norm else 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where(difference == 0, 0.0, difference / (EPS * self._magnitude))
        return Error(relative, float(factor.max()))
