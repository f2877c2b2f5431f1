"""Threads, fork, instruction sets, precision, memory, denormals, import."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
from programs import run_python
from tolerances import assert_same_bits, random_signs

import pyconv
from pyconv import kernels


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_python("-W", "error", "-c", code, **environment)


@pytest.fixture
def problem(rng):
    return random_signs((2, 24, 20, 20), np.float32, rng), random_signs(
        (48, 24, 3, 3), np.float32, rng
    )


def test_the_number_of_threads_is_kept_and_checked():
    before = pyconv.get_num_threads()
    try:
        pyconv.set_num_threads(3)
        assert pyconv.get_num_threads() == 3
        for wrong, error in (
            (0, ValueError),
            (1025, ValueError),
            (1.5, TypeError),
            (True, TypeError),
        ):
            with pytest.raises(error, match="set_num_threads: n must be"):
                pyconv.set_num_threads(wrong)
        assert pyconv.get_num_threads() == 3
    finally:
        pyconv.set_num_threads(before)


def test_the_environment_sets_the_number_of_threads():
    code = "import pyconv; print(pyconv.get_num_threads())"
    assert python(code, PYCONV_NUM_THREADS="5").stdout == "5\n"


def test_the_environment_sets_the_instruction_set():
    code = "import pyconv; print(pyconv.info()['isa'])"
    for name in pyconv.info()["isas"]:
        assert python(code, PYCONV_ISA=name).stdout == f"{name}\n"
    wrong = python(code, PYCONV_ISA="mmx")
    assert wrong.returncode != 0
    assert "PYCONV_ISA" in wrong.stderr and "unknown instruction set 'mmx'" in wrong.stderr
    assert "generic" in wrong.stderr  # what there is


def test_the_best_that_the_processor_has_is_the_default():
    code = "import pyconv; print(pyconv.info()['isa'])"
    default = python("import os; os.environ.pop('PYCONV_ISA', None); " + code).stdout.strip()
    # emulated512 is for tests, and in the builds that they run on.
    assert default == [name for name in pyconv.info()["isas"] if name != "emulated512"][-1]
    if "emulated512" not in pyconv.info()["isas"]:
        with pytest.raises(ValueError, match="emulated512 is in builds with PYCONV_EMULATION=ON"):
            with pyconv.isa("emulated512"):
                pass


def test_isa_holds_for_the_calling_thread_until_the_block_ends():
    before, seen = pyconv.info()["isa"], []
    with pyconv.isa("generic"):
        assert pyconv.info()["isa"] == "generic"
        inner = pyconv.info()["isas"][-1]
        with pyconv.isa(inner):
            assert pyconv.info()["isa"] == inner
        assert pyconv.info()["isa"] == "generic"
        other = threading.Thread(target=lambda: seen.append(pyconv.info()["isa"]))
        other.start()
        other.join()
    assert pyconv.info()["isa"] == before and seen == [before]
    with pytest.raises(ValueError, match="isa: unknown instruction set 'sse9'"):
        with pyconv.isa("sse9"):
            pass
    with pytest.raises(TypeError, match="isa: name must be a str"):
        with pyconv.isa(2):
            pass


def test_precision_has_three_modes():
    assert pyconv.get_float32_precision() == "float32"
    try:
        pyconv.set_float32_precision("strict")
        assert pyconv.get_float32_precision() == "strict"
        with pyconv.float32_precision("tf32"):
            assert pyconv.get_float32_precision() == "tf32"
            assert pyconv.info()["float32_precision"] == "tf32"
        assert pyconv.get_float32_precision() == "strict"
    finally:
        pyconv.set_float32_precision("float32")
    with pytest.raises(ValueError, match="set_float32_precision: mode must be one of"):
        pyconv.set_float32_precision("half")
    with pytest.raises(TypeError, match="float32_precision: mode must be a str"):
        with pyconv.float32_precision(32):
            pass


def test_several_python_threads_at_once_get_the_bits_of_one(problem):
    x, weight = problem
    wanted = kernels.conv2d(x, weight, padding=1)
    results: list[list[np.ndarray]] = [[] for _ in range(6)]

    def work(mine: list[np.ndarray]) -> None:
        for _ in range(8):
            mine.append(kernels.conv2d(x, weight, padding=1))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine in results:
        assert len(mine) == 8
        for y in mine:
            assert_same_bits(y, wanted)


FORK = """
import os, sys
import numpy as np
import pyconv
from pyconv import kernels
pyconv.set_num_threads(3)
x = np.random.default_rng(0).normal(size=(2, 24, 20, 20)).astype(np.float32)
w = np.random.default_rng(1).normal(size=(48, 24, 3, 3)).astype(np.float32)
if {used}:
    before = kernels.conv2d(x, w)
child = os.fork()
y = kernels.conv2d(x, w)
if child == 0:
    ok = all((kernels.conv2d(x, w) == y).all() for _ in range(5))
    os._exit(0 if ok and ({used} is False or (before == y).all()) else 7)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("used", [False, True], ids=["before-first-use", "after-first-use"])
def test_kernels_run_in_parent_and_child_of_a_fork(used):
    done = python(FORK.format(used=used))
    assert done.returncode == 0, done.stderr


def test_denormals_are_flushed_in_kernels_and_nowhere_else(threads):
    x = np.full((1, 16, 64, 64), 1e-30, np.float32)
    weight = np.full((16, 16, 1, 1), 1e-10, np.float32)  # products of 1e-40 are denormal
    y = kernels.conv2d(x, weight)
    assert (y == 0).all()
    assert np.float32(1e-30) * np.float32(1e-10) != 0


