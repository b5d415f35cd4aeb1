"""The figure of a feature analysis: two columns per network (by person, by style), one row per level."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.dependencies import require
from sdpose_core.files import atomic_path
from sdpose_training.features.separation import Separation

_PERSON_COLORS = (
    "#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#00a5a5", "#f032e6", "#9a6324", "#800000", "#808000",
    "#000075", "#000000",
)  # fmt: skip
"""Only this many people get a color, as more would look alike; the others are gray."""

STYLE_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")
"""By Okabe and Ito, for all kinds of color vision."""

_GRAY = "#cfcfcf"
_COLORS = 256
_PANEL, _TOP, _BOTTOM, _SIDE, _GAP, _LINE = 2.3, 0.95, 0.55, 0.15, 0.25, 0.2
"""Inches: side of a panel; space for titles, legend, edges, between networks, and for a line of the notes."""

_LETTER = 0.058
"""Inches: width of a letter of the notes, a bit above average."""

_PEOPLE_NOTE = "By person: some people in color, with lines from each crop to the person's mean"


def draw_figure(path: Path, results: Sequence[Separation], styles: Sequence[str], title: str, notes: str) -> None:
    """Write the figure as PNG, atomically, with the levels of each network in the order of `results`.

    `styles` has the names of the S styles, `notes` is small text below. Raises `MissingDependency` without matplotlib.
    """
    require("matplotlib", "the t-SNE picture")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from PIL import Image

    models = list(dict.fromkeys(result.model for result in results))
    columns = [[result for result in results if result.model == model] for model in models]
    rows = max(map(len, columns))
    width = len(models) * 2 * _PANEL + (len(models) - 1) * _GAP + 2 * _SIDE
    print_lines = small_print(notes, width)
    height = rows * (_PANEL + 0.2) + _TOP + _BOTTOM + _LINE * len(print_lines)
    figure = Figure(figsize=(width, height))
    canvas = FigureCanvasAgg(figure)
    for number, (model, column) in enumerate(zip(models, columns, strict=True)):
        left = _SIDE + number * (2 * _PANEL + _GAP)
        figure.text((left + _PANEL) / width, 1 - 0.62 / height, model, ha="center", fontsize=12, weight="bold")
        for row, result in enumerate(column):
            bottom = height - _TOP - (row + 1) * (_PANEL + 0.2) + 0.2
            boxes = [(left + side * _PANEL + 0.04, bottom, _PANEL - 0.08, _PANEL - 0.1) for side in (0, 1)]
            inches = (width, height, width, height)
            panels = [figure.add_axes([v / all_ for v, all_ in zip(box, inches, strict=True)]) for box in boxes]
            _fill(*panels, result)
    figure.text(0.5, 1 - 0.3 / height, title, ha="center", fontsize=13)
    for number, line in enumerate(reversed(print_lines)):
        figure.text(0.5, (0.1 + _LINE * number) / height, line, ha="center", fontsize=8, color="#444444")
    dot = {"linestyle": "", "marker": "o", "markersize": 6}
    colored = zip(_style_colors(len(styles)), styles, strict=True)
    marks = [Line2D([], [], color=color, label=name, **dot) for color, name in colored]
    figure.legend(
        handles=marks, loc="lower center", bbox_to_anchor=(0.5, (0.08 + _LINE * len(print_lines)) / height),
        ncols=len(styles), frameon=False,
        fontsize=10, handletextpad=0.2,
    )  # fmt: skip
    with atomic_path(path) as temporary:
        figure.set_dpi(90)
        canvas.draw()
        # A palette takes a third of the bytes.
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(_COLORS, kmeans=3)
        picture.save(temporary, format="PNG", optimize=True)


def small_print(notes: str, width: float) -> list[str]:
    """The notes below a figure of `width` inches, wrapped to its width."""
    letters = int((width - 2 * _SIDE) / _LETTER)
    return [line for text in (_PEOPLE_NOTE, notes) for line in textwrap.wrap(text, letters)]


def _fill(by_person: Any, by_style: Any, result: Separation) -> None:
    for panel in (by_person, by_style):
        panel.set_xticks([])
        panel.set_yticks([])
        for edge in panel.spines.values():
            edge.set(linewidth=0.6, color="#888888")
    _draw_people(by_person, result.plane)
    _draw_styles(by_style, result.plane)
    by_person.set_title(f"{result.level} by person: {result.by_person:+.2f}", fontsize=9, pad=3)
    by_style.set_title(f"{result.level} by style: {result.by_style:+.2f}", fontsize=9, pad=3)


def _draw_people(panel: Any, plane: np.ndarray) -> None:
    """Some people in color, with a line from each style to the person's mean."""
    panel.scatter(*plane.reshape(-1, 2).T, s=3, color=_GRAY, linewidths=0)
    shown = np.linspace(0, plane.shape[1] - 1, min(len(_PERSON_COLORS), plane.shape[1])).round().astype(int)
    for person, color in zip(shown, _PERSON_COLORS, strict=False):
        points = plane[:, person]
        for point in points:
            panel.plot(*np.stack([points.mean(axis=0), point]).T, color=color, linewidth=0.8, alpha=0.9)
        panel.scatter(*points.T, s=16, color=[color], edgecolors="black", linewidths=0.4, zorder=3)


def _draw_styles(panel: Any, plane: np.ndarray) -> None:
    """Points in random order, so that no style covers the others."""
    styles, people = plane.shape[:2]
    colors = np.repeat(np.asarray(_style_colors(styles)), people)
    order = np.random.default_rng(0).permutation(styles * people)
    panel.scatter(*plane.reshape(-1, 2)[order].T, s=7, c=colors[order], linewidths=0, alpha=0.85)


def _style_colors(count: int) -> list[str]:
    return [STYLE_COLORS[i % len(STYLE_COLORS)] for i in range(count)]
