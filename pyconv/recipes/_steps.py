"""Steps with a progress bar."""

from __future__ import annotations

from typing import Any


def steps_with_bar(steps: int, title: str, progress: bool) -> Any:
    """A bar over the steps, to be used as a context manager and iterated over."""
    from tqdm import tqdm

    return tqdm(range(steps), desc=title, disable=not progress, leave=True)
