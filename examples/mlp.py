"""What one hidden layer can fit, what depth saves, and what a layer costs.

1. A function from R to [0, 1], with kinks and a steep flank, by networks of one hidden layer:
   the greatest error against the number of units. The weights are either written down (ReLU: a
   unit at every corner of a polygon) or learned from samples, from three random starts.
2. A sawtooth: the tent map put into itself k times has 2^k straight pieces. A deep network makes
   it with two units in each of k layers, a shallow one needs a unit for each piece. Both are
   written down, without any error, and both are trained.
3. Parameters S_in S_out + S_out and multiply-adds S_in S_out, as `pyconv.summary` counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from _common import BLUE, GREEN, GREY, ORANGE, RED, figure, parser, save, table, tidy

import pyconv
from pyconv import functional, models, nn, optim

UNITS = (2, 4, 8, 16, 32, 64, 128)
ACTIVATIONS = ("relu", "tanh")
SHALLOW = (8, 16, 32, 64, 128)  # units of the one layer
DEEP = (2, 4, 8, 16, 32)  # units of each of k layers
COUNTED = ((1, 32, 1), (1, 8, 8, 8, 1), (784, 256, 10), (784, 256, 128, 10))


# -- networks whose weights are written down ------------------------------------------------------


def dense(weights: Sequence[tuple[Any, Any]]) -> nn.Sequential:
    """Dense layers with these weights and biases, in float64, a ReLU after each but the last."""
    widths = [np.shape(weight)[0] for weight, _ in weights]
    inputs = np.shape(weights[0][0])[1]
    model = models.mlp(widths[-1], inputs, tuple(widths[:-1])).double()
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    for layer, (weight, bias) in zip(layers, weights, strict=True):
        layer.weight.data[...] = weight
        layer.bias.data[...] = bias
    return model


def polygon(x: np.ndarray, y: np.ndarray) -> nn.Sequential:
    """One hidden layer that goes straight from point to point: as many units as pieces.

    Unit i wakes up at x_i; its weight is what the slope changes by there.
    """
    slopes = np.diff(y) / np.diff(x)
    units = len(slopes)
    hidden = (np.ones((units, 1)), -x[:-1])
    return dense([hidden, (np.diff(slopes, prepend=0)[None], y[:1])])


def deep_sawtooth(k: int) -> nn.Sequential:
    """k layers of two units, each of which folds: tent(u) = 2 relu(u) - 4 relu(u - 1/2)."""
    fold, at = np.array([[2.0, -4.0]]), np.array([0.0, -0.5])
    one = np.ones((2, 1))
    return dense([(one, at), *[(one @ fold, at)] * (k - 1), (fold, [0.0])])


def shallow_sawtooth(k: int) -> nn.Sequential:
    """The same function as a polygon, with a unit for each of its 2^k pieces."""
    x = np.linspace(0, 1, 2**k + 1)
    return polygon(x, sawtooth(x, k))


# -- what they have to fit ------------------------------------------------------------------------


def target(x: np.ndarray) -> np.ndarray:
    """A tent with three kinks on the left, a steep flank on the right."""
    tent = np.maximum(0, 1 - 2.5 * np.abs(x + 0.5))
    return 0.7 * tent + 0.9 / (1 + np.exp(-25 * (x - 0.4)))


def sawtooth(u: np.ndarray, k: int) -> np.ndarray:
    """tent(tent(... u)), k times; tent(u) rises to 1 at 1/2 and falls again."""
    for _ in range(k):
        u = np.minimum(2 * u, 2 - 2 * u)
    return u


def output(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """The model's values at the points x."""
    with pyconv.no_grad():
        return model(x[:, None]).numpy()[:, 0]


