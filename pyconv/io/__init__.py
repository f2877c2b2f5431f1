"""Files: models, states and checkpoints as safetensors; PyTorch's checkpoints; ONNX."""

from pyconv.io.files import atomic_write
from pyconv.io.onnx_read import load_onnx
from pyconv.io.onnx_write import save_onnx
from pyconv.io.state import load, load_state, save
from pyconv.io.torch_read import load_torch
from pyconv.io.torch_write import save_torch
from pyconv.io.tree import pack, unpack

__all__ = [
    "atomic_write",
    "load",
    "load_onnx",
    "load_state",
    "load_torch",
    "pack",
    "save",
    "save_onnx",
    "save_torch",
    "unpack",
]
