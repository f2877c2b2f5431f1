"""Convolutions against all peers: a table by groups of layers, and a row for each."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from bench import conductor, document
from bench.document import geometric_mean, number
from pyconv import bench
from pyconv.bench import Convolution, Timing, markdown, significant

EAGER = ("PyTorch", "PyTorch, malloc raised")
TITLES = {"forward": "forward", "input": "backward data", "weight": "backward weight"}

# What is timed: at batch 1 with the engines, warm and cold; at the training batch.
INFERENCE, COLD = "batch 1", "batch 1, cold"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``python -m bench layers``."""
    conductor.add_running(parser, 0.1)
    rows = list(bench.groups("table"))
    parser.add_argument("--group", action="append", choices=rows, metavar="ROW",
                        help=f"may be repeated: {'; '.join(rows)}")  # fmt: skip
    parser.add_argument("--peer", action="append", metavar="NAME",
                        help="a part of a name; may be repeated: "
                        + "; ".join(conductor.PEERS))  # fmt: skip
    parser.add_argument("--dir", default="forward,input,weight", help="default: %(default)s")
    parser.add_argument("--batch", type=int, metavar="N",
                        help="1: at batch 1 only; others: in training, this one")  # fmt: skip
    parser.add_argument("--minutes", type=float, metavar="M",
                        help="shorten --seconds as needed to end in about so many")  # fmt: skip
    parser.add_argument("--no-cold", action="store_true", help="warm caches only")
    parser.add_argument("--below", type=float, metavar="RATIO",
                        help="print only rows below it, last of all")  # fmt: skip
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
    workers = conductor.start(conductor.installed(arguments.peer), arguments.threads, arguments.isa)
    versions = [worker.version() for worker in workers.values()]
    burst, peak = bench.Burst(), conductor.measured_peak(arguments.threads)
    work = list(_work(arguments))
    found: list[Measured] = []
    try:
        for i, (group, problem, direction, kinds) in enumerate(tqdm(work, desc="layers")):
            seconds = arguments.seconds
            if arguments.minutes:
                left = began + 60 * arguments.minutes - time.monotonic()
                seconds = affordable(seconds, left, sum(len(w[3]) for w in work[i:]))
            found += measure_layer(workers, group, problem, direction, kinds, seconds, burst)
    except KeyboardInterrupt:
        print("interrupted: the tables have what was measured", file=sys.stderr)
        arguments.write = False
    for worker in workers.values():
        worker.close()
    peak = max(peak, conductor.measured_peak(arguments.threads))
    caption = conductor.caption(arguments, peak, versions, "layers")
    summary = f"{caption}\n\n{summarise(found, peak)}"
    rows = (
        f"# Convolutions, layer by layer\n\n{caption}\n\n{EXPLANATION}\n\n{all_rows(found, peak)}"
    )
    print(rows if arguments.group else summary)
    if arguments.below:
        print(f"\nBelow {arguments.below}:\n\n{slow_rows(found, arguments.below)}")
    print(f"\n{len(found)} measurements in {time.monotonic() - began:.0f} s")
    if arguments.json:
        values = [m.as_dict() for m in found]
        bench.write_whole(arguments.json, json.dumps({"caption": caption, "rows": values}) + "\n")
    if arguments.write:
        document.write("layers", summary, rows)
    return 0


def affordable(seconds: float, left: float, measurements: int) -> float:
    """What a figure may take if so much time is left for so many measurements.

    Half of the time goes into building models, errors and first calls; a measurement has some ten
    figures.
    """
    return min(seconds, max(0.004, left / measurements / 20))


def _work(arguments: argparse.Namespace) -> Iterable[tuple[str, Convolution, str, list[str]]]:
    """Row, problem, direction, kinds of measurement."""
    for group, problems in bench.groups("table").items():
        if arguments.group and group not in arguments.group:
            continue
        for problem in problems:
            if arguments.batch in (None, 1):
                cold = [] if arguments.no_cold else [COLD]
                yield group, problem.with_batch(1), "forward", [INFERENCE, *cold]
            if arguments.batch != 1:
                training = problem.with_batch(arguments.batch or problem.batch)
                for direction in arguments.dir.split(","):
                    yield group, training, direction, [TITLES[direction]]