def test_results_are_aligned_and_their_memory_is_used_again():
    pyconv.empty_cache()
    x, weight = np.ones((1, 8, 64, 64), np.float32), np.ones((8, 8, 3, 3), np.float32)
    y = kernels.conv2d(x, weight)
    assert y.ctypes.data % 64 == 0
    live = pyconv.info()["memory"]["live"]
    address = y.ctypes.data
    del y
    assert pyconv.info()["memory"]["live"] < live
    assert kernels.conv2d(x, weight).ctypes.data == address


def test_the_cache_is_bounded_by_what_was_in_use_and_can_be_emptied():
    x, weight = np.ones((1, 8, 64, 64), np.float32), np.ones((8, 8, 3, 3), np.float32)
    results = [kernels.conv2d(x, weight) for _ in range(20)]
    peak = pyconv.info()["memory"]["high_water"]
    del results
    memory = pyconv.info()["memory"]
    assert 0 < memory["cached"] and memory["live"] + memory["cached"] <= peak
    pyconv.empty_cache()
    assert pyconv.info()["memory"]["cached"] == 0
    # A large one and then, in its place, many that would each need a place of their own.
    for images in (256, *range(1, 20)):
        kernels.conv2d(np.ones((images, 8, 64, 64), np.float32), weight)
        memory = pyconv.info()["memory"]
        assert memory["cached"] <= memory["high_water"] * 9 // 8 + 2**23


def test_blocks_of_many_sizes_share_memory():
    """As in a training step: they come and go like a stack. The memory is touched once, and what is
    left over between blocks is little."""
    code = (
        "import resource, numpy as np, pyconv; from pyconv import kernels\n"
        "x = np.ones(60 * 50000, 'f4')\n"
        "def step():\n"
        "    kept = [kernels.relu(x[: n * 50000]) for n in range(5, 60)]\n"
        "    while kept:\n"
        "        y = kernels.relu(kept.pop()[: -(len(kept) % 7) * 9000 - 1])\n"
        "step(); step(); before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for i in range(3): step()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
        "memory = pyconv.info()['memory']; print(memory['cached'], memory['high_water'])"
    )
    faults, cached, high_water = map(int, python(code).stdout.split())
    assert faults < 200 and cached < high_water * 9 // 8 + 2**23


def test_an_emptied_cache_is_given_back():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    y = kernels.relu(np.ones(2**24, np.float32))
    before = resident()
    del y
    pyconv.empty_cache()
    assert resident() < before - 2**25


def test_the_environment_limits_the_cache():
    code = (
        "import numpy as np, pyconv; from pyconv import kernels\n"
        "y = kernels.conv2d(np.ones((1, 8, 256, 256), 'f4'), np.ones((8, 8, 1, 1), 'f4'))\n"
        "del y; print(pyconv.info()['memory']['cached'])"
    )
    assert int(python(code, PYCONV_POOL_MB="1").stdout) <= 2**20
    assert int(python(code).stdout) > 2**20


def test_what_can_not_be_allocated_is_a_memory_error():
    x = np.broadcast_to(np.float32(1), (2**20, 1, 2**15, 2**15))
    weight = np.ones((1, 1, 1, 1), np.float32)
    with pytest.raises(MemoryError):
        kernels.conv2d(x, weight)


def test_arrays_outlive_everything_at_exit():
    code = (
        "import numpy as np\nfrom pyconv import kernels\n"
        "keep = kernels.conv2d(np.ones((1, 4, 9, 9), 'f4'), np.ones((4, 4, 3, 3), 'f4'))\n"
        "import builtins; builtins.keep = keep"
    )
    done = python(code)
    assert done.returncode == 0 and done.stderr == ""


def test_info_says_what_runs():
    info = pyconv.info()
    assert info["version"] == pyconv.__version__
    assert info["isa"] in info["isas"] and "generic" in info["isas"]
    assert info["threads"] == pyconv.get_num_threads() and info["cores"] >= 1
    assert set(info["memory"]) == {"live", "cached", "high_water"}
    assert info["processor"] and info["compiler"] and info["numpy"] == np.__version__


def test_info_says_what_there_is_for_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyconv._cuda", None)
    monkeypatch.delattr(pyconv, "_cuda", raising=False)
    assert pyconv.info()["cuda"] == "not built"
    module = types.ModuleType("pyconv._cuda")
    module.architectures = "80-real, 90-real"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyconv._cuda", module)
    monkeypatch.setattr(pyconv, "_cuda", module, raising=False)
    assert pyconv.info()["cuda"] == "80-real, 90-real"


def test_the_import_is_lazy_and_whole():
    code = (
        "import sys, pyconv\n"
        "heavy = {'pyconv.nn', 'pyconv.functional', 'PIL', 'tqdm', 'safetensors', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "for name in pyconv.__all__: getattr(pyconv, name)\n"
        "for name in dir(pyconv): getattr(pyconv, name)\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="'pyconv' has no attribute 'conv5d'"):
        pyconv.conv5d  # noqa: B018


def test_a_full_cache_makes_room_for_what_was_released_last():
    def kept(channels: int) -> int:
        """The address of a result that is released at once."""
        x = np.ones((1, channels, 64, 64), np.float32)
        return kernels.relu(x).ctypes.data

    pyconv.empty_cache()
    held = [kernels.relu(np.ones((1, 40, 64, 64), np.float32)) for _ in range(4)]
    del held  # the cache is full of these
    kept(90)
    assert kept(90) == kept(90)
