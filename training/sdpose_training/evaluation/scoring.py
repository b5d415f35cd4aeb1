"""Scoring of predictions as in the official evaluation: rescoring, OKS-NMS, COCO's figures, whole-body parts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sdpose_core.coco.annotations import Coco
from sdpose_core.errors import InputError
from sdpose_core.oks import UNKNOWN_SIGMA
from sdpose_core.skeletons import KeypointSet
from sdpose_training.data.truth import Truth, read_truth
from sdpose_training.evaluation.coco_figures import FIGURES, NO_FIGURE, Detections, coco_figures, extents
from sdpose_training.evaluation.picture_groups import group_figures, picture_groups
from sdpose_training.evaluation.picture_matches import PictureMatches, match_pictures
from sdpose_training.evaluation.predictions import Predictions

log = logging.getLogger(__name__)

SCORE_MODES = ("bbox_keypoint", "bbox")
NMS_MODES = ("oks", "soft", "none")
NMS_THRESHOLD = 0.9
MIN_POINT_SCORE = 0.2
"""Only points with a higher score count for the score of a person (the paper's protocol)."""
MAX_PER_PICTURE = 20


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
        matches: of each picture, for all keypoints.
        groups: grouping -> group -> figures, see `group_figures`.
    """

    figures: dict[str, float | None]
    parts: dict[str, dict[str, float | None]]
    kept: Predictions
    scores: np.ndarray
    truth: Truth
    sigmas: np.ndarray
    counts: dict[str, int]
    matches: PictureMatches
    groups: dict[str, dict[str, dict[str, float | int | None]]]


def score(
    predictions: Predictions, annotations: Mapping[str, Any], keypoint_set: KeypointSet, *, nms: str = "oks",
    score_mode: str = "bbox_keypoint", scorer: str = "faster-coco-eval", grouping: str | None = None,
) -> Scored:  # fmt: skip
    """Score predictions against a parsed COCO file.

    Args:
        predictions: with the keypoint set's K points.
        annotations: parsed COCO file; whole bodies in COCO-WholeBody's fields.
        keypoint_set: without sigmas, .08 is used for each point, with a warning.
        nms, score_mode: one of `NMS_MODES`, `SCORE_MODES`; by default the official protocol.
        scorer: see `coco_figures`.
        grouping: kind of `picture_groups` to score by themselves; None: none.

    Raises `InputError` if predictions and annotations do not belong together.
    """
    if len(predictions) and predictions.keypoints.shape[1] != len(keypoint_set):
        raise InputError(
            f"predictions of {predictions.keypoints.shape[1]} points, but {keypoint_set.name!r} has {len(keypoint_set)}"
        )
    coco = Coco.of(annotations)
    truth = read_truth(coco, keypoint_set)
    predictions = _of_known_pictures(predictions, coco)
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
    matches = match_pictures(truth, found, sigmas.tolist())
    groups = group_figures(matches, picture_groups(coco, grouping)) if grouping else {}
    figures = _figures(truth, found, sigmas, scorer)
    return Scored(figures, parts, kept, scores, truth, sigmas, counts, matches, groups)


def _of_known_pictures(predictions: Predictions, coco: Coco) -> Predictions:
    """The predictions of annotated pictures, with the ids that the annotations have for them.

    Raises `InputError` if there are none.
    """
    known = coco.ids_of({picture: picture for picture in predictions.image_ids})
    inside = [i for i, picture in enumerate(predictions.image_ids) if picture in known]
    unknown = list(dict.fromkeys(picture for picture in predictions.image_ids if picture not in known))
    if unknown and not inside:
        raise InputError(
            f"the annotations lack image ids of the predictions ({len(unknown)}, such as {unknown[0]!r}; theirs are "
            f"like {next(iter(coco.images), None)!r}): these predictions are for another annotation file"
        )
    if unknown:
        left = len(predictions) - len(inside)
        log.warning(
            "predictions of pictures that the annotations lack are left out: %d, such as of %r", left, unknown[0]
        )
    found = predictions.select(inside)
    return replace(found, image_ids=tuple(known[picture] for picture in found.image_ids))


def oks_sigmas(keypoint_set: KeypointSet) -> np.ndarray:
    """(K,) of the set; without them, .08 for each point, with a warning."""
    if keypoint_set.sigmas:
        return np.asarray(keypoint_set.sigmas, np.float64)
    log.warning("%s has no OKS sigmas: %g is used for every point", keypoint_set.name, UNKNOWN_SIGMA)
    return np.full(len(keypoint_set), UNKNOWN_SIGMA)


def _figures(truth: Truth, found: Detections, sigmas: np.ndarray, scorer: str) -> dict[str, float | None]:
    figures = coco_figures(truth, found, sigmas, scorer)
    return {name: None if figures[name] == NO_FIGURE else figures[name] for name in FIGURES}
