"""Files: models, states and checkpoints as safetensors with JSON metadata."""

from pyconv.io.files import atomic_write
from pyconv.io.state import load, load_state, save
from pyconv.io.tree import pack, unpack

__all__ = ["atomic_write", "load", "load_state", "pack", "save", "unpack"]
