"""Scoring of predictions as in the official evaluation: rescoring, OKS-NMS, COCO's figures, whole-body parts."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.codec.crops import box_to_center_scale, fix_aspect
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write
from sdpose_core.oks import UNKNOWN_SIGMA
from sdpose_core.skeletons import KeypointSet
from sdpose_training.data.truth import Truth, read_truth
from sdpose_training.evaluation.coco_figures import FIGURES, NO_FIGURE, Detections, coco_figures, extents

log = logging.getLogger(__name__)

SCORE_MODES = ("bbox_keypoint", "bbox")
NMS_MODES = ("oks", "soft", "none")
NMS_THRESHOLD = 0.9
MIN_POINT_SCORE = 0.2
"""Only points with a higher score count for the score of a person (the paper's protocol)."""
MAX_PER_PICTURE = 20
BOX_ASPECT = (768, 1024)
"""(w, h): aspect to which boxes grow for the area in OKS-NMS, the same for every model."""
KEYS = ("id", "img_id", "keypoints", "keypoint_scores", "bbox_score", "bbox_scale")
"""Of each entry of a file of predictions."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """N predicted people, before NMS.

    Attributes:
        ids: (N,) int, of the boxes.
        image_ids: (N,) as in the annotations.
        keypoints: (N, K, 2) float64, pixels of the pictures, NaN where none.
        keypoint_scores: (N, K) float64.
        box_scores: (N,) float64.
        box_scales: (N, 2) float64: width and height of the padded box of the crop in pixels.

    Raises `InputError` for shapes that do not match.
    """

    ids: np.ndarray
    image_ids: tuple[Any, ...]
    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    box_scores: np.ndarray
    box_scales: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.ids)
        points = self.keypoints.shape[1:2]
        expected = ((count, *points, 2), (count, *points), (count,), (count, 2), count)
        arrays = (self.keypoints, self.keypoint_scores, self.box_scores, self.box_scales)
        found = (*(array.shape for array in arrays), len(self.image_ids))
        if found != expected:
            raise InputError(f"predictions: expected the shapes {expected}, found {found}")

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, indices: Sequence[int] | np.ndarray) -> Predictions:
        """The people at `indices`, in that order."""
        at = np.asarray(indices, int)
        arrays = (self.keypoints, self.keypoint_scores, self.box_scores, self.box_scales)
        return Predictions(self.ids[at], tuple(self.image_ids[i] for i in at), *(array[at] for array in arrays))

    def first_points(self, count: int) -> Predictions:
        """The first `count` points of each: the body of a whole body."""
        return replace(self, keypoints=self.keypoints[:, :count], keypoint_scores=self.keypoint_scores[:, :count])


def box_scales(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N, 4) -> (N, 2): width and height of the boxes of the crops, padded by 1.25 and grown to 3:4."""
    return fix_aspect(box_to_center_scale(boxes_xyxy)[1], BOX_ASPECT)


def read_predictions(path: str | Path) -> Predictions:
    """A JSON list of {id, img_id, keypoints (K, 2), keypoint_scores (K), bbox_score, bbox_scale (w, h)}.

    Raises `InputError` for any other file.
    """
    people = read_entries(path, KEYS, "predictions")
    image_ids = read_image_ids(people, "img_id", path)
    ids, keypoints = column(people, "id", path, np.int64), column(people, "keypoints", path)
    if keypoints.ndim != 3:
        raise InputError(f"{path}: expected keypoints of shape (K, 2) for each person, found {keypoints.shape[1:]}")
    keypoints[~np.isfinite(keypoints)] = np.nan
    box_scores, scales = column(people, "bbox_score", path), column(people, "bbox_scale", path)
    for name, good in (("bbox_score", np.isfinite(box_scores)), ("bbox_scale", np.isfinite(scales) & (scales >= 0))):
        if not good.all():
            wrong = int(np.argwhere(~good)[0][0])
            raise InputError(
                f"{path}: entry {wrong} has the {name} {people[wrong][name]!r}, expected numbers (sizes from 0)"
            )
    return Predictions(ids, image_ids, keypoints, column(people, "keypoint_scores", path), box_scores, scales)


def read_entries(path: str | Path, keys: Sequence[str], what: str) -> list[dict[str, Any]]:
    """The JSON list in a file, with at least one entry and `keys` in each; `InputError` for any other file."""
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} holds no {what}: expected a list with at least one entry")
    for number, entry in enumerate(entries):
        missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
        if missing:
            raise InputError(f"{path}: entry {number} lacks {missing[0]!r}; expected {', '.join(keys)}")
    return entries


