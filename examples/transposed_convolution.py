"""Transposed convolutions: how a pixel becomes a patch, and where the checkerboard comes from.

A transposed convolution lays the kernel down at every pixel of the input, times that pixel, a
stride apart; where patches overlap they add. It is checked against an ordinary convolution of the
input spread out with zeros, with the kernel turned around.

Where the stride doesn't divide the kernel, some pixels of the output get more patches than their
neighbours. Three networks that enlarge a picture four times, by two transposed convolutions whose
kernels are 3×3 or 4×4, or by repeated pixels and ordinary convolutions, are measured before and in
training: the share of the picture's energy that has the period of the stride. They learn from
three photographs that come with pyconv and are shown a fourth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import BLUE, GREEN, GREY, ORANGE, figure, parser, save, table, tidy

import pyconv
from pyconv import functional, nn, optim
from pyconv.data import sample_picture
from pyconv.kernels import avg_pool2d

FACTOR = 4
LEARNED = ("gateway_of_india", "great_wall", "machu_picchu")
TEST = "colosseum"
KINDS = ("transposed, 3×3", "transposed, 4×4", "resized, 3×3")
COLOURS = dict(zip(KINDS, (ORANGE, BLUE, GREEN), strict=True))
PROBLEMS = ((2, 2, 0), (3, 1, 1), (3, 2, 0), (4, 2, 1), (5, 3, 2), (2, 3, 0))  # k, stride, padding


# -- what it computes -----------------------------------------------------------------------------


def spread(x: np.ndarray, stride: int) -> np.ndarray:
    """`stride` - 1 zeros between neighbours."""
    n, channels, height, width = x.shape
    y = np.zeros((n, channels, (height - 1) * stride + 1, (width - 1) * stride + 1))
    y[:, :, ::stride, ::stride] = x
    return y


def by_convolution(x: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """A transposed convolution as an ordinary one, with stride 1."""
    turned = weight[:, :, ::-1, ::-1].swapaxes(0, 1)
    frame = weight.shape[-1] - 1 - padding
    return functional.conv2d(spread(x, stride), turned, padding=frame).numpy()


def by_patches(x: np.ndarray, weight: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """Pixel by pixel: the kernel times the pixel is added where the pixel lies."""
    k, (height, width) = weight.shape[-1], x.shape[2:]
    sides = ((height - 1) * stride + k, (width - 1) * stride + k)
    y = np.zeros((len(x), weight.shape[1], *sides))
    for i in range(height):
        for j in range(width):
            patch = np.einsum("nc,cokl->nokl", x[:, :, i, j], weight)
            y[:, :, i * stride : i * stride + k, j * stride : j * stride + k] += patch
    return y[:, :, padding : sides[0] - padding, padding : sides[1] - padding]


def differences(kernel: int, stride: int, padding: int, seed: int = 0) -> tuple[float, float]:
    """The largest difference of `conv_transpose2d` to each of the two ways above, in float64."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, 5, 6))
    weight = rng.standard_normal((3, 4, kernel, kernel))
    y = functional.conv_transpose2d(x, weight, stride=stride, padding=padding).numpy()
    others = (by_convolution(x, weight, stride, padding), by_patches(x, weight, stride, padding))
    return float(np.abs(others[0] - y).max()), float(np.abs(others[1] - y).max())


def overlaps(kernel: int, stride: int, count: int = 6) -> np.ndarray:
    """How many patches each pixel gets: the transposed convolution of ones by ones."""
    ones = np.ones((1, 1, count, count))
    found = functional.conv_transpose2d(ones, np.ones((1, 1, kernel, kernel)), stride=stride)
    return np.rint(found.numpy()[0, 0]).astype(int)


# -- the checkerboard -----------------------------------------------------------------------------


def network(kind: str, width: int = 16) -> nn.Sequential:
    """Enlarges four times, in two steps; sizes of the output are four times the input's."""

    def enlarge(channels: int, out: int) -> list[nn.Module]:
        if kind == "transposed, 3×3":
            return [nn.ConvTranspose2d(channels, out, 3, 2, padding=1, output_padding=1)]
        if kind == "transposed, 4×4":
            return [nn.ConvTranspose2d(channels, out, 4, 2, padding=1)]
        return [nn.Upsample(scale_factor=2), nn.Conv2d(channels, out, 3, padding=1)]

    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(),
        *enlarge(width, width), nn.ReLU(),
        *enlarge(width, 1),
    )  # fmt: skip


