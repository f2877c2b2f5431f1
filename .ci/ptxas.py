"""Assemble every CUDA kernel of a checked build; fail where one spills to local memory.

Kernels whose occupancy is planned say so by __launch_bounds__, which holds their registers.
Products of warpgroups must not be made to wait for one another either.

    python .ci/ptxas.py EXTENSION [ARCHITECTURE ...]      default: 80 90

EXTENSION is _cuda*.so of a build with PYCONV_CUDA_CHECKED=ON, which holds its PTX as it is. PTX of
an architecture with a letter is assembled for that one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MODULE = re.compile(rb"\.version [0-9.]+\s*\n\.target (sm_\d+[a-z]?)[^\0]*")
FILE = re.compile(rb'^\t?\.file\s+\d+ "([^"]+)"', re.M)
ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(sm_\w+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
SERIALIZED = re.compile(r"wgmma\S* instructions are serialized.*")


def modules(extension: Path) -> list[tuple[str, str, bytes]]:
    """A source file, the architecture and the text of each PTX module of a library."""
    found = []
    for match in MODULE.finditer(extension.read_bytes()):
        files = sorted(FILE.findall(match[0]), key=lambda name: not name.endswith(b".cu"))
        if files:  # it has code
            name = "/".join(Path(files[0].decode()).parts[-2:])
            found.append((name, match[1].decode().removeprefix("sm_"), match[0]))
    return sorted(found, key=lambda module: module[:2])


def report(text: bytes, architecture: str) -> str:
    """What ptxas says of a module."""
    with tempfile.TemporaryDirectory() as folder:
        ptx = Path(folder, "module.ptx")
        ptx.write_bytes(text)
        command = ["ptxas", "-v", f"-arch=sm_{architecture}", "-o", f"{folder}/cubin", str(ptx)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return done.stderr


def faults(text: str) -> tuple[int, list[str]]:
    """How many kernels a report names, and what is wrong with them."""
    name, count, found = "", 0, []
    for line in text.splitlines():
        if match := ENTRY.search(line):
            name, count = f"{match[1]} for {match[2]}", count + 1
        elif match := SPILLS.search(line):
            if int(match[1]) or int(match[2]):
                found.append(f"{name}: {match[0]}")
        elif match := SERIALIZED.search(line):
            found.append(match[0])
    return count, found


def main(extension: str, architectures: list[str]) -> int:
    """0 if no kernel has a fault."""
    jobs = [
        (name, code, text)
        for name, own, text in modules(Path(extension))
        for code in ([own] if own[-1].isalpha() else architectures)
    ]
    if not jobs:
        raise SystemExit(f"{extension} holds no PTX that can be read: build it with "
                         "PYCONV_CUDA_CHECKED=ON")  # fmt: skip
    failed = False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reports = pool.map(lambda job: report(job[2], job[1]), jobs)
        for (name, code, _), text in zip(jobs, reports, strict=True):
            count, found = faults(text)
            print(f"{name}, sm_{code}: {count} kernels", flush=True)
            for fault in found:
                print(f"  {fault}")
                failed = True
    return int(failed)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:] or ["80", "90"]))