class Measured:
    """A layer in one direction, by all competitors: times, errors, what failed."""

    def __init__(self, group: str, kind: str, problem: Convolution) -> None:
        self.group, self.kind, self.problem = group, kind, problem
        self.algorithm = ""
        self.times: dict[str, Timing] = {}
        self.errors: dict[str, bench.Error] = {}
        self.failures: dict[str, str] = {}

    @property
    def inference(self) -> bool:
        """At batch 1, where weights may be packed."""
        return self.kind in (INFERENCE, COLD)

    def best(self, *peers: str, variants: tuple[str, ...] = ()) -> float | None:
        """The least seconds of these peers, of some variants or all; None if there is no time."""
        return min(
            (
                t.median
                for key, t in self.times.items()
                if key.split("/")[0] in peers and (not variants or key.split("/")[1] in variants)
            ),
            default=None,
        )

    def eager(self) -> float | None:
        """The faster of PyTorch's two layouts and settings of malloc."""
        return self.best(*EAGER, variants=("NCHW", "NHWC"))

    def peers(self) -> dict[str, float]:
        """The best of each peer, PyTorch's packed weights included, at batch 1."""
        found = {}
        for name in dict.fromkeys(key.split("/")[0] for key in self.times):
            if name not in ("pyconv", EAGER[1]):
                names = EAGER if name == EAGER[0] else (name,)
                seconds = self.best(*names)
                if seconds is not None:
                    found[name] = seconds
        return found

    def against_eager(self) -> float | None:
        """How many times as fast pyconv is as eager PyTorch, both with plain weights."""
        ours, theirs = self.best("pyconv", variants=("plain",)), self.eager()
        return theirs / ours if ours and theirs else None

    def against_best(self) -> float | None:
        """How many times as fast it is as the best of the peers, weights packed."""
        ours, peers = self.best("pyconv", variants=("packed", "plain")), self.peers()
        packed = self.best("pyconv", variants=("packed",)) or ours
        return min(peers.values()) / packed if packed and peers else None

    def share(self, seconds: float | None, peak: float) -> float | None:
        """Percent of the peak, by the flops of a direct kernel."""
        return 100 * self.problem.flops() / seconds / peak if seconds else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "group": self.group,
            "kind": self.kind,
            "problem": str(self.problem),
            "algorithm": self.algorithm,
            "flops": self.problem.flops(),
            "seconds": {k: t.median for k, t in self.times.items()},
            "spread": {k: t.spread for k, t in self.times.items()},
            "quiet": {k: t.quiet for k, t in self.times.items()},
            "error": {k: e.relative for k, e in self.errors.items()},
            "factor": {k: e.factor for k, e in self.errors.items()},
            "failures": self.failures,
        }


def measure_layer(
    workers: dict[str, conductor.Worker],
    group: str,
    problem: Convolution,
    direction: str,
    kinds: list[str],
    seconds: float,
    burst: bench.Burst,
) -> list[Measured]:
    """Time one layer by all who can; errors are taken once, before."""
    found = [Measured(group, kind, problem) for kind in kinds]
    judge = bench.Judge(problem, direction, *bench.operands(problem, direction))
    images = None if direction == "weight" else 1
    variants: dict[str, list[str]] = {}
    for name, worker in workers.items():
        try:
            variants[name] = worker.ask("layer", str(problem), direction)
            for variant in variants[name]:
                if name != EAGER[1]:
                    error = judge(worker.ask("output", variant, images))
                    found[0].errors[f"{name}/{variant}"] = error
        except (conductor.PeerError, ValueError) as error:
            variants[name] = []
            found[0].failures[name] = str(error)
    for measured in found:
        measured.algorithm = bench.explain(problem, direction).algorithm
        measured.errors, measured.failures = found[0].errors, found[0].failures
        runs: dict[str, Callable[[int], float]] = {}
        for name, worker in workers.items():
            runs |= worker.runs(variants[name], measured.kind == COLD)
        rounds = 5 if measured.kind == COLD else 7
        share = seconds / 2 if measured.kind == COLD else seconds
        try:
            measured.times = bench.measure(runs, share, burst, rounds=rounds, patience=1.5)
        except conductor.PeerError as error:
            measured.failures["timing"] = str(error)
    return found


