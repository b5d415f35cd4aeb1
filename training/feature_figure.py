"""The picture of a feature analysis: a pair of columns per network (by person, by style), a row per level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from feature_separation import Separation

from sdpose_core.dependencies import require
from sdpose_core.files import atomic_path

SHOWN_PEOPLE = 12
"""Coloured in the panels by person, as more colours could not be told apart; the others are grey."""

_STYLE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")
"""Of Okabe and Ito: told apart with any colour vision."""

_GREY = "#cfcfcf"
_PANEL, _TOP, _BOTTOM, _SIDE = 2.3, 1.0, 0.85, 0.15
"""Inches: side of a panel; room for titles, legend and edges."""


def draw_figure(path: Path, results: Sequence[Separation], styles: Sequence[str], title: str, notes: str) -> None:
    """Write the picture, PNG, atomically.

    Args:
        results: of every network and level; each network's levels in the order of the rows.
        styles: names of the S styles.
        title: first line.
        notes: small print below: how the features were made and pooled.

    Raises `MissingDependency` without matplotlib.
    """
    require("matplotlib", "the t-SNE picture")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(result.model for result in results))
    columns = [[result for result in results if result.model == model] for model in models]
    rows = max(map(len, columns))
    width, height = 2 * len(models) * _PANEL + 2 * _SIDE, rows * (_PANEL + 0.2) + _TOP + _BOTTOM
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 2 * len(models), squeeze=False)
    edges = {"left": _SIDE / width, "right": 1 - _SIDE / width, "top": 1 - _TOP / height, "bottom": _BOTTOM / height}
    figure.subplots_adjust(**edges, wspace=0.05, hspace=0.16)
    for number, column in enumerate(columns):
        _fill(axes[:, 2 * number : 2 * number + 2], column)
        left, right = (axes[0, 2 * number + side].get_position() for side in (0, 1))
        middle = (left.x0 + right.x1) / 2
        figure.text(middle, 1 - (_TOP - 0.4) / height, models[number], ha="center", fontsize=12, weight="bold")
    figure.text(0.5, 1 - 0.3 / height, title, ha="center", fontsize=13)
    figure.text(0.5, 0.12 / height, notes, ha="center", fontsize=8, color="#444444")
    marks = [_mark(colour, name) for colour, name in zip(_style_colours(len(styles)), styles, strict=True)]
    figure.legend(
        handles=marks, loc="lower center", bbox_to_anchor=(0.5, 0.42 / height), ncols=len(styles), frameon=False,
        fontsize=10, title=None, handletextpad=0.2,
    )  # fmt: skip
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=90)


def _fill(panels: np.ndarray, column: Sequence[Separation]) -> None:
    """The panels (rows, 2) of one network."""
    for row, (by_person, by_style) in enumerate(panels):
        for panel in (by_person, by_style):
            panel.set_xticks([])
            panel.set_yticks([])
        if row >= len(column):
            by_person.set_axis_off()
            by_style.set_axis_off()
            continue
        result = column[row]
        _draw_people(by_person, result.plane)
        _draw_styles(by_style, result.plane)
        by_person.set_title(f"{result.level} by person: {result.by_person:+.2f}", fontsize=9, pad=3)
        by_style.set_title(f"{result.level} by style: {result.by_style:+.2f}", fontsize=9, pad=3)


def _draw_people(panel: Any, plane: np.ndarray) -> None:
    """A colour for some people, whose styles are joined by lines to their middle."""
    import matplotlib

    panel.scatter(*plane.reshape(-1, 2).T, s=3, color=_GREY, linewidths=0)
    shown = np.linspace(0, plane.shape[1] - 1, min(SHOWN_PEOPLE, plane.shape[1])).round().astype(int)
    colours = matplotlib.colormaps["hsv"](np.linspace(0, 1, len(shown), endpoint=False))
    for person, colour in zip(shown, colours, strict=True):
        own = plane[:, person]
        for point in own:
            panel.plot(*np.stack([own.mean(axis=0), point]).T, color=colour, linewidth=0.8, alpha=0.8)
        panel.scatter(*own.T, s=16, color=[colour], edgecolors="black", linewidths=0.4, zorder=3)


def _draw_styles(panel: Any, plane: np.ndarray) -> None:
    """Points in a fixed random order, so that no style covers the others."""
    styles, people = plane.shape[:2]
    colours = np.repeat(np.asarray(_style_colours(styles)), people)
    order = np.random.default_rng(0).permutation(styles * people)
    panel.scatter(*plane.reshape(-1, 2)[order].T, s=7, c=colours[order], linewidths=0, alpha=0.85)


def _style_colours(count: int) -> list[str]:
    return [_STYLE_COLOURS[i % len(_STYLE_COLOURS)] for i in range(count)]


def _mark(colour: str, name: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="", marker="o", markersize=6, color=colour, label=name)
