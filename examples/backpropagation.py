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

Each delta is computed once and serves its own layer's gradients and the delta below.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from _common import parser, table

import pyconv
from pyconv import functional


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


def main() -> None:
    """Compare the three."""
    arguments = parser(__doc__, plot=False)
    arguments.add_argument(
        "--widths", type=int, nargs="+", default=[4, 8, 6, 3], help="default: 4 8 6 3"
    )
    arguments.add_argument("--batch", type=int, default=16, help="samples (default: 16)")
    arguments.add_argument("--seed", type=int, default=0, help="default: 0")
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


if __name__ == "__main__":
    main()
