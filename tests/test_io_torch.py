"""PyTorch's checkpoints: both formats there and back, and nothing in a file is executed."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from large import with_large

import pyconv
from pyconv import models, nn
from pyconv.io.pickles import PickleError, read_pickle
from pyconv.io.torch_write import _Pickle

KINDS = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool",
         "complex64", "complex128"]  # fmt: skip


def a_torch() -> Any:
    return pytest.importorskip("torch", reason='needs torch: pip install ".[bench]"')


def older(value: Any, path: Path, system: Any = None, stated: int | None = None) -> None:
    """Write the older format: what torch.save wrote until 1.6."""
    program = _Pickle()
    program.value(value, "")
    content = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    content += pickle.dumps(system or {"protocol_version": 1001, "little_endian": True}, 2)
    content += bytes(program.code) + b"."
    content += pickle.dumps([str(i) for i in range(len(program.arrays))], 2)
    for array in program.arrays:
        content += struct.pack("<q", array.size if stated is None else stated) + array.tobytes()
    path.write_bytes(content)


def archive(path: Path, program: bytes, storages: dict[str, bytes], how: int = 0, **more) -> None:
    """Write the zip format around a program."""
    with zipfile.ZipFile(path, "w", how) as file:
        for name, content in {"data.pkl": program, "byteorder": b"little", **more}.items():
            file.writestr(f"x/{name}", content)
        for key, content in storages.items():
            file.writestr(f"x/data/{key}", content)


def tensor(
    size: tuple, stride: tuple, offset: int = 0, count: int = 4, storage: str = "FloatStorage"
) -> bytes:
    """A program that makes one tensor of storage 0."""
    program = _Pickle()
    program._name("torch._utils", "_rebuild_tensor_v2")
    program.code += b"(("
    program._str("storage")
    program._name("torch", storage)
    program._str("0")
    program._str("cpu")
    program._int(count)
    program.code += b"tQ"
    program.value(offset, "")
    program.value(size, "")
    program.value(stride, "")
    program.code += b"\x89}tR."
    return bytes(program.code)


# -- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [pyconv.save_torch, older])
def test_a_state_comes_back(write, tmp_path: Path, rng: np.random.Generator) -> None:
    state = {name: rng.integers(0, 2, (2, 3)).astype(name) for name in KINDS}
    state["reversed"] = np.arange(6.0)[::-1] if write is not older else np.arange(6.0)
    state["scalar"], state["empty"] = np.array(3, np.int64), np.zeros((2, 0), np.float32)
    write(state, tmp_path / "a.pt")
    found = pyconv.load_torch(tmp_path / "a.pt")
    assert list(found) == list(state)
    for name, array in state.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array), name
        assert found[name].flags.writeable and found[name].shape == array.shape


def test_containers_come_back(tmp_path: Path) -> None:
    value = {
        "epoch": 3, "rate": 0.1, "name": "ä", "done": True, "none": None, "numbers": [1, -7, 2**40],
        "large": -(2**70), "pair": (1, (2.5,), ()), 5: {"inner": [np.arange(3)]}, "empty": {},
        "numpy": np.float32(0.5), "tensor": pyconv.Tensor(np.ones(2, np.float32)),
    }  # fmt: skip
    pyconv.save_torch(value, tmp_path / "a.pt")
    found = pyconv.load_torch(tmp_path / "a.pt")
    assert found.pop(5)["inner"][0].tolist() == [0, 1, 2]
    assert found.pop("tensor").tolist() == [1, 1] and found.pop("numpy") == 0.5
    assert found == {k: v for k, v in value.items() if k not in (5, "tensor", "numpy")}


@pytest.mark.parametrize("write", [pyconv.save_torch, older])
def test_shared_arrays_share_again(write, tmp_path: Path) -> None:
    array = np.arange(4.0)
    write({"a": array, "b": array, "c": array.copy()}, tmp_path / "a.pt")
    found = pyconv.load_torch(tmp_path / "a.pt")
    found["a"][0] = 9
    assert found["b"][0] == 9 and found["c"][0] == 0


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    numbers = np.array([1, -2.5, np.inf, 2.0**-130], np.float32)
    upper = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    archive(tmp_path / "a", tensor((4,), (1,), storage="BFloat16Storage"), {"0": upper.tobytes()})
    found = pyconv.load_torch(tmp_path / "a")
    assert found.dtype == np.float32
    assert np.array_equal(found.view(np.uint32), upper.astype(np.uint32) << 16)


def test_any_byte_is_a_bool(tmp_path: Path) -> None:
    archive(tmp_path / "a", tensor((4,), (1,), storage="BoolStorage"), {"0": b"\x00\x01\x02\xff"})
    found = pyconv.load_torch(tmp_path / "a")
    assert found.view(np.uint8).tolist() == [0, 1, 1, 1]


def test_saves_bfloat16(tmp_path: Path) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="needs ml_dtypes")
    array = np.array([1.5, -3], ml_dtypes.bfloat16)
    pyconv.save_torch({"a": array}, tmp_path / "a")
    found = pyconv.load_torch(tmp_path / "a")["a"]
    assert found.dtype == np.float32 and found.tolist() == [1.5, -3]


def test_strides_and_offsets(tmp_path: Path) -> None:
    path, raw = tmp_path / "a", np.arange(12, dtype=np.float32)
    views = [((2, 3), (1, 4), 1), ((3, 4), (0, 1), 8), ((), (), 5), ((0,), (1,), 99)]
    for size, stride, offset in views:
        archive(path, tensor(size, stride, offset, 12), {"0": raw.tobytes()})
        found = pyconv.load_torch(path)
        expected = [raw[offset + int(np.dot(cell, stride))] for cell in np.ndindex(size)]
        assert found.shape == size and found.ravel().tolist() == expected


def test_big_endian(tmp_path: Path) -> None:
    raw = np.arange(4, dtype=">f4").tobytes()
    archive(tmp_path / "a", tensor((4,), (1,)), {"0": raw}, byteorder=b"big")
    assert pyconv.load_torch(tmp_path / "a").tolist() == [0, 1, 2, 3]


def test_save_torch_aligns_and_repeats(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    for name in "ab":
        pyconv.save_torch(model, tmp_path / name)
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as file:
        entries = file.infolist()
        assert file.testzip() is None and len(entries) == 3 + 7
    for entry in entries:
        name, extra = struct.unpack_from("<HH", content, entry.header_offset + 26)
        assert (entry.header_offset + 30 + name + extra) % 64 == 0


@pytest.mark.parametrize(
    "name", ["lenet5", "small_resnet", "cifar_resnet", "resnet18", "mobilenet_v2", "squeezenet1_1",
             "autoencoder", "mlp"],
)  # fmt: skip
def test_models_come_back(name: str, tmp_path: Path) -> None:
    state = models.build(name).state_dict()
    pyconv.save_torch(state, tmp_path / "a")
    other = models.build(name)
    other.load_state_dict(pyconv.load_torch(tmp_path / "a"))
    for key, array in other.state_dict().items():
        assert np.array_equal(array, state[key]), key


# -- with PyTorch ---------------------------------------------------------------------------------


@pytest.mark.parametrize("new", [True, False])
def test_reads_what_torch_saves(new: bool, tmp_path: Path) -> None:
    torch = a_torch()
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    base = torch.arange(24.0).reshape(4, 6)
    value = {
        "state": net.state_dict(),
        "parameter": net[0].weight,
        "kinds": [torch.ones(2, 3).to(getattr(torch, kind)) for kind in KINDS],
        "bfloat16": torch.tensor([1.5, -3.25], dtype=torch.bfloat16),
        "transposed": base.T, "part": base[1:3, ::2], "expanded": base[:1].expand(3, 6),
        "size": base.shape, "device": base.device, "numbers": {1, 2},
        "channels_last": torch.arange(48.0).reshape(2, 3, 2, 4).to(
            memory_format=torch.channels_last),
        "nested": (1, [2.5, {"a": None}], True, 10**12), "empty": torch.zeros(0, 3),
    }  # fmt: skip
    path = tmp_path / "a.pt"
    torch.save(value, path, _use_new_zipfile_serialization=new)
    found = pyconv.load_torch(path)
    for key, t in value["state"].items():
        assert np.array_equal(found["state"][key], t.numpy()), key
    assert np.array_equal(found["parameter"], value["parameter"].detach().numpy())
    for name, array, t in zip(KINDS, found["kinds"], value["kinds"], strict=True):
        assert array.dtype == name and np.array_equal(array, t.numpy())
    assert found["bfloat16"].tolist() == [1.5, -3.25]
    for key in ("transposed", "part", "expanded", "channels_last", "empty"):
        assert np.array_equal(found[key], value[key].numpy()), key
    assert found["channels_last"].strides == tuple(4 * s for s in value["channels_last"].stride())
    assert found["size"] == (4, 6) and found["device"] == "cpu" and found["numbers"] == {1, 2}
    assert found["nested"] == value["nested"]
    found["transposed"][0, 1] = 99  # one storage
    assert found["part"][0, 0] == 99


def test_reads_the_dtypes_that_have_no_storage_of_their_own(tmp_path: Path) -> None:
    torch = a_torch()
    torch.save({"a": torch.arange(5).to(torch.uint16)[1:]}, tmp_path / "a")
    assert pyconv.load_torch(tmp_path / "a")["a"].tolist() == [1, 2, 3, 4]


def test_torch_reads_what_is_saved(tmp_path: Path, rng: np.random.Generator) -> None:
    torch = a_torch()
    shared = rng.standard_normal((2, 3))
    value = {
        "model": nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).state_dict(),
        "kinds": [np.ones((2, 3), kind) for kind in KINDS],
        "shared": (shared, shared), "numbers": [1, -3, 300, 2**40, 0.5, True, None],
        "turned": rng.standard_normal((3, 4)).T, "empty": np.zeros((0, 2), np.float32), 3: "three",
    }  # fmt: skip
    path = tmp_path / "a.pt"
    pyconv.save_torch(value, path)
    for mapped in (False, True):
        found = torch.load(path, weights_only=True, mmap=mapped)
        for key, array in value["model"].items():
            assert np.array_equal(found["model"][key].numpy(), array), key
        for kind, t in zip(KINDS, found["kinds"], strict=True):
            assert t.numpy().dtype == kind and t.numpy().all()
        assert found["shared"][0].data_ptr() == found["shared"][1].data_ptr()
        assert np.array_equal(found["turned"].numpy(), value["turned"])
        assert found["numbers"] == value["numbers"] and found[3] == "three"
    theirs = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    theirs.load_state_dict(found["model"])


@pytest.mark.parametrize("name", with_large(models.names()))
def test_models_through_torch(name: str, tmp_path: Path) -> None:
    """pyconv, PyTorch, pyconv: exact in every weight."""
    torch = a_torch()
    state = models.build(name, **{"unet": {"width": 4}}.get(name, {})).state_dict()
    pyconv.save_torch(state, tmp_path / "a.pt")
    torch.save(torch.load(tmp_path / "a.pt", weights_only=True), tmp_path / "b.pt")
    found = pyconv.load_torch(tmp_path / "b.pt")
    assert list(found) == list(state)
    for key, array in state.items():
        assert np.array_equal(found[key], array) and found[key].dtype == array.dtype, key


# -- what is refused ------------------------------------------------------------------------------


class Runs:
    """Would run a command, were it unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("format", ["zip", "older", "bare"])