def greatest_error(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """max |model(x) - y|."""
    return float(np.abs(output(model, x) - y).max())


def learn(
    hidden: tuple[int, ...], activation: str, x: np.ndarray, y: np.ndarray, steps: int, seed: int
) -> nn.Sequential:
    """Least squares over all samples by L-BFGS, in float64, from random weights."""
    pyconv.manual_seed(seed)
    model = models.mlp(1, 1, hidden, activation).double()
    optimizer = optim.LBFGS(
        model.parameters(), max_iter=steps, max_eval=2 * steps, history_size=20,
        tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Any:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(x[:, None]), y[:, None])
        loss.backward()
        return loss

    optimizer.step(closure)
    return model


# -- the experiments ------------------------------------------------------------------------------


def fit_function(
    units: Sequence[int], seeds: int, steps: int
) -> tuple[dict[tuple[str, int], list[float]], dict[int, nn.Module]]:
    """Greatest errors by kind and units, one a seed; and the networks that were written down."""
    x = np.linspace(-1, 1, 401)
    fine = np.linspace(-1, 1, 5001)
    errors: dict[tuple[str, int], list[float]] = {}
    written = {}
    for n in units:
        corners = np.linspace(-1, 1, n + 1)
        written[n] = polygon(corners, target(corners))
        errors["written", n] = [greatest_error(written[n], fine, target(fine))]
        for activation in ACTIVATIONS:
            errors[activation, n] = [
                greatest_error(
                    learn((n,), activation, x, target(x), steps, seed), fine, target(fine)
                )
                for seed in range(seeds)
            ]
    return errors, written


def fit_sawtooth(
    k: int, widths: Sequence[tuple[int, ...]], seeds: int, steps: int
) -> dict[tuple[int, ...], list[float]]:
    """Greatest errors of trained networks, for each tuple of hidden widths, one a seed."""
    u = np.linspace(0, 1, 1025)
    x, y = 2 * u - 1, sawtooth(u, k)
    return {
        hidden: [
            greatest_error(learn(hidden, "relu", x, y, steps, seed), x, y) for seed in range(seeds)
        ]
        for hidden in widths
    }


def by_formula(widths: Sequence[int]) -> list[tuple[int, int]]:
    """S_in S_out + S_out parameters and S_in S_out multiply-adds, for each layer."""
    pairs = zip(widths[:-1], widths[1:], strict=True)
    return [(n_in * n_out + n_out, n_in * n_out) for n_in, n_out in pairs]


def by_summary(widths: Sequence[int]) -> list[tuple[int, int]]:
    """The same, counted on a model."""
    found = pyconv.summary(models.mlp(widths[-1], widths[0], tuple(widths[1:-1])), (widths[0],))
    return [(la.parameters, la.multiply_adds) for la in found.layers if la.kind == "Linear"]


# -- what is shown --------------------------------------------------------------------------------


def spread(values: Sequence[float]) -> tuple[str, str, str]:
    """Least, middle and greatest."""
    return (f"{min(values):.4f}", f"{np.median(values):.4f}", f"{max(values):.4f}")


def diagram(axes: Any, widths: Sequence[int], title: str) -> None:
    """Neurons as circles, layer by layer, all joined to all."""
    where = [[(3.0 * i, j - (n - 1) / 2) for j in range(n)] for i, n in enumerate(widths)]
    for left, right in zip(where[:-1], where[1:], strict=True):
        for a in left:
            for b in right:
                axes.plot(*zip(a, b, strict=True), color=GREY, lw=0.7, zorder=1)
    for i, layer in enumerate(where):
        inner = 0 < i < len(where) - 1
        axes.scatter(*zip(*layer, strict=True), s=190, color=BLUE if inner else ORANGE,
                     edgecolor="white", linewidth=1.5, zorder=2)  # fmt: skip
        name = f"hidden {i}" if inner else "output" if i else "input"
        axes.text(3.0 * i, -max(widths) / 2 - 0.6, name, ha="center", va="center", fontsize=9)
    axes.set(title=title, xlim=(-1.2, 13.2), ylim=(-max(widths) / 2 - 1.1, max(widths) / 2 + 0.3))
    if len(widths) == 3:
        axes.set_xlim(-4.2, 10.2)
    axes.axis("off")


def draw(
    errors: dict[tuple[str, int], list[float]],
    written: dict[int, nn.Module],
    trained: dict[tuple[int, ...], list[float]],
    k: int,
    path: str,
) -> None:
    """Two networks; the function and its fits, errors; the sawtooth, errors against units."""
    picture = figure(11, 11)
    panels = picture.subplots(3, 2)
    diagram(panels[0, 0], (3, 6, 2), "Shallow: one hidden layer")
    diagram(panels[0, 1], (3, 4, 4, 4, 2), "Deep: several")

    x = np.linspace(-1, 1, 2001)
    axes = panels[1, 0]
    axes.plot(x, target(x), color=GREY, lw=5, alpha=0.45, label="function")
    shown = [n for n in (4, 8, 32) if n in written] or list(written)[:3]
    for n, colour in zip(shown, (RED, ORANGE, BLUE), strict=False):
        axes.plot(x, output(written[n], x), color=colour, lw=1.4, label=f"{n} units")
    tidy(axes, title="One hidden layer, weights written down", xlabel="$x$", ylabel="$f(x)$")
    axes.legend(fontsize=9)

    axes = panels[1, 1]
    names = {"written": "ReLU, written down", "relu": "ReLU, learned", "tanh": "tanh, learned"}
    for (kind, name), colour in zip(names.items(), (GREEN, BLUE, ORANGE), strict=True):
        units = [n for other, n in errors if other == kind]
        values = [errors[kind, n] for n in units]
        axes.loglog(units, [np.median(v) for v in values], "o-", color=colour, ms=4, label=name)
        low, high = [min(v) for v in values], [max(v) for v in values]
        axes.fill_between(units, low, high, color=colour, alpha=0.15, lw=0)
    tidy(axes, title="Greatest error (all seeds, middle)", xlabel="units", ylabel="greatest error")
    ticks(axes, sorted({n for _, n in errors}))
    axes.legend(fontsize=9)

    u = np.linspace(0, 1, 1025)
    axes = panels[2, 0]
    for folds, colour in ((1, GREY), (2, ORANGE), (k, BLUE)):
        axes.plot(u, output(deep_sawtooth(folds), u), color=colour, lw=1.5,
                  label=f"{folds} layer{'s'[: folds > 1]}: {2**folds} pieces")  # fmt: skip
    tidy(axes, title="Two units a layer, written down", xlabel="$u$", ylabel="output")
    axes.set_ylim(-0.05, 1.3)
    axes.legend(fontsize=8, loc="upper center", ncols=3)

    axes = panels[2, 1]
    for deep, colour, name in ((False, ORANGE, "1 layer"), (True, BLUE, f"{k} layers")):
        mine = {sum(h): v for h, v in trained.items() if (len(h) > 1) == deep}
        for seed in range(len(next(iter(mine.values())))):
            axes.loglog(list(mine), [v[seed] for v in mine.values()], "o", color=colour, ms=5,
                        alpha=0.6, label=f"{name}, trained" if seed == 0 else None)  # fmt: skip
        axes.loglog(list(mine), [np.median(v) for v in mine.values()], color=colour, lw=1.2)
        axes.axvline(2 * k if deep else 2**k, color=colour, ls=":", lw=1.6,
                     label=f"{name}, exact when written down")  # fmt: skip
    title = f"{2**k} pieces: greatest error, all seeds and middle"
    tidy(axes, title=title, xlabel="units in all", ylabel="greatest error")
    ticks(axes, sorted({sum(hidden) for hidden in trained} | {2 * k}))
    axes.legend(fontsize=8, loc="lower left")
    save(picture, path)


def ticks(axes: Any, units: Sequence[int]) -> None:
    """Whole numbers on a logarithmic axis, as many as there is room for."""
    kept: list[int] = []
    for n in units:
        if not kept or n >= 1.3 * kept[-1]:
            kept.append(n)
    axes.set_xticks(kept, labels=list(map(str, kept)))
    axes.minorticks_off()


def main() -> None:
    """Fit, fold, count."""
    arguments = parser(__doc__)
    arguments.add_argument("--units", type=int, nargs="+", default=UNITS, help="of part 1")
    arguments.add_argument("--folds", type=int, default=3, help="k of part 2 (default: 3)")
    arguments.add_argument("--seeds", type=int, default=3, help="random starts (default: 3)")
    arguments.add_argument("--steps", type=int, default=1000, help="of L-BFGS (default: 1000)")
    options = arguments.parse_args()

    print("1. One hidden layer, greatest error (learned: least, middle, greatest of the seeds)\n")
    errors, written = fit_function(options.units, options.seeds, options.steps)
    titles = ["units", "parameters", "written", "ReLU: least", "middle", "greatest"]
    rows = [
        (n, 3 * n + 1, f"{errors['written', n][0]:.4f}", *spread(errors["relu", n]),
         *spread(errors["tanh", n]))
        for n in options.units
    ]  # fmt: skip
    print(table([*titles, "tanh: least", "middle", "greatest"], rows))

    print("\n2. A sawtooth, exactly: the greatest error at 4097 points, 0 for both\n")
    u = np.linspace(0, 1, 4097)
    rows = []
    for k in range(1, 9):
        deep, shallow = deep_sawtooth(k), shallow_sawtooth(k)
        counts = [sum(p.data.size for p in model.parameters()) for model in (deep, shallow)]
        worst = [greatest_error(model, u, sawtooth(u, k)) for model in (deep, shallow)]
        rows.append((k, 2**k, 2 * k, 2**k, *counts, *(f"{error:g}" for error in worst)))
    titles = ["layers", "pieces", "units deep", "shallow", "parameters deep", "shallow"]
    print(table([*titles, "error deep", "shallow"], rows))

    k = options.folds
    print(f"\n   trained, {2**k} pieces (greatest error: least, middle, greatest of the seeds)\n")
    widths = [(n,) for n in SHALLOW] + [(n,) * k for n in DEEP]
    trained = fit_sawtooth(k, widths, options.seeds, options.steps)
    rows = [
        (" + ".join(map(str, hidden)), sum(hidden), sum(p for p, _ in by_formula((1, *hidden, 1))),
         *spread(values))
        for hidden, values in trained.items()
    ]  # fmt: skip
    print(table(["hidden layers", "units", "parameters", "least", "middle", "greatest"], rows))

    print("\n3. What layers cost: by the formulas, and as pyconv.summary counts\n")
    rows = []
    for widths_of_all in COUNTED:
        formula, counted = by_formula(widths_of_all), by_summary(widths_of_all)
        sums = [f"{sum(column):,}" for pair in (formula, counted) for column in zip(*pair)]  # noqa: B905
        rows.append((" → ".join(map(str, widths_of_all)), *sums))
    titles = ["widths", "parameters", "multiply-adds", "summary: parameters", "multiply-adds"]
    print(table(titles, rows))
    if options.plot:
        draw(errors, written, trained, k, options.plot)


if __name__ == "__main__":
    main()
