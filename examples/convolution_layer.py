"""A convolutional layer, measured: trained as a dense matrix, its output's size, its field.

The matrix of a convolution (convolution_matrix.py) is trained as that of a dense layer, on 7×7
pictures from Fashion-MNIST. All places of a cell of the kernel have to get the same step: from the
sum of their gradients, which is the gradient of the convolution, or from their mean. Then the
formula for the output's size is compared with pyconv over many combinations, and the receptive
field is measured: the pixels for which a neuron's gradient is not zero.
"""

from __future__ import annotations

import itertools

import numpy as np
from _common import BLUE, GREY, ORANGE, RED, figure, parser, save, table, tidy
from _fashion import pictures
from convolution_matrix import positions

import pyconv
from pyconv import functional, kernels, models, nn

SIZE, KERNEL = 7, 3
TEACHER = np.array([[1.0, 2.0, 1.0], [0.5, 1.0, -0.5], [-1.0, -2.0, -1.0]])


# -- the sum and the mean of shared cells ---------------------------------------------------------


def shared(dM: np.ndarray, where: np.ndarray, reduction: str) -> np.ndarray:
    """What each cell of the kernel gets of the dense gradient: the sum over its places, or the
    mean; `where` has the cell's number, from 1 on, at each of them."""
    sums = np.bincount(where.ravel(), dM.ravel())[1:]
    return sums if reduction == "sum" else sums / places(where)


def places(where: np.ndarray) -> np.ndarray:
    """At how many places of the matrix each cell stands."""
    return np.bincount(where.ravel())[1:]


class Problem:
    """Pictures and what the teacher's kernel makes of them, flattened; the loss is half the mean
    squared error."""

    def __init__(self, padding: int, number: int = 200) -> None:
        (x, _), _ = pictures(number, 1, size=SIZE)
        self.padding = padding
        self.images = x.astype(float)
        self.targets = kernels.conv2d(self.images, TEACHER[None, None], padding=padding)
        self.where = positions(SIZE, KERNEL, 1, padding)
        self.x, self.y = (a.reshape(number, -1) for a in (self.images, self.targets))

    def gradient(self, M: np.ndarray, reduction: str) -> np.ndarray:
        """Of each cell, through the dense layer y = M x."""
        error = self.x @ M.T - self.y
        return shared(error.T @ self.x / self.y.size, self.where, reduction)

    def gradient_of_convolution(self, w: np.ndarray) -> np.ndarray:
        """Of each cell, by the tape."""
        kernel = pyconv.Tensor(w.reshape(1, 1, KERNEL, KERNEL), requires_grad=True)
        y = functional.conv2d(self.images, kernel, padding=self.padding)
        (functional.mse_loss(y, self.targets) * 0.5).backward()
        return kernel.grad.numpy().ravel()

    def loss(self, w: np.ndarray) -> float:
        """Of a kernel."""
        return float(np.square(self.x @ self.dense(w).T - self.y).mean() / 2)

    def dense(self, w: np.ndarray) -> np.ndarray:
        """The matrix of a kernel's nine cells."""
        return np.concatenate([[0.0], w])[self.where]

    def largest_curvature(self) -> float:
        """Largest eigenvalue of the Hessian, whose columns are differences of the gradient."""
        zero = self.gradient(self.dense(np.zeros(KERNEL**2)), "sum")
        columns = [self.gradient(self.dense(e), "sum") - zero for e in np.eye(KERNEL**2)]
        return float(np.linalg.eigvalsh(np.array(columns))[-1])


def train(problem: Problem, reduction: str, rate: float, steps: int) -> np.ndarray:
    """Descent on the dense matrix, from zeros; the kernels on the way, steps + 1 of them."""
    M = np.zeros(problem.where.shape)
    path = [np.zeros(KERNEL**2)]
    for _ in range(steps):
        step = -rate * problem.gradient(M, reduction)
        M += problem.dense(step)  # the same step at all places of a cell
        path.append(path[-1] + step)
    return np.array(path)