@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_executed(format, protocol, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = pickle.dumps({"a": Runs()}, protocol)
    if format == "zip":
        archive(tmp_path / "a", program, {})
    else:
        heads = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}] if format == "older" else []
        (tmp_path / "a").write_bytes(b"".join(pickle.dumps(v, 2) for v in heads) + program)
    match = f"a asks for {os.mkdir.__module__}.mkdir, which is not a tensor or plain container"
    match = "no checkpoint" if format == "bare" else match
    with pytest.raises(ValueError, match=match):
        pyconv.load_torch(tmp_path / "a")
    assert not (tmp_path / "executed").exists()


def test_whole_modules_are_refused_by_name(tmp_path: Path) -> None:
    torch = a_torch()
    torch.save(torch.nn.Linear(2, 3), tmp_path / "a")
    with pytest.raises(ValueError, match="asks for torch.nn.modules.linear.Linear, which is not"):
        pyconv.load_torch(tmp_path / "a")


@pytest.mark.parametrize("write", [pyconv.save_torch, older])
def test_every_cut_is_noticed(write, tmp_path: Path) -> None:
    write({"a": np.arange(5.0), "b": [1, "x"]}, tmp_path / "a")
    content = (tmp_path / "a").read_bytes()
    for length in range(len(content)):
        (tmp_path / "b").write_bytes(content[:length])
        with pytest.raises(ValueError, match="load_torch: .*b (is|has)"):
            pyconv.load_torch(tmp_path / "b")


