"""A comparison as text, Markdown, JSON and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sdpose_core.dependencies import require
from sdpose_core.files import atomic_path, atomic_write
from sdpose_training.evaluation.bootstrap import Estimate
from sdpose_training.evaluation.comparison import NOT_COMPARABLE, PAPER, SHOWN, Comparison
from sdpose_training.evaluation.comparison_plots import draw_bars, draw_differences
from sdpose_training.evaluation.paper_names import with_paper_rows
from sdpose_training.templates import markdown_table, percent, plain_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def format_comparison(table: Comparison) -> str:
    """The table as text, in percent: a row per estimator, AP and AR per domain, the paper's rows last; then remarks,
    intervals and differences."""
    rows = with_paper_rows(table.rows, table.peers)
    first = max(len(name) for name in rows)
    widths = [max(len(domain), 6 * len(SHOWN)) + 2 for domain in table.domains]
    head = " " * first + "".join(f"{domain:>{w}}" for domain, w in zip(table.domains, widths, strict=True))
    under = " " * first + "".join(f"{''.join(f'{f:>6}' for f in SHOWN):>{w}}" for w in widths)
    lines = [head, under]
    for name, row in rows.items():
        cells = ["".join(f"{percent(row.get(domain, {}).get(f)):>6}" for f in SHOWN) for domain in table.domains]
        lines.append(f"{name:<{first}}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)))
    tables = [f"\n{title}\n{plain_table(*cells)}" for title, cells in _tables(table)]
    return "\n".join([*lines, *table.all_remarks, *tables])


def write_comparison(table: Comparison, folder: Path) -> None:
    """Write `comparison.md`, `comparison.json`, `comparison.png` and, with pairs of results, `differences.png` into
    `folder`, each atomically.

    Args:
        table: of `compare`.
        folder: created if missing.

    Raises:
        InputError: the folder cannot be written to.
        MissingDependency: matplotlib is not installed.
    """
    require("matplotlib", "the picture of a comparison")
    with atomic_write(Path(folder) / "comparison.json", "w") as handle:
        json.dump(table.content(), handle, indent=1)
        handle.write("\n")
    with atomic_write(Path(folder) / "comparison.md", "w") as handle:
        handle.write(_markdown(table))
    with atomic_path(Path(folder) / "comparison.png") as path:
        draw_comparison(table).savefig(path, bbox_inches="tight")
    if table.uncertainty and table.uncertainty.differences:
        with atomic_path(Path(folder) / "differences.png") as path:
            draw_differences(table.uncertainty).savefig(path, bbox_inches="tight")


def _markdown(table: Comparison) -> str:
    columns = [f"{domain} {figure}" for domain in table.domains for figure in SHOWN]
    rows = [
        [name, *(percent(row.get(domain, {}).get(figure)) for domain in table.domains for figure in SHOWN)]
        for name, row in with_paper_rows(table.rows, table.peers).items()
    ]
    lines = markdown_table(["percent", *columns], rows, numbers=True)
    tables = [part for title, cells in _tables(table) for part in (f"## {title}", markdown_table(*cells, numbers=True))]
    paired = bool(table.uncertainty and table.uncertainty.differences)
    pictures = [*(["![Differences of AP](differences.png)"] if paired else []), "![AP against domain](comparison.png)"]
    return "\n\n".join(["# Comparison", lines, table.order, *table.all_remarks, *tables, *pictures]) + "\n"


def _tables(table: Comparison) -> Iterator[tuple[str, tuple[list[str], list[list[str]]]]]:
    """Title, head and rows of the tables that follow the main one."""
    found = table.uncertainty
    if found and found.intervals:
        head = ["percent", *(f"{domain} {figure}" for domain in table.domains for figure in SHOWN)]
        cells = [(domain, figure) for domain in table.domains for figure in SHOWN]
        rows = [[name, *(_ends(found.interval(name, *cell)) for cell in cells)] for name in found.intervals]
        yield found.title, (head, rows)
    if found and found.differences:
        rows = [
            [f"{each.domain}: {each.first} - {each.second}", *(_signed(each.figures.get(name)) for name in SHOWN)]
            for each in found.differences
        ]
        yield "Differences on the same resamples, in points; *: the interval does not contain 0", (
            ["first - second", *SHOWN], rows
        )  # fmt: skip
    for title, estimators in table.groups.items():
        names = list(dict.fromkeys(name for groups in estimators.values() for name in groups))
        head = ["AP, percent", *estimators]
        yield title, (head, [[n, *(percent(each.get(n, {}).get("AP")) for each in estimators.values())] for n in names])


def _ends(value: Estimate | None) -> str:
    return "-" if value is None else f"{100 * value.low:.1f} .. {100 * value.high:.1f}"


def _signed(value: Estimate | None) -> str:
    if value is None:
        return "-"
    ends = f"{100 * value.low:+.1f} .. {100 * value.high:+.1f}"
    return f"{100 * value.value:+.1f} ({ends}){' *' if value.apart else ''}"


def draw_comparison(table: Comparison) -> Figure:
    """AP by domain, see `draw_bars`."""
    apart = PAPER in table.rows and any(NOT_COMPARABLE in remark for remark in table.remarks)
    notes = [table.order, "Not all are to be compared with the paper: see comparison.md." if apart else ""]
    return draw_bars(table.rows, table.domains, PAPER, table.uncertainty, notes)
