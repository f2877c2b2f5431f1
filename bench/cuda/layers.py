"""The tensor-core kernels on ResNet-50's layers: launches counted whole, and what the counts would
let an A100 do by its data sheet. Counts, no times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import pyconv
from bench.cuda.counters import launches_since
from pyconv import kernels as k
from pyconv.bench import Convolution, markdown, suite

BATCH = 32
DIRECTIONS = ("forward", "data", "weight")
HEAD = ["layer", "FLOP a byte", "forward", "backward data", "backward weight"]
LEAST_SHARE, MOST_SECTORS = 0.75, 1.3

# An A100 of 40 GB: multiprocessors; clocks, FLOP of float32 and bytes in a second.
SMS, CLOCK, FLOAT32, MEMORY, CACHE = 108, 1.41e9, 19.5e12, 1.555e12, 4.0e12
TENSOR = {"float16": 312e12, "tf32": 156e12}


def measure(lines: Path, only: list[str] | None) -> Iterator[dict[str, Any]]:
    """A row for each layer, type and direction."""
    for dtype in TENSOR:
        for layer in suite("resnet50"):
            if layer.channels % 8 == 0:  # all but the first
                for direction in DIRECTIONS:
                    name = f"{layer} {direction} {dtype}"
                    if not only or any(text in name for text in only):
                        counts = _count(layer, dtype, direction, lines)
                        yield {"layer": str(layer), "dtype": dtype, "direction": direction} | counts


def _count(layer: Convolution, dtype: str, direction: str, lines: Path) -> dict[str, Any]:
    """Of one call, on zeros: nothing that is counted depends on values."""
    import cupy

    storage = np.float32 if dtype == "tf32" else np.dtype(dtype)

    def image(shape: tuple[int, int, int, int]) -> Any:
        n, c, h, w = shape
        return cupy.zeros((n, h, w, c), storage).transpose(0, 3, 1, 2)

    layer = layer.with_batch(BATCH)
    o, i, *kernel = layer.weight_shape
    x, dy = image(layer.input_shape()), image(layer.output_shape())
    w = cupy.zeros((*kernel, i, o), storage).transpose(3, 2, 0, 1)
    options: dict[str, Any] = dict(stride=layer.stride, padding=layer.padding)
    start = lines.stat().st_size if lines.exists() else 0
    with pyconv.float32_precision("tf32"):
        if direction == "forward":
            k.conv2d(x, w, **options)
        elif direction == "data":
            k.conv2d_backward_input(dy, w, x.shape, **options)
        else:
            k.conv2d_backward_weight(dy, x, w.shape, **options)
    launches = launches_since(lines, start)
    # Of an image that is read in strides, by kernels narrower than these, a part is touched.
    touched = np.prod([min(1, kernel[axis] / layer.stride[axis]) for axis in (0, 1)])
    distinct = dy.nbytes + w.nbytes + x.nbytes * (1 if direction == "data" else touched)
    columns = [_seconds(one, TENSOR[dtype]) for one in launches]
    estimates = [max(one.values()) for one in columns]
    longest = columns[int(np.argmax(estimates))]
    asked = [one[f"global_{kind}"]["sectors"] for one in launches for kind in ("load", "store")]
    return {
        "flops": layer.flops(),
        "distinct": float(distinct),
        "blocks": [int(np.prod(one["grid"])) for one in launches],
        "share": layer.flops() / TENSOR[dtype] / sum(estimates),
        "by": max(longest, key=lambda name: longest[name]),
        "sectors": 32 * sum(asked) / distinct,
        "columns": columns,
    }


def _seconds(launch: dict[str, Any], peak: float) -> dict[str, float]:
    """The least seconds by each resource. What the multiprocessors share out by blocks takes as
    long as whole waves of blocks: the last one counts as if it were full."""
    blocks = int(np.prod(launch["grid"]))
    waves = -(-blocks // SMS) * SMS / blocks
    words = launch["by_class"]
    issued = sum(n for name, n in words.items() if name not in ("mov", "ld_param"))
    shared = sum(launch[f"shared_{kind}"]["wavefronts"] for kind in ("load", "store"))
    kinds = ("global_load", "global_store", "atomic")
    return {
        "products": waves * launch["mma_flops"] / peak,
        "float32": waves * launch["flops"] / FLOAT32,
        "issue": waves * issued / (SMS * 4 * CLOCK),
        "shared": waves * shared / (SMS * CLOCK),
        "L2": 32 * sum(launch[kind]["sectors"] for kind in kinds) / CACHE,
        "memory": (launch["unique_read_bytes"] + launch["unique_write_bytes"]) / MEMORY,
    }


def tables(rows: list[dict[str, Any]]) -> str:
    """A table for each type; what misses its aim is in brackets."""
    text = []
    for dtype in TENSOR:
        found = {(r["layer"], r["direction"]): r for r in rows if r["dtype"] == dtype}
        names = list(dict.fromkeys(r["layer"] for r in rows if r["dtype"] == dtype))
        lines = []
        for name in names:
            of = [found.get((name, direction)) for direction in DIRECTIONS]
            intensity = next(_intensity(r) for r in of if r)
            lines.append([name, f"{intensity:.0f}", *map(_cell, of)])
        if lines:
            text.append(f"{dtype}, balance {TENSOR[dtype] / MEMORY:.0f} FLOP a byte:\n")
            text.append(markdown(HEAD, lines) + "\n")
    bound = [r for r in rows if _is_bound(r)]
    met = [sum(_meets(r) for r in part) for part in (bound, rows)]
    text.append(
        f"Of {len(bound)} above the balance {met[0]} meet the aim, of the {len(rows) - len(bound)} "
        f"others {met[1] - met[0]}."
    )
    return "\n".join(text)


def line(row: dict[str, Any]) -> str:
    """A row in words."""
    name = f"{row['layer']} {row['direction']} {row['dtype']}"
    return f"{name:44} {_cell(row):16} blocks {row['blocks']}"


def _intensity(row: dict[str, Any]) -> float:
    return float(row["flops"] / row["distinct"])


def _is_bound(row: dict[str, Any]) -> bool:
    """By products, not by memory."""
    return _intensity(row) > TENSOR[row["dtype"]] / MEMORY


def _meets(row: dict[str, Any]) -> bool:
    if _is_bound(row):
        return bool(row["share"] >= LEAST_SHARE)
    return bool(row["sectors"] <= MOST_SECTORS)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    shown = f"{row['share']:.0%} {row['by']}" if _is_bound(row) else f"{row['sectors']:.2f}"
    return shown if _meets(row) else f"({shown})"
