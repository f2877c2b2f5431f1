"""``pyconv style --train``."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyconv.cli.recipe import finish, open_picture, pictures_in

_PHOTOGRAPHS = ("colosseum", "gateway_of_india", "great_wall", "machu_picchu")
_KEPT = 512  # pictures that stay in memory


class Files(Sequence[np.ndarray]):
    """Pictures, C×H×W in 0..1, read when they are asked for; their shorter sides are made `side`
    pixels where they are longer."""

    def __init__(self, names: Sequence[str], channels: int, side: int) -> None:
        self.names, self.channels, self.side = names, channels, side
        self._read = functools.lru_cache(_KEPT)(self._file)

    def _file(self, i: int) -> np.ndarray:
        from pyconv.recipes._pictures import resized

        x = open_picture(self.names[i], self.channels)
        factor = self.side / min(x.shape[2:])
        if factor < 1:
            height, width = (max(round(n * factor), self.side) for n in x.shape[2:])
            x = resized(x, (height, width))
        return np.round(x[0].clip(0, 1) * 255).astype(np.uint8)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, i: Any) -> Any:
        return self._read(i) / np.float32(255)


def photographs(arguments: argparse.Namespace) -> list[str]:
    """What is learned from: a folder's pictures, or those that come with pyconv."""
    return pictures_in(arguments.train) if arguments.train else list(_PHOTOGRAPHS)


def train(
    arguments: argparse.Namespace,
    names: Sequence[str],
    painting: np.ndarray,
    shown: np.ndarray,
    steps: int,
    **aims: Any,
) -> None:
    """Train on the pictures of these names, save the network, paint the picture that is shown."""
    import pyconv
    from pyconv import models
    from pyconv.recipes import style

    channels = painting.shape[1]
    pyconv.manual_seed(arguments.seed)
    network = models.transformer_net(in_channels=channels, width=arguments.width, blocks=3)
    checkpoint = (
        arguments.checkpoint or f"{os.path.splitext(arguments.output)[0]}.checkpoint.safetensors"
    )
    if not arguments.quiet:
        print(
            f"{len(names)} pictures; {steps} steps of {arguments.batch_size} squares of "
            f"{arguments.crop}×{arguments.crop}; the bar tells the time that remains",
            flush=True,
        )
    try:
        net = style.train(
            Files(names, channels, 2 * arguments.crop), painting, network=network, **aims,
            size=arguments.crop, batch_size=arguments.batch_size,
            steps=steps, rate=arguments.rate or 1e-3, checkpoint=checkpoint,
            resume=arguments.resume, seed=arguments.seed, progress=not arguments.quiet,
        )  # fmt: skip
    except KeyboardInterrupt:
        way = f"; go on with --resume {checkpoint}" if os.path.exists(checkpoint) else ""
        raise KeyboardInterrupt(way) from None
    pyconv.save(net, arguments.output)
    if arguments.checkpoint is None and os.path.exists(checkpoint):
        os.remove(checkpoint)
    print(f"network saved in {arguments.output}")
    result = style.apply(net, shown)
    result.history = net.metadata["history"]
    finish(result, arguments, output=arguments.output, pictures=len(names))
