"""The page of a reproduction: one HTML file without links to other files."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdpose_core.files import atomic_write
from sdpose_training.reproduction.tables import Table
from sdpose_training.templates import html

_MAX_PICTURE = 4_000_000
"""Bytes of a picture that is put into the page; larger ones are named."""

_STYLE = """\
:root { color-scheme: light dark; --line: color-mix(in srgb, CanvasText 18%, Canvas);
  --soft: color-mix(in srgb, CanvasText 6%, Canvas); --warn: #b45309; --bad: #c0392b; --good: #1b7f4d; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .6rem 0; } h2 { font-size: 1.3rem; margin: 2.6rem 0 .2rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; } p { margin: .3rem 0 .8rem; max-width: 62rem; }
nav { display: flex; flex-wrap: wrap; gap: .3rem .5rem; margin: 1rem 0; }
nav a { border: 1px solid var(--line); border-radius: 1rem; color: inherit; padding: .1rem .7rem; }
nav a { text-decoration: none; }
dl { display: grid; gap: .15rem 1rem; grid-template-columns: max-content 1fr; } dt { opacity: .65; }
dd { margin: 0; overflow-wrap: anywhere; }
.notice { border: 2px solid var(--warn); border-radius: .4rem; font-weight: 600; padding: .5rem .8rem; }
.mark { color: var(--warn); font-size: .85rem; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { border-bottom: 1px solid var(--line); padding: .25rem .6rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; } thead tr.groups th { border-bottom: 0; text-align: center; }
td:first-child, th:first-child { background: Canvas; left: 0; position: sticky; text-align: left; }
tr.ours td { font-weight: 600; } tr.paper td, tr.paper td:first-child { background: var(--soft); }
tr.peers td { opacity: .75; } tr.difference td { font-style: italic; }
table.text td, table.text th { text-align: left; vertical-align: top; white-space: normal; min-width: 6rem; }
.missing { color: var(--warn); } .failed, .blocked { color: var(--bad); } .done, .kept { color: var(--good); }
details { margin: .3rem 0; } summary { cursor: pointer; }
pre { background: var(--soft); border-radius: .3rem; font-size: .82rem; margin: .3rem 0; padding: .5rem .7rem; }
pre { overflow-wrap: anywhere; white-space: pre-wrap; }
figure { margin: .8rem 0; } figure img { height: auto; max-width: 100%; }
figcaption { font-size: .85rem; opacity: .8; }
@media (max-width: 40rem) {
  body { font-size: 15px; padding: .6rem .8rem 3rem; } dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .4rem; } td, th { padding: .2rem .4rem; }
  .numbers td:first-child, .numbers th:first-child { max-width: 9.5rem; min-width: 8rem; white-space: normal; } }
"""

_PAGE = (
    """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>
"""
    + _STYLE
    + """\
</style></head>
<body><h1>{{ title }}</h1>
{% if notice %}
<p class="notice">{{ notice }}</p>
{% endif %}
<p>Tables and figures of arXiv 2509.24980: rows in bold were measured here, rows on gray are the paper's. Commands run \
from the folder of the project; each gives its result alone.</p>
<dl>{% for key, value in facts.items() %}<dt>{{ key }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
<nav>{% for each in sections %}<a href="#{{ each.anchor }}">{{ each.name }}</a>{% endfor %}\
<a href="#all">What ran</a></nav>
{% for each in sections %}
<section id="{{ each.anchor }}"><h2>{{ each.name }}: {{ each.title }}</h2>
<p>{{ each.says }}</p>
{% for table in each.tables %}
<h3>{{ table.title }}{% if notice %} <span class="mark">{{ notice }}</span>{% endif %}</h3>
<div class="wide"><table class="numbers"><thead>
{% if table.groups %}
<tr class="groups"><th></th>
{% for name, count in table.groups %}
<th colspan="{{ count }}">{{ name }}</th>
{% endfor %}
</tr>
{% endif %}
<tr><th></th>{% for name in table.columns %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in table.rows %}
<tr class="{{ row.kind }}"><td>{{ row.label }}</td>{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
{% for picture in each.pictures %}
<figure>{% if picture.data %}<img src="{{ picture.data }}" alt="{{ picture.caption }}">{% endif %}\
<figcaption>{{ picture.caption }}{% if notice %} <span class="mark">{{ notice }}</span>{% endif %}</figcaption></figure>
{% endfor %}
{% if each.differences %}
<h3>What differs from the paper</h3>
<ul>{% for line in each.differences %}<li>{{ line }}</li>{% endfor %}</ul>
{% endif %}
<h3>Commands</h3>
{% for run in each.runs %}
<details{% if run.problem %} open{% endif %}>
<summary>{{ run.name }}: <span class="{{ run.state }}">{{ run.state }}</span>, {{ run.time }}</summary>
{% if run.problem %}
<p class="{{ run.state }}">{{ run.problem }}</p>
{% endif %}
{% for command in run.commands %}
<pre>{{ command }}</pre>
{% endfor %}
</details>
{% endfor %}
</section>
{% endfor %}
<section id="all"><h2>What ran, and what is missing</h2>
<div class="wide"><table class="text">
<thead><tr>{% for name in plan_columns %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in plan %}
<tr>
{% for cell in row %}
<td{% if loop.index == 2 %} class="{{ cell }}"{% endif %}>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div></section>
</body></html>
"""
)


@dataclass(frozen=True)
class RunLine:
    """A job on the page: how it ended, what it took, and its command after those of the jobs that it needs."""

    name: str
    state: str
    time: str
    problem: str
    commands: Sequence[str]


@dataclass(frozen=True)
class Embedded:
    """A picture in the page; without `data`, only its caption is shown."""

    data: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A table or figure of the paper on the page."""

    anchor: str
    name: str
    title: str
    says: str
    tables: Sequence[Table]
    pictures: Sequence[Embedded]
    differences: Sequence[str]
    runs: Sequence[RunLine]


def embedded(path: Path, caption: str) -> Embedded:
    """A PNG or JPEG as a part of the page, or its path in the caption if it is too large for that."""
    content = path.read_bytes()
    if len(content) > _MAX_PICTURE:
        return Embedded("", f"{caption} ({path})")
    kind = "png" if path.suffix.lower() == ".png" else "jpeg"
    return Embedded(f"data:image/{kind};base64,{base64.b64encode(content).decode()}", caption)


def write_report(
    path: Path, title: str, notice: str, facts: Mapping[str, str], sections: Sequence[Section],
    plan_columns: Sequence[str], plan: Sequence[Sequence[str]],
) -> None:  # fmt: skip
    """Write the page, atomically.

    Args:
        notice: a warning above everything and beside every table; "" for none.
        facts: what was measured, with what.
        plan_columns, plan: the table of what ran and what is missing; the second column is the state.
    """
    page = html(_PAGE, title=title, notice=notice, facts=facts, sections=sections, plan_columns=plan_columns, plan=plan)
    with atomic_write(path, "w") as file:
        file.write(page)
