"""Where a classifier's boundaries are: near along its gradient, far along a random direction; and
how evolution finds them without a gradient.

python examples/adversarial.py [--plot FILE]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _common import BLUE, GREY, ORANGE, figure, parser, save, table, tidy

import pyconv
from pyconv import functional, nn, optim
from pyconv.data import DataLoader, Dataset, load_dataset, transforms
from pyconv.recipes import adversarial

Predict = Callable[[np.ndarray], np.ndarray]  # N×C×H×W in 0..1 to N×K probabilities
FARTHEST = 8.0  # as a Euclidean distance; black and white are 28 apart
STEPS = 33
MOST = 128  # generations


def classifier(data: Dataset, epochs: int, seed: int) -> nn.Module:
    """A small network that says how its pictures are scaled, as the recipes want it."""
    pyconv.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 49, 10),
    )  # fmt: skip
    scale = transforms.Normalize.of(data.train.x)
    train = DataLoader(data.train, batch_size=64, shuffle=True, transform=scale)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    pyconv.Trainer(model, optimizer, progress=False).fit(train, epochs=epochs)
    model.metadata = {"normalization": {"mean": scale.mean, "std": scale.std}}
    return model.eval()


def uphill(model: nn.Module, pictures: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The gradient of each picture's loss, of length 1."""
    normalization = model.metadata["normalization"]
    x = pyconv.Tensor(pictures, requires_grad=True)
    scores = model((x - float(normalization["mean"][0])) * (1 / float(normalization["std"][0])))
    functional.cross_entropy(scores, labels).backward()
    assert x.grad is not None
    gradient = np.asarray(x.grad)
    lengths = np.sqrt(np.square(gradient).sum((1, 2, 3), keepdims=True))
    return gradient / np.maximum(lengths, 1e-30)


