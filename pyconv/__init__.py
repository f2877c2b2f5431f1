"""Convolutional networks on NumPy arrays, with hand-written kernels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pyconv._runtime import (
    empty_cache,
    float32_precision,
    get_float32_precision,
    get_num_threads,
    info,
    isa,
    set_float32_precision,
    set_num_threads,
)
from pyconv._version import __version__

if TYPE_CHECKING:
    from pyconv.amp import GradScaler, autocast
    from pyconv.autograd import (
        Tensor,
        cat,
        enable_grad,
        grad,
        is_grad_enabled,
        maximum,
        minimum,
        no_grad,
        set_grad_enabled,
        stack,
        where,
    )
    from pyconv.io import load, load_onnx, load_torch, save, save_onnx, save_torch
    from pyconv.nn.features import Ensemble, features
    from pyconv.nn.folding import fold_batch_norm
    from pyconv.random import get_rng_state, manual_seed, set_rng_state
    from pyconv.training import EarlyStopping, Trainer

# Loaded when first asked for, so that the import is quick.
_MODULES = (
    "amp",
    "autograd",
    "data",
    "functional",
    "io",
    "kernels",
    "models",
    "nn",
    "optim",
    "random",
    "recipes",
    "reference",
    "training",
)
_NAMES = {
    **dict.fromkeys(
        (
            "Tensor",
            "cat",
            "enable_grad",
            "grad",
            "is_grad_enabled",
            "maximum",
            "minimum",
            "no_grad",
            "set_grad_enabled",
            "stack",
            "where",
        ),
        "autograd",
    ),
    **dict.fromkeys(("GradScaler", "autocast"), "amp"),
    **dict.fromkeys(("Ensemble", "features"), "nn"),
    "fold_batch_norm": "nn.folding",
    **dict.fromkeys(("EarlyStopping", "Trainer"), "training"),
    **dict.fromkeys(("get_rng_state", "manual_seed", "set_rng_state"), "random"),
    **dict.fromkeys(("load", "load_onnx", "load_torch", "save", "save_onnx", "save_torch"), "io"),
    "summary": "_summary",
}

__all__ = [
    "EarlyStopping",
    "Ensemble",
    "GradScaler",
    "Tensor",
    "Trainer",
    "__version__",
    "autocast",
    "cat",
    "empty_cache",
    "enable_grad",
    "features",
    "float32_precision",
    "fold_batch_norm",
    "get_float32_precision",
    "get_num_threads",
    "get_rng_state",
    "grad",
    "info",
    "is_grad_enabled",
    "isa",
    "load",
    "load_onnx",
    "load_torch",
    "manual_seed",
    "maximum",
    "minimum",
    "no_grad",
    "save",
    "save_onnx",
    "save_torch",
    "set_float32_precision",
    "set_grad_enabled",
    "set_num_threads",
    "set_rng_state",
    "stack",
    "summary",
    "where",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"pyconv.{name}")
    if name in _NAMES:
        value = getattr(importlib.import_module(f"pyconv.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'pyconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
