"""A matrix product by tiles, as the kernels compute it, in NumPy; and which tiles can reach what a
processor can do: 6 rows of two vectors are the kernels' on AVX2, 14 on AVX-512.

python examples/micro_kernel.py [--plot FILE]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from _common import BLUE, GREEN, GREY, ORANGE, figure, parser, save, table, tidy

PORTS = 2  # fused multiply-adds, and loads, that a processor starts in a cycle
LATENCY = 4  # cycles until the sum of a multiply-add can be added to


@dataclass
class Registers:
    """What an instruction set has: so many registers of so many float32 lanes."""

    name: str
    count: int
    lanes: int


AVX2, AVX512 = Registers("AVX2", 16, 8), Registers("AVX-512", 32, 16)


def pack(b: np.ndarray, width: int) -> np.ndarray:
    """b as panels×depth×width, zeros behind the last column: a tile reads its panel from the first
    byte to the last."""
    depth, columns = b.shape
    panels = -(-columns // width)
    padded = np.pad(b, ((0, 0), (0, panels * width - columns)))
    return np.ascontiguousarray(padded.reshape(depth, panels, width).swapaxes(0, 1))


def tile(rows: np.ndarray, panel: np.ndarray) -> np.ndarray:
    """The micro-kernel: the sums stay where they are while it goes along the depth."""
    sums = np.zeros((len(rows), panel.shape[1]), rows.dtype)
    for k, vectors in enumerate(panel):  # a load of a few vectors
        for i, row in enumerate(rows):
            sums[i] += row[k] * vectors  # a broadcast, and a multiply-add for each vector
    return sums


def product(a: np.ndarray, b: np.ndarray, height: int, width: int) -> np.ndarray:
    """a @ b by tiles of height×width. Rows are cut evenly, so that no tile is much lower."""
    panels = pack(b, width)
    cuts = np.array_split(np.arange(len(a)), -(-len(a) // height))
    c = np.zeros((len(a), panels.shape[0] * width), a.dtype)
    for p, panel in enumerate(panels):
        for cut in cuts:
            c[cut, p * width : (p + 1) * width] = tile(a[cut], panel)
    return c[:, : b.shape[1]]


def share_of_peak(rows: int, vectors: int) -> float:
    """What a step of the tile needs of the multiply-adds' ports, out of the time it takes: it waits
    for those, for the ports that load, or for its own sums."""
    fmas = rows * vectors / PORTS
    loads = (rows + vectors) / PORTS
    return fmas / max(fmas, loads, LATENCY)


def fits(rows: int, vectors: int, registers: Registers) -> bool:
    """The sums, the vectors of a step and one broadcast."""
    return rows * vectors + vectors + 1 <= registers.count


def loads_per_fma(rows: int, vectors: int) -> float:
    return (rows + vectors) / (rows * vectors)


def best(registers: Registers) -> tuple[int, int]:
    """The tile with the fewest loads a multiply-add among those that fit."""
    shapes = [
        (rows, vectors)
        for rows in range(1, registers.count)
        for vectors in range(1, 5)
        if fits(rows, vectors, registers)
    ]
    return min(shapes, key=lambda shape: loads_per_fma(*shape))


def draw() -> Any:
    """The tile in its registers, and the share of the peak for each shape."""
    result = figure(10, 4)
    left, right = result.subplots(1, 2, width_ratios=(1, 1))
    rows, lanes = 6, 8
    for i in range(rows):
        left.add_patch(rectangle(-2.2, -i - 1, 1, 1, ORANGE, 0.9 if i == 2 else 0.35))
        for j in range(2 * lanes):
            left.add_patch(rectangle(j, -i - 1, 1, 1, BLUE, 0.55 if i == 2 else 0.18))
    for j in range(2 * lanes):
        left.add_patch(rectangle(j, 0.7, 1, 1, GREEN, 0.35 if j < lanes else 0.6))
    left.text(-1.7, 0.4, "a", ha="center", color=ORANGE)
    left.text(16.4, 1.0, "b: two vectors", color=GREEN, va="center")
    left.text(16.4, -2.5, "12 sums", color=BLUE, va="center")
    left.text(-2.2, -7.2, "one step along the depth: each number of the\ncolumn times both vectors",
              va="top")  # fmt: skip
    left.set(xlim=(-3, 22.5), ylim=(-9, 2.3), aspect="equal", title="a tile of 6×16 on AVX2")
    left.axis("off")
    most = 16
    shares = np.array([[share_of_peak(r, v) for r in range(1, most + 1)] for v in (1, 2, 3, 4)])
    image = right.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for v in (1, 2, 3, 4):
        for r in range(1, most + 1):
            mark = "●" if fits(r, v, AVX2) else "○" if fits(r, v, AVX512) else ""
            color = "white" if shares[v - 1, r - 1] > 0.6 else "black"
            right.text(r - 1, v - 1, mark, ha="center", va="center", color=color)
    right.set_xticks(range(0, most, 2), range(1, most + 1, 2))
    right.set_yticks(range(4), (1, 2, 3, 4))
    tidy(right, xlabel="rows", ylabel="vectors", title="share of the peak; ● fits AVX2, ○ AVX-512")
    right.grid(False)
    result.colorbar(image, ax=right, shrink=0.8)
    return result


def rectangle(x: float, y: float, width: float, height: float, color: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, facecolor=color, edgecolor=GREY, alpha=alpha, lw=0.6)


def main() -> None:
    options = parser(__doc__).parse_args()
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((29, 40)), rng.standard_normal((40, 37))
    error = abs(product(a, b, 6, 16) - a @ b).max()
    print(f"29x40 times 40x37 by tiles of 6x16: greatest difference to NumPy's {error:.0e}\n")
    rows = []
    for r, v in ((1, 1), (4, 1), (8, 1), (4, 2), (6, 2), (4, 3), (14, 2), (9, 3)):
        rows.append(
            (
                f"{r} x {v}",
                r * v + v + 1,
                f"{loads_per_fma(r, v):.2f}",
                f"{share_of_peak(r, v):.0%}",
                "AVX2, AVX-512" if fits(r, v, AVX2) else "AVX-512" if fits(r, v, AVX512) else "",
            )
        )
    print(table(("rows x vectors", "registers", "loads an FMA", "of the peak", "fits"), rows))
    for registers in (AVX2, AVX512):
        r, v = best(registers)
        print(f"\n{registers.name}: fewest loads with {r} x {v}, {loads_per_fma(r, v):.2f} an FMA")
    if options.plot:
        save(draw(), options.plot)


if __name__ == "__main__":
    main()
