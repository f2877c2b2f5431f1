"""A temporal convolutional network on a real sequence: 260 years of sunspots.

Three networks with the same number of weights see 21, 125 or 485 months of the past: five residual
blocks whose dilation is 1 everywhere, or doubles, or triples from block to block. They forecast the
monthly number of sunspots 1, 12 and 60 months ahead, and are compared with the last number known
(persistence) and with linear autoregressions on as many months, by least squares. The last fifth
of the months is held out.

First it is checked that the networks don't look ahead, and how far back they look.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from _common import BLUE, GREEN, GREY, ORANGE, RED, figure, parser, save, table, tidy

import pyconv
from pyconv import functional, models, nn, optim

DATA = Path(__file__).resolve().parent / "data" / "sunspots.csv"
FIRST_YEAR = 1749
BASES = (1, 2, 3)  # the dilation of block i is base^i
DEPTH, KERNEL = 5, 3
HORIZONS = (1, 12, 60)
COLOURS = {1: ORANGE, 2: BLUE, 3: GREEN}


def sunspots() -> np.ndarray:
    """Monthly numbers from January 1749 on."""
    return np.loadtxt(DATA, delimiter=",")[:, 1:].ravel()


def held_out_from(series: np.ndarray) -> int:
    """The first month of the last fifth."""
    return len(series) * 4 // 5


def network(base: int, width: int = 16, dropout: float = 0.1) -> nn.Module:
    """The same weights whatever the base is; only their distance differs."""
    return models.tcn(1, 1, width, DEPTH, KERNEL, base, dropout)


def field_by_formula(base: int) -> int:
    """1 + 2 (k - 1) (1 + b + b^2 + ...): two convolutions in each block."""
    return 1 + 2 * (KERNEL - 1) * sum(base**level for level in range(DEPTH))


def field_by_summary(base: int) -> int:
    """What `pyconv.summary` says."""
    size = field_by_formula(base)
    found = pyconv.summary(network(base), (1, 1, size)).layers[-1].receptive_field
    return int(found[0])


def field_by_gradient(base: int, seed: int = 0) -> int:
    """How far back the gradient of one output reaches: from the first month to this one."""
    pyconv.manual_seed(seed)
    net = network(base, dropout=0.0).double()
    steps = field_by_formula(base) + 50
    x = pyconv.Tensor(np.random.default_rng(seed).standard_normal((1, 1, steps)), True)
    net(x)[0, 0, -1].backward()
    return steps - int(np.flatnonzero(x.grad.numpy())[0])


def outputs_that_knew(base: int, seed: int = 0, steps: int = 600, at: int = 300) -> tuple[int, int]:
    """How many outputs change, before the month `at` and from it on, if the input changes from it
    on. None before it may, in any bit."""
    pyconv.manual_seed(seed)
    net = network(base).eval()
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1, 1, steps)).astype(np.float32)
    other = x.copy()
    other[..., at:] = rng.standard_normal(steps - at)
    changed = net(x).numpy() != net(other).numpy()
    return int(changed[..., :at].sum()), int(changed[..., at:].sum())


def persistence(series: np.ndarray, horizon: int) -> np.ndarray:
    """For each held-out month the number `horizon` months before."""
    start = held_out_from(series)
    return series[start - horizon : len(series) - horizon]


def autoregression(series: np.ndarray, horizon: int, lags: int) -> np.ndarray:
    """For each held-out month a sum over `lags` months up to `horizon` before, whose weights are
    least squares on the other months."""
    start, end = held_out_from(series), len(series)
    windows = np.lib.stride_tricks.sliding_window_view(series[: end - horizon], lags)
    rows = np.column_stack([windows, np.ones(len(windows))])  # each for one month
    wanted = series[lags - 1 + horizon :]
    learned = start - (lags - 1 + horizon)
    weights = np.linalg.lstsq(rows[:learned], wanted[:learned], rcond=None)[0]
    return rows[learned:] @ weights


def forecast(series: np.ndarray, horizon: int, base: int, seed: int, steps: int) -> np.ndarray:
    """For each held-out month what a network says that has learned from the other months."""
    start = held_out_from(series)
    mean, scale = series[:start].mean(), series[:start].std()
    x = ((series - mean) / scale).astype(np.float32).reshape(1, 1, -1)
    pyconv.manual_seed(seed)
    net = network(base)
    optimizer = optim.AdamW(net.parameters(), lr=3e-3)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        # One output for each month: all of them learn at once.
        loss = functional.mse_loss(net(x[..., : start - horizon]), x[..., horizon:start])
        loss.backward()
        optimizer.step()
        schedule.step()
    net.eval()
    with pyconv.no_grad():
        y = net(x[..., : len(series) - horizon]).numpy()[0, 0]
    return y[start - horizon :] * scale + mean


def error(series: np.ndarray, forecasts: np.ndarray) -> float:
    """Root of the mean squared error over the held-out months, in sunspots."""
    return float(np.sqrt(np.mean((forecasts - series[held_out_from(series) :]) ** 2)))


def draw_connections(axes: Any, base: int, layers: int = 4, kernel: int = 2) -> None:
    """What one output of causal convolutions sees: a tree back in time."""
    dilations = [base**level for level in range(layers)]
    steps = 1 + (kernel - 1) * sum(dilations)
    width = 1 + sum(2**level for level in range(layers))
    x = np.arange(width)
    for level in range(layers + 1):
        axes.scatter(x, np.full(width, level), s=22, color="white", edgecolor=GREY, zorder=2)
    reached = {width - 1}
    for level in range(layers, 0, -1):
        below = set()
        for place in reached:
            for k in range(kernel):
                source = place - k * dilations[level - 1]
                axes.plot([source, place], [level - 1, level], color=COLOURS[base], lw=1, zorder=1)
                below.add(source)
        for cells, row in ((reached, level), (below, level - 1)):
            axes.scatter(sorted(cells), [row] * len(cells), s=22, color=COLOURS[base], zorder=3)
        reached = below
    axes.set(
        xlabel="step",
        yticks=range(layers + 1),
        yticklabels=["input"] + [f"dilation {d}" for d in dilations],
        xticks=[],
        title=f"{layers} kernels of {kernel} cells see {steps} steps",
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def draw(
    series: np.ndarray,
    shown: dict[str, tuple[np.ndarray, str]],
    horizon: int,
    errors: dict[str, dict[int, list[float]]],
    path: str,
) -> None:
    """What sees how far; a forecast; the errors."""
    picture = figure(10, 7.6)
    top, middle, bottom = picture.subfigures(3, 1, height_ratios=[1, 1.25, 1.25])
    for axes, base in zip(top.subplots(1, 2), (1, 2), strict=True):
        draw_connections(axes, base)
    start = held_out_from(series)
    years = FIRST_YEAR + np.arange(start, len(series)) / 12
    axes = middle.subplots()
    axes.plot(years, series[start:], color=GREY, lw=0.8, label="observed")
    for label, (numbers, colour) in shown.items():
        axes.plot(years, numbers, color=colour, lw=1.4, label=label)
    tidy(axes, title=f"The held-out years, forecast {horizon} months ahead", ylabel="sunspots")
    axes.legend(loc="upper right", fontsize=8, ncols=2)
    axes.margins(x=0.01)
    for axes, ahead in zip(bottom.subplots(1, len(HORIZONS)), HORIZONS, strict=True):
        names = list(errors)
        for place, name in enumerate(names):
            found = errors[name][ahead]
            mean = float(np.mean(found))
            colour = next((COLOURS[b] for b in BASES if f"{field_by_formula(b)} m" in name), RED)
            network = name.startswith("network")
            axes.barh(place, mean, color=colour, alpha=0.9 if network else 0.45)
            if network:
                axes.plot(found, [place] * len(found), "k.", ms=4)
        tidy(
            axes,
            title=f"{ahead} month{'s' if ahead > 1 else ''} ahead",
            xlabel="root of the mean squared error",
            yticks=range(len(names)),
            yticklabels=names if ahead == HORIZONS[0] else [],
        )
        axes.tick_params(axis="y", labelsize=8)
        axes.invert_yaxis()
    save(picture, path)


def main() -> None:
    """Check the networks, then compare the forecasts."""
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=400, help="of training (default: 400)")
    arguments.add_argument("--seeds", type=int, default=3, help="networks of each kind")
    options = arguments.parse_args()
    rows = []
    for base in BASES:
        before, after = outputs_that_knew(base)
        dilations = ", ".join(str(base**level) for level in range(DEPTH))
        parameters = sum(p.data.size for p in network(base).parameters())
        fields = (field_by_formula(base), field_by_summary(base), field_by_gradient(base))
        rows.append((dilations, f"{parameters:,}", *fields, f"{before} and {after}"))
    titles = ["dilations", "parameters", "field by formula", "summary", "gradient", "changed"]
    print("receptive fields, and outputs that change before and after ", end="")
    print("a month whose input changes\n")
    print(table(titles, rows))

    series = sunspots()
    start = held_out_from(series)
    print(f"\n{start} months to learn from, {len(series) - start} held out")
    print("root of the mean squared error in sunspots; ", end="")
    print(f"networks: mean ± standard deviation, {options.seeds} seeds\n")
    fields = {base: field_by_formula(base) for base in BASES}
    errors: dict[str, dict[int, list[float]]] = {"persistence": {}}
    errors |= {f"autoregression, {fields[base]} months": {} for base in BASES}
    errors |= {f"network, {fields[base]} months": {} for base in BASES}
    shown: dict[str, tuple[np.ndarray, str]] = {}
    for horizon in HORIZONS:
        errors["persistence"][horizon] = [error(series, persistence(series, horizon))]
        for base in BASES:
            line = autoregression(series, horizon, fields[base])
            errors[f"autoregression, {fields[base]} months"][horizon] = [error(series, line)]
            made = [forecast(series, horizon, base, s, options.steps) for s in range(options.seeds)]
            name = f"network, {fields[base]} months"
            errors[name][horizon] = [error(series, y) for y in made]
            if horizon == HORIZONS[-1] and base in BASES[:2]:
                shown[name] = (made[0], COLOURS[base])
                if base == BASES[1]:
                    shown[f"autoregression, {fields[base]} months"] = (line, RED)
    rows = [
        (
            name,
            *(
                f"{np.mean(e):.1f}" + (f" ± {np.std(e):.1f}" if "network" in name else "      ")
                for e in found.values()
            ),
        )
        for name, found in errors.items()
    ]
    print(table(["forecast", *(f"{h} ahead" for h in HORIZONS)], rows))
    if options.plot:
        draw(series, shown, HORIZONS[-1], errors, options.plot)


if __name__ == "__main__":
    main()
