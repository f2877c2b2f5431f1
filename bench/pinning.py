"""Cores and threads, settled before NumPy and the peers are loaded."""

from __future__ import annotations

import argparse
import os


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--threads and --core."""
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument(
        "--core",
        type=int,
        metavar="I",
        help="pin to the cores from this one on (default: as taskset has it, or the last)",
    )


def pin() -> None:
    """Keep this process, and those that it starts, on as many cores as there are threads."""
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    arguments, _ = parser.parse_known_args()
    count = str(arguments.threads)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = count
    allowed = sorted(os.sched_getaffinity(0))
    if arguments.core is not None:
        allowed = list(range(arguments.core, arguments.core + arguments.threads))
    os.sched_setaffinity(0, set(allowed[-arguments.threads :]))
