"""A convolution in two parts: each channel by itself, then across the channels.

A traditional convolution has a k×k×C_in kernel for each of its C_out outputs. The depthwise
separable one has C_in kernels of k×k×1, and then C_out kernels of 1×1×C_in. This script compares
them: parameters by the formulas and by summary, multiply-adds, the time of a layer (both in turns,
in one process), and the accuracy of small networks on Fashion-MNIST (14×14, by the mean of 2×2
pixels), at the same width and at the same number of parameters.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _common import BLUE, GREEN, GREY, ORANGE, RED, figure, parser, save, table, tidy
from _fashion import Split, pictures, spread

import pyconv
from pyconv import Trainer, nn, optim
from pyconv.data import DataLoader

LAYERS = ((16, 16, 32), (32, 64, 28), (64, 64, 28), (128, 128, 14), (256, 256, 14))  # in, out, size
KINDS = {"traditional": nn.Conv2d, "separable": nn.DepthwiseSeparableConv2d}


# -- parameters and multiply-adds -----------------------------------------------------------------


def parameters(kind: str, kernel: int, d_in: int, d_out: int) -> int:
    """By the formulas, without a bias."""
    if kind == "traditional":
        return kernel * kernel * d_in * d_out
    return kernel * kernel * d_in + (1 * 1 * d_in) * d_out


def counted(kind: str, kernel: int, d_in: int, d_out: int, size: int) -> tuple[int, int]:
    """Parameters and multiply-adds, by summary."""
    layer = KINDS[kind](d_in, d_out, kernel, padding=kernel // 2, bias=False)
    found = pyconv.summary(layer, (d_in, size, size))
    return found.parameters, found.multiply_adds


# -- time -----------------------------------------------------------------------------------------


def in_turns(functions: list[Callable[[], Any]], rounds: int) -> list[float]:
    """Median seconds of the processor for each; they take turns, so that what disturbs one disturbs
    all."""
    for function in functions:
        function()
    seconds = np.empty((rounds, len(functions)))
    for i in range(rounds):
        for j, function in enumerate(functions):
            start = time.process_time()
            function()
            seconds[i, j] = time.process_time() - start
    return list(np.median(seconds, axis=0))


def times(d_in: int, d_out: int, size: int, rounds: int) -> list[float]:
    """Seconds of one core for a batch of eight: inference, traditional and separable, then a
    training step of both."""
    pyconv.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, d_in, size, size)).astype(np.float32)
    dy = pyconv.Tensor(rng.standard_normal((8, d_out, size, size)).astype(np.float32))
    layers = [make(d_in, d_out, 3, padding=1, bias=False) for make in KINDS.values()]

    def inference(layer: nn.Module) -> None:
        with pyconv.no_grad():
            layer(x)

    def training(layer: nn.Module) -> None:
        layer.zero_grad()
        layer(pyconv.Tensor(x, requires_grad=True)).backward(dy)

    calls = [
        lambda work=work, layer=layer: work(layer)
        for work in (inference, training)
        for layer in layers
    ]
    threads = pyconv.get_num_threads()
    pyconv.set_num_threads(1)
    try:
        return in_turns(calls, rounds)
    finally:
        pyconv.set_num_threads(threads)


# -- accuracy -------------------------------------------------------------------------------------


def network(kind: str, width: int) -> nn.Sequential:
    """Four convolutions of 3×3, the first of them traditional: it has a single channel."""
    layers: list[nn.Module] = []
    channels = 1
    for number, (wide, stride) in enumerate(((1, 1), (2, 2), (2, 1), (4, 2))):
        make = KINDS[kind] if number else nn.Conv2d
        layers += [make(channels, wide * width, 3, stride, 1, bias=False)]
        layers += [nn.BatchNorm2d(wide * width), nn.ReLU()]
        channels = wide * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def test_accuracy(
    kind: str, width: int, data: tuple[Split, Split], seed: int, epochs: int
) -> float:
    """Of a network trained by Adam, its rate falling to zero."""
    pyconv.manual_seed(seed)
    model = network(kind, width)
    optimizer = optim.Adam(model.parameters(), lr=0.005)
    falling = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    trainer = Trainer(model, optimizer, scheduler=falling, progress=False)
    trainer.fit(DataLoader(data[0], batch_size=50, shuffle=True, seed=seed), epochs=epochs)
    return trainer.evaluate(DataLoader(data[1], batch_size=250))["accuracy"]


# -- the picture ----------------------------------------------------------------------------------

SLANT = np.array([0.42, 0.30])  # a step along the channels, on paper


def cuboid(axes: Any, x: float, y: float, shape: tuple[float, float, float], colour: str) -> None:
    """Width, height, and depth, which is the channels; x, y is the front's lower left corner."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Polygon

    width, height, depth = shape
    back = depth * SLANT
    front = np.array([[0, 0], [width, 0], [width, height], [0, height]]) + (x, y)
    top = np.array([front[3], front[2], front[2] + back, front[3] + back])
    side = np.array([front[1], front[2], front[2] + back, front[1] + back])
    for face, shade in ((top, 0.35), (side, -0.25), (front, 0.0)):
        rgb = np.array(to_rgb(colour))
        rgb = rgb + (1 - rgb) * shade if shade > 0 else rgb * (1 + shade)
        axes.add_patch(Polygon(face, facecolor=rgb, edgecolor="white", linewidth=0.8))


