"""A page of pictures side by side: plain HTML beside its pictures, nothing from the network."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sdpose_core.files import atomic_write

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }
dt { opacity: .65; } dd { margin: 0; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th { position: sticky; top: 0; background: Canvas; text-align: left; }
td, th { padding: .3rem .4rem; vertical-align: top; }
td img { display: block; max-width: 20rem; width: 100%; height: auto; }
td img.row { max-width: none; width: auto; }
tr.head td { padding-top: 1.2rem; font-weight: 600; }
figcaption { font-size: 13px; opacity: .8; } figure { margin: 0; }
video { max-width: 100%; }
"""


@dataclass(frozen=True)
class Picture:
    """A cell: a picture beside the page, and what is said under it. `row`: shown at its own width."""

    path: Path
    caption: str = ""
    row: bool = False


@dataclass(frozen=True)
class Row:
    """Cells in the order of the columns, under a heading of their own (or none)."""

    heading: str
    cells: Sequence[Picture | str]


def write_page(
    path: Path,
    title: str,
    facts: Mapping[str, str],
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    notes: Sequence[str] = (),
    video: Path | None = None,
) -> None:
    """Write the page, atomically.

    Args:
        path: of the page; pictures and video are named relative to its folder, so that the folder can be moved.
        facts: settings and figures, above the table.
        columns: headings of the columns.
        notes: sentences under the facts.
    """
    folder = path.parent
    facts_html = "".join(f"<dt>{_text(key)}</dt><dd>{_text(value)}</dd>" for key, value in facts.items())
    notes_html = "".join(f"<p>{_text(note)}</p>" for note in notes)
    video_html = f'<video controls loop src="{_address(video, folder)}"></video>' if video else ""
    head = "".join(f"<th>{_text(name)}</th>" for name in columns)
    body = "".join(
        (f'<tr class="head"><td colspan="{len(columns)}">{_text(row.heading)}</td></tr>' if row.heading else "")
        + f"<tr>{''.join(_cell(cell, folder) for cell in row.cells)}</tr>\n"
        for row in rows
    )
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{_text(title)}</h1>\n<dl>{facts_html}</dl>\n{notes_html}{video_html}\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div></body></html>\n'
    )
    with atomic_write(path, "w") as file:
        file.write(page)


def _cell(cell: Picture | str, folder: Path) -> str:
    if isinstance(cell, str):
        return f"<td>{_text(cell)}</td>"
    kind = ' class="row"' if cell.row else ""
    image = f'<img{kind} loading="lazy" src="{_address(cell.path, folder)}" alt="{_text(cell.caption)}">'
    return f"<td><figure>{image}<figcaption>{_text(cell.caption)}</figcaption></figure></td>"


def _address(path: Path, folder: Path) -> str:
    return quote(path.relative_to(folder).as_posix())


def _text(value: str) -> str:
    return html.escape(value)
