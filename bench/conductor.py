"""Starts a process for each competitor and lets them run in turns.

A process of its own lets PyTorch run with two settings of malloc in one run, keeps the thread pools
of the peers apart, and a peer that crashes takes nothing else along.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyconv
from bench import pinning
from pyconv import bench

ROOT = Path(__file__).resolve().parent.parent

# So much memory is kept by malloc that no call faults a page: kernels against kernels.
RAISED = {
    "MALLOC_MMAP_THRESHOLD_": "8000000000",
    "MALLOC_TRIM_THRESHOLD_": "16000000000",
    "MALLOC_TOP_PAD_": "400000000",
}
# The instruction sets that peers can be held to. MLAS (onnxruntime), ncnn and XNNPACK have no such
# setting.
CAPS = {
    "avx2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }
}
# By the name in tables: module in bench.peers, what it imports, its environment.
PEERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "pyconv": ("pyconv_kernels", "pyconv", {}),
    "PyTorch": ("pytorch", "torch", {}),
    "PyTorch, malloc raised": ("pytorch", "torch", RAISED),
    "onnxruntime": ("onnx_runtime", "onnxruntime", {}),
    "OpenVINO": ("open_vino", "openvino", {}),
    "ncnn": ("tencent_ncnn", "ncnn", {}),
    "XNNPACK": ("xnnpack", "ai_edge_litert", {}),
}
LAYERS_ONLY = ("XNNPACK",)
NEEDS_ONNX = ("onnxruntime", "OpenVINO")


class PeerError(RuntimeError):
    """What a peer could not do, in one line."""


class Worker:
    """A process that serves one peer; see `bench.worker`."""

    def __init__(self, name: str, threads: int, isa: str | None = None) -> None:
        self.name = name
        module, _, environment = PEERS[name]
        ours, theirs = socket.socketpair()
        count = str(threads)
        env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in (str(ROOT), *sys.path) if p),
            "PYCONV_NUM_THREADS": count,
            **({"PYCONV_ISA": isa, **CAPS.get(isa, {})} if isa else {}),
            **environment,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", str(theirs.fileno()), module, count],
            pass_fds=[theirs.fileno()],
            env=env,
            cwd=ROOT,
            start_new_session=True,  # Ctrl-C is for the conductor
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        self._line = Connection(ours.detach())

    def ask(self, *message: Any) -> Any:
        """Send a message and wait for the answer; PeerError if the peer failed."""
        try:
            self._line.send(message)
            good, answer = self._line.recv()
        except (EOFError, OSError):
            raise PeerError(f"{self.name}: its process ended") from None
        if not good:
            raise PeerError(f"{self.name}: {answer}")
        return answer

    def runs(self, variants: list[str], cold: bool = False) -> dict[str, Callable[[int], float]]:
        """A competitor for `measure`, for each variant."""
        return {
            f"{self.name}/{v}": (lambda repeats, v=v: self.ask("time", v, repeats, cold))
            for v in variants
        }

    def version(self) -> str:
        """Name and version."""
        return str(self.ask("version"))

    def close(self) -> None:
        """End the process."""
        self._line.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def add_running(parser: argparse.ArgumentParser, seconds: float) -> None:
    """The arguments that all commands have."""
    parser.add_argument("--seconds", type=float, default=seconds, metavar="S",
                        help="for each figure (default: %(default)s)")  # fmt: skip
    pinning.add_arguments(parser)
    parser.add_argument("--isa", choices=("avx2", "avx512"),
                        help="pyconv's; avx2 holds PyTorch and OpenVINO to it, too")  # fmt: skip
    parser.add_argument("--write", action="store_true",
                        help="write the tables into docs and bench/results")  # fmt: skip


def installed(names: list[str] | None) -> list[str]:
    """The peers that are there, pyconv first; those that were asked for must be."""
    found = []
    for name, (_, module, _) in PEERS.items():
        there = importlib.util.find_spec(module) is not None
        if name in NEEDS_ONNX:
            there = there and importlib.util.find_spec("onnx") is not None
        wanted = names is None or name == "pyconv" or any(n.lower() in name.lower() for n in names)
        if there and wanted:
            found.append(name)
    return found


def start(names: list[str], threads: int, isa: str | None) -> dict[str, Worker]:
    """A process for each; those that don't come up are said and left out."""
    workers = {name: Worker(name, threads, isa) for name in names}
    for name in names:
        try:
            workers[name].ask("version")
        except PeerError as error:
            print(f"left out: {error}", file=sys.stderr)
            workers.pop(name).close()
    return workers


def commit() -> str:
    """The commit, with a + if files that are under version control differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    return (git("rev-parse", "--short", "HEAD") or "?") + "+" * bool(
        git("status", "--porcelain", "--untracked-files=no", "--", "csrc", "pyconv")
    )


def caption(
    arguments: argparse.Namespace, peak: float, versions: Iterable[str], command: str
) -> str:
    """What ran on what, for the head of a table."""
    info = pyconv.info()
    peers = ", ".join(dict.fromkeys(versions))
    threads = f"{arguments.threads} thread{'s' * (arguments.threads > 1)}, pinned"
    held = ""
    if arguments.isa == "avx2":
        held = " PyTorch and OpenVINO are held to AVX2; the others choose for themselves."
    parts = [
        f"{info['processor']}, {arguments.isa or info['isa']}, {threads}",
        f"compiler {info['compiler']}",
        f"commit {commit()}",
        *([peers] if peers else []),
    ]
    return (
        f"{'; '.join(parts)}. Peak {peak / 1e9:.1f} GFLOP/s. Written by "
        f"`python -m bench {command}`.{held}"
    )


def measured_peak(threads: int) -> float:
    """Flops a second."""
    return threads * bench.peak_flops()
