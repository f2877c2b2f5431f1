"""Nested Python values as JSON and arrays, and back without a difference."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyconv.autograd import Tensor

_TAGS = ("array", "tuple", "items")  # each a dict of one entry, whose name has a dollar in front


def pack(value: Any, prefix: str = "") -> tuple[Any, dict[str, np.ndarray]]:
    """Split a nested value into what JSON can hold and the arrays in it.

    Parameters
    ----------
    value : nested dicts, lists, tuples, arrays, Tensors, numbers, str, bool, None
    prefix : str
        Of the arrays' names; the way through the nesting follows it.

    Returns
    -------
    tree : made of dicts with str keys, lists, numbers, str, bool and None
    arrays : dict of str to array

    Raises
    ------
    TypeError
        Something that is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> from pyconv import io
    >>> tree, arrays = io.pack({"rates": (0.1, 0.2), "m": np.zeros(2)})
    >>> tree
    {'rates': {'$tuple': [0.1, 0.2]}, 'm': {'$array': 'm'}}
    >>> arrays
    {'m': array([0., 0.])}
    >>> io.unpack(tree, arrays)
    {'rates': (0.1, 0.2), 'm': array([0., 0.])}
    """
    arrays: dict[str, np.ndarray] = {}
    return _pack(value, prefix, arrays), arrays


def unpack(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The nested value that `pack` split; see there.

    Raises
    ------
    ValueError
        An array is missing.
    """
    if isinstance(tree, list):
        return [unpack(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        (key, content), *_ = tree.items()
        if key == "$array":
            if content not in arrays:
                raise ValueError(f"unpack: there is no array {content!r}")
            return arrays[content]
        if key == "$tuple":
            return tuple(unpack(item, arrays) for item in content)
        if key == "$items":
            return {unpack(k, arrays): unpack(v, arrays) for k, v in content}
    return {key: unpack(item, arrays) for key, item in tree.items()}


def _pack(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    def below(name: Any) -> str:
        return f"{path}.{name}" if path else str(name)

    if isinstance(value, Tensor):
        value = value.data
    if hasattr(value, "__cuda_array_interface__"):
        value = value.get()
    if isinstance(value, np.ndarray):
        name = path or "value"
        while name in arrays:  # keys may have dots, too
            name += "_"
        arrays[name] = value
        return {"$array": name}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        items = [_pack(item, below(i), arrays) for i, item in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, dict):
        tagged = len(value) == 1 and next(iter(value)) in {f"${tag}" for tag in _TAGS}
        if all(isinstance(key, str) for key in value) and not tagged:
            return {key: _pack(item, below(key), arrays) for key, item in value.items()}
        pairs = value.items()
        return {"$items": [[_pack(k, below("key"), {}), _pack(v, below(k), arrays)]
                           for k, v in pairs]}  # fmt: skip
    raise TypeError(f"pack: {path or 'value'}: can't save a {type(value).__name__}")
