"""Files that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
from typing import Any


def path_of(function: str, path: Any) -> str:
    """A path as a str, or a TypeError that names the function."""
    try:
        found = os.fspath(path)
    except TypeError:
        found = None
    if not isinstance(found, str):
        raise TypeError(f"{function}: path must be a str or a path, got {type(path).__name__}")
    return found


def atomic_write(path: Any, content: bytes) -> None:
    """Write a file so that, whatever happens, either the old or the new content is there.

    The bytes go to a temporary file beside the target, to the disk, and take the target's name
    in one step. A symbolic link keeps pointing where it did.

    Parameters
    ----------
    path : str or path
    content : bytes

    Raises
    ------
    TypeError
        `path` is no path.
    OSError
        The folder is missing or can't be written, or the disk is full. No temporary file is left.

    Examples
    --------
    >>> import os, tempfile
    >>> from pyconv import io
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     io.atomic_write(os.path.join(folder, "a"), b"text")
    ...     os.listdir(folder)
    ['a']
    """
    target = os.path.realpath(path_of("atomic_write", path))
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise
