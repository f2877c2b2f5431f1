"""A network over a large picture, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pyconv import functional
from pyconv.autograd import Tensor
from pyconv.nn.module import Module
from pyconv.nn.normalization import InstanceNorm2d

_MARGIN = 64  # pixels around a tile that are computed, too; as far as a style network sees
_STEP = 4  # tiles begin at multiples of this, the network's stride


def in_tiles(net: Module, x: np.ndarray, tile: int, place: Callable[..., Tensor]) -> np.ndarray:
    """What the network makes of a picture, 1×C×H×W, in the memory that a tile takes.

    Instance normalisation looks at the whole picture. So the tiles are gone through twice: once
    for the means and variances of all of them, which then serve in every tile. They are those of a
    pass over all pixels as nearly as tiles are alike, and there are no seams.
    """
    norms = [m for m in net.modules() if isinstance(m, InstanceNorm2d)]
    windows = list(_windows(x.shape[2:], tile))
    sums: dict[Module, list[Any]] = {norm: [0.0, 0.0, 0.0] for norm in norms}

    def gather(norm: Module, inputs: tuple[Any, ...], output: Any) -> None:
        y = inputs[0]
        size = y.shape[2] * y.shape[3]
        for i, value in enumerate((y.sum((0, 2, 3)), (y * y).sum((0, 2, 3)), size)):
            sums[norm][i] = sums[norm][i] + value

    def share(norm: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        total, squares, size = sums[norm]
        mean = total / size
        return functional.instance_norm(
            inputs[0], mean, squares / size - mean * mean, norm.weight, norm.bias, False, 0.0,
            norm.eps,
        )  # fmt: skip

    result: Any = None
    for hook in (gather, share) if norms else (share,):
        handles = [norm.register_forward_hook(hook) for norm in norms]
        try:
            for (rows, columns), core, target in windows:
                y = net(place(x[:, :, rows, columns]))
                if hook is share:
                    part = y.numpy()[:, :, core[0], core[1]]
                    if result is None:
                        result = np.empty((1, part.shape[1], *x.shape[2:]), np.float32)
                    result[:, :, target[0], target[1]] = part
        finally:
            for handle in handles:
                handle.remove()
    return result


Slices = tuple[slice, slice]


def _windows(size: tuple[int, ...], tile: int) -> Iterator[tuple[Slices, Slices, Slices]]:
    """What is computed, what of it is kept, and where that goes."""
    rows, columns = (list(_spans(n, tile)) for n in size)
    for row in rows:
        for column in columns:
            yield tuple(zip(row, column, strict=True))  # type: ignore[misc]


def _spans(size: int, tile: int) -> Iterator[tuple[slice, slice, slice]]:
    tile = max(tile // _STEP, 1) * _STEP
    for begin in range(0, size, tile):
        end = min(begin + tile, size)
        low, high = max(begin - _MARGIN, 0), min(end + _MARGIN, size)
        yield slice(low, high), slice(begin - low, end - low), slice(begin, end)
