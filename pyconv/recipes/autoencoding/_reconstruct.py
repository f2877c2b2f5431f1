"""An autoencoder on pictures of any size."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv import nn
from pyconv.autograd import no_grad
from pyconv.nn.module import Module
from pyconv.recipes._network import Network, looked_at

_TILE = 512  # pictures with longer sides are cut into such, with a margin
_MARGIN = 32  # more than the networks here see around a pixel
_PIXELS = 2**17  # of the pictures that go through a network at once
_MULTIPLES = (1, 2, 4, 8, 16, 32)


def channels_of(model: Module) -> int | None:
    """How many channels a model's pictures have; None where it has no convolution."""
    convolution = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return None if convolution is None else convolution.in_channels


def multiple_of(network: Network, channels: int) -> int | None:
    """What the sides of pictures must be multiples of; None where a model takes pictures of one
    size alone."""
    for multiple in _MULTIPLES:
        probe = np.zeros((1, channels, 5 * multiple, 7 * multiple), np.float32)
        if _answer(network, probe)[0] is not None:
            return multiple
    return None


def padded_for(function: str, model: Module, x: np.ndarray) -> np.ndarray:
    """Pictures with sides that the model takes, mirrored at their end where they are short."""
    with looked_at(function, model):
        network = Network(function, model)
        multiple = multiple_of(network, x.shape[1])
        return _of_one_size(network, x) if multiple is None else _padded(x, multiple)


def reconstruct(function: str, model: Any, pictures: np.ndarray) -> np.ndarray:
    """What a model makes of pictures, N×C×H×W in 0..1.

    A model of grey pictures gets the channels of pictures in colour one by one; one of colour gets
    grey ones three times.
    """
    with looked_at(function, model):
        network = Network(function, model)
        n, given, height, width = pictures.shape
        channels = channels_of(model) or given
        x = pictures
        if channels != given:
            if channels == 1:
                x = x.reshape(-1, 1, height, width)
            elif given == 1:
                x = x.repeat(channels, 1)
            else:
                raise ValueError(
                    f"{function}: the model takes pictures of {channels} channels, got {given}"
                )
        multiple = multiple_of(network, channels)
        if multiple is None:
            y = _run(network, _of_one_size(network, x))
        else:
            y = _in_tiles(network, _padded(x, multiple), multiple)
        y = y[:, :, :height, :width]
        if channels == 1:
            return y.reshape(n, given, height, width)
        return y if channels == given else y.mean(1, keepdims=True)


def _of_one_size(network: Network, x: np.ndarray) -> np.ndarray:
    """Padded for a model with a dense layer."""
    sides = network.shape[1:] if network.shape else x.shape[2:]
    if sides != x.shape[2:]:
        raise ValueError(
            f"{network.function}: the model takes pictures of {sides[0]}×{sides[1]}, got "
            f"{x.shape[2]}×{x.shape[3]}"
        )
    for multiple in _MULTIPLES:
        padded = _padded(x, multiple)
        answer, reason = _answer(network, padded[:1])
        if answer is not None:
            return padded
    raise ValueError(f"{network.function}: the model is no autoencoder of such pictures{reason}")


def _in_tiles(network: Network, x: np.ndarray, multiple: int) -> np.ndarray:
    """Large pictures part by part, so that their memory is that of one."""
    result = np.empty_like(x)
    margin = -(-_MARGIN // multiple) * multiple
    for top, bottom in _parts(x.shape[2], multiple):
        for left, right in _parts(x.shape[3], multiple):
            up, before = max(top - margin, 0), max(left - margin, 0)
            part = x[:, :, up : bottom + margin, before : right + margin]
            y = _run(network, np.ascontiguousarray(part))
            result[:, :, top:bottom, left:right] = y[
                :, :, top - up : bottom - up, left - before : right - before
            ]
    return result


def _parts(size: int, multiple: int) -> list[tuple[int, int]]:
    """Even parts of at most a tile, which begin at multiples."""
    count = -(-size // _TILE)
    ends = [size // multiple * i // count * multiple for i in range(count + 1)]
    return list(zip(ends[:-1], ends[1:], strict=True))


def _padded(x: np.ndarray, multiple: int) -> np.ndarray:
    more = [(0, -size % multiple) for size in x.shape[2:]]
    return np.pad(x, ((0, 0), (0, 0), *more), mode="symmetric")


def _run(network: Network, x: np.ndarray) -> np.ndarray:
    """In batches; clipped to 0..1."""
    step = max(_PIXELS // (x.shape[2] * x.shape[3]), 1)
    with no_grad():
        parts = [network(x[i : i + step]).numpy() for i in range(0, len(x), step)]
    return np.clip(np.concatenate(parts), 0, 1).astype(np.float32, copy=False)


def _answer(network: Network, x: np.ndarray) -> tuple[np.ndarray | None, str]:
    """What the model makes of pictures, if it takes them and gives such; else why it doesn't."""
    try:
        with no_grad():
            y = network(x).numpy()
    except ValueError as error:
        return None, f": {error}"
    if y.shape != x.shape:
        return None, f": of shape {x.shape} it makes {y.shape}"
    return y, ""
