"""A page with pictures side by side: plain HTML, without anything from the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sdpose_core.files import atomic_write
from sdpose_training.templates import html

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
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
</style></head>
<body><h1>{{ title }}</h1>
<dl>{% for key, value in facts.items() %}<dt>{{ key }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
{% for note in notes %}
<p>{{ note }}</p>
{% endfor %}
{% if video %}
<video controls loop src="{{ address(video) }}"></video>
{% endif %}
<div class="wide"><table><thead><tr>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in rows %}
{% if row.heading %}
<tr class="head"><td colspan="{{ columns | length }}">{{ row.heading }}</td></tr>
{% endif %}
<tr>
{% for cell in row.cells %}
{% if cell is string %}
<td>{{ cell }}</td>
{% else %}
<td><figure><img{% if cell.row %} class="row"{% endif %} loading="lazy" src="{{ address(cell.path) }}" \
alt="{{ cell.caption }}"><figcaption>{{ cell.caption }}</figcaption></figure></td>
{% endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div></body></html>
"""


@dataclass(frozen=True)
class Picture:
    """A table cell: a picture and its caption. `row`: shown at its full width."""

    path: Path
    caption: str = ""
    row: bool = False


@dataclass(frozen=True)
class Row:
    """Cells in the order of the columns, under a heading (may be empty)."""

    heading: str
    cells: Sequence[Picture | str]


def write_page(
    path: Path, title: str, facts: Mapping[str, str], columns: Sequence[str], rows: Sequence[Row], *,
    notes: Sequence[str] = (), video: Path | None = None,
) -> None:  # fmt: skip
    """Write the page, atomically; pictures and video must be in its folder, and are linked relative to it.

    Above the table are `facts` (settings and figures) and `notes` (sentences).
    """

    def address(file: Path) -> str:
        return quote(file.relative_to(path.parent).as_posix())

    page = html(_PAGE, title=title, facts=facts, columns=columns, rows=rows, notes=notes, video=video, address=address)
    with atomic_write(path, "w") as handle:
        handle.write(page)
