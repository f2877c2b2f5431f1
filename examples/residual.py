"""Residual learning: deep networks without shortcuts, with a sum, with a concatenation.

The residual network of He et al. for small pictures, 8, 20 and 44 layers deep, is trained three
ways: its blocks are F(x), F(x) + x, or F(x) beside x. All else is the same: weights at the start,
batch norm, rate, order of the pictures (Fashion-MNIST, made 14×14 by the mean of 2×2 pixels, so
that all 27 trainings take minutes). The norm of the gradient of each layer's weights is that of the
first steps; because batch norm rescales it, the same networks are measured without, too.

Then the claim behind it: a block F(x) + x learns the identity more easily than F(x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from _common import BLUE, GREEN, GREY, ORANGE, RED, figure, parser, save, table, tidy
from _fashion import Split, pictures, spread

import pyconv
from pyconv import Trainer, functional, models, nn, optim, training
from pyconv.data import DataLoader

SHORTCUTS = {"plain": None, "sum": "add", "concatenation": "concat"}
BLOCKS = (1, 4, 8)
RATES = (0.003, 0.01, 0.03)


# -- gradients ------------------------------------------------------------------------------------


def weights(model: nn.Module) -> list[nn.Parameter]:
    """Of each layer from the first to the last; the 1×1 convolutions of the shortcuts are not
    layers of their own."""
    kinds = (nn.Conv2d, nn.Linear)
    named = model.named_modules()
    return [m.weight for name, m in named if isinstance(m, kinds) and ".shortcut" not in name]


def gradient_norms(model: nn.Module) -> list[float]:
    """Norm of the gradient of each layer's weights, as the last backward pass left it."""
    return [float(np.linalg.norm(weight.grad.numpy())) for weight in weights(model)]


def without_norm(model: nn.Module) -> nn.Module:
    """The network without batch norm, its weights as every layer has them by default."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.Conv2d):
                child.reset_parameters()
    return model


def without_norm_at_start(
    depth: int, shortcut: str, data: Split, seeds: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of fresh networks without batch norm, geometric means over seeds: the norms for
    the weights of each layer, and those for the output of each block, first to last."""
    for_weights, for_outputs = [], []
    for seed in range(seeds):
        pyconv.manual_seed(seed)
        model = without_norm(models.cifar_resnet(depth, width, 1, SHORTCUTS[shortcut]))
        outputs: list[Any] = []
        for block in model:
            if isinstance(block, (nn.Sequential, nn.Residual)):
                block.register_forward_hook(lambda module, x, y, outputs=outputs: outputs.append(y))
        scores = model(data[0][:250])
        for output in outputs:
            output.retain_grad()
        functional.cross_entropy(scores, data[1][:250]).backward()
        for_weights.append(gradient_norms(model))
        for_outputs.append([float(np.linalg.norm(y.grad.numpy())) for y in outputs])
    return tuple(np.exp(np.log(found).mean(0)) for found in (for_weights, for_outputs))


