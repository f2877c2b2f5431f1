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
    failed = 0
    for name in names or [name for name in (*experiments, *recipes) if name not in LEFT_OUT]:
        if name in recipes:
            file, arguments = recipes[name]
            command = [sys.executable, "-m", "pyconv", *shlex.split(arguments), "--quiet"]
            with tempfile.TemporaryDirectory() as folder:  # for the networks that are trained
                said = run(name, [*command, "--out", file], folder)
                if said is None:
                    failed += 1
                    continue
                shutil.copy(Path(folder, file), PICTURES / file)
            said = re.sub(r", \d[\d.]* s\b", "", said)  # how long it took
            said = said.replace(f"{file} written\n", "").replace(f", picture in {file}", "")
            (PICTURES / f"{name}.txt").write_text(said, encoding="utf-8")
            continue
        script = ROOT / "examples" / f"{name}.py"
        command = [sys.executable, str(script)]
        if ".plot" in script.read_text(encoding="utf-8"):
            command += ["--plot", f"docs/pictures/{name}.{kinds.get(name, 'png')}"]
        said = run(name, command, ROOT)
        if said is None:
            failed += 1
        else:
            (PICTURES / f"{name}.txt").write_text(said, encoding="utf-8")
    return failed


def run(name: str, command: list[str], folder: str | Path) -> str | None:
    """What a command prints, or None if it fails."""
    print(name, flush=True)
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"{name} failed", file=sys.stderr)
    return None if done.returncode else done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
