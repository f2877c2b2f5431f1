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
ENTRY = re.compile(r"Compiling entry function '(\w+)' for")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")


def report(source: Path, architecture: str, folder: str) -> str:
    """What ptxas says of a file."""
    command = [
        "nvcc", "-std=c++17", f"-arch=sm_{architecture}", "-cubin", "-Xptxas=-v", "-I", "csrc",
        "-o", f"{folder}/{source.parent.name}-{source.stem}-{architecture}.cubin",
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
            name, count = match[1], count + 1
        elif match := SPILLS.search(line):
            if int(match[1]) or int(match[2]):
                found.append(f"{name}: {match[0]}")
    return count, found


def main(architectures: list[str]) -> int:
    """0 if no kernel has a fault."""
    failed = False
    sources = sorted((ROOT / "csrc" / "cuda").rglob("*.cu"))
    jobs = [(source, architecture) for source in sources for architecture in architectures]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        reports = pool.map(lambda job: report(*job, folder), jobs)
        for (source, architecture), text in zip(jobs, reports, strict=True):
            count, found = faults(text)
            print(f"{source.relative_to(ROOT)} for sm_{architecture}: {count} kernels", flush=True)
            for fault in found:
                print(f"  {fault}")
                failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["80", "90"]))
