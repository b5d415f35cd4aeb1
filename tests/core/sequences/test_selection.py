"""Choosing people and points."""

from __future__ import annotations

import numpy as np
import pytest

from sdpose_core import skeletons
from sdpose_core.errors import InputError
from sdpose_core.poses import Poses
from sdpose_core.sequences.selection import keep_people, keep_points, people_order, select_person


def three_people(keypoint_set: str = "coco_17", count: int = 17) -> Poses:
    """A small one on the left (id 7), a large one in the middle (id 3), one on the right with the best score (id 5)."""
    boxes = np.asarray([[0, 0, 10, 10, 0.9], [20, 0, 80, 90, 0.5], [85, 10, 99, 40, 0.7]])
    scores = np.stack([np.full(count, value) for value in (0.4, 0.5, 0.9)])
    keypoints = np.arange(3 * count * 2, dtype=np.float32).reshape(3, count, 2)
    return Poses(keypoints, scores, boxes, (100, 100), keypoint_set, track_ids=np.asarray([7, 3, 5]))


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("id", [1, 2, 0]),
        ("largest", [1, 2, 0]),
        ("leftmost", [0, 1, 2]),
        ("rightmost", [2, 1, 0]),
        ("best score", [2, 1, 0]),
        ("nearest point", [2, 1, 0]),
    ],
)
def test_orders(by: str, order: list[int]) -> None:
    assert people_order(three_people(), by, (99, 20)).tolist() == order


def test_unknown_order_names_the_known() -> None:
    with pytest.raises(InputError, match="largest"):
        people_order(three_people(), "smallest")


@pytest.mark.parametrize(
    ("by", "number", "ids"), [("id", 5, [5]), ("id", 0, []), ("leftmost", 1, [3]), ("largest", 3, [])]
)
def test_select_person(by: str, number: int, ids: list[int]) -> None:
    assert select_person(three_people(), by, number).track_ids.tolist() == ids


def test_nobody_stays_nobody() -> None:
    nobody = Poses.empty((10, 10), "coco_17")
    assert len(select_person(nobody, "largest")) == 0
    assert len(keep_people(nobody, max_people=1)) == 0


PARTS = {
    "body": range(5, 17),
    "head": range(5),
    "feet": range(17, 23),
    "face": range(23, 91),
    "hands": range(91, 133),
}


@pytest.mark.parametrize("part", PARTS)
def test_keep_points_keeps_exactly_the_part(part: str) -> None:
    kept = keep_points(three_people("coco_wholebody_133", 133), [part])
    seen = np.flatnonzero(np.isfinite(kept.keypoints[0, :, 0]))
    assert seen.tolist() == list(PARTS[part])
    assert np.flatnonzero(kept.scores[0]).tolist() == seen.tolist()


def test_the_parts_are_those_of_drawing() -> None:
    assert set(PARTS) == set(skeletons.PARTS)


def test_keep_points_by_score_and_of_an_unknown_set() -> None:
    kept = keep_points(three_people("my own", 4), ["face"], threshold=0.5)
    assert np.isfinite(kept.keypoints).all(axis=(1, 2)).tolist() == [False, True, True]


def test_keep_points_refuses_an_unknown_part() -> None:
    with pytest.raises(InputError, match="hands"):
        keep_points(three_people(), ["tail"])


def test_keep_people() -> None:
    poses = three_people()
    assert keep_people(poses, max_people=2).track_ids.tolist() == [3, 5]
    assert keep_people(poses, min_score=0.45).track_ids.tolist() == [3, 5]
    assert keep_people(keep_points(poses, threshold=0.8), min_points=1).track_ids.tolist() == [5]
