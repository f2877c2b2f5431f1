"""The measuring tool: problems as strings, suites of them as text files, clocks, errors, tables.

``pyconv bench`` is its command line.
"""

from pyconv.bench.accuracy import Error, Judge, exact
from pyconv.bench.calls import algorithms, explain, operands, pack, run
from pyconv.bench.problems import DIRECTIONS, Convolution, groups, parse, suite, suites
from pyconv.bench.results import (
    Result,
    as_json,
    bench,
    markdown,
    significant,
    write_whole,
)
from pyconv.bench.roofline import roofline
from pyconv.bench.timing import (
    Burst,
    Flush,
    Timing,
    compare,
    copy_bandwidth,
    measure,
    peak_flops,
    seconds_of,
)

__all__ = [
    "DIRECTIONS",
    "Burst",
    "Convolution",
    "Error",
    "Flush",
    "Judge",
    "Result",
    "Timing",
    "algorithms",
    "as_json",
    "bench",
    "compare",
    "copy_bandwidth",
    "exact",
    "explain",
    "groups",
    "markdown",
    "measure",
    "operands",
    "pack",
    "parse",
    "peak_flops",
    "roofline",
    "run",
    "seconds_of",
    "significant",
    "suite",
    "suites",
    "write_whole",
]
