"""One problem after the other, timed and judged; tables of what came out."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pyconv.bench.accuracy import Judge
from pyconv.bench.calls import explain, operands, pack, run
from pyconv.bench.problems import Convolution
from pyconv.bench.timing import Burst, Flush, measure, seconds_of


@dataclasses.dataclass(frozen=True)
class Result:
    """A problem in one direction, by one algorithm.

    Attributes
    ----------
    problem, direction : str
    algorithm : str
        That ran.
    why : str
        What it was chosen for: what `kernels.explain` says of the others.
    microseconds, low, high : float
        A call: the median and the quartiles.
    spread : float
        The distance of the quartiles, relative to the median.
    quiet : bool
        Whether enough rounds were undisturbed.
    gflops, gbytes : float
        A second; of a direct kernel, and of input, weight and output moved once.
    peak : float
        The part of the machine's peak.
    error, factor : float
        See `Error`.
    flops, bytes : float
    """

    problem: str
    direction: str
    algorithm: str
    why: str
    microseconds: float
    low: float
    high: float
    spread: float
    quiet: bool
    gflops: float
    gbytes: float
    peak: float
    error: float
    factor: float
    flops: float
    bytes: float


def bench(
    problem: Convolution,
    direction: str = "forward",
    algorithms: Sequence[str] = ("auto",),
    *,
    peak: float,
    seconds: float = 0.2,
    cold: bool = False,
    packed: bool = False,
    burst: Burst | None = None,
    flush: Flush | None = None,
) -> list[Result]:
    """Time algorithms on a problem, in turns, and compare them with float64.

    Parameters
    ----------
    problem : Convolution
    direction : {"forward", "input", "weight"}
        The output, or the gradient of the input or the weight.
    algorithms : sequence of str
        "auto" or names; those that refuse the problem are left out.
    peak : float
        Flops a second that make 100 %.
    seconds : float
        For each.
    cold : bool
        Whether the operands are driven out of the caches before each call.
    packed : bool
        Whether forward gets a packed weight.
    burst : Burst, optional
        See `measure`.
    flush : Flush, optional
        Made if `cold` asks for it.

    Returns
    -------
    list of Result

    Raises
    ------
    ValueError
        `algorithms` has a name that no kernel has; the message is the kernel's.

    Examples
    --------
    >>> from pyconv.bench import bench, parse
    >>> found = bench(parse("c4 k8 h6 r3"), "forward", ["direct"], peak=1e11, seconds=0.01)
    >>> found[0].algorithm, found[0].error < 1e-6
    ('direct', True)
    """
    first, second = operands(problem, direction)
    explanation = explain(problem, direction)
    judge = Judge(problem, direction, first, second)
    use = flush or Flush() if cold else None
    runs: dict[str, Callable[[int], float]] = {}
    errors = {}
    for name in algorithms:
        if name in explanation.refusals:
            continue
        weight: Any = second
        if packed and direction == "forward":
            weight = pack(problem, second, name)
        out = run(problem, direction, first, weight, name)
        errors[name] = judge(out)

        def one(name: str = name, weight: Any = weight, out: Any = out) -> Any:
            return run(problem, direction, first, weight, name, out)

        runs[name] = lambda repeats, one=one: seconds_of(one, repeats, use)  # type: ignore[misc]
    found = []
    for name, timing in measure(runs, seconds, burst).items() if runs else ():
        rate = problem.flops() / timing.median
        found.append(
            Result(
                problem=str(problem),
                direction=direction,
                algorithm=explanation.algorithm if name == "auto" else name,
                why=_why(explanation, name),
                microseconds=1e6 * timing.median,
                low=1e6 * timing.low,
                high=1e6 * timing.high,
                spread=timing.spread,
                quiet=timing.quiet,
                gflops=rate / 1e9,
                gbytes=problem.bytes() / timing.median / 1e9,
                peak=rate / peak,
                error=errors[name].relative,
                factor=errors[name].factor,
                flops=problem.flops(),
                bytes=problem.bytes(),
            )
        )
    return found


def _why(explanation: Any, name: str) -> str:
    if name not in ("auto", explanation.algorithm):
        return f"asked for; {explanation.algorithm} would run"
    reasons = [f"{other}: {reason}" for other, reason in explanation.refusals.items()]
    return "; ".join(reasons) or "the first of those that take it"


COLUMNS = ("problem", "direction", "algorithm", "µs", "spread", "GFLOP/s", "GB/s", "% of peak",
           "error", "c", "why")  # fmt: skip


def cells(result: Result) -> list[str]:
    """The row of a result, for `COLUMNS`."""
    return [
        result.problem,
        result.direction,
        result.algorithm,
        f"{significant(result.microseconds)}{'' if result.quiet else '~'}",
        f"{100 * result.spread:.0f}%",
        significant(result.gflops),
        significant(result.gbytes),
        f"{100 * result.peak:.0f}",
        f"{result.error:.1e}",
        f"{result.factor:.2g}",
        result.why,
    ]


def significant(value: float, digits: int = 3) -> str:
    """A positive number with so many digits, never in powers of ten.

    Examples
    --------
    >>> from pyconv.bench import significant
    >>> significant(1234.5), significant(0.01234)
    ('1234', '0.0123')
    """
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    if whole == 0 and value:
        places = digits
        while places < 12 and abs(value) < 10 ** -(places - digits + 1):
            places += 1
        return f"{value:.{places}f}"
    return f"{value:.{max(0, digits - whole)}f}"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]], text: int = 1) -> str:
    """A Markdown table, the first `text` columns to the left, the others to the right.

    Examples
    --------
    >>> from pyconv.bench import markdown
    >>> print(markdown(["a", "b"], [["x", "1"]]))
    | a | b |
    |---|--:|
    | x | 1 |
    """
    lines = ["| " + " | ".join(columns) + " |"]
    lines.append("|---" * text + "|--:" * (len(columns) - text) + "|")
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def plain(columns: Sequence[str], rows: Sequence[Sequence[str]], text: Sequence[int]) -> str:
    """A table for the screen; `text` are the columns that stand to the left."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = []
    for row in (columns, *rows):
        line = "  ".join(
            cell.ljust(width) if i in text else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append(line.rstrip())
    return "\n".join(lines)


def as_json(machine: dict[str, Any], results: Sequence[Result]) -> str:
    """What was measured and on what, as one JSON object."""
    values = {"machine": machine, "results": [dataclasses.asdict(r) for r in results]}
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file so that there is the old one or the new one, and never a part.

    Parameters
    ----------
    path : str or path
    content : str or bytes
        Text is written in UTF-8.

    Raises
    ------
    OSError
        It can't be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from pyconv.bench import write_whole
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
    >>> write_whole(path, "all of it")
    >>> path.read_text()
    'all of it'
    """
    target = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:  # names the file that was asked for, not the temporary one
        raise type(error)(error.errno, error.strerror, str(target)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
