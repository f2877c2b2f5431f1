"""Run the experiments and the recipes in full: what the site shows.

python docs/make_pictures.py [NAME ...]

For each of examples/, or those that are named: docs/pictures/NAME.png is what it draws and
docs/pictures/NAME.txt what it prints. For each picture of docs/recipes.md the command under it is
run; that needs the extra "models".
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
FIGURE = re.compile(r"```\{figure\} pictures/(\S+)\n.*?`pyconv (.*?)`", re.S)
LEFT_OUT = ("first_script",)  # which shows nothing but how to begin


def main(names: list[str]) -> int:
    """The number of those that failed."""
    experiments = sorted(path.stem for path in (ROOT / "examples").glob("[!_]*.py"))
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    recipes = {Path(file).stem: (file, command) for file, command in FIGURE.findall(page)}
    failed = 0
    for name in names or [name for name in (*experiments, *recipes) if name not in LEFT_OUT]:
        if name in recipes:
            file, arguments = recipes[name]
            command = [sys.executable, "-m", "pyconv", *shlex.split(arguments), "--quiet"]
            print(name, flush=True)
            out = str(PICTURES / file)
            with tempfile.TemporaryDirectory() as folder:  # for the networks that are trained
                failed += bool(subprocess.run([*command, "--out", out], cwd=folder).returncode)
            continue
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
            if "--plot" in command:
                shrink(PICTURES / f"{name}.png")
    return failed


def shrink(path: Path) -> None:
    """A drawing has few colours: with a palette of 256 its file is half as large or less."""
    from PIL import Image

    with Image.open(path) as file:
        drawing = file.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    drawing.save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
