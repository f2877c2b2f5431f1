"""PyTorch's checkpoints, read without PyTorch and without running what is in them.

Both formats hold a pickle of containers, in which tensors name storages, and the storages' bytes.
Since 1.6 (2020) they lie in a zip file, uncompressed: ``data.pkl``, ``byteorder``, ``data/KEY``. In
the older one they follow each other in one stream: a magic number, the version of the protocol, how
the machine stores numbers, the containers, the list of the storages' keys (each a pickle), then for
each key the number of elements and their bytes.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from pyconv.io.files import path_of
from pyconv.io.pickles import PickleError, read_pickle
from pyconv.io.torch_tensors import Kind, Storage, names, view

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


def load_torch(path: Any) -> Any:
    """Read a checkpoint that ``torch.save`` wrote, in either format; PyTorch is not needed.

    Parameters
    ----------
    path : str or path
        Of a state dict, or of dicts, lists and tuples around some: tensors (float32, float64,
        float16, bfloat16, integers, bool, complex), numbers, str, None.

    Returns
    -------
    dict, list, tuple, ...
        As it was saved, with arrays in place of tensors; those that shared memory do so again. A
        bfloat16 tensor becomes float32, which holds each of its values exactly; an OrderedDict
        becomes a dict, a Parameter an array.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    TypeError
        `path` is no path.
    ValueError
        It is no checkpoint, damaged, cut off, or compressed; it holds anything but tensors and
        plain containers, which the message names. Nothing in a file is ever executed. Save the
        ``state_dict()`` of a module that was saved as a whole.

    Examples
    --------
    >>> import os, tempfile
    >>> import pyconv
    >>> from pyconv import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.pt")
    ...     pyconv.save_torch(nn.Linear(3, 2), path)
    ...     state = pyconv.load_torch(path)
    >>> {name: array.shape for name, array in state.items()}
    {'weight': (2, 3), 'bias': (2,)}
    >>> nn.Linear(3, 2).load_state_dict(state)
    KeysMatched(missing_keys=[], unexpected_keys=[])
    """
    name = path_of("load_torch", path)
    with open(name, "rb") as file:
        start = file.read(4)
        file.seek(0)
        try:
            if start[:2] == b"PK":
                return _read_zip(file)
            return _read_stream(file.read())
        except PickleError as error:
            hint = ", which is not a tensor or plain container" if _asks(error) else ""
            raise ValueError(f"load_torch: {name} {error}{hint}") from None


def _asks(error: Exception) -> bool:
    return str(error).startswith("asks for ")


def _read_zip(file: Any) -> Any:
    try:
        archive = zipfile.ZipFile(file)
        entries = {entry.filename: entry for entry in archive.infolist()}
        size = file.seek(0, io.SEEK_END)
        packed = [e.filename for e in entries.values() if e.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise PickleError(f"is compressed ({packed[0]}), as torch.save never does")
        # Entries that share bytes would make much of little.
        if sum(entry.file_size for entry in archive.infolist()) > size:
            raise PickleError("is damaged: its entries are larger than the file")
        pickles = [n for n in entries if n.count("/") == 1 and n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise PickleError("is no checkpoint of PyTorch: it is a zip file without data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}constants.pkl" in entries:
            raise PickleError("is a TorchScript program; save the state_dict() of the module")
        order = b"little"
        if f"{folder}byteorder" in entries:
            order = archive.read(f"{folder}byteorder").strip()
        if order not in (b"little", b"big"):
            raise PickleError(f"has byte order {order[:20]!r}")
        storages: dict[str, Storage] = {}

        def persistent(key: Any) -> Storage:
            kind, found, count, _ = _storage_id(key)
            if found not in storages:
                entry = f"{folder}data/{found}"
                if entry not in entries:
                    raise PickleError(f"is damaged: {entry} is missing")
                if entries[entry].file_size != count * kind.dtype.itemsize:
                    raise PickleError(
                        f"is damaged: {entry} has {entries[entry].file_size} bytes for {count} "
                        f"elements of {kind.name or 'byte'}"
                    )
                dtype = kind.dtype.newbyteorder("<" if order == b"little" else ">")
                raw = np.frombuffer(archive.read(entry), dtype).astype(kind.dtype)
                storages[found] = Storage(raw, kind)
            if storages[found].kind.name != kind.name:
                raise PickleError(f"is damaged: storage {found} has two types")
            return storages[found]

        return read_pickle(io.BytesIO(archive.read(pickles[0])), names(), persistent)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise PickleError(f"is damaged: {error}") from None


def _read_stream(content: bytes) -> Any:
    file = io.BytesIO(content)
    try:
        magic = read_pickle(file, {})
    except PickleError:
        magic = None
    if magic != _MAGIC:
        if b"ustar" in content[257:265]:
            raise PickleError("is a tar file, PyTorch's format before 0.1.10; save it anew")
        raise PickleError("is no checkpoint of PyTorch")
    version, system = read_pickle(file, {}), read_pickle(file, {})
    if version != _VERSION:
        raise PickleError(f"has a protocol other than {_VERSION}")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise PickleError("was written on a big-endian machine; save it anew")
    # The storages come after the tensors that name them: the pickle is read twice.
    begin = file.tell()
    wanted: dict[str, tuple[Kind, int]] = {}

    def note(key: Any) -> None:
        kind, found, count, _ = _storage_id(key)
        if wanted.setdefault(found, (kind, count))[0].name != kind.name:
            raise PickleError(f"is damaged: storage {found} has two types")

    def nothing(*arguments: Any) -> None:
        return None

    read_pickle(file, names(nothing, nothing), note)
    keys = read_pickle(file, {})
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise PickleError("is damaged: its list of storages is missing")
    if sorted(keys) != sorted(wanted):
        raise PickleError("is damaged: its list of storages is not that of its tensors")
    storages = {}
    for key in keys:
        kind, count = wanted[key]
        stated = int.from_bytes(file.read(8), "little")
        raw = file.read(min(count * kind.dtype.itemsize, len(content)))
        if stated != count or len(raw) != count * kind.dtype.itemsize:
            raise PickleError(
                f"is damaged: {len(raw)} bytes for {stated} of {count} elements of storage {key}"
            )
        stored = np.frombuffer(raw, kind.dtype.newbyteorder("<"))
        storages[key] = Storage(stored.astype(kind.dtype), kind)

    def persistent(key: Any) -> Storage:
        kind, found, _, part = _storage_id(key)
        whole = storages[found]
        if part is None:
            return whole
        _, offset, count = part  # a storage that is a view of another, as PyTorch had until 0.4
        part_of = Storage(np.empty(0, kind.dtype), kind)
        part_of.array = view(whole, offset, (count,), (1,))
        return part_of

    file.seek(begin)
    return read_pickle(file, names(), persistent)


def _storage_id(key: Any) -> tuple[Kind, str, int, Any]:
    """The kind, key, number of elements and part of ``("storage", kind, key, device, count)``."""
    if not isinstance(key, tuple) or len(key) not in (5, 6):
        raise PickleError("is damaged: it names something that is no storage")
    word, kind, found, _, count, *rest = key
    part = rest[0] if rest else None
    if (
        word not in ("storage", b"storage")
        or not isinstance(kind, Kind)
        or not isinstance(found, str)
        or type(count) is not int
        or count < 0
        or not (part is None or (isinstance(part, tuple) and len(part) == 3))
    ):
        raise PickleError("is damaged: it names a storage without type, key or length")
    return kind, found, count, part