class EarlyGradients(training.Callback):
    """Notes the gradient norms of the first steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.norms: list[list[float]] = []

    def on_batch_end(self, trainer: Trainer) -> None:
        """After a step the gradients that it went by are still there."""
        if len(self.norms) < self.steps:
            self.norms.append(gradient_norms(trainer.model))

    def mean(self) -> np.ndarray:
        """Geometric, over the steps."""
        return np.exp(np.log(self.norms).mean(0))


# -- trainings ------------------------------------------------------------------------------------


@dataclass
class Training:
    """What one training left."""

    loss: list[float]  # mean over each epoch
    train: float  # accuracy, at the end
    test: float
    norms: np.ndarray  # of the gradient, layer by layer, in the first steps


def train(
    depth: int, shortcut: str, data: tuple[Split, Split], seed: int, epochs: int, width: int
) -> Training:
    """One network, from the start to the end."""
    pyconv.manual_seed(seed)
    model = models.cifar_resnet(depth, width, 1, SHORTCUTS[shortcut])
    loader = DataLoader(data[0], batch_size=50, shuffle=True, seed=seed)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    early = EarlyGradients(steps=10)
    trainer = Trainer(
        model,
        optimizer,
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        callbacks=[early],
        progress=False,
    )
    history = trainer.fit(loader, epochs=epochs)
    found = [trainer.evaluate(DataLoader(split, batch_size=250))["accuracy"] for split in data]
    return Training([record["loss"] for record in history], *found, early.mean())


# -- the identity ---------------------------------------------------------------------------------


def stack(blocks: int, residual: bool, channels: int = 8) -> nn.Sequential:
    """Blocks of two convolutions, each with or without its input added."""
    layers: list[nn.Module] = []
    for _ in range(blocks):
        body = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 1, 3, padding=1),
        )
        layers.append(nn.Residual(body) if residual else body)
    return nn.Sequential(*layers)


def learn_identity(
    blocks: int, residual: bool, x: np.ndarray, rate: float, steps: int, seed: int
) -> list[float]:
    """Mean squared error of the output against the input, step by step."""
    pyconv.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = stack(blocks, residual)
    optimizer = optim.Adam(model.parameters(), lr=rate)
    errors = []
    for _ in range(steps):
        batch = x[rng.integers(0, len(x), 32)]
        optimizer.zero_grad()
        loss = functional.mse_loss(model(batch), batch)
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    return errors


def best_identity(
    blocks: int, residual: bool, x: np.ndarray, steps: int, seeds: int
) -> tuple[float, np.ndarray]:
    """The rate with the smallest error at the end, and the errors, seeds × steps."""
    found = {
        rate: np.array([learn_identity(blocks, residual, x, rate, steps, s) for s in range(seeds)])
        for rate in RATES
    }
    rate = min(found, key=lambda r: final_error(found[r]).mean())
    return rate, found[rate]


def final_error(errors: np.ndarray) -> np.ndarray:
    """Of each seed: the mean over the last ten steps."""
    return errors[:, -10:].mean(1)


# -- pictures -------------------------------------------------------------------------------------


def draw_block(axes: Any, shortcut: str) -> None:
    """A block, from top to bottom, its shortcut at the side."""
    axes.set(xlim=(0, 10), ylim=(0, 10), title={"plain": "plain: F(x)", "sum": "sum: F(x) + x"}.get(
        shortcut, "concatenation: x, F(x)"))  # fmt: skip
    axes.axis("off")
    x = 4.6

    def box(y: float, text: str, colour: str) -> None:
        axes.text(
            x, y, text, ha="center", va="center", fontsize=8.5, color="white",
            bbox={"boxstyle": "round,pad=0.35", "fc": colour, "ec": "none"},
        )  # fmt: skip

    def arrow(y: float, end: float) -> None:
        axes.annotate("", (x, end), (x, y), arrowprops={"arrowstyle": "-|>", "color": "black"})

    joined = shortcut != "plain"
    axes.text(x, 9.7, "x", ha="center", va="center", fontsize=11, style="italic")
    arrow(9.4, 8.55)
    box(8.1, "3×3 convolution, batch norm", BLUE)
    arrow(7.6, 6.75)
    box(6.3, "ReLU", ORANGE)
    arrow(5.85, 5.0)
    box(4.55, "3×3 convolution, batch norm", BLUE)
    arrow(4.1, 3.1 if joined else 1.75)
    axes.text(0.1, 6.3, "F", fontsize=13, style="italic", va="center")
    axes.plot([0.75, 0.55, 0.55, 0.75], [8.6, 8.6, 4.05, 4.05], color=GREY, lw=1)
    if joined:
        axes.plot([x, 9.3, 9.3], [9.0, 9.0, 2.75], color=RED, lw=1.6)
        head = {"arrowstyle": "-|>", "color": RED, "lw": 1.6}
        axes.annotate("", (x + 0.42, 2.75), (9.38, 2.75), arrowprops=head)
        axes.text(9.0, 6.0, "x", color=RED, ha="right", fontsize=11, style="italic")
        circle = {"boxstyle": "circle,pad=0.2", "fc": "white", "ec": "black"}
        sign = "+" if shortcut == "sum" else "‖"
        axes.text(x, 2.75, sign, ha="center", va="center", fontsize=10, bbox=circle)
        arrow(2.35, 1.75)
    box(1.3, "ReLU", ORANGE)
    arrow(0.85, 0.0)


def draw(
    found: dict[tuple[str, int], list[Training]],
    fresh: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]],
    identity: dict[tuple[int, bool], tuple[float, np.ndarray]],
    path: str,
) -> None:
    """Column by column: the block, its losses, its gradients; below, the identity."""
    depths = sorted({depth for _, depth in found})
    colours = dict(zip(depths, (BLUE, ORANGE, RED), strict=False))
    picture = figure(11, 12.5)
    rows = picture.subplots(4, 3, height_ratios=[1.15, 1, 1, 1])
    for column, shortcut in enumerate(SHORTCUTS):
        draw_block(rows[0, column], shortcut)
        losses, gradients = rows[1, column], rows[2, column]
        for depth in depths:
            curves = np.array([t.loss for t in found[shortcut, depth]])
            epochs = np.arange(1, curves.shape[1] + 1)
            colour = colours[depth]
            losses.plot(epochs, curves.mean(0), color=colour, lw=1.6, label=f"{depth} layers")
            losses.fill_between(epochs, curves.min(0), curves.max(0), color=colour, alpha=0.2, lw=0)
            norms = np.exp(np.mean([np.log(t.norms) for t in found[shortcut, depth]], axis=0))
            where = np.linspace(0, 1, depth)
            gradients.semilogy(where, norms, color=colour, lw=1.4, label=f"{depth} layers")
            gradients.semilogy(where, fresh[shortcut, depth][0], color=colour, lw=1.2, ls=":")
        tidy(losses, xlabel="epoch", ylabel="training loss")
        tidy(gradients, xlabel="layer, from the first (0) to the last (1)", ylabel="gradient norm")
        losses.legend()
    gradients.plot([], [], color="black", lw=1.2, ls=":", label="without batch norm")
    gradients.legend(fontsize=8)
    for row in (1, 2):
        low = min(axes.get_ylim()[0] for axes in rows[row])
        high = max(axes.get_ylim()[1] for axes in rows[row])
        for axes in rows[row]:
            axes.set_ylim(low, high)
    for axes, blocks in zip(rows[3], BLOCKS, strict=True):
        for residual, colour, label in ((False, BLUE, "F(x)"), (True, GREEN, "F(x) + x")):
            errors = identity[blocks, residual][1]
            steps = np.arange(1, errors.shape[1] + 1)
            axes.loglog(steps, errors.mean(0), color=colour, lw=1.5, label=label)
            axes.fill_between(steps, errors.min(0), errors.max(0), color=colour, alpha=0.2, lw=0)
        name = f"the identity, {blocks} block" + "s" * (blocks > 1)
        tidy(axes, title=name, xlabel="step", ylabel="mean squared error")
        axes.legend()
    save(picture, path)


# -- all ------------------------------------------------------------------------------------------


def main() -> None:
    """Train all, compare, draw."""
    arguments = parser(__doc__)
    arguments.add_argument("--depths", type=int, nargs="+", default=[8, 20, 44], help="6 n + 2")
    arguments.add_argument("--width", type=int, default=4, help="channels at first (default: 4)")
    arguments.add_argument("--pictures", type=int, default=2500, help="to train (default: 2500)")
    arguments.add_argument("--epochs", type=int, default=8, help="default: 8")
    arguments.add_argument("--seeds", type=int, default=3, help="default: 3")
    arguments.add_argument("--steps", type=int, default=200, help="for the identity (default: 200)")
    options = arguments.parse_args()
    data = pictures(options.pictures, size=14)
    print(
        f"{options.pictures} pictures of 14×14, {options.epochs} epochs; mean of {options.seeds} "
        "seeds ± half the range\n"
    )
    found: dict[tuple[str, int], list[Training]] = {}
    fresh: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}
    rows = []
    for depth in options.depths:
        for shortcut in SHORTCUTS:
            found[shortcut, depth] = runs = [
                train(depth, shortcut, data, seed, options.epochs, options.width)
                for seed in range(options.seeds)
            ]
            fresh[shortcut, depth] = without_norm_at_start(
                depth, shortcut, data[0], options.seeds, options.width
            )
            model = models.cifar_resnet(depth, options.width, 1, SHORTCUTS[shortcut])
            parameters = pyconv.summary(model, data[0][0].shape[1:]).parameters
            rows.append(
                (
                    depth,
                    shortcut,
                    f"{parameters:,}",
                    spread([run.loss[-1] for run in runs]),
                    spread([100 * run.train for run in runs], ".1f"),
                    spread([100 * run.test for run in runs], ".1f"),
                )
            )
    titles = ["layers", "block", "parameters", "training loss", "training %", "test %"]
    print(table(titles, rows))

    print("\nnorm of the gradient of a layer's weights, in the first ten steps\n")
    rows = []
    for (shortcut, depth), runs in found.items():
        early = np.exp(np.mean([np.log(run.norms) for run in runs], axis=0))
        numbers = (early[0], early[-1], early[0] / early[-1])
        rows.append((depth, shortcut, *(f"{number:.2f}" for number in numbers)))
    print(table(["layers", "block", "first layer", "last layer", "ratio"], rows))

    print("\nthe same networks without batch norm, at the start\n")
    rows = []
    for (shortcut, depth), (for_weights, for_outputs) in fresh.items():
        numbers = (for_weights[0], for_weights[-1], for_outputs[0] / for_outputs[-1])
        rows.append((depth, shortcut, *(f"{number:.1e}" for number in numbers)))
    titles = [
        "layers",
        "block",
        "weights of the first",
        "of the last",
        "output of block, first / last",
    ]
    print(table(titles, rows))

    print(f"\nthe identity: mean squared error after {options.steps} steps (of the picture: 1)\n")
    identity = {}
    rows = []
    for blocks in BLOCKS:
        for residual in (False, True):
            best = best_identity(blocks, residual, data[0][0], options.steps, options.seeds)
            identity[blocks, residual] = best
            last = final_error(best[1])
            name = "F(x) + x" if residual else "F(x)"
            numbers = (best[1][:, 0].mean(), last.mean(), last.min(), last.max())
            rows.append((blocks, name, best[0], *(f"{number:.1e}" for number in numbers)))
    print(table(["blocks", "block", "best rate", "at first", "mean", "least", "most"], rows))
    if options.plot:
        draw(found, fresh, identity, options.plot)


if __name__ == "__main__":
    main()
