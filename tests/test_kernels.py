"""What holds for every function of `pyconv.kernels`: a reference, a docstring, a test, one
signature; and the instruction sets agree where sums are exact."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import pyconv
from pyconv import kernels, reference

FAMILIES = (
    "activation",
    "convolution",
    "dense",
    "dropout",
    "loss",
    "normalization",
    "optimizer",
    "pooling",
    "resample",
)
# About how a kernel runs, not about what it computes.
WITHOUT_REFERENCE = {"pack_weight", "algorithms", "explain", "PackedWeight", "Explanation"}
FUNCTIONS = sorted(name for name in kernels.__all__ if inspect.isfunction(getattr(kernels, name)))


def modules() -> list[str]:
    names = ["pyconv"]
    for module in pkgutil.walk_packages(pyconv.__path__, "pyconv."):
        if not module.name.endswith((".__main__", "._cpu")):
            names.append(module.name)
    return names


def test_every_family_is_compiled_and_exported():
    for family in FAMILIES:
        module = importlib.import_module(f"pyconv.kernels.{family}")
        for name in module.__all__:
            assert getattr(kernels, name) is getattr(module, name)
            assert name in kernels.__all__
    compiled = set().union(
        *(importlib.import_module(f"pyconv.kernels.{family}").__all__ for family in FAMILIES)
    )
    assert compiled == set(kernels.__all__)


def test_the_reference_has_no_function_that_the_kernels_lack():
    assert set(reference.__all__) - set(kernels.__all__) == {
        "conv2d_matrix",
        "conv2d_matrix_backward",
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_kernel_has_a_reference_a_docstring_and_a_test(name):
    function = getattr(kernels, name)
    text = inspect.getdoc(function) or ""
    assert ">>>" in text, f"{name} has no example"
    if name not in WITHOUT_REFERENCE:
        assert name in reference.__all__, f"{name} has no reference"
    tests = Path(__file__).parent
    family = function.__module__.rsplit(".", 1)[1]
    source = (tests / f"test_{family}.py").read_text("utf-8")
    # Parametrised tests build names from parts: NAME_backward, NAME1d.
    stem = re.sub(r"(_backward)?(_input|_weight|_bias)?$", "", name)
    assert name in source or stem in source or stem.replace("1d", "") in source, name


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n in reference.__all__])
def test_a_kernel_takes_what_its_reference_takes(name):
    ours = inspect.signature(getattr(kernels, name)).parameters
    theirs = inspect.signature(getattr(reference, name)).parameters
    for key, parameter in theirs.items():
        assert key in ours, f"{name} lacks {key}"
        assert ours[key].kind == parameter.kind, f"{name}: {key}"
        assert ours[key].default == parameter.default, f"{name}: {key}"
    assert set(ours) - set(theirs) <= {"out"}, f"{name} takes more than its reference"
    positional = [k for k, p in theirs.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [k for k, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == positional


@pytest.mark.parametrize("name", modules())
def test_the_examples_of_the_docstrings_run(name):
    module = importlib.import_module(name)
    before = pyconv.get_num_threads()
    try:
        failures, _ = doctest.testmod(module, verbose=False)
    finally:
        pyconv.set_num_threads(before)
        pyconv.manual_seed(0)
    assert failures == 0
