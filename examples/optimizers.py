"""Where descent ends when samples contradict each other, momentum to the letter, and optimizers.

1. A line fitted to points that don't lie on one. Full-batch descent ends in the least-squares
   solution. Mini-batches at a constant rate end in a cloud around it: where the batch is drawn
   anew for each step, its covariance S follows, for small rates mu, from
   H S + S H = mu C / B, with the Hessian H, the covariance C of the samples' gradients at the
   solution, and the batch size B. A rate that falls like 1 / step brings them to the point.
2. Momentum and Nesterov's, v = alpha v - mu grad, in NumPy, beside `optim.SGD`: the same walk at
   a constant rate, another where a schedule changes it.
3. The optimizers of `pyconv.optim` side by side on Fashion-MNIST, each with the rate of a grid
   that is best on pictures set apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _common import BLUE, GREEN, GREY, ORANGE, RED, figure, parser, save, table, tidy
from gradient_descent import Problem, make_problem

import pyconv
from pyconv import Tensor, Trainer, models, nn, optim
from pyconv.data import DataLoader, Split, load_dataset, transforms

BATCHES = (1, 4, 16)
PARTS = (1, 4, 16)  # of the greatest rate
WAYS = ("drawn", "shuffled")
START = (-1.0, 2.0)
DROP = 12  # the step after which the rate falls to a tenth, in part 2


# -- 1. where it ends -----------------------------------------------------------------------------


def noisy_problem() -> Problem:
    """64 points with a standard deviation of 0.5 from the line."""
    return make_problem(noise=0.5)


def walk(
    problem: Problem,
    batch: int | None,
    lr: float,
    steps: int,
    *,
    way: str = "shuffled",
    decay: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """Distances from the solution after each step of `optim.SGD`.

    Batches are "drawn" anew for each step, or taken from the points "shuffled" for each epoch. The
    rate of step t is lr / (1 + decay t).
    """
    rng = np.random.default_rng(seed)
    count = len(problem.x)
    w = nn.Parameter(np.array(START))
    optimizer = optim.SGD([w], lr=lr)
    found, order = np.empty(steps), np.arange(0)
    for step in range(steps):
        x, y = problem.x, problem.y
        if batch is not None:
            if way == "drawn":
                chosen = rng.integers(count, size=batch)
            else:
                order = order if len(order) else rng.permutation(count)
                chosen, order = order[:batch], order[batch:]
            x, y = x[chosen], y[chosen]
        w.grad = Tensor(x.T @ (x @ w.data - y) / len(x))
        optimizer.param_groups[0]["lr"] = lr / (1 + decay * step)
        optimizer.step()
        found[step] = np.linalg.norm(w.data - problem.solution)
    return found


def radius_by_theory(problem: Problem, batch: int, lr: float) -> float:
    """Root of the mean squared distance, the trace of S, for batches that are drawn."""
    values, vectors = np.linalg.eigh(problem.x.T @ problem.x / len(problem.x))
    errors = problem.x @ problem.solution - problem.y
    gradients = problem.x * errors[:, None] @ vectors
    # Along the eigenvectors the entries of C are these, and those of S are mu C / 2 B lambda.
    noise = (gradients**2).mean(0)
    return float(np.sqrt((lr * noise / (2 * batch * values)).sum()))


def clouds(
    problem: Problem, lr: float, steps: int, seeds: int
) -> dict[tuple[int, int, str], list[float]]:
    """Root mean squares of the distance over the second half of the steps, one a seed."""
    return {
        (batch, part, way): [
            root_mean_square(
                walk(problem, batch, lr / part, steps, way=way, seed=seed)[steps // 2 :]
            )
            for seed in range(seeds)
        ]
        for batch in BATCHES
        for part in PARTS
        for way in WAYS
    }


def root_mean_square(values: np.ndarray) -> float:
    """Of all entries."""
    return float(np.sqrt((values**2).mean()))


# -- 2. momentum ----------------------------------------------------------------------------------


def momentum_of_notes(
    problem: Problem, rates: Sequence[float], alpha: float, nesterov: bool
) -> tuple[np.ndarray, np.ndarray]:
    """w_t and v_t, t = 0 .. steps: v = alpha v - mu grad, taken at w or at w + alpha v."""
    w, v = np.array(START), np.zeros(2)
    path, velocities = [w], [v]
    for mu in rates:
        at = w + alpha * v if nesterov else w
        v = alpha * v - mu * problem.x.T @ (problem.x @ at - problem.y) / len(problem.x)
        w = w + v
        path.append(w)
        velocities.append(v)
    return np.array(path), np.array(velocities)


def momentum_of_sgd(
    problem: Problem, rates: Sequence[float], alpha: float, nesterov: bool
) -> np.ndarray:
    """The parameters of `optim.SGD` along the same way."""
    w = nn.Parameter(np.array(START))
    optimizer = optim.SGD([w], lr=rates[0], momentum=alpha, nesterov=nesterov)
    path = [w.data.copy()]
    for mu in rates:
        optimizer.param_groups[0]["lr"] = mu
        w.grad = Tensor(problem.x.T @ (problem.x @ w.data - problem.y) / len(problem.x))
        optimizer.step()
        path.append(w.data.copy())
    return np.array(path)


def apart(
    problem: Problem, rates: Sequence[float], alpha: float, nesterov: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far the two are apart after each step; their distances from the solution.

    With Nesterov's momentum SGD keeps the point at which it takes the gradient, w + alpha v.
    """
    path, velocities = momentum_of_notes(problem, rates, alpha, nesterov)
    if nesterov:
        path = path + alpha * velocities
    other = momentum_of_sgd(problem, rates, alpha, nesterov)
    distances = [np.linalg.norm(p - problem.solution, axis=1) for p in (path, other)]
    return np.linalg.norm(path - other, axis=1), distances[0], distances[1]


# -- 3. side by side ------------------------------------------------------------------------------

Make = Callable[[list[nn.Parameter], float], optim.Optimizer]

OPTIMIZERS: dict[str, tuple[Make, tuple[float, ...]]] = {
    "SGD": (lambda p, lr: optim.SGD(p, lr), (0.03, 0.1, 0.3, 1.0)),
    "SGD, momentum 0.9": (lambda p, lr: optim.SGD(p, lr, momentum=0.9), (0.003, 0.01, 0.03, 0.1)),
    "SGD, Nesterov 0.9": (
        lambda p, lr: optim.SGD(p, lr, momentum=0.9, nesterov=True),
        (0.003, 0.01, 0.03, 0.1),
    ),
    "RMSprop": (lambda p, lr: optim.RMSprop(p, lr), (0.0003, 0.001, 0.003, 0.01)),
    "Adam": (lambda p, lr: optim.Adam(p, lr), (0.0003, 0.001, 0.003, 0.01)),
    "AdamW": (lambda p, lr: optim.AdamW(p, lr), (0.0003, 0.001, 0.003, 0.01)),
    "L-BFGS": (
        lambda p, lr: optim.LBFGS(p, lr, max_iter=1, line_search_fn="strong_wolfe"),
        (1.0,),
    ),
}


def pictures(count: int) -> tuple[Split, Split]:
    """To learn from, and to test with."""
    data = load_dataset("fashion-mnist")
    scale = transforms.Normalize.of(data.train.x)
    train, test = (Split(np.ascontiguousarray(scale(s.x)), s.y) for s in (data.train, data.test))
    return Split(train.x[:count], train.y[:count]), test


def train(
    name: str, lr: float, learned: Split, judged: Split | None, epochs: int, seed: int
) -> list[dict[str, Any]]:
    """The history of a training with one hidden layer of 64 units.

    L-BFGS takes all pictures at once, one step an epoch, and looks at them as often as its line
    search asks; the others take 50.
    """
    pyconv.manual_seed(seed)
    model = models.mlp(hidden=(64,))
    optimizer = OPTIMIZERS[name][0](list(model.parameters()), lr)
    batch = None if name == "L-BFGS" else 50
    trainer = Trainer(model, optimizer, progress=False)
    loader = DataLoader(learned, batch, shuffle=batch is not None, seed=seed)
    return trainer.fit(loader, DataLoader(judged, 500) if judged else None, epochs)


