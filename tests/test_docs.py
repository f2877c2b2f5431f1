"""The pages of docs/: their code runs and prints what it says, their pictures are there."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from pyconv import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
NAMES = [str(page.relative_to(ROOT / "docs")) for page in PAGES]


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_runs_and_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for code in blocks(page, "python"):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(code, page.name, "exec"), {"__name__": "__main__"})
        promised = re.findall(r"^print\(.*\)  # (.*)$", code, re.M)
        assert out.getvalue().splitlines() == promised


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_are_accepted_and_pictures_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"^```\{(?:figure|image)\} (\S+)", text, re.M):
        assert (page.parent / name).is_file(), name
    for command in re.findall(r"`(pyconv [^`]*|python examples/[^`]*)`", text):
        program, first, *rest = shlex.split(command)
        if program == "pyconv" and first.startswith("-"):
            assert first == "--help"
        elif program == "pyconv":
            cli._parser([first, *rest]).parse_args([first, *rest])
        else:
            source = (ROOT / first).read_text(encoding="utf-8")
            for flag in (word for word in rest if word.startswith("--") and word != "--plot"):
                assert f'"{flag}"' in source, command
