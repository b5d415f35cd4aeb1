"""The result of an evaluation, as JSON and as a table that also has the paper's row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write
from sdpose_core.texts import read_json
from sdpose_training.environment import versions
from sdpose_training.evaluation.coco_figures import FIGURES
from sdpose_training.evaluation.departures import departures
from sdpose_training.evaluation.paper_tables import PaperRow
from sdpose_training.evaluation.protocols import Benchmark
from sdpose_training.evaluation.scoring import MAX_PER_PICTURE, MIN_POINT_SCORE, NMS_THRESHOLD, Scored
from sdpose_training.options import split_name
from sdpose_training.templates import percent, plain_table

SHOWN = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50")
"""Columns of the table; the JSON has all of `FIGURES`."""

HANDS = ("left_hand", "right_hand")

UNNAMED = ("custom", "predictions")
"""Data of which nobody expects figures in the paper."""


def result_of(
    scored: Scored, oks: float, *, model: str, benchmark: Benchmark | None, keypoint_set: str,
    settings: Mapping[str, Any], hashes: Mapping[str, Any], counts: Mapping[str, int],
) -> dict[str, Any]:  # fmt: skip
    """The content of the file.

    Args:
        scored, oks: figures, and the mean OKS of the annotated people.
        benchmark: None if unknown.
        settings: what the figures depend on, besides the protocol's constants.
        hashes: SHA-256 of the files.
        counts: to add to those of `scored`.
    """
    name = benchmark.name if benchmark else "predictions"
    row = benchmark.paper.get(keypoint_set) if benchmark else None
    counts = {**scored.counts, **counts, "benchmark_pictures": benchmark.pictures if benchmark else None}
    differences = departures(benchmark, keypoint_set, settings, counts)
    protocol = {
        "keypoint_set": keypoint_set, "sigmas": [float(sigma) for sigma in scored.sigmas],
        "min_point_score": MIN_POINT_SCORE, "nms_threshold": NMS_THRESHOLD, "max_per_picture": MAX_PER_PICTURE,
    }  # fmt: skip
    return {
        "benchmark": name,
        "model": model,
        **scored.figures,
        "OKS": oks,
        "parts": _with_hands(scored.parts),
        "paper": _as_fractions(row) if row else None,
        "counts": counts,
        "groups": scored.groups,
        "paper_comparable": not differences,
        "departures": differences,
        "settings": {**settings, **protocol},
        "hashes": dict(hashes),
        "versions": versions(),
    }


def _with_hands(parts: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """The parts, and "hands", the mean of left and right: the paper's tables have one figure for both."""
    result = {name: dict(figures) for name, figures in parts.items()}
    if all(hand in result for hand in HANDS):
        pairs = {name: [result[hand][name] for hand in HANDS] for name in FIGURES}
        result["hands"] = {name: None if None in pair else sum(pair) / 2 for name, pair in pairs.items()}
    return result


def _as_fractions(row: PaperRow) -> dict[str, Any]:
    def fractions(figures: Mapping[str, float]) -> dict[str, float]:
        return {name: round(value / 100, 4) for name, value in figures.items()}

    parts = {name: fractions(figures) for name, figures in row.parts.items()}
    return {"source": f"arXiv 2509.24980, {row.source}", **fractions(row.figures), "parts": parts}


def write_result(result: Mapping[str, Any], path: str | Path) -> None:
    """Write the result as JSON, atomically."""
    with atomic_write(path, "w") as handle:
        json.dump(result, handle, indent=1)
        handle.write("\n")


def read_result(path: str | Path) -> dict[str, Any]:
    """A result that `write_result` wrote; `InputError` for any other file."""
    result = read_json(path, "a result of evaluate.py")
    if not isinstance(result, dict) or not {"benchmark", "model", "AP", "AR", "counts"} <= result.keys():
        raise InputError(f"{path} is not a result of evaluate.py: expected benchmark, model, AP, AR, counts")
    return result


def read_named(value: str) -> tuple[dict[str, Any], Path]:
    """The result of "NAME=FILE.json", with NAME as its model, or of "FILE.json"; and the file."""
    name, file = split_name(value)
    result = read_result(file)
    return {**result, "model": name or result["model"]}, Path(file)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """All results in percent, grouped by benchmark, with their parts and the paper's rows."""
    blocks = []
    for name in dict.fromkeys(map(_title, results)):
        group = [result for result in results if _title(result) == name]
        rows = [row for result in group for row in _rows(result["model"], result)]
        papers = {json.dumps(result["paper"]): result["paper"] for result in group if result.get("paper")}
        for paper in papers.values():
            source = paper["source"].partition(", ")[2].partition(";")[0]
            rows += _rows(f"SDPose in the paper, {source}", paper)
        cells = [[label, *(percent(figures.get(column)) for column in SHOWN)] for label, figures in rows]
        counts = group[0]["counts"]
        title = f"{name}: {counts['pictures']:,} pictures, {counts['annotated_people']:,} annotated people (percent)"
        blocks.append("\n".join([title, plain_table(["", *SHOWN], cells), *_group_tables(group), *_remarks(group)]))
    return "\n\n".join(blocks)


def _group_tables(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """AP and AR of groups of pictures: a row per group, two columns per result."""
    names = dict.fromkeys(name for result in results for name in result.get("groups", {}))
    for name in names:
        held = [result for result in results if name in result.get("groups", {})]
        rows = []
        for group in dict.fromkeys(group for result in held for group in result["groups"][name]):
            found = [result["groups"][name].get(group, {}) for result in held]
            pictures = next(each["pictures"] for each in found if each)
            figures = [percent(each.get(figure)) for each in found for figure in ("AP", "AR")]
            rows.append([f"  {group}", f"{pictures:,}", *figures])
        head = [f"{result['model']} {figure}" for result in held for figure in ("AP", "AR")]
        yield plain_table([f"by {name}", "pictures", *head], rows)


def _title(result: Mapping[str, Any]) -> str:
    """The benchmark; for custom data, also its domain."""
    domain = result.get("settings", {}).get("domain")
    return f"{result['benchmark']} ({domain})" if domain else str(result["benchmark"])


def _rows(label: str, figures: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (label, figures),
        *((f"  {name.replace('_', ' ')}", part) for name, part in figures.get("parts", {}).items()),
    ]


def _remarks(results: Sequence[Mapping[str, Any]]) -> list[str]:
    remarks = []
    for result in results:
        differences = result.get("departures", [])
        if differences and result["benchmark"] not in UNNAMED:
            remarks.append(f"{result['model']}: not to be compared with the paper: {'; '.join(differences)}.")
        if result["counts"].get("left_out_boxes"):
            remarks.append(
                f"{result['model']}: boxes in which nobody was found: {result['counts']['left_out_boxes']:,}."
            )
    return remarks
