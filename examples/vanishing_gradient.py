"""Why deep networks of sigmoids hardly learn: the gradient vanishes on its way back.

Backpropagation multiplies the gradient by sigma'(z) and by the weights, layer after layer. The
derivative of the sigmoid is 1/4 at most; that of ReLU is 1 wherever the unit is active. This
script builds dense networks of 2 to 20 layers, with the initial weights that suit each activation
(Xavier's for sigmoid, He's for ReLU), and measures the gradient's norm for each layer's weights.
"""

from __future__ import annotations

import numpy as np
from _common import BLUE, ORANGE, figure, parser, save, table, tidy

import pyconv
from pyconv import functional, nn

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "ReLU": nn.ReLU}
DEPTHS = (2, 5, 10, 15, 20)


def network(activation: str, depth: int, width: int, classes: int = 10) -> nn.Module:
    """`depth` dense layers, an activation after each but the last."""
    layers: list[nn.Module] = []
    for number in range(1, depth + 1):
        layer = nn.Linear(width, classes if number == depth else width)
        if activation == "ReLU":
            nn.init.kaiming_normal_(layer.weight)
        else:
            nn.init.xavier_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [layer, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def gradient_norms(
    activation: str, depth: int, width: int = 64, batch: int = 128, seeds: int = 5
) -> np.ndarray:
    """Norm of the gradient of each layer's weights, first to last; geometric mean over seeds."""
    logarithms = []
    for seed in range(seeds):
        pyconv.manual_seed(seed)
        rng = np.random.default_rng(seed)
        model = network(activation, depth, width)
        x = rng.standard_normal((batch, width)).astype(np.float32)
        functional.cross_entropy(model(x), rng.integers(0, 10, batch)).backward()
        weights = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
        logarithms.append([np.log(np.linalg.norm(w.grad.numpy())) for w in weights])
    return np.exp(np.mean(logarithms, axis=0))


def factor_per_layer(norms: np.ndarray) -> float:
    """By what the gradient is multiplied on its way back through one hidden layer.

    The last layer has no activation, and the first sees another kind of input: both are left out.
    """
    inner = norms[1:-1]
    return float((inner[0] / inner[-1]) ** (1 / (len(inner) - 1)))


def draw(found: dict[tuple[str, int], np.ndarray], depths: tuple[int, ...], path: str) -> None:
    """Layer by layer in the deepest network; first against last layer for each depth."""
    picture = figure(11, 4.4)
    left, right = picture.subplots(1, 2)
    deepest = max(depths)
    for activation, colour, marker in (("sigmoid", BLUE, "o"), ("ReLU", ORANGE, "s")):
        norms = found[activation, deepest]
        style = {"color": colour, "marker": marker, "ms": 5, "lw": 1.5, "label": activation}
        left.semilogy(np.arange(1, deepest + 1), norms, **style)
        ratios = [found[activation, d][0] / found[activation, d][-1] for d in depths]
        right.semilogy(depths, ratios, **style)
    guide = np.array([min(depths), deepest])
    right.semilogy(guide, 0.25 ** (guide - 1.0), "k:", lw=1.2, label="1/4 a layer")
    tidy(
        left,
        title=f"Layer by layer, {deepest} layers deep",
        xlabel="layer (1 is next to the input)",
        ylabel="norm of the weights' gradient",
    )
    tidy(
        right,
        title="What arrives at the first layer",
        xlabel="layers of the network",
        ylabel="gradient of the first layer / of the last",
    )
    for axes in (left, right):
        axes.legend()
        axes.set_xticks(depths)
    save(picture, path)


def main() -> None:
    """Measure all depths with both activations."""
    arguments = parser(__doc__)
    arguments.add_argument("--width", type=int, default=64, help="of the layers (default: 64)")
    arguments.add_argument(
        "--seeds", type=int, default=5, help="networks of each kind (default: 5)"
    )
    options = arguments.parse_args()
    found = {
        (activation, depth): gradient_norms(activation, depth, options.width, seeds=options.seeds)
        for activation in ACTIVATIONS
        for depth in DEPTHS
    }
    rows = []
    for (activation, depth), norms in found.items():
        factor = f"{factor_per_layer(norms):.3f}" if depth > 3 else "-"
        numbers = (norms[0], norms[-1], norms[0] / norms[-1])
        rows.append((activation, depth, *(f"{number:.1e}" for number in numbers), factor))
    titles = ["activation", "depth", "first layer", "last layer", "ratio", "factor a layer"]
    print("norm of the gradient of a layer's weights\n")
    print(table(titles, rows))

    deepest = max(DEPTHS)
    print(f"\nlayer by layer, {deepest} layers deep\n")
    rows = [
        (number + 1, *(f"{found[activation, deepest][number]:.1e}" for activation in ACTIVATIONS))
        for number in range(deepest)
    ]
    print(table(["layer", *ACTIVATIONS], rows))
    if options.plot:
        draw(found, DEPTHS, options.plot)


if __name__ == "__main__":
    main()
