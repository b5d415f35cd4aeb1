from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from paths import GOLDEN

from sdpose_core.errors import InputError
from sdpose_core.openpose.order import (
    BODY_25_FROM_COCO_WHOLEBODY_133,
    BODY_25_NAMES,
    FACE_70_FROM_COCO_WHOLEBODY_133,
    FEET_FROM_COCO_WHOLEBODY_133,
    LEFT_HAND_FROM_COCO_WHOLEBODY_133,
    OPENPOSE_18_FROM_COCO_17,
    OPENPOSE_18_NAMES,
    PART_KEYS,
    PART_SIZES,
    RIGHT_HAND_FROM_COCO_WHOLEBODY_133,
    OpenPosePerson,
    people,
)
from sdpose_core.openpose.reader import read_openpose_json, read_pose_keypoint
from sdpose_core.openpose.writer import to_openpose, to_pose_keypoint, to_poses, write_openpose_json
from sdpose_core.poses import Poses
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133

# OpenPose's published orders, written out once more so that a slip in the tables cannot hide.
OPENPOSE_18 = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee "
    "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear"
).split()
BODY_25 = [
    *OPENPOSE_18[:8], "mid_hip", *OPENPOSE_18[8:], "left_big_toe", "left_small_toe", "left_heel", "right_big_toe",
    "right_small_toe", "right_heel",
]  # fmt: skip


def wholebody(count: int = 1, seed: int = 0) -> Poses:
    """Poses in which every point has its own place and a score above 0.3."""
    random = np.random.default_rng(seed)
    keypoints = random.uniform(10, 200, (count, 133, 2))
    scores = random.uniform(0.31, 0.99, (count, 133))
    boxes = random.uniform(0, 200, (count, 5))
    return Poses(keypoints, scores, boxes, (320, 240), "coco_wholebody_133", np.arange(count) + 7)


def body(count: int = 1) -> Poses:
    whole = wholebody(count)
    return Poses(whole.keypoints[:, :17], whole.scores[:, :17], whole.boxes, whole.size, "coco_17")


def triples(values: list[float]) -> np.ndarray:
    return np.asarray(values, np.float64).reshape(-1, 3)


def frame(person: dict, size: tuple[int, int] | None = (320, 240)) -> dict:
    canvas = {} if size is None else {"canvas_width": size[0], "canvas_height": size[1]}
    return {"people": [person], **canvas}


def flat(count: int, start: float = 10.0, score: float = 1.0) -> list[float]:
    return [value for i in range(count) for value in (start + i, start + 2 * i, score)]


# ---- orders


def test_the_18_body_points_are_openposes():
    assert list(OPENPOSE_18_NAMES) == OPENPOSE_18


@pytest.mark.parametrize("name", [name for name in OPENPOSE_18 if name != "neck"])
def test_every_body_point_comes_from_the_coco_point_of_its_name(name: str):
    assert COCO_17.names[OPENPOSE_18_FROM_COCO_17[name]] == name


def test_neck_and_middle_of_the_hips_come_from_both_sides():
    assert {COCO_17.names[i] for i in OPENPOSE_18_FROM_COCO_17["neck"]} == {"left_shoulder", "right_shoulder"}
    middle = BODY_25_FROM_COCO_WHOLEBODY_133["mid_hip"]
    assert {COCO_WHOLEBODY_133.names[i] for i in middle} == {"left_hip", "right_hip"}


def test_body_25_is_openposes_and_every_point_comes_from_its_name():
    assert list(BODY_25_NAMES) == BODY_25
    for name, source in BODY_25_FROM_COCO_WHOLEBODY_133.items():
        if isinstance(source, int):
            assert COCO_WHOLEBODY_133.names[source] == name


def test_feet_face_and_hands_come_from_their_parts_in_order():
    parts = COCO_WHOLEBODY_133.parts
    assert tuple(FEET_FROM_COCO_WHOLEBODY_133.values()) == parts["feet"]
    assert [COCO_WHOLEBODY_133.names[i] for i in parts["feet"]] == list(FEET_FROM_COCO_WHOLEBODY_133)
    face = tuple(FACE_70_FROM_COCO_WHOLEBODY_133.values())
    assert face[:68] == parts["face"]
    assert [COCO_WHOLEBODY_133.names[i] for i in face[68:]] == ["right_eye", "left_eye"]
    assert LEFT_HAND_FROM_COCO_WHOLEBODY_133 == parts["left_hand"]
    assert RIGHT_HAND_FROM_COCO_WHOLEBODY_133 == parts["right_hand"]


