"""Pictures that deceive a classifier: changed along its gradient, or by evolution, which sees no
more than its answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from pyconv import functional
from pyconv.autograd import no_grad
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes import _ascent
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes._pictures import as_pictures, one_picture
from pyconv.recipes._result import Result
from pyconv.recipes._steps import steps_with_bar

__all__ = ["Attack", "evolution", "fgsm", "fool", "gradient", "pgd", "pixels"]


@dataclasses.dataclass
class Attack(Result):
    """Pictures before and after.

    Attributes
    ----------
    originals : ndarray, N×C×H×W
    before, after : ndarray of int, N
        What the model took them for.
    success : ndarray of bool, N
        Whether the wanted class was reached; without one, whether the answer is another than
        before, or than the given label.
    queries : int
        How often a picture was shown to the model.
    """

    originals: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 1, 1, 1)))
    before: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    after: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    success: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, bool))
    queries: int = 0

    @property
    def perturbation(self) -> np.ndarray:
        """What was added, N×C×H×W."""
        return self.images - self.originals

    def comparison(self) -> np.ndarray:
        """For each picture the original, ten times the perturbation around grey, and the result:
        3N×C×H×W in 0..1."""
        ten_times = np.clip(0.5 + 10 * self.perturbation, 0, 1)
        rows = np.stack([self.originals, ten_times, self.images], 1)
        return rows.reshape(-1, *self.images.shape[1:]).astype(np.float32)


def gradient(
    model: Module,
    picture: Any,
    target: int,
    *,
    probability: float = 0.9,
    rate: float = 0.005,
    steps: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> Attack:
    """Change a picture until the model takes it for `target`: x ← x - η ∂L(f(x), p)/∂x, with the
    cross-entropy L towards the wanted distribution p (1 for the target, 0 elsewhere).

    Parameters
    ----------
    model : Module
        Whose output are scores of classes, N×K.
    picture : ndarray, C×H×W or N×C×H×W
        In 0..1.
    target : int
        The wanted class.
    probability : float
        A picture is done when its target has reached it.
    rate : float
        η: the length of a step, as root mean square over the pixels.
    steps : int
        At the most.
    seed : int
        There is no chance in it; for symmetry with the others.
    progress : bool

    Returns
    -------
    Attack
        The history has the mean ``probability`` of the target and the mean ``size`` of the
        perturbation (root mean square).

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1; no such class; arguments out of range.

    Notes
    -----
    Szegedy et al., Intriguing properties of neural networks (2013).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import nn
    >>> from pyconv.recipes import adversarial
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    >>> x = np.random.default_rng(0).random((1, 28, 28), np.float32)
    >>> found = adversarial.gradient(net, x, 3, probability=0.5, progress=False)
    >>> bool(found.success[0]), int(found.after[0])
    (True, 3)
    """
    name = "gradient"
    x = as_pictures(name, "picture", picture)
    check.number(name, "probability", probability, 0.0, 1.0)
    check.number(name, "rate", rate, 0.0)
    check.integer(name, "steps", steps, 1)
    check.integer(name, "seed", seed, 0)
    with looked_at(name, model):
        network = Network(name, model)
        before = _shares(network, x)
        wanted = np.full(len(x), _class(name, "target", target, before.shape[1]))
        now, history, queries = x, [], 0
        with steps_with_bar(steps, name, progress) as bar:
            for step in bar:
                shares, slope = _slope(network, now, wanted)
                queries += len(x)
                reached = shares[np.arange(len(x)), wanted]
                done = (reached >= probability) & (shares.argmax(1) == wanted)
                row = {"probability": float(reached.mean()), "size": float(_size(now - x).mean())}
                history.append({"step": step, **row})
                bar.set_postfix(probability=f"{row['probability']:.3g}")
                if done.all():
                    break
                length = _size(slope)
                move = rate * slope / np.where(length > 0, length, 1)[:, None, None, None]
                move[done] = 0
                now = np.clip(now - move, 0, 1).astype(np.float32)
        after = _shares(network, now)
    return _attack(now, x, before, after, wanted, history, queries + 2 * len(x), True)


def fgsm(
    model: Module,
    picture: Any,
    label: Any = None,
    *,
    epsilon: float = 0.03,
    target: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Attack:
    """One step of ±epsilon in every pixel, along the sign of the gradient: away from the label, or
    towards a target.

    Parameters
    ----------
    model : Module
    picture : ndarray, C×H×W or N×C×H×W
        In 0..1.
    label : int or array of int, optional
        What the pictures are; by default what the model takes them for.
    epsilon : float
        The L∞ bound.
    target : int, optional
    seed : int
        There is no chance in it; for symmetry with the others.
    progress : bool

    Returns
    -------
    Attack

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1; no such class; arguments out of range.

    Notes
    -----
    Goodfellow, Shlens and Szegedy, Explaining and harnessing adversarial examples (2014).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import adversarial
    >>> x = np.random.default_rng(0).random((1, 28, 28), np.float32)
    >>> found = adversarial.fgsm(models.lenet5(), x, epsilon=0.1)
    >>> bool(abs(found.perturbation).max() < 0.1 + 1e-6)
    True
    """
    return _projected(
        "fgsm", model, picture, label, epsilon, target, "inf", 1, epsilon, False, seed, progress
    )


def pgd(
    model: Module,
    picture: Any,
    label: Any = None,
    *,
    epsilon: float = 0.03,
    norm: str = "inf",
    target: int | None = None,
    steps: int = 20,
    rate: float | None = None,
    random_start: bool = True,
    seed: int = 0,
    progress: bool = True,
) -> Attack:
    """Steps along the gradient, each followed by the projection onto the ball around the picture.

    Parameters
    ----------
    model : Module
    picture : ndarray, C×H×W or N×C×H×W
        In 0..1.
    label : int or array of int, optional
        What the pictures are; by default what the model takes them for.
    epsilon : float
        Radius of the ball: the greatest change of a pixel with "inf"; with "2" the root of the sum
        of squares.
    norm : {"inf", "2"}
    target : int, optional
        The wanted class; by default any other than the label.
    steps : int
    rate : float, optional
        Of a step; by default 2.5 epsilon / steps.
    random_start : bool
        From a random place in the ball.
    seed : int
    progress : bool

    Returns
    -------
    Attack
        The history has the mean ``loss`` and the share of ``success``.

    Raises
    ------
    TypeError, ValueError
        Pictures out of 0..1; no such class; arguments out of range.

    Notes
    -----
    Madry et al., Towards deep learning models resistant to adversarial attacks (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import models
    >>> from pyconv.recipes import adversarial
    >>> x = np.random.default_rng(0).random((1, 28, 28), np.float32)
    >>> found = adversarial.pgd(models.lenet5(), x, epsilon=0.5, norm="2", progress=False)
    >>> bool((found.perturbation ** 2).sum() ** 0.5 < 0.5 + 1e-5)
    True
    """
    check.integer("pgd", "steps", steps, 1)
    step = 2.5 * check.number("pgd", "epsilon", epsilon, 0.0) / steps if rate is None else rate
    return _projected(
        "pgd", model, picture, label, epsilon, target, norm, steps, step,
        check.boolean("pgd", "random_start", random_start), seed, progress,
    )  # fmt: skip


def _projected(
    name: str, model: Any, picture: Any, label: Any, epsilon: Any, target: Any, norm: Any,
    steps: int, rate: Any, random_start: bool, seed: Any, progress: bool,
) -> Attack:  # fmt: skip
    x = as_pictures(name, "picture", picture)
    check.number(name, "epsilon", epsilon, 0.0)
    check.number(name, "rate", rate, 0.0)
    rng = np.random.default_rng(check.integer(name, "seed", seed, 0))
    check.one_of(name, "norm", norm, ("inf", "2"))
    with looked_at(name, model):
        network = Network(name, model)
        before = _shares(network, x)
        classes = before.shape[1]
        if target is None:
            wanted = _labels(name, label, before)
        else:
            wanted = np.full(len(x), _class(name, "target", target, classes))
        sign = np.float32(1 if target is None else -1)
        away = np.zeros_like(x)
        if random_start:
            away = rng.uniform(-1, 1, x.shape).astype(np.float32)
            away *= epsilon if norm == "inf" else rng.random() * epsilon / _length(away)
        history = []
        with steps_with_bar(steps, name, progress and steps > 1) as bar:
            for step in bar:
                now = np.clip(x + away, 0, 1).astype(np.float32)
                shares, slope = _slope(network, now, wanted)
                won = (shares.argmax(1) == wanted) == (target is not None)
                chosen = shares[np.arange(len(x)), wanted]
                loss = float(-np.log(np.maximum(chosen, 1e-12)).mean())
                history.append({"step": step, "loss": loss, "success": float(won.mean())})
                bar.set_postfix(success=f"{won.mean():.0%}")
                if norm == "inf":
                    away = np.clip(now - x + sign * rate * np.sign(slope), -epsilon, epsilon)
                else:
                    length = np.maximum(_length(slope), np.finfo(np.float32).tiny)
                    away = now - x + sign * rate * slope / length
                    away *= np.minimum(1, epsilon / np.maximum(_length(away), 1e-12))
        now = np.clip(x + away, 0, 1).astype(np.float32)
        after = _shares(network, now)
    return _attack(now, x, before, after, wanted, history, (steps + 2) * len(x), target is not None)


def _slope(network: Network, x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities, and the gradient of each picture's cross-entropy."""
    image = network.place(x.copy(order="K"), requires_grad=True)
    scores = network(image)
    functional.cross_entropy(scores, network.place(labels), reduction="sum").backward()
    assert image.grad is not None
    return functional.softmax(scores.detach(), 1).numpy(), image.grad.numpy()


def _shares(network: Network, x: np.ndarray) -> np.ndarray:
    """The probabilities of the classes, N×K."""
    with no_grad():
        scores = network(x)
    if scores.ndim != 2:
        raise ValueError(
            f"{network.function}: the model must give scores of classes, N×K, got {scores.shape}"
        )
    return functional.softmax(scores, 1).numpy()


def _size(x: np.ndarray) -> np.ndarray:
    """Root mean square of each picture."""
    return np.sqrt((x.astype(np.float64) ** 2).mean((1, 2, 3)))


def _length(x: np.ndarray) -> np.ndarray:
    """Of each picture, N×1×1×1."""
    return np.sqrt((x.astype(np.float64) ** 2).sum((1, 2, 3), keepdims=True)).astype(np.float32)


def _class(function: str, argument: str, value: Any, classes: int) -> int:
    found = check.integer(function, argument, value, 0)
    if found >= classes:
        raise ValueError(f"{function}: {argument} must be below {classes}, got {value}")
    return found


def _labels(function: str, label: Any, before: np.ndarray) -> np.ndarray:
    n, classes = before.shape
    if label is None:
        return before.argmax(1)
    labels = np.asarray(label)
    if labels.dtype.kind not in "iu" or labels.shape not in ((), (n,)):
        raise ValueError(
            f"{function}: label must be one class, or one for each of {n} pictures, got {label!r}"
        )
    labels = np.broadcast_to(labels, (n,)).astype(np.int64)
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"{function}: labels must be in 0..{classes - 1}, got {label!r}")
    return labels


