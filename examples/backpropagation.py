"""Backpropagation by hand: the gradients of a dense network in plain NumPy, equal to the tape's.

A network of K layers computes, for the batch a_0 = X with one sample in each row,

    z_l = a_{l-1} W_l^T + b_l,    a_l = sigma_l(z_l),    l = 1 .. K,

where W_l has a row for each output. The last activation is softmax, and the loss is the mean of
-log a_K over the samples, each at its own class. Backwards go the gradients of the sums,
delta_l = dLoss / dz_l:

    delta_K = (a_K - Y) / N                                     Y: one-hot classes
    delta_l = (delta_{l+1} W_{l+1}) * sigma_l'(z_l)             l = K-1 .. 1
    dLoss/dW_l = delta_l^T a_{l-1}
    dLoss/db_l = the sum of delta_l over the samples

Each delta is computed once and serves its own layer's gradients and the delta below. The script
counts the multiplications that this saves: where no delta is kept, the chain of products begins at
the loss again for each layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from _common import BLUE, GREEN, GREY, ORANGE, figure, parser, save, table, tidy

import pyconv
from pyconv import functional

DEPTHS = (2, 5, 10, 20, 40)


class Layer(NamedTuple):
    """A dense layer: Out×In, Out."""

    weight: np.ndarray
    bias: np.ndarray


def sigmoid(z: np.ndarray) -> np.ndarray:
    """sigma(z) = 1 / (1 + e^-z)."""
    return 1 / (1 + np.exp(-z))


def softmax(z: np.ndarray) -> np.ndarray:
    """e^z_i / sum_j e^z_j in each row; the largest z is taken off first, so that none overflows."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def make_problem(
    widths: tuple[int, ...] = (4, 8, 6, 3), batch: int = 16, seed: int = 0
) -> tuple[list[Layer], np.ndarray, np.ndarray]:
    """Random layers, inputs and classes, in float64."""
    rng = np.random.default_rng(seed)
    layers = [
        Layer(rng.standard_normal((n, m)) / np.sqrt(m), 0.1 * rng.standard_normal(n))
        for m, n in zip(widths[:-1], widths[1:], strict=True)
    ]
    x = rng.standard_normal((batch, widths[0]))
    return layers, x, rng.integers(0, widths[-1], batch)


def forward(layers: list[Layer], x: np.ndarray) -> list[np.ndarray]:
    """a_0 .. a_K."""
    outputs = [x]
    for number, (weight, bias) in enumerate(layers, 1):
        z = outputs[-1] @ weight.T + bias
        outputs.append(softmax(z) if number == len(layers) else sigmoid(z))
    return outputs


def loss_of(layers: list[Layer], x: np.ndarray, classes: np.ndarray) -> float:
    """Cross-entropy."""
    return float(-np.log(forward(layers, x)[-1][np.arange(len(x)), classes]).mean())


def backward(layers: list[Layer], x: np.ndarray, classes: np.ndarray) -> list[Layer]:
    """The gradients of the loss with respect to each layer, by the recursion above."""
    outputs = forward(layers, x)
    one_hot = np.eye(len(layers[-1].bias))[classes]
    delta = (outputs[-1] - one_hot) / len(x)  # delta_K: softmax and logarithm together
    gradients = []
    for level in range(len(layers), 0, -1):
        below = outputs[level - 1]  # a_{l-1}
        gradients.append(Layer(delta.T @ below, delta.sum(axis=0)))
        if level > 1:
            # sigma'(z) = sigma(z) (1 - sigma(z)), and sigma(z) is known
            delta = (delta @ layers[level - 1].weight) * below * (1 - below)
    return gradients[::-1]


def backward_without_deltas(layers: list[Layer], x: np.ndarray, classes: np.ndarray) -> list[Layer]:
    """The same gradients. No delta is kept: the chain begins at the loss for each layer."""
    outputs = forward(layers, x)
    one_hot = np.eye(len(layers[-1].bias))[classes]

    def delta(level: int) -> np.ndarray:
        if level == len(layers):
            return (outputs[-1] - one_hot) / len(x)
        a = outputs[level]
        return (delta(level + 1) @ layers[level].weight) * a * (1 - a)

    gradients = []
    for level in range(1, len(layers) + 1):
        chain = delta(level)
        gradients.append(Layer(chain.T @ outputs[level - 1], chain.sum(axis=0)))
    return gradients