def side_by_side(
    count: int, epochs: int, seeds: int
) -> dict[str, tuple[float, list[list[dict[str, Any]]]]]:
    """The rate that was chosen, and a history for each seed."""
    learned, test = pictures(count)
    found = {}
    for name, (_, rates) in OPTIMIZERS.items():

        def loss(lr: float, name: str = name) -> float:
            value = train(name, lr, learned, None, epochs, seed=1000)[-1]["loss"]
            return value if np.isfinite(value) else np.inf

        lr = min(rates, key=loss) if len(rates) > 1 else rates[0]
        histories = [train(name, lr, learned, test, epochs, seed) for seed in range(seeds)]
        found[name] = (lr, histories)
    return found


# -- what is shown --------------------------------------------------------------------------------


def draw(
    curves: dict[str, np.ndarray],
    problem: Problem,
    rate: float,
    found: dict[tuple[int, int, str], list[float]],
    schedules: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    optimizers: dict[str, tuple[float, list[list[dict[str, Any]]]]],
    path: str,
) -> None:
    """Distances by step, radii by rate, momentum under a schedule, losses by epoch."""
    picture = figure(11, 8.6)
    panels = picture.subplots(2, 2)
    axes = panels[0, 0]
    for (name, values), colour in zip(
        curves.items(), (GREY, RED, ORANGE, GREEN, BLUE), strict=True
    ):
        # Means over stretches of the logarithm, so that a line can be seen.
        ends = np.unique(np.geomspace(1, len(values), 60).astype(int))
        parts = [root_mean_square(part) for part in np.split(values, ends)[1:-1]]
        axes.loglog(ends[1:], parts, color=colour, lw=1.6, label=name)
    tidy(axes, title="Distance from the solution", xlabel="step", ylabel="distance")
    axes.set_ylim(1e-4, None)
    axes.legend(fontsize=8, loc="lower left")

    axes = panels[0, 1]
    for batch, colour in zip(BATCHES, (BLUE, ORANGE, GREEN), strict=True):
        rates = [rate / part for part in PARTS]
        theory = [radius_by_theory(problem, batch, lr) for lr in rates]
        axes.loglog(rates, theory, color=colour, ls=":", lw=1.5)
        for way, marker in zip(WAYS, "os", strict=True):
            values = [np.mean(found[batch, part, way]) for part in PARTS]
            axes.loglog(rates, values, marker, color=colour, ms=6, alpha=0.85,
                        mfc=colour if way == "drawn" else "white",
                        label=f"batch of {batch}, {way}")  # fmt: skip
    tidy(axes, title="Radius of the cloud (dotted: theory)", xlabel="rate", ylabel="radius")
    axes.set_xticks(rates, labels=[f"{lr:.4f}" for lr in rates])
    axes.minorticks_off()
    axes.legend(fontsize=8)

    axes = panels[1, 0]
    for (name, (_, notes, sgd)), colour in zip(schedules.items(), (BLUE, ORANGE), strict=True):
        axes.semilogy(notes, color=colour, ls="--", lw=1.6, label=f"{name}, as the notes")
        axes.semilogy(sgd, color=colour, lw=1.6, label=f"{name}, optim.SGD")
    axes.axvline(DROP, color=GREY, ls=":", lw=1.2)
    tidy(axes, title="A tenth of the rate from the dotted line on", xlabel="step",
         ylabel="distance from the solution")  # fmt: skip
    axes.legend(fontsize=8)

    axes = panels[1, 1]
    colours = (GREY, BLUE, GREEN, ORANGE, RED, "#7a4fa3", "#444444")
    for (name, (lr, histories)), colour in zip(optimizers.items(), colours, strict=True):
        losses = np.array([[record["loss"] for record in history] for history in histories])
        epochs = np.arange(1, losses.shape[1] + 1)
        axes.semilogy(epochs, losses.mean(0), color=colour, lw=1.5, label=f"{name}: {lr:g}")
        axes.fill_between(epochs, losses.min(0), losses.max(0), color=colour, alpha=0.15, lw=0)
    tidy(axes, title="Fashion-MNIST, training loss", xlabel="epoch", ylabel="cross-entropy")
    axes.legend(fontsize=8)
    save(picture, path)


