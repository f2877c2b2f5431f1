"""What one perceptron can learn, and what it can't.

A perceptron is one neuron with a strict threshold at 0: its output is 1 where
w1 x1 + w2 x2 + b >= 0, and 0 elsewhere. This script

  1. teaches it NAND by the perceptron rule,
  2. proves that no weights make it XOR, and shows the rule going round in circles,
  3. wires XOR from four of the NANDs that were learned,
  4. learns XOR with one hidden layer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from _common import BLUE, GREEN, ORANGE, figure, parser, save, table, tidy

import pyconv
from pyconv import functional, nn, optim

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
NAND = np.array([1, 1, 1, 0])
XOR = np.array([0, 1, 1, 0])


class Training(NamedTuple):
    """How the perceptron rule went."""

    epochs: list[tuple[np.ndarray, int]]  # weights (w1, w2, b) after an epoch, mistakes in it
    learned: bool
    cycle: list[np.ndarray]  # all weights along the circle in which the rule goes, if it does


def perceptron(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """1 where w1 x1 + w2 x2 + b >= 0, else 0; the inputs' last axis is (x1, x2)."""
    w, b = weights[:2], weights[2]
    return (x @ w + b >= 0).astype(int)


def perceptron_rule(targets: np.ndarray, epochs: int = 100) -> Training:
    """Add (target - output) x to the weights, sample after sample, until an epoch has no mistake.

    All numbers are whole ones. An epoch depends on nothing but the weights at its beginning: once
    weights come back, the rule goes round in a circle for ever.
    """
    weights = np.zeros(3, int)
    path, found = [weights], []
    begins = {tuple(weights): 0}  # at which step weights began an epoch
    for _ in range(epochs):
        mistakes = 0
        for x, target in zip(INPUTS, targets, strict=True):
            error = target - perceptron(weights, x)
            weights = weights + error * np.array([*x, 1])  # the bias is the weight of a constant 1
            mistakes += abs(int(error))
            path.append(weights)
        found.append((weights, mistakes))
        if mistakes == 0:
            return Training(found, True, [])
        first = begins.setdefault(tuple(weights), len(path) - 1)
        if first < len(path) - 1:
            return Training(found, False, path[first:])
    return Training(found, False, [])


