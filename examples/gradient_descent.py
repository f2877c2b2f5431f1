"""Gradient descent on one problem: full-batch, mini-batch and online, with and without momentum.

A straight line is fitted to points by least squares, so that everything can be checked against
theory: the loss |Xw - y|^2 / 2n has the Hessian H = X^T X / n, whose eigenvalues lie between l and
L. Plain full-batch descent with the rate mu multiplies the error along the eigenvector of the
eigenvalue lambda by 1 - mu lambda. It converges where mu < 2 / L, fastest with mu = 2 / (l + L).

Descent ends when the norm of the gradient over all points is below a tolerance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from _common import BLUE, GREEN, GREY, ORANGE, RED, figure, parser, save, table, tidy

import pyconv
from pyconv import functional, nn, optim
from pyconv.data import DataLoader

METHODS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "Nesterov": {"momentum": 0.9, "nesterov": True},
}
BATCHES = {"full-batch": None, "mini-batch of 8": 8, "online": 1}


class Problem(NamedTuple):
    """Least squares: rows of X are (t, 1), so that w is a slope and an offset."""

    x: np.ndarray
    y: np.ndarray
    solution: np.ndarray

    @property
    def eigenvalues(self) -> np.ndarray:
        """Of the Hessian X^T X / n, in ascending order."""
        return np.linalg.eigvalsh(self.x.T @ self.x / len(self.x))

    def loss(self, w: np.ndarray) -> np.ndarray:
        """|Xw - y|^2 / 2n, for w along the last axis."""
        return ((w @ self.x.T - self.y) ** 2).mean(axis=-1) / 2

    def gradient_norm(self, w: np.ndarray) -> float:
        """Of X^T (Xw - y) / n, over all points."""
        return float(np.linalg.norm(self.x.T @ (self.x @ w - self.y)) / len(self.x))


class Descent(NamedTuple):
    """How a descent went."""

    path: np.ndarray  # the start and the weights after each step
    losses: np.ndarray  # over all points, at the start and after each epoch
    steps: int
    epochs: int
    end: str  # "converged", "diverged" or "too slow"
    gradient_norm: float


def make_problem(points: int = 64, noise: float = 0.0, seed: int = 0) -> Problem:
    """Points on a line. The offset and the slope are felt differently: l and L are far apart."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(0, 2.5, points)
    x = np.column_stack([t, np.ones(points)])
    y = x @ [1.5, -1.0] + noise * rng.standard_normal(points)
    return Problem(x, y, np.linalg.lstsq(x, y, rcond=None)[0])


def descend(
    problem: Problem,
    batch_size: int | None,
    lr: float,
    *,
    epochs: int = 1100,
    tolerance: float = 1e-6,
    start: tuple[float, float] = (-1.0, 2.0),
    **method: object,
) -> Descent:
    """Walk down with `optim.SGD` until the gradient's norm is below the tolerance."""
    w = nn.Parameter(np.array(start))
    optimizer = optim.SGD([w], lr=lr, **method)
    loader = DataLoader((problem.x, problem.y), batch_size, shuffle=batch_size is not None)
    path, losses = [w.data.copy()], [problem.loss(w.data)]
    norm, end = problem.gradient_norm(w.data), "too slow"
    while norm > tolerance and len(losses) <= epochs:
        for x, y in loader:
            optimizer.zero_grad()
            loss = 0.5 * functional.mse_loss(pyconv.Tensor(x) @ w, y)
            loss.backward()
            optimizer.step()
            path.append(w.data.copy())
        losses.append(problem.loss(w.data))
        norm = problem.gradient_norm(w.data)
        if not losses[-1] < 1e6 * losses[0]:
            end = "diverged"
            break
    if norm <= tolerance:
        end = "converged"
    return Descent(np.array(path), np.array(losses), len(path) - 1, len(losses) - 1, end, norm)


def compare_methods(problem: Problem, **settings: float) -> dict[tuple[str, str], Descent]:
    """All batch sizes with all methods, with one rate: a tenth of what full-batch descent bears.

    Momentum adds up 1 / (1 - 0.9) = 10 such steps.
    """
    lr = 0.1 * 2 / problem.eigenvalues[-1]
    return {
        (batch, method): descend(problem, BATCHES[batch], lr, **METHODS[method], **settings)
        for batch in BATCHES
        for method in METHODS
    }


def compare_rates(problem: Problem, **settings: float) -> list[tuple[str, float, float, Descent]]:
    """Full-batch descent: name, rate, factor of the error by theory, and what happened."""
    low, high = problem.eigenvalues
    limit = 2 / high
    rates = {
        "too small": 0.02 * limit,
        "best": 2 / (low + high),
        "just below 2 / L": 0.99 * limit,
        "just above 2 / L": 1.01 * limit,
        "divergent": 1.1 * limit,
    }
    found = []
    for name, lr in rates.items():
        factor = max(abs(1 - lr * low), abs(1 - lr * high))
        found.append((name, lr, factor, descend(problem, None, lr, **settings)))
    return found


