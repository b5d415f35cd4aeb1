"""Texts from templates (jinja2) and tables (tabulate)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sdpose_core.dependencies import require


def html(template: str, **values: Any) -> str:
    """A page; every value is escaped."""
    return _render(template, values, autoescape=True)


def text(template: str, **values: Any) -> str:
    """A text without markup of HTML, such as Markdown; values stand as they are."""
    return _render(template, values, autoescape=False)


def _render(template: str, values: dict[str, Any], *, autoescape: bool) -> str:
    jinja2 = require("jinja2", "writing pages")
    options = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = jinja2.Environment(autoescape=autoescape, undefined=jinja2.StrictUndefined, **options)
    return environment.from_string(template).render(values)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = False) -> str:
    """Columns as wide as their widest cell, to be read on a screen too; `numbers`: all but the first end right."""
    lines = [[cell.replace("|", r"\|") for cell in row] for row in (header, *rows)]
    return _table(lines, "pipe", numbers)


def percent(value: float | None) -> str:
    """A fraction as a cell of a table; "-" for none."""
    return "-" if value is None else f"{100 * value:.1f}"


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A column of names, spaces in front of them kept, and columns of numbers."""
    return _table([header, *rows], "plain", numbers=True)


def _table(lines: Sequence[Sequence[str]], layout: str, numbers: bool) -> str:
    tabulate = require("tabulate", "writing tables").tabulate
    align = ("left", *(["right" if numbers else "left"] * (len(lines[0]) - 1)))
    kept = {"disable_numparse": True, "preserve_whitespace": True}
    return tabulate(lines[1:], lines[0], layout, colalign=align, headersglobalalign=None, **kept)