def constraints(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the truth table asks of (w1, w2, b), as rows r with r.w >= 0 or, where strict, > 0."""
    sums = np.column_stack([INPUTS, np.ones(4, int)])  # row x: w1 x1 + w2 x2 + b
    strict = targets == 0  # output 0: the sum is < 0, so its opposite is > 0
    return np.where(strict[:, None], -sums, sums), strict


def is_contradiction(rows: np.ndarray, strict: np.ndarray) -> bool:
    """Whether the constraints, all added up, say 0 > 0."""
    return bool((rows.sum(axis=0) == 0).all() and strict.any())


def xor_of_nands(nand: np.ndarray, x: np.ndarray) -> np.ndarray:
    """XOR, exactly, from four perceptrons with the same weights."""

    def gate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return perceptron(nand, np.stack([a, b], axis=-1))

    a, b = x[..., 0], x[..., 1]
    both = gate(a, b)
    return gate(gate(a, both), gate(b, both))


def learn_xor(steps: int, hidden: int = 4, seed: int = 0) -> tuple[nn.Module, list[float]]:
    """One hidden layer learns XOR: a smooth threshold has a gradient to follow."""
    pyconv.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    x, target = INPUTS.astype(np.float32), XOR[:, None].astype(np.float32)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def probability(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """The model's probability of a 1 at each of the points."""
    with pyconv.no_grad():
        return functional.sigmoid(model(x.astype(np.float32))).numpy()[..., 0]


def in_words(row: np.ndarray, strict: bool) -> str:
    """One constraint as it is written by hand."""
    terms = [name for factor, name in zip(row, ("w1", "w2", "b"), strict=True) if factor]
    return f"{' + '.join(terms):<12} {'< 0' if strict else '>= 0'}"


def draw(nand: np.ndarray, circle: list[np.ndarray], model: nn.Module, path: str) -> None:
    """The four classifiers over the plane of their inputs."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("classes", ["#dbe7f4", "#ffffff", "#fbe3cf"])
    side = np.linspace(-0.5, 1.5, 401)
    plane = np.stack(np.meshgrid(side, side), axis=-1)
    picture = figure(9, 8.6)
    panels = picture.subplots(2, 2).ravel()

    def regions(axes: Any, values: np.ndarray, targets: np.ndarray, title: str) -> None:
        axes.contourf(side, side, values, 20, cmap=colours, vmin=0, vmax=1)
        axes.contour(side, side, values, [0.5], colors="#444444", linewidths=1.4)
        points(axes, targets, title)

    def points(axes: Any, targets: np.ndarray, title: str) -> None:
        for value, colour, marker in ((0, BLUE, "o"), (1, ORANGE, "s")):
            x, y = INPUTS[targets == value].T
            label = f"target {value}"
            axes.plot(x, y, marker, color=colour, ms=11, mec="white", mew=1.5, label=label)
        tidy(axes, title=title, xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
        axes.set(xlim=(-0.5, 1.5), ylim=(-0.5, 1.5), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])

    regions(panels[0], perceptron(nand, plane), NAND, "NAND, learned by the perceptron rule")
    points(panels[1], XOR, "XOR: the circle in which the rule goes")
    for step, (w1, w2, b) in enumerate(circle[1:]):
        if w1 == w2 == 0:
            continue  # no line
        # w1 x1 + w2 x2 + b = 0, far beyond the frame on both sides
        foot = -b / (w1 * w1 + w2 * w2) * np.array([w1, w2])
        ends = foot + np.outer([-9, 9], [-w2, w1])
        x1, x2 = INPUTS[step % len(INPUTS)]
        label = f"after ({x1}, {x2}): $w$ = ({w1}, {w2}), $b$ = {b}"
        style = ("-", "--", "-.", ":")[step % 4]
        panels[1].plot(*ends.T, color=GREEN, ls=style, lw=1.6, label=label, zorder=1)
    panels[1].set(xlim=(-1.4, 3.6), ylim=(-1.4, 3.6), xticks=range(-1, 4), yticks=range(-1, 4))
    regions(panels[2], xor_of_nands(nand, plane), XOR, "XOR, wired from four NANDs")
    regions(panels[3], probability(model, plane), XOR, "XOR, learned with a hidden layer")
    for axes in panels:
        axes.legend(loc="upper right", framealpha=0.95, fontsize=9)
    save(picture, path)


def main() -> None:
    """Learn, prove, wire, learn again."""
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=300, help="of the MLP (default: 300)")
    arguments.add_argument("--seed", type=int, default=0, help="of the MLP (default: 0)")
    options = arguments.parse_args()

    print("1. NAND by the perceptron rule, from zeros: w += (target - output) x\n")
    training = perceptron_rule(NAND)
    rows = [(i + 1, errors, *weights) for i, (weights, errors) in enumerate(training.epochs)]
    print(table(["epoch", "mistakes", "w1", "w2", "b"], rows))
    nand = training.epochs[-1][0]
    print(f"\nlearned: w1 = {nand[0]}, w2 = {nand[1]}, b = {nand[2]}")

    print("\n2. XOR asks for weights that don't exist\n")
    asked, strict = constraints(XOR)
    for x, target, row, is_strict in zip(INPUTS, XOR, asked, strict, strict=True):
        print(f"  {x[0]} XOR {x[1]} = {target}:  {in_words(row, is_strict)}")
    print("\n  the first and the last added up:   w1 + w2 + 2b < 0")
    print("  the second and the third added up: w1 + w2 + 2b >= 0")
    verdict = "contradict each other" if is_contradiction(asked, strict) else "can be met"
    print(f"  Both can't hold: the four {verdict} (with > in the place of >= they do, too).")
    attempt = perceptron_rule(XOR)
    epochs, round_trip = len(attempt.epochs), len(attempt.cycle) // len(INPUTS)
    mistakes = sum(errors for _, errors in attempt.epochs[-round_trip:])
    print(
        f"\n  The rule on XOR: epoch {epochs} ends with the weights "
        f"{tuple(attempt.cycle[0].tolist())} with which epoch {epochs - round_trip + 1} began,\n"
        f"  so that it repeats itself for ever: {mistakes} mistakes in {4 * round_trip} samples."
    )

    print("\n3. XOR, wired: NAND(NAND(a, h), NAND(b, h)) with h = NAND(a, b)")
    print("4. XOR, learned by an MLP\n")
    model, losses = learn_xor(options.steps, seed=options.seed)
    wired, learned = xor_of_nands(nand, INPUTS), probability(model, INPUTS)
    rows = [
        (f"{a} {b}", t, w, f"{p:.3f}")
        for (a, b), t, w, p in zip(INPUTS, XOR, wired, learned, strict=True)
    ]
    print(table(["a b", "XOR", "wired", "MLP"], rows))
    print(
        f"\nloss of the MLP: {losses[0]:.3f} at first, {losses[-1]:.4f} after {len(losses)} steps"
    )
    if options.plot:
        draw(nand, attempt.cycle, model, options.plot)


if __name__ == "__main__":
    main()