def test_every_changed_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    """A damaged file is a ValueError, or still some state; never another error."""
    for write in (pyconv.save_torch, older):
        write({"a": np.arange(3.0), "b": {"c": np.ones((2, 2), np.float32)}}, tmp_path / "a")
        content = bytearray((tmp_path / "a").read_bytes())
        for i in range(len(content)):
            changed = content.copy()
            changed[i] = (0, 0x28, 0x80, 0xFF)[i % 4]  # a mark, the beginning of a pickle
            (tmp_path / "b").write_bytes(changed)
            try:
                pyconv.load_torch(tmp_path / "b")
            except ValueError as error:
                assert str(error).startswith("load_torch: ")


@pytest.mark.parametrize(
    ("size", "stride", "offset", "count", "match"),
    [
        ((5,), (1,), 0, 4, "size .5,., stride .1,., offset 0 in a storage of 4 elements"),
        ((2, 2), (3, 1), 0, 4, "in a storage of 4 elements"),
        ((2,), (1,), 3, 4, "offset 3 in a storage of 4 elements"),
        ((2,), (1,), 2**80, 4, "in a storage of 4 elements"),
        ((-1,), (1,), 0, 4, "a tensor of size .-1,."),
        ((2,), (-1,), 3, 4, "stride .-1,."),
        ((2,), (1, 1), 0, 4, "stride .1, 1."),
        ((2.0,), (1,), 0, 4, "stride or offset is no int"),
        ([2], (1,), 0, 4, "size or stride is no tuple"),
        ((2**62,), (0,), 0, 4, "a tensor of size"),
        ((2**20, 2**20), (0, 0), 0, 4, "a tensor of size"),
        ((1,) * 70, (1,) * 70, 0, 4, "a tensor of size"),
        ((2,), (1,), 0, 2**60, "16 bytes for 1152921504606846976 elements of float32"),
        ((2,), (1,), 0, -4, "without type, key or length"),
    ],
)  # fmt: skip
def test_wrong_views_are_refused(size, stride, offset, count, match, tmp_path: Path) -> None:
    archive(tmp_path / "a", tensor(size, stride, offset, count), {"0": bytes(16)})
    with pytest.raises(ValueError, match=match):
        pyconv.load_torch(tmp_path / "a")


