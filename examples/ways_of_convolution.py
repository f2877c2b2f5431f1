"""One 3x3 convolution in eight ways, from seven loops to the kernels of pyconv: the same result,
what each multiplies, what it keeps, how exact it is, how long it takes.

python examples/ways_of_convolution.py [--plot FILE]
"""

from __future__ import annotations

import os

if __name__ == "__main__":  # NumPy's products on one thread, as all here; it is read at its import
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from _common import BLUE, GREY, figure, parser, save, table, tidy  # noqa: E402

import pyconv  # noqa: E402
from pyconv import kernels  # noqa: E402

K = 3  # the kernel's rows and columns; stride 1, padding 1


def loops(x: np.ndarray, w: np.ndarray, rows: int | None = None) -> np.ndarray:
    """The formula, a loop for each of its seven indices; of the first rows alone, if asked."""
    n, c, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros((n, len(w), rows or height, width), x.dtype)
    for image in range(n):
        for k in range(len(w)):
            for i in range(rows or height):
                for j in range(width):
                    for channel in range(c):
                        for u in range(K):
                            for v in range(K):
                                y[image, k, i, j] += (
                                    w[k, channel, u, v] * padded[image, channel, i + u, j + v]
                                )
    return y


def windows(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """All windows as a view, and one sum over channels, rows and columns of them."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (K, K), axis=(2, 3))
    return np.einsum("nchwuv,kcuv->nkhw", view, w)


def im2col(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Each window copied to a row: then it is one matrix product."""
    n, c, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (K, K), axis=(2, 3))
    columns = view.transpose(0, 2, 3, 1, 4, 5).reshape(n * height * width, c * K * K)
    y = columns @ w.reshape(len(w), -1).T
    return y.reshape(n, height, width, len(w)).transpose(0, 3, 1, 2)


def taps(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Nothing is copied but the border: a matrix product over the channels for each of the nine
    taps, whose input is the image, shifted. `pyconv.kernels` computes this sum."""
    n, c, height, width = x.shape
    last = np.pad(x.transpose(0, 2, 3, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = np.zeros((n, height, width, len(w)), x.dtype)
    for u in range(K):
        for v in range(K):
            y += last[:, u : u + height, v : v + width] @ w[:, :, u, v].T
    return y.transpose(0, 3, 1, 2)


def fft(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Where waves are multiplied, pictures are convolved; with the kernel turned around."""
    height, width = x.shape[2] + 2, x.shape[3] + 2
    waves = np.fft.rfft2(x, (height, width))
    kernel = np.fft.rfft2(w[:, :, ::-1, ::-1], (height, width))
    y = np.fft.irfft2(np.einsum("nchw,kchw->nkhw", waves, kernel, optimize=True), (height, width))
    return y[:, :, 1:-1, 1:-1].astype(x.dtype)


# Winograd's F(2x2, 3x3) (Lavin and Gray, 2016): Y = A^T [(G g G^T) * (B^T d B)] A
_B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
_A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)


