"""Estimators side by side on the same pictures and boxes (figures 1, 4 and 10 of the paper)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.cli.progress import progress_bar
from sdpose_core.drawing.canvas import place
from sdpose_core.drawing.pose_maps import overlay
from sdpose_core.errors import InputError
from sdpose_core.estimation.crop_jobs import Estimator
from sdpose_core.poses import Poses
from sdpose_training.evaluation.prediction_run import of_set
from sdpose_training.evaluation.predictions import Predictions, box_scales
from sdpose_training.figures.failures import Failures, Rule, judge, mark, totals
from sdpose_training.figures.scenes import Scene, Scenes
from sdpose_training.figures.sheet import Row, Sheet, shown, write_figure

THINNEST = 1.8
"""Half width of a limb in pixels, at least: visible in small cells too."""


@dataclass(frozen=True)
class Column:
    """One estimator of the figure: its heading, None for its own name, and how it is loaded."""

    heading: str | None
    load: Callable[[], Estimator]


@dataclass(frozen=True, eq=False)
class Answer:
    """What an estimator found: poses of every scene, and what counts as a failure where there is truth."""

    heading: str
    poses: Sequence[Poses]
    failures: dict[Any, Failures] | None
    meta: dict[str, Any]


def estimator_figure(
    path: Path, scenes: Scenes, columns: Sequence[Column], rule: Rule, *, height: int = 320, with_source: bool = True,
    title: str = "", record: dict[str, Any] | None = None,
) -> list[Path]:  # fmt: skip
    """Write the figure; returns its files.

    Args:
        scenes: pictures and boxes, the same for every estimator.
        columns: loaded one after the other, so that one network is in memory at a time.
        rule: of the marks, for annotated pictures.
        height: of a cell in pixels.
        with_source: begin with a column of the pictures themselves.

    Raises `InputError` for pictures that cannot be read or two estimators of one name, and what the estimators raise.
    """
    answers: list[Answer] = []
    for column in columns:
        answers.append(_answer(column, scenes, rule, [answer.heading for answer in answers]))
    rows = [_row(number, scene, answers, rule, height, with_source) for number, scene in enumerate(scenes.scenes)]
    headings = ["picture"] if with_source else []
    sheet = Sheet(
        title or "Estimators side by side", [*headings, *(answer.heading for answer in answers)], rows,
        _caption(scenes, answers, rule),
    )  # fmt: skip
    results = {answer.heading: {"failures": _totals(answer), "predictor": answer.meta} for answer in answers}
    pictures = [scene.file.name for scene in scenes.scenes]
    return write_figure(path, sheet, {**(record or {}), "pictures": pictures, "estimators": results})


def _answer(column: Column, scenes: Scenes, rule: Rule, taken: Sequence[str]) -> Answer:
    estimator = column.load()
    heading = column.heading or estimator.name
    if heading in taken:
        raise InputError(f"two estimators are named {heading!r}: give --checkpoint NAME=PATH or --peer NAME=SPEC")
    poses = estimate(estimator, scenes.scenes, heading)
    failures = None
    if scenes.task is not None and scenes.truth is not None:
        predictions = of_set(_predictions(poses, scenes.scenes), scenes.task)
        failures = judge(predictions, scenes.truth, scenes.task.keypoint_set, rule)
    return Answer(heading, poses, failures, estimator.meta())


def estimate(estimator: Estimator, scenes: Sequence[Scene], name: str = "") -> list[Poses]:
    """Poses of the people in the boxes of every scene."""
    found = []
    with progress_bar(len(scenes), "picture", name or estimator.name) as bar:
        for scene in scenes:
            found += estimator.estimate([scene.read()], [scene.boxes])
            bar.update()
    return found


def _predictions(found: Sequence[Poses], scenes: Sequence[Scene]) -> Predictions:
    """The poses of all scenes in the form that is scored."""
    pairs = list(zip(found, scenes, strict=True))
    boxes = np.concatenate([scene.boxes[poses.box_index] for poses, scene in pairs])
    ids = np.concatenate([scene.box_ids[poses.box_index] for poses, scene in pairs])
    images = tuple(scene.image_id for poses, scene in pairs for _ in range(len(poses)))
    keypoints = np.concatenate([poses.keypoints for poses in found]).astype(np.float64)
    scores = np.concatenate([poses.scores for poses in found]).astype(np.float64)
    return Predictions(ids, images, keypoints, scores, boxes[:, 4].astype(np.float64), box_scales(boxes[:, :4]))


def _row(number: int, scene: Scene, answers: Sequence[Answer], rule: Rule, height: int, with_source: bool) -> Row:
    image = scene.read()
    small = shown(image, height)
    scale = small.shape[1] / image.shape[1]
    cells = [small] if with_source else []
    for answer in answers:
        cell = drawn(small, answer.poses[number], rule.threshold)
        if answer.failures is not None:
            cell = mark(cell, answer.failures[scene.image_id], scale)
        cells.append(cell)
    return Row(cells, scene.file.name)


def drawn(small: np.ndarray, poses: Poses, threshold: float) -> np.ndarray:
    """The poses over their picture, which is shown smaller or larger than it is: RGB uint8 (h, w, 3)."""
    placed, width = place(poses, small.shape[1::-1], "stretch"), max(min(small.shape[:2]) / 128, THINNEST)
    return overlay(small, placed, threshold=threshold, line_width=width)


def _totals(answer: Answer) -> dict[str, Any] | None:
    return None if answer.failures is None else totals(answer.failures)


def _caption(scenes: Scenes, answers: Sequence[Answer], rule: Rule) -> list[str]:
    shown_points = f"Points with a score of at least {rule.threshold:g} are drawn; the boxes are the same for all."
    lines = [*scenes.origin, shown_points]
    if scenes.truth is None:
        return lines
    lines += rule.sentences()
    for answer in answers:
        t = totals(answer.failures or {})
        lines.append(
            f"{answer.heading}: {t['people_below']} of {t['people']} people below the OKS, {t['people_not_found']} not "
            f"found; of {t['points']} points {t['points_off']} off, {t['points_missing']} missing."
        )
    return lines
