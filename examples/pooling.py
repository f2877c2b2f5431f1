"""Pooling: the largest or the mean of each window.

Both are computed by their formula in NumPy and compared with the layers, backward too: the maximum
sends its gradient to one pixel, the mean spreads it over all. Then this script measures

  - how much of a layer's output changes if the picture moves by a pixel: with max pooling, with
    mean pooling, and with every k-th output (a stride instead of a pooling);
  - small networks that shrink their maps in these three ways: how often they are right on pictures
    of clothing, at the place where they learned them and one to three pixels beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _common import BLUE, GREEN, GREY, ORANGE, figure, parser, save, table, tidy

import pyconv
from pyconv import Trainer, functional, nn, optim
from pyconv.data import DataLoader, load_dataset, sample_picture, transforms

KINDS = ("max", "mean", "stride")
COLOURS = dict(zip(KINDS, (BLUE, ORANGE, GREEN), strict=True))
WINDOWS = (1, 2, 4, 8)
SHIFTS = (0, 1, 2, 3)


# -- the formulas ---------------------------------------------------------------------------------


def windows(x: np.ndarray, k: int) -> np.ndarray:
    """N×C×H×W in windows of k×k that don't overlap: N×C×H/k×W/k×k²."""
    n, channels, height, width = x.shape
    parts = x.reshape(n, channels, height // k, k, width // k, k).swapaxes(3, 4)
    return parts.reshape(n, channels, height // k, width // k, k * k)


def together(parts: np.ndarray, k: int) -> np.ndarray:
    """The other way round."""
    n, channels, height, width, _ = parts.shape
    x = parts.reshape(n, channels, height, width, k, k).swapaxes(3, 4)
    return x.reshape(n, channels, height * k, width * k)


def max_pool(x: np.ndarray, k: int) -> np.ndarray:
    """The largest of each window."""
    return windows(x, k).max(-1)


def mean_pool(x: np.ndarray, k: int) -> np.ndarray:
    """The mean of each window."""
    return windows(x, k).mean(-1)


def max_pool_backward(dy: np.ndarray, x: np.ndarray, k: int) -> np.ndarray:
    """All of dy to the pixel that is the largest, the first of them in reading order."""
    parts = windows(x, k)
    first = parts.argmax(-1)[..., None] == np.arange(k * k)
    return together(first * dy[..., None], k)


def mean_pool_backward(dy: np.ndarray, x: np.ndarray, k: int) -> np.ndarray:
    """A k²-th of dy to each pixel."""
    return together(np.broadcast_to(dy[..., None] / k**2, windows(x, k).shape), k)


def by_layer(kind: str, x: np.ndarray, dy: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """What pyconv's layer gives, and the gradient of its input."""
    image = pyconv.Tensor(x, requires_grad=True)
    pool: Callable[..., Any] = {"max": functional.max_pool2d, "mean": functional.avg_pool2d}[kind]
    y = pool(image, k)
    y.backward(pyconv.Tensor(dy))
    return y.numpy(), image.grad.numpy()


def differences(kind: str, x: np.ndarray, k: int, seed: int = 0) -> tuple[float, float, int]:
    """The largest differences of the output and of the gradient; how many pixels a window's
    gradient reaches."""
    forward, backward = {
        "max": (max_pool, max_pool_backward),
        "mean": (mean_pool, mean_pool_backward),
    }[kind]
    expected = forward(x, k)
    dy = np.random.default_rng(seed).uniform(1, 2, expected.shape)
    y, dx = by_layer(kind, x, dy, k)
    reached = (windows(dx, k) != 0).sum(-1)
    assert reached.min() == reached.max()
    apart = (np.abs(y - expected).max(), np.abs(dx - backward(dy, x, k)).max())
    return float(apart[0]), float(apart[1]), int(reached[0, 0, 0, 0])


def photograph(height: int = 240, width: int = 360) -> np.ndarray:
    """The middle of one that comes with pyconv, 1×1×H×W."""
    photo = sample_picture("colosseum", 1)[None].astype(np.float64)
    top, left = (photo.shape[2] - height) // 2, (photo.shape[3] - width) // 2
    return photo[:, :, top : top + height, left : left + width]


# -- a picture that moves -------------------------------------------------------------------------


def moved(x: np.ndarray, down: int, right: int) -> np.ndarray:
    """Pictures moved by so many pixels; what comes in is black."""
    n = max(abs(down), abs(right))
    padded = np.pad(x, ((0, 0), (0, 0), (n, n), (n, n)))
    height, width = x.shape[2:]
    return padded[:, :, n - down : n - down + height, n - right : n - right + width]


def shrink(kind: str, y: np.ndarray, k: int) -> np.ndarray:
    """One number for each window: its largest, its mean, or the one in its corner."""
    if kind == "stride":
        return y[:, :, ::k, ::k]
    return (max_pool if kind == "max" else mean_pool)(y, k)


def change(kind: str, pictures: np.ndarray, k: int, seed: int) -> float:
    """How far a layer's output is from that of the picture a pixel beside, as a share of how far
    it is from another picture's. The layer: a convolution of random weights, ReLU, pooling."""
    pyconv.manual_seed(seed)
    layer = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU())
    framed = np.pad(pictures, ((0, 0), (0, 0), (2, 2), (2, 2)))

    def output(x: np.ndarray) -> np.ndarray:
        with pyconv.no_grad():
            return shrink(kind, layer(x).numpy(), k).reshape(len(x), -1)

    still = output(framed)
    other = np.linalg.norm(still - np.roll(still, 1, 0), axis=1).mean()
    shifts = [output(moved(framed, *step)) for step in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    return float(np.mean([np.linalg.norm(y - still, axis=1).mean() for y in shifts]) / other)


# -- networks -------------------------------------------------------------------------------------


def network(kind: str, width: int = 16) -> nn.Sequential:
    """Three convolutions; the map is halved twice, by a pooling or by the convolution's stride."""
    stride = 2 if kind == "stride" else 1
    pool = {"max": [nn.MaxPool2d(2)], "mean": [nn.AvgPool2d(2)], "stride": []}[kind]
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride, padding=1), nn.ReLU(), *pool,
        nn.Conv2d(width, 2 * width, 3, stride, padding=1), nn.ReLU(), *pool,
        nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(2 * width * 7 * 7, 10),
    )  # fmt: skip


def accuracies(kind: str, seed: int, epochs: int, pictures: int, tests: int) -> list[float]:
    """Right on the test pictures, moved by 0, 1, 2 and 3 pixels (mean of four directions)."""
    data = load_dataset("fashion-mnist")
    scale = transforms.Normalize.of(data.train.x)
    pyconv.manual_seed(seed)
    net = network(kind)
    optimizer = optim.Adam(net.parameters(), lr=2e-3)
    train = DataLoader(data.train[:pictures], 50, shuffle=True, seed=seed, transform=scale)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * len(train))
    trainer = Trainer(net, optimizer, scheduler=schedule, progress=False)
    trainer.fit(train, epochs=epochs)

    def right(down: int, across: int) -> float:
        test = (moved(data.test.x[:tests], down, across), data.test.y[:tests])
        return trainer.evaluate(DataLoader(test, 250, transform=scale))["accuracy"]

    return [
        right(0, 0) if n == 0 else float(np.mean([right(*s) for s in directions(n)]))
        for n in SHIFTS
    ]


