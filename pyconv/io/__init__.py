"""Files: models, states and checkpoints as safetensors with JSON metadata; PyTorch's files."""

from pyconv.io.files import atomic_write
from pyconv.io.state import load, load_state, save
from pyconv.io.torch_read import load_torch
from pyconv.io.torch_write import save_torch
from pyconv.io.tree import pack, unpack

__all__ = [
    "atomic_write",
    "load",
    "load_state",
    "load_torch",
    "pack",
    "save",
    "save_torch",
    "unpack",
]
