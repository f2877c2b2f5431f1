"""Resident memory of this process, from /proc."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")


def peak_over(work: Callable[[], object]) -> int:
    """The most bytes that were resident during `work`, less those before it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before
