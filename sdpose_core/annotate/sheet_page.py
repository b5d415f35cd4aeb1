"""The HTML of a contact sheet. It needs no script and no network, and follows the light or dark mode of the reader."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..errors import counted, on_one_line
from ..poses import count_people

if TYPE_CHECKING:
    from .sheet import Row

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --dim: #5a5a66; --page: #f6f6f8; --card: #fff; --line: #d4d4dc;
  --bad: #b3261e; --link: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf1; --dim: #a9a9b6; --page: #141417; --card: #1f1f24;
  --line: #3a3a44; --bad: #ff8a80; --link: #8ab4f8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 110rem; color: var(--ink); background: var(--page);
  font: 1rem/1.45 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.3rem; }
header p { margin: .2rem 0 1rem; color: var(--dim); }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: .8rem; margin: 0; padding: 0;
  list-style: none; }
li { padding: .7rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--card);
  content-visibility: auto; contain-intrinsic-size: auto 19rem; overflow-wrap: anywhere; }
li.failed, li.nobody { border-left: .3rem solid var(--bad); }
h2 { margin: 0 0 .4rem; font-size: 1rem; }
.views { display: flex; gap: .4rem; }
.views a, .views span { flex: 1; min-width: 0; }
img { display: block; width: 100%; height: 11rem; object-fit: contain; background: var(--page); border-radius: .25rem; }
p { margin: .35rem 0 0; }
.dim { color: var(--dim); font-size: .9rem; }
.bad { color: var(--bad); }
a { color: var(--link); }
a:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
@media (max-width: 27rem) { ol { grid-template-columns: 1fr; } }
"""


def page(
    rows: Sequence[Row], folder: Path, generator: str, *, title: str = "Contact sheet", summary: str | None = None
) -> Iterator[str]:
    """The parts of the page that shows `rows` in their order; links are relative to `folder`.

    `summary` is the line below the title; None: how many inputs there are, and how they are sorted.
    """
    title = _text(f"{title}: {folder.resolve().name}")
    below = _summary(rows) if summary is None else _text(summary)
    yield (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{generator}\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n<p>{below}</p>\n</header>\n<main>\n<ol>\n"
    )
    for row in rows:
        yield _card(row, folder)
    yield "</ol>\n</main>\n</body>\n</html>\n"


def _summary(rows: Sequence[Row]) -> str:
    failed = sum(row.status == "failed" for row in rows)
    nobody = sum(row.status != "failed" and not row.scores for row in rows)
    facts = [counted(len(rows), "input"), *([f"{failed} failed"] if failed else [])]
    facts += [f"{nobody} with nobody found"] if nobody else []
    return f"{', '.join(facts)}. The worst come first, by the mean score of the body points that are there."


def _card(row: Row, folder: Path) -> str:
    kind = "failed" if row.status == "failed" else "people" if row.scores or row.doubt else "nobody"
    parts = [f"<h2>{_text(row.name)}</h2>", _views(row, folder), f"<p>{_people(row)}</p>"]
    parts += [f'<p class="dim">found by: {_text("; ".join(row.found))}</p>'] if _adds(row) else []
    parts += [f'<p class="{"bad" if kind == "failed" else "dim"}">{_text(row.message)}</p>'] if row.message else []
    links = [_link(row.source, folder, "source"), *(_link(file, folder, _short(file, row)) for file in row.files)]
    return (
        f'<li class="{kind}">\n' + "\n".join(part for part in parts if part) + f"\n<p>{' · '.join(links)}</p>\n</li>\n"
    )


def _adds(row: Row) -> bool:
    """Whether the message does not say already how the people were found."""
    return bool(row.found) and not all(phrase in row.message for phrase in row.found)


def _people(row: Row) -> str:
    if row.doubt:
        return f"<strong>{_text(row.doubt)}</strong>"
    if row.status == "failed":
        return '<strong class="bad">failed</strong>'
    if row.score is None:
        return '<strong class="bad">nobody found</strong>'
    each = f" ({', '.join(f'{score:.2f}' for score in row.scores)})" if len(row.scores) > 1 else ""
    shown = f"; shown is {_text(row.shown)}, the worst" if row.shown else ""
    return f"<strong>{count_people(len(row.scores))}</strong>, score {row.score:.2f}{each}{shown}"


def _views(row: Row, folder: Path) -> str:
    if not row.picture:
        return ""
    at = f", {row.shown}" if row.shown else ""
    closer = next((file for file in row.files if "_overlay." in file.name), None)
    closer = closer or next((file for file in row.files if "_pose." in file.name or "_kps_play." in file.name), None)
    views = (("picture", row.picture, row.source), ("poses", row.overlay, closer))
    shown = []
    for what, webp, target in views:
        source = "data:image/webp;base64," + base64.b64encode(webp).decode()
        alt = _text(f"{row.name}{at}: {what}")
        image = f'<img src="{source}" alt="{alt}" title="{alt}" decoding="async">'
        shown.append(f'<a href="{_address(target, folder)}">{image}</a>' if target else f"<span>{image}</span>")
    return f'<div class="views">{"".join(shown)}</div>'


def _short(file: Path, row: Row) -> str:
    """The end of a file's name, after NAME."""
    return file.name.removeprefix(row.name.rpartition("/")[2]).lstrip("_.")


def _link(file: Path, folder: Path, text: str) -> str:
    return f'<a href="{_address(file, folder)}">{_text(text)}</a>'


def _address(file: Path, folder: Path) -> str:
    """A relative URL; on another drive the absolute one. Names of any bytes survive."""
    try:
        path = os.path.relpath(os.path.abspath(file), os.path.abspath(folder)).replace(os.sep, "/")
    except ValueError:
        return html.escape(Path(os.path.abspath(file)).as_uri())
    return html.escape(quote(os.fsencode(path)))


def _text(text: str) -> str:
    return html.escape(on_one_line(text))
