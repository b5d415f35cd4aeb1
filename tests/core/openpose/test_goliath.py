"""The 308 points of Sapiens and the 70 of SAM 3D Body, as COCO-WholeBody's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from paths import GOLDEN

from sdpose_core.openpose.goliath import FACE_POINTS, GOLIATH_COUNT, LINES, MHR_70, MHR_COUNT, whole_body_of_goliath
from sdpose_core.openpose.reader import read_openpose_json, read_pose_keypoint
from sdpose_core.skeletons import COCO_WHOLEBODY_133

NAMES = {int(i): name for i, name in json.loads((GOLDEN / "goliath_names.json").read_text())["names"].items()}
ROOTS = {"thumb1", "forefinger1", "middle_finger1", "ring_finger1", "pinky_finger1"}


def published(name: str) -> str:
    """What the source calls a point of body, feet or hands."""
    side, _, rest = name.partition("_")
    if rest in ROOTS:
        return f"{side}_{rest[:-1]}_third_joint"
    return f"{side}_wrist" if rest == "hand_root" else name


def mirrored(name: str) -> str:
    swapped = name.replace("left_", "R_").replace("right_", "L_").replace("R_", "right_").replace("L_", "left_")
    if swapped[:2] in ("l_", "r_"):
        return {"l_": "r_", "r_": "l_"}[swapped[:2]] + swapped[2:]
    return swapped.replace("_l_", "#").replace("_r_", "_l_").replace("#", "_r_")


@pytest.mark.parametrize("name", MHR_70)
def test_each_point_of_body_feet_and_hands_is_the_one_of_that_name(name: str) -> None:
    assert NAMES[MHR_70[name]] == published(name)


def test_all_points_of_body_feet_and_hands_are_there() -> None:
    parts = ("body", "feet", "left_hand", "right_hand")
    assert set(MHR_70) == {COCO_WHOLEBODY_133.names[i] for part in parts for i in COCO_WHOLEBODY_133.parts[part]}
    assert max(MHR_70.values()) < MHR_COUNT


def face() -> np.ndarray:
    """(308, 3): a frontal face, left and right mirrored about x = 0, with the points between two corners on arcs."""
    points = np.zeros((GOLIATH_COUNT, 3))
    places = {
        "center_of_nose_root": (0, 30), "tip_of_nose": (0, 60), "bottom_center_of_nose": (0, 66),
        "tip_of_chin": (0, 110), "midpoint_2_of_nose_bridge": (0, 46),
        "center_of_cupid_bow": (0, 78), "center_of_lower_outer_lip": (0, 92), "center_of_upper_inner_lip": (0, 83),
        "center_of_lower_inner_lip": (0, 86), "midpoint_1_of_nose_bridge": (0, 38),
        "midpoint_3_of_nose_bridge": (0, 53), "end_of_r_eyebrow": (-50, 20), "upper_startpoint_of_r_eyebrow": (-12, 16),
        "r_outer_end_of_upper_lash_line": (-40, 32), "r_inner_end_of_upper_lash_line": (-16, 34),
        "r_outer_corner_of_nose": (-14, 63), "inner_corner_of_r_nostril": (-5, 66),
        "r_outer_corner_of_mouth": (-24, 85), "r_inner_corner_of_mouth": (-20, 85),
    }  # fmt: skip
    places |= {mirrored(name): (-x, y) for name, (x, y) in list(places.items()) if x}
    index = {name: i for i, name in NAMES.items()}
    for name, (x, y) in places.items():
        points[index[name], :2] = x, y
    for line, bulge in zip(LINES, (-6, -6, 0, -4, 4, -4, 4, -7, 7, -2, 2), strict=True):
        first, last = points[line.ends[0], :2], points[line.ends[1], :2]
        for number, point in enumerate(line.between):
            share = (number + 1) / (len(line.between) + 1)
            points[point, :2] = first + (last - first) * share + (0, bulge * 4 * share * (1 - share))
    points[list(NAMES), 2] = 1
    return points


@pytest.mark.parametrize("name", FACE_POINTS)
def test_each_corner_of_the_face_is_on_its_side_with_a_mirrored_partner(name: str) -> None:
    flips = COCO_WHOLEBODY_133.flip_indices
    partner = COCO_WHOLEBODY_133.names[flips[COCO_WHOLEBODY_133.index(name)]]
    assert NAMES[FACE_POINTS[partner]] == mirrored(NAMES[FACE_POINTS[name]])
    x = face()[FACE_POINTS[name], 0]
    lower = COCO_WHOLEBODY_133.index(name) < COCO_WHOLEBODY_133.index(partner)
    assert x == 0 if partner == name else (x < 0) == lower, "the lower numbers are the person's right, at the left"


@pytest.mark.parametrize("line", LINES, ids=lambda line: "-".join(line.take))
def test_points_of_a_line_belong_to_it(line) -> None:
    """The names of its points say the same brow, lid or lip; so do its two corners."""
    kinds = {NAMES[i].rsplit("_of_", 1)[-1] for i in line.between}
    assert len(kinds) == 1
    [kind] = kinds
    sides = {NAMES[i][:2] for i in line.between if NAMES[i][:2] in ("l_", "r_")}
    assert len(sides) <= 1
    words = {"eyebrow": "eyebrow", "lash": "lash_line", "lip": "mouth", "nose": "nose"}
    word = next(word for word in words if word in kind)
    assert all(words[word] in NAMES[end] for end in line.ends)
    assert all(NAMES[end][:2] in sides for end in line.ends) or not sides


def test_together_they_are_the_face_without_the_jaw() -> None:
    taken = [name for line in LINES for name in line.take]
    assert sorted([*taken, *FACE_POINTS]) == sorted(f"face-{i}" for i in (8, *range(17, 68)))


@pytest.mark.parametrize("degrees", [0, 40, 90, 180, -120])
@pytest.mark.parametrize("mirror", [False, True], ids=["", "points listed the other way"])
def test_a_face_in_any_orientation_is_in_the_order_of_the_68_points(degrees: float, mirror: bool) -> None:
    points = face()
    if mirror:  # the source may count the points between two corners from either side
        for line in LINES:
            points[list(line.between)] = points[list(line.between)][::-1]
    upright = whole_body_of_goliath(points)[23:91]
    for brow in (range(17, 22), range(22, 27)):
        assert (np.diff(upright[list(brow), 0]) > 0).all()
    for ring in ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47), tuple(range(48, 60)), tuple(range(60, 68))):
        x, y = upright[list(ring), 0], upright[list(ring), 1]
        area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
        assert area > 0 and len(set(zip(x.tolist(), y.tolist(), strict=True))) == len(ring)
        around = np.arctan2(y - y.mean(), x - x.mean())
        assert (np.diff(np.unwrap(around)) > 0).all(), "clockwise, once around"
    assert (np.diff(upright[27:31, 1]) > 0).all() and (np.diff(upright[31:36, 0]) > 0).all()
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turned = points.copy()
    turned[:, :2] = points[:, :2] @ np.asarray([[c, s], [-s, c]])
    expected = upright.copy()
    expected[:, :2] = upright[:, :2] @ np.asarray([[c, s], [-s, c]])
    np.testing.assert_allclose(whole_body_of_goliath(turned)[23:91], expected, atol=1e-4)


def test_a_line_with_an_absent_point_is_left_out() -> None:
    points = face()
    points[123, 2] = 0
    whole = whole_body_of_goliath(points)
    assert not whole[23 + 37, 2] and not whole[23 + 38, 2] and whole[23 + 36, 2] == 1


def numbered(count: int) -> np.ndarray:
    return np.stack([np.arange(count) + 10.0, 400.0 - np.arange(count), np.full(count, 0.5)], axis=1)


SHAPES = {
    "kijai's raw_308": lambda p: {"people": [{"keypoints_2d": p.tolist()}], "canvas_width": 640, "canvas_height": 480},
    "flat": lambda p: {
        "people": [{"pose_keypoints_2d": p.ravel().tolist()}], "canvas_width": 640, "canvas_height": 480},
    "beside empty parts": lambda p: {
        "people": [{"pose_keypoints_2d": [], "face_keypoints_2d": [], "sapiens_keypoints_2d": p.ravel().tolist()}],
        "canvas_width": 640, "canvas_height": 480},
    "Sapiens2's file": lambda p: {
        "image_size": [480, 640], "num_keypoints": len(p), "frames": [{"image_name": "1.jpg", "instances": [
            {"bbox": [1, 2, 300, 400], "keypoints": p[:, :2].tolist(), "keypoint_scores": p[:, 2].tolist()}]}]},
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [70, 308])
def test_other_tools_forms_are_read(shape: str, count: int, tmp_path) -> None:
    content = SHAPES[shape](numbered(count))
    path = tmp_path / "poses.json"
    path.write_text(json.dumps(content))
    for [frame] in (read_pose_keypoint(content), read_openpose_json(path)):
        assert frame.size == (640, 480)
        [person] = frame.people
        fingers = [first - joint for first in (55, 59, 63, 67, 71) for joint in range(4)]
        np.testing.assert_array_equal(person.left_hand[:, 0], [72, *fingers])
        np.testing.assert_array_equal(person.body[2:5, 0], [16, 18, 51], "right shoulder, elbow, wrist")
        np.testing.assert_array_equal(person.feet[:, 0], np.arange(25, 31))
        assert person.face[:68, 2].any() == (count == 308)
        assert any("read as " + ("Sapiens" if count == 308 else "MHR70") in note for note in frame.notes)
