"""Fixtures of all tests: instruction sets, threads, random numbers, hypothesis profiles."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# A fixture that holds for all examples of a test (isa, threads) is what is wanted here.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
settings.register_profile("dev", max_examples=25, **_COMMON)
settings.register_profile("ci", max_examples=50, derandomize=True, **_COMMON)
settings.register_profile("thorough", max_examples=1000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


FLOAT64 = (np.float64, "float64")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend", choices=("cpu", "cuda"), default="cpu",
        help="what pyconv.kernels computes with in the tests of families; see tests/backends.py",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "cpu(reason): about something that the CPU alone has; skipped with --backend cuda",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--backend") == "cpu":
        return
    for item in items:
        for mark in item.iter_markers("cpu"):
            item.add_marker(pytest.mark.skip(reason=mark.args[0]))
        callspec = getattr(item, "callspec", None)
        if callspec is not None and callspec.params.get("dtype") in FLOAT64:
            item.add_marker(pytest.mark.skip(reason="float64 runs on the CPU alone"))


def _isas(config: pytest.Config) -> list[str]:
    """The instruction sets to test; none where the compiled extension is missing."""
    if config.getoption("--backend") == "cuda":
        return ["cuda"]
    try:
        from pyconv import _cpu
    except ImportError:
        return []
    return list(_cpu.available_isas())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "isa" in metafunc.fixturenames:
        metafunc.parametrize("isa", _isas(metafunc.config), indirect=True)
    if "threads" in metafunc.fixturenames:
        on_cpu = metafunc.config.getoption("--backend") == "cpu"
        metafunc.parametrize("threads", [1, 2, 3, 7] if on_cpu else [1], indirect=True)


@pytest.fixture(autouse=True)
def _backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Computes on the device where --backend says so, in the types that it has."""
    if request.config.getoption("--backend") == "cuda":
        import backends

        backends.install(monkeypatch, request.module)


@pytest.fixture
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an instruction set, which the kernels use during the test."""
    import pyconv

    if request.param == "cuda":
        yield request.param
        return
    with pyconv.isa(request.param):
        yield request.param


@pytest.fixture
def words(request: pytest.FixtureRequest) -> Callable[[str, str], str]:
    """What a message of a function (a pattern in the CPU's words) says on this backend."""
    if request.config.getoption("--backend") == "cpu":
        return lambda function, message: message
    import backends

    return backends.words


@pytest.fixture
def thread_counts(request: pytest.FixtureRequest) -> tuple[int, ...]:
    """Numbers of threads that give the same bits. A device's are not set: the same call twice."""
    return (1, 2, 3, 7) if request.config.getoption("--backend") == "cpu" else (1, 1)


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """A number of threads, which the kernels use during the test."""
    import pyconv

    before = pyconv.get_num_threads()
    pyconv.set_num_threads(request.param)
    try:
        yield request.param
    finally:
        pyconv.set_num_threads(before)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that differ from test to test and are the same in every run."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script of examples/ whose name the test's begins with."""
    from programs import EXAMPLES

    monkeypatch.syspath_prepend(str(EXAMPLES))
    names = sorted((path.stem for path in EXAMPLES.glob("[!_]*.py")), key=len, reverse=True)
    name = next(n for n in names if request.node.name.startswith(f"test_{n}"))
    return importlib.import_module(name)


@pytest.fixture
def shown(
    example: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Callable[..., str]:
    """Runs the example with some options and returns what it prints; looks at its plot, too."""
    imread = pytest.importorskip("matplotlib.image", reason="needs matplotlib").imread
    import pyconv

    def run(options: str, plot: bool = True) -> str:
        path = tmp_path / "plot.png"
        more = ["--plot", str(path)] if plot else []
        monkeypatch.setattr(sys, "argv", ["example.py", *options.split(), *more])
        threads = pyconv.get_num_threads()
        example.main()
        pyconv.set_num_threads(threads)
        if plot:
            picture = imread(path)
            assert picture.shape[0] > 300 and picture.std() > 0.02
        return capsys.readouterr().out

    return run