def degrees(a: np.ndarray, b: np.ndarray) -> float:
    """The angle between two directions."""
    cosine = a @ b / np.sqrt((a @ a) * (b @ b))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


# -- sizes ----------------------------------------------------------------------------------------


def size_by_formula(W: int, P: int, K: int, S: int) -> int:
    """(W + P - K) / S + 1, rounded down; P is both sides together."""
    return (W + P - K) // S + 1


def check_sizes(largest: int = 12) -> tuple[int, int]:
    """How many combinations were tried, and how many were as the formula says."""
    tried = right = 0
    for W, K, S in itertools.product(range(1, largest + 1), range(1, 6), range(1, 5)):
        for before, after in itertools.product(range(4), range(4)):
            if W + before + after < K:
                continue
            pads = ((before, after), (before, after))
            y = kernels.conv2d(np.ones((1, 1, W, W)), np.ones((1, 1, K, K)), stride=S, padding=pads)
            tried += 1
            right += y.shape[2:] == 2 * (size_by_formula(W, before + after, K, S),)
    return tried, right


# -- receptive fields -----------------------------------------------------------------------------


def gradient_of_neuron(layers: list[nn.Module], x: np.ndarray) -> np.ndarray:
    """Of the neuron in the middle of the first channel, for the picture's pixels; absolute."""
    image = pyconv.Tensor(x, requires_grad=True)
    y = nn.Sequential(*layers)(image)
    only = np.zeros(y.shape, np.float32)
    only[0, 0, y.shape[2] // 2, y.shape[3] // 2] = 1
    y.backward(pyconv.Tensor(only))
    return np.abs(image.grad.numpy()[0, 0])


def box(gradient: np.ndarray) -> tuple[int, int, int, int]:
    """The smallest rectangle with all that is not zero: top, left, height, width."""
    rows, columns = (np.flatnonzero((gradient > 0).any(axis)) for axis in (1, 0))
    return rows[0], columns[0], np.ptp(rows) + 1, np.ptp(columns) + 1


def networks() -> dict[str, nn.Sequential]:
    """LeNet-5 as far as it has images, and convolutions of several kinds."""
    pyconv.manual_seed(0)
    strided = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(4, 4, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 4, (1, 3), padding=(0, 1)),
    )
    return {"LeNet-5": models.lenet5()[:6], "strided, dilated": strided}


def fields(model: nn.Sequential, x: np.ndarray) -> list[tuple[str, tuple[int, ...], np.ndarray]]:
    """Of each layer: its kind, the field by summary, the gradient of its middle neuron."""
    found = pyconv.summary(model, x.shape).layers
    layers = list(model)
    return [
        (row.kind, row.receptive_field or (), gradient_of_neuron(layers[: n + 1], x))
        for n, row in enumerate(found)
    ]


# -- the picture ----------------------------------------------------------------------------------


def draw(
    paths: dict[tuple[int, str], np.ndarray],
    found: list[tuple[str, tuple[int, ...], np.ndarray]],
    picture_of: np.ndarray,
    path: str,
) -> None:
    """How two cells move with the sum and with the mean; the fields over a picture."""
    from matplotlib.patches import Rectangle

    picture = figure(11, 7.2)
    above, below = picture.subfigures(2, 1, height_ratios=[1.1, 1])
    top = above.subplots(1, 3)
    for axes, padding in zip(top, (0, 1), strict=False):
        for reduction, colour, style in (("sum", BLUE, "-"), ("mean", ORANGE, "--")):
            walk = paths[padding, reduction]
            axes.plot(walk[:, 0], walk[:, 4], style, color=colour, lw=2, label=reduction)
        axes.plot(*TEACHER.ravel()[[0, 4]], "*", color=RED, ms=12, label="teacher")
        title = f"padding {padding}" if padding else "no padding"
        tidy(axes, title=title, xlabel="$w_{00}$, a corner", ylabel="$w_{11}$, the middle")
        axes.legend(fontsize=8)
    for padding, colour in ((0, GREY), (1, RED)):
        gap = np.abs(paths[padding, "sum"] - paths[padding, "mean"]).max(1)
        label = f"padding {padding}" if padding else "no padding"
        top[2].loglog(np.maximum(gap, 1e-17)[1:], color=colour, lw=1.6, label=label)
    tidy(top[2], title="Sum against mean", xlabel="step", ylabel="largest difference of a cell")
    top[2].legend(fontsize=8)
    shown = [item for item in found if item[0] != "Tanh"]
    for axes, (kind, field, gradient) in zip(below.subplots(1, 4), shown, strict=False):
        axes.imshow(picture_of, cmap="Greys", alpha=0.55)
        logarithm = np.where(gradient > 0, np.log10(np.maximum(gradient, 1e-12)), np.nan)
        axes.imshow(logarithm, cmap="YlOrRd", alpha=0.8)
        y, x, height, width = box(gradient)
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, ec=BLUE, lw=2))
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"{kind}: {field[0]}×{field[1]}", fontsize=10)
    save(picture, path)


