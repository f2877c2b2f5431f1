"""Batch normalisation: what it does to speed, to the rates that work, to the size of activations.

A network of eight convolutions learns Fashion-MNIST (14×14, by the mean of 2×2 pixels) with batch
norm after each, and without: with the weights at the start that a layer has by default, and with
He's, which are made for ReLU. Measured are the training loss over a ladder of learning rates; the
epochs to a test accuracy, each network at its best rate; the activations layer by layer. Then the
statistics for inference: the moving average against those computed on all training pictures.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from _common import BLUE, GREEN, ORANGE, figure, parser, save, table, tidy
from _fashion import Split, pictures, spread

import pyconv
from pyconv import functional, nn, optim

KINDS = {"batch norm": BLUE, "none, He's weights": ORANGE, "none, default weights": GREEN}
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
WIDTHS = (8, 8, 16, 16, 16, 32, 32, 32)
HALVED = (2, 5)  # the layers of stride 2
STEPS = (1, 3, 10, 30, 100, 300)
BATCH = 50
LEARNED = 0.9 * math.log(10)  # log(10) is the loss of a guess among ten classes


def network(kind: str, seed: int) -> nn.Sequential:
    """Convolution, batch norm if it is asked for, ReLU, eight times; a dense layer."""
    pyconv.manual_seed(seed)
    layers: list[nn.Module] = []
    channels = 1
    for number, width in enumerate(WIDTHS):
        conv = nn.Conv2d(channels, width, 3, 2 if number in HALVED else 1, 1)
        if kind == "none, He's weights":
            nn.init.kaiming_normal_(conv.weight)
        layers.append(conv)
        if kind == "batch norm":
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.ReLU())
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def accuracy(model: nn.Module, data: Split) -> float:
    """In inference mode; the mode is kept."""
    mode = model.training
    model.eval()
    with pyconv.no_grad():
        right = (model(data[0]).numpy().argmax(1) == data[1]).mean()
    model.train(mode)
    return float(right)


@dataclass
class Training:
    """What one training left."""

    loss: list[float] = field(default_factory=list)  # mean over each epoch
    test: list[float] = field(default_factory=list)  # accuracy after each
    sizes: list[list[float]] = field(default_factory=list)  # of activations: at first, then after


def train(kind: str, rate: float, data: tuple[Split, Split], seed: int, epochs: int) -> Training:
    """By plain SGD. A loss that is no longer finite ends the training."""
    (x, y), test = data
    model = network(kind, seed)
    optimizer = optim.SGD(model.parameters(), lr=rate)
    rng = np.random.default_rng(seed)
    found = Training(sizes=[sizes(model, x[:250])])
    for _ in range(epochs):
        losses = []
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            batch = order[start : start + BATCH]
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x[batch]), y[batch])
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                found.loss.append(math.inf)
                return found
            loss.backward()
            optimizer.step()
        found.loss.append(float(np.mean(losses)))
        found.test.append(accuracy(model, test))
        found.sizes.append(sizes(model, x[:250]))
    return found


def sizes(model: nn.Sequential, x: Any) -> list[float]:
    """Root of the mean square of the activations, after each ReLU, with the batch's statistics."""
    model = copy.deepcopy(model)
    found = []
    with pyconv.no_grad():
        for layer in model:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(float(np.sqrt(np.mean(np.square(x.numpy())))))
    return found


def epochs_to(training: Training, threshold: float) -> float:
    """The first epoch after which the test accuracy is that high; infinite if there is none."""
    reached = [n for n, found in enumerate(training.test, 1) if found >= threshold]
    return reached[0] if reached else math.inf


# -- the statistics for inference -----------------------------------------------------------------


def with_exact_statistics(model: nn.Sequential, x: Any) -> nn.Sequential:
    """A copy whose batch norms have the mean and the variance of all of x: layer by layer, since
    what a norm sees depends on those before it."""
    model = copy.deepcopy(model).eval()
    with pyconv.no_grad():
        for layer in model:
            if isinstance(layer, nn.BatchNorm2d):
                values = x.numpy()
                layer.running_mean.data[...] = values.mean(axis=(0, 2, 3))
                layer.running_var.data[...] = values.var(axis=(0, 2, 3))
            x = layer(x)
    return model


