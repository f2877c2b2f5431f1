"""Every step of the ladders in csrc/ladder gives the product, or the convolution."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from backends import on_device
from tolerances import assert_exact, small_integers

from pyconv import reference

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.cuda import ladder  # noqa: E402


def test_every_file_is_a_step() -> None:
    for name, steps in (("sgemm", ladder.SGEMM), ("conv3x3", ladder.CONV3X3)):
        files = sorted(path.stem for path in (ladder.FOLDER / name).glob("*.cu"))
        assert files == [step.file for step in steps]


@on_device
@pytest.mark.parametrize("step", ladder.SGEMM, ids=lambda step: step.file)
def test_sgemm(step: ladder.Step, rng: np.random.Generator) -> None:
    import cupy

    a = small_integers((128, 48), np.float32, rng)
    b = small_integers((48, 64), np.float32, rng)
    c = ladder.sgemm(step, cupy.asarray(a), cupy.asarray(b))
    assert_exact(c.get(), a.astype(np.float64) @ b)


@on_device
@pytest.mark.parametrize("step", ladder.CONV3X3, ids=lambda step: step.file)
def test_conv3x3(step: ladder.Step, rng: np.random.Generator) -> None:
    import cupy

    x = small_integers((2, 8, 16, 8), np.float32, rng)  # N, H, W, C
    w = small_integers((3, 3, 8, 64), np.float32, rng)
    images, weights = x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1)
    y = ladder.conv3x3(
        step, cupy.asarray(x).transpose(0, 3, 1, 2), cupy.asarray(w).transpose(3, 2, 0, 1)
    )
    expected = reference.conv2d(images.astype(np.float64), weights.astype(np.float64), padding=1)
    assert_exact(y.get(), expected)
