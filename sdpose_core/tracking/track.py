"""A person who is tracked: where they were last, how they move, and what they wear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..poses import Poses

MIN_POINTS = 4
"""Poses with fewer common points are compared by box only."""
KNOWN_HITS = 3
"""From this number of frames on, a track's velocity is known."""
REACH = 3
"""A known velocity moves a box by at most this many times its longer side (others: one side): 8 frames of a runner."""


@dataclass
class Track:
    """A person: last box (4,), keypoints (K, 2), velocity (2,) in pixels per frame, and look (2, C).

    `last_frame`: when they were last seen, in frames of time, see `Tracker.time_of`. `guessed`: recognized by the edge
    only; the clothes, once seen, must agree. See `Tracker.missed` for the rest: `failed`: how often in a row they were
    looked for in vain; `unseen_since`: when the detector saw them last; `confirmed`: found again without it.
    """

    id: int
    box: np.ndarray
    keypoints: np.ndarray
    velocity: np.ndarray
    last_frame: float
    hits: int
    look: np.ndarray
    guessed: bool = False
    failed: int = 0
    unseen_since: float | None = None
    confirmed: bool = False

    def shift(self, now: float, size: tuple[int, int]) -> np.ndarray:
        """(2,) predicted motion in pixels, limited to `REACH` and to the picture."""
        center, length = (self.box[:2] + self.box[2:]) / 2, (self.box[2:] - self.box[:2]).max()
        step = self.velocity * (now - self.last_frame)
        reach = length * (REACH if self.hits >= KNOWN_HITS else 1)
        step = step * min(1, reach / max(float(np.linalg.norm(step)), 1e-9))
        return np.clip(center + step, np.minimum(center, 0), np.maximum(center, size)) - center

    def state(self) -> dict[str, Any]:
        return {name: plain_list(v) if isinstance(v, np.ndarray) else v for name, v in vars(self).items()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Track:
        names = ("box", "keypoints", "velocity", "look")
        arrays = {name: np.asarray(state[name], dtype=np.float64) for name in names}  # None becomes NaN
        return cls(**{**state, **arrays})


def plain_list(values: np.ndarray) -> list[Any]:
    """An array of numbers as JSON-able lists, None for NaN."""
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    return plain.tolist()


def follow(track: Track, poses: Poses, person: int, now: float, points: np.ndarray, look: np.ndarray) -> None:
    """Update a track from the matched person."""
    box = poses.boxes[person, :4].astype(np.float64)
    moved = points - track.keypoints
    moved = moved[np.isfinite(moved).all(axis=1)]
    step = np.median(moved, axis=0) if len(moved) >= MIN_POINTS else (box - track.box).reshape(2, 2).mean(axis=0)
    gain = max(1 / track.hits, 0.3)
    track.velocity = track.velocity + gain * (step / (now - track.last_frame) - track.velocity)
    track.box, track.keypoints, track.last_frame, track.hits, track.failed = box, points, now, track.hits + 1, 0
    track.unseen_since, track.confirmed = track.unseen_since if track.confirmed else None, False
    blended = np.where(np.isnan(look), track.look, 0.9 * track.look + 0.1 * look)
    track.look = np.where(np.isnan(track.look), look, blended)
