"""The README: its code runs, its commands work, its links lead somewhere."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyconv
from pyconv import cli, kernels

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.M | re.S)


def blocks(language: str) -> list[str]:
    return [code for name, code in BLOCKS if name == language]


FIRST_SCRIPT, *PYTHON = blocks("python")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files that the code writes go elsewhere; the number of threads is as before."""
    monkeypatch.chdir(tmp_path)
    threads = pyconv.get_num_threads()
    yield
    pyconv.set_num_threads(threads)


def printed_by(code: str) -> list[str]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    return out.getvalue().splitlines()


# -- Python ---------------------------------------------------------------------------------------


def test_first_script_is_the_example() -> None:
    """Which test_examples.py runs."""
    example = (ROOT / "examples" / "first_script.py").read_text(encoding="utf-8")
    assert example.endswith(f'"""\n\n{FIRST_SCRIPT}')


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_runs_and_prints_what_it_says(code: str) -> None:
    modules = re.findall(r"^(?:import|from) (\w+)", code, re.M)
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}")
    printed = printed_by(code)
    promised = re.findall(r"^print\(.*\)  # (.*)$", code, re.M)
    if promised:
        assert printed == promised


def test_explain_prints_what_the_text_shows() -> None:
    code = next(code for code in PYTHON if "kernels.explain" in code)
    shown = next(text for text in blocks("text") if "few_channels: refused" in text)
    isa = pyconv.info()["isa"]
    assert printed_by(code) == re.sub(r"on \w+:", f"on {isa}:", shown).splitlines()


def test_error_is_the_one_that_is_shown() -> None:
    import numpy as np

    with pytest.raises(ValueError) as error:
        x, weight = np.zeros((1, 64, 8, 8), "f4"), np.zeros((64, 3, 3, 3), "f4")
        kernels.conv2d(x, weight)
    assert f"{error.value}\n" in blocks("text")


# -- the command line -----------------------------------------------------------------------------


def parsed(command: str) -> list[str]:
    """The arguments of a pyconv command, which the command line accepts."""
    program, *argv = shlex.split(command)
    assert program == "pyconv"
    cli._parser(argv).parse_args(argv)
    return argv


def skeleton(text: str) -> list[str]:
    """Without numbers and the width of columns, which depend on the run and the machine."""
    lines = re.sub(r"-?\d[\d.,]*", "#", text).splitlines()
    return [" ".join(line.split()) for line in lines]


def test_console_shows_what_the_commands_print(capsys: pytest.CaptureFixture[str]) -> None:
    """The blocks are one session: what is trained first is evaluated then."""
    seen = []
    printed_by(next(code for code in PYTHON if "picture.png" in code))
    for block in blocks("console"):
        command, shown = block.removeprefix("$ ").split("\n", 1)
        argv = parsed(command)
        seen.append(argv[0])
        # Less to do: an epoch on a tenth of the pictures prints lines of the same form.
        quick = ["--epochs", "1", "--validation", "0.9", "--quiet"] if argv[0] == "train" else []
        assert cli.main([*argv, *quick]) == 0
        printed = capsys.readouterr().out
        if argv[0] == "summary":
            assert printed == shown
        elif argv[0] in ("info", "predict"):
            keys = [[line.split(":")[0] for line in text.splitlines()] for text in (printed, shown)]
            assert keys[0] == keys[1]
        else:
            assert skeleton(printed) == skeleton(shown)
    assert seen == ["train", "evaluate", "predict", "summary", "info"]
    assert {"model.png", "model.safetensors", "picture.png"} <= set(os.listdir())


def test_shell_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for command in "".join(blocks("sh")).splitlines():
        program, *arguments = shlex.split(command)
        if program == "make":
            assert re.search(rf"^{arguments[0]}:", makefile, re.M)
        elif program == "pip":
            assert arguments[0] == "install"
            extra = re.fullmatch(r"\.(?:\[(\w+)\])?", arguments[1])
            assert extra and (extra[1] is None or re.search(rf"^{extra[1]} = ", project, re.M))
        elif program == "python":  # test_examples.py runs them with other settings
            source = (ROOT / arguments[0]).read_text(encoding="utf-8")
            for flag in (a for a in arguments if a.startswith("--") and a != "--plot"):
                assert f'"{flag}"' in source
        else:
            parsed(command)


# -- the rest -------------------------------------------------------------------------------------


def test_links_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", TEXT, flags=re.M | re.S), re.M)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    targets = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(targets) > 20
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in anchors
        elif "://" not in target:
            assert (ROOT / target).exists(), target


def test_all_examples_are_listed() -> None:
    for path in (ROOT / "examples").glob("[!_]*.py"):
        assert f"(examples/{path.name})" in TEXT


def test_all_models_and_variables_that_are_named_exist() -> None:
    from pyconv import models

    for name in ("lenet5", "cifar_resnet", "mobilenet_v2", "squeezenet1_1", "unet", "autoencoder"):
        assert f"`{name}`" in TEXT and name in models.names()
    sources = "".join(path.read_text() for path in (ROOT / "csrc" / "core").glob("*.cpp"))
    for name in set(re.findall(r"(?<!define\.)PYCONV_\w+", TEXT)):
        assert f'"{name}"' in sources