def test_the_same_points_as_the_official_openpose_conversion():
    golden = np.load(GOLDEN / "e_mapback_draw.npz")
    poses = Poses(
        golden["draw133_kpts"][None], golden["draw133_scores"][None], np.zeros((1, 5)), (320, 240), "coco_wholebody_133"
    )
    person = people(poses, 0.0)[0]
    ours = np.concatenate([person.body, person.feet, person.face[:68], person.left_hand, person.right_hand])
    np.testing.assert_allclose(ours[:, :2], golden["openpose134_kpts"], atol=1e-4)
    np.testing.assert_allclose(ours[:, 2], golden["openpose134_scores"], atol=1e-6)


def test_where_the_official_json_differs_from_openpose_and_from_ours():
    """The official file cuts 133 points as if they were 134: from the neck on everything is one point off."""
    golden = np.load(GOLDEN / "e_mapback_draw.npz")
    official = json.loads((GOLDEN / "e_openpose_json.json").read_text())["wholebody_as_called"]["people"][0]
    keypoints, scores = golden["draw133_kpts"], golden["draw133_scores"]
    poses = Poses(keypoints[None], scores[None], np.zeros((1, 5)), (320, 240), "coco_wholebody_133")
    ours = to_openpose(poses, 0.0)["people"][0]

    def row(person: dict, key: str, index: int) -> np.ndarray:
        return triples(person[key])[index, :2]

    np.testing.assert_allclose(row(official, "pose_keypoints_2d", 1), keypoints[1])  # an eye in place of the neck
    np.testing.assert_allclose(row(ours, "pose_keypoints_2d", 1), keypoints[[5, 6]].mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(row(official, "hand_right_keypoints_2d", 0), keypoints[92])  # in the left hand
    np.testing.assert_allclose(row(ours, "hand_left_keypoints_2d", 0), keypoints[91], atol=1e-3)
    np.testing.assert_allclose(row(ours, "hand_right_keypoints_2d", 0), keypoints[112], atol=1e-3)


# ---- people


@pytest.mark.parametrize(("low", "present"), [((), True), ((5,), False), ((6,), False), ((5, 6), False)])
def test_the_neck_is_there_only_with_both_shoulders(low: tuple[int, ...], present: bool):
    poses = wholebody()
    scores = np.array(poses.scores)
    scores[0, list(low)] = 0.1
    person = people(Poses(poses.keypoints, scores, poses.boxes, poses.size, poses.keypoint_set), 0.3)[0]
    expected = [*poses.keypoints[0, 5:7].mean(axis=0), poses.scores[0, 5:7].min()] if present else [0, 0, 0]
    np.testing.assert_allclose(person.body[1], expected, rtol=1e-6)


def test_a_point_is_absent_below_the_threshold_at_score_zero_and_where_it_is_not_finite():
    poses = wholebody()
    keypoints, scores = np.array(poses.keypoints), np.array(poses.scores)
    scores[0, 0], scores[0, 1], scores[0, 2], keypoints[0, 3] = 0.5, 0.4999, 0.0, np.nan
    changed = Poses(keypoints, scores, poses.boxes, poses.size, poses.keypoint_set)
    person = people(changed, 0.5)[0]
    row = {name: i for i, name in enumerate(OPENPOSE_18_NAMES)}
    assert person.body[row["nose"], 2] == 0.5
    for name in ("left_eye", "right_eye", "left_ear"):
        np.testing.assert_array_equal(person.body[row[name]], 0)
    assert people(changed, 0.0)[0].body[row["right_eye"], 2] == 0


def test_a_body_model_has_no_face_hands_or_feet():
    person = people(body(), 0.3)[0]
    assert person.body[:, 2].all()
    for part in ("feet", "face", "left_hand", "right_hand"):
        assert not getattr(person, part).any()


def test_ids_and_boxes_come_along_and_arrays_are_read_only():
    poses = wholebody(2)
    both = people(poses, 0.3)
    assert [person.person_id for person in both] == [7, 8]
    np.testing.assert_array_equal(both[1].box, poses.boxes[1])
    with pytest.raises(ValueError, match="read-only"):
        both[0].body[0] = 0


def test_a_custom_keypoint_set_has_no_openpose_form():
    poses = Poses(np.zeros((1, 5, 2)), np.ones((1, 5)), np.zeros((1, 5)), (8, 8), "cat_5")
    with pytest.raises(InputError, match="'cat_5' has no OpenPose form: expected coco_17"):
        people(poses, 0.3)


def test_a_person_of_wrong_shape_is_refused():
    parts = {name: np.zeros((count, 3)) for name, count in PART_SIZES.items()}
    with pytest.raises(InputError, match=r"face: expected shape \(70, 3\), got \(68, 3\)"):
        OpenPosePerson(**{**parts, "face": np.zeros((68, 3))})


# ---- writing


def test_every_part_of_every_person_is_written_with_ones_and_zeros():
    for poses in (wholebody(2), body(2)):
        written = to_openpose(poses, 0.5)
        assert (written["canvas_width"], written["canvas_height"]) == (320, 240)
        assert written["version"] == 1.3
        for person in written["people"]:
            for part, key in PART_KEYS.items():
                points = triples(person[key])
                assert len(points) == PART_SIZES[part]
                assert set(points[:, 2]) <= {0.0, 1.0}
                assert not points[points[:, 2] == 0].any()
            assert all(type(value) is float for key in PART_KEYS.values() for value in person[key])


def test_real_scores_and_box_are_in_an_object_of_their_own():
    poses = wholebody()
    person = to_openpose(poses, 0.6)["people"][0]
    assert person["person_id"] == [7]
    np.testing.assert_array_equal(np.float32(person["sdpose"]["box"]), poses.boxes[0])
    scores = person["sdpose"]["scores"]
    assert np.float32(scores["pose_keypoints_2d"][0]) == poses.scores[0, 0]
    np.testing.assert_array_equal(np.float32(scores["hand_left_keypoints_2d"]), poses.scores[0, 91:112])


def test_scores_replace_the_third_values_when_asked_for():
    poses = wholebody()
    person = to_pose_keypoint(poses, 0.3, scores=True)[0]["people"][0]
    np.testing.assert_array_equal(np.float32(person["foot_keypoints_2d"])[2::3], poses.scores[0, 17:23])


def test_body_25_holds_the_feet_and_the_middle_of_the_hips():
    poses = wholebody()
    points = triples(to_openpose(poses, 0.3, body="body_25")["people"][0]["pose_keypoints_2d"])
    assert len(points) == 25
    np.testing.assert_allclose(points[8, :2], poses.keypoints[0, 11:13].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(points[19:, :2], poses.keypoints[0, 17:23], rtol=1e-6)
    with pytest.raises(InputError, match="expected one of openpose_18, body_25, got 'coco'"):
        to_openpose(poses, body="coco")


def test_nobody_is_an_empty_list_on_the_same_canvas():
    written = to_pose_keypoint([Poses.empty((64, 48), "coco_17"), wholebody()])
    assert written[0]["people"] == []
    assert (written[0]["canvas_width"], written[0]["canvas_height"]) == (64, 48)
    assert len(written[1]["people"]) == 1


def test_a_box_that_is_not_finite_does_not_spoil_the_json(tmp_path: Path):
    poses = wholebody()
    strange = Poses(poses.keypoints, poses.scores, np.full((1, 5), np.nan), poses.size, poses.keypoint_set)
    write_openpose_json(tmp_path / "a.json", strange)
    assert json.loads((tmp_path / "a.json").read_text())["people"][0]["sdpose"]["box"] == [0, 0, 0, 0, 0]


# ---- round trips


@pytest.mark.parametrize("layout", ["openpose_18", "body_25"])
@pytest.mark.parametrize("make", [wholebody, body])
def test_what_we_write_we_read_back(make, layout: str, tmp_path: Path):
    poses = make(3)
    write_openpose_json(tmp_path / "a.json", poses, threshold=0.5, body=layout)
    frames = read_openpose_json(tmp_path / "a.json")
    back = to_poses(frames[0])
    seen = poses.scores >= 0.5
    assert (back.size, back.keypoint_set) == (poses.size, poses.keypoint_set)
    np.testing.assert_array_equal(back.keypoints[seen], poses.keypoints[seen])
    np.testing.assert_array_equal(back.scores[seen], poses.scores[seen])
    assert np.isnan(back.keypoints[~seen]).all()
    np.testing.assert_array_equal(back.boxes, poses.boxes)
    np.testing.assert_array_equal(back.track_ids, poses.track_ids)
    if layout == "openpose_18":
        assert frames[0].notes == () or all("swapped" in note for note in frames[0].notes)


def test_a_point_that_an_editor_added_keeps_its_one():
    poses = wholebody()
    scores = np.array(poses.scores)
    scores[0, 0] = 0.1
    written = to_openpose(Poses(poses.keypoints, scores, poses.boxes, poses.size, poses.keypoint_set), 0.3)
    written["people"][0]["pose_keypoints_2d"][:3] = [33.0, 44.0, 1.0]
    back = to_poses(read_pose_keypoint(written)[0])
    np.testing.assert_array_equal(back.keypoints[0, 0], [33, 44])
    assert back.scores[0, 0] == 1


# ---- reading what others write


def as_normalised(content: dict) -> dict:
    scaled = copy.deepcopy(content)
    for person in scaled["people"]:
        for key in PART_KEYS.values():
            points = triples(person[key]) / [content["canvas_width"], content["canvas_height"], 1]
            person[key] = points.ravel().tolist()
    return scaled


@pytest.fixture
def plain() -> dict:
    """One person in OpenPose's own form, without our object."""
    written = to_openpose(wholebody(), 0.3)
    for person in written["people"]:
        del person["sdpose"], person["person_id"]
    return written


def same_people(left: list[OpenPosePerson], right: list[OpenPosePerson], parts: tuple[str, ...] = tuple(PART_SIZES)):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        for part in parts:
            np.testing.assert_allclose(a.parts()[part], b.parts()[part], atol=2e-3)


def test_coordinates_of_0_to_1_become_pixels(plain: dict):
    scaled = read_pose_keypoint(as_normalised(plain))[0]
    same_people(scaled.people, read_pose_keypoint(plain)[0].people)
    assert any("0..1" in note for note in scaled.notes)


def test_units_are_decided_once_per_frame_over_the_present_points():
    """A small hand in the corner of a frame in pixels stays where it is, and absent points do not vote."""
    person = {
        "pose_keypoints_2d": [500, 400, 1, *[0, 0, 0] * 17],
        "hand_left_keypoints_2d": [0.5, 0.5, 1, 0.7, 0.9, 1, *[0, 0, 0] * 19],
    }
    read = read_pose_keypoint(frame(person, (640, 480)))[0]
    np.testing.assert_allclose(read.people[0].left_hand[0], [0.5, 0.5, 1])
    assert any("mixed units" in note for note in read.notes)
    absent_far_away = {"pose_keypoints_2d": [0.5, 0.25, 1, *[900, 900, 0] * 17]}
    read = read_pose_keypoint(frame(absent_far_away, (640, 480)))[0]
    np.testing.assert_allclose(read.people[0].body[0], [320, 120, 1])


@pytest.mark.parametrize("value", [None, [], "absent"])
@pytest.mark.parametrize("part", [part for part in PART_KEYS if part != "body"])
def test_none_empty_and_missing_parts_are_absent(part: str, value, plain: dict):
    person = plain["people"][0]
    if value == "absent":
        del person[PART_KEYS[part]]
    else:
        person[PART_KEYS[part]] = value
    read = read_pose_keypoint(plain)[0].people[0]
    assert not read.parts()[part].any()
    assert read.body.any()


@pytest.mark.parametrize("count", [68, 69])
def test_a_face_of_68_or_69_points_gets_its_eyes_from_the_body(count: int, plain: dict):
    person = plain["people"][0]
    whole = read_pose_keypoint(plain)[0].people[0].face
    person["face_keypoints_2d"] = person["face_keypoints_2d"][: 3 * count]
    read = read_pose_keypoint(plain)[0]
    np.testing.assert_array_equal(read.people[0].face, whole)
    assert any(f"{count} face points" in note for note in read.notes)


def test_17_body_points_are_cocos_and_get_a_neck():
    poses = body()
    points = np.concatenate([poses.keypoints[0], np.ones((17, 1))], axis=1)
    read = read_pose_keypoint(frame({"pose_keypoints_2d": points.ravel().tolist()}))[0]
    np.testing.assert_allclose(read.people[0].body[:, :2], people(poses, 0.3)[0].body[:, :2], rtol=1e-5)
    assert any("17 body points" in note for note in read.notes)


def test_24_and_25_body_points_bring_their_feet(plain: dict):
    expected = read_pose_keypoint(plain)[0].people
    person = plain["people"][0]
    joined = {"pose_keypoints_2d": person["pose_keypoints_2d"] + person["foot_keypoints_2d"]}
    same_people(read_pose_keypoint(frame(joined))[0].people, expected, ("body", "feet"))
    written = to_openpose(wholebody(), 0.3, body="body_25")["people"][0]
    only = {"pose_keypoints_2d": written["pose_keypoints_2d"]}
    same_people(read_pose_keypoint(frame(only))[0].people, expected, ("body", "feet"))


@pytest.mark.parametrize(
    "absent", [(-1, -1, 1), (-1, -1, 0.9), (0, 0, 1), (np.nan, 5, 1), (5, 5, np.nan), (5, np.inf, 1)]
)
def test_points_at_impossible_places_are_absent_and_said(absent: tuple):
    read = read_pose_keypoint(frame({"pose_keypoints_2d": [*absent, *flat(17)]}))[0]
    np.testing.assert_array_equal(read.people[0].body[0], 0)
    assert read.people[0].body[1:, 2].all()
    assert any("1 point at" in note for note in read.notes)


def test_a_point_outside_on_one_side_stays():
    read = read_pose_keypoint(frame({"pose_keypoints_2d": [-5, 60, 1, 330, 20, 0.5, *flat(16)]}))[0]
    np.testing.assert_allclose(read.people[0].body[:2], [[-5, 60, 1], [330, 20, 0.5]])


def test_raw_scores_stay_also_above_one():
    read = read_pose_keypoint(frame({"pose_keypoints_2d": [10, 10, 1.25, 20, 20, 0.02, *flat(16)]}))[0]
    np.testing.assert_allclose(read.people[0].body[:2, 2], [1.25, 0.02])


def test_hands_change_places_only_when_asked(plain: dict):
    kept = read_pose_keypoint(plain)[0].people[0]
    swapped = read_pose_keypoint(plain, swap_hands=True)[0].people[0]
    np.testing.assert_array_equal(kept.left_hand, swapped.right_hand)
    np.testing.assert_array_equal(kept.right_hand, swapped.left_hand)
    np.testing.assert_array_equal(kept.body, swapped.body)


def test_exchanged_hands_are_noticed():
    points = triples(flat(18))
    points[OPENPOSE_18.index("left_wrist"), :2], points[OPENPOSE_18.index("right_wrist"), :2] = (200, 100), (50, 100)
    hands = {"left": [205, 100, 1, *flat(20)], "right": [45, 100, 1, *flat(20)]}

    def notes(left: str, right: str) -> tuple[str, ...]:
        person = {
            "pose_keypoints_2d": points.ravel().tolist(),
            "hand_left_keypoints_2d": hands[left],
            "hand_right_keypoints_2d": hands[right],
        }
        return read_pose_keypoint(frame(person))[0].notes

    assert notes("left", "right") == ()
    assert any("swap_hands" in note for note in notes("right", "left"))


@pytest.mark.parametrize("depth", [12, 3000])
def test_lists_within_lists_without_end_are_refused(depth: int) -> None:
    nested: list = []
    for _ in range(depth):
        nested = [nested]
    with pytest.raises(InputError, match="nested more than 8 deep"):
        read_pose_keypoint(nested)


def test_a_defect_of_ours_is_not_taken_for_bad_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_settings: object) -> None:
        raise ValueError("ours")

    (tmp_path / "a.json").write_text("[]")
    monkeypatch.setattr("sdpose_core.openpose.reader.frames_of", broken)
    with pytest.raises(ValueError, match="^ours$"):
        read_openpose_json(tmp_path / "a.json")


def test_frames_come_as_a_dict_a_list_or_nested_lists(plain: dict):
    for value, count in (
        (plain, 1),
        ([plain], 1),
        ([plain, plain], 2),
        ([[plain], [plain]], 2),
        ((plain,), 1),
        ([], 0),
    ):
        frames = read_pose_keypoint(value)
        assert len(frames) == count
        for read in frames:
            same_people(read.people, read_pose_keypoint(plain)[0].people)


def test_nothing_of_the_input_is_changed(plain: dict):
    content = as_normalised(plain)
    content["people"].append({"pose_keypoints_2d": np.asarray(flat(17))})
    before = copy.deepcopy(content)
    read_pose_keypoint([content], swap_hands=True)
    np.testing.assert_equal(content, before)


def test_the_size_is_the_frames_own_or_the_one_given():
    person = {"pose_keypoints_2d": flat(18)}
    with pytest.raises(InputError, match="frame 1 has no canvas_width and canvas_height: give the size"):
        read_pose_keypoint([frame(person), frame(person, None)])
    read = read_pose_keypoint([frame(person), frame(person, None)], size=(99, 77))
    assert [r.size for r in read] == [(320, 240), (99, 77)]
    assert read[1].notes == ("no canvas size: used the given 99 x 77",)
    assert read_pose_keypoint(frame(person, (np.int64(50), np.int32(60))))[0].size == (50, 60)


def test_people_without_points_are_left_out_and_said():
    empty = {"pose_keypoints_2d": [0.0] * 54, "face_keypoints_2d": None}
    content = frame({}) | {"people": [empty, {"pose_keypoints_2d": flat(18), "person_id": [4]}]}
    read = read_pose_keypoint(content)[0]
    assert [person.person_id for person in read.people] == [4]
    assert read.notes == ("person 0 has no points: left out",)


@pytest.mark.parametrize(("value", "expected"), [([-1], None), ([], None), (None, None), (3, 3), ([5], 5), ("x", None)])
def test_person_ids(value, expected):
    read = read_pose_keypoint(frame({"pose_keypoints_2d": flat(18), "person_id": value}))[0]
    assert read.people[0].person_id == expected


@pytest.mark.parametrize(
    ("person", "message"),
    [
        (
            {"pose_keypoints_2d": flat(18)[:-1]},
            r"person 0, pose_keypoints_2d: .* 53 numbers \(not a multiple of 3\)",
        ),
        (
            {"pose_keypoints_2d": flat(19)},
            "person 0, pose_keypoints_2d: expected 17, 18, 24, 25, 26, 70, 133, 136 or 308 points, got 19",
        ),
        ({"hand_left_keypoints_2d": flat(20)}, "person 0, hand_left_keypoints_2d: expected 21 points, got 20"),
        ({"face_keypoints_2d": flat(67)}, "person 0, face_keypoints_2d: expected 68, 69 or 70 points, got 67"),
        ({"foot_keypoints_2d": flat(5)}, "person 0, foot_keypoints_2d: expected 6 points, got 5"),
        ({"pose_keypoints_2d": ["a"] * 54}, "person 0, pose_keypoints_2d: expected numbers"),
        ({"pose_keypoints_2d": [[1, 2], 3, 4]}, "person 0, pose_keypoints_2d: expected numbers"),
        ({"pose_keypoints_2d": [[1]] * 18}, "person 0, pose_keypoints_2d: expected numbers"),
        ({"pose_keypoints_2d": 5}, "person 0, pose_keypoints_2d: expected a list of numbers, got int"),
        (7, "person 0: expected a dict, got int"),
    ],
)
def test_what_cannot_be_understood_names_its_place(person, message: str):
    with pytest.raises(InputError, match="frame 1, " + message):
        read_pose_keypoint([frame({}), frame(person)])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "expected a dict with 'people' or a list of them, got NoneType"),
        ("text", "expected a dict with 'people' or a list of them, got str"),
        ([3], "frame 0: expected a dict with 'people' or a list of them, got int"),
        ({"foo": 1}, r"frame: no 'people' among its keys \(foo\)"),
        ([frame({}) | {"people": 3}], "frame 0: 'people' should be a list, got int"),
    ],
)
def test_other_things_are_refused(value, message: str):
    with pytest.raises(InputError, match=message):
        read_pose_keypoint(value)