# -- all ------------------------------------------------------------------------------------------


def in_cells(values: np.ndarray, form: str) -> list[str]:
    """Three rows of three."""
    return [" ".join(f"{v:{form}}" for v in row) for row in values.reshape(KERNEL, KERNEL)]


def main() -> None:
    """Train through the matrix, check the sizes, measure the fields."""
    arguments = parser(__doc__)
    arguments.add_argument("--steps", type=int, default=2000, help="of descent (default: 2000)")
    options = arguments.parse_args()
    paths: dict[tuple[int, str], np.ndarray] = {}
    rows = []
    for padding in (0, 1):
        problem = Problem(padding)
        M = problem.dense(np.zeros(KERNEL**2))
        total, mean = (problem.gradient(M, reduction) for reduction in ("sum", "mean"))
        by_tape = problem.gradient_of_convolution(np.zeros(KERNEL**2))
        count = places(problem.where)
        print(f"padding {padding}: places of each cell; mean / sum\n")
        columns = (in_cells(count, "2d"), in_cells(mean / total, ".4f"))
        print("\n".join("    ".join(parts) for parts in zip(*columns, strict=True)))
        print(f"largest difference of the sum from the tape: {np.abs(total - by_tape).max():.1e}")
        print(f"angle between sum and mean: {degrees(total, mean):.2f} degrees\n")
        rate = 1 / problem.largest_curvature()
        for reduction, factor in (("sum", 1), ("mean", count.max())):
            walk = train(problem, reduction, rate * factor, options.steps)
            paths[padding, reduction] = walk
            for step in sorted({10, options.steps // 10, options.steps}):
                error = np.abs(walk[step] - TEACHER.ravel()).max()
                gap = np.abs(walk[step] - paths[padding, "sum"][step]).max()
                numbers = (problem.loss(walk[step]), error, gap)
                rows.append((padding, reduction, step, *(f"{number:.1e}" for number in numbers)))
    print("trained through the matrix; the mean at a rate larger by the middle's places\n")
    print(
        table(["padding", "of shared", "steps", "loss", "from the teacher", "from the sum"], rows)
    )

    tried, right = check_sizes()
    print(f"\n(W + P - K) / S + 1, rounded down: right in {right:,} of {tried:,} combinations\n")

    (x, _), _ = pictures(1, 1)
    rows = []
    measured = {name: fields(model, x) for name, model in networks().items()}
    for name, found in measured.items():
        for number, (kind, field, gradient) in enumerate(found):
            height, width = box(gradient)[2:]
            filled = np.count_nonzero(gradient) / (height * width)
            sizes = (f"{field[0]}×{field[1]}", f"{height}×{width}", f"{filled:.0%}")
            rows.append((name if not number else "", kind, *sizes))
    print("receptive field by summary; where a middle neuron's gradient is not zero\n")
    print(table(["network", "layer", "summary", "measured", "of it not zero"], rows))
    if options.plot:
        draw(paths, measured["LeNet-5"], x[0, 0], options.plot)


if __name__ == "__main__":
    main()
