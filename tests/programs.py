"""Fresh interpreters, for what shows only there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyconv

_WHERE = str(Path(pyconv.__file__).parents[1])

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python` with these arguments, on the pyconv that is tested.

    It runs in a folder of its own: that of the sources would hide an installed pyconv.
    """
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": _WHERE, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
