"""Convolutional networks on NumPy arrays, with hand-written kernels."""

from pyconv._runtime import (
    empty_cache,
    float32_precision,
    get_float32_precision,
    get_num_threads,
    info,
    isa,
    set_float32_precision,
    set_num_threads,
)
from pyconv._version import __version__

__all__ = [
    "__version__",
    "empty_cache",
    "float32_precision",
    "get_float32_precision",
    "get_num_threads",
    "info",
    "isa",
    "set_float32_precision",
    "set_num_threads",
]
