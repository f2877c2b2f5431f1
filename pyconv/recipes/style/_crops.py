"""Squares cut out of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pyconv.recipes._pictures import one_picture, resized


class Crops:
    """Batches of squares of `size` pixels, as many as `steps`, in rounds of `every`.

    Where a square lies follows from the seed and the number of the batch alone. Half of them are
    mirrored. Without `targets` a square of any size is cut out and scaled, so that objects appear
    near and far; with them the same square is cut out of both, as it is.

    Attributes
    ----------
    step : int
        Batches that have been given out.
    """

    def __init__(
        self, function: str, pictures: Sequence[Any], targets: Sequence[Any] | None, *,
        size: int, batch_size: int, steps: int, every: int, seed: int,
    ) -> None:  # fmt: skip
        self.function, self.pictures, self.targets = function, pictures, targets
        self.size, self.batch_size = size, batch_size
        self.steps, self.every, self.seed = steps, every, seed
        self.step = 0

    def __len__(self) -> int:
        """Batches in the round that comes next."""
        return min(self.every, self.steps - self.step)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _ in range(len(self)):
            rng = np.random.Generator(np.random.Philox(key=self.seed, counter=[0, 0, 0, self.step]))
            pairs = [self._pair(rng) for _ in range(self.batch_size)]
            self.step += 1
            x, y = (_stacked(list(part)) for part in zip(*pairs, strict=True))
            yield x, y

    def _pair(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        i = int(rng.integers(len(self.pictures)))
        x = one_picture(self.function, f"pictures[{i}]", self.pictures[i])[0]
        y = x
        short = min(x.shape[1:])
        side = self.size
        if self.targets is None:
            low, high = np.log([min(self.size, short), short])
            side = round(float(np.exp(rng.uniform(low, high))))
        else:
            y = one_picture(self.function, f"content[{i}]", self.targets[i])[0]
            if y.shape != x.shape or short < self.size:
                raise ValueError(
                    f"{self.function}: pictures[{i}] and content[{i}] must be of one size, at "
                    f"least {self.size}×{self.size}, got {x.shape[1:]} and {y.shape[1:]}"
                )
        top, left = (int(rng.integers(n - side + 1)) for n in x.shape[1:])
        turned = bool(rng.integers(2))
        found = []
        for picture in (x,) if self.targets is None else (x, y):
            square = picture[None, :, top : top + side, left : left + side]
            square = resized(square, (self.size, self.size), "bilinear")[0]
            found.append(square[:, :, ::-1] if turned else square)
        return found[0], found[-1]

    def state_dict(self) -> dict[str, Any]:
        """What has to be known to go on in another process."""
        return {"seed": self.seed, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.seed, self.step = int(state_dict["seed"]), int(state_dict["step"])


def _stacked(pictures: list[np.ndarray]) -> np.ndarray:
    """N×C×H×W, channels-last in memory."""
    return np.stack([p.transpose(1, 2, 0) for p in pictures]).transpose(0, 3, 1, 2)