def slices(axes: Any, x: float, y: float, side: float, colours: list[str], gap: float) -> None:
    """One thin cuboid for each channel, the last one behind."""
    for number in reversed(range(len(colours))):
        dx, dy = number * gap * SLANT
        cuboid(axes, x + dx, y + dy, (side, side, 0.5), colours[number])


def arrow(axes: Any, x: float, end: float, y: float) -> None:
    """From left to right."""
    axes.annotate("", (end, y), (x, y), arrowprops={"arrowstyle": "-|>", "color": "black"})


def draw_traditional(axes: Any) -> None:
    """The image, the kernels, the output."""
    cuboid(axes, 0.3, 1.2, (2.6, 2.6, 3), BLUE)
    axes.text(2.2, 0.55, r"$H \times W \times C_{in}$", ha="center")
    axes.text(5.1, 2.9, "$*$", fontsize=18, ha="center", va="center")
    for number, colour in enumerate((RED, ORANGE, GREEN)):
        cuboid(axes, 6.3 + 2.6 * number, 2.0, (0.9, 0.9, 3), colour)
    axes.text(9.8, 0.55, r"$C_{out}$ kernels of $k \times k \times C_{in}$", ha="center")
    arrow(axes, 14.0, 15.2, 2.9)
    slices(axes, 15.8, 1.2, 2.6, [RED, ORANGE, GREEN], 1.0)
    axes.text(17.8, 0.55, r"$H \times W \times C_{out}$", ha="center")
    axes.set_title("Traditional convolution", fontsize=11)


def draw_separable(axes: Any) -> None:
    """The image channel by channel, their kernels, what they make, the 1×1 kernels, the output."""
    shades = ["#16406b", BLUE, "#7aaad6"]
    slices(axes, 0.2, 1.2, 2.0, shades, 1.3)
    axes.text(1.7, 0.55, r"$H \times W \times C_{in}$", ha="center")
    axes.text(4.1, 2.7, "$*$", fontsize=18, ha="center", va="center")
    slices(axes, 4.9, 1.9, 0.9, shades, 2.2)
    axes.text(6.2, 0.55, r"$C_{in}$ of $k \times k \times 1$", ha="center")
    arrow(axes, 8.0, 8.9, 2.7)
    slices(axes, 9.2, 1.2, 2.0, shades, 1.3)
    axes.text(10.8, 0.55, r"$H \times W \times C_{in}$", ha="center")
    axes.text(13.0, 2.7, "$*$", fontsize=18, ha="center", va="center")
    for number, colour in enumerate((RED, ORANGE, GREEN)):
        cuboid(axes, 13.7 + 1.05 * number, 2.2, (0.35, 0.35, 3), colour)
    axes.text(15.2, 0.55, r"$C_{out}$ of $1 \times 1 \times C_{in}$", ha="center")
    arrow(axes, 17.6, 18.4, 2.7)
    slices(axes, 18.7, 1.2, 2.0, [RED, ORANGE, GREEN], 1.0)
    axes.text(20.2, 0.55, r"$H \times W \times C_{out}$", ha="center")
    axes.set_title("Depthwise separable convolution", fontsize=11)


