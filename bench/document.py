"""Tables into documents, between markers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from pyconv.bench import write_whole

ROOT = Path(__file__).resolve().parent.parent
NOTES = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "bench" / "results"


def replace_between(text: str, name: str, content: str) -> str:
    """`text` with what stands between the markers of a name replaced; ValueError without them."""
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"the text must have {begin} and {end}, once each")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.S)
    return pattern.sub(lambda _: f"{begin}\n\n{content.strip()}\n\n{end}", text)


def write(name: str, summary: str, rows: str) -> None:
    """The summary into the notes, all rows into bench/results."""
    write_whole(NOTES, replace_between(NOTES.read_text("utf-8"), name, summary))
    RESULTS.mkdir(exist_ok=True)
    write_whole(RESULTS / f"{name}.md", rows.strip() + "\n")


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers; NaN of none."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def number(value: float | None, form: str = ".0f") -> str:
    """In a cell; a dash for what is missing."""
    return "–" if value is None or math.isnan(value) else f"{value:{form}}"