def test_a_strange_sdpose_object_is_left_out_and_said():
    read = read_pose_keypoint(frame({"pose_keypoints_2d": flat(18), "sdpose": {"box": "?"}}))[0]
    assert read.people[0].box is None
    assert read.notes == ("person 0: its 'sdpose' object has unexpected content: left out",)


# ---- editors


def pairs(count: int) -> list[list[float]]:
    return [[10 + i, 10 + 2 * i] for i in range(count)]


def test_openpose_editor_one_list_of_points_18_for_each_person():
    content = {"width": 512, "height": 768, "keypoints": [*pairs(18), [-1, -1], *pairs(17)]}
    read = read_pose_keypoint(content)[0]
    assert read.size == (512, 768)
    np.testing.assert_allclose(read.people[0].body, triples(flat(18)))
    np.testing.assert_allclose(read.people[1].body, [[0, 0, 0], *triples(flat(17))])


def test_openpose_studio_lists_per_person_with_null():
    content = {
        "width": 512,
        "height": 768,
        "format": "coco18",
        "keypoints": [[None, *pairs(17)], pairs(18)],
        "hand_left_keypoints_2d": [None, pairs(21)],
        "face_keypoints_2d": [[None] * 70, None],
    }
    read = read_pose_keypoint(content)[0]
    assert not read.people[0].body[0].any()
    assert read.people[0].body[1:, 2].all()
    assert not read.people[0].left_hand.any()
    np.testing.assert_allclose(read.people[1].left_hand, triples(flat(21)))
    assert not read.people[0].face.any()


