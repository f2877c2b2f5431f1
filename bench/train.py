"""Whole networks: training steps, inference at batch 1, the memory of a step."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from typing import Any

import numpy as np

from bench import conductor, document, networks
from bench.conductor import PeerError, Worker
from bench.document import number
from bench.layers import EAGER
from pyconv import bench
from pyconv.bench import Timing, markdown, significant

LOSS_TOLERANCE = 1e-4  # relative; after three steps, with sums of up to 10^6 terms
OUTPUT_TOLERANCE = 1e-3  # of the norm; OpenVINO and ncnn round otherwise than PyTorch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m bench train``."""
    conductor.add_running(parser, 2.0)
    names = [*networks.STEPS, *networks.INFERENCE]
    parser.add_argument("--network", action="append", choices=names, metavar="NAME",
                        help=f"may be repeated: {', '.join(names)}")  # fmt: skip
    parser.add_argument("--peer", action="append", metavar="NAME", help="a part of the name")
    parser.add_argument("--no-memory", action="store_true", help="no memory of training steps")
    parser.add_argument("--json", metavar="FILE", help="all that was measured")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    from contextlib import nullcontext

    import pyconv

    pyconv.set_num_threads(arguments.threads)
    with nullcontext() if arguments.isa is None else pyconv.isa(arguments.isa):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    began = time.monotonic()
    # PyTorch writes the other peers' files.
    names = conductor.installed(arguments.peer and [*arguments.peer, "PyTorch"])
    chosen = arguments.network or [*networks.STEPS, *networks.INFERENCE]
    burst, peak = bench.Burst(), conductor.measured_peak(arguments.threads)
    found: list[Network] = []
    versions: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in tqdm(chosen, desc="networks", disable=None):
            training = name in networks.STEPS
            networks.save_state(name, folder)
            able = ("pyconv", *EAGER) if training else (*names,)
            some = [n for n in names if n in able and n not in conductor.LAYERS_ONLY]
            workers = conductor.start(some, arguments.threads, arguments.isa)
            try:
                versions += [worker.version() for worker in workers.values()]
                network = Network(name, networks.STEPS.get(name, 1), training)
                measure_network(network, workers, folder, arguments.seconds, burst)
            finally:
                for worker in workers.values():
                    worker.close()
            if training and not arguments.no_memory:
                measure_memory(network, folder, arguments)
            found.append(network)
    caption = conductor.caption(arguments, peak, versions, "train")
    summary = f"{caption}\n\n{summarise(found)}"
    print(summary)
    print(f"\n{time.monotonic() - began:.0f} s")
    if arguments.json:
        values = [n.as_dict() for n in found]
        bench.write_whole(arguments.json, json.dumps({"caption": caption, "rows": values}) + "\n")
    if arguments.write:
        rows = f"# Whole networks\n\n{caption}\n\n{all_rows(found)}"
        document.write("train", summary, rows)
    return 0


class Network:
    """One network, trained or run, by all who can."""

    def __init__(self, name: str, batch: int, training: bool) -> None:
        self.name, self.batch, self.training = name, batch, training
        self.times: dict[str, Timing] = {}
        self.errors: dict[str, float] = {}  # of the loss, or of the output
        self.memory: dict[str, int] = {}
        self.failures: dict[str, str] = {}

    def best(self, *peers: str) -> tuple[str, float] | None:
        """The fastest variant of these peers, or of all but pyconv; with its seconds."""
        keys = [
            key
            for key in self.times
            if (key.split("/")[0] in peers if peers else not key.startswith("pyconv/"))
        ]
        return min(((k, self.times[k].median) for k in keys), key=lambda e: e[1], default=None)

    def ratio(self, *peers: str) -> float | None:
        """How many times as fast pyconv is."""
        ours, theirs = self.best("pyconv"), self.best(*peers)
        return theirs[1] / ours[1] if ours and theirs else None

    def memory_ratio(self) -> float | None:
        """pyconv's memory to the least of PyTorch's."""
        others = [size for key, size in self.memory.items() if not key.startswith("pyconv")]
        ours = self.memory.get("pyconv/step")
        return ours / min(others) if ours and others else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "batch": self.batch,
            "training": self.training,
            "seconds": {k: t.median for k, t in self.times.items()},
            "spread": {k: t.spread for k, t in self.times.items()},
            "quiet": {k: t.quiet for k, t in self.times.items()},
            "error": self.errors,
            "memory": self.memory,
            "failures": self.failures,
        }


