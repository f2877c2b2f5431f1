"""Counts of launches, from the lines that an emulator of a GPU writes, one a launch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.cuda.problems import Problem
from bench.cuda.timing import on_device, results

HEAD = [
    "problem", "launches", "loads coalesced", "stores coalesced", "bytes", "shared loads",
    "shared stores", "instructions a FLOP", "FFMA or MMA",
]  # fmt: skip


def count(problem: Problem, lines: Path) -> dict[str, Any]:
    """The counts of one call."""
    try:
        arrays = on_device(problem)
        results(problem, arrays)  # to load modules, and to fill the pool
        start = lines.stat().st_size if lines.exists() else 0
        found = results(problem, arrays)
    except TypeError as error:
        return {"problem": problem.name, "message": str(error)}
    launches = launches_since(lines, start)
    needed = sum(a.nbytes for a in (*arrays, *arrays[: problem.twice], *found))
    row: dict[str, Any] = {"problem": problem.name, "launches": len(launches)}
    for kind in ("load", "store"):
        sectors = sum(one[f"global_{kind}"]["sectors"] for one in launches)
        ideal = sum(one[f"global_{kind}"]["ideal_sectors"] for one in launches)
        row[kind] = ideal / sectors if sectors else 1.0
        waves = sum(one[f"shared_{kind}"]["wavefronts"] for one in launches)
        least = sum(one[f"shared_{kind}"]["ideal_wavefronts"] for one in launches)
        row[f"shared_{kind}"] = waves / least if least else 1.0
    moved = sum(one["unique_read_bytes"] + one["unique_write_bytes"] for one in launches)
    row["bytes"] = moved / needed
    row["atomics"] = sum(one["atomic"]["requests"] for one in launches)
    row["sectors"] = sum(one["global_load"]["sectors"] for one in launches)
    row["shared"] = sum(
        one[f"shared_{kind}"]["wavefronts"] for one in launches for kind in ("load", "store")
    )
    if problem.flops:
        lanes = sum(one["lane_instructions"] for one in launches)
        row["instructions"] = lanes / problem.flops
    return row


def main_loops(lines: Path, only: list[str] | None) -> Iterator[dict[str, Any]]:
    """The share of multiply-adds in the main loops: of the instructions that a launch has more
    than one of a shorter sum. Both are short enough not to be cut into parts."""
    from bench.cuda.problems import image, matrix, weight
    from pyconv import kernels as k

    def gemm(depth: int) -> tuple[Any, list[np.ndarray]]:
        return k.gemm, [matrix(128, depth), matrix(depth, 128)]

    def forward(depth: int) -> tuple[Any, list[np.ndarray]]:
        call = lambda x, w: k.conv2d(x, w, padding=1)  # noqa: E731
        return call, [image(1, depth, 16, 16), weight(64, depth, 3, 3)]

    def data(depth: int) -> tuple[Any, list[np.ndarray]]:
        call = lambda dy, w: k.conv2d_backward_input(dy, w, (1, 64, 16, 16), padding=1)  # noqa: E731
        return call, [image(1, depth, 16, 16), weight(depth, 64, 3, 3)]

    def weights(depth: int) -> tuple[Any, list[np.ndarray]]:
        call = lambda dy, x: k.conv2d_backward_weight(dy, x, (64, 64, 3, 3), padding=1)  # noqa: E731
        return call, [image(1, 64, depth, 8), image(1, 64, depth, 8)]

    for name, make, depths in (
        ("gemm", gemm, (32, 96)), ("conv forward", forward, (8, 24)),
        ("conv data", data, (8, 24)), ("conv weight", weights, (8, 24)),
    ):  # fmt: skip
        for dtype in ("float32", "tf32", "float16"):
            title = f"main loop of {name} {dtype}"
            if only and not any(text in title for text in only):
                continue
            counted = []
            message = ""
            for depth in depths:
                call, arrays = make(depth)
                problem = Problem(title, call, arrays, dtype=dtype)
                try:
                    there = on_device(problem)
                    results(problem, there)
                    start = lines.stat().st_size
                    results(problem, there)
                except TypeError as error:
                    message = str(error)
                    break
                counted.append(
                    max(
                        launches_since(lines, start),
                        key=lambda one: one["flops"] + one["mma_flops"],
                    )
                )
            if message:
                yield {"problem": title, "message": message}
                continue
            short, long = counted
            total = long["ptx_warp_instructions"] - short["ptx_warp_instructions"]
            key = "ffma" if dtype == "float32" else "mma"
            useful = [one["by_class"].get(key, 0) for one in counted]
            yield {"problem": title, "launches": 1, key: (useful[1] - useful[0]) / total}


def launches_since(lines: Path, start: int) -> list[dict[str, Any]]:
    """What was written behind a place in the file."""
    with open(lines, "rb") as file:
        file.seek(start)
        return [json.loads(line) for line in file if line.strip()]


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    if "message" in row:
        return [row["problem"], row["message"], *[""] * (len(HEAD) - 2)]

    def shown(key: str, form: str) -> str:
        return format(row[key], form) if key in row else "–"

    return [
        row["problem"], str(row["launches"]), shown("load", ".1%"), shown("store", ".1%"),
        shown("bytes", ".2f"), shown("shared_load", ".2f"), shown("shared_store", ".2f"),
        shown("instructions", ".2f"), shown("mma" if "mma" in row else "ffma", ".1%"),
    ]  # fmt: skip


def faults(rows: list[dict[str, Any]], limits: dict[str, Any]) -> list[str]:
    """What is past its limit. ``limits["all"]`` holds for every problem; an entry whose words are
    all in a problem's name goes before it, and later entries before earlier ones. Instructions
    are compared with what was counted last."""
    found = []
    for row in rows:
        if "message" in row:
            found.append(f"{row['problem']}: {row['message']}")
            continue
        bounds = dict(limits["all"])
        for name, own in limits.items():
            if name not in ("all", "instructions") and set(name.split()) <= set(
                row["problem"].split()
            ):
                bounds.update({key: value for key, value in own.items() if key != "why"})
        for key, (low, high) in bounds.items():
            value = row.get(key)
            if value is not None and not (
                (low is None or value >= low) and (high is None or value <= high)
            ):
                found.append(f"{row['problem']}: {key} is {value:.3f}, not from {low} to {high}")
        before = limits["instructions"].get(row["problem"])
        if "instructions" in row and (before is None or row["instructions"] > 1.05 * before):
            found.append(
                f"{row['problem']}: {row['instructions']:.3f} instructions a FLOP, {before} before"
            )
    return found