def measured_factor(problem: Problem, descent: Descent) -> float:
    """By what the error is multiplied in a step, in the end."""
    errors = np.linalg.norm(descent.path - problem.solution, axis=1)
    last = min(5, len(errors) - 1)
    return float((errors[-1] / errors[-1 - last]) ** (1 / last))


def draw(
    problem: Problem,
    methods: dict[tuple[str, str], Descent],
    rates: list[tuple[str, float, float, Descent]],
    path: str,
) -> None:
    """Loss against the epoch, for methods and for rates; paths over the loss."""
    picture = figure(11, 8.4)
    panels = picture.subplots(2, 2)
    shades = dict(zip(BATCHES, (BLUE, ORANGE, GREEN), strict=True))
    dashes = dict(zip(METHODS, ("-", "--", ":"), strict=True))
    for (batch, method), found in methods.items():
        panels[0, 0].semilogy(
            found.losses, color=shades[batch], ls=dashes[method], lw=1.6, label=f"{batch}, {method}"
        )
    tidy(panels[0, 0], title="One rate, nine ways", xlabel="epoch", ylabel="loss over all points")
    panels[0, 0].set_xscale("symlog", linthresh=1)
    panels[0, 0].set(xlim=(0, None), ylim=(1e-20, 1e1))
    panels[0, 0].legend(fontsize=7, loc="lower center", ncols=3, columnspacing=1)

    for (name, lr, _, found), colour in zip(rates, (GREY, BLUE, GREEN, ORANGE, RED), strict=True):
        label = f"{name}: {lr * problem.eigenvalues[-1]:.2f} / L"
        panels[0, 1].semilogy(found.losses[:201], color=colour, lw=1.6, label=label)
    tidy(panels[0, 1], title="Full-batch descent, by its rate", xlabel="step", ylabel="loss")
    panels[0, 1].legend(fontsize=8, loc="lower right")

    walks = (
        {method: methods["full-batch", method] for method in METHODS},
        {batch: methods[batch, "plain"] for batch in BATCHES},
    )
    titles = ("Paths of full-batch descent", "Paths without momentum")
    for axes, walk, title in zip(panels[1], walks, titles, strict=True):
        w1, w2 = np.meshgrid(np.linspace(-1.6, 3.4, 161), np.linspace(-3.6, 2.6, 161))
        heights = problem.loss(np.stack([w1, w2], axis=-1))
        levels = np.geomspace(0.01, 30, 12)
        axes.contour(w1, w2, heights, levels, colors=GREY, linewidths=0.6, alpha=0.7)
        for (name, found), colour in zip(walk.items(), (BLUE, ORANGE, GREEN), strict=True):
            axes.plot(*found.path.T, ".-", color=colour, lw=1, ms=3.5, label=name)
        axes.plot(*problem.solution, "*", color=RED, ms=14, mec="white", label="solution")
        tidy(axes, title=f"{title}, a dot a step", xlabel="slope $w_1$", ylabel="offset $w_2$")
        axes.legend(fontsize=8, loc="lower left")
    save(picture, path)


def main() -> None:
    """Compare the rates, then the methods."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--noise", type=float, default=0.0,
        help="standard deviation of the points from the line (default: 0, so that every point's "
        "own gradient vanishes at the solution; else only full-batch descent settles there, as "
        "--noise 0.1 --epochs 300 shows)",
    )  # fmt: skip
    arguments.add_argument("--epochs", type=int, default=1100, help="at most (default: 1100)")
    arguments.add_argument(
        "--tolerance", type=float, default=1e-6, help="of the gradient's norm (default: 1e-6)"
    )
    options = arguments.parse_args()
    settings = {"epochs": options.epochs, "tolerance": options.tolerance}
    problem = make_problem(noise=options.noise)
    low, high = problem.eigenvalues
    print(f"eigenvalues of the Hessian: l = {low:.4f}, L = {high:.4f}; ", end="")
    print(f"the limit of the rate is 2 / L = {2 / high:.4f}\n")

    rates = compare_rates(problem, **settings)
    rows = [
        (name, f"{lr:.4f}", f"{theory:.4f}", f"{measured_factor(problem, found):.4f}", found.steps,
         f"{found.losses[-1]:.1e}", found.end)
        for name, lr, theory, found in rates
    ]  # fmt: skip
    titles = ["full-batch", "rate", "factor", "measured", "steps", "final loss", "end"]
    print(table(titles, rows))

    methods = compare_methods(problem, **settings)
    rows = [
        (f"{batch}, {method}", found.epochs, found.steps, f"{found.losses[-1]:.1e}",
         f"{found.gradient_norm:.1e}", found.end)
        for (batch, method), found in methods.items()
    ]  # fmt: skip
    print(f"\nthe rate {0.1 * 2 / high:.4f} for all of these\n")
    print(table(["method", "epochs", "steps", "final loss", "gradient", "end"], rows))
    if options.plot:
        draw(problem, methods, rates, options.plot)


if __name__ == "__main__":
    main()
