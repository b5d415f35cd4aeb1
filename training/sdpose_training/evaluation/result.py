"""The result of an evaluation as JSON and as a table with the paper's row beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write
from sdpose_training.environment import versions
from sdpose_training.evaluation.coco_figures import FIGURES
from sdpose_training.evaluation.protocols import Benchmark, PaperRow
from sdpose_training.evaluation.scoring import MAX_PER_PICTURE, MIN_POINT_SCORE, NMS_THRESHOLD, Scored
from sdpose_training.templates import percent, plain_table

SHOWN = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50")
"""Columns of the table; the JSON has all of `FIGURES`."""

PAPER_INPUT = [768, 1024]

HANDS = ("left_hand", "right_hand")


def result_of(
    scored: Scored,
    oks: float,
    *,
    model: str,
    benchmark: Benchmark | None,
    keypoint_set: str,
    settings: Mapping[str, Any],
    hashes: Mapping[str, Any],
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """What goes into the file.

    Args:
        scored, oks: figures, and the mean OKS of the annotated people.
        model: name for tables.
        benchmark: table entry, None for predictions of unknown origin.
        keypoint_set: what was scored.
        settings: what the figures depend on, besides the protocol's constants.
        hashes: SHA-256 of the files.
        counts: more of them than `scored` knows.
    """
    name = benchmark.name if benchmark else "predictions"
    row = benchmark.paper.get(keypoint_set) if benchmark else None
    protocol = {
        "keypoint_set": keypoint_set,
        "sigmas": [float(sigma) for sigma in scored.sigmas],
        "min_point_score": MIN_POINT_SCORE,
        "nms_threshold": NMS_THRESHOLD,
        "max_per_picture": MAX_PER_PICTURE,
    }
    return {
        "benchmark": name,
        "model": model,
        **scored.figures,
        "OKS": oks,
        "parts": _with_hands(scored.parts),
        "paper": _as_fractions(row) if row else None,
        "counts": {**scored.counts, **counts, "benchmark_pictures": benchmark.pictures if benchmark else None},
        "departures": _departures(settings, benchmark) if row and benchmark else [],
        "settings": {**settings, **protocol},
        "hashes": dict(hashes),
        "versions": versions(),
    }


def _departures(settings: Mapping[str, Any], benchmark: Benchmark) -> list[str]:
    """What is not the paper's protocol, as far as it is known: predictions that were given say little of themselves."""
    made = settings.get("predictor", {}).get("settings", {})
    boxes = Path(benchmark.boxes).name if benchmark.boxes else "ground truth"
    size = made.get("input_size", PAPER_INPUT)
    found = {
        "no flip test": made.get("flip_test") is False,
        f"crops cut as {made.get('crop')}": made.get("crop", "affine") != "affine",
        f"crops of {size[0]} x {size[1]}": list(size) != PAPER_INPUT,
        f"boxes: {settings.get('boxes')}": settings.get("boxes", boxes) != boxes,
        f"NMS: {settings.get('nms')}": settings.get("nms", "oks") != "oks",
        f"score: {settings.get('score_mode')}": settings.get("score_mode", "bbox_keypoint") != "bbox_keypoint",
        "an approximation": bool(made.get("approximations")),
    }
    return [text for text, applies in found.items() if applies]


def _with_hands(parts: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """The parts, and "hands": the mean of left and right, as the paper's tables have one figure for both."""
    own = {name: dict(figures) for name, figures in parts.items()}
    if all(hand in own for hand in HANDS):
        pairs = {name: [own[hand][name] for hand in HANDS] for name in FIGURES}
        own["hands"] = {name: None if None in pair else sum(pair) / 2 for name, pair in pairs.items()}
    return own


def _as_fractions(row: PaperRow) -> dict[str, Any]:
    def fractions(figures: Mapping[str, float]) -> dict[str, float]:
        return {name: round(value / 100, 4) for name, value in figures.items()}

    parts = {name: fractions(figures) for name, figures in row.parts.items()}
    return {"source": f"arXiv 2509.24980, {row.source}", **fractions(row.figures), "parts": parts}


def write_result(result: Mapping[str, Any], path: str | Path) -> None:
    """As JSON, atomically."""
    with atomic_write(path, "w") as handle:
        json.dump(result, handle, indent=1)
        handle.write("\n")


def read_result(path: str | Path) -> dict[str, Any]:
    """A result of an earlier evaluation; `InputError` if it is none."""
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the result {path}: {error}") from None
    if not isinstance(result, dict) or not {"benchmark", "model", "AP", "AR", "counts"} <= result.keys():
        raise InputError(f"{path} is not a result of evaluate.py: expected benchmark, model, AP, AR, counts")
    return result


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """All results, benchmark by benchmark, in percent, each with the paper's row and parts."""
    blocks = []
    for name in dict.fromkeys(map(_title, results)):
        own = [result for result in results if _title(result) == name]
        rows = [row for result in own for row in _rows(result)]
        papers = {json.dumps(result["paper"]): result["paper"] for result in own if result.get("paper")}
        rows += [row for paper in papers.values() for row in _paper_rows(paper)]
        cells = [[label, *(percent(figures.get(column)) for column in SHOWN)] for label, figures in rows]
        blocks.append("\n".join([_heading(own), plain_table(["", *SHOWN], cells), *_remarks(own)]))
    return "\n\n".join(blocks)


def _title(result: Mapping[str, Any]) -> str:
    """The benchmark, and of custom data what they are called."""
    domain = result.get("settings", {}).get("domain")
    return f"{result['benchmark']} ({domain})" if domain else str(result["benchmark"])


def _rows(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    parts = [(f"  {_word(part)}", figures) for part, figures in result.get("parts", {}).items()]
    return [(result["model"], result), *parts]


def _paper_rows(paper: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    table_name = paper["source"].partition(", ")[2].partition(";")[0]
    parts = [(f"  {_word(part)}", figures) for part, figures in paper["parts"].items()]
    return [(f"SDPose in the paper, {table_name}", paper), *parts]


def _word(part: str) -> str:
    return part.replace("_", " ")


def _heading(results: Sequence[Mapping[str, Any]]) -> str:
    counts = results[0]["counts"]
    return (
        f"{_title(results[0])}: {counts['pictures']:,} pictures, {counts['annotated_people']:,} annotated people "
        "(percent)"
    )


def _remarks(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of the figures must know."""
    remarks = []
    counts = results[0]["counts"]
    whole = counts.get("benchmark_pictures")
    if whole and counts["pictures"] != whole and any(result.get("paper") for result in results):
        remarks.append(
            f"The paper's figures are of all {whole:,} pictures: not to be compared with {counts['pictures']:,}."
        )
    for result in results:
        if result.get("departures"):
            remarks.append(f"{result['model']}: not the paper's protocol ({'; '.join(result['departures'])}).")
        if result["counts"].get("left_out_boxes"):
            remarks.append(f"{result['model']}: nobody in {result['counts']['left_out_boxes']:,} boxes.")
    return remarks
