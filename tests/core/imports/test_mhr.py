"""MHR_POSE_DATA of SAM 3D Body as poses."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from sdpose_core.errors import InputError
from sdpose_core.imports.mhr import is_mhr, poses_of_mhr, sequence_of_mhr
from sdpose_core.openpose.goliath import MHR_70
from sdpose_core.skeletons import COCO_WHOLEBODY_133


def person(shift: float = 0.0, **more: Any) -> dict[str, Any]:
    points = np.stack([np.arange(70) + 100 + shift, 300 - np.arange(70)], axis=1).astype(np.float32)
    return {"pred_keypoints_2d": points, "bbox": np.asarray([90.0 + shift, 50, 260, 400]), **more}


def data(*frames: Any) -> dict[str, Any]:
    return {"frames": list(frames), "image_size": (480, 640), "faces": None}


@pytest.mark.parametrize("index", range(133), ids=COCO_WHOLEBODY_133.names)
def test_every_point(index: int) -> None:
    [poses] = poses_of_mhr(data([person()]))
    place = MHR_70.get(COCO_WHOLEBODY_133.names[index])
    if place is None:
        assert np.isnan(poses.keypoints[0, index]).all() and poses.scores[0, index] == 0
    else:
        assert poses.keypoints[0, index].tolist() == [100 + place, 300 - place] and poses.scores[0, index] == 1


def test_size_is_width_and_height_and_the_box_is_the_given_one() -> None:
    [poses] = poses_of_mhr(data([person()]))
    assert poses.size == (640, 480)
    assert poses.boxes.tolist() == [[90, 50, 260, 400, 1]]
    [without] = poses_of_mhr(data([{"pred_keypoints_2d": person()["pred_keypoints_2d"]}]))
    assert without.boxes.tolist() == [[100, 300 - 62, 162, 300, 1]], "around the points that are used"


def test_face_points_of_newer_hosts_come_over() -> None:
    face = np.stack([np.arange(238) * 2.0 + 1, np.full(238, 70.0)], axis=1)
    [poses] = poses_of_mhr(data([person(pred_face_keypoints_2d=face)]))
    assert poses.keypoints[0, 23 + 8].tolist() == [(77 - 70) * 2 + 1, 70], "the chin"
    assert (poses.scores[0, 23 + 17 : 91] == 1).all() and not poses.scores[0, 23 : 23 + 8].any(), "no jaw line"


def test_people_keep_the_numbers_of_their_tracks() -> None:
    hidden = person(200, mask=np.zeros((4, 4, 1), np.uint8))
    shown = person(200, mask=np.ones((4, 4, 1), np.uint8))
    sequence = sequence_of_mhr(data([person(), hidden], [person(2), shown], [person(4), shown]), Fraction(24))
    assert [frame.track_ids.tolist() for frame in sequence.frames()] == [[0], [0, 1], [0, 1]]
    assert sequence.frame_rate == 24
    np.testing.assert_allclose(sequence.frame(1).keypoints[1, 0], [300, 300])


def test_people_are_tracked_if_their_number_differs() -> None:
    sequence = sequence_of_mhr(data([person(300), person()], [person(1)], [], [person(2)]))
    ids = [frame.track_ids.tolist() for frame in sequence.frames()]
    assert len(ids[0]) == 2 and ids[2] == [] and ids[1][0] in ids[0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (data([{"pred_vertices": []}]), "frame 0, person 0: expected pred_keypoints_2d, got keys pred_vertices"),
        (data([], ["x"]), "frame 1, person 0: expected pred_keypoints_2d, got str"),
        (data([{"pred_keypoints_2d": np.zeros((127, 2))}]), "expected 70 points x, y, got shape .127, 2."),
        (data([person(pred_face_keypoints_2d=np.zeros((68, 2)))]), "expected 238 points x, y, got shape .68, 2."),
        (data([{"pred_keypoints_2d": "no"}]), "expected numbers"),
        (data({"a": 1}), "frame 0: expected a list of people, got dict"),
        ({"frames": [], "image_size": None}, "image_size: expected height and width, got None"),
        ({"frames": [], "image_size": (4, 0)}, "at least 1 pixel"),
        (data(), "expected at least one"),
    ],
)
def test_other_values_are_refused(value: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sequence_of_mhr(value)


def test_what_it_is_is_seen() -> None:
    assert is_mhr(data()) and not is_mhr({"frames": [], "canvas_width": 1}) and not is_mhr([])