def directions(n: int) -> tuple[tuple[int, int], ...]:
    """Up, down, left, right."""
    return ((-n, 0), (n, 0), (0, -n), (0, n))


# -- pictures -------------------------------------------------------------------------------------


def draw_cells(axes: Any, values: np.ndarray, title: str, k: int, form: str, **style: Any) -> None:
    """A few pixels with their numbers, windows outlined."""
    axes.imshow(values, **style)
    middle = (style["vmin"] + style["vmax"]) / 2
    for (i, j), value in np.ndenumerate(values):
        bright = (value > middle) == (style["cmap"] == "gray")
        colour = "black" if bright else "white"
        axes.text(j, i, format(value, form), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(np.arange(0, values.shape[1] + 1, k) - 0.5, minor=True)
    axes.set_yticks(np.arange(0, values.shape[0] + 1, k) - 0.5, minor=True)
    axes.grid(which="minor", color=ORANGE, lw=1.5)
    axes.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    axes.spines[:].set_color(ORANGE)
    axes.set_title(title, fontsize=9)


def draw(changes: dict[str, np.ndarray], rights: dict[str, np.ndarray], path: str) -> None:
    """A few pixels and their gradients, a photograph, what a shift changes."""
    picture = figure(10, 9.2)
    first, second, third = picture.subfigures(3, 1, height_ratios=[1.25, 2.1, 1.6])
    photo = photograph()
    few = photo[:, :, 120:126, 150:156]
    grey = {"cmap": "gray", "vmin": few.min(), "vmax": few.max()}
    ones = np.ones((1, 1, 3, 3))
    drawn = (
        (few, "six by six pixels", 2, ".0f", grey),
        (max_pool(few, 2), "largest", 1, ".0f", grey),
        (mean_pool(few, 2), "mean", 1, ".1f", grey),
        (max_pool_backward(ones, few, 2), "gradient of the largest", 2, ".0f", None),
        (mean_pool_backward(ones, few, 2), "gradient of the mean", 2, ".2f", None),
    )
    for ax, (x, title, k, form, style) in zip(first.subplots(1, 5), drawn, strict=True):
        blue = {"cmap": "Blues", "vmin": 0, "vmax": 1}
        draw_cells(ax, x[0, 0], title, k, form, **(style or blue))
    rows = second.subplots(2, 4)
    for row, kind in zip(rows, ("max", "mean"), strict=True):
        for ax, k in zip(row, WINDOWS, strict=True):
            ax.imshow(shrink(kind, photo, k)[0, 0], cmap="gray", vmin=0, vmax=255)
            ax.set_title(f"{kind} of {k}×{k}" if k > 1 else "the photograph", fontsize=9)
            ax.axis("off")
    left_axes, right_axes = third.subplots(1, 2)
    for kind, values in changes.items():
        for line in values:
            left_axes.plot(WINDOWS, line, ".", color=COLOURS[kind], ms=4)
        left_axes.plot(WINDOWS, values.mean(0), color=COLOURS[kind], label=kind)
    for kind, values in rights.items():
        for line in values:
            right_axes.plot(SHIFTS, 100 * line, ".", color=COLOURS[kind], ms=4)
        right_axes.plot(SHIFTS, 100 * values.mean(0), color=COLOURS[kind], label=kind)
    left_axes.set_xscale("log", base=2)
    left_axes.set_xticks(WINDOWS, [str(k) for k in WINDOWS])
    right_axes.set_xticks(SHIFTS)
    left_axes.axhline(1, color=GREY, ls=":", label="another picture")
    tidy(left_axes, xlabel="window, stride", ylabel="change", title="One pixel beside")
    tidy(right_axes, xlabel="pixels beside", ylabel="right, %", title="Networks")
    left_axes.legend(fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.93))
    right_axes.legend(fontsize=8)
    save(picture, path)


