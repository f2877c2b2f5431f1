"""Attacks that see the network's gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv import functional
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module
from pyconv.recipes._network import Network, looked_at
from pyconv.recipes._pictures import as_pictures
from pyconv.recipes._steps import steps_with_bar
from pyconv.recipes.adversarial._attack import (
    Attack,
    attack_of,
    class_number,
    labels_of,
    shares_of,
)


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
        before = shares_of(network, x)
        wanted = np.full(len(x), class_number(name, "target", target, before.shape[1]))
        now, history, queries = x, [], 0
        with steps_with_bar(steps, name, progress) as bar:
            for step in bar:
                shares, slope = _slope(network, now, wanted)
                queries += len(x)
                reached = shares[np.arange(len(x)), wanted]
                done = (reached >= probability) & (shares.argmax(1) == wanted)
                row = {"probability": float(reached.mean()), "size": float(_size(now - x).mean())}
                history.append({"step": step, **row})
                bar.set_postfix(probability=f"{row['probability']:.3g}", refresh=False)
                if done.all():
                    break
                length = _size(slope)
                move = rate * slope / np.where(length > 0, length, 1)[:, None, None, None]
                move[done] = 0
                now = np.clip(now - move, 0, 1).astype(np.float32)
        after = shares_of(network, now)
    return attack_of(now, x, before, after, wanted, history, queries + 2 * len(x), True)


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
        before = shares_of(network, x)
        classes = before.shape[1]
        if target is None:
            wanted = labels_of(name, label, before)
        else:
            wanted = np.full(len(x), class_number(name, "target", target, classes))
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
                bar.set_postfix(success=f"{won.mean():.0%}", refresh=False)
                if norm == "inf":
                    away = np.clip(now - x + sign * rate * np.sign(slope), -epsilon, epsilon)
                else:
                    length = np.maximum(_length(slope), np.finfo(np.float32).tiny)
                    away = now - x + sign * rate * slope / length
                    away *= np.minimum(1, epsilon / np.maximum(_length(away), 1e-12))
        now = np.clip(x + away, 0, 1).astype(np.float32)
        after = shares_of(network, now)
    return attack_of(
        now, x, before, after, wanted, history, (steps + 2) * len(x), target is not None
    )


def _slope(network: Network, x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities, and the gradient of each picture's cross-entropy."""
    image = network.place(x.copy(order="K"), requires_grad=True)
    scores = network(image)
    functional.cross_entropy(scores, network.place(labels), reduction="sum").backward()
    assert image.grad is not None
    return functional.softmax(scores.detach(), 1).numpy(), image.grad.numpy()


def _size(x: np.ndarray) -> np.ndarray:
    """Root mean square of each picture."""
    return np.sqrt((x.astype(np.float64) ** 2).mean((1, 2, 3)))


def _length(x: np.ndarray) -> np.ndarray:
    """Of each picture, N×1×1×1."""
    return np.sqrt((x.astype(np.float64) ** 2).sum((1, 2, 3), keepdims=True)).astype(np.float32)
