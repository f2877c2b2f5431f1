"""One page of the reference for each module: what its ``__all__`` names, or what it defines."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

MODULES = {
    "pyconv": "the Tensor, files, threads, precision",
    "pyconv.kernels": "arrays in, arrays out",
    "pyconv.functional": "operations on Tensors",
    "pyconv.nn": "layers",
    "pyconv.nn.init": "initial weights",
    "pyconv.nn.utils": "gradients, frozen layers",
    "pyconv.optim": "optimizers, averages",
    "pyconv.optim.lr_scheduler": "learning rates that change",
    "pyconv.data": "data sets, pictures",
    "pyconv.data.transforms": "augmentation",
    "pyconv.training": "training with validation and checkpoints",
    "pyconv.models": "networks",
    "pyconv.recipes": "what recipes return",
    "pyconv.recipes.visualize": "what a network sees",
    "pyconv.recipes.dream": "deep dream",
    "pyconv.recipes.style": "style transfer",
    "pyconv.recipes.adversarial": "pictures that deceive",
    "pyconv.recipes.transfer": "a new head for a trained network",
    "pyconv.recipes.autoencoding": "denoising, anomalies, the manifold",
    "pyconv.bench": "how fast convolutions are",
    "pyconv.reference": "the definition, in NumPy",
}


def write(app: Any) -> None:
    """Before Sphinx looks for pages."""
    folder = Path(app.srcdir) / "api" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODULES:
        text = page(name)
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    words = "Made from the docstrings. Names are PyTorch's where it has them."
    lines = ["# API reference", "", words, ""]
    lines += [f"- [{name}](generated/{name}.rst): {text}" for name, text in MODULES.items()]
    lines += ["", "```{toctree}", ":hidden:", ""]
    lines += [f"generated/{name}" for name in MODULES] + ["```", ""]
    index = folder.parent / "index.md"
    if not index.exists() or index.read_text(encoding="utf-8") != "\n".join(lines):
        index.write_text("\n".join(lines), encoding="utf-8")


def page(name: str) -> str:
    """In reStructuredText."""
    module = importlib.import_module(name)
    lines = [name, "=" * len(name), "", f".. automodule:: {name}", ""]
    for member in members(module):
        value = getattr(module, member)
        if inspect.isclass(value):
            lines += [f".. autoclass:: {name}.{member}", "   :members:", "   :show-inheritance:"]
            if member != "Module":  # the same words for each layer
                lines.append("   :exclude-members: forward, extra_repr")
        elif callable(value):
            lines += [f".. autofunction:: {name}.{member}"]
        else:
            continue
        lines.append("")
    return "\n".join(lines)


def members(module: Any) -> list[str]:
    """Sorted, classes and functions alike."""
    named = getattr(module, "__all__", None)
    if named is None:
        named = [
            key for key, value in vars(module).items()
            if not key.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]  # fmt: skip
    whole = importlib.import_module("pyconv")
    if module is not whole:  # each has one place
        named = [name for name in named if getattr(whole, name, None) is not getattr(module, name)]
    return sorted(name for name in named if not name.startswith("_"))


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("builder-inited", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
