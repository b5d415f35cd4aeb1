"""Poses between two poses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sdpose_core.errors import InputError
from sdpose_core.poses import Poses
from sdpose_core.presets import PRESETS, preset
from sdpose_core.retarget.inbetween import EASINGS, PARENTS, in_betweens
from sdpose_core.skeletons import COCO_WHOLEBODY_133

SIZE = (512, 768)
LIMBS = [(5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16)]


def lengths(poses: Poses) -> np.ndarray:
    points = poses.keypoints[0].astype(np.float64)
    return np.asarray([np.linalg.norm(points[a] - points[b]) for a, b in LIMBS])


@pytest.mark.parametrize("point", range(133), ids=COCO_WHOLEBODY_133.names)
def test_every_point_hangs_on_the_root_and_on_points_of_its_own_side(point: int) -> None:
    side = COCO_WHOLEBODY_133.names[point].split("_")[0]
    other = {"left": "right", "right": "left"}.get(side, "neither")
    seen = []
    while point in PARENTS:
        point = PARENTS[point][0]
        seen.append(point)
        assert point > 132 or not COCO_WHOLEBODY_133.names[point].startswith(other + "_")
    assert seen[-1] == 134 and len(seen) == len(set(seen))


@pytest.mark.parametrize("easing", EASINGS)
def test_it_begins_and_ends_with_the_two_poses(easing: str) -> None:
    first, last = preset("A-pose", SIZE), preset("running", SIZE)
    made = in_betweens(first, last, 7, easing=easing)
    assert len(made) == 7
    for got, expected in ((made[0], first), (made[-1], last)):
        np.testing.assert_allclose(got.keypoints, expected.keypoints, atol=1e-3)
        np.testing.assert_allclose(got.scores, expected.scores)
    assert EASINGS[easing](np.asarray([0.0, 1.0])).tolist() == [0, 1]
    assert (np.diff(EASINGS[easing](np.linspace(0, 1, 50))) > 0).all()


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in ("standing", "lying")])
def test_limbs_never_get_shorter_than_in_the_shorter_of_the_two_poses(name: str) -> None:
    first, last = preset("standing", SIZE), preset(name, SIZE)
    least = np.minimum(lengths(first), lengths(last))
    for poses in in_betweens(first, last, 9):
        assert (lengths(poses) >= least - 0.01).all()


def test_on_straight_lines_they_do() -> None:
    first, last = preset("A-pose", SIZE), preset("arms up", SIZE)
    middle = in_betweens(first, last, 3, way="straight lines")[1]
    np.testing.assert_allclose(middle.keypoints[0, 9], (first.keypoints[0, 9] + last.keypoints[0, 9]) / 2, atol=1e-3)
    assert (lengths(middle)[:4] < 0.9 * np.minimum(lengths(first), lengths(last))[:4]).any()


def test_an_arm_from_straight_down_to_straight_up_goes_outward() -> None:
    first = preset("standing", SIZE)
    down, up = (np.array(first.keypoints) for _ in range(2))
    for side, (shoulder, elbow, wrist) in {"left": (5, 7, 9), "right": (6, 8, 10)}.items():
        lean = 3 if side == "left" else -3
        for points, sign in ((down, 1), (up, -1)):
            points[0, elbow] = points[0, shoulder] + (lean, sign * 100)
            points[0, wrist] = points[0, elbow] + (-lean, sign * 90)
    made = in_betweens(replace(first, keypoints=down), replace(first, keypoints=up), 11)
    x = np.asarray([poses.keypoints[0, [9, 10], 0] for poses in made])
    assert x[5, 0] > down[0, 5, 0] + 150 and x[5, 1] < down[0, 6, 0] - 150


def test_who_turns_around_does_not_roll() -> None:
    """Front to back, the shoulders change sides: through the middle, not over the head."""
    first, last = preset("standing", SIZE), preset("standing", SIZE, turn=180)
    for poses in in_betweens(first, last, 9):
        assert np.abs(np.diff(poses.keypoints[0, [5, 6], 1])).max() < 15


def two(left: Poses, right: Poses, ids: tuple[int, int]) -> Poses:
    moved = [(left, -100), (right, 100)]
    names = {"keypoints": 2, "boxes": 5}
    arrays = {
        name: np.concatenate([getattr(p, name) + np.asarray([x, 0, x, 0, 0][:n]) for p, x in moved])
        for name, n in names.items()
    }
    scores = np.concatenate([left.scores, right.scores])
    return Poses(**arrays, scores=scores, size=SIZE, keypoint_set=left.keypoint_set, track_ids=np.asarray(ids))


def test_people_are_matched_by_position_or_by_id() -> None:
    standing, waving = preset("standing", SIZE), preset("waving", SIZE)
    first, last = two(standing, standing, (3, 8)), two(waving, waving, (8, 3))
    straight = in_betweens(first, last, 2)[-1]
    assert straight.track_ids.tolist() == [3, 8]
    np.testing.assert_allclose(straight.keypoints[0], last.keypoints[0], atol=1e-3)
    crossed = in_betweens(first, last, 2, match="ID")[-1]
    assert crossed.track_ids.tolist() == [3, 8]
    np.testing.assert_allclose(crossed.keypoints[0], last.keypoints[1], atol=1e-3)


def test_a_person_in_one_of_them_is_there_for_half_of_the_time() -> None:
    one, pair = preset("standing", SIZE), two(preset("standing", SIZE), preset("waving", SIZE), (0, 1))
    assert [len(poses) for poses in in_betweens(pair, one.select([]), 6)] == [2, 2, 2, 0, 0, 0]
    made = in_betweens(pair.select([1]), pair.select([0]), 4, match="ID")
    assert [poses.track_ids.tolist() for poses in made] == [[1], [1], [0], [0]]
    clash = in_betweens(replace(pair, track_ids=np.asarray([4, 5])).select([0]), pair, 4)
    assert [poses.track_ids.tolist() for poses in clash] == [[4], [4], [4, 1], [4, 1]]


def test_a_point_in_one_of_them_moves_with_its_parent() -> None:
    first, last = preset("A-pose", SIZE), preset("arms up", SIZE)
    points = np.array(last.keypoints)
    points[0, 91:112] = np.nan
    hidden = replace(last, keypoints=points, scores=np.where(np.isnan(points[..., 0]), 0, last.scores))
    made = in_betweens(first, hidden, 5, easing="linear")
    shown = [bool(np.isfinite(poses.keypoints[0, 95, 0])) for poses in made]
    assert shown == [True, True, False, False, False]
    offset = [poses.keypoints[0, 91] - poses.keypoints[0, 9] for poses in made[:2]]
    np.testing.assert_allclose(offset[0], offset[1], atol=0.01)


def test_body_models_stay_body_models_and_mix_with_whole_bodies() -> None:
    whole = preset("standing", SIZE)
    body = Poses(whole.keypoints[:, :17], whole.scores[:, :17], whole.boxes, SIZE, "coco_17")
    assert {poses.keypoint_set for poses in in_betweens(body, body, 3)} == {"coco_17"}
    mixed = in_betweens(body, whole, 3)
    assert {poses.keypoint_set for poses in mixed} == {"coco_wholebody_133"}
    assert not mixed[0].scores[0, 91] and mixed[-1].scores[0, 91]
    nobody = in_betweens(body.select([]), body.select([]), 3)
    assert [len(poses) for poses in nobody] == [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 1}, "at least 2"), ({"easing": "bouncy"}, "easing: expected one of linear"),
        ({"way": "x"}, "way"), ({"match": "x"}, "match"),
        ({"last": preset("standing", (100, 100))}, "one size"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(change: dict, message: str) -> None:
    values = {"first": preset("standing", SIZE), "last": preset("waving", SIZE), "frames": 3, **change}
    with pytest.raises(InputError, match=message):
        in_betweens(values.pop("first"), values.pop("last"), values.pop("frames"), **values)
