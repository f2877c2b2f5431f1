"""Attacks by evolution: the model is a function that is asked, nothing more."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.kernels import _checks as check
from pyconv.recipes._pictures import one_picture
from pyconv.recipes._steps import steps_with_bar
from pyconv.recipes.adversarial._attack import Attack, Predict, attack_of, class_number


def evolution(
    predict: Predict,
    picture: Any,
    target: int | None = None,
    *,
    epsilon: float = 0.1,
    population: int = 24,
    generations: int = 200,
    mutation: float = 0.02,
    cells: int = 8,
    seed: int = 0,
    progress: bool = True,
) -> Attack:
    """A population of perturbations with selection, crossover and mutation; the model is a function
    that is asked, nothing more.

    Parameters
    ----------
    predict : callable
        From pictures, N×C×H×W in 0..1, to probabilities, N×K.
    picture : ndarray, C×H×W or 1×C×H×W
        In 0..1.
    target : int, optional
        The wanted class; by default any other than what the picture is taken for.
    epsilon : float
        The greatest change of a pixel.
    population : int
        Perturbations in a generation, at least 4.
    generations : int
        At the most.
    mutation : float
        The share of a perturbation's cells that change from one generation to the next.
    cells : int
        A perturbation is made of squares of ±epsilon, so many along each side.
    seed : int
    progress : bool

    Returns
    -------
    Attack
        The history has the best and the mean ``fitness`` of each generation: the logarithm of how
        much likelier the target is than the likeliest other class (without a target, how much
        likelier another class is than what the picture is taken for); above 0 it has won.

    Raises
    ------
    TypeError, ValueError
        A picture out of 0..1; `predict` gives no probabilities; arguments out of range.

    Notes
    -----
    Alzantot et al., GenAttack: practical black-box attacks with gradient-free optimization (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.recipes import adversarial
    >>> def predict(x):  # bright or dark
    ...     bright = 1 / (1 + np.exp(-50 * (x.mean((1, 2, 3)) - 0.5)))
    ...     return np.stack([1 - bright, bright], 1)
    >>> found = adversarial.evolution(predict, np.full((1, 8, 8), 0.48, np.float32),
    ...                               progress=False)
    >>> bool(found.success[0]), found.after.tolist()
    (True, [1])
    """
    name = "evolution"
    x = one_picture(name, "picture", picture)
    check.number(name, "epsilon", epsilon, 0.0, 1.0)
    check.number(name, "mutation", mutation, 0.0, 1.0)
    for argument, value, least in (
        ("population", population, 4), ("generations", generations, 1), ("cells", cells, 1),
    ):  # fmt: skip
        check.integer(name, argument, value, least)
    rng = np.random.default_rng(check.integer(name, "seed", seed, 0))
    ask = _Counted(name, predict)
    before = ask(x)
    wanted = _goal(name, before, target)
    channels, height, width = x.shape[1:]
    down, across = (np.arange(n) * cells // n for n in (height, width))
    genes = epsilon * rng.choice([-1.0, 1.0], (population, channels, cells, cells))
    history = []
    with steps_with_bar(generations, name, progress) as bar:
        for step in bar:
            grown = genes[:, :, down[:, None], across]
            shown = np.clip(x + grown, 0, 1).astype(np.float32)
            answers = ask(shown)
            fitness = _fitness(answers, wanted, target)
            best = int(fitness.argmax())
            row = {"best": float(fitness[best]), "mean": float(fitness.mean())}
            history.append({"step": step, **row})
            bar.set_postfix(best=f"{row['best']:.3g}", refresh=False)
            if (answers[best].argmax() == wanted) == (target is not None):
                break
            # The fitter are chosen more often; the fittest lives on as it is.
            chance = np.exp(fitness - fitness.max())
            chance /= chance.sum()
            mothers, fathers = rng.choice(population, (2, population - 1), p=chance)
            share = 1 / (1 + np.exp(fitness[fathers] - fitness[mothers]))
            from_mother = (
                rng.random((population - 1, *genes.shape[1:])) < share[:, None, None, None]
            )
            children = np.where(from_mother, genes[mothers], genes[fathers])
            changes = rng.random(children.shape) < mutation
            children = np.where(changes, -children, children)
            genes = np.concatenate([genes[best : best + 1], children])
    result = shown[best : best + 1]
    return attack_of(
        result, x, before, answers[best : best + 1], np.array([wanted]), history, ask.count,
        target is not None,
    )  # fmt: skip


def pixels(
    predict: Predict,
    picture: Any,
    n: int = 5,
    target: int | None = None,
    *,
    population: int = 40,
    generations: int = 100,
    weight: float = 0.5,
    seed: int = 0,
    progress: bool = True,
) -> Attack:
    """Change a few pixels, places and colours found by differential evolution: a child is
    a + F (b - c) of three others, and takes its parent's place if it is fitter.

    Parameters
    ----------
    predict : callable
        From pictures, N×C×H×W in 0..1, to probabilities, N×K.
    picture : ndarray, C×H×W or 1×C×H×W
        In 0..1.
    n : int
        Pixels that may change.
    target : int, optional
        The wanted class; by default any other than what the picture is taken for.
    population : int
        At least 4.
    generations : int
        At the most.
    weight : float
        F.
    seed : int
    progress : bool

    Returns
    -------
    Attack
        The history has the best and the mean ``fitness`` of each generation.

    Raises
    ------
    TypeError, ValueError
        A picture out of 0..1; `predict` gives no probabilities; arguments out of range.

    Notes
    -----
    Su, Vargas and Sakurai, One pixel attack for fooling deep neural networks (2019); Storn and
    Price, Differential evolution (1997).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.recipes import adversarial
    >>> def predict(x):  # is the corner bright?
    ...     return np.stack([1 - x[:, 0, 0, 0], x[:, 0, 0, 0]], 1)
    >>> found = adversarial.pixels(predict, np.zeros((1, 4, 4), np.float32), 1, progress=False)
    >>> bool(found.success[0]), int((found.perturbation != 0).sum())
    (True, 1)
    """
    name = "pixels"
    x = one_picture(name, "picture", picture)
    check.number(name, "weight", weight, 0.0)
    for argument, value, least in (
        ("n", n, 1), ("population", population, 4), ("generations", generations, 1),
    ):  # fmt: skip
        check.integer(name, argument, value, least)
    rng = np.random.default_rng(check.integer(name, "seed", seed, 0))
    ask = _Counted(name, predict)
    before = ask(x)
    wanted = _goal(name, before, target)
    channels, height, width = x.shape[1:]

    def painted(genes: np.ndarray) -> np.ndarray:
        """Each gene: row and column in 0..1, and a colour."""
        shown = np.repeat(np.ascontiguousarray(x), len(genes), 0)
        rows = np.minimum(np.mod(genes[..., 0], 1) * height, height - 1).astype(int)
        columns = np.minimum(np.mod(genes[..., 1], 1) * width, width - 1).astype(int)
        for k in range(n):
            colors = np.clip(genes[:, k, 2:], 0, 1)
            shown[np.arange(len(genes)), :, rows[:, k], columns[:, k]] = colors
        return shown

    genes = rng.random((population, n, 2 + channels))
    answers = ask(painted(genes))
    fitness = _fitness(answers, wanted, target)
    history = []
    with steps_with_bar(generations, name, progress) as bar:
        for step in bar:
            best = int(fitness.argmax())
            history.append(
                {"step": step, "best": float(fitness[best]), "mean": float(fitness.mean())}
            )
            bar.set_postfix(best=f"{fitness[best]:.3g}", refresh=False)
            if (answers[best].argmax() == wanted) == (target is not None):
                break
            three = np.stack([rng.permutation(population - 1)[:3] for _ in range(population)])
            three += three >= np.arange(population)[:, None]  # never the parent itself
            a, b, c = (genes[three[:, i]] for i in range(3))
            children = a + weight * (b - c)
            asked = ask(painted(children))
            better = _fitness(asked, wanted, target)
            wins = better > fitness
            genes[wins], answers[wins], fitness[wins] = children[wins], asked[wins], better[wins]
    best = int(fitness.argmax())
    return attack_of(
        painted(genes[best : best + 1]), x, before, answers[best : best + 1], np.array([wanted]),
        history, ask.count, target is not None,
    )  # fmt: skip


class _Counted:
    """A function from pictures to probabilities that counts the pictures it was shown."""

    def __init__(self, function: str, predict: Any) -> None:
        if not callable(predict):
            raise TypeError(
                f"{function}: predict must be a function from pictures to probabilities, got "
                f"{type(predict).__name__}"
            )
        self.function, self.predict, self.count = function, predict, 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.count += len(x)
        found = np.asarray(self.predict(x))
        sums = found.sum(1) if found.ndim == 2 else None
        if sums is None or len(found) != len(x) or found.min() < 0 or abs(sums - 1).max() > 1e-3:
            raise ValueError(
                f"{self.function}: predict must give probabilities, {len(x)}×K, rows that sum to "
                f"1, got shape {found.shape}"
            )
        return found


def _goal(function: str, before: np.ndarray, target: Any) -> int:
    if target is None:
        return int(before[0].argmax())
    return class_number(function, "target", target, before.shape[1])


def _fitness(answers: np.ndarray, wanted: int, target: int | None) -> np.ndarray:
    """How much likelier the target is than the likeliest other class, as a logarithm; without a
    target, how much likelier any other class is than the one it was."""
    logs = np.log(np.maximum(answers, 1e-12))
    others = np.delete(logs, wanted, 1).max(1)
    return logs[:, wanted] - others if target is not None else others - logs[:, wanted]