def main() -> None:
    """Compare, move, train."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=3, help="networks of each kind")
    arguments.add_argument("--epochs", type=int, default=6, help="default: 6")
    arguments.add_argument("--pictures", type=int, default=5000, help="to learn from")
    arguments.add_argument("--tests", type=int, default=1000, help="pictures to test on")
    options = arguments.parse_args()
    seeds = range(options.seeds)
    photo = photograph()
    print("formula and layer on a photograph, largest difference; ", end="")
    print("pixels of a window that get a gradient\n")
    rows = []
    for kind in ("max", "mean"):
        for k in WINDOWS[1:]:
            forward, backward, reached = differences(kind, photo, k)
            rows.append((kind, f"{k}×{k}", f"{forward:.1e}", f"{backward:.1e}", reached))
    print(table(["pooling", "window", "output", "gradient", "pixels"], rows))

    pictures = load_dataset("fashion-mnist").test.x[: options.tests // 2]
    pictures = pictures.astype(np.float32) / 255
    changes = {
        kind: np.array([[change(kind, pictures, k, seed) for k in WINDOWS] for seed in seeds])
        for kind in KINDS
    }
    print("\nchange of a layer's output if the picture moves by a pixel, 1 = another picture;")
    print(f"mean ± standard deviation, {len(seeds)} seeds\n")
    rows = []
    for kind, values in changes.items():
        rows.append((kind, *(f"{v.mean():.2f} ± {v.std():.2f}" for v in values.T)))
    print(table(["", *(f"window {k}" for k in WINDOWS)], rows))

    sizes = (options.epochs, options.pictures, options.tests)
    rights = {kind: np.array([accuracies(kind, seed, *sizes) for seed in seeds]) for kind in KINDS}
    print("\nnetworks, right on the test pictures, in %, moved by so many pixels\n")
    rows = []
    for kind, values in rights.items():
        size = sum(p.data.size for p in network(kind).parameters())
        work = pyconv.summary(network(kind), (1, 1, 28, 28)).multiply_adds
        cells = [f"{100 * v.mean():.1f} ± {100 * v.std():.1f}" for v in values.T]
        rows.append((kind, f"{size:,}", f"{work:,}", *cells))
    head = ["shrunk by", "parameters", "multiply-adds", "at its place"]
    print(table([*head, *(str(n) for n in SHIFTS[1:])], rows))
    if options.plot:
        draw(changes, rights, options.plot)


if __name__ == "__main__":
    main()
