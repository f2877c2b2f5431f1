"""Autoencoders: what a narrow code keeps, and of which pictures.

An encoder brings a picture of clothing down to a few numbers, a decoder makes it again; the target
is the input, and no label is looked at. This script measures three claims:

  - lossy: the quality of unseen pictures against the size of the code, beside the best linear code
    of that size (principal components);
  - data-specific: autoencoders of one class each, and the errors that they make on all ten; an
    autoencoder of all classes, on pictures whose pixels are shuffled and on noise;
  - self-supervised: the codes, learned without labels, tell the classes apart. Ten labelled
    pictures a class are then enough for a nearest neighbour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import BLUE, GREY, ORANGE, figure, parser, save, table, tidy

import pyconv
from pyconv import nn
from pyconv.data import load_dataset
from pyconv.recipes import autoencoding

CODES = (2, 4, 16, 64, 256)
CODE = 16  # of the experiments after the first
ORDER = (5, 7, 9, 8, 0, 1, 2, 3, 4, 6)  # classes, sandals first
SHOWN = (0, 1, 2, 3, 8)  # pictures of the figure: the first of these classes


def clothes() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Pictures in 0..1 and classes, to learn from and to test; the names of the classes."""
    data = load_dataset("fashion-mnist")
    train, test = (part.x.astype(np.float32) / 255 for part in (data.train, data.test))
    return train, data.train.y, test, data.test.y, data.classes


def learn(pictures: np.ndarray, code: int, epochs: int, seed: int) -> nn.Module:
    """From pictures alone: `fit` takes no labels."""
    found = autoencoding.fit(pictures, latent=code, epochs=epochs, seed=seed, progress=False)
    return found.model


def again(model: nn.Module, pictures: np.ndarray) -> np.ndarray:
    """What the autoencoder makes of pictures."""
    return autoencoding.anomaly(model, pictures, threshold=1.0, progress=False).reconstructions


def again_by_components(learned: np.ndarray, pictures: np.ndarray, code: int) -> np.ndarray:
    """The same with principal components: of all linear codes the one with the least error on what
    was learned from."""
    flat = learned.reshape(len(learned), -1)
    mean = flat.mean(0)
    _, axes = np.linalg.eigh((flat - mean).T @ (flat - mean))
    axes = axes[:, ::-1][:, :code]
    made = (pictures.reshape(len(pictures), -1) - mean) @ axes @ axes.T + mean
    return np.clip(made, 0, 1).reshape(pictures.shape).astype(np.float32)


def quality(made: np.ndarray, pictures: np.ndarray) -> float:
    """Mean peak signal-to-noise ratio in decibels."""
    return float(autoencoding.psnr(made, pictures).mean())


