"""Links to what is in the tree but no page become plain text: here they would lead nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"\[([^\]]*)\]\((\.\./[^)#]*)(?:#[^)]*)?\)")


def unlink(app: Any, name: str, source: list[str]) -> None:
    """Called with the text of every page."""
    root = Path(app.srcdir).resolve()
    folder = (root / name).parent

    def text(found: re.Match[str]) -> str:
        inside = (folder / found[2]).resolve().is_relative_to(root)
        return found[0] if inside else found[1]

    source[0] = _LINK.sub(text, source[0])


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", unlink)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
