"""Fail where a wheel of the installed package would have more bytes than allowed, without CUDA.

python .ci/wheel_size.py BYTES
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import pyconv


def main(allowed: int) -> int:
    """0 if it is small enough."""
    root = Path(pyconv.__file__).parent
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in sorted(root.rglob("*")):
            built = path.name.startswith("_cuda") or path.suffix == ".pyc"
            if path.is_file() and not built:
                wheel.write(path, path.relative_to(root.parent))
    size = len(packed.getvalue())
    print(f"the wheel has {size} bytes, {allowed} are allowed")
    return int(size > allowed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