def column(entries: Sequence[Mapping[str, Any]], key: str, path: str | Path, dtype: type = np.float64) -> np.ndarray:
    """(N, ...) the numbers under one key of each entry; `InputError` if they are not numbers of one shape."""
    try:
        return np.asarray([entry[key] for entry in entries], dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: expected {key!r} to be numbers of the same shape in all entries: {error}") from None


def read_image_ids(entries: Sequence[Mapping[str, Any]], key: str, path: str | Path) -> tuple[Any, ...]:
    """(N,) the values under one key of each entry; `InputError` if one is neither a number nor a text."""
    for number, entry in enumerate(entries):
        if not isinstance(entry[key], int | float | str):
            raise InputError(f"{path}: entry {number} has the {key} {entry[key]!r:.60}, expected a number or a text")
    return tuple(entry[key] for entry in entries)


def write_predictions(predictions: Predictions, path: str | Path) -> None:
    """Write what `read_predictions` reads, atomically; a point that was not found is 0, 0."""
    points = np.nan_to_num(predictions.keypoints)
    columns = (
        predictions.ids.tolist(), predictions.image_ids, points.tolist(), predictions.keypoint_scores.tolist(),
        predictions.box_scores.tolist(), predictions.box_scales.tolist(),
    )  # fmt: skip
    people = [dict(zip(KEYS, values, strict=True)) for values in zip(*columns, strict=True)]
    with atomic_write(path, "w") as handle:
        json.dump(people, handle)


def person_scores(predictions: Predictions, mode: str = "bbox_keypoint") -> np.ndarray:
    """(N,): box score times `mean_of_good`; with the mode "bbox", the box score alone."""
    if mode == "bbox":
        return predictions.box_scores
    if mode != "bbox_keypoint":
        raise InputError(f"unknown score mode {mode!r}: choose one of {', '.join(SCORE_MODES)}")
    return predictions.box_scores * mean_of_good(predictions.keypoint_scores)


def mean_of_good(keypoint_scores: np.ndarray) -> np.ndarray:
    """(N, K) -> (N,): mean of the scores above .2, 0 if there are none."""
    good = keypoint_scores > MIN_POINT_SCORE
    return np.where(good, keypoint_scores, 0).sum(axis=1) / np.maximum(good.sum(axis=1), 1)


def similarities(keypoints: np.ndarray, areas: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """OKS between predicted people: (N, K, 2), areas (N,) -> (N, N). The area of a pair is the mean of the two."""
    squared = ((keypoints[:, None] - keypoints[None]) ** 2).sum(axis=-1)
    area = (areas[:, None] + areas[None]) / 2 + np.spacing(1)
    return np.exp(-squared / (2 * sigmas) ** 2 / area[..., None] / 2).mean(axis=-1)


def keep_people(
    predictions: Predictions, scores: np.ndarray, sigmas: np.ndarray, nms: str = "oks"
) -> tuple[np.ndarray, int]:
    """Indices of the people that OKS-NMS keeps in each picture, and the number of duplicate entries.

    Args:
        predictions, scores: N people and their scores.
        sigmas: (K,).
        nms: "oks": of two people with an OKS above .9, the one with the better score is kept. "soft": scores decay with
            the OKS to better people, and the best 20 are kept. "none".

    Returns:
        Indices, sorted by picture id and score, and the number.
    """
    if nms not in NMS_MODES:
        raise InputError(f"unknown NMS {nms!r}: choose one of {', '.join(NMS_MODES)}")
    of_picture: dict[Any, dict[int, int]] = {}
    for i, (picture, person_id) in enumerate(zip(predictions.image_ids, predictions.ids.tolist(), strict=True)):
        of_picture.setdefault(picture, {}).setdefault(person_id, i)
    points = np.nan_to_num(predictions.keypoints)
    areas = np.prod(predictions.box_scales, axis=1)
    kept: list[int] = []
    for picture in sorted(of_picture, key=lambda name: (isinstance(name, str), name)):
        members = np.asarray([i for _, i in sorted(of_picture[picture].items())])
        members = members[np.argsort(-scores[members], kind="stable")]
        if nms != "none" and len(members) > 1:
            similarity = similarities(points[members], areas[members], sigmas)
            members = members[_suppress(similarity) if nms == "oks" else _decay(similarity, scores[members])]
        kept += members.tolist()
    return np.asarray(kept, int), len(predictions) - sum(map(len, of_picture.values()))


def _suppress(similarity: np.ndarray) -> list[int]:
    """Indices kept by NMS; people are sorted by score, with their OKS (N, N)."""
    kept: list[int] = []
    for i in range(len(similarity)):
        if not (similarity[i, kept] > NMS_THRESHOLD).any():
            kept.append(i)
    return kept


def _decay(similarity: np.ndarray, scores: np.ndarray) -> list[int]:
    """Indices kept by Soft-NMS (arXiv 1704.04503): scores decay with the OKS to those already chosen."""
    kept: list[int] = []
    rest, decayed = list(range(len(scores))), scores.astype(np.float64)
    while rest and len(kept) < MAX_PER_PICTURE:
        best = max(rest, key=lambda i: decayed[i])
        rest.remove(best)
        kept.append(best)
        decayed = decayed * np.exp(-(similarity[best] ** 2) / NMS_THRESHOLD)
    return kept


@dataclass(frozen=True, eq=False)
class Scored:
    """The result of `score`.

    Attributes:
        figures: `FIGURES` as fractions, None where nobody is of that size.
        parts: of whole bodies: the same for "body", "feet", "face", "left_hand", "right_hand".
        kept: the people that were scored, after NMS.
        scores: (N,) their scores.
        truth: the annotated people.
        sigmas: (K,) used.
        counts: pictures, annotated people, predictions, kept, duplicates.
    """

    figures: dict[str, float | None]
    parts: dict[str, dict[str, float | None]]
    kept: Predictions
    scores: np.ndarray
    truth: Truth
    sigmas: np.ndarray
    counts: dict[str, int]


def score(
    predictions: Predictions, annotations: Mapping[str, Any], keypoint_set: KeypointSet, *, nms: str = "oks",
    score_mode: str = "bbox_keypoint", scorer: str = "faster-coco-eval",
) -> Scored:  # fmt: skip
    """Score predictions against a parsed COCO file.

    Args:
        predictions: with the keypoint set's K points.
        annotations: parsed COCO file; whole bodies in COCO-WholeBody's fields.
        keypoint_set: without sigmas, .08 is used for each point, with a warning.
        nms, score_mode: one of `NMS_MODES`, `SCORE_MODES`; by default the official protocol.
        scorer: see `coco_figures`.

    Raises `InputError` if predictions and annotations do not belong together.
    """
    if len(predictions) and predictions.keypoints.shape[1] != len(keypoint_set):
        raise InputError(
            f"predictions of {predictions.keypoints.shape[1]} points, but {keypoint_set.name!r} has {len(keypoint_set)}"
        )
    truth = read_truth(annotations, keypoint_set)
    sigmas = oks_sigmas(keypoint_set)
    scores = person_scores(predictions, score_mode)
    indices, duplicates = keep_people(predictions, scores, sigmas, nms)
    kept, scores = predictions.select(indices), scores[indices]
    found = Detections(kept.image_ids, kept.keypoints, scores, extents(kept.keypoints))
    parts = {
        name: _figures(truth.part(points), replace(found, keypoints=found.keypoints[:, points]), sigmas[points], scorer)
        for name, points in ((name, list(points)) for name, points in keypoint_set.parts.items())
        if len(keypoint_set.parts) > 1
    }
    people = int((~truth.crowd & (truth.labeled > 0)).sum())
    counts = {
        "pictures": len(truth.picture_ids), "annotated_people": people, "predictions": len(predictions),
        "kept": len(kept), "duplicates": duplicates,
    }  # fmt: skip
    return Scored(_figures(truth, found, sigmas, scorer), parts, kept, scores, truth, sigmas, counts)


def oks_sigmas(keypoint_set: KeypointSet) -> np.ndarray:
    """(K,) of the set; without them, .08 for each point, with a warning."""
    if keypoint_set.sigmas:
        return np.asarray(keypoint_set.sigmas, np.float64)
    log.warning("%s has no OKS sigmas: %g is used for every point", keypoint_set.name, UNKNOWN_SIGMA)
    return np.full(len(keypoint_set), UNKNOWN_SIGMA)


def _figures(truth: Truth, found: Detections, sigmas: np.ndarray, scorer: str) -> dict[str, float | None]:
    figures = coco_figures(truth, found, sigmas, scorer)
    return {name: None if figures[name] == NO_FIGURE else figures[name] for name in FIGURES}
