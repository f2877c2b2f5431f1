"""What holds for every function of `pyconv.kernels`: a reference, a docstring, a test, one
signature; and the instruction sets agree where sums are exact."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import numpy as np
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
# Modules whose examples need a package that pyconv does without.
NEEDS = {"pyconv.io.onnx_read": "onnx", "pyconv.io.onnx_write": "onnx"}
FUNCTIONS = sorted(name for name in kernels.__all__ if inspect.isfunction(getattr(kernels, name)))


def modules() -> list[str]:
    names = ["pyconv"]
    for module in pkgutil.walk_packages(pyconv.__path__, "pyconv."):
        if not module.name.endswith((".__main__", "._cpu", "._cuda")):
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
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"needs {NEEDS[name]}")
    module = importlib.import_module(name)
    before = pyconv.get_num_threads()
    try:
        failures, _ = doctest.testmod(module, verbose=False)
    finally:
        pyconv.set_num_threads(before)
        pyconv.manual_seed(0)
    assert failures == 0


def test_remembered_checks_refuse_what_equals_a_good_argument() -> None:
    """1, True and 1.0 are the same key of a dict."""
    x, w = np.zeros((1, 2, 4, 4), np.float32), np.zeros((2, 2, 1, 1), np.float32)
    good: tuple[Any, ...] = (1, (1, 1), np.int64(1), (np.int32(1), 1))
    bad: tuple[Any, ...] = (True, 1.0, (True, 1), (1, 1.0), (1, np.True_), [1, 1])
    for _ in range(2):
        for stride in good:
            assert kernels.conv2d(x, w, stride=stride).shape == (1, 2, 4, 4)
            assert kernels.conv2d_backward_input(x, w, x.shape, dilation=stride).shape == x.shape
            assert kernels.max_pool2d(x, stride, return_indices=False).shape == x.shape
        for stride in bad:
            with pytest.raises(TypeError, match="stride must be an int"):
                kernels.conv2d(x, w, stride=stride)
            with pytest.raises(TypeError, match="dilation must be an int"):
                kernels.conv2d_backward_input(x, w, x.shape, dilation=stride)
            with pytest.raises(TypeError, match="kernel_size must be an int"):
                kernels.max_pool2d(x, stride)
        for groups in (True, 1.0):
            with pytest.raises(TypeError, match="groups must be an int"):
                kernels.conv2d(x, w, groups=groups)
        for ceil_mode in (0, 0.0):
            with pytest.raises(TypeError, match="ceil_mode must be a bool"):
                kernels.max_pool2d(x, 1, ceil_mode=ceil_mode)
        for shape in ((True, 2, 4, 4), (1.0, 2, 4, 4)):
            with pytest.raises(TypeError, match="input_shape must be an int"):
                kernels.conv2d_backward_input(x, w, shape)