def _attack(
    images: np.ndarray, originals: np.ndarray, before: np.ndarray, after: np.ndarray,
    wanted: np.ndarray, history: list[dict[str, Any]], queries: int, towards: bool,
) -> Attack:  # fmt: skip
    taken = after.argmax(1)
    success = (taken == wanted) == towards
    titles = [f"{a} → {b}" for a, b in zip(before.argmax(1), taken, strict=True)]
    return Attack(
        np.ascontiguousarray(images, np.float32), history, titles,
        np.ascontiguousarray(originals, np.float32), before.argmax(1), taken, success, queries,
    )  # fmt: skip


Predict = Callable[[np.ndarray], np.ndarray]


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
        A perturbation is made of squares, so many along each side.
    seed : int
    progress : bool

    Returns
    -------
    Attack
        The history has the best and the mean ``fitness`` of each generation, the logarithm of the
        target's probability (without a target, of those of all other classes).

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
    genes = rng.uniform(-epsilon, epsilon, (population, channels, cells, cells))
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
            bar.set_postfix(best=f"{row['best']:.3g}")
            if (answers[best].argmax() == wanted) == (target is not None):
                break
            # The fitter are chosen more often; the fittest lives on as it is.
            chance = np.exp(fitness - fitness.max())
            chance /= chance.sum()
            mothers, fathers = rng.choice(population, (2, population - 1), p=chance)
            share = fitness[mothers] / (fitness[mothers] + fitness[fathers] - 1e-12)
            from_mother = rng.random((population - 1, *genes.shape[1:])) < (
                1 - share[:, None, None, None]
            )
            children = np.where(from_mother, genes[mothers], genes[fathers])
            changes = rng.random(children.shape) < mutation
            children = np.where(changes, rng.uniform(-epsilon, epsilon, children.shape), children)
            genes = np.concatenate([genes[best : best + 1], children])
    result = shown[best : best + 1]
    return _attack(
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
            bar.set_postfix(best=f"{fitness[best]:.3g}")
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
    return _attack(
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
    return _class(function, "target", target, before.shape[1])


def _fitness(answers: np.ndarray, wanted: int, target: int | None) -> np.ndarray:
    chance = answers[:, wanted] if target is not None else 1 - answers[:, wanted]
    return np.log(np.maximum(chance, 1e-12))


def fool(
    model: Module,
    target: int,
    *,
    method: str = "ascent",
    shape: Any = None,
    probability: float = 0.99,
    steps: int = 200,
    seed: int = 0,
    progress: bool = True,
) -> Attack:
    """A picture of nothing that the model is sure of: from noise, by ascent or by evolution.

    Parameters
    ----------
    model : Module
    target : int
        The class.
    method : {"ascent", "evolution"}
    shape : (C, H, W), optional
        By default what the model was trained on.
    probability : float
        Ascent stops when it is reached.
    steps : int
        Steps, or generations.
    seed : int
    progress : bool

    Returns
    -------
    Attack

    Raises
    ------
    TypeError, ValueError
        No such class; arguments out of range.

    Notes
    -----
    Nguyen, Yosinski and Clune, Deep neural networks are easily fooled (2015).

    Examples
    --------
    >>> from pyconv import models
    >>> from pyconv.recipes import adversarial
    >>> found = adversarial.fool(models.lenet5(), 3, shape=(1, 28, 28), probability=0.3,
    ...                          progress=False)
    >>> found.after.tolist()
    [3]
    """
    name = "fool"
    check.one_of(name, "method", method, ("ascent", "evolution"))
    rng = np.random.default_rng(check.integer(name, "seed", seed, 0))
    with looked_at(name, model):
        network = Network(name, model)
        noise = _ascent.noise((1, *network.picture_shape(shape)), rng)
        if method == "ascent":
            return gradient(
                model, noise, target, probability=probability, rate=0.02, steps=steps,
                progress=progress,
            )  # fmt: skip
        return evolution(
            lambda x: _shares(network, x), noise, target, epsilon=0.5, generations=steps,
            cells=16, seed=seed, progress=progress,
        )  # fmt: skip