def randomly(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random direction for each picture, of length 1."""
    found = rng.standard_normal(pictures.shape).astype(np.float32)
    return found / np.sqrt(np.square(found).sum((1, 2, 3), keepdims=True))


def boundary(predict: Predict, pictures: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """How far each picture can go until the answer is another one; infinity if it can go farther
    than `FARTHEST`. What leaves 0..1 is cut off, and the distance is that of what is left."""
    before = predict(pictures).argmax(1)
    found = np.full(len(pictures), np.inf)
    for t in np.linspace(0, FARTHEST, STEPS)[1:]:
        moved = np.clip(pictures + np.float32(t) * directions, 0, 1)
        changed = (predict(moved).argmax(1) != before) & np.isinf(found)
        distance = np.sqrt(np.square(moved - pictures).sum((1, 2, 3)))
        found[changed] = distance[changed]
    return found


@dataclass
class Map:
    """Answers on a plane of pictures: along the gradient to the right, along chance upward."""

    classes: np.ndarray  # rows×columns
    reach: float


def answers(
    predict: Predict, picture: np.ndarray, right: np.ndarray, up: np.ndarray, reach: float = 4.0
) -> Map:
    steps = np.linspace(-reach, reach, 81, dtype=np.float32)
    rows = [
        predict(np.clip(picture + steps[:, None, None, None] * right + t * up, 0, 1)).argmax(1)
        for t in steps
    ]
    return Map(np.array(rows), reach)


def generations(predict: Predict, picture: np.ndarray) -> list[Any]:
    """The best perturbed picture after 1, 2, 4, ... generations, until it deceives. The same seed
    goes the same way, so that each is a continuation of the one before."""
    found = []
    count = 1
    while count <= MOST:
        attack = adversarial.evolution(
            predict, picture, epsilon=0.1, generations=count, progress=False
        )
        found.append(attack)
        if attack.success[0]:
            break
        count *= 2
    return found


def draw(found: Map, classes: list[str], picture: np.ndarray, evolved: list[Any]) -> Any:
    """The map, the fitness, and the pictures on the way."""
    import matplotlib

    result = figure(11, 6.4)
    grid = result.add_gridspec(2, 1, height_ratios=(3, 2))
    left, right = (result.add_subplot(cell) for cell in grid[0].subgridspec(1, 2))
    there = np.unique(found.classes)
    colors = matplotlib.colormaps["Pastel1"](range(len(there)))[:, :3]
    shown = colors[np.searchsorted(there, found.classes)]
    left.imshow(shown, origin="lower", extent=2 * (-found.reach, found.reach))
    for value, color in zip(there, colors, strict=True):
        left.plot([], [], "s", color=color, label=classes[value])
    left.plot(0, 0, "k.", markersize=9)
    left.legend(loc="upper left", fontsize=8)
    tidy(left, xlabel="along the gradient", ylabel="in a random direction",
         title="what the network says around a picture")  # fmt: skip
    left.grid(False)
    history = evolved[-1].history
    right.plot([row["best"] for row in history], color=BLUE, label="the best")
    right.plot([row["mean"] for row in history], color=ORANGE, label="mean")
    right.axhline(0, color=GREY, linewidth=0.8)
    right.legend(fontsize=8)
    tidy(right, xlabel="generation", ylabel="log-likelihood ratio",
         title="evolution: fitness, above 0 it deceives")  # fmt: skip
    pictures = [picture, *(attack.images for attack in evolved)]
    names = predict_names(evolved, classes)
    row = grid[1].subgridspec(1, len(pictures))
    for cell, image, name in zip(row, pictures, names, strict=True):
        axes = result.add_subplot(cell)
        axes.imshow(image[0, 0], cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(name, fontsize=9)
        axes.axis("off")
    return result


def predict_names(evolved: list[Any], classes: list[str]) -> list[str]:
    names = [f"the picture:\n{classes[evolved[0].before[0]]}"]
    for attack in evolved:
        names.append(f"generation {len(attack.history)}:\n{classes[attack.after[0]]}")
    return names


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--pictures", type=int, default=200)
    arguments.add_argument("--epochs", type=int, default=5)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--evolve", type=int, default=40, help="pictures for evolution")
    options = arguments.parse_args()
    data = load_dataset("fashion-mnist")
    x = data.test.x[: options.pictures].astype(np.float32) / 255
    labels = data.test.y[: options.pictures]
    rows: list[tuple[str, ...]] = []
    for seed in range(options.seeds):
        model = classifier(data, options.epochs, seed)
        predict = adversarial.probabilities(model)
        right = predict(x).argmax(1) == labels
        directions = {
            "along the gradient": uphill(model, x, labels),
            "in a random direction": randomly(x, np.random.default_rng(seed)),
        }
        for name, direction in directions.items():
            distances = boundary(predict, x[right], direction[right])
            median = np.median(distances)
            rows.append((
                name, str(seed), f"{np.isfinite(distances).mean():.0%}",
                f"{median:.2f}" if np.isfinite(median) else f"over {FARTHEST:g}",
            ))  # fmt: skip
    print(f"how far until the answer changes, up to {FARTHEST:g}, of pictures that it had right\n")
    print(table(("", "seed", "changed", "median distance"), sorted(rows)))
    tried = np.flatnonzero(right)[: options.evolve]
    attacks = [
        adversarial.evolution(predict, x[i : i + 1], epsilon=0.1, generations=MOST, progress=False)
        for i in tried
    ]
    fallen = [k for k, attack in enumerate(attacks) if attack.success[0]]
    questions = sorted((attacks[k].queries, k) for k in fallen)
    print(
        f"\nevolution, no pixel by more than 0.1, at most {MOST} generations: {len(fallen)} of "
        f"{len(tried)} pictures deceive"
    )
    if not questions:
        return
    median, (count, k) = questions[len(questions) // 2][0], questions[len(questions) * 9 // 10]
    chosen, picture = int(tried[k]), x[tried[k] : tried[k] + 1]
    distance = np.sqrt(np.square(attacks[k].images - picture).sum())
    print(
        f"the median of them asks {median} times; one of the slower ones asks {count} times\n"
        f"and goes {distance:.2f} far: {data.classes[attacks[k].before[0]]} -> "
        f"{data.classes[attacks[k].after[0]]}"
    )
    if options.plot:
        plane = answers(
            predict, picture, directions["along the gradient"][chosen],
            directions["in a random direction"][chosen],
        )  # fmt: skip
        evolved = generations(predict, picture)
        save(draw(plane, list(data.classes), picture, evolved), options.plot)


if __name__ == "__main__":
    main()
