"""The kernels for CuPy arrays: their errors, their times against PyTorch's, or their counts."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

LIMITS = Path(__file__).with_name("limits.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m bench cuda``."""
    parser.add_argument("--only", action="append", metavar="TEXT", help="problems with TEXT in it")
    parser.add_argument("--small", action="store_true", help="small problems, as for --counters")
    parser.add_argument("--no-times", action="store_true", help="errors alone")
    parser.add_argument("--seconds", type=float, default=0.3, help="default: %(default)s a figure")
    parser.add_argument("--json", metavar="FILE", help="all figures, for programs")
    parser.add_argument(
        "--counters", metavar="FILE",
        help="count instead of timing: FILE is where an emulator writes a line for each launch; "
        "fails where a count is past its limit in bench/cuda/limits.json",
    )  # fmt: skip
    parser.add_argument(
        "--ladders", action="store_true", help="the counts of the ladders (with --counters)"
    )
    parser.add_argument(
        "--layers", action="store_true",
        help="ResNet-50's layers on tensor cores (with --counters; half an hour of an emulator)",
    )  # fmt: skip
    parser.add_argument(
        "--curves", action="store_true", help="train on both devices; the losses side by side"
    )
    parser.add_argument(
        "--write", action="store_true",
        help="the table of counts to docs/cuda.md, or docs/kernels/ladders.md; the instructions "
        "to limits.json",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Check, measure, print."""
    from bench.cuda import counters, curves, ladder, layers, problems, timing
    from pyconv.bench import markdown, write_whole

    if arguments.curves:
        text = curves.table()
        print(text)
        if arguments.write:
            _write("cuda.md", text, "curves")
        return 0
    if arguments.ladders:
        if not arguments.counters:
            raise SystemExit("bench cuda: --ladders counts: give --counters FILE")
        text = ladder.tables(Path(arguments.counters))
        print(text)
        if arguments.write:
            _write("kernels/ladders.md", text)
        return 0
    if arguments.layers:
        if not arguments.counters:
            raise SystemExit("bench cuda: --layers counts: give --counters FILE")
        rows = []
        for row in layers.measure(Path(arguments.counters), arguments.only):
            rows.append(row)
            print(layers.line(row), flush=True)
            if arguments.json:
                write_whole(Path(arguments.json), json.dumps(rows, indent=1) + "\n")
        text = layers.tables(rows)
        print(text)
        if arguments.write:
            _write("cuda.md", text, "layers")
        return 0

    chosen = [
        problem
        for problem in problems.problems(small=arguments.small or bool(arguments.counters))
        if not arguments.only or any(text in problem.name for text in arguments.only)
    ]
    if arguments.counters:
        # The kernels of bfloat16 are those of float16.
        chosen = [problem for problem in chosen if problem.dtype != "bfloat16"]
        rows = [counters.count(problem, Path(arguments.counters)) for problem in chosen]
        rows += counters.main_loops(Path(arguments.counters), arguments.only)
        text = markdown(counters.HEAD, [counters.cells(row) for row in rows])
        print(text)
        limits = json.loads(LIMITS.read_text("utf-8"))
        if arguments.write:
            _write("cuda.md", text)
            counted = {
                r["problem"]: round(r["instructions"], 3) for r in rows if "instructions" in r
            }
            limits["instructions"].update(counted)
            write_whole(LIMITS, json.dumps(limits, indent=2) + "\n")
        faults = counters.faults(rows, limits)
    else:
        rows, faults = [], []
        for problem in chosen:
            row = timing.measure(problem, 0 if arguments.no_times else arguments.seconds)
            rows.append(row)
            print(timing.line(row), flush=True)
            if not row["error"] <= row["allowed"]:
                faults.append(f"{problem.name}: error {row['error']:.1e}")
    if arguments.json:
        write_whole(Path(arguments.json), json.dumps(rows, indent=1) + "\n")
    for fault in faults:
        print(fault)
    return int(bool(faults))


def _write(page: str, text: str, name: str = "counts") -> None:
    """Between the markers of that name in a page of docs/."""
    from bench.document import ROOT, replace_between
    from pyconv.bench import write_whole

    path = ROOT / "docs" / page
    write_whole(path, replace_between(path.read_text("utf-8"), name, text))
