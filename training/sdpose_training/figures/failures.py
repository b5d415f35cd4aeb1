"""Which people and points of a prediction count as failures, by a stated rule, and how they are marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.skeletons import KeypointSet
from sdpose_training.data.truth import Truth
from sdpose_training.evaluation.oks_report import Match, match_predictions
from sdpose_training.evaluation.predictions import Predictions
from sdpose_training.evaluation.scoring import keep_people, oks_sigmas, person_scores

WRONG, MISSING = (230, 25, 35), (255, 140, 0)
"""Red and orange: of wrong points and people, and of those that are missing."""


@dataclass(frozen=True)
class Rule:
    """What counts as a failure.

    Attributes:
        min_oks: people below it failed.
        max_distance: share of the person's scale (the square root of the annotated area) by which a point may be off.
        threshold: points with a lower score are not drawn, so they count as missing.

    Raises `InputError` for values that no rule has.
    """

    min_oks: float = 0.5
    max_distance: float = 0.2
    threshold: float = 0.2

    def __post_init__(self) -> None:
        if not (0 <= self.min_oks <= 1 and self.max_distance > 0):
            raise InputError(
                f"expected --min-oks from 0 to 1 and --max-distance above 0, got {self.min_oks} and {self.max_distance}"
            )

    def sentences(self) -> list[str]:
        """The rule for the caption."""
        return [
            f"Red ring: a point more than {self.max_distance:g} of the person's scale (square root of the annotated "
            f"area) from its annotation. Orange ring: an annotated point without a drawn one (score below "
            f"{self.threshold:g}).",
            f"Red frame: a person with OKS below {self.min_oks:g}; dashed orange frame: a person who was not found.",
        ]


@dataclass(frozen=True, eq=False)
class Failures:
    """The failures in one picture, in its pixels, and what they are out of.

    Attributes:
        wrong, missing: (N, 2) places of the rings.
        failed: (box x1, y1, x2, y2, OKS) of people below the rule; `lost`: boxes of those who were not found.
        points, people: number of annotated ones.
        oks: of every annotated person.
    """

    wrong: np.ndarray
    missing: np.ndarray
    failed: Sequence[tuple[np.ndarray, float]]
    lost: Sequence[np.ndarray]
    points: int
    people: int
    oks: Sequence[float]


def judge(predictions: Predictions, truth: Truth, keypoint_set: KeypointSet, rule: Rule) -> dict[Any, Failures]:
    """The failures in every annotated picture, by its id, after OKS-NMS and matched as in `match_predictions`."""
    sigmas, scores = oks_sigmas(keypoint_set), person_scores(predictions)
    indices, _ = keep_people(predictions, scores, sigmas)
    kept = predictions.select(indices)
    found: dict[Any, list[Match]] = {picture: [] for picture in truth.picture_ids}
    for match in match_predictions(truth, kept, scores[indices], sigmas):
        found[truth.image_ids[match.person]].append(match)
    return {picture: _failures(truth, kept, matches, rule) for picture, matches in found.items()}


def _failures(truth: Truth, kept: Predictions, matches: Sequence[Match], rule: Rule) -> Failures:
    wrong, missing, failed, lost, points = [], [], [], [], 0
    for match in matches:
        known = truth.keypoints[match.person]
        box = _box(truth, match.person)
        points += int((known[:, 2] > 0).sum())
        if match.prediction is None:
            lost.append(box)
            continue
        if match.oks < rule.min_oks:
            failed.append((box, match.oks))
        predicted = kept.keypoints[match.prediction]
        seen = np.isfinite(predicted).all(axis=1) & (kept.keypoint_scores[match.prediction] >= rule.threshold)
        distance = np.linalg.norm(predicted - known[:, :2], axis=1)
        labeled, limit = known[:, 2] > 0, rule.max_distance * np.sqrt(max(truth.areas[match.person], 1))
        wrong.append(predicted[labeled & seen & (distance > limit)])
        missing.append(known[labeled & ~seen, :2])
    rings = [np.concatenate(each) if each else np.zeros((0, 2)) for each in (wrong, missing)]
    return Failures(*rings, failed, lost, points, len(matches), [match.oks for match in matches])


def _box(truth: Truth, person: int) -> np.ndarray:
    """x1, y1, x2, y2 of an annotated person; around the points if the box is empty."""
    x, y, w, h = truth.boxes_xywh[person]
    known = truth.keypoints[person]
    known = known[known[:, 2] > 0, :2]
    return np.array([x, y, x + w, y + h]) if w > 0 and h > 0 else np.concatenate([known.min(axis=0), known.max(axis=0)])


def totals(failures: Mapping[Any, Failures]) -> dict[str, Any]:
    """Counts over all pictures."""
    each = list(failures.values())
    oks = [value for one in each for value in one.oks]
    return {
        "people": sum(one.people for one in each), "people_below": sum(len(one.failed) for one in each),
        "people_not_found": sum(len(one.lost) for one in each), "points": sum(one.points for one in each),
        "points_off": sum(len(one.wrong) for one in each), "points_missing": sum(len(one.missing) for one in each),
        "mean_oks": float(np.mean(oks)) if oks else None,
    }  # fmt: skip


def mark(image: np.ndarray, failures: Failures, scale: float) -> np.ndarray:
    """The picture, RGB uint8 (h, w, 3), with the marks drawn on a copy; `scale`: its pixels per pixel of the photo."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    radius = max(image.shape[0] * 0.022, 6.0)
    for box in failures.lost:
        _dashed(draw, box * scale)
    for box, oks in failures.failed:
        corners = (box * scale).tolist()
        draw.rectangle(corners, outline=WRONG, width=2)
        text, place = f"OKS {oks:.2f}", (corners[0] + 3, max(corners[1] + 2, 2))
        draw.text(place, text, fill="white", font=ImageFont.load_default(12), stroke_width=2, stroke_fill=WRONG)
    for places, color in ((failures.missing, MISSING), (failures.wrong, WRONG)):
        for x, y in (places + 0.5) * scale - 0.5:
            for half, width, tone in ((radius + 1, 5, "white"), (radius, 3, color)):
                draw.ellipse((x - half, y - half, x + half, y + half), outline=tone, width=width)
    return np.asarray(picture)


def _dashed(draw: Any, box: np.ndarray, dash: float = 8.0) -> None:
    x1, y1, x2, y2 = box.tolist()
    for a, b in (((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)), ((x1, y2), (x1, y1))):
        start, end = np.array(a), np.array(b)
        steps = max(int(np.linalg.norm(end - start) / dash), 1)
        for step in range(0, steps, 2):
            ends = [start + (end - start) * min(at / steps, 1) for at in (step, step + 1)]
            draw.line([tuple(each.tolist()) for each in ends], fill=MISSING, width=2)
