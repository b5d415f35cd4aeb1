"""The results of an ablation as a table, beside the paper's."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from sdpose_training.ablation.arms import Arm
from sdpose_training.templates import inline, markdown_table

DETAILS = ("AP", "AP50", "OKS")
_NONE = "–"

Results = Mapping[str, Sequence[Mapping[str, Any]]]
"""By name of the arm: the result of each measured seed."""


def table_lines(title: str, arms: Sequence[Arm], results: Results, tests: Sequence[str]) -> list[str]:
    """Markdown: means over the seeds beside the paper's figures, then every run. `results` are fractions."""
    return [
        f"# {inline(title)}",
        "",
        "AP / AR in percent: ours with ground-truth boxes and flip test, mean over seeds ± standard deviation of AP.",
        "",
        *markdown_table(*_comparison(arms, results, tests)).splitlines(),
        "",
        "## Each run",
        "",
        *markdown_table(*_details(arms, results, tests)).splitlines(),
    ]


def summary(runs: Sequence[Mapping[str, Any]], test: str) -> dict[str, float] | None:
    """Means of a test's figures over runs, and AP_std (0 for one run); None if no run has this test."""
    found = [run["tests"][test] for run in runs if test in run["tests"]]
    if not found:
        return None
    names = [name for name, value in found[0].items() if isinstance(value, (int, float))]
    spread = statistics.stdev(each["AP"] for each in found) if len(found) > 1 else 0.0
    return {**{name: statistics.fmean(each[name] for each in found) for name in names}, "AP_std": spread}


def _comparison(arms: Sequence[Arm], results: Results, tests: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    benchmarks = list(dict.fromkeys(name for arm in arms for name in arm.paper))
    header = ["arm", "seeds", *tests, *(f"paper: {name}" for name in benchmarks)]
    rows = []
    for arm in arms:
        runs = results.get(arm.name, ())
        ours = [_ours(summary(runs, test), len(runs)) for test in tests]
        paper = [_paper(arm.paper.get(name)) for name in benchmarks]
        rows.append([arm.title, ", ".join(str(run["seed"]) for run in runs) or _NONE, *ours, *paper])
    return header, rows


def _ours(figures: Mapping[str, float] | None, runs: int) -> str:
    if figures is None:
        return _NONE
    spread = f" ± {100 * figures['AP_std']:.1f}" if runs > 1 else ""
    return f"{100 * figures['AP']:.1f}{spread} / {100 * figures['AR']:.1f}"


def _paper(figures: tuple[float, float] | None) -> str:
    return _NONE if figures is None else f"{figures[0]:.1f} / {figures[1]:.1f}"


def _details(arms: Sequence[Arm], results: Results, tests: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    header = ["arm", "seed", *(f"{test} {', '.join(DETAILS)}" for test in tests), "samples", "minutes", "CPU minutes"]
    rows = []
    for arm in arms:
        for run in results.get(arm.name, ()):
            cells = [_three(run["tests"].get(test)) for test in tests]
            cpu = run["cpu_minutes"]
            times = [f"{run['minutes']:.1f}", _NONE if cpu is None else f"{cpu:.1f}"]
            rows.append([arm.title, str(run["seed"]), *cells, str(run["samples"]), *times])
    return header, rows


def _three(figures: Mapping[str, float] | None) -> str:
    return _NONE if figures is None else ", ".join(f"{100 * figures[name]:.1f}" for name in DETAILS)
