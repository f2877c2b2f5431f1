"""An image as something that is optimised: how it is written down, what holds it in check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pyconv import functional
from pyconv.autograd import Tensor, assign


def frequencies(size: int) -> np.ndarray:
    """Cycles a pixel of each row of `fourier_basis`."""
    return (np.arange(size) + 1) // 2 / size


def fourier_basis(size: int) -> np.ndarray:
    """The real Fourier basis, orthonormal, one wave a column: constant, cosine, sine, cosine, ...

    Examples
    --------
    >>> q = fourier_basis(5)
    >>> bool(np.allclose(q.T @ q, np.eye(5)))
    True
    """
    wave = (np.arange(size) + 1) // 2
    angle = 2 * np.pi * np.outer(np.arange(size), wave) / size
    basis = np.where(np.arange(size) % 2 == 1, np.cos(angle), np.sin(angle))
    basis[:, 0] = np.sqrt(0.5)
    if size % 2 == 0:  # of the highest frequency there is the cosine alone
        basis[:, -1] = np.sqrt(0.5) * np.cos(np.pi * np.arange(size))
    return basis * np.sqrt(2 / size)


Place = Callable[..., Tensor]  # from an array to a Tensor where the network is


class Pixels:
    """The picture is its pixels, kept in 0..1; it begins as grey with a little noise."""

    def __init__(
        self, shape: tuple[int, ...], rng: np.random.Generator, place: Place = Tensor
    ) -> None:
        self.values = place(noise(shape, rng), requires_grad=True)

    def image(self) -> Tensor:
        """N×C×H×W in 0..1."""
        return self.values

    def settle(self) -> None:
        """After a step."""
        array = self.values.data
        array.clip(0, 1, out=array)

    def blur(self, sigma: float) -> None:
        """Smooth the pixels, in place."""
        assign(self.values.data, blurred(self.values.numpy(), sigma))


class Fourier:
    """The picture is a sum of waves, squashed into 0..1 by a logistic function.

    A step of one length changes each wave by as much as natural pictures have of it, the less the
    higher its frequency f: image = sigmoid(M (Q_h (A / f) Q_w^T)), with the bases Q of the two axes
    (Olah, Mordvintsev and Schubert, Feature visualization, 2017, have a complex transform), and M
    that mixes lightness and two hues into three colours (Ohta, Kanade and Sakai, Color information
    for region segmentation, 1980, found that these vary independently; hues by less).
    """

    def __init__(
        self, shape: tuple[int, ...], rng: np.random.Generator, place: Place = Tensor
    ) -> None:
        channels, height, width = shape[1:]
        radius = np.hypot.outer(frequencies(height), frequencies(width))
        scale = 1 / np.maximum(radius, 1 / max(height, width))
        scale /= np.sqrt(np.mean(scale**2))  # waves of variance 1 make pixels of variance 1
        self._down = place(fourier_basis(height).astype(np.float32))
        self._across = place(fourier_basis(width).T.astype(np.float32).copy())
        scales = np.broadcast_to(scale, (channels, height, width))
        self._mix: Tensor | None = None
        if channels == 3:
            hues = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
            self._mix = place(np.float32(hues.T.reshape(3, 3, 1, 1) * np.sqrt(3)))
            scales = scales * np.array([1, 0.4, 0.2]).reshape(3, 1, 1)
        self._scale = place(scales.astype(np.float32))
        start = 0.1 * rng.standard_normal(shape, np.float32)
        self.values = place(start, requires_grad=True)

    def set_image(self, picture: np.ndarray) -> None:
        """Begin with a picture; what is nearly black or white becomes a little less so."""
        inside = np.clip(picture, 0.02, 0.98)
        planes = np.log(inside / (1 - inside))
        if self._mix is not None:  # an orthogonal matrix times sqrt(3)
            mix = self._mix.numpy()[:, :, 0, 0]
            planes = np.einsum("ji,njhw->nihw", mix, planes) / 3
        waves = self._down.numpy().T @ planes @ self._across.numpy().T
        assign(self.values.data, (waves / self._scale.numpy()).astype(np.float32))

    def image(self) -> Tensor:
        """N×C×H×W in 0..1."""
        planes = self._down @ (self.values * self._scale) @ self._across
        if self._mix is not None:
            planes = functional.conv2d(planes, self._mix)
        return planes.sigmoid()

    def settle(self) -> None:
        """After a step: nothing is to be done."""


PARAMETRIZATIONS: dict[str, Any] = {"fourier": Fourier, "pixels": Pixels}


def noise(shape: tuple[int, ...], rng: np.random.Generator, size: float = 0.05) -> np.ndarray:
    """Grey with a little noise, channels-last in memory."""
    n, c, h, w = shape
    values = 0.5 + size * rng.standard_normal((n, h, w, c), np.float32)
    return np.clip(values, 0, 1).astype(np.float32).transpose(0, 3, 1, 2)


def jittered(x: Any, most: int, rng: np.random.Generator) -> Any:
    """The picture shifted by up to `most` pixels, mirrored at its edges."""
    if most == 0:
        return x
    height, width = x.shape[2:]
    y, z = (int(v) for v in rng.integers(0, 2 * most + 1, 2))
    return functional.pad(x, (most,) * 4, mode="reflect")[:, :, y : y + height, z : z + width]


def total_variation(x: Any) -> Any:
    """The mean square of the differences between neighbours, per picture and pixel, summed over
    the pictures (Mahendran and Vedaldi, Understanding deep image representations by inverting them,
    2015, with the exponent 2)."""
    down, across = x[:, :, 1:] - x[:, :, :-1], x[:, :, :, 1:] - x[:, :, :, :-1]
    return ((down * down).sum() + (across * across).sum()) / (x.shape[2] * x.shape[3])


def away_from_grey(x: Any) -> Any:
    """The mean square of the distance from grey, summed over the pictures."""
    return ((x - 0.5) * (x - 0.5)).sum() / (x.shape[1] * x.shape[2] * x.shape[3])


def gaussian(size: int, sigma: float) -> np.ndarray:
    """A matrix that blurs an axis: of waves each by what a Gaussian leaves of it."""
    q = fourier_basis(size)
    left = np.exp(-2 * (np.pi * sigma * frequencies(size)) ** 2)
    return (q * left) @ q.T


def blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    """Pictures, blurred by a Gaussian, periodic at the edges."""
    down, across = (gaussian(n, sigma).astype(np.float32) for n in x.shape[2:])
    return (down @ x @ across.T).astype(np.float32)
