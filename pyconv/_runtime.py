"""What runs: threads, instruction set, float32 precision, memory."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import threading
from collections.abc import Iterator
from typing import Any

import pyconv._cpu as _cpu

_PRECISIONS = ("strict", "float32", "tf32")
_default_precision = "float32"
_thread = threading.local()


def set_num_threads(n: int) -> None:
    """Set how many threads the kernels use. Results don't depend on it.

    Parameters
    ----------
    n : int
        1 to 1024. The default is ``PYCONV_NUM_THREADS``, or the cores this process may use.

    Examples
    --------
    >>> import pyconv
    >>> pyconv.set_num_threads(1)
    >>> pyconv.get_num_threads()
    1
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"set_num_threads: n must be an int, got {type(n).__name__}")
    if not 1 <= n <= 1024:
        raise ValueError(f"set_num_threads: n must be from 1 to 1024, got {n}")
    _cpu.set_thread_count(n)


def get_num_threads() -> int:
    """The number of threads that the kernels use."""
    return int(_cpu.thread_count())


def set_float32_precision(mode: str) -> None:
    """Choose how float32 products are formed, for all threads.

    Parameters
    ----------
    mode : {"float32", "strict", "tf32"}
        ``"strict"`` keeps to direct kernels; ``"float32"``, the default, also lets algorithms
        run whose stated error is larger; ``"tf32"`` allows TensorFloat-32 tensor cores on CUDA
        and is ``"float32"`` on the CPU.
    """
    global _default_precision
    _default_precision = _checked_precision("set_float32_precision", mode)
    _cpu.set_default_strict(mode == "strict")


def get_float32_precision() -> str:
    """The mode that holds for the calling thread; see `set_float32_precision`."""
    return getattr(_thread, "precision", None) or _default_precision


@contextlib.contextmanager
def float32_precision(mode: str) -> Iterator[None]:
    """`set_float32_precision` for the calling thread, until the block ends.

    Examples
    --------
    >>> import pyconv
    >>> with pyconv.float32_precision("strict"):
    ...     print(pyconv.get_float32_precision())
    strict
    """
    mode = _checked_precision("float32_precision", mode)
    before = getattr(_thread, "precision", None)
    _set_thread_precision(mode)
    try:
        yield
    finally:
        _set_thread_precision(before)


def _set_thread_precision(mode: str | None) -> None:
    _thread.precision = mode
    _cpu.set_thread_strict(None if mode is None else mode == "strict")


def _checked_precision(function: str, mode: str) -> str:
    if not isinstance(mode, str):
        raise TypeError(f"{function}: mode must be a str, got {type(mode).__name__}")
    if mode not in _PRECISIONS:
        raise ValueError(f"{function}: mode must be one of {', '.join(_PRECISIONS)}, got {mode!r}")
    return mode


@contextlib.contextmanager
def isa(name: str) -> Iterator[None]:
    """Run the kernels of another instruction set on the calling thread, for tests.

    Parameters
    ----------
    name : str
        One of ``pyconv.info()["isas"]``.
    """
    if not isinstance(name, str):
        raise TypeError(f"isa: name must be a str, got {type(name).__name__}")
    before = getattr(_thread, "isa", None)
    try:
        _cpu.set_thread_isa(name)
    except ValueError as error:
        raise ValueError(f"isa: {error}") from None
    _thread.isa = name
    try:
        yield
    finally:
        _thread.isa = before
        _cpu.set_thread_isa(before)


def empty_cache() -> None:
    """Give the memory that pyconv keeps for later results back to the system."""
    _cpu.pool_trim()


def info() -> dict[str, Any]:
    """What runs: version, processor, instruction set, threads, memory held.

    Returns
    -------
    dict
        ``version``, ``isa``, ``isas``, ``threads``, ``cores``, ``processor``, ``compiler``,
        ``cuda`` (what the kernels for CuPy's arrays were built for, or why there are none),
        ``float32_precision``, ``numpy``, ``python``, ``memory`` (bytes: live, cached, high_water).

    Examples
    --------
    >>> import pyconv
    >>> pyconv.info()["isa"] in pyconv.info()["isas"]
    True
    """
    import numpy as np

    from pyconv._version import __version__

    return {
        "version": __version__,
        "isa": _cpu.current_isa(),
        "isas": _cpu.available_isas(),
        "threads": get_num_threads(),
        "cores": _cpu.available_cores(),
        "processor": _processor(),
        "compiler": _cpu.compiler,
        "cuda": _cuda_build(),
        "float32_precision": get_float32_precision(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "memory": _cpu.pool_statistics(),
    }


def _cuda_build() -> str:
    try:
        extension: Any = importlib.import_module("pyconv._cuda")
    except ImportError as error:
        ours = (error.name or "").partition(".")[0] == "pyconv"
        return "not built" if ours else f"can't be loaded: {error}"
    return str(extension.architectures)


def _processor() -> str:
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
