"""Under-fitted, right, over-fitted: Fashion-MNIST, one hidden layer, and what helps.

  1. Training and test accuracy against the number of pictures learned from, 500 to 5000.
  2. The same against the number of hidden units, 1 to 1024.
  3. Epoch by epoch: the loss on the test pictures has its least value long before the end.
  4. Every remedy that the notes name, on the same over-fitted network.

Each seed learns from other pictures, begins with other weights, and goes through the pictures in
another order. The settings of the remedies were chosen by networks that learned from 1000 of the
training pictures and were judged on the others; the test pictures chose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from _common import BLUE, GREEN, GREY, ORANGE, RED, figure, parser, save, table, tidy

import pyconv
from pyconv import EarlyStopping, Trainer, models, nn, optim
from pyconv.data import DataLoader, Split, load_dataset, transforms
from pyconv.training import predict

SIZES = (500, 1000, 2000, 3500, 5000)
WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
FEW, WIDTH, EPOCHS = 1000, 256, 40  # pictures, units and epochs where nothing else is said


class Pictures(NamedTuple):
    """Training and test pictures, of zero mean and unit variance."""

    train: Split
    test: Split

    def some(self, count: int, seed: int) -> Split:
        """So many training pictures, chosen at random."""
        chosen = np.random.default_rng(seed).permutation(len(self.train))[:count]
        return Split(self.train.x[chosen], self.train.y[chosen])


class Result(NamedTuple):
    """What a network is worth; accuracies from 0 to 1."""

    train: float
    test: float
    loss: float  # cross-entropy on the test pictures

    @property
    def gap(self) -> float:
        """By how much it is better on what it has learned."""
        return self.train - self.test


def load(test: int = 1000) -> Pictures:
    """Those that come with pyconv."""
    data = load_dataset("fashion-mnist")
    scale = transforms.Normalize.of(data.train.x)
    train, rest = (Split(np.ascontiguousarray(scale(s.x)), s.y) for s in (data.train, data.test))
    return Pictures(train, Split(rest.x[:test], rest.y[:test]))


def learn(
    split: Split,
    seed: int,
    *,
    width: int = WIDTH,
    epochs: int = EPOCHS,
    dropout: float = 0.0,
    l1: float = 0.0,
    l2: float = 0.0,
    shift: int = 0,
    average: Callable[[nn.Module], optim.AveragedModel] | None = None,
    average_from: float = 0.0,
    patience: int = 0,
    watch: Split | None = None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """One hidden layer, trained with Adam at a falling rate; and the training's history.

    Parameters
    ----------
    shift : by how many pixels pictures are moved at random
    average, average_from : a mean of the weights, from this part of the epochs on
    patience : epochs without progress, on a fifth of the pictures, after which it stops
    watch : pictures whose loss goes into the history
    """
    pyconv.manual_seed(seed)
    model = models.mlp(hidden=(width,), dropout=dropout)
    callbacks = []
    if patience:
        part = len(split) // 5
        watch = Split(split.x[:part], split.y[:part])
        split = Split(split.x[part:], split.y[part:])
        callbacks = [EarlyStopping(patience)]
    move = transforms.RandomShift(shift, fill=float(split.x.min())) if shift else None
    optimizer = optim.Adam(model.parameters(), lr=0.001, weight_decay=l2)
    trainer = Trainer(
        model, optimizer, l1=l1, scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        average=average(model) if average else None, average_from=int(average_from * epochs),
        callbacks=callbacks, progress=False,
    )  # fmt: skip
    loader = DataLoader(split, 50, shuffle=True, seed=seed, transform=move)
    trainer.fit(loader, whole(watch) if watch else None, epochs)
    return trainer.result, trainer.history


def whole(split: Split) -> DataLoader:
    """All pictures in their order."""
    return DataLoader(split, 500)


def judge(networks: Sequence[nn.Module], train: Split, test: Split) -> Result:
    """The mean of the networks' probabilities, compared with the classes."""
    found = []
    for split in (train, test):
        mean = np.mean([probabilities(predict(net, whole(split))) for net in networks], axis=0)
        found.append((mean.argmax(1) == split.y).mean())
        loss = -np.log(mean[np.arange(len(mean)), split.y] + 1e-30).mean()
    return Result(float(found[0]), float(found[1]), float(loss))


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Softmax, in float64."""
    e = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def swa(model: nn.Module) -> optim.AveragedModel:
    """The plain mean of the weights after each step."""
    return optim.AveragedModel(model)


def ema(model: nn.Module) -> optim.AveragedModel:
    """A mean in which the last hundred steps or so count."""
    return optim.ExponentialMovingAverage(model, 0.99)


# For each: pictures, networks whose predictions are averaged, arguments of `learn`.
REMEDIES: dict[str, tuple[int, int, dict[str, Any]]] = {
    "nothing": (FEW, 1, {}),
    "more data: 5000": (5000, 1, {}),
    "augmentation: shifts": (FEW, 1, {"shift": 1}),
    "simpler model: 16 units": (FEW, 1, {"width": 16}),
    "early stopping": (FEW, 1, {"patience": 3}),
    "L1": (FEW, 1, {"l1": 0.001}),
    "L2": (FEW, 1, {"l2": 0.01}),
    "dropout: 70 %": (FEW, 1, {"dropout": 0.7}),
    "mean of 5 predictions": (FEW, 5, {}),
    "mean of weights: SWA": (FEW, 1, {"average": swa, "average_from": 0.5}),
    "mean of weights: EMA": (FEW, 1, {"average": ema}),
    "shifts, dropout, 5 means": (FEW, 5, {"shift": 1, "dropout": 0.5}),
}


# -- the experiments ------------------------------------------------------------------------------


def curve(
    pictures: Pictures, points: Sequence[int], seeds: int, of: str, **settings: Any
) -> dict[int, list[Result]]:
    """Results at each number of pictures (`of` "pictures") or of units ("units")."""
    found: dict[int, list[Result]] = {}
    for point in points:
        found[point] = []
        for seed in range(seeds):
            count, more = (point, {}) if of == "pictures" else (FEW, {"width": point})
            split = pictures.some(count, seed)
            network, _ = learn(split, seed, **{**settings, **more})
            found[point].append(judge([network], split, pictures.test))
    return found


def remedy(pictures: Pictures, name: str, seed: int, **settings: Any) -> Result:
    """One row of the table, one seed."""
    count, networks, more = REMEDIES[name]
    split = pictures.some(count, seed)
    found = [
        learn(split, seed + 1000 * number, **{**settings, **more})[0] for number in range(networks)
    ]
    return judge(found, split, pictures.test)


# -- what is shown --------------------------------------------------------------------------------


def percent(values: Sequence[float]) -> str:
    """Mean, and the least and greatest of the seeds."""
    low, mean, high = (100 * f(values) for f in (min, np.mean, max))
    return f"{mean:5.1f} ({low:.1f}…{high:.1f})"


def cells(results: Sequence[Result]) -> tuple[str, str, str, str]:
    """Training, test, gap, loss."""
    return (
        percent([r.train for r in results]), percent([r.test for r in results]),
        percent([r.gap for r in results]), f"{np.mean([r.loss for r in results]):.2f}",
    )  # fmt: skip


def band(axes: Any, found: dict[int, list[Result]], names: Sequence[str]) -> None:
    """Means as lines, all seeds as bands."""
    for name, colour in zip(names, (ORANGE, BLUE), strict=False):
        values = np.array([[100 * getattr(r, name) for r in results] for results in found.values()])
        label = {"train": "training", "test": "test"}[name]
        axes.semilogx(list(found), values.mean(1), "o-", color=colour, ms=4, label=label)
        axes.fill_between(list(found), values.min(1), values.max(1), color=colour, alpha=0.18, lw=0)
    kept = list(found) if len(found) < 7 else list(found)[::2]
    axes.set_xticks(kept, labels=list(map(str, kept)))
    axes.minorticks_off()
    axes.legend(fontsize=9)


def draw(
    sizes: dict[int, list[Result]],
    widths: dict[int, list[Result]],
    histories: list[list[dict[str, Any]]],
    remedies: dict[str, list[Result]],
    path: str,
) -> None:
    """Accuracy against pictures and units, loss against epochs, accuracy by remedy."""
    picture = figure(10, 7.8)
    panels = picture.subplots(2, 2)
    band(panels[0, 0], sizes, ("train", "test"))
    title = f"{WIDTH} units: more pictures"
    tidy(panels[0, 0], title=title, xlabel="pictures learned from", ylabel="right, %")
    band(panels[0, 1], widths, ("train", "test"))
    tidy(
        panels[0, 1], title=f"{FEW} pictures: more units", xlabel="hidden units", ylabel="right, %"
    )

    axes = panels[1, 0]
    for key, colour, label in (("loss", ORANGE, "training"), ("validation_loss", BLUE, "test")):
        for number, history in enumerate(histories):
            epochs = [record["epoch"] for record in history]
            axes.semilogy(epochs, [record[key] for record in history], color=colour, lw=1.3,
                          label=None if number else label)  # fmt: skip
    for history in histories:
        best = min(history, key=lambda record: record["validation_loss"])
        axes.plot(best["epoch"], best["validation_loss"], "*", color=RED, ms=13, mec="white")
    tidy(axes, title="Epoch by epoch (star: least loss)", xlabel="epoch", ylabel="cross-entropy")
    axes.legend(fontsize=9)

    axes = panels[1, 1]
    for row, (_, results) in enumerate(remedies.items()):
        ends = [
            100 * float(np.mean([getattr(r, name) for r in results])) for name in ("test", "train")
        ]
        axes.plot(ends, [row, row], color=GREY, lw=1.2, zorder=1)
        for name, colour in (("train", ORANGE), ("test", BLUE)):
            values = [100 * getattr(r, name) for r in results]
            axes.plot(values, [row] * len(values), "o", color=colour, ms=4.5, alpha=0.75)
    first = 100 * float(np.mean([r.test for r in next(iter(remedies.values()))]))
    axes.axvline(first, color=GREEN, ls=":", lw=1.4, zorder=0)
    axes.set_yticks(range(len(remedies)), labels=list(remedies), fontsize=8)
    axes.invert_yaxis()
    tidy(axes, title="Remedies: test (blue), training (orange)", xlabel="right, %")
    save(picture, path)


def main() -> None:
    """Curves, epochs, remedies."""
    arguments = parser(__doc__)
    arguments.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="of part 1")
    arguments.add_argument("--widths", type=int, nargs="+", default=WIDTHS, help="of part 2")
    arguments.add_argument("--epochs", type=int, default=EPOCHS, help=f"default: {EPOCHS}")
    arguments.add_argument("--seeds", type=int, default=3, help="default: 3")
    options = arguments.parse_args()
    pictures, settings = load(), {"epochs": options.epochs}
    titles = ["training %", "test %", "gap", "loss"]

    print("Mean of the seeds (least…greatest)\n")
    print(f"1. {WIDTH} units, more and more pictures\n")
    sizes = curve(pictures, options.sizes, options.seeds, "pictures", **settings)
    print(table(["pictures", *titles], [(n, *cells(found)) for n, found in sizes.items()]))

    print(f"\n2. {FEW} pictures, more and more units\n")
    widths = curve(pictures, options.widths, options.seeds, "units", **settings)
    print(table(["units", *titles], [(n, *cells(found)) for n, found in widths.items()]))

    print(f"\n3. {FEW} pictures, {WIDTH} units, epoch by epoch\n")
    histories = [
        learn(pictures.some(FEW, seed), seed, watch=pictures.test, **settings)[1]
        for seed in range(options.seeds)
    ]
    rows = []
    for seed, history in enumerate(histories):
        best, last = min(history, key=lambda record: record["validation_loss"]), history[-1]
        numbers = [f"{r['validation_loss']:.3f}" for r in (best, last)]
        accuracies = [f"{100 * r['validation_accuracy']:.1f}" for r in (best, last)]
        rows.append((seed, best["epoch"], *numbers, *accuracies))
    titles_of_epochs = ["seed", "best epoch", "test loss then", "at the end", "test % then"]
    print(table([*titles_of_epochs, "at the end"], rows))

    print(f"\n4. Remedies; {FEW} pictures, {WIDTH} units, {options.epochs} epochs otherwise\n")
    remedies = {
        name: [remedy(pictures, name, seed, **settings) for seed in range(options.seeds)]
        for name in REMEDIES
    }
    print(table(["remedy", *titles], [(name, *cells(found)) for name, found in remedies.items()]))
    if options.plot:
        draw(sizes, widths, histories, remedies, options.plot)


if __name__ == "__main__":
    main()
