"""Faces on the backs of heads are removed, others kept."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences.facing import drop_hidden_faces, facing, is_away
from sdpose_core.skeletons import COCO_17


def standing(face_score: float = 0.9, mirror: bool = False, width: float = 1.0) -> Poses:
    """Somebody who faces the camera; `mirror` turns them round (the sides change places in the picture)."""
    half = {"eye": (4, 20), "ear": (9, 22), "shoulder": (20, 45), "elbow": (26, 75), "wrist": (28, 100),
            "hip": (13, 100), "knee": (13, 140), "ankle": (13, 180)}  # fmt: skip
    points = np.zeros((1, 17, 2))
    for index, name in enumerate(COCO_17.names):
        side, _, joint = name.partition("_")
        x, y = half.get(joint, (0, 24))
        x = x * width * (1 if side == "left" else -1 if side == "right" else 0)
        points[0, index] = 100 + (-x if mirror else x), y
    scores = np.full((1, 17), 0.9)
    scores[0, :3] = face_score
    return Poses(points, scores, [[60, 10, 140, 190, 1]], (200, 200), "coco_17")


@pytest.mark.parametrize(
    ("poses", "away"),
    [
        (standing(), False),
        (standing(mirror=True, face_score=0.2), True),
        (standing(mirror=True), True),
        (standing(width=0.0), False),
        (standing(width=0.0, face_score=0.05), True),
        (standing(face_score=0.3), False),
    ],
    ids=["towards", "away", "away but scored", "sideways", "sideways without a face", "towards but unsure"],
)
def test_who_is_turned_away(poses: Poses, away: bool) -> None:
    shown = drop_hidden_faces(PoseSequence.from_poses([poses]))
    kept = np.isfinite(shown.keypoints[0, 0, :, 0])
    assert kept.tolist() == ([False] * 3 if away else [True] * 3) + [True] * 14
    assert np.array_equal(shown.scores[0], poses.scores)


def test_the_value_goes_from_towards_to_away() -> None:
    poses = [
        standing(mirror=mirror, width=width) for mirror, width in [(False, 1), (False, 0.3), (True, 0.3), (True, 1)]
    ]
    values = [float(facing(p.keypoints, p.scores, "coco_17")[0]) for p in poses]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.5 and values[-1] < -0.5


def test_unseen_points_and_other_sets_say_nothing() -> None:
    nothing = replace(standing(), keypoints=np.full((1, 17, 2), np.nan))
    assert facing(nothing.keypoints, nothing.scores, "coco_17").tolist() == [0]
    assert facing(np.zeros((2, 4, 2)), np.ones((2, 4)), "own").tolist() == [0, 0]


def test_no_flicker_along_time() -> None:
    values = np.asarray([0.5, 0.4, -0.5, 0.4, 0.3, -0.4, -0.6, -0.2, -0.25, -0.2, -0.5, 0.5, 0.6])
    assert is_away(values).tolist() == [False] * 6 + [True] * 5 + [False] * 2


def test_along_a_sequence() -> None:
    frames = [standing()] * 5 + [standing(mirror=True, face_score=0.3)] * 6
    sequence = PoseSequence.from_poses(frames, frame_rate=Fraction(25))
    seen = np.isfinite(drop_hidden_faces(sequence).keypoints[:, 0, 0, 0])
    assert seen[:4].all() and not seen[6:].any()