def test_openpose_studio_collections_are_read_in_their_order():
    person = {"pose_keypoints_2d": flat(18)}
    read = read_pose_keypoint({"standing": frame(person), "sitting": frame({}, (64, 32))})
    assert [r.size for r in read] == [(320, 240), (64, 32)]
    assert "'sitting'" in read[1].notes[0]


def test_sd_webui_openpose_editor_leaves_undefined_parts_and_animals_out():
    content = frame({"pose_keypoints_2d": flat(18)}) | {"animals": [flat(17)]}
    read = read_pose_keypoint(content)[0]
    assert len(read.people) == 1
    assert read.notes == ("1 animal left out",)


def test_ultimate_openpose_editor_writes_empty_lists():
    person = dict.fromkeys(("pose_keypoints_2d", "face_keypoints_2d", "hand_left_keypoints_2d"), [])
    assert read_pose_keypoint([frame(person)])[0].people == []


def test_one_person_without_people_around_it():
    content = {"pose_keypoints_2d": flat(18), "canvas_width": 320, "canvas_height": 240}
    assert read_pose_keypoint(content)[0].people[0].body.all()


# ---- files


def test_a_folder_of_files_is_read_in_the_order_of_names(tmp_path: Path):
    for number in (2, 0, 1):
        write_openpose_json(tmp_path / f"clip_{number:03}_keypoints.json", wholebody(number + 1))
    assert [len(read.people) for read in read_openpose_json(tmp_path)] == [1, 2, 3]


def test_a_file_of_many_frames(tmp_path: Path):
    (tmp_path / "clip.json").write_text(json.dumps(to_pose_keypoint([wholebody(2), body()])))
    assert [len(read.people) for read in read_openpose_json(tmp_path / "clip.json")] == [2, 1]


@pytest.mark.parametrize("content", ["", "{", "[1, 2", "\x00\x01"])
def test_a_file_that_is_no_json_is_named(content: str, tmp_path: Path):
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"broken\.json is not JSON"):
        read_openpose_json(path)


def test_missing_files_empty_folders_and_bad_frames_are_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"cannot read .*none\.json: No such file"):
        read_openpose_json(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"no \.json file in this folder"):
        read_openpose_json(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(frame({"pose_keypoints_2d": flat(19)})))
    with pytest.raises(InputError, match=r"a\.json: frame, person 0, pose_keypoints_2d: expected 17"):
        read_openpose_json(tmp_path)
