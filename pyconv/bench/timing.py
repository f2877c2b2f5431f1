"""Clocks: competitors in turns, medians of short rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np


def compare(
    competitors: Mapping[str, Callable[[], object]], seconds: float = 0.2, rounds: int = 7
) -> dict[str, float]:
    """The median time of each competitor, taken in turns in one process.

    A round of one competitor repeats its call for about ``seconds / rounds``; then it is the next
    one's turn, so that all see the same disturbances.

    Parameters
    ----------
    competitors : mapping of str to callable
    seconds : float
        For each competitor.
    rounds : int

    Returns
    -------
    dict of str to float
        Seconds a call.

    Examples
    --------
    >>> from pyconv.bench import compare
    >>> sorted(compare({"a": lambda: sum(range(99)), "b": lambda: None}, 0.01))
    ['a', 'b']
    """
    repeats = {}
    for name, call in competitors.items():
        call()
        start = time.perf_counter()
        call()
        once = max(time.perf_counter() - start, 1e-7)
        repeats[name] = max(1, round(seconds / rounds / once))
    times: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(rounds):
        for name, call in competitors.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return {name: statistics.median(values) for name, values in times.items()}


def peak_flops(seconds: float = 0.3) -> float:
    """What one thread reaches in a matrix product whose operands lie in the caches, flops a second.

    The best of many short bursts: a practical peak, which shared machines often fall short of.
    """
    from pyconv import get_num_threads, kernels, set_num_threads

    size = 256
    rng = np.random.default_rng(0)
    a = rng.normal(size=(size, size)).astype(np.float32)
    out = np.empty_like(a)
    threads = get_num_threads()
    set_num_threads(1)
    try:
        best, end = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            kernels.gemm(a, a, out=out)
            best = min(best, time.perf_counter() - start)
    finally:
        set_num_threads(threads)
    return 2.0 * size**3 / best
