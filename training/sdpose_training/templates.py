"""Templates (jinja2) and tables (tabulate)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sdpose_core.dependencies import require


def html(template: str, **values: Any) -> str:
    """Render HTML; values are escaped."""
    return _render(template, values, autoescape=True)


def text(template: str, **values: Any) -> str:
    """Render plain text or Markdown; values are not escaped, see `inline`."""
    return _render(template, values, autoescape=False)


def inline(value: object) -> str:
    """A name of unknown origin for Markdown: on one line, and no HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(str(value).split()))


def _render(template: str, values: dict[str, Any], *, autoescape: bool) -> str:
    jinja2 = require("jinja2", "writing pages")
    options = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = jinja2.Environment(autoescape=autoescape, undefined=jinja2.StrictUndefined, **options)
    return environment.from_string(template).render(values)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    """A Markdown table with padded columns; `numbers` aligns all columns but the first to the right."""
    return _table([[inline(cell).replace("|", r"\|") for cell in row] for row in (header, *rows)], "pipe", numbers)


def percent(value: float | None) -> str:
    """A fraction as a cell of a table; "-" for none."""
    return "-" if value is None else f"{100 * value:.1f}"


def hours_text(hours: float) -> str:
    """ "3.5 days", "3.2 hours", "12 minutes" or "40 seconds"."""
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    if hours >= 1:
        return f"{hours:,.1f} hours"
    return f"{hours * 60:.0f} minutes" if hours >= 1 / 30 else f"{hours * 3600:.0f} seconds"


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True) -> str:
    """A column of names, with their leading spaces, and columns of numbers, or of text."""
    return _table([header, *rows], "plain", numbers)


def _table(lines: Sequence[Sequence[str]], layout: str, numbers: bool) -> str:
    tabulate = require("tabulate", "writing tables").tabulate
    align = ("left", *(["right" if numbers else "left"] * (len(lines[0]) - 1)))
    kept = {"disable_numparse": True, "preserve_whitespace": True}
    return tabulate(lines[1:], lines[0], layout, colalign=align, headersglobalalign=None, **kept)
