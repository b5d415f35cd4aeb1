"""Clips of walking people without a fault, for faults to be put in; and the signals of distrust in them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from moving_people import figure

from sdpose_core.poses import PoseSequence
from sdpose_core.sequences.suspicion.scenes import scenes
from sdpose_core.sequences.suspicion.signals import SIGNALS, signals_of
from sdpose_core.skeletons import COCO_17

AT = {name: i for i, name in enumerate(COCO_17.names)}
ALL = tuple(SIGNALS)
FRAME = 20


def person(t: int, at: tuple[float, float] = (100, 300), step: float = 2.0) -> np.ndarray:
    return figure(at[0] + step * t, at[1], 200, t / 14, 1)


def clip(*people: np.ndarray, ids: tuple[int, ...] | None = None, meta: dict | None = None) -> PoseSequence:
    """A clip at 25 frames per second of people (T, 17, 2) each, with boxes a little larger than their points."""
    points = np.stack(people, axis=1).astype(np.float32)
    boxes = np.concatenate(
        [np.nanmin(points, axis=2) - 8, np.nanmax(points, axis=2) + 8, points[:, :, 0, :1] * 0 + 1], axis=2
    )
    track_ids = np.tile(ids or np.arange(len(people)), (len(points), 1))
    number = np.arange(len(points))
    return PoseSequence(
        points, np.full(points.shape[:3], 0.8), np.nan_to_num(boxes), track_ids, number, number / 25, (640, 360),
        Fraction(25), "coco_17", meta or {"preview": True},
    )  # fmt: skip


def walk(frames: int = 41, **where) -> np.ndarray:
    return np.stack([person(t, **where) for t in range(frames)])


def signals(sequence: PoseSequence, track_id: int = 0, raw: PoseSequence | None = None) -> dict[str, np.ndarray]:
    """Name -> (N, K) of one person."""
    for scene, _, _ in scenes(sequence, raw):
        if scene.track.id == track_id:
            points = np.arange(sequence.scores.shape[2])
            return dict(zip(ALL, signals_of(scene, points, ALL), strict=True))
    raise AssertionError(f"nobody has id {track_id}")


def moved(points: np.ndarray, frame: int, name: str, by: tuple[float, float]) -> np.ndarray:
    result = points.copy()
    result[frame, AT[name]] += by
    return result
