"""Run the experiments and the recipes in full: what the site shows.

python docs/make_pictures.py [NAME ...]

For each of examples/, or those that are named: docs/pictures/NAME.png (.jpg, if its page says it)
is what it draws and docs/pictures/NAME.txt what it prints. For each picture of docs/recipes.md the
command under it is run, and what it prints kept; that needs the extra "models".
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
FIGURE = re.compile(r"```\{figure\} pictures/(\S+)\n.*?`pyconv (.*?)`", re.S)
DRAWN = re.compile(r"--plot docs/pictures/(\w+)\.(\w+)`")
LEFT_OUT = ("first_script",)  # which shows nothing but how to begin


def main(names: list[str]) -> int:
    """The number of those that failed."""
    experiments = sorted(path.stem for path in (ROOT / "examples").glob("[!_]*.py"))
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    recipes = {Path(file).stem: (file, command) for file, command in FIGURE.findall(page)}
    pages = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "docs").rglob("*.md"))
    kinds = dict(DRAWN.findall(pages))
    unknown = [name for name in names if name not in (*experiments, *recipes)]
    if unknown:
        sys.exit(f"no such experiment or recipe: {', '.join(unknown)}")
    failed = 0
    for name in names or [name for name in (*experiments, *recipes) if name not in LEFT_OUT]:
        print(name, flush=True)
        if name in recipes:
            said = recipe(*recipes[name])
        else:
            said = experiment(name, kinds.get(name, "png"))
        if said is None:
            failed += 1
            print(f"{name} failed", file=sys.stderr)
        else:
            (PICTURES / f"{name}.txt").write_text(said, encoding="utf-8")
    return failed


def recipe(file: str, arguments: str) -> str | None:
    """Run the command of a recipe; what it prints, but where that was written and how long it
    took."""
    command = [sys.executable, "-m", "pyconv", *shlex.split(arguments), "--quiet", "--out", file]
    with tempfile.TemporaryDirectory() as folder:  # for the networks that are trained
        said = run(command, folder)
        if said is None:
            return None
        shutil.copy(Path(folder, file), PICTURES / file)
    said = re.sub(r", \d[\d.]* s\b", "", said)
    return said.replace(f"{file} written\n", "").replace(f", picture in {file}", "")


def experiment(name: str, kind: str) -> str | None:
    """Run a script of examples/, which draws if it can; what it prints."""
    script = ROOT / "examples" / f"{name}.py"
    command = [sys.executable, str(script)]
    if ".plot" in script.read_text(encoding="utf-8"):
        command += ["--plot", f"docs/pictures/{name}.{kind}"]
    return run(command, ROOT)


def run(command: list[str], folder: str | Path) -> str | None:
    """What a command prints, or None if it fails."""
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    return None if done.returncode else done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