def winograd(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Four results of 16 products instead of 36, at the price of sums before and after."""
    n, c, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), axis=(2, 3))[:, :, ::2, ::2]
    tiles = (_B @ view @ _B.T).transpose(4, 5, 0, 2, 3, 1).reshape(16, -1, c)
    kernel = (_G @ w @ _G.T).transpose(2, 3, 1, 0).reshape(16, c, -1)
    sums = (tiles @ kernel).reshape(4, 4, n, height // 2, width // 2, len(w))
    y = _A @ sums.transpose(2, 5, 3, 4, 0, 1) @ _A.T
    return y.transpose(0, 1, 2, 4, 3, 5).reshape(n, len(w), height, width)


def direct(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The taps again, in a kernel."""
    return kernels.conv2d(x, w, padding=1, algorithm="direct")


def winograd_kernel(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Winograd's with tiles of 4x4 results: 36 products instead of 144."""
    return kernels.conv2d(x, w, padding=1, algorithm="winograd4")


WAYS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "seven loops": loops,
    "windows, einsum": windows,
    "im2col, one product": im2col,
    "nine shifted products": taps,
    "Fourier transform": fft,
    "Winograd 2x2": winograd,
    "kernel, direct": direct,
    "kernel, Winograd 4x4": winograd_kernel,
}


def products(name: str, size: int) -> float:
    """Multiplications for one result and one input channel; transforms aside."""
    if name == "Fourier transform":
        return 4 * (size + 2) * ((size + 2) // 2 + 1) / size**2  # a complex one is four
    return {"Winograd 2x2": 16 / 4, "kernel, Winograd 4x4": 36 / 16}.get(name, K * K)


def kept(name: str, channels: int, features: int, size: int) -> float:
    """Numbers that are kept on the way, in units of the image's. The kernels cut their work into
    blocks that fit the cache, so that theirs don't grow with the image."""
    image = channels * size**2
    waves = 2 * (size + 2) * ((size + 2) // 2 + 1)
    found = {
        "im2col, one product": K * K * image,
        "nine shifted products": features * size**2,  # a tap's, before it is added
        "Fourier transform": (channels + features + channels * features) * waves,
        "Winograd 2x2": 4 * (channels + features) * size**2 + 16 * channels * features,
    }
    return found.get(name, 0) / image


@dataclass
class Row:
    name: str
    products: float
    kept: float
    error: float
    time: float  # in times of the matrix product after im2col


def compare(channels: int, features: int, size: int, rounds: int) -> list[Row]:
    """All ways on the same numbers. Times are medians of rounds in which each has its turn; the
    loops compute one row, and count for as many as there are."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, channels, size, size)).astype(np.float32)
    w = rng.standard_normal((features, channels, K, K)).astype(np.float32)
    exact = taps(x.astype(np.float64), w.astype(np.float64))
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    errors = {}
    for turn in range(rounds + 1):
        for name, way in WAYS.items():
            if way is loops and turn > 0:
                continue
            start = time.perf_counter()
            y = loops(x, w, rows=1) if way is loops else way(x, w)
            taken = (time.perf_counter() - start) * (size if way is loops else 1)
            if way is loops or turn > 0:  # the first round warms up
                seconds[name].append(taken)
            errors[name] = float(abs(y - exact[:, :, : y.shape[2]]).max() / abs(exact).max())
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    unit = medians["im2col, one product"]
    return [
        Row(
            name,
            products(name, size),
            kept(name, channels, features, size),
            errors[name],
            medians[name] / unit,
        )
        for name in WAYS
    ]


def draw(rows: list[Row]) -> Any:
    """Times, from the longest to the shortest, and products beside them."""
    result = figure(9, 3.6)
    times, counts = result.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    names = [row.name for row in rows]
    colors = [BLUE if name.startswith("kernel") else GREY for name in names]
    times.barh(names, [row.time for row in rows], color=colors)
    times.set_xscale("log")
    for k, row in enumerate(rows):
        times.text(
            row.time,
            k,
            f" {row.time:.2g}" if row.time < 1e3 else f" {row.time:,.0f}",
            va="center",
            fontsize=8,
        )
    times.invert_yaxis()
    tidy(times, xlabel="time, in times of im2col and one product", title="one thread")
    times.set_xlim(right=times.get_xlim()[1] * 3)
    counts.barh(names, [row.products for row in rows], color=colors)
    tidy(counts, xlabel="products a result and channel", title="multiplications")
    return result


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--channels", type=int, default=64)
    arguments.add_argument("--features", type=int, default=64)
    arguments.add_argument("--size", type=int, default=56, help="rows and columns; even")
    arguments.add_argument("--rounds", type=int, default=15)
    options = arguments.parse_args()
    pyconv.set_num_threads(1)
    size = options.size
    rows = compare(options.channels, options.features, size, options.rounds)
    print(f"3x3, {options.channels} channels to {options.features}, {size}x{size}, one thread\n")
    shown = [
        (
            r.name,
            f"{r.products:.3g}",
            "a block" if r.name.startswith("kernel") else f"{r.kept:.3g}",
            f"{r.error:.0e}",
            f"{r.time:.2g}" if r.time < 1e3 else f"{r.time:,.0f}",
        )
        for r in rows
    ]
    titles = ("way", "products", "kept", "error", "time")
    print(table(titles, shown))
    print(
        "\nproducts: multiplications for one result and one input channel, transforms aside\n"
        "kept:     numbers between input and result, in units of the image's\n"
        "error:    the greatest, of the greatest result, against float64\n"
        "time:     in units of im2col's, medians of rounds in turns"
    )
    if options.plot:
        save(draw(rows), options.plot)


if __name__ == "__main__":
    main()