def statistics_apart(model: nn.Sequential, exact: nn.Sequential) -> float:
    """How far the moving averages are off: means in standard deviations, and standard deviations
    by their ratio, as the mean over all channels of both."""
    errors = []
    for found, right in zip(model, exact, strict=True):
        if isinstance(found, nn.BatchNorm2d):
            deviation = np.sqrt(right.running_var.numpy() + right.eps)
            other = np.sqrt(found.running_var.numpy() + found.eps)
            errors.append(
                np.abs(found.running_mean.numpy() - right.running_mean.numpy()) / deviation
            )
            errors.append(np.abs(other / deviation - 1))
    return float(np.concatenate(errors).mean())


def moving_against_exact(
    data: tuple[Split, Split], rate: float, seed: int, steps: tuple[int, ...]
) -> list[tuple[float, float, float]]:
    """After each of these numbers of steps: the difference, and the test accuracies."""
    (x, y), test = data
    model = network("batch norm", seed)
    optimizer = optim.SGD(model.parameters(), lr=rate)
    rng = np.random.default_rng(seed)
    found = []
    for step in range(1, max(steps) + 1):
        batch = rng.integers(0, len(x), BATCH)
        optimizer.zero_grad()
        functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        if step in steps:
            exact = with_exact_statistics(model, pyconv.Tensor(x))
            found.append(
                (statistics_apart(model, exact), accuracy(model, test), accuracy(exact, test))
            )
    return found


# -- the picture ----------------------------------------------------------------------------------


def draw(
    ladder: dict[tuple[str, float], list[float]],
    best: dict[str, list[Training]],
    moving: np.ndarray,
    path: str,
) -> None:
    """The ladder, the accuracies, the activations, the statistics."""
    picture = figure(11, 8)
    (rates, curves), (layers, lag) = picture.subplots(2, 2)
    for kind, colour in KINDS.items():
        losses = np.array([ladder[kind, rate] for rate in RATES])
        shown = np.minimum(losses, 2.6)
        rates.plot(RATES, shown.mean(1), "o-", color=colour, ms=5, lw=1.5, label=kind)
        rates.fill_between(RATES, shown.min(1), shown.max(1), color=colour, alpha=0.2, lw=0)
        tests = np.array([run.test for run in best[kind]])
        epochs = np.arange(1, tests.shape[1] + 1)
        curves.plot(epochs, tests.mean(0), color=colour, lw=1.5, label=kind)
        curves.fill_between(epochs, tests.min(0), tests.max(0), color=colour, alpha=0.2, lw=0)
        numbers = np.arange(1, len(WIDTHS) + 1)
        for epoch, style in ((0, ":"), (-1, "-")):
            mean = np.exp(np.mean([np.log(run.sizes[epoch]) for run in best[kind]], axis=0))
            layers.semilogy(numbers, mean, style, color=colour, lw=1.6)
    rates.axhline(math.log(10), color="black", lw=0.8, ls=":")
    rates.set(xscale="log", ylim=(0.5, 3.2))
    tidy(
        rates, title="Which rates work", xlabel="learning rate", ylabel="training loss, last epoch"
    )
    tidy(curves, title="Each at its best rate", xlabel="epoch", ylabel="test accuracy")
    tidy(layers, title="Activations", xlabel="layer", ylabel="root of the mean square")
    layers.plot([], [], ":k", label="at the start")
    layers.plot([], [], "-k", label="after the last epoch")
    for axes in (rates, curves, layers):
        axes.legend(fontsize=8)
    for column, colour, label in ((1, ORANGE, "moving average"), (2, BLUE, "exact")):
        values = moving[:, :, column]
        lag.plot(STEPS, values.mean(0), "o-", color=colour, ms=5, lw=1.5, label=label)
        lag.fill_between(STEPS, values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)
    lag.set_xscale("log")
    tidy(lag, title="Statistics for inference", xlabel="steps of training", ylabel="test accuracy")
    lag.legend(fontsize=8)
    save(picture, path)