def gradients_of_tape(layers: list[Layer], x: np.ndarray, classes: np.ndarray) -> list[Layer]:
    """The same by pyconv, which recorded what was computed."""
    tensors = [Layer(*(pyconv.Tensor(array, requires_grad=True) for array in la)) for la in layers]
    a = pyconv.Tensor(x)
    for layer in tensors[:-1]:
        a = functional.sigmoid(functional.linear(a, *layer))
    functional.cross_entropy(functional.linear(a, *tensors[-1]), classes).backward()
    return [Layer(w.grad.numpy(), b.grad.numpy()) for w, b in tensors]


def gradients_by_differences(
    layers: list[Layer], x: np.ndarray, classes: np.ndarray, step: float = 1e-5
) -> list[Layer]:
    """(Loss(w + step) - Loss(w - step)) / 2 step, one number at a time: slow and rough."""
    found = [Layer(np.empty_like(w), np.empty_like(b)) for w, b in layers]
    for layer, gradient in zip(layers, found, strict=True):
        for array, target in zip(layer, gradient, strict=True):
            for index in np.ndindex(array.shape):
                kept = array[index]
                array[index] = kept + step
                above = loss_of(layers, x, classes)
                array[index] = kept - step
                target[index] = (above - loss_of(layers, x, classes)) / (2 * step)
                array[index] = kept
    return found


# -- multiplications ------------------------------------------------------------------------------


class Counting(np.ndarray):
    """An array that counts the multiplications in which it takes part, and its results do."""

    multiplications = 0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(value) for value in inputs]
        result = np.asarray(getattr(ufunc, method)(*plain, **options))
        if ufunc is np.multiply:
            Counting.multiplications += result.size
        elif ufunc is np.matmul:
            Counting.multiplications += result.size * plain[0].shape[-1]
        return result.view(Counting)


def count(function: Callable[..., Any], layers: list[Layer], *data: np.ndarray) -> int:
    """Multiplications of a function of the layers and the data."""
    Counting.multiplications = 0
    x, *rest = data
    function(
        [Layer(*(array.view(Counting) for array in la)) for la in layers], x.view(Counting), *rest
    )
    return Counting.multiplications


def count_backward(
    function: Callable[..., Any], layers: list[Layer], x: np.ndarray, classes: np.ndarray
) -> int:
    """The same, without those of the way forward."""
    return count(function, layers, x, classes) - count(forward, layers, x)


def stored_by_formula(widths: Sequence[int], batch: int = 1) -> int:
    """With each delta computed once.

    A layer's gradient takes n_l n_{l-1} for each sample, the step from a delta to the one below
    n_{l+1} n_l, and 2 n_l for the derivative a (1 - a) and the product with it.
    """
    gradients = sum(n * m for m, n in zip(widths[:-1], widths[1:], strict=True))
    steps = sum(n * m + 2 * m for m, n in zip(widths[1:-1], widths[2:], strict=True))
    return batch * (gradients + steps)


def recomputed_by_formula(widths: Sequence[int], batch: int = 1) -> int:
    """With the chain begun at the loss for each layer: all steps down to it."""
    gradients = sum(n * m for m, n in zip(widths[:-1], widths[1:], strict=True))
    steps = [n * m + 2 * m for m, n in zip(widths[1:-1], widths[2:], strict=True)]
    # The step from layer l + 1 to l is done for the layers 1 .. l.
    return batch * (gradients + sum(step * level for level, step in enumerate(steps, 1)))


# -- what is shown --------------------------------------------------------------------------------