# -- tables ---------------------------------------------------------------------------------------


EXPLANATION = (
    "Times in microseconds (~: the machine was disturbed all the time, an upper bound), per cents "
    "of the peak by the flops of a direct kernel, errors ‖y − y64‖ / ‖y64‖ with the least c for "
    "which each element is within c · 2^-23 · Σ|x w| in brackets. PyTorch: the faster of its two "
    "layouts, malloc as it comes and with raised thresholds, plain weights; its packed weights are "
    "among the peers at batch 1. Ratios above 1: pyconv is faster. *plain* compares with eager "
    "PyTorch, both with plain weights; *packed* with the fastest of all peers."
)


def _kinds(found: list[Measured]) -> list[str]:
    return list(dict.fromkeys(m.kind for m in found))


def _peer_names(found: list[Measured]) -> list[str]:
    return list(dict.fromkeys(name for m in found for name in m.peers()))


def summarise(found: list[Measured], peak: float) -> str:
    """Geometric means by rows."""
    parts = []
    inference = [m for m in found if m.kind == INFERENCE]
    if inference:
        parts.append(_inference_summary(inference, [m for m in found if m.kind == COLD], peak))
    training = [m for m in found if not m.inference]
    if training:
        parts.append(_training_summary(training, peak))
    return "\n\n".join(parts)


def _mean(values: Iterable[float | None]) -> float:
    return geometric_mean([v for v in values if v])


def _error(found: list[Measured], key: str) -> str:
    errors = [m.errors[key].relative for m in found if key in m.errors]
    return f"{max(errors):.0e}" if errors else "–"


def _with_all(found: list[Measured]) -> list[tuple[str, list[Measured]]]:
    rows: dict[str, list[Measured]] = {}
    for m in found:
        rows.setdefault(m.group, []).append(m)
    return [*rows.items(), *([("all", found)] if len(rows) > 1 else [])]


def _inference_summary(found: list[Measured], cold: list[Measured], peak: float) -> str:
    names = _peer_names(found)
    columns = ["forward, batch 1", "layers", *names, "pyconv plain", "packed", "error",
               "plain / PyTorch", "packed / best peer", "cold"]  # fmt: skip
    rows = []
    for group, layers in _with_all(found):
        here = [m for m in cold if m.group == group or group == "all"]
        cells = [group, str(len(layers))]
        for name in names:
            shares = [m.share(m.peers().get(name), peak) for m in layers]
            count = sum(share is not None for share in shares)
            short = "" if count in (0, len(layers)) else f" ({count})"
            cells.append(number(_mean(shares)) + short)
        for variant in ("plain", "packed"):
            cells.append(
                number(_mean(m.share(m.best("pyconv", variants=(variant,)), peak) for m in layers))
            )
        cells += [
            _error(layers, "pyconv/packed"),
            number(_mean(m.against_eager() for m in layers), ".2f"),
            number(_mean(m.against_best() for m in layers), ".2f"),
            number(_mean(m.against_best() for m in here), ".2f"),
        ]
        rows.append(cells)
    best = [m for m in found if m.against_best()]
    text = (
        "Geometric means, percent of the peak; of how many layers in brackets where a peer could "
        "not do all. PyTorch stands with the faster of eager and packed weights; the error is "
        "pyconv's largest, relative; *cold*: packed / best peer with flushed caches."
    )
    if best:
        worst = min(best, key=lambda m: m.against_best() or 0)
        text += (
            f" The least ratio to the best peer is {worst.against_best():.2f}, of "
            f"`{worst.problem}`."
        )
    return f"{text}\n\n{markdown(columns, rows)}"


