"""COCO's keypoint evaluation of plain arrays: the AP and AR figures of papers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_core.oks import BODY_POINTS
from sdpose_core.skeletons import COCO_WHOLEBODY_133
from sdpose_training.data.truth import Truth

FIGURES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
SCORERS = ("faster-coco-eval", "pycocotools")
NO_FIGURE = -1.0
"""COCO's value where the annotations have nobody of that size."""

_PERSON = 1
_AREAS = {"m": (32**2, 96**2), "l": (96**2, np.inf)}
"""Areas of COCO's medium and large people in square pixels, both ends included."""


@dataclass(frozen=True, eq=False)
class Detections:
    """N found people.

    Attributes:
        image_ids: (N,) as in the annotations.
        keypoints: (N, K, 2) pixels, NaN where none.
        scores: (N,) of the people.
        areas: (N,) square pixels; APm and APl ignore unmatched people of another size.
    """

    image_ids: Sequence[Any]
    keypoints: np.ndarray
    scores: np.ndarray
    areas: np.ndarray


def extents(keypoints: np.ndarray) -> np.ndarray:
    """(N, K, 2) -> (N,) area of the bounding box of the points in square pixels, 0 without points.

    Of whole bodies, the box is around the 17 body points, for every part, as in the official evaluation.
    """
    points = keypoints[:, :BODY_POINTS] if keypoints.shape[1] == len(COCO_WHOLEBODY_133) else keypoints
    found = np.isfinite(points)
    size = np.where(found, points, -np.inf).max(axis=1) - np.where(found, points, np.inf).min(axis=1)
    return np.where(np.isfinite(size).all(axis=1), np.prod(size, axis=1), 0.0) if len(size) else np.zeros(0)


def coco_figures(
    truth: Truth, found: Detections, sigmas: Sequence[float], scorer: str = "faster-coco-eval"
) -> dict[str, float]:
    """AP and AR at OKS .50:.95 and the rest of `FIGURES`, as fractions; -1 where nobody is of that size.

    Only the 20 people of a picture with the best scores count.

    Args:
        truth, found: with the same K points.
        sigmas: K values.
        scorer: one of `SCORERS`; both give the same figures, the first is faster.

    Raises:
        MissingDependency: the scorer is not installed.
        InputError: a found person is in a picture without annotations; an unknown scorer.
    """
    place = {picture: i + 1 for i, picture in enumerate(truth.picture_ids)}
    if unknown := sorted({repr(i) for i in found.image_ids if i not in place}):
        raise InputError(
            f"the annotations lack image ids of the predictions ({len(unknown)}, such as {unknown[0]}; theirs are like "
            f"{next(iter(place), None)!r}): these predictions are for another annotation file"
        )
    if not len(found.scores):
        return _nothing_found(truth)
    points = np.nan_to_num(found.keypoints.astype(np.float64))
    triples = np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=2)
    sides = (
        _coco_file(place, truth.image_ids, truth.keypoints, truth.areas, bbox=truth.boxes_xywh.tolist(),
                   iscrowd=truth.crowd.astype(int).tolist(), num_keypoints=truth.labeled.tolist()),
        _coco_file(place, found.image_ids, triples, found.areas, score=np.asarray(found.scores, np.float64).tolist()),
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = _evaluator(scorer, *sides, np.asarray(sigmas, np.float64))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) for name, value in zip(FIGURES, evaluation.stats, strict=False)}


def _nothing_found(truth: Truth) -> dict[str, float]:
    """0, or `NO_FIGURE` for sizes that nobody has; the evaluators themselves fail without detections."""
    counted = truth.areas[~truth.crowd & (truth.labeled > 0)]
    figures = {}
    for name in FIGURES:
        low, high = _AREAS.get(name[2:], (0, np.inf))
        figures[name] = 0.0 if ((counted >= low) & (counted <= high)).any() else NO_FIGURE
    return figures


def _evaluator(scorer: str, truth: dict[str, Any], found: dict[str, Any], sigmas: np.ndarray) -> Any:
    if scorer == "faster-coco-eval":
        faster = require("faster_coco_eval", "scoring")
        return faster.COCOeval_faster(
            faster.COCO(truth), faster.COCO(found), "keypoints", kpt_oks_sigmas=sigmas.tolist()
        )
    if scorer != "pycocotools":
        raise InputError(f"unknown scorer {scorer!r}: choose one of {', '.join(SCORERS)}")
    reader, evaluator = require("pycocotools.coco", "scoring"), require("pycocotools.cocoeval", "scoring")
    sides = []
    for content in (truth, found):
        sides.append(reader.COCO())
        sides[-1].dataset = content
        sides[-1].createIndex()
    evaluation = evaluator.COCOeval(*sides, "keypoints")
    evaluation.params.kpt_oks_sigmas = sigmas
    return evaluation


def _coco_file(
    place: Mapping[Any, int], image_ids: Sequence[Any], keypoints: np.ndarray, areas: np.ndarray, **columns: list
) -> dict[str, Any]:
    """A COCO file; people and pictures are numbered from 1, as the evaluators take 0 for no match."""
    columns = {"bbox": [[0.0] * 4] * len(areas), "iscrowd": [0] * len(areas), **columns}
    people = [
        {"id": i + 1, "image_id": place[image_ids[i]], "category_id": _PERSON, "area": float(areas[i]),
         "keypoints": keypoints[i].ravel().tolist(), **{name: values[i] for name, values in columns.items()}}
        for i in range(len(areas))
    ]  # fmt: skip
    images, categories = [{"id": i} for i in place.values()], [{"id": _PERSON, "name": "person"}]
    return {"info": {}, "images": images, "categories": categories, "annotations": people}
