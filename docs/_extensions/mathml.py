"""Formulas as MathML, which browsers draw themselves: no script, nothing from elsewhere."""

from __future__ import annotations

from typing import Any

import latex2mathml.converter


def inline(writer: Any, node: Any) -> None:
    """A formula in a line."""
    writer.body.append(latex2mathml.converter.convert(node.astext()))
    raise _skip()


def block(writer: Any, node: Any) -> None:
    """A formula by itself, with its number."""
    found = latex2mathml.converter.convert(node.astext(), display="block")
    number = f'<span class="eqno">({node["number"]})</span>' if node["number"] else ""
    writer.body.append(f'<div class="math">{number}{found}</div>')
    raise _skip()


def _skip() -> Exception:
    from docutils.nodes import SkipNode

    return SkipNode()


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.config.html_math_renderer = "mathml"
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
