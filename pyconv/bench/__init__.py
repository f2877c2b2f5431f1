"""The measuring tool: problems as strings, suites of them as text files, clocks, tables."""

from pyconv.bench.problems import Convolution, parse, suite, suites
from pyconv.bench.timing import compare, peak_flops

__all__ = ["Convolution", "compare", "parse", "peak_flops", "suite", "suites"]
