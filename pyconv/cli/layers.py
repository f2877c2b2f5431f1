"""``pyconv layers MODEL``."""

from __future__ import annotations

import argparse
from typing import Any

from pyconv.cli.common import print_json, times
from pyconv.cli.summary import add_model_arguments, find_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv layers``."""
    parser.description = "The names that --layer takes, with the shape of each one's output."
    add_model_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> None:
    """Print the names."""
    model, size = find_model(arguments)
    rows = named_outputs(model, size)
    if arguments.json:
        print_json({"layers": [{"name": n, "kind": k, "shape": s} for n, k, s in rows]})
        return
    left = max([len(name) for name, _, _ in rows], default=0)
    middle = max([len(kind) for _, kind, _ in rows], default=0)
    for name, kind, sides in rows:
        print(f"{name:<{left}}  {kind:<{middle}}  {times(sides)}")


def named_outputs(model: Any, size: tuple[int, ...]) -> list[tuple[str, str, list[int]]]:
    """Name, kind and shape of the output, without N, of each module that gives one Tensor."""
    import numpy as np

    from pyconv import Tensor, no_grad

    found: dict[str, tuple[str, list[int]]] = {}

    def listen(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                found.setdefault(name, (type(module).__name__, list(output.shape[1:])))

        return hook

    handles = [m.register_forward_hook(listen(n)) for n, m in model.named_modules() if n]
    try:
        with no_grad():
            model.eval()(np.zeros((1, *size), np.float32))
    finally:
        for handle in handles:
            handle.remove()
    names = [name for name, _ in model.named_modules() if name in found]
    return [(name, *found[name]) for name in names]
