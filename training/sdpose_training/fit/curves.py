"""Learning curves, drawn from the logs of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_path
from sdpose_training.fit.log import read_log

_SMOOTHED = 8
"""Logged losses per point of the line."""


def draw_curves(runs: Sequence[Path], target: Path) -> None:
    """Write a PNG: loss on a logarithmic scale at the top, AP and AP50 at the bottom; one color per run.

    Raises `InputError`: a folder has no log of training steps, or the target is not .png; `MissingDependency` without
    matplotlib.
    """
    require("matplotlib", "drawing learning curves")
    if target.suffix != ".png":
        raise InputError(f"{target}: expected a file name that ends in .png")
    logs = {run: _steps_and_validations(run) for run in runs}
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for color, (run, (steps, validations)) in enumerate(logs.items()):
        samples = np.array([line["samples"] for line in steps])
        loss = np.array([line["loss"] for line in steps])
        above.plot(samples, loss, color=f"C{color}", alpha=0.2, linewidth=0.8)
        above.plot(_means(samples), _means(loss), color=f"C{color}", label=run.resolve().name)
        places = np.interp([line["step"] for line in validations], [line["step"] for line in steps], samples)
        more = sorted({name for line in validations for name in line if name.startswith("AP/")})
        for name, style in (("AP", "o-"), ("AP50", "o:"), *((name, "s--") for name in more)):
            values = [line.get(name, np.nan) for line in validations]
            below.plot(places, values, style, color=f"C{color}", label=f"{run.resolve().name} {name}", markersize=4)
    above.set(yscale="log", ylabel="training loss")
    below.set(xlabel="samples seen", ylabel="validation", ylim=(0, 1))
    for axes in (above, below):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize=8)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _steps_and_validations(run: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    path = run / "log.jsonl"
    if not path.exists():
        raise InputError(f"{path} not found: expected the folder of a run of train.py")
    steps = read_log(path, "step")
    if not steps:
        raise InputError(f"{path} has no training step yet")
    return steps, read_log(path, "validation")


def _means(values: np.ndarray) -> np.ndarray:
    """Means of consecutive groups; the last may be smaller."""
    return np.array([part.mean() for part in np.split(values, range(_SMOOTHED, len(values), _SMOOTHED))])
