"""A convolution is a dense layer whose matrix is sparse and shares its weights.

With the image flattened to a vector x, conv2d is y = M x: M has a row for each output, with the
kernel's weights at the cells that this output sees and zeros elsewhere. This script shows M, and
checks with it

  - the forward pass:            y = M x
  - the gradient of the image:   dx = M^T dy, which is a transposed convolution of dy
  - the gradient of the kernel:  dM = dy x^T as in any dense layer; a weight gets the sum over all
                                 positions of M where it stands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import figure, parser, save, table

import pyconv
from pyconv import functional
from pyconv.reference import conv2d_matrix


def positions(size: int, kernel: int, stride: int, padding: int) -> np.ndarray:
    """The matrix with numbers for weights: 1 .. K*K where a weight stands, 0 elsewhere."""
    numbers = np.arange(1, kernel * kernel + 1).reshape(1, 1, kernel, kernel)
    return conv2d_matrix(numbers, (1, 1, size, size), stride=stride, padding=padding)


def in_letters(where: np.ndarray, kernel: int) -> str:
    """The matrix as on paper: wij for the weight in row i and column j of the kernel."""
    names = ["."] + [f"w{i}{j}" for i in range(kernel) for j in range(kernel)]
    return "\n".join(" ".join(f"{names[number]:>3}" for number in row) for row in where)


def equation(where: np.ndarray, kernel: int) -> str:
    """M times the flattened image is the flattened output, each named by its row and column."""
    outputs, inputs = (round(number**0.5) for number in where.shape)
    names = (["o", outputs], ["i", inputs])
    left, above = ([f"{n}{i}{j}" for i in range(k) for j in range(k)] for n, k in names)
    lines = [" " * 6 + " ".join(f"{name:>3}" for name in above)]
    rows = in_letters(where, kernel).splitlines()
    return "\n".join(lines + [f"{name} = {row}" for name, row in zip(left, rows, strict=True)])


def differences(size: int, kernel: int, stride: int, padding: int, seed: int) -> dict[str, float]:
    """How far the matrix and the convolution are apart, in float64."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1, 1, size, size))
    weight = rng.standard_normal((1, 1, kernel, kernel))
    M = conv2d_matrix(weight, x.shape, stride=stride, padding=padding)

    # by the tape
    image, w = pyconv.Tensor(x, requires_grad=True), pyconv.Tensor(weight, requires_grad=True)
    y = functional.conv2d(image, w, stride=stride, padding=padding)
    dy = rng.standard_normal(y.shape)
    y.backward(pyconv.Tensor(dy))

    # by the matrix
    y_matrix = M @ x.ravel()
    dx_matrix = M.T @ dy.ravel()
    dM = np.outer(dy, x)
    where = positions(size, kernel, stride, padding)
    dw_matrix = np.array([dM[where == number].sum() for number in range(1, kernel * kernel + 1)])

    # What a stride leaves over at the far edge, the transposed convolution has to be told.
    left_over = (size + 2 * padding - kernel) % stride
    dx_transposed = functional.conv_transpose2d(
        dy, weight, stride=stride, padding=padding, output_padding=left_over
    )
    return {
        "y = M x, and conv2d": apart(y_matrix, y),
        "dx = M^T dy, and conv_transpose2d": apart(dx_matrix, dx_transposed),
        "dx = M^T dy, and the tape": apart(dx_matrix, image.grad),
        "dw summed over positions, and the tape": apart(dw_matrix, w.grad),
    }


def apart(flat: np.ndarray, image: pyconv.Tensor) -> float:
    """The largest difference."""
    return float(np.abs(flat - image.numpy().ravel()).max())


def draw(where: np.ndarray, kernel: int, size: int, path: str) -> None:
    """The matrix, with a colour for each weight, beside the kernel."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    shades = colormaps["turbo"](np.linspace(0.08, 0.92, kernel * kernel))
    colours = ListedColormap([(0.96, 0.96, 0.96, 1), *shades])
    rows, columns = where.shape
    picture = figure(11, max(2.9, 1.1 + 8 * rows / columns))
    left, right = picture.subplots(1, 2, width_ratios=[1, 4.2])
    numbers = np.arange(1, kernel * kernel + 1).reshape(kernel, kernel)

    def cells(axes: Any, matrix: np.ndarray, text: bool, title: str) -> None:
        axes.imshow(matrix, cmap=colours, vmin=0, vmax=kernel * kernel)
        axes.set_xticks(np.arange(matrix.shape[1] + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(matrix.shape[0] + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.2)
        axes.tick_params(which="minor", length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(title, fontsize=11)
        for (i, j), number in np.ndenumerate(matrix):
            if text and number:
                p, q = divmod(int(number) - 1, kernel)
                dark = shades[number - 1][:3] @ [0.3, 0.59, 0.11] < 0.5
                axes.text(
                    j, i, f"$w_{{{p}{q}}}$", ha="center", va="center", fontsize=9,
                    color="white" if dark else "black",
                )  # fmt: skip

    cells(left, numbers, kernel <= 5, "kernel")
    left.set(xticks=range(kernel), yticks=range(kernel), xlabel="column", ylabel="row")
    cells(right, where, columns <= 25, f"$M$: {rows} outputs × {columns} inputs")
    right.set(xlabel=f"pixel of the {size}×{size} image, row by row", ylabel="output")
    if columns <= 25:
        right.set(xticks=range(columns), yticks=range(rows))
    save(picture, path)


def main() -> None:
    """Show the matrix and check what it stands for."""
    arguments = parser(__doc__)
    arguments.add_argument("--size", type=int, default=4, help="of the image (default: 4)")
    arguments.add_argument("--kernel", type=int, default=3, help="size (default: 3)")
    arguments.add_argument("--stride", type=int, default=1, help="default: 1")
    arguments.add_argument("--padding", type=int, default=0, help="default: 0")
    arguments.add_argument("--seed", type=int, default=0, help="of the numbers (default: 0)")
    options = arguments.parse_args()
    problem = (options.size, options.kernel, options.stride, options.padding)

    where = positions(*problem)
    print(f"M, {where.shape[0]} outputs × {where.shape[1]} inputs:\n")
    print(equation(where, options.kernel))
    zeros = (where == 0).mean()
    print(
        f"\n{options.kernel**2} weights at {(where > 0).sum()} positions; {zeros:.0%} are zeros\n"
    )
    found = differences(*problem, options.seed)
    print(
        table(["what is equal", "largest difference"], [(k, f"{v:.1e}") for k, v in found.items()])
    )
    if options.plot:
        draw(where, options.kernel, options.size, options.plot)


if __name__ == "__main__":
    main()