def main() -> None:
    """Clouds, momentum, optimizers."""
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=40000, help="of part 1 (default: 40000)")
    arguments.add_argument("--pictures", type=int, default=5000, help="of part 3 (default: 5000)")
    arguments.add_argument("--epochs", type=int, default=12, help="of part 3 (default: 12)")
    arguments.add_argument("--seeds", type=int, default=3, help="default: 3")
    options = arguments.parse_args()
    problem, steps = noisy_problem(), options.steps
    rate = 0.1 * 2 / problem.eigenvalues[-1]

    print(f"1. A line through points that don't lie on one; {steps} steps\n")
    found = clouds(problem, rate, steps, options.seeds)
    rows = []
    for batch in BATCHES:
        for part in PARTS:
            cells = []
            for way in WAYS:
                values = found[batch, part, way]
                cells.append(f"{np.mean(values):.4f} ({min(values):.4f} … {max(values):.4f})")
            theory = radius_by_theory(problem, batch, rate / part)
            rows.append((batch, f"{rate / part:.5f}", f"{theory:.4f}", *cells))
    print(table(["batch", "rate", "radius by theory", "drawn anew", "shuffled"], rows))

    constant, falling = {"way": "drawn"}, {"way": "drawn", "decay": 0.02}
    curves = {
        "full batch": walk(problem, None, rate, steps),
        "batch of 4": walk(problem, 4, rate, steps, **constant),
        "batch of 4, rate / 16": walk(problem, 4, rate / 16, steps, **constant),
        "batch of 4, falling rate": walk(problem, 4, 4 * rate, steps, **falling),
        "batch of 4, shuffled, falling": walk(problem, 4, 4 * rate, steps, decay=0.02),
    }
    marks = [mark for mark in (100, 1000, 10000, 40000) if mark <= steps]
    print("\n   distance from the solution, over the tenth of the steps before\n")
    rows = [
        (name, *(f"{root_mean_square(values[mark - mark // 10 : mark]):.1e}" for mark in marks))
        for name, values in curves.items()
    ]
    print(table(["descent", *(f"step {mark}" for mark in marks)], rows))

    print("\n2. Momentum as the notes write it, and optim.SGD: how far they are apart\n")
    alpha, count = 0.9, 100
    constant_rate = [rate] * count
    dropped = [rate] * DROP + [rate / 10] * (count - DROP)
    marks = [DROP - 2, DROP, DROP + 1, DROP + 10, count]
    rows, schedules = [], {}
    for name, nesterov in (("momentum", False), ("Nesterov", True)):
        for kind, rates in (("constant rate", constant_rate), (f"a tenth after {DROP}", dropped)):
            difference, *distances = apart(problem, rates, alpha, nesterov)
            rows.append((f"{name}, {kind}", *(f"{difference[mark]:.1e}" for mark in marks)))
        schedules[name] = (difference, *distances)
    print(table(["walk", *(f"step {mark}" for mark in marks)], rows))

    print(f"\n3. One hidden layer of 64 units, {options.pictures} pictures of Fashion-MNIST\n")
    optimizers = side_by_side(options.pictures, options.epochs, options.seeds)
    rows = []
    for name, (lr, histories) in optimizers.items():
        first, last = ([h[i]["loss"] for h in histories] for i in (0, -1))
        right = [100 * h[-1]["validation_accuracy"] for h in histories]
        rows.append(
            (name, f"{lr:g}", f"{np.mean(first):.3f}", f"{np.mean(last):.3f}",
             f"{np.mean(right):.1f} ({min(right):.1f} … {max(right):.1f})")
        )  # fmt: skip
    titles = ["optimizer", "rate", "loss, epoch 1", f"epoch {options.epochs}", "test %"]
    print(table(titles, rows))
    if options.plot:
        draw(curves, problem, rate, found, schedules, optimizers, options.plot)


if __name__ == "__main__":
    main()
