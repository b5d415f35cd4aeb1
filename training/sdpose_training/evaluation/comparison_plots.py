"""Pictures of a comparison: AP by domain with intervals, and differences between estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sdpose_training.evaluation.comparison_intervals import Difference, Uncertainty

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")  # Okabe and Ito
_HATCHES = ("", "//", "xx", "..")
_PAPER_COLOR = "#bbbbbb"
_APART, _TOGETHER = "#0072b2", "#888888"
_ROW_INCHES = 0.32

Rows = Mapping[str, Mapping[str, Mapping[str, float | None]]]


def draw_bars(
    rows: Rows, domains: Sequence[str], paper: str, uncertainty: Uncertainty | None, notes: Sequence[str] = ()
) -> Figure:
    """AP by domain: a group of bars per domain, in it a bar per estimator with its value above and its interval.

    Args:
        rows: estimator -> domain -> figures as fractions.
        domains: from left to right.
        paper: the row that is the paper's.
        uncertainty: for the intervals, None: none.
        notes: lines below the axes, such as in which order the domains are.
    """
    count = len(rows)
    width = 0.84 / max(count, 3)
    figure, axes = _canvas(max(6.0, 1.5 + len(domains) * max(1.6, 0.42 * count + 0.4)), 4.6)
    for index, (name, row) in enumerate(rows.items()):
        shares = {place: row.get(domain, {}).get("AP") for place, domain in enumerate(domains)}
        known = {place: 100 * share for place, share in shares.items() if share is not None}
        places = [place + (index - (count - 1) / 2) * width for place in known]
        looks = {**_look(index, name == paper), "label": _escaped(name)}
        bars = axes.bar(places, list(known.values()), width * 0.92, **looks)
        tops = _draw_intervals(axes, places, [domains[place] for place in known], name, uncertainty)
        texts = axes.bar_label(bars, fmt="%.1f", fontsize=8, padding=2, rotation=90 if count > 4 else 0)
        for text, bar, top in zip(texts, bars, tops, strict=True):
            text.xy = (text.xy[0], max(top, bar.get_height()))
    axes.set_xticks(range(len(domains)), [domain.replace(" ", "\n", 1) for domain in domains])
    axes.set_xlim(-0.6, len(domains) - 0.4)
    axes.set_ylim(0, max(10.0, axes.dataLim.y1) * 1.15)
    axes.set_ylabel("AP (percent)")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.01), ncols=min(3, count), frameon=False, fontsize=9)
    lines = [*notes, f"Lines: {uncertainty.title}" if uncertainty and uncertainty.intervals else ""]
    axes.set_xlabel("\n".join(filter(None, lines)), fontsize=8, color="#555555", loc="left")
    return figure


def _draw_intervals(
    axes: Axes, places: Sequence[float], domains: Sequence[str], name: str, uncertainty: Uncertainty | None
) -> list[float]:
    """Draw the intervals of a row; their upper ends in percent, 0 where there is none."""
    tops = []
    for place, domain in zip(places, domains, strict=True):
        found = uncertainty.interval(name, domain, "AP") if uncertainty else None
        if found:
            ends = [100 * found.low, 100 * found.high]
            axes.plot([place, place], ends, color="#222222", linewidth=1.2, marker="_", markersize=4)
        tops.append(100 * found.high if found else 0.0)
    return tops


def draw_differences(uncertainty: Uncertainty, figure_name: str = "AP") -> Figure:
    """A line per pair of estimators and domain: the difference and its interval, blue where 0 is outside of it."""
    found = [each for each in uncertainty.differences if figure_name in each.figures]
    several = len({each.domain for each in found}) > 1
    figure, axes = _canvas(8.0, 1.3 + _ROW_INCHES * len(found))
    for row, each in enumerate(found):
        value = each.figures[figure_name]
        color = _APART if value.apart else _TOGETHER
        axes.plot([100 * value.low, 100 * value.high], [row, row], color=color, linewidth=2, marker="|", markersize=7)
        axes.plot(100 * value.value, row, marker="o", color=color, markersize=5)
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.set_yticks(range(len(found)), [_pair_label(each, several) for each in found], fontsize=8)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel(
        f"difference of {figure_name} in points, with {uncertainty.title}\nright of 0: the first is better; "
        "gray: the interval contains 0", fontsize=8,
    )  # fmt: skip
    axes.grid(axis="x", alpha=0.3)
    return figure


def _pair_label(each: Difference, with_domain: bool) -> str:
    pair = f"{_escaped(each.first)} − {_escaped(each.second)}"
    return f"{_escaped(each.domain)}: {pair}" if with_domain else pair


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _look(index: int, of_the_paper: bool) -> dict[str, Any]:
    if of_the_paper:
        return {"color": _PAPER_COLOR, "hatch": "//", "edgecolor": "#777777", "linewidth": 0}
    color, hatch = _COLORS[index % len(_COLORS)], _HATCHES[index // len(_COLORS) % len(_HATCHES)]
    return {"color": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0}


def _escaped(name: str) -> str:
    """Escape a label: matplotlib reads formulas between dollars and skips labels that begin with an underscore."""
    label = name.replace("$", r"\$")
    return f" {label}" if label.startswith("_") else label