def draw(rows: list[tuple[int, int, int, int]], path: str) -> None:
    """The recursion as boxes and arrows; multiplications against depth."""
    picture = figure(11, 4.4)
    left, right = picture.subplots(1, 2, width_ratios=(1.7, 1))

    def box(x: float, y: float, text: str, colour: str) -> None:
        left.text(x, y, text, ha="center", va="center", fontsize=13, color="white",
                  bbox={"boxstyle": "round,pad=0.35", "fc": colour, "ec": "none"})  # fmt: skip

    def arrow(start: tuple[float, float], end: tuple[float, float], colour: str, text: str) -> None:
        left.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.6})
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        if text:
            white = {"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none"}
            left.text(x, y + 0.19, text, ha="center", va="center", fontsize=9, color="#333333",
                      bbox=white, zorder=4)  # fmt: skip

    for i in range(4):  # forward: a_0 .. a_3
        box(3.0 * i, 2.6, f"$a_{i}$", BLUE)
        if i:
            arrow((3.0 * i - 2.5, 2.6), (3.0 * i - 0.5, 2.6), BLUE, f"$W_{i}$, $b_{i}$, $\\sigma$")
    box(11.4, 2.6, "loss", GREY)
    arrow((9.5, 2.6), (10.7, 2.6), BLUE, "")
    arrow((11.4, 2.25), (9.55, 1.2), ORANGE, "")
    for i in (3, 2, 1):  # backward: delta_3 .. delta_1
        x = 3.0 * i
        box(x, 1.1, f"$\\delta_{i}$", ORANGE)
        if i > 1:
            text = f"$W_{i}^T\\cdot$,  $\\odot\\,\\sigma^\\prime(z_{i - 1})$"
            arrow((x - 0.5, 1.1), (x - 2.5, 1.1), ORANGE, text)
        arrow((x, 0.78), (x, -0.05), GREEN, "")
        arrow((x - 2.8, 2.25), (x - 0.35, -0.1), GREEN, "")
        left.text(x, -0.35, f"$\\partial W_{i} = \\delta_{i}\\, a_{i - 1}^T$", ha="center",
                  va="center", fontsize=11, color=GREEN)  # fmt: skip
    left.set(xlim=(-0.8, 12.2), ylim=(-0.7, 3.1))
    left.set_title("Each delta is computed once")
    left.axis("off")

    depths = [row[0] for row in rows]
    for column, colour, label in (
        (1, GREY, "forward"),
        (2, BLUE, "backward, deltas kept"),
        (3, ORANGE, "backward, recomputed"),
    ):
        right.loglog(depths, [row[column] for row in rows], "o-", color=colour, ms=4, label=label)
    tidy(right, title="Multiplications", xlabel="layers", ylabel="multiplications for a sample")
    right.set_xticks(depths, labels=list(map(str, depths)))
    right.minorticks_off()
    right.legend(fontsize=9)
    save(picture, path)


def main() -> None:
    """Compare the three, count the multiplications."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--widths", type=int, nargs="+", default=[4, 8, 6, 3], help="default: 4 8 6 3"
    )
    arguments.add_argument("--batch", type=int, default=16, help="samples (default: 16)")
    arguments.add_argument("--seed", type=int, default=0, help="default: 0")
    arguments.add_argument("--width", type=int, default=32, help="of counted layers (default: 32)")
    options = arguments.parse_args()
    layers, x, classes = make_problem(tuple(options.widths), options.batch, options.seed)
    by_hand = backward(layers, x, classes)
    by_tape = gradients_of_tape(layers, x, classes)
    by_differences = gradients_by_differences(layers, x, classes)

    print(
        f"loss {loss_of(layers, x, classes):.6f}; gradients by hand, and how far off others are\n"
    )
    rows = []
    for level, triple in enumerate(zip(by_hand, by_tape, by_differences, strict=True), 1):
        for name, hand, tape, rough in zip(("W", "b"), *triple, strict=True):
            shape = "×".join(map(str, hand.shape))
            row = (np.abs(hand).max(), np.abs(hand - tape).max(), np.abs(hand - rough).max())
            rows.append((f"dLoss/d{name}_{level}", shape, *(f"{number:.1e}" for number in row)))
    print(table(["gradient", "shape", "largest entry", "tape", "differences"], rows))

    print(f"\nmultiplications for one sample, all layers {options.width} wide\n")
    counted, cells = [], []
    for depth in DEPTHS:
        chain = (options.width,) * (depth + 1)
        problem = make_problem(chain, 1)
        ahead = count(forward, problem[0], problem[1])
        stored, again = (count_backward(f, *problem) for f in (backward, backward_without_deltas))
        counted.append((depth, ahead, stored, again))
        formulas = [stored_by_formula(chain), recomputed_by_formula(chain)]
        cells.append(
            (depth, f"{ahead:,}", f"{stored:,}", f"{formulas[0]:,}", f"{again:,}",
             f"{formulas[1]:,}", f"{again / stored:.1f}")
        )  # fmt: skip
    titles = ["layers", "forward", "deltas kept", "by formula", "recomputed", "by formula", "ratio"]
    print(table(titles, cells))
    if options.plot:
        draw(counted, options.plot)


if __name__ == "__main__":
    main()
