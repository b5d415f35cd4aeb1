"""OKS of each annotated person with its matched prediction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.files import atomic_write
from sdpose_core.oks import oks
from sdpose_training.data.truth import Truth
from sdpose_training.evaluation.predictions import Predictions
from sdpose_training.evaluation.scoring import Scored

MIN_OKS = 0.01
"""A prediction with a lower OKS to a person does not match them."""

_FAR_AWAY = 1e6


@dataclass(frozen=True)
class Match:
    """Index of a person in `Scored.truth` and of their prediction in `Scored.kept`; None and 0 without a match."""

    person: int
    prediction: int | None
    oks: float


def match_people(scored: Scored) -> list[Match]:
    """The matches of a result, see `match_predictions`."""
    return match_predictions(scored.truth, scored.kept, scored.scores, scored.sigmas)


def match_predictions(truth: Truth, kept: Predictions, scores: np.ndarray, sigmas: np.ndarray) -> list[Match]:
    """Match each annotated person with labeled points to a prediction of `kept`, with `scores` (N,); `sigmas` (K,).

    As in COCO's evaluation, but without its OKS thresholds: in each picture, in the order of their scores, the
    predictions choose the most similar person that is still free. Crowds are left out.
    """
    people_in, found_in = _by_picture(truth.image_ids), _by_picture(kept.image_ids)
    matches: list[Match] = []
    for picture in truth.picture_ids:
        people = [i for i in people_in.get(picture, ()) if not truth.crowd[i] and (truth.keypoints[i, :, 2] > 0).any()]
        found = sorted(found_in.get(picture, ()), key=lambda j: -scores[j])
        matches += _match(people, found, _oks_of_pairs(truth, kept, people, found, sigmas))
    return matches


def _match(people: Sequence[int], found: Sequence[int], similarity: np.ndarray) -> list[Match]:
    taken: dict[int, tuple[int, float]] = {}
    for column, prediction in enumerate(found):
        free = [row for row in range(len(people)) if row not in taken]
        best = max(free, key=lambda row: similarity[row, column], default=None)
        if best is not None and similarity[best, column] >= MIN_OKS:
            taken[best] = (prediction, float(similarity[best, column]))
    return [Match(person, *taken.get(row, (None, 0.0))) for row, person in enumerate(people)]


def _oks_of_pairs(
    truth: Truth, kept: Predictions, people: Sequence[int], found: Sequence[int], sigmas: np.ndarray
) -> np.ndarray:
    """(N, M)."""
    points = truth.keypoints[list(people)]
    known = np.where(points[..., 2:] > 0, points[..., :2], np.nan)
    predicted = kept.keypoints[list(found)]
    return oks(known, np.where(np.isfinite(predicted), predicted, _FAR_AWAY), truth.areas[list(people)], sigmas)


def _by_picture(image_ids: Sequence[Any]) -> dict[Any, list[int]]:
    places: dict[Any, list[int]] = {}
    for i, picture in enumerate(image_ids):
        places.setdefault(picture, []).append(i)
    return places


def mean_oks(matches: Sequence[Match]) -> float:
    """Over all annotated people; those without a match count as 0."""
    return float(np.mean([match.oks for match in matches])) if matches else 0.0


def write_oks(scored: Scored, matches: Sequence[Match], files: Mapping[Any, str], path: str | Path) -> None:
    """JSON: for each picture its mean OKS, its people with OKS and prediction, and the unmatched predictions.

    Args:
        files: image id -> file name.
    """
    truth, kept = scored.truth, scored.kept
    matches_in = _by_picture([truth.image_ids[match.person] for match in matches])
    used = {match.prediction for match in matches}
    found_in = _by_picture(kept.image_ids)
    pictures = []
    for picture in truth.picture_ids:
        people = [matches[i] for i in matches_in.get(picture, ())]
        pictures.append({
            "image_id": picture,
            "file_name": files.get(picture),
            "mean_oks": mean_oks(people) if people else None,
            "people": [
                {
                    "annotation_id": truth.ids[match.person],
                    "oks": match.oks,
                    "labelled_points": int(truth.labeled[match.person]),
                    "prediction_id": None if match.prediction is None else int(kept.ids[match.prediction]),
                    "score": None if match.prediction is None else float(scored.scores[match.prediction]),
                }
                for match in people
            ],
            "unmatched_predictions": [int(kept.ids[j]) for j in found_in.get(picture, ()) if j not in used],
        })  # fmt: skip
    with atomic_write(path, "w") as handle:
        json.dump({"mean_oks": mean_oks(matches), "pictures": pictures}, handle, indent=1)