def errors_by_class(model: nn.Module, pictures: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Mean squared error of the pictures of each class."""
    errors = np.mean((again(model, pictures) - pictures) ** 2, (1, 2, 3))
    return np.array([errors[classes == c].mean() for c in range(10)])


def shuffled(pictures: np.ndarray, seed: int = 0) -> np.ndarray:
    """The same pixels, in another order: one order for all pictures."""
    order = np.random.default_rng(seed).permutation(pictures[0].size)
    return pictures.reshape(len(pictures), -1)[:, order].reshape(pictures.shape)


def codes_of(model: Any, pictures: np.ndarray) -> np.ndarray:
    """What the encoder makes of pictures, N×code."""
    with pyconv.no_grad():
        return np.concatenate([model.encoder(part).numpy() for part in np.split(pictures, 10)])


def by_neighbour(known: np.ndarray, labels: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """How often the nearest of the labelled ones is of the right class."""
    a, b = (part.reshape(len(part), -1) for part in (x, known))
    distances = (b**2).sum(1) - 2 * a @ b.T
    return float(np.mean(labels[distances.argmin(1)] == y))


def few(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of `count` pictures of each class."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == c) for c in range(10)]
    return np.concatenate([rng.choice(places, count, False) for places in members])


# -- pictures -------------------------------------------------------------------------------------


def show(axes: Any, picture: np.ndarray, title: str = "", **style: Any) -> None:
    """One picture without a frame."""
    grey = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
    axes.imshow(picture, **(grey | style))
    axes.set_title(title, fontsize=9)
    axes.axis("off")


def draw_structure(axes: Any, model: Any, picture: np.ndarray) -> None:
    """Picture, encoder, code, decoder, picture."""
    code = codes_of(model, np.repeat(picture[None], 10, 0))[0]
    made = again(model, picture[None])[0, 0]
    axes.set(xlim=(0, 10.6), ylim=(-1.3, 1.4), aspect="equal")
    axes.axis("off")
    for left, image, text in ((0, picture[0], "input"), (8.6, made, "output")):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=(left, left + 2, -1, 1), zorder=2)
        axes.text(left + 1, 1.15, text, ha="center", fontsize=9)
    for corners, text in (
        (((2.2, -1), (4.6, -0.45), (4.6, 0.45), (2.2, 1)), "encoder"),
        (((6.0, -0.45), (8.4, -1), (8.4, 1), (6.0, 0.45)), "decoder"),
    ):
        axes.fill(*zip(*corners, strict=True), color=BLUE, alpha=0.25, lw=0)
        middle = sum(x for x, _ in corners) / 4
        axes.text(middle, 0, text, ha="center", va="center", fontsize=10)
    side = 4
    axes.imshow(
        code.reshape(side, -1), cmap="PuOr", vmin=-np.abs(code).max(), vmax=np.abs(code).max(),
        extent=(4.85, 5.75, -0.45, 0.45),
    )  # fmt: skip
    axes.text(5.3, 0.62, f"code: {len(code)} numbers", ha="center", fontsize=9)
    axes.text(1, -1.25, f"{picture.size} pixels", ha="center", fontsize=8, color=GREY)


def draw(found: dict[str, Any], path: str) -> None:
    """The structure; pictures by size of the code; qualities; errors by class; an anomaly."""
    picture = figure(10, 12.4)
    top, second, third, fourth = picture.subfigures(4, 1, height_ratios=[2.1, 4.6, 3.9, 2.3])
    draw_structure(top.subplots(), found["model"], found["pictures"][SHOWN.index(8)])
    rows = second.subplots(len(SHOWN), len(CODES) + 1)
    for i, row in enumerate(rows):
        show(row[0], found["pictures"][i, 0], "" if i else "input")
        for ax, code in zip(row[1:], CODES, strict=True):
            show(ax, found["made"][code][i, 0], "" if i else f"code of {code}")
    left, right = third.subplots(1, 2)
    values = found["qualities"]
    for row in values:
        left.plot(CODES, row, ".", color=BLUE)
    left.plot(CODES, values.mean(0), color=BLUE, label="autoencoder")
    left.plot(CODES, found["linear"], "s-", ms=4, color=ORANGE, label="principal components")
    left.set_xscale("log", base=2)
    left.set_xticks(CODES, [str(c) for c in CODES])
    left.legend()
    tidy(left, xlabel="numbers in the code", ylabel="PSNR in dB", title="Unseen pictures")
    matrix, names = 1000 * found["matrix"], found["names"]
    image = right.imshow(matrix, cmap="magma_r")
    for (i, j), value in np.ndenumerate(matrix):
        colour = "white" if value > 0.5 * matrix.max() else "black"
        right.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=7, color=colour)
    right.set_xticks(range(10), names, rotation=45, ha="right", fontsize=8)
    right.set_yticks(range(10), names, fontsize=8)
    right.set(ylabel="learned from", xlabel="tested on", title="1000 times the squared error")
    third.colorbar(image, ax=right, shrink=0.8)
    specific = found["anomaly"]
    columns = fourth.subplots(3, 2 * len(SHOWN), squeeze=False)
    for k, column in enumerate(columns.T):
        score = specific.scores[k]
        show(column[0], specific.originals[k, 0], f"{1000 * score:.0f}")
        show(column[1], specific.reconstructions[k, 0])
        apart = specific.reconstructions[k, 0] - specific.originals[k, 0]
        show(column[2], apart, cmap="RdBu", vmin=-1, vmax=1)
    text = "An autoencoder of sandals alone: input, output, difference"
    fourth.suptitle(f"{text}; 1000 times the squared error", fontsize=10)
    save(picture, path)


def main() -> None:
    """All three claims."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3, help="of each autoencoder (default: 3)")
    arguments.add_argument("--epochs", type=int, default=4, help="on all classes (default: 4)")
    arguments.add_argument("--own-epochs", type=int, default=12, help="on one class (default: 12)")
    arguments.add_argument("--pictures", type=int, default=5000, help="to learn from")
    options = arguments.parse_args()
    train, labels, test, classes, names = clothes()
    keep = few(labels, options.pictures // 10, 0)
    train, labels = train[keep], labels[keep]
    seeds = range(options.seeds)
    shown = np.stack([test[classes == c][0] for c in SHOWN])

    qualities = np.empty((len(seeds), len(CODES)))
    linear = [quality(again_by_components(train, test, code), test) for code in CODES]
    made, neighbours, strange = {}, [], []
    for k, code in enumerate(CODES):
        for seed in seeds:
            model = learn(train, code, options.epochs, seed)
            qualities[seed, k] = quality(again(model, test), test)
            if seed == 0:
                made[code] = again(model, shown)
            if code != CODE:
                continue
            if seed == 0:
                kept = model
            labelled = few(labels, 10, seed)
            sets = ((codes_of(model, train), codes_of(model, test)), (train, test))
            neighbours.append(
                [by_neighbour(a[labelled], labels[labelled], b, classes) for a, b in sets]
            )
            noise = np.random.default_rng(seed).random(test.shape, np.float32)
            strange.append([quality(again(model, x), x) for x in (test, shuffled(test), noise)])
    print(f"{len(train)} pictures to learn from, {len(test)} to test; {len(seeds)} seeds\n")
    print("lossy: PSNR of unseen pictures in dB, mean ± standard deviation\n")
    rows = []
    for k, code in enumerate(CODES):
        cell = f"{qualities[:, k].mean():.2f} ± {qualities[:, k].std():.2f}"
        rows.append((code, f"{code / train[0].size:.1%}", cell, f"{linear[k]:.2f}"))
    print(table(["code", "of the pixels", "autoencoder", "principal components"], rows))

    matrix = np.empty((len(seeds), 10, 10))
    for c in range(10):
        for seed in seeds:
            model = learn(train[labels == c], CODE, options.own_epochs, seed)
            matrix[seed, c] = errors_by_class(model, test, classes)
            if seed == 0 and names[c] == "Sandal":
                order = [int(np.flatnonzero(classes == n)[0]) for n in ORDER]
                unlike = autoencoding.anomaly(model, test[order], threshold=1.0, progress=False)
    print("\ndata-specific: autoencoders of one class, 1000 times the mean squared error\n")
    rows, mean = [], matrix.mean(0)
    for c in range(10):
        own, others = matrix[:, c, c], np.delete(mean[c], c)
        nearest = int(np.argmin(np.where(np.arange(10) == c, np.inf, mean[c])))
        cells = [f"{1000 * own.mean():.1f} ± {1000 * own.std():.1f}", f"{1000 * others.mean():.1f}"]
        cells += [f"{names[nearest]} {1000 * others.min():.1f}"]
        rows.append((names[c], *cells, int((mean[:, c] < mean[c, c]).sum())))
    print(table(["learned from", "its own", "others", "least of them", "better networks"], rows))
    print(f"\nan autoencoder of all classes, code of {CODE}: PSNR in dB\n")
    tests = ("clothes", "the same, pixels shuffled", "noise")
    values = np.array(strange)
    rows = [(t, f"{v.mean():.2f} ± {v.std():.2f}") for t, v in zip(tests, values.T, strict=True)]
    print(table(["tested on", "PSNR"], rows))
    print("\nself-supervised: nearest of 10 labelled pictures a class, ", end="")
    print("right on the test pictures\n")
    sizes = (f"code of {CODE}", f"{train[0].size} pixels")
    scores = 100 * np.array(neighbours)
    rows = [(t, f"{v.mean():.1f} ± {v.std():.1f}%") for t, v in zip(sizes, scores.T, strict=True)]
    print(table(["compared by", "right"], rows))
    if options.plot:
        found = {
            "model": kept, "pictures": shown, "made": made, "qualities": qualities,
            "linear": linear, "matrix": matrix.mean(0), "names": names, "anomaly": unlike,
        }  # fmt: skip
        draw(found, options.plot)


if __name__ == "__main__":
    main()