def test_bombs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    one = tensor((4,), (1,))
    cases: list[tuple[Any, str]] = [
        (lambda: archive(path, one, {"0": bytes(2**24)}, zipfile.ZIP_DEFLATED), "is compressed"),
        (lambda: archive(path, one, {"0": bytes(2**24)}), "16777216 bytes for 4 elements"),
        (lambda: archive(path, one, {}), "x/data/0 is missing"),
        # A memo of 2^32 places, a text of 2^62 letters, a number of 2^31 digits.
        (lambda: archive(path, b"\x80\x02Nr\xff\xff\xff\xff.", {}), None),
        (lambda: archive(path, b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.", {}), "damaged"),
        (lambda: archive(path, b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"x.", {}), "damaged"),
        (lambda: archive(path, b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"x.", {}), "is"),
        (lambda: archive(path, b"I" + b"9" * 10**5 + b"\n.", {}), "damaged"),
        # A tuple of twice a tuple of twice ...: its hash would take 2^60 steps.
        (lambda: archive(path, b"\x80\x02}N\x85" + b"2\x86" * 60 + b"Ns.", {}), "of type tuple"),
        (lambda: older({"a": np.ones(4)}, path, stated=2**40), "bytes for 1099511627776 of 4"),
        (lambda: older({"a": np.ones(4)}, path, {"little_endian": False}), "big-endian"),
    ]  # fmt: skip
    for make, match in cases:
        make()
        tracemalloc.start()
        try:
            if match is None:
                assert pyconv.load_torch(path) is None
            else:
                with pytest.raises(ValueError, match=match):
                    pyconv.load_torch(path)
            assert tracemalloc.get_traced_memory()[1] < 2**23 + 2 * path.stat().st_size
        finally:
            tracemalloc.stop()


def test_entries_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """Many entries of the directory that name the same bytes."""
    path = tmp_path / "a"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", tensor((4,), (1,)))
        file.writestr("x/data/0", bytes(4096))
        first = file.infolist()[1]
        for i in range(1, 50):
            again = zipfile.ZipInfo(f"x/data/{i}")
            again.header_offset, again.CRC = first.header_offset, first.CRC
            again.file_size = again.compress_size = first.file_size
            file.filelist.append(again)
            file._didModify = True
    with pytest.raises(ValueError, match="entries are larger than the file"):
        pyconv.load_torch(path)


def test_deep_nesting_is_no_recursion(tmp_path: Path) -> None:
    archive(tmp_path / "a", b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".", {})
    value, depth = pyconv.load_torch(tmp_path / "a"), 1
    while value:
        value, depth = value[0], depth + 1
    assert depth == 10**5


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content, match in (
        (b"", "is no checkpoint of PyTorch"),
        (b"text", "is no checkpoint of PyTorch"),
        (b"PK\x03\x04", "is damaged"),
        (pickle.dumps({"a": 1}), "is no checkpoint of PyTorch"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=match):
            pyconv.load_torch(path)
    with tarfile.open(path, "w") as file:
        file.addfile(tarfile.TarInfo("tensors"), io.BytesIO())
    with pytest.raises(ValueError, match="is a tar file"):
        pyconv.load_torch(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "text")
    with pytest.raises(ValueError, match="a zip file without data.pkl"):
        pyconv.load_torch(path)
    archive(path, b"\x80\x02N.", {}, **{"constants.pkl": b"\x80\x02)."})
    with pytest.raises(ValueError, match="is a TorchScript program"):
        pyconv.load_torch(path)
    with pytest.raises(FileNotFoundError):
        pyconv.load_torch(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="load_torch: path must be a str or a path, got int"):
        pyconv.load_torch(3)


def test_save_torch_refuses(tmp_path: Path) -> None:
    path = tmp_path / "a"
    within: list[Any] = []
    within.append(within)
    for value, match in (
        ({"a": [object()]}, "save_torch: a.0 must be a Module, an array, .* got object"),
        (object(), "save_torch: model_or_state must be"),
        ({"a": {(1, 2): 3}}, "save_torch: keys must be str or int, got tuple in a"),
        ({"a": np.array(["x"])}, "save_torch: a has dtype <U1"),
        ({"a": np.zeros(2, np.uint32)}, "save_torch: a has dtype uint32"),
        (within, "save_torch: 0 contains itself"),
        (2**3000, "too large a number"),
    ):
        with pytest.raises(TypeError, match=match):
            pyconv.save_torch(value, path)
    with pytest.raises(TypeError, match="path must be a str"):
        pyconv.save_torch({}, 3)
    with pytest.raises(FileNotFoundError):
        pyconv.save_torch({}, tmp_path / "nowhere" / "a")
    assert os.listdir(tmp_path) == []


# -- the machine ----------------------------------------------------------------------------------


def test_endless_programs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyconv.io.pickles._MOST_STEPS", 1000)
    assert read_pickle(io.BytesIO(b"N0" * 499 + b"N."), {}) is None
    with pytest.raises(PickleError, match="is too long: its pickle has more than 1000 steps"):
        read_pickle(io.BytesIO(b"N0" * 500 + b"N."), {})


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_plain_values(protocol: int) -> None:
    same = [1]
    value = {
        "a": [1, -1, 300, 2**33, -(2**100), 1.5, True, False, None, "ä", b"\xff" * 300],
        1: {"x": (1, 2, 3, 4), "y": ((), (1,), (1, 2), (1, 2, 3))}, 2.5: [same, same], None: [],
        "set": {1, 2}, "ordered": collections.OrderedDict(a=1),
    }  # fmt: skip
    if protocol < 3:
        del value["a"][-1]  # bytes need a codec there
    known = {
        "collections.OrderedDict": lambda items=(): dict(items),
        "builtins.set": set, "__builtin__.set": set,
    }  # fmt: skip
    found = read_pickle(io.BytesIO(pickle.dumps(value, protocol)), known)
    assert found == value and found[2.5][0] is found[2.5][1]


@pytest.mark.parametrize(
    "program",
    [b".", b"(.", b"0.", b"K\x01.extra"[:2], b"(K\x01", b"}K\x01s.", b"K\x01K\x02R.", b"]}b.",
     b"h\x05.", b"(K\x01u.", b"}(K\x01u.", b"]N\x81.", b"\x80\x09N.", b"2.", b"\xff.", b"a.", b"e.",
     b"cos\nsystem\n.", b"(cos\nsystem\no.", b"(ios\nsystem\n.", b"\x8c\x02os\x8c\x06system\x93.",
     b"\x82\x01.", b"Px\n.", b"NQ."],
)  # fmt: skip
def test_broken_programs_are_refused(program: bytes) -> None:
    with pytest.raises(PickleError):
        read_pickle(io.BytesIO(program), {})
