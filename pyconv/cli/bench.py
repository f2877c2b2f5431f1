"""``pyconv bench PROBLEM...``."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from pyconv.cli.common import UsageError, at_least, between

_FORMS = """\
A problem is written by letters,

  "n8 c64 k128 h56 r3 u2 p1"

  n  images of the batch (1)         r s  height and width of the kernel (s is r)
  c  input channels                  u v  stride down and across (1; v is u)
  k  output channels                 p q  padding above and left (0; q is p)
  h  height of the input             d e  dilation down and across (1; e is d)
  w  its width (h)                   g    groups (1)
  o  extra rows and columns of a transposed convolution's output (0)

or by shapes: input, output channels and kernel, then stride s, padding p, dilation d, groups g,
batch n and extra rows o where they are not the default; a pair is written p0x3:

  "conv 64x56x56 128x3x3 s2 p1 n8"

"dw" in front makes it depthwise (in the place of "conv"), "transposed" transposed. A ~ behind a
time: the machine was disturbed all the time, and it is an upper bound. The error is
|y - y64| / |y64|, c the least factor for which each element is within c 2^-23 sum |x w| of float64.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``pyconv bench``."""
    from pyconv.bench.problems import DIRECTIONS, suites

    parser.epilog = _FORMS
    parser.add_argument("problem", metavar="PROBLEM", nargs="*", help="a convolution, as below")
    parser.add_argument(
        "--suite",
        action="append",
        choices=suites(),
        default=[],
        metavar="NAME",
        help=f"all layers of a suite; may be repeated ({', '.join(suites())})",
    )
    parser.add_argument(
        "--dir",
        default="forward",
        metavar="LIST",
        help=f"of {', '.join(DIRECTIONS)}: the output, the gradient of the input or the weight; or "
        "all (default: %(default)s)",
    )
    parser.add_argument(
        "--algorithm",
        default="auto",
        metavar="LIST",
        help="names of algorithms, auto, or all that take the problem (default: %(default)s)",
    )
    parser.add_argument("--batch", type=at_least(1), metavar="N", help="in the place of n")
    parser.add_argument("--packed", action="store_true", help="pack weights before, forward")
    cache = parser.add_mutually_exclusive_group()
    cache.add_argument("--warm", action="store_true", help="call after call (the default)")
    cache.add_argument("--cold", action="store_true", help="flush the caches before each call")
    parser.add_argument(
        "--isa", metavar="NAME", help="instruction set (default: the best there is)"
    )
    parser.add_argument(
        "--threads",
        type=at_least(1),
        metavar="N",
        help="threads of the kernels (default: PYCONV_NUM_THREADS, or all cores)",
    )
    parser.add_argument(
        "--seconds",
        type=between(0, 3600, open_low=True),
        default=0.2,
        metavar="S",
        help="for each figure (default: %(default)s)",
    )
    parser.add_argument("--json", metavar="FILE", help="write what came out")
    parser.add_argument("--markdown", metavar="FILE", help="write the table")
    parser.add_argument("--roofline", metavar="FILE", help="draw a PNG; needs the extra plot")


def run(arguments: argparse.Namespace) -> None:
    """Time, judge, print, write."""
    import contextlib

    import pyconv
    from pyconv.bench.roofline import figure_class

    problems = _problems(arguments)
    directions = _directions(arguments.dir)
    algorithms = _algorithms(arguments.algorithm, problems, directions)
    if arguments.roofline:
        figure_class()  # not there: said before hours of measuring
    if arguments.isa is not None and arguments.isa not in pyconv.info()["isas"]:
        isas = ", ".join(pyconv.info()["isas"])
        raise UsageError(f"--isa must be one of {isas}, got {arguments.isa!r}")
    if arguments.threads is not None:
        pyconv.set_num_threads(arguments.threads)
    with contextlib.nullcontext() if arguments.isa is None else pyconv.isa(arguments.isa):
        _run(arguments, problems, directions, algorithms)


def _problems(arguments: argparse.Namespace) -> list[Any]:
    from pyconv import bench

    try:
        found = [bench.parse(text) for text in arguments.problem]
    except ValueError as error:
        raise UsageError(str(error).removeprefix("parse: ")) from None
    for name in arguments.suite:
        found += bench.suite(name)
    if not found:
        raise UsageError("a problem or --suite must be given; see pyconv bench --help")
    if arguments.batch:
        found = [problem.with_batch(arguments.batch) for problem in found]
    return list(dict.fromkeys(found))


def _directions(text: str) -> list[str]:
    from pyconv.bench import DIRECTIONS

    names = list(DIRECTIONS) if text == "all" else text.split(",")
    for name in names:
        if name not in DIRECTIONS:
            raise UsageError(f"--dir must be of {', '.join(DIRECTIONS)}, or all, got {name!r}")
    return names


def _algorithms(text: str, problems: list[Any], directions: list[str]) -> list[str] | None:
    """Names, or None for all that take a problem."""
    from pyconv import bench

    if text == "all":
        return None
    names = text.split(",")
    known = {"auto"}
    for problem in problems:
        for direction in directions:
            explanation = bench.explain(problem, direction)
            known |= {*explanation.refusals, *bench.algorithms(problem, direction)}
    for name in names:
        if name not in known:
            wanted = ", ".join(sorted(known))
            raise UsageError(f"--algorithm must be of {wanted}, or all, got {name!r}")
    return names


def _run(
    arguments: argparse.Namespace,
    problems: list[Any],
    directions: list[str],
    algorithms: list[str] | None,
) -> None:
    from tqdm import tqdm

    import pyconv
    from pyconv import bench
    from pyconv.bench import results

    threads = pyconv.get_num_threads()
    burst, flush = bench.Burst(), bench.Flush() if arguments.cold else None
    peak = threads * bench.peak_flops()
    found: list[bench.Result] = []
    work = [(problem, direction) for problem in problems for direction in directions]
    for problem, direction in tqdm(work, desc="bench", leave=False, disable=None):
        names = algorithms or bench.algorithms(problem, direction)
        found += bench.bench(
            problem,
            direction,
            names,
            peak=peak,
            seconds=arguments.seconds,
            cold=arguments.cold,
            packed=arguments.packed,
            burst=burst,
            flush=flush,
        )
    later = max(peak, threads * bench.peak_flops())
    found = [dataclasses.replace(r, peak=r.peak * peak / later) for r in found]
    peak = later
    info = pyconv.info()
    machine = {
        **{key: info[key] for key in ("version", "processor", "compiler", "isa", "threads")},
        "peak_gflops": peak / 1e9,
        "cache": "cold" if arguments.cold else "warm",
        "packed": arguments.packed,
        "seconds": arguments.seconds,
    }
    head = (
        f"{info['processor']}, {info['isa']}, {threads} thread{'s' * (threads > 1)}, "
        f"{machine['cache']}; peak {peak / 1e9:.1f} GFLOP/s"
    )
    if not found:
        raise ValueError(f"no problem is taken by {arguments.algorithm}")
    rows = [results.cells(result) for result in found]
    print(head)
    print(results.plain(results.COLUMNS, rows, (0, 1, 2, 10)))
    if arguments.json:
        bench.write_whole(arguments.json, bench.as_json(machine, found))
    if arguments.markdown:
        table = bench.markdown(results.COLUMNS, rows, 3)
        bench.write_whole(arguments.markdown, f"{head}.\n\n{table}\n")
    if arguments.roofline:
        levels = {"L2": 256 * 2**10, "memory": 256 * 2**20}
        rates = {f"copy in {level}": bench.copy_bandwidth(size) for level, size in levels.items()}
        bench.write_whole(arguments.roofline, bench.roofline(found, peak, rates, head))