def measure_network(
    network: Network,
    workers: dict[str, Worker],
    folder: str,
    seconds: float,
    burst: bench.Burst,
) -> None:
    """Check that all compute the same, then time them in turns."""
    what = (network.name, folder, network.batch)
    expected = None
    if not network.training and EAGER[0] in workers:
        try:
            expected = workers[EAGER[0]].ask("exact", *what)
            workers[EAGER[0]].ask("export", *what)
        except PeerError as error:
            network.failures["export"] = str(error)
    outputs: dict[str, np.ndarray] = {}
    runs = {}
    for name, worker in workers.items():
        try:
            variants = worker.ask("step" if network.training else "inference", *what)
            for variant in variants:
                outputs[f"{name}/{variant}"] = _output(worker, variant, network.training)
        except PeerError as error:
            network.failures[name] = str(error)
            continue
        runs |= worker.runs(variants)
    if expected is None:  # PyTorch's losses, or what there is
        others = [v for k, v in outputs.items() if not k.startswith("pyconv/")]
        expected = (others or list(outputs.values()))[0]
    tolerance = LOSS_TOLERANCE if network.training else OUTPUT_TOLERANCE
    for key, output in outputs.items():
        error = float(np.linalg.norm(output - expected) / np.linalg.norm(expected))
        network.errors[key] = error
        if not error <= tolerance:
            network.failures[key] = f"{key}: its result is {error:.1e} from the others"
            runs.pop(key, None)
    network.times = bench.measure(runs, seconds, burst, rounds=7, least=3, patience=1.5)


def _output(worker: Worker, variant: str, training: bool) -> np.ndarray:
    """The output; in training the losses of three steps."""
    if not training:
        return worker.ask("output", variant, None).astype(np.float64)
    losses = [worker.ask("output", variant, None) for _ in range(3)]
    return np.concatenate(losses).astype(np.float64)


def measure_memory(network: Network, folder: str, arguments: argparse.Namespace) -> None:
    """The peak of three steps, in a fresh process for each competitor."""
    for name, layouts in (("pyconv", ["step"]), (EAGER[0], ["NCHW", "NHWC"])):
        if name not in conductor.installed(arguments.peer):
            continue
        for layout in layouts:
            worker = Worker(name, arguments.threads, arguments.isa)
            try:
                size = worker.ask("memory", network.name, folder, network.batch, layout)
                network.memory[f"{name}/{layout}"] = size
            except PeerError as error:
                network.failures[f"memory of {name}"] = str(error)
            finally:
                worker.close()


# -- tables ---------------------------------------------------------------------------------------


def summarise(found: list[Network]) -> str:
    """A table of the steps and one of the inferences."""
    parts = []
    steps = [n for n in found if n.training]
    if steps:
        columns = ["training step", "batch", "PyTorch, ms", "pyconv, ms", "ratio",
                   "loss differs by", "PyTorch, MiB", "pyconv, MiB", "memory"]  # fmt: skip
        rows = [_step_row(n) for n in steps]
        parts.append(
            "Forward, cross-entropy, backward, SGD with momentum; PyTorch's better layout and "
            "malloc. Memory: the peak of resident bytes over three steps less that before, model "
            "and data included, each in a process of its own, against PyTorch's smaller layout.\n\n"
            + markdown(columns, rows)
        )
    inferences = [n for n in found if not n.training]
    if inferences:
        peers = list(
            dict.fromkeys(
                key.split("/")[0] for n in inferences for key in n.times if "raised" not in key
            )
        )
        columns = ["inference, batch 1", *(f"{p}, ms" for p in peers), "ratio to PyTorch",
                   "to the best", "error"]  # fmt: skip
        rows = []
        for n in inferences:
            cells = [n.name]
            for peer in peers:
                best = n.best(*(EAGER if peer in EAGER else (peer,)))
                cells.append(significant(1e3 * best[1]) if best else "–")
            cells += [number(n.ratio(*EAGER), ".2f"), number(n.ratio(), ".2f")]
            cells.append(f"{n.errors.get('pyconv/eval', float('nan')):.0e}")
            rows.append(cells)
        parts.append(
            "Pictures of 224 × 224, `eval()`; the error is pyconv's output against float64.\n\n"
            + markdown(columns, rows)
        )
    return "\n\n".join(parts)


def _step_row(n: Network) -> list[str]:
    ours, theirs = n.best("pyconv"), n.best(*EAGER)
    others = [size for key, size in n.memory.items() if not key.startswith("pyconv")]
    mine = n.memory.get("pyconv/step")
    return [
        n.name,
        str(n.batch),
        significant(1e3 * theirs[1]) if theirs else "–",
        significant(1e3 * ours[1]) if ours else "–",
        number(n.ratio(*EAGER), ".2f"),
        f"{n.errors['pyconv/step']:.0e}" if "pyconv/step" in n.errors else "–",
        f"{min(others) / 2**20:.0f}" if others else "–",
        f"{mine / 2**20:.0f}" if mine else "–",
        number(n.memory_ratio(), ".2f"),
    ]


def all_rows(found: list[Network]) -> str:
    """Every variant of every competitor."""
    rows = []
    for n in found:
        for key, t in n.times.items():
            size = n.memory.get(key)
            rows.append([
                n.name, "training step" if n.training else "inference", str(n.batch),
                key.replace("/", " "),
                f"{significant(1e3 * t.median)}{'' if t.quiet else '~'}",
                f"{100 * t.spread:.0f}%",
                f"{n.errors[key]:.1e}" if key in n.errors else "–",
                f"{size / 2**20:.0f}" if size else "–",
            ])  # fmt: skip
    columns = ["network", "what", "batch", "competitor", "ms", "spread", "error", "MiB"]
    failures = [f"- {n.name}: {text}" for n in found for text in n.failures.values()]
    end = "\n\nWhat failed:\n\n" + "\n".join(failures) if failures else ""
    return markdown(columns, rows, 2) + end