def draw(
    layers: list[tuple[str, float, float, float]],
    networks: list[tuple[str, int, list[float]]],
    path: str,
) -> None:
    """The two kinds; what a layer saves; what a network loses."""
    picture = figure(11, 9)
    rows = picture.subplot_mosaic("AA;BB;CD", height_ratios=[1, 1, 1.5])
    for name, paint in (("A", draw_traditional), ("B", draw_separable)):
        axes = rows[name]
        axes.set(xlim=(0, 22.2), ylim=(0.2, 5), aspect="equal")
        axes.axis("off")
        paint(axes)
    left, right = rows["C"], rows["D"]
    where = np.arange(len(layers))
    for shift, column, colour, label in (
        (-0.27, 1, GREY, "multiply-adds"),
        (0, 2, BLUE, "seconds, inference"),
        (0.27, 3, ORANGE, "seconds, training"),
    ):
        left.bar(where + shift, [row[column] for row in layers], 0.25, color=colour, label=label)
    tidy(left, title="A layer: traditional / separable", ylabel="times as many", xlabel="channels")
    left.set_xticks(where, [row[0].split(",")[0] for row in layers])
    left.set_ylim(top=1.3 * max(max(row[1:]) for row in layers))
    left.legend(fontsize=8)
    for number, (name, count, found) in enumerate(networks):
        values = 100 * np.array(found)
        colour = BLUE if name.startswith("traditional") else ORANGE
        marker = "os^"[number % 3]
        error = [[values.mean() - values.min()], [values.max() - values.mean()]]
        right.errorbar(
            count, values.mean(), error, fmt=marker, color=colour, capsize=3, ms=7, label=name
        )
    right.set_xscale("log")
    right.margins(0.2)
    tidy(right, title="A network", xlabel="parameters", ylabel="test accuracy, %")
    right.legend(fontsize=8)
    save(picture, path)


# -- all ------------------------------------------------------------------------------------------


def main() -> None:
    """Count, time, train, draw."""
    arguments = parser(__doc__)
    arguments.add_argument("--pictures", type=int, default=5000, help="to train (default: 5000)")
    arguments.add_argument("--epochs", type=int, default=10, help="default: 10")
    arguments.add_argument("--seeds", type=int, default=3, help="default: 3")
    arguments.add_argument("--rounds", type=int, default=41, help="of the clock (default: 41)")
    options = arguments.parse_args()

    print("a layer of 3×3 without bias: parameters by the formula and by summary, multiply-adds\n")
    rows = []
    for d_in, d_out, size in LAYERS:
        for kind in KINDS:
            found, multiply_adds = counted(kind, 3, d_in, d_out, size)
            formula = parameters(kind, 3, d_in, d_out)
            name = f"{d_in} to {d_out}, {size}×{size}"
            rows.append((name, kind, f"{formula:,}", f"{found:,}", f"{multiply_adds:,}"))
    print(table(["channels, size", "kind", "formula", "summary", "multiply-adds"], rows))

    print("\ntraditional / separable: how many times as much (batch of 8, one core, medians)\n")
    layers = []
    for d_in, d_out, size in LAYERS:
        adds = [counted(kind, 3, d_in, d_out, size)[1] for kind in KINDS]
        a, b, c, d = times(d_in, d_out, size, options.rounds)
        layers.append((f"{d_in} to {d_out}, {size}×{size}", adds[0] / adds[1], a / b, c / d))
    titles = ["channels, size", "multiply-adds", "time, inference", "time, training"]
    print(table(titles, [(name, *(f"{r:.1f}" for r in ratios)) for name, *ratios in layers]))

    data = pictures(options.pictures, size=14)
    networks = []
    rows = []
    shapes = [("traditional", 16), ("separable", 16), ("separable", 44)]
    for kind, width in shapes:
        total = pyconv.summary(network(kind, width), (1, 14, 14))
        found = [test_accuracy(kind, width, data, s, options.epochs) for s in range(options.seeds)]
        networks.append((f"{kind}, width {width}", total.parameters, found))
        numbers = (f"{total.parameters:,}", f"{total.multiply_adds:,}")
        rows.append((kind, width, *numbers, spread([100 * f for f in found], ".1f")))
    print(f"\nnetworks, {options.epochs} epochs; mean of {options.seeds} seeds ± half the range\n")
    print(table(["kind", "width", "parameters", "multiply-adds", "test %"], rows))
    if options.plot:
        draw(layers, networks, options.plot)


if __name__ == "__main__":
    main()