def _training_summary(found: list[Measured], peak: float) -> str:
    kinds = _kinds(found)
    columns = ["training batch", "layers"]
    for kind in kinds:
        columns += [f"{kind}: PyTorch", "pyconv", "ratio", "least", "error"]
    rows = []
    for group, layers in _with_all(found):
        cells = [group, str(len({m.problem for m in layers}))]
        for kind in kinds:
            here = [m for m in layers if m.kind == kind]
            ratios = [m.against_eager() for m in here]
            cells += [
                number(_mean(m.share(m.eager(), peak) for m in here)),
                number(_mean(m.share(m.best("pyconv"), peak) for m in here)),
                number(_mean(ratios), ".2f"),
                number(min((r for r in ratios if r), default=None), ".2f"),
                _error(here, "pyconv/plain"),
            ]
        rows.append(cells)
    text = (
        "Geometric means, percent of the peak; plain weights; PyTorch's better layout and malloc."
    )
    return f"{text}\n\n{markdown(columns, rows)}"


def all_rows(found: list[Measured], peak: float) -> str:
    """A table for each kind of measurement, a row for each layer."""
    parts = []
    for kind in _kinds(found):
        here = [m for m in found if m.kind == kind]
        keys = list(dict.fromkeys(key for m in here for key in m.times))
        titles = [key.replace("/", " ") for key in keys]
        last = ["plain", "packed"] if here[0].inference else ["ratio"]
        rows = [_row(m, keys, peak) for m in here]
        table = markdown(["layer", "row", "algorithm", *titles, "% of peak", *last], rows, 3)
        parts.append(f"## {kind[0].upper()}{kind[1:]}\n\n{table}")
        if kind != COLD:  # the same results
            parts.append(f"Errors:\n\n{_error_rows(here)}")
    failures = [f"- `{m.problem}`, {m.kind}: {text}" for m in found for text in m.failures.values()]
    if failures:
        parts.append("What failed:\n\n" + "\n".join(dict.fromkeys(failures)))
    return "\n\n".join(parts)


def _row(m: Measured, keys: list[str], peak: float) -> list[str]:
    cells = [f"`{m.problem}`", m.group, m.algorithm]
    for key in keys:
        t = m.times.get(key)
        cells.append(f"{significant(1e6 * t.median)}{'' if t.quiet else '~'}" if t else "–")
    cells.append(number(m.share(m.best("pyconv"), peak)))
    cells.append(number(m.against_eager(), ".2f"))
    if m.inference:
        cells.append(number(m.against_best(), ".2f"))
    return cells


def _error_rows(found: list[Measured]) -> str:
    keys = list(dict.fromkeys(key for m in found for key in m.errors))
    rows = [
        [f"`{m.problem}`"]
        + [
            f"{m.errors[k].relative:.1e} ({m.errors[k].factor:.2g})" if k in m.errors else "–"
            for k in keys
        ]
        for m in found
    ]
    return markdown(["layer", *(k.replace("/", " ") for k in keys)], rows)


def slow_rows(found: list[Measured], limit: float) -> str:
    """What is slower than the limit, the worst first."""
    rows = []
    for m in found:
        for name, ratio in (("PyTorch", m.against_eager()), ("best peer", m.against_best())):
            if ratio and ratio < limit and (name == "PyTorch" or m.inference):
                rows.append((ratio, [m.kind, name, f"`{m.problem}`", m.algorithm, f"{ratio:.2f}"]))
    table = markdown(
        ["kind", "against", "layer", "algorithm", "ratio"], [r for _, r in sorted(rows)], 4
    )
    return table if rows else "none"
