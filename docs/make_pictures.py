"""Run the experiments in full: what the site shows.

python docs/make_pictures.py [NAME ...]

For each of examples/, or those that are named: docs/pictures/NAME.png is what it draws and
docs/pictures/NAME.txt what it prints.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
LEFT_OUT = ("first_script",)  # which shows nothing but how to begin


def main(names: list[str]) -> int:
    """The number of experiments that failed."""
    found = sorted(path.stem for path in (ROOT / "examples").glob("[!_]*.py"))
    failed = 0
    for name in names or [name for name in found if name not in LEFT_OUT]:
        script = ROOT / "examples" / f"{name}.py"
        command = [sys.executable, str(script)]
        if "options.plot" in script.read_text(encoding="utf-8"):
            command += ["--plot", f"docs/pictures/{name}.png"]
        print(name, flush=True)
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            failed += 1
            print(f"{name} failed", file=sys.stderr)
        else:
            (PICTURES / f"{name}.txt").write_text(done.stdout, encoding="utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
