"""Dropout as a layer."""

from __future__ import annotations

from typing import Any

from pyconv import functional
from pyconv.kernels import _checks as check
from pyconv.nn.module import Module


class Dropout(Module):
    """Zeroes at random in training, passes on in inference; see `functional.dropout`."""

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = check.number("Dropout", "p", p, 0.0, 1.0)

    def forward(self, x: Any) -> Any:
        return functional.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
