"""Networks of half a gigabyte, which not every run of the tests builds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

LARGE = ("vgg11", "vgg16", "vgg19")


def with_large(names: Iterable[str]) -> list[Any]:
    """The names as parameters, the large ones only where they are asked for."""
    skip = pytest.mark.skipif(
        "PYCONV_LARGE_TESTS" not in os.environ,
        reason="takes some gigabytes of memory: set PYCONV_LARGE_TESTS=1",
    )
    return [pytest.param(n, marks=skip if n in LARGE else ()) for n in sorted(names)]
