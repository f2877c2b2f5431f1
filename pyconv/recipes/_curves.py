"""How a training went, drawn."""

from __future__ import annotations

from typing import Any


def curves(axes: Any, history: list[dict[str, Any]], key: str) -> None:
    """Draw what the history has under a key, for training and validation, against the epoch."""
    epochs = [record["epoch"] for record in history]
    for name, text in ((key, "training"), (f"validation_{key}", "validation")):
        values = [record.get(name) for record in history]
        if values and None not in values:
            axes.plot(epochs, values, marker=".", label=text)
    axes.set(xlabel="epoch", ylabel=key)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
