"""Compile every CUDA kernel to machine code; fail where one spills to local memory.

Kernels whose occupancy is planned say so by __launch_bounds__, which holds their registers.

    python .ci/ptxas.py [ARCHITECTURE ...]      default: 80 90
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
ENTRY = re.compile(r"Compiling entry function '(\w+)' for '(sm_\w+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")


def report(source: Path, architectures: list[str], folder: str) -> str:
    """What ptxas says of a file: one pass of the compiler, as in the build."""
    codes = ",".join(f"sm_{architecture}" for architecture in architectures)
    lowest = min(architectures, key=int)
    command = [
        "nvcc", "-std=c++17", f"-gencode=arch=compute_{lowest},code=[{codes}]", "-c",
        "-Xptxas=-v", "-I", "csrc", "-o", f"{folder}/{source.parent.name}-{source.stem}.o",
        str(source.relative_to(ROOT)),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
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
    return count, found


def main(architectures: list[str]) -> int:
    """0 if no kernel has a fault."""
    failed = False
    sources = sorted((ROOT / "csrc" / "cuda").rglob("*.cu"))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        reports = pool.map(lambda source: report(source, architectures, folder), sources)
        for source, text in zip(sources, reports, strict=True):
            count, found = faults(text)
            print(f"{source.relative_to(ROOT)}: {count} kernels", flush=True)
            for fault in found:
                print(f"  {fault}")
                failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["80", "90"]))