def energy_at_period(picture: np.ndarray, period: int) -> float:
    """The share of a picture's energy, without its mean, in what repeats every `period` pixels.

    In the discrete Fourier transform this lies at the multiples of 1 / period, along both axes.
    """
    height, width = (n // period * period for n in picture.shape)
    power = np.abs(np.fft.fft2(picture[:height, :width].astype(np.float64))) ** 2
    power[0, 0] = 0
    return float(power[:: height // period, :: width // period].sum() / power.sum())


def photograph(name: str, side: int) -> np.ndarray:
    """The middle, side×side, grey, in 0..1."""
    picture = sample_picture(name, 1)[0]
    top, left = ((n - side) // 2 for n in picture.shape)
    return picture[top : top + side, left : left + side].astype(np.float32) / 255


def run(net: nn.Module, small: np.ndarray) -> np.ndarray:
    """One picture, H×W, enlarged; the frame that sees padding is cut off."""
    with pyconv.no_grad():
        y = net(small[None, None]).numpy()[0, 0]
    return y[2 * FACTOR : -2 * FACTOR, 2 * FACTOR : -2 * FACTOR]


def learn(
    kind: str, seed: int, steps: int, looks: tuple[int, ...], side: int = 320
) -> tuple[list[float], list[float], dict[int, np.ndarray]]:
    """Train; after each of `looks` steps: the share of energy with the period of the enlargement,
    the mean squared error, and the picture."""
    pyconv.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = network(kind)
    optimizer = optim.Adam(net.parameters(), lr=2e-3)
    sharp = [photograph(name, side) for name in LEARNED]
    test = photograph(TEST, side)
    small = avg_pool2d(test[None, None], FACTOR)[0, 0]
    wanted = test[2 * FACTOR : -2 * FACTOR, 2 * FACTOR : -2 * FACTOR]
    energies, errors, pictures = [], [], {}
    for step in range(steps + 1):
        if step in looks:
            pictures[step] = run(net, small)
            energies.append(energy_at_period(pictures[step], FACTOR))
            errors.append(float(np.mean((pictures[step] - wanted) ** 2)))
        if step < steps:
            crops = np.empty((8, 1, 64, 64), np.float32)
            for crop in crops:
                i, j = rng.integers(0, side - 63, 2)
                crop[0] = sharp[rng.integers(len(sharp))][i : i + 64, j : j + 64]
            optimizer.zero_grad()
            functional.mse_loss(net(avg_pool2d(crops, FACTOR)), crops).backward()
            optimizer.step()
    return energies, errors, pictures


# -- pictures -------------------------------------------------------------------------------------


def draw_numbers(axes: Any, values: np.ndarray, title: str, most: float, text: bool = True) -> None:
    """A small picture with its numbers."""
    axes.imshow(values, cmap="Blues", vmin=0, vmax=most * 1.25)
    for (i, j), number in np.ndenumerate(values):
        if text and number:
            axes.text(j, i, f"{number:g}", ha="center", va="center", fontsize=8,
                      color="white" if number > 0.7 * most else "black")  # fmt: skip
    axes.set_xticks(np.arange(values.shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(values.shape[0] + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=1)
    axes.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    axes.spines[:].set_color(GREY)
    axes.set_title(title, fontsize=9)


def draw(
    found: dict[str, list[tuple[list[float], list[float], dict[int, np.ndarray]]]],
    looks: tuple[int, ...],
    path: str,
) -> None:
    """Patches that overlap, their counts, pictures of the networks, the energy in training."""
    picture = figure(9, 9.8)
    first, second, third, fourth = picture.subfigures(4, 1, height_ratios=[1, 1, 1.9, 1.35])
    kernel = np.array([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    whole = np.array([[1.0, 0], [0, 2]])
    parts = [whole * (np.arange(4).reshape(2, 2) == n) for n in (0, 3)]
    patches = [by_patches(p[None, None], kernel[None, None], 2, 0)[0, 0] for p in (*parts, whole)]
    titles = ("patch of pixel 1", "patch of pixel 2", "overlaps add")
    axes = first.subplots(1, 5)
    draw_numbers(axes[0], whole, "input", 8)
    draw_numbers(axes[1], kernel, "kernel, stride 2", 8)
    for ax, values, title in zip(axes[2:], patches, titles, strict=True):
        draw_numbers(ax, values, title, 8)
    sizes = ((2, 2), (3, 2), (4, 2), (5, 2), (5, 3))
    for ax, (k, stride) in zip(second.subplots(1, len(sizes)), sizes, strict=True):
        counts = overlaps(k, stride, 4)
        draw_numbers(ax, counts, f"patches: {k}×{k}, stride {stride}", counts.max())
    shown = (looks[0], looks[-1])
    axes = third.subplots(len(shown), len(KINDS))
    for row, step in zip(axes, shown, strict=True):
        for ax, kind in zip(row, KINDS, strict=True):
            energies, _, pictures = found[kind][0]
            values = pictures[step]
            part = values[96:160, 60:190]
            low, high = np.quantile(part, (0.01, 0.99)) if step == 0 else (0, 1)
            ax.imshow(part, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            share = energies[looks.index(step)]
            ax.set_title(f"{kind}, {step} steps: {share:.3%}", fontsize=9)
            ax.axis("off")
    left, right = fourth.subplots(1, 2)
    for kind, runs in found.items():
        for number, (energies, errors, _) in enumerate(runs):
            style = {"color": COLOURS[kind], "marker": "o", "ms": 3, "lw": 1.2}
            label = None if number else kind
            left.plot(looks, energies, label=label, **style)
            right.plot(looks, errors, label=label, **style)
    side = photograph(TEST, 320)
    left.axhline(energy_at_period(side, FACTOR), color=GREY, ls=":", label="the photograph itself")
    for ax, text in ((left, "energy with the period of 4"), (right, "mean squared error")):
        ax.set_xscale("symlog", linthresh=10)
        ax.set_yscale("log")
        tidy(ax, xlabel="steps of training", ylabel=text)
        ax.set_xticks(looks, [str(n) for n in looks])
        ax.set_xlim(-2, 1.3 * looks[-1])
        ax.minorticks_off()
    right.yaxis.set_major_formatter("{x:g}")
    right.set_yticks((0.02, 0.05, 0.1, 0.3))
    names = left.get_legend_handles_labels()
    fourth.legend(*names, loc="outside upper center", ncols=4, fontsize=8)
    save(picture, path)


def main() -> None:
    """Check, count, train."""
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=1000, help="of training (default: 1000)")
    arguments.add_argument("--seeds", type=int, default=3, help="networks of each kind")
    options = arguments.parse_args()
    print("conv_transpose2d against two other ways, largest difference\n")
    rows = [(f"{k}×{k}", s, p, *(f"{d:.1e}" for d in differences(k, s, p))) for k, s, p in PROBLEMS]
    titles = ["kernel", "stride", "padding", "zeros between, turned kernel", "sum of patches"]
    print(table(titles, rows))

    print("\npatches that a pixel gets, away from the edge\n")
    rows = []
    for k, stride in ((2, 2), (3, 2), (4, 2), (5, 2), (3, 3), (5, 3), (6, 3), (6, 4)):
        counts = overlaps(k, stride, 12)[2 * k : -2 * k, 2 * k : -2 * k]
        every = ", ".join(map(str, np.unique(counts)))
        rows.append((f"{k}×{k}", stride, "no" if k % stride else "yes", every))
    print(table(["kernel", "stride", "stride divides kernel", "patches"], rows))

    looks = tuple(n for n in (0, 10, 30, 100, 300, 1000) if n <= options.steps)
    found = {
        kind: [learn(kind, seed, options.steps, looks) for seed in range(options.seeds)]
        for kind in KINDS
    }
    print(f"\nshare of energy with the period of {FACTOR}; mean ± standard deviation, ", end="")
    print(f"{options.seeds} seeds\n")
    chosen = [i for i, n in enumerate(looks) if n in (0, 30, 100, looks[-1])]
    rows = []
    for kind, runs in found.items():
        shares = 100 * np.array([energies for energies, _, _ in runs])[:, chosen]
        last = np.array([errors[-1] for _, errors, _ in runs])
        cells = [f"{m:.3f} ± {d:.3f}%" for m, d in zip(shares.mean(0), shares.std(0), strict=True)]
        rows.append((kind, *cells, f"{last.mean():.5f}"))
    print(table(["network", *(f"{looks[i]} steps" for i in chosen), "error"], rows))
    itself = 100 * energy_at_period(photograph(TEST, 320), FACTOR)
    print(f"\nthe photograph itself: {itself:.3f}%")
    if options.plot:
        draw(found, looks, options.plot)


if __name__ == "__main__":
    main()
