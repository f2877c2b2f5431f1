"""Models and states in files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyconv.autograd import Tensor
from pyconv.io.files import atomic_write, path_of
from pyconv.nn.module import Module

# All metadata is one JSON text under one key: safetensors doesn't promise an order for several, and
# the same model should give the same file.
_KEY = "pyconv"
# What a model itself knows of these, as ``model.metadata``.
_DESCRIBES = ("autoencoding", "classes", "input_shape", "normalization", "resize", "style")
_MODEL = "model."  # what the names of a model's arrays begin with in a checkpoint


def save(model_or_state: Any, path: Any, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a model or a state dict to a safetensors file, as a whole or not at all.

    The arrays lie in the file in their logical order, whatever their order in memory, so that
    every reader of safetensors finds them right.

    Parameters
    ----------
    model_or_state : Module, or mapping of str to array or Tensor
        A model built by a function of `pyconv.models` is saved with that function's name and
        arguments, and `load` builds it again; ``model.metadata``, where it has one, is saved, too.
    path : str or path
    metadata : mapping, optional
        What JSON can hold; ``pyconv predict`` asks for ``classes`` (names), ``input_shape``
        (C×H×W), ``normalization`` (``mean`` and ``std`` for pictures in 0..1) and ``resize`` (the
        shorter side, before the middle is cut out; without, pictures are scaled to H×W).

    Raises
    ------
    TypeError
        No Module or mapping, a value that is no array, metadata that JSON can't hold.
    OSError
        The file can't be written; what was there before is still there.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import pyconv
    >>> from pyconv import models
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.safetensors")
    ...     pyconv.save(models.mlp(num_classes=3, in_features=4), path, {"classes": list("abc")})
    ...     net = pyconv.load(path)
    >>> net(np.zeros((1, 4), np.float32)).shape
    (1, 3)
    """
    import safetensors.numpy

    name = path_of("save", path)
    if metadata is not None and not isinstance(metadata, Mapping):
        raise TypeError(f"save: metadata must be a mapping, got {type(metadata).__name__}")
    notes = dict(metadata or {})
    if isinstance(model_or_state, Module):
        notes = {**getattr(model_or_state, "metadata", {}), **notes}
        notes.setdefault("architecture", getattr(model_or_state, "architecture", None))
        state: Mapping[str, Any] = model_or_state.state_dict()
    elif isinstance(model_or_state, Mapping):
        state = model_or_state
    else:
        raise TypeError(
            "save: model_or_state must be a Module or a mapping of names to arrays, "
            f"got {type(model_or_state).__name__}"
        )
    arrays = {key: _in_order(key, value) for key, value in state.items()}
    try:
        text = json.dumps(notes)
    except (TypeError, ValueError) as error:
        raise TypeError(f"save: metadata must be what JSON can hold: {error}") from None
    atomic_write(name, safetensors.numpy.save(arrays, {_KEY: text}))


def load_state(path: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays in a safetensors file, and its metadata.

    Parameters
    ----------
    path : str or path
        Written by `save`, a checkpoint, or any other safetensors file.

    Returns
    -------
    state : dict of str to array
    metadata : dict
        Empty where the file has none of ours.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no safetensors file, or damaged.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import pyconv
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "state.safetensors")
    ...     pyconv.save({"a": np.ones(2)}, path, {"note": 1})
    ...     pyconv.io.load_state(path)
    ({'a': array([1., 1.])}, {'note': 1})
    """
    import safetensors
    import safetensors.numpy

    name = path_of("load_state", path)
    with open(name, "rb") as file:  # for the usual errors of files
        content = file.read()
    try:
        state = safetensors.numpy.load(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        metadata = json.loads((header.get("__metadata__") or {}).get(_KEY, "{}"))
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"load: {name} is no readable safetensors file: {error}") from None
    # Those that lie in the file's bytes can't be written to.
    return {k: a if a.flags.writeable else a.copy() for k, a in state.items()}, metadata


def load(path: Any) -> Any:
    """Read a model, or the arrays where the file doesn't say how to build one.

    Parameters
    ----------
    path : str or path
        A file that `save` wrote, or a checkpoint of a `Trainer`.

    Returns
    -------
    Module, or dict of str to array
        The model in inference mode, built by the function of `pyconv.models` that built the saved
        one, its ``metadata`` as saved (see `save`); the plain state dict otherwise.

    Raises
    ------
    FileNotFoundError, ValueError
        See `load_state`; or the file names a model that is not known, holds other arrays than
        that model needs, or weights that are not finite.

    Examples
    --------
    See `save`.
    """
    state, metadata = load_state(path)
    if not metadata.get("architecture"):
        return state
    return build(path, state, metadata)


def build(path: Any, state: dict[str, np.ndarray], metadata: dict[str, Any]) -> Module:
    """The model whose state and metadata `load_state` has read."""
    from pyconv import models

    architecture = metadata.get("architecture")
    if not architecture:
        raise ValueError(f"load: {path} does not say which model it holds")
    if "checkpoint" in metadata:
        state = {k[len(_MODEL) :]: v for k, v in state.items() if k.startswith(_MODEL)}
    try:
        model = models.build(architecture["name"], **architecture["arguments"])
        check_finite(state)
        model.load_state_dict(state)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"load: {path}: {error}") from None
    # Not through Module.__setattr__: it is neither parameter nor submodule.
    model.__dict__["metadata"] = {k: v for k, v in metadata.items() if k in _DESCRIBES}
    return model.eval()


def check_finite(state: Mapping[str, Any]) -> None:
    """ValueError where a model would only compute NaN."""
    for name, array in state.items():
        bad = np.count_nonzero(~np.isfinite(array)) if array.dtype.kind == "f" else 0
        if bad:
            raise ValueError(f"{name} has {bad} values that are not finite (NaN or infinite)")


def _in_order(name: Any, value: Any) -> np.ndarray:
    """A copy that lies in memory as it is indexed, in this machine's byte order."""
    if not isinstance(name, str):
        raise TypeError(f"save: names must be str, got {type(name).__name__}")
    if isinstance(value, Tensor):
        value = value.data
    if hasattr(value, "get") and hasattr(value, "__cuda_array_interface__"):
        value = value.get()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"save: {name} must be an array, got {type(value).__name__}")
    if value.dtype.kind not in "biuf":
        raise TypeError(f"save: {name} must be an array of numbers, got dtype {value.dtype}")
    return np.array(value, value.dtype.newbyteorder("="), order="C")