# -- all ------------------------------------------------------------------------------------------


def main() -> None:
    """Measure and print all."""
    arguments = parser(__doc__)
    arguments.add_argument("--pictures", type=int, default=5000, help="to train (default: 5000)")
    arguments.add_argument("--short", type=int, default=2, help="epochs a rate gets (default: 2)")
    arguments.add_argument("--epochs", type=int, default=15, help="at the best (default: 15)")
    arguments.add_argument("--seeds", type=int, default=3, help="default: 3")
    options = arguments.parse_args()
    data = pictures(options.pictures, size=14)
    seeds = range(options.seeds)

    print(
        f"training loss of epoch {options.short}, mean of {options.seeds} seeds; guessing: 2.30\n"
    )
    ladder = {
        (kind, rate): [train(kind, rate, data, seed, options.short).loss[-1] for seed in seeds]
        for kind in KINDS
        for rate in RATES
    }
    rows = []
    for rate in RATES:
        means = (float(np.mean(ladder[kind, rate])) for kind in KINDS)
        rows.append((rate, *(f"{m:.2f}" if math.isfinite(m) else "diverged" for m in means)))
    print(table(["rate", *KINDS], rows))

    best = {}
    rows = []
    for kind in KINDS:
        stable = [rate for rate in RATES if max(ladder[kind, rate]) < LEARNED]
        rate = min(RATES, key=lambda rate: float(np.mean(ladder[kind, rate])))
        best[kind] = runs = [train(kind, rate, data, seed, options.epochs) for seed in seeds]
        rows.append(
            (
                kind,
                max(stable, default="-"),
                rate,
                *(in_epochs([epochs_to(run, t) for run in runs]) for t in (0.8, 0.85)),
                spread([100 * run.test[-1] if run.test else 0.0 for run in runs], ".1f"),
            )
        )
    print(f"\nlargest rate at which all seeds learn; the best rate's {options.epochs} epochs\n")
    print(table(["", "largest", "best", "to 80 %", "to 85 %", "test % at the end"], rows))

    print("\nroot of the mean square of the activations\n")
    rows = []
    for kind, runs in best.items():
        for epoch, when in ((0, "at the start"), (-1, "at the end")):
            mean = np.exp(np.mean([np.log(run.sizes[epoch]) for run in runs], axis=0))
            numbers = (mean[0], mean[3], mean[-1], mean.max() / mean.min())
            rows.append((kind, when, *(f"{number:.3g}" for number in numbers)))
    print(table(["", "", "layer 1", "layer 4", "layer 8", "largest / smallest"], rows))

    moving = np.array([moving_against_exact(data, 0.1, seed, STEPS) for seed in seeds])
    print("\nmoving average (momentum 0.1) against exact statistics, rate 0.1\n")
    rows = []
    for number, step in enumerate(STEPS):
        apart, *tests = moving[:, number].T
        rows.append(
            (
                step,
                f"{0.9**step:.3f}",
                f"{apart.mean():.3f}",
                *(spread(list(100 * found), ".1f") for found in tests),
            )
        )
    titles = ["steps", "share of the start", "difference", "test %, moving", "test %, exact"]
    print(table(titles, rows))
    if options.plot:
        draw(ladder, best, moving, options.plot)


def in_epochs(found: list[float]) -> str:
    """The mean of those that arrived, and the range."""
    arrived = [n for n in found if math.isfinite(n)]
    if len(arrived) < len(found):
        return f"{len(arrived)} of {len(found)} seeds"
    return f"{np.mean(arrived):.1f} ({min(arrived):.0f}-{max(arrived):.0f})"


if __name__ == "__main__":
    main()
