"""Clocks: competitors in turns, probes that notice a disturbed machine, medians of quiet rounds."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

FULL_RATE = 0.94  # of undisturbed bursts: below it, something else ran
_LONG = 0.02  # seconds, against which filling the caches is nothing
_MAX_FLUSH = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds a call, over the rounds that count.

    Attributes
    ----------
    median, low, high : float
        The median and the quartiles. Without a quiet round `median` is the lower quartile of all,
        an upper bound.
    rounds : int
        That count.
    quiet : bool
        Whether enough rounds were.
    """

    median: float
    low: float
    high: float
    rounds: int
    quiet: bool

    @property
    def spread(self) -> float:
        """The distance of the quartiles, relative to the median."""
        return (self.high - self.low) / self.median


class Burst:
    """A tenth of a millisecond of matrix products, from the caches: it probes the machine.

    It is a small direct convolution whose weight is packed, the closest to the FMA units' rate that
    a kernel comes. Full rate is that of the fastest tenth of the last bursts: not of the very best,
    since a clock that is high for a moment would make all that follows look slow.

    Examples
    --------
    >>> from pyconv.bench import Burst
    >>> burst = Burst()
    >>> burst() > 0 and burst.full > 0
    True
    """

    def __init__(self) -> None:
        self._call, _ = _direct("conv 64x14x14 64x3x3 p1")
        self._last: collections.deque[float] = collections.deque(maxlen=1000)
        self.full = 0.0
        for _ in range(50):
            self()

    def __call__(self) -> float:
        """Run it once, on one thread; the seconds that it took."""
        with _one_thread():
            self._call()  # brings the operands back into the caches
            start = time.perf_counter()
            self._call()
            seconds = time.perf_counter() - start
        self._last.append(seconds)
        self.full = sorted(self._last)[len(self._last) // 10]
        return seconds

    def at_full_rate(self, seconds: float) -> bool:
        """Whether a run of so many seconds was about as fast as undisturbed ones."""
        return seconds * FULL_RATE <= self.full


class Flush:
    """Drives the operands of a call out of the caches (of a large shared one, as far as 64 MiB go).

    Examples
    --------
    >>> from pyconv.bench import Flush
    >>> Flush(2**20)()
    """

    def __init__(self, size: int = _MAX_FLUSH) -> None:
        self._memory = np.zeros(size // 4, np.int32)

    def __call__(self) -> None:
        """Write all of it once."""
        self._memory += 1


def seconds_of(
    call: Callable[[], object], repeats: int, flush: Callable[[], object] | None = None
) -> float:
    """The mean time of a call that is repeated: one round.

    Parameters
    ----------
    call : callable
    repeats : int
    flush : callable, optional
        Run before each repeat, outside the time; without one the call is warmed up first, unless it
        is so long that this would not show.

    Returns
    -------
    float

    Examples
    --------
    >>> from pyconv.bench import seconds_of
    >>> seconds_of(lambda: None, 10) < 1
    True
    """
    if flush is None:
        start = time.perf_counter()
        call()
        first = time.perf_counter() - start
        if repeats == 1 and first >= _LONG:
            return first
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        return (time.perf_counter() - start) / repeats
    total = 0.0
    for _ in range(repeats):
        flush()
        start = time.perf_counter()
        call()
        total += time.perf_counter() - start
    return total / repeats


def measure(
    competitors: Mapping[str, Callable[[int], float]],
    seconds: float = 0.2,
    burst: Burst | None = None,
    *,
    rounds: int = 7,
    least: int = 3,
    patience: float = 2.0,
    round_done: Callable[[], object] | None = None,
) -> dict[str, Timing]:
    """Time competitors in turns, until each has its quiet rounds.

    A round of one competitor repeats its call for about ``seconds / rounds``; then it is the next
    one's turn, so that all see the same disturbances. A round counts if the bursts before and after
    it ran at full rate.

    Parameters
    ----------
    competitors : mapping of str to callable
        Each runs a round of so many repeats and returns the seconds of one; see `seconds_of`.
    seconds : float
        For each competitor.
    burst : Burst, optional
        Without one all rounds count.
    rounds : int
        That are wanted; calls that are longer than a round's time get down to `least`.
    least : int
        Fewer quiet rounds are none.
    patience : float
        How many times the rounds are repeated at most, to find quiet ones.
    round_done : callable, optional
        Called after each round, for a progress bar.

    Returns
    -------
    dict of str to Timing

    Examples
    --------
    >>> from pyconv.bench import measure, seconds_of
    >>> sums = {"short": range(99), "long": range(999)}
    >>> runs = {k: lambda n, v=v: seconds_of(lambda: sum(v), n) for k, v in sums.items()}
    >>> found = measure(runs, 0.01)
    >>> found["short"].median < found["long"].median
    True
    """
    repeats, wanted = {}, {}
    for name, run in competitors.items():
        start = time.perf_counter()
        once = run(1)
        # What a round costs counts flushing, too; the first call, which warms up, does not.
        once = max(once, (time.perf_counter() - start) / 2, 1e-7)
        repeats[name] = max(1, round(seconds / rounds / once))
        wanted[name] = max(least, min(rounds, round(seconds / once)))
    every: dict[str, list[float]] = {name: [] for name in competitors}
    quiet: dict[str, list[float]] = {name: [] for name in competitors}
    before = burst() if burst else 0.0
    for _ in range(max(least, round(rounds * patience))):
        left = [name for name in competitors if len(quiet[name]) < wanted[name]]
        left = [name for name in left if len(every[name]) < wanted[name] * patience]
        if not left:
            break
        for name in left:
            spent = competitors[name](repeats[name])
            after = burst() if burst else 0.0
            every[name].append(spent)
            if burst is None or (burst.at_full_rate(before) and burst.at_full_rate(after)):
                quiet[name].append(spent)
            before = after
            if round_done:
                round_done()
    return {name: _timing(quiet[name], every[name], least) for name in competitors}


def _timing(quiet: list[float], every: list[float], least: int) -> Timing:
    enough = len(quiet) >= least
    values = sorted(quiet if enough else every)
    low, high = values[len(values) // 4], values[(3 * len(values) - 1) // 4]
    median = statistics.median(values) if enough else low
    return Timing(median, low, high, len(quiet), enough)


def compare(
    competitors: Mapping[str, Callable[[], object]], seconds: float = 0.2, rounds: int = 7
) -> dict[str, float]:
    """The median time of each competitor, taken in turns in one process.

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
    runs = {
        name: (lambda repeats, call=call: seconds_of(call, repeats))
        for name, call in competitors.items()
    }
    return {name: t.median for name, t in measure(runs, seconds, rounds=rounds).items()}


def peak_flops(seconds: float = 0.3) -> float:
    """What one thread reaches where the operands lie in the caches, flops a second.

    The best of many short runs of two direct convolutions with packed weights, which come within a
    few percent of the FMA units' rate: a practical peak, of which shared machines often fall short.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    float

    Examples
    --------
    >>> from pyconv.bench import peak_flops
    >>> peak_flops(0.01) > 1e6
    True
    """
    probes = [_direct(text) for text in ("conv 128x14x14 128x3x3 p1", "conv 64x16x14 64x5x5 p2")]
    best, end = 0.0, time.perf_counter() + seconds
    with _one_thread():
        while True:
            for call, flops in probes:
                start = time.perf_counter()
                call()
                best = max(best, flops / (time.perf_counter() - start))
            if time.perf_counter() > end:
                return best


def _direct(text: str) -> tuple[Callable[[], object], float]:
    """A call of a direct convolution, and its flops."""
    from pyconv.bench.calls import operands, pack, run
    from pyconv.bench.problems import parse

    problem = parse(text)
    x, weight = operands(problem, "forward")
    packed = pack(problem, weight, "direct")
    out = run(problem, "forward", x, packed, "direct")
    return (lambda: run(problem, "forward", x, packed, "direct", out)), problem.flops()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    from pyconv import get_num_threads, set_num_threads

    threads = get_num_threads()
    set_num_threads(1)
    try:
        yield
    finally:
        set_num_threads(threads)


def copy_bandwidth(size: int, seconds: float = 0.1) -> float:
    """Bytes read and written a second, by one thread that copies `size` bytes.

    Parameters
    ----------
    size : int
        What is read and written together.
    seconds : float

    Returns
    -------
    float

    Examples
    --------
    >>> from pyconv.bench import copy_bandwidth
    >>> copy_bandwidth(2**16, 0.01) > 1e6
    True
    """
    source = np.ones(max(1, size // 8), np.float32)
    target = np.empty_like(source)
    repeats = max(1, 2**20 // size)
    best, end = 0.0, time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        for _ in range(repeats):
            np.copyto(target, source)
        best = max(best, 2.0 * source.nbytes * repeats / (time.perf_counter() - start))
        if time.perf_counter() > end:
            return best
