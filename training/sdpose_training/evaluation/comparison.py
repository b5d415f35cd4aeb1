"""Results of evaluate.py side by side: estimators against benchmarks, as text, Markdown, JSON and a picture."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_path, atomic_write
from sdpose_core.skeletons import COCO_WHOLEBODY_133
from sdpose_training.evaluation.paper_names import with_paper_rows
from sdpose_training.evaluation.paper_tables import peers_of
from sdpose_training.templates import markdown_table, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOMAINS = {
    "coco": "COCO", "coco-wholebody": "COCO-WholeBody", "humanart": "HumanArt", "coco-ood-monet": "COCO-OOD Monet",
    "coco-ood-ukiyoe": "COCO-OOD Ukiyo-e",
}  # fmt: skip
"""Benchmarks in the order of the paper, from photographs to art; others follow by their own names."""

SHOWN = ("AP", "AR")
PAPER = "SDPose in the paper"

_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")  # Okabe and Ito
_HATCHES = ("", "//", "xx", "..")
_PAPER_COLOR = "#bbbbbb"

Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class Comparison:
    """A table of estimators against domains.

    Attributes:
        domains: label of each column.
        rows: estimator -> domain -> figures as fractions; a domain that was not evaluated is absent. The last row,
            `PAPER`, has the paper's figures for SDPose, if the results have any.
        peers: the same for the paper's figures of other estimators.
        remarks: what limits the comparison.
    """

    domains: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Figures]]
    peers: Mapping[str, Mapping[str, Figures]]
    remarks: tuple[str, ...]


def compare(results: Sequence[Mapping[str, Any]]) -> Comparison:
    """Results of `evaluate.py` as a table. Raises `InputError` without results, or if one is incomplete."""
    if not results:
        raise InputError("nothing to compare: give at least one result of evaluate.py")
    rows: dict[str, dict[str, Figures]] = {}
    paper: dict[str, Figures] = {}
    for label, result in zip(_labels(results), results, strict=True):
        rows.setdefault(label, {})[_domain(result)] = _figures(result)
        if result.get("paper"):
            paper[_domain(result)] = _figures(result["paper"])
    if paper:
        rows[PAPER] = paper
    domains = tuple(_ordered(results))
    return Comparison(domains, rows, peers_of(domains) if paper else {}, tuple(_remarks(results)))


def format_comparison(results: Sequence[Mapping[str, Any]]) -> str:
    """The table as text, in percent: a row per estimator, AP and AR per domain, the paper's rows last."""
    table = compare(results)
    rows = with_paper_rows(table.rows, table.peers)
    first = max(len(name) for name in rows)
    widths = [max(len(domain), 6 * len(SHOWN)) + 2 for domain in table.domains]
    head = " " * first + "".join(f"{domain:>{w}}" for domain, w in zip(table.domains, widths, strict=True))
    under = " " * first + "".join(f"{''.join(f'{f:>6}' for f in SHOWN):>{w}}" for w in widths)
    lines = [head, under]
    for name, row in rows.items():
        cells = ["".join(f"{percent(row.get(domain, {}).get(f)):>6}" for f in SHOWN) for domain in table.domains]
        lines.append(f"{name:<{first}}" + "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True)))
    return "\n".join([*lines, *table.remarks])


def write_comparison(results: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write `comparison.md`, `comparison.json` and `comparison.png` into `folder`, each atomically.

    Args:
        results: of `evaluate.py`, for any number of estimators and benchmarks.
        folder: created if missing.

    Raises:
        InputError: no results, or the folder cannot be written to.
        MissingDependency: matplotlib is not installed.
    """
    table = compare(results)
    require("matplotlib", "the picture of a comparison")
    with atomic_write(Path(folder) / "comparison.json", "w") as handle:
        json.dump(asdict(table), handle, indent=1)
        handle.write("\n")
    with atomic_write(Path(folder) / "comparison.md", "w") as handle:
        handle.write(_markdown(table))
    with atomic_path(Path(folder) / "comparison.png") as path:
        draw_comparison(table).savefig(path, bbox_inches="tight")


def _entry(result: Mapping[str, Any], *keys: str) -> str:
    """The value of the first of these keys, at the top level or in the settings."""
    places = (result, result.get("settings", {}))
    found = [place[key] for place in places for key in keys if key in place]
    if not found:
        raise InputError(f"this is not a result of evaluate.py: it has no {keys[0]!r}, only {', '.join(result)}")
    return str(found[0])


def _labels(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The row of each result: the model's name, with its weight file where models share a name, and with a number where
    results share both."""
    names = [_entry(result, "model", "name") for result in results]
    weights = [result.get("hashes", {}).get("weights") or {} for result in results]
    identities = [json.dumps(each, sort_keys=True) for each in weights]
    shared = {name for name in names if len({i for n, i in zip(names, identities, strict=True) if n == name}) > 1}
    seen: Counter[tuple[str, ...]] = Counter()
    rows: dict[str, list[tuple[str, int]]] = {}
    labels = []
    for name, each, identity, result in zip(names, weights, identities, results, strict=True):
        seen[name, identity, _domain(result)] += 1
        row = (identity, seen[name, identity, _domain(result)])
        label = f"{name}, {Path(each['path']).name}" if name in shared and "path" in each else name
        known = rows.setdefault(label, [])
        if row not in known:
            known.append(row)
        number = known.index(row) + 1
        labels.append(label if number == 1 else f"{label} ({number})")
    return labels


def _domain(result: Mapping[str, Any]) -> str:
    benchmark = _entry(result, "benchmark")
    if domain := result.get("settings", {}).get("domain"):
        return str(domain)
    label = DOMAINS.get(benchmark, benchmark)
    whole = result.get("settings", {}).get("keypoint_set") == COCO_WHOLEBODY_133.name
    return f"{label} (133)" if whole and benchmark != "coco-wholebody" else label


def _ordered(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each domain once: body before whole body, in the order of `DOMAINS`, then others as given."""
    known = list(DOMAINS.values())

    def place(label: str) -> tuple[bool, int]:
        plain = label.removesuffix(" (133)")
        whole = plain != label or plain == DOMAINS["coco-wholebody"]
        return whole, known.index(plain) if plain in known else len(known)

    return sorted(dict.fromkeys(map(_domain, results)), key=place)


def _figures(result: Mapping[str, Any]) -> Figures:
    kinds = float | int | None
    figures = {key: value for key, value in result.items() if key[:2] in SHOWN and isinstance(value, kinds)}
    if missing := [key for key in SHOWN if key not in figures]:
        raise InputError(f"this is not a result of evaluate.py: it has no {missing[0]}, only {', '.join(result)}")
    return figures


def _remarks(results: Sequence[Mapping[str, Any]]) -> list[str]:
    remarks = []
    for domain in _ordered(results):
        column = [result for result in results if _domain(result) == domain]
        if len({_ground(result) for result in column}) > 1:
            remarks.append(f"{domain}: the rows differ in pictures, annotations or boxes.")
        counts = [result.get("counts", {}) for result in column if result.get("paper")]
        partial = [c for c in counts if c.get("benchmark_pictures") not in (None, c.get("pictures"))]
        if parts := [f"{c['pictures']:,} of {c['benchmark_pictures']:,}" for c in partial]:
            remarks.append(f"{domain}: measured on {parts[0]} pictures; the paper's figures are for all.")
    return remarks


def _ground(result: Mapping[str, Any]) -> tuple[Any, ...]:
    hashes = result.get("hashes", {})
    return result.get("counts", {}).get("pictures"), hashes.get("annotations"), hashes.get("boxes")


def _markdown(table: Comparison) -> str:
    columns = [f"{domain} {figure}" for domain in table.domains for figure in SHOWN]
    rows = [
        [name, *(percent(row.get(domain, {}).get(figure)) for domain in table.domains for figure in SHOWN)]
        for name, row in with_paper_rows(table.rows, table.peers).items()
    ]
    lines = markdown_table(["percent", *columns], rows, numbers=True)
    return "\n\n".join(["# Comparison", lines, *table.remarks, "![AP against domain](comparison.png)\n"])


def draw_comparison(table: Comparison) -> Figure:
    """AP by domain: a group of bars per domain, in it a bar per estimator with its value above."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(table.rows)
    figure = Figure(figsize=(max(6.0, 1.5 + len(table.domains) * max(1.6, 0.42 * count + 0.4)), 4.6), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = min(0.3, 0.84 / count)
    for index, (name, row) in enumerate(table.rows.items()):
        shares = [row.get(domain, {}).get("AP") for domain in table.domains]
        places = [k + (index - (count - 1) / 2) * width for k, share in enumerate(shares) if share is not None]
        heights = [100 * share for share in shares if share is not None]
        bars = axes.bar(places, heights, width * 0.92, label=_escaped(name), **_look(index, name))
        axes.bar_label(bars, fmt="%.1f", fontsize=8, padding=2, rotation=90 if count > 4 else 0)
    axes.set_xticks(range(len(table.domains)), [domain.replace(" ", "\n", 1) for domain in table.domains])
    axes.set_xlim(-0.6, len(table.domains) - 0.4)
    axes.set_ylim(0, max(10.0, axes.dataLim.y1) * 1.15)
    axes.set_ylabel("AP (percent)")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.01), ncols=min(3, count), frameon=False, fontsize=9)
    return figure


def _look(index: int, name: str) -> dict[str, Any]:
    if name == PAPER:
        return {"color": _PAPER_COLOR, "hatch": "//", "edgecolor": "#777777", "linewidth": 0}
    color, hatch = _COLORS[index % len(_COLORS)], _HATCHES[index // len(_COLORS) % len(_HATCHES)]
    return {"color": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0}


def _escaped(name: str) -> str:
    """Escape a label: matplotlib reads formulas between dollars and skips labels that begin with an underscore."""
    label = name.replace("$", r"\$")
    return f" {label}" if label.startswith("_") else label
