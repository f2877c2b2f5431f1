"""What is done to batches of pictures before they are learned.

A transform is called as ``transform(x, generator)`` with a batch, N×C×H×W, and a NumPy generator
of random numbers, and returns a new batch: the same generator gives the same batch. A function
with these arguments is a transform, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from pyconv.kernels import _checks as check

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Compose:
    """One transform after the other.

    Parameters
    ----------
    transforms : iterable of transforms

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.data import transforms as T
    >>> prepare = T.Compose([T.RandomShift(2), T.ToFloat()])
    >>> prepare(np.zeros((4, 1, 28, 28), np.uint8), np.random.default_rng(0)).dtype
    dtype('float32')
    """

    def __init__(self, transforms: Iterable[Transform]) -> None:
        self.transforms = list(transforms)
        for transform in self.transforms:
            if not callable(transform):
                raise TypeError(
                    f"Compose: transforms must be callable, got {check.kind(transform)}"
                )

    def __call__(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        for transform in self.transforms:
            x = transform(x, generator)
        return x

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"


class RandomCrop:
    """A window at a random place, another for each picture.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the window.
    padding : int or (int, int)
        A frame around the picture first, above and below, left and right.
    fill : number
        What the frame is made of.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.data import transforms as T
    >>> T.RandomCrop(32, padding=4)(np.zeros((8, 3, 32, 32)), np.random.default_rng(0)).shape
    (8, 3, 32, 32)
    """

    def __init__(self, size: Any, padding: Any = 0, fill: float = 0) -> None:
        self.size = check.pair("RandomCrop", "size", size, 1)
        self.padding = check.pair("RandomCrop", "padding", padding, 0)
        self.fill = fill

    def __call__(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        _check_batch("RandomCrop", x)
        return _crop("RandomCrop", x, generator, self.size, self.padding, self.fill)

    def __repr__(self) -> str:
        return f"RandomCrop({self.size}, padding={self.padding})"


class RandomShift:
    """Each picture moved by whole cells, at random; what comes in is `fill`.

    Parameters
    ----------
    distance : int or (int, int)
        The farthest, down or up and right or left.
    fill : number

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.data import transforms as T
    >>> T.RandomShift(1)(np.ones((1, 1, 2, 2)), np.random.default_rng(3)).shape
    (1, 1, 2, 2)
    """

    def __init__(self, distance: Any, fill: float = 0) -> None:
        self.distance = check.pair("RandomShift", "distance", distance, 0)
        self.fill = fill

    def __call__(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        _check_batch("RandomShift", x)
        size = (x.shape[2], x.shape[3])
        return _crop("RandomShift", x, generator, size, self.distance, self.fill)

    def __repr__(self) -> str:
        return f"RandomShift({self.distance})"


class RandomHorizontalFlip:
    """Left and right exchanged, with probability `p` for each picture.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.data import transforms as T
    >>> T.RandomHorizontalFlip(1.0)(np.array([[[[1, 2, 3]]]]), np.random.default_rng(0))
    array([[[[3, 2, 1]]]])
    """

    _axis = 3

    def __init__(self, p: float = 0.5) -> None:
        self.p = check.number(type(self).__name__, "p", p, 0.0, 1.0)

    def __call__(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        _check_batch(type(self).__name__, x)
        turned = generator.random(len(x)) < self.p
        result = x.copy()
        result[turned] = np.flip(x[turned], self._axis)
        return result

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.p})"


class RandomVerticalFlip(RandomHorizontalFlip):
    """Top and bottom exchanged; as `RandomHorizontalFlip`."""

    _axis = 2


class ToFloat:
    """Bytes to float32 from 0 to 1; floating-point pictures to float32 as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.data import transforms as T
    >>> T.ToFloat()(np.full((1, 1, 1, 1), 255, np.uint8))
    array([[[[1.]]]], dtype=float32)
    """

    def __call__(self, x: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray:
        _check_batch("ToFloat", x)
        result = _channels_last(x.shape)
        if x.dtype == np.uint8:
            np.multiply(x, np.float32(1 / 255), out=result, dtype=np.float32)
        elif x.dtype.kind == "f":
            result[...] = x
        else:
            raise TypeError(f"ToFloat: x must be uint8 or floating-point, got {x.dtype}")
        return result

    def __repr__(self) -> str:
        return "ToFloat()"


class Normalize:
    """``(x - mean) / std`` for each channel, in float32; bytes are brought to 0..1 before.

    Parameters
    ----------
    mean, std : float or sequence of float
        One for all channels or one each.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.data import transforms as T
    >>> T.Normalize(0.5, 0.25)(np.ones((1, 1, 1, 1), np.float32))
    array([[[[2.]]]], dtype=float32)
    """

    def __init__(self, mean: Any, std: Any) -> None:
        self.mean = _numbers("mean", mean)
        self.std = _numbers("std", std)
        if not (self.std > 0).all():
            raise ValueError(f"Normalize: std must be above 0, got {self.std.tolist()}")

    @classmethod
    def of(cls, x: np.ndarray) -> Normalize:
        """The one that gives these pictures (N×C×H×W) zero mean and unit variance."""
        _check_batch("Normalize", x)
        scale = 255.0 if x.dtype == np.uint8 else 1.0
        count = x.shape[0] * x.shape[2] * x.shape[3]
        if not count:
            raise ValueError("Normalize: x must not be empty")
        # In two passes, some pictures at a time: neither a cancellation nor a large copy.
        parts = [x[i : i + 256] for i in range(0, len(x), 256)]
        mean = sum(p.sum((0, 2, 3), dtype=np.float64) for p in parts) / count
        centre = mean.reshape(1, -1, 1, 1)
        std = np.sqrt(sum(((p - centre) ** 2).sum((0, 2, 3)) for p in parts) / count)
        return cls((mean / scale).tolist(), np.where(std > 0, std / scale, 1.0).tolist())

    def __call__(self, x: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray:
        _check_batch("Normalize", x)
        channels = x.shape[1]
        for name, value in (("mean", self.mean), ("std", self.std)):
            if value.size not in (1, channels):
                raise ValueError(
                    f"Normalize: {name} has {value.size} entries, x has {channels} channels"
                )
        scale = 1 / self.std
        shift = -self.mean * scale
        if x.dtype == np.uint8:
            scale = scale / 255
        elif x.dtype.kind != "f":
            raise TypeError(f"Normalize: x must be uint8 or floating-point, got {x.dtype}")
        result = _channels_last(x.shape)
        np.multiply(x, _columns(scale), out=result, dtype=np.float32, casting="same_kind")
        result += _columns(shift)
        return result

    def __repr__(self) -> str:
        return f"Normalize({self.mean.tolist()}, {self.std.tolist()})"


class GaussianNoise:
    """Normal noise on every cell of floating-point pictures.

    Parameters
    ----------
    std : float

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.data import transforms as T
    >>> T.GaussianNoise(0.1)(np.zeros((2, 1, 4, 4), np.float32), np.random.default_rng(0)).shape
    (2, 1, 4, 4)
    """

    def __init__(self, std: float) -> None:
        self.std = check.number("GaussianNoise", "std", std, 0.0)

    def __call__(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        _check_batch("GaussianNoise", x)
        if x.dtype not in (np.float32, np.float64):
            raise TypeError(f"GaussianNoise: x must be float32 or float64, got {x.dtype}")
        noise = generator.standard_normal(x.shape, x.dtype.type)
        noise *= x.dtype.type(self.std)
        return x + noise

    def __repr__(self) -> str:
        return f"GaussianNoise({self.std})"


def _check_batch(name: str, x: Any) -> None:
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name}: x must be an array, got {check.kind(x)}")
    if x.ndim != 4:
        raise ValueError(f"{name}: x must be N×C×H×W, got shape {x.shape}")


def _crop(
    name: str,
    x: np.ndarray,
    generator: np.random.Generator,
    size: tuple[int, ...],
    padding: tuple[int, ...],
    fill: float,
) -> np.ndarray:
    (h, w), (ph, pw) = size, padding
    rows, columns = x.shape[2] + 2 * ph - h + 1, x.shape[3] + 2 * pw - w + 1
    if rows < 1 or columns < 1:
        raise ValueError(f"{name}: size {(h, w)} is larger than the padded picture of {x.shape}")
    top = generator.integers(rows, size=len(x))
    left = generator.integers(columns, size=len(x))
    frame = ((0, 0), (0, 0), (ph, ph), (pw, pw))
    padded = np.pad(x, frame, constant_values=fill) if ph or pw else x
    windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), (2, 3))
    return windows[np.arange(len(x)), :, top, left]


def _channels_last(shape: tuple[int, ...]) -> np.ndarray:
    """An empty batch that lies as the kernels read it."""
    n, c, h, w = shape
    return np.empty((n, h, w, c), np.float32).transpose(0, 3, 1, 2)


def _numbers(argument: str, value: Any) -> np.ndarray:
    items = list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]
    if not items:
        raise ValueError(f"Normalize: {argument} must not be empty")
    return np.array([check.number("Normalize", argument, item) for item in items])


def _columns(values: np.ndarray) -> np.ndarray:
    """One number a channel, to be multiplied with N×C×H×W."""
    return values.astype(np.float32).reshape(1, -1, 1, 1)
