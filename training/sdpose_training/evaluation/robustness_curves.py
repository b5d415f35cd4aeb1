"""Robustness curves: AP over severity by family and over all kinds, for one or several estimators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_path
from sdpose_training.evaluation.robustness_figures import robustness_of
from sdpose_training.features.figure import STYLE_COLORS
from sdpose_training.styles.corruptions import FAMILIES, KINDS, SEVERITIES, kinds_of
from sdpose_training.templates import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = ("-", "--", ":", "-.")
_MARKERS = "osD^vP"

Results = Sequence[Mapping[str, Any]]


def write_robustness(results: Results, target: Path) -> None:
    """Write a PNG of `draw_robustness`, atomically.

    Raises `InputError` if the target is not .png, or a result is not of the benchmark; `MissingDependency` without
    matplotlib.
    """
    require("matplotlib", "drawing robustness curves")
    if target.suffix != ".png":
        raise InputError(f"{target}: expected a file name that ends in .png")
    figure = draw_robustness(results)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png")


def draw_robustness(results: Results) -> Figure:
    """A picture of six panels: each family, all kinds, and the share of the clean AP that is left for each kind.

    Severity 0 is the clean pictures. With one result, a family's kinds have a line each, and its mean is thick; with
    several, each has the mean of the family.

    Args:
        results: of `evaluate.py --benchmark coco-ood-corruption`.

    Raises `InputError` without results, or if one has no figures of robustness.
    """
    from matplotlib.figure import Figure

    if not results:
        raise InputError("nothing to draw: give at least one result of evaluate.py")
    found, labels = [robustness_of(result) for result in results], curve_labels(results)
    figure = Figure(figsize=(12, 7), dpi=110, layout="constrained")
    panels = figure.subplots(2, 3)
    for axes, family in zip(panels.flat, FAMILIES, strict=False):
        _draw_family(axes, family, found)
    _draw_all(panels[1, 1], found, labels)
    _draw_kept(panels[1, 2], found)
    highest = max(100 * (each["clean"]["AP"] or 0) for each in found)
    for axes in panels.flat[:5]:
        axes.set(
            xticks=(0, *SEVERITIES), ylim=(0, max(10.0, 1.08 * highest)), xlim=(-0.2, 5.2), xlabel="severity (0: clean)"
        )
        axes.set_ylabel("AP (percent)")
        axes.grid(alpha=0.3)
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def curve_labels(results: Results) -> list[str]:
    """The model of each result, with its data where the results have several, and a number where both repeat."""
    data = [str(result.get("settings", {}).get("domain") or Path(_images(result)).name) for result in results]
    several = len(set(data)) > 1
    pairs = zip(results, data, strict=True)
    names = [f"{result['model']}, {each}" if several else str(result["model"]) for result, each in pairs]
    total, seen, labels = Counter(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        labels.append(f"{name} ({seen[name]})" if total[name] > 1 else name)
    return labels


def _images(result: Mapping[str, Any]) -> str:
    return str(result.get("settings", {}).get("images", ""))


def _draw_family(axes: Axes, family: str, found: Sequence[Mapping[str, Any]]) -> None:
    axes.set_title(family)
    names = [name for name in kinds_of(family) if any(name in each["kinds"] for each in found)]
    if not names:
        axes.text(0.5, 0.5, "not evaluated", transform=axes.transAxes, ha="center", color="gray")
    elif len(found) > 1:
        for index, each in enumerate(found):
            if family in each["families"]:
                _line(axes, each, each["families"][family]["severities"], index)
    else:
        each = found[0]
        for index, name in enumerate(names):
            steps = {step: figures["AP"] for step, figures in each["kinds"][name]["severities"].items()}
            _line(axes, each, steps, index + 1, label=name.replace("_", " "), linewidth=1.2)
        _line(axes, each, each["families"][family]["severities"], 0, label="mean", linewidth=3, alpha=0.5)
        axes.legend(fontsize=8, frameon=False, loc="best")


def _draw_all(axes: Axes, found: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
    axes.set_title("mean over all kinds")
    for index, (each, label) in enumerate(zip(found, labels, strict=True)):
        text = f"{_plain(label)}\nmPC {percent(each['mPC'])}, rPC {percent(each['rPC'])}"
        _line(axes, each, each["severities"], index, label=text, linewidth=2)
    axes.legend(fontsize=8, frameon=False, loc="lower left")


def _line(axes: Axes, each: Mapping[str, Any], steps: Mapping[str, float | None], index: int, **look: Any) -> None:
    """AP over severity, from the clean pictures on; a severity that was not evaluated has no point."""
    values = {0: each["clean"]["AP"], **{int(step): value for step, value in steps.items()}}
    heights = [np.nan if value is None else 100 * value for value in values.values()]
    style = {"color": STYLE_COLORS[index % len(STYLE_COLORS)], "marker": _MARKERS[index % len(_MARKERS)]}
    style["linestyle"] = _LINES[index // len(STYLE_COLORS) % len(_LINES)]
    axes.plot(list(values), heights, markersize=4, **{**style, **look})


def _draw_kept(axes: Axes, found: Sequence[Mapping[str, Any]]) -> None:
    """The share of the clean AP of each kind, a dot per estimator."""
    names = [name for name in KINDS if any(name in each["kinds"] for each in found)]
    axes.set_title("AP left under each kind")
    for index, each in enumerate(found):
        shares = [each["kinds"].get(name, {}).get("relative") for name in names]
        places = [place for place, share in enumerate(shares) if share is not None]
        values = [100 * share for share in shares if share is not None]
        color, marker = STYLE_COLORS[index % len(STYLE_COLORS)], _MARKERS[index % len(_MARKERS)]
        axes.plot(values, places, marker, color=color, markersize=6)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="percent of the clean AP, mean over severities", xlim=(0, max(105.0, axes.dataLim.x1 * 1.05)))
    axes.grid(axis="x", alpha=0.3)


def _plain(label: str) -> str:
    """A label without matplotlib's formulas between dollars."""
    return label.replace("$", r"\$")
