"""Which points are there: outside the picture, isolated, and the switches."""

from __future__ import annotations

import numpy as np
import pytest

from sdpose_core.annotate.presence import DEFAULT_PRESENCE, Presence
from sdpose_core.poses import Poses
from sdpose_core.skeletons import COCO_17, KEYPOINT_SETS

FACE = [0, 1, 2, 3, 4]
RIGHT_WRIST, RIGHT_ELBOW, LEFT_ANKLE, LEFT_KNEE = (
    COCO_17.index(name) for name in ("right_wrist", "right_elbow", "left_ankle", "left_knee")
)


def pose(seen: list[int], kind: str = "coco_17", **points: tuple[float, float]) -> Poses:
    """One person in a picture of 100 x 80 whose points `seen` have the score 0.9, the others 0.05."""
    count = len(KEYPOINT_SETS[kind]) if kind in KEYPOINT_SETS else 4
    keypoints = np.full((1, count, 2), 40.0)
    for name, place in points.items():
        keypoints[0, COCO_17.index(name)] = place
    scores = np.full((1, count), 0.05)
    scores[0, seen] = 0.9
    return Poses(keypoints, scores, np.array([[0, 0, 100, 80, 1]]), (100, 80), kind)


def there(poses: Poses, presence: Presence = DEFAULT_PRESENCE) -> list[int]:
    found = presence.apply(poses)
    assert (found.scores[~np.isfinite(found.keypoints).all(axis=-1)] == 0).all()
    return np.flatnonzero(np.isfinite(found.keypoints[0]).all(axis=-1) & (found.scores[0] >= 0.3)).tolist()


@pytest.mark.parametrize("place", [(-0.5, 40), (100.5, 40), (40, -3), (40, 80.2), (500, 500)])
def test_points_outside_the_picture_are_absent(place: tuple[float, float]) -> None:
    poses = pose([*FACE, 5], left_shoulder=place)
    assert there(poses) == FACE
    assert there(poses, Presence(keep_outside=True)) == [*FACE, 5]


@pytest.mark.parametrize("place", [(0, 0), (100, 80), (0, 80), (99.9, 0.1)])
def test_points_on_the_edge_are_there(place: tuple[float, float]) -> None:
    assert there(pose(FACE, nose=place)) == FACE


def test_a_point_without_a_score_is_absent() -> None:
    poses = pose(FACE)
    poses.scores.setflags(write=True)
    poses.scores[0, 2] = 0
    assert np.isnan(Presence().apply(poses).keypoints[0, 2]).all()
    assert np.isfinite(Presence(keep_outside=True).apply(poses).keypoints[0, 2]).all()


@pytest.mark.parametrize("specks", [[RIGHT_WRIST], [LEFT_ANKLE], [RIGHT_ELBOW, RIGHT_WRIST], [LEFT_KNEE, LEFT_ANKLE]])
@pytest.mark.parametrize("kind", ["coco_17", "coco_wholebody_133"])
def test_specks_beside_a_body_are_dropped(specks: list[int], kind: str) -> None:
    assert there(pose([*FACE, *specks], kind)) == FACE
    assert there(pose([*FACE, *specks], kind), Presence(keep_isolated=True)) == sorted([*FACE, *specks])


def test_a_point_whose_neighbor_is_hinted_at_stays() -> None:
    poses = pose([0, 1, 2, 3, 4, 5, 6, RIGHT_WRIST])
    poses.scores.setflags(write=True)
    poses.scores[0, RIGHT_ELBOW] = 0.2
    assert RIGHT_WRIST in there(poses)


def test_the_largest_group_stays_however_small() -> None:
    assert there(pose([RIGHT_WRIST])) == [RIGHT_WRIST]


def test_hands_and_faces_are_no_specks() -> None:
    assert there(pose([*FACE, 91, 120, 60], "coco_wholebody_133")) == [*FACE, 60, 91, 120]


def test_custom_sets_and_nobody() -> None:
    assert there(pose([1, 3], "paws")) == [1, 3]
    assert len(Presence().apply(Poses.empty((9, 9), "coco_17"))) == 0
