"""pyconv against its peers: ``python -m bench layers | train | memory | gemm | cuda``."""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent

# Run from a clone, Python finds the sources of pyconv first. Where they weren't built in place, the
# installed package is meant.
if not any((_ROOT / "pyconv").glob("_cpu*.so")):
    _others = [p for p in sys.path if Path(p or ".").resolve() != _ROOT]
    sys.path[:] = [*_others, str(_ROOT)]
