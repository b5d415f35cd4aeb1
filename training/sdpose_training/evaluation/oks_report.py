"""Which person was found how well: OKS of each annotated person with the prediction that belongs to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.files import atomic_write
from sdpose_core.oks import oks
from sdpose_training.evaluation.scoring import Scored

MIN_OKS = 0.01
"""A prediction that is less like a person belongs to nobody."""

_FAR_AWAY = 1e6


@dataclass(frozen=True)
class Match:
    """An annotated person.

    Attributes:
        person: place in `Scored.truth`.
        prediction: place in `Scored.kept`, None if nobody was found there.
        oks: 0 if nobody was.
    """

    person: int
    prediction: int | None
    oks: float


def match_people(scored: Scored) -> list[Match]:
    """Each annotated person with labelled points and the prediction that took it.

    As COCO's evaluation, without a threshold: picture by picture the best predictions choose first, each the person
    left that it resembles most. Crowds are nobody.
    """
    truth = scored.truth
    people, found = _by_picture(truth.image_ids), _by_picture(scored.kept.image_ids)
    matches: list[Match] = []
    for picture in truth.picture_ids:
        own = [i for i in people.get(picture, ()) if not truth.crowd[i] and (truth.keypoints[i, :, 2] > 0).any()]
        there = sorted(found.get(picture, ()), key=lambda j: -scored.scores[j])
        matches += _match(own, there, _likeness(scored, own, there))
    return matches


def _match(people: Sequence[int], found: Sequence[int], likeness: np.ndarray) -> list[Match]:
    taken: dict[int, tuple[int, float]] = {}
    for column, prediction in enumerate(found):
        free = [row for row in range(len(people)) if row not in taken]
        best = max(free, key=lambda row: likeness[row, column], default=None)
        if best is not None and likeness[best, column] >= MIN_OKS:
            taken[best] = (prediction, float(likeness[best, column]))
    return [Match(person, *taken.get(row, (None, 0.0))) for row, person in enumerate(people)]


def _likeness(scored: Scored, people: Sequence[int], found: Sequence[int]) -> np.ndarray:
    """(N, M) OKS."""
    points = scored.truth.keypoints[list(people)]
    known = np.where(points[..., 2:] > 0, points[..., :2], np.nan)
    own = scored.kept.keypoints[list(found)]
    return oks(known, np.where(np.isfinite(own), own, _FAR_AWAY), scored.truth.areas[list(people)], scored.sigmas)


def _by_picture(image_ids: Sequence[Any]) -> dict[Any, list[int]]:
    places: dict[Any, list[int]] = {}
    for i, picture in enumerate(image_ids):
        places.setdefault(picture, []).append(i)
    return places


def mean_oks(matches: Sequence[Match]) -> float:
    """Over all annotated people, 0 for those that were not found."""
    return float(np.mean([match.oks for match in matches])) if matches else 0.0


def write_oks(scored: Scored, matches: Sequence[Match], files: Mapping[Any, str], path: str | Path) -> None:
    """JSON: per picture its mean OKS, its people with OKS and prediction, and the predictions that belong to nobody.

    Args:
        files: name of each picture, by image id.
    """
    truth, kept = scored.truth, scored.kept
    of_picture = _by_picture([truth.image_ids[match.person] for match in matches])
    used = {match.prediction for match in matches}
    others = _by_picture(kept.image_ids)
    pictures = []
    for picture in truth.picture_ids:
        own = [matches[i] for i in of_picture.get(picture, ())]
        pictures.append({
            "image_id": picture,
            "file_name": files.get(picture),
            "mean_oks": mean_oks(own) if own else None,
            "people": [
                {
                    "annotation_id": truth.ids[match.person],
                    "oks": match.oks,
                    "labelled_points": int(truth.labelled[match.person]),
                    "prediction_id": None if match.prediction is None else int(kept.ids[match.prediction]),
                    "score": None if match.prediction is None else float(scored.scores[match.prediction]),
                }
                for match in own
            ],
            "unmatched_predictions": [int(kept.ids[j]) for j in others.get(picture, ()) if j not in used],
        })  # fmt: skip
    with atomic_write(path, "w") as handle:
        json.dump({"mean_oks": mean_oks(matches), "pictures": pictures}, handle, indent=1)
