"""What to look at first in a pose sequence with distrust: the worst frames of its people, and figures of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ..poses import PoseSequence
from ..skeletons import KEYPOINT_SETS
from ..stated import mapping_in
from .distrust import REASONS

DOUBTFUL = 0.5
"""Points from this distrust on are more probably wrong than right."""

PART_COUNTS = 0.75
"""Mean distrust from which feet, a hand or the face count for a person."""

WORDS = {
    "low_score": "low score", "jump": "jump", "bone_length": "bone length", "left_right": "left and right",
    "outside": "outside", "identity": "somebody else?", "unusual": "unusual position",
    "other_person": "on another person", "filled": "filled gap",
}  # fmt: skip
"""Reasons in words."""


@dataclass(frozen=True)
class Doubt:
    """One person in one frame.

    Attributes:
        t: position of the frame in the sequence.
        slot, id: of the person.
        distrust: see `person_distrust`.
        points: indices of the doubtful points, the worst first.
        reasons: names of `distrust.REASONS`.
    """

    t: int
    slot: int
    id: int
    distrust: float
    points: tuple[int, ...]
    reasons: tuple[str, ...]


def person_distrust(distrust: np.ndarray, keypoint_set: str) -> np.ndarray:
    """(..., K) of points -> (...,) of people: the largest of the body, or the mean of feet, a hand or the face.

    These parts are often a little off: their mean counts from `PART_COUNTS` on. NaN where nothing is known.
    """
    known = KEYPOINT_SETS.get(keypoint_set)
    parts = known.parts if known else {"body": tuple(range(distrust.shape[-1]))}
    result = np.full(distrust.shape[:-1], np.nan, np.float32)
    for part, points in parts.items():
        values = distrust[..., list(points)]
        absent = np.isnan(values)
        counts = (~absent).sum(axis=-1)
        if part == "body":
            value = np.where(absent, -1, values).max(axis=-1, initial=-1)
        else:
            mean = np.where(absent, 0, values).sum(axis=-1) / np.maximum(counts, 1)
            value = np.where(mean >= PART_COUNTS, mean, 0)
        result = np.fmax(result, np.where(counts > 0, value, np.nan))
    return result


def worst_people(
    distrust: np.ndarray,
    reasons: np.ndarray,
    track_ids: np.ndarray,
    keypoint_set: str,
    frame_rate: Fraction | None,
    passed: np.ndarray | None = None,
) -> list[Doubt]:
    """Doubtful people, the worst first, at most one for each person and second.

    Args:
        distrust, reasons, track_ids: (T, P, K), (T, P, K), (T, P).
        passed: (T, P) bool: people who were found right, which holds for the second around them.
    """  # fmt: skip
    there = track_ids >= 0 if passed is None else (track_ids >= 0) & ~passed
    frames, slots = np.nonzero(there)
    values = person_distrust(distrust[frames, slots], keypoint_set)
    doubtful = np.flatnonzero(np.nan_to_num(values) >= DOUBTFUL)
    order = doubtful[np.argsort(-values[doubtful], kind="stable")]
    second = max(round(float(frame_rate)), 1) if frame_rate is not None else 1
    right = np.argwhere(passed & (track_ids >= 0)).tolist() if passed is not None else []
    taken = {(int(track_ids[t, slot]), t // second) for t, slot in right}
    found = []
    for row in order.tolist():
        t, slot = int(frames[row]), int(slots[row])
        place = (int(track_ids[t, slot]), t // second)
        if place in taken:
            continue
        taken.add(place)
        points = _doubtful_points(distrust[t, slot])
        mask = int(np.bitwise_or.reduce(reasons[t, slot, points], initial=0))
        found.append(Doubt(t, slot, place[0], float(values[row]), tuple(points.tolist()), reasons_of(mask)))
    return found


def _doubtful_points(distrust: np.ndarray) -> np.ndarray:
    """Indices of the doubtful ones of (K,) points, the worst first."""
    points = np.flatnonzero(np.nan_to_num(distrust) >= DOUBTFUL)
    return points[np.argsort(-distrust[points], kind="stable")]


def reasons_of(mask: int) -> tuple[str, ...]:
    """The names of the reasons in a bit mask."""
    return tuple(name for bit, name in enumerate(REASONS) if mask >> bit & 1)


def doubts_of(sequence: PoseSequence) -> list[Doubt]:
    """`worst_people` of a sequence; nobody without distrust."""
    if sequence.distrust is None or sequence.distrust_reasons is None:
        return []
    return worst_people(
        sequence.distrust, sequence.distrust_reasons, sequence.track_ids, sequence.keypoint_set, sequence.frame_rate
    )


def doubtful_share(sequence: PoseSequence, track_id: int | None = None) -> float:
    """The share of the points that are there, of one person or all, which are doubtful; 0 without any."""
    if sequence.distrust is None:
        return 0.0
    rows = sequence.track_ids >= 0 if track_id is None else sequence.track_ids == track_id
    values = sequence.distrust[rows]
    known = np.isfinite(values)
    return float((values[known] >= DOUBTFUL).mean()) if known.any() else 0.0


def described(sequence: PoseSequence, doubt: Doubt) -> dict[str, Any]:
    """A doubt as JSON-able values: the frame's number in the source and its time, the names of the points."""
    known = KEYPOINT_SETS.get(sequence.keypoint_set)
    names = [known.names[point] if known else str(point) for point in doubt.points]
    return {
        "frame": int(sequence.frame_index[doubt.t]), "seconds": round(float(sequence.pts[doubt.t]), 3), "id": doubt.id,
        "distrust": round(doubt.distrust, 3), "reasons": list(doubt.reasons), "points": names,
    }  # fmt: skip


def figures(sequence: PoseSequence, most: int = 5) -> dict[str, Any]:
    """The distrust of a sequence as JSON-able values: `doubtful`, the share of doubtful points; `frames`, the number of
    doubtful people in frames, at most one a second; the worst of them; and `calibrated`."""
    found = doubts_of(sequence)
    worst = [described(sequence, doubt) for doubt in found[:most]]
    return {
        "doubtful": round(doubtful_share(sequence), 5), "frames": len(found), "worst": worst,
        "calibrated": is_calibrated(sequence),
    }  # fmt: skip


def is_calibrated(sequence: PoseSequence) -> bool:
    """Whether its distrust was fitted to the model that made it; otherwise it ranks points, and its value is rough."""
    return not mapping_in(sequence.meta, "distrust").get("not_calibrated")


def in_words(doubt: Mapping[str, Any]) -> str:
    """An entry of `figures` as a phrase: who, where, how much, and why."""
    reasons = ", ".join(WORDS.get(name, name) for name in doubt["reasons"])
    points = ", ".join(doubt["points"][:3]) + (f" and {len(doubt['points']) - 3} more" if doubt["points"][3:] else "")
    why = "; ".join(text for text in (reasons, points) if text)
    where = f"frame {doubt['frame']} ({doubt['seconds']:g} s), person {doubt['id']}"
    return f"{where}: {doubt['distrust']:.0%} likely to be wrong ({why})"
