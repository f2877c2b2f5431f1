"""Batches of a data set."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from pyconv.data.dataset import Split
from pyconv.data.transforms import Transform
from pyconv.kernels import _checks as check

Batch = tuple[np.ndarray, np.ndarray]

_AHEAD = 2  # batches that each worker may be ahead of the reader
_ORDER, _TRANSFORM = 0, 1  # what a stream of random numbers is for


class DataLoader:
    """Goes through a data set in batches, as often as it is asked to.

    Every batch has its own stream of random numbers, which follows from the seed, the epoch and
    the number of the batch: the batches are the same, however many workers make them.

    Parameters
    ----------
    dataset : Split, or (x, y)
        Arrays with as many entries.
    batch_size : int or None
        1 is online, None takes all samples at once.
    shuffle : bool
        Another order in each epoch.
    seed : int
        Of the order and of the transform's random numbers.
    drop_last : bool
        Leave out the last batch where it is smaller.
    transform : callable, optional
        ``transform(x, generator)`` returns the batch to use; see `transforms`.
    workers : int
        Threads that prepare batches ahead, at most two each. NumPy lets go of Python's lock in
        most of what transforms do.

    Attributes
    ----------
    epoch : int
        How often the loader has been gone through (or begun); may be set, to go on from there.

    Raises
    ------
    TypeError, ValueError
        Wrong types or numbers out of range. What a transform raises reaches who iterates.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv.data import DataLoader
    >>> loader = DataLoader((np.arange(5.0), np.arange(5)), batch_size=2)
    >>> [y.tolist() for x, y in loader]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool = False,
        *,
        seed: int = 0,
        drop_last: bool = False,
        transform: Transform | None = None,
        workers: int = 0,
    ) -> None:
        name = "DataLoader"
        if isinstance(dataset, tuple) and len(dataset) == 2:
            dataset = Split(*dataset)
        if not isinstance(getattr(dataset, "x", None), np.ndarray) or not isinstance(
            getattr(dataset, "y", None), np.ndarray
        ):
            raise TypeError(
                f"{name}: dataset must have arrays x and y, or be a pair of arrays, "
                f"got {check.kind(dataset)}"
            )
        self.dataset = dataset
        if batch_size is None:
            batch_size = max(len(dataset), 1)
        self.batch_size = check.integer(name, "batch_size", batch_size, 1)
        self.shuffle = check.boolean(name, "shuffle", shuffle)
        self.seed = check.integer(name, "seed", seed, 0)
        if self.seed >= 2**64:
            raise ValueError(f"{name}: seed must be below 2^64, got {seed}")
        self.drop_last = check.boolean(name, "drop_last", drop_last)
        if transform is not None and not callable(transform):
            raise TypeError(f"{name}: transform must be callable, got {check.kind(transform)}")
        self.transform = transform
        self.workers = check.integer(name, "workers", workers, 0)
        self.epoch = 0

    def __len__(self) -> int:
        """The number of batches."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = self._generator(_ORDER, epoch, 0).permutation(len(order))
        return self._ahead(order, epoch) if self.workers else self._one_by_one(order, epoch)

    def _one_by_one(self, order: np.ndarray, epoch: int) -> Iterator[Batch]:
        for i in range(len(self)):
            yield self._batch(order, epoch, i)

    def _ahead(self, order: np.ndarray, epoch: int) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(self.workers, "pyconv-loader")
        waiting: deque[Future[Batch]] = deque()
        try:
            for i in range(len(self)):
                waiting.append(pool.submit(self._batch, order, epoch, i))
                if len(waiting) >= _AHEAD * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # at the end, after an error, or when the reader stops early
            pool.shutdown(wait=True, cancel_futures=True)

    def _batch(self, order: np.ndarray, epoch: int, i: int) -> Batch:
        chosen = order[i * self.batch_size : (i + 1) * self.batch_size]
        x, y = self.dataset.x[chosen], self.dataset.y[chosen]
        if self.transform is not None:
            x = self.transform(x, self._generator(_TRANSFORM, epoch, i))
        return x, y

    def _generator(self, purpose: int, epoch: int, i: int) -> np.random.Generator:
        # Philox: a key and a counter of 256 bits, the lower half of which a stream has to itself.
        key = self.seed | purpose << 64
        return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, i, epoch]))

    def state_dict(self) -> dict[str, Any]:
        """What has to be known to go on in another process: the seed and the epoch."""
        return {"seed": self.seed, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.seed = int(state_dict["seed"])
        self.epoch = int(state_dict["epoch"])

    def __repr__(self) -> str:
        return (
            f"DataLoader({len(self.dataset)} samples, batch_size={self.batch_size}, "
            f"shuffle={self.shuffle}, seed={self.seed})"
        )
