"""The same two people in the layouts of many tools give the same pixels."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdpose_core.errors import InputError
from sdpose_core.openpose import clip_poses, read_openpose_json, read_pose_keypoint, to_openpose, to_poses
from sdpose_core.openpose.order import COCO_WHOLEBODY_133_FROM_HALPE
from sdpose_core.poses import Poses

SIZE = (640, 480)
CANVAS = {"canvas_width": 640, "canvas_height": 480}


def people_of(count: int = 2, keypoint_set: str = "coco_17", seed: int = 0) -> Poses:
    random = np.random.default_rng(seed)
    points = 17 if keypoint_set == "coco_17" else 133
    places = random.uniform((100, 60), (500, 400), (count, 1, 2)) + random.uniform(-50, 50, (count, points, 2))
    return Poses(places, random.uniform(0.5, 0.95, (count, points)), np.zeros((count, 5)), SIZE, keypoint_set)


BODY = people_of()
WHOLE = people_of(keypoint_set="coco_wholebody_133")


def plain(poses: Poses, **names: str) -> list[dict[str, Any]]:
    """People in OpenPose's form with real scores, without our object; `names` renames keys."""
    people = to_openpose(poses, 0.0, scores=True)["people"]
    keep = {"pose_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "face_keypoints_2d",
            "foot_keypoints_2d"}  # fmt: skip
    return [{names.get(key, key): value for key, value in person.items() if key in keep} for person in people]


def triples(poses: Poses) -> list[list[float]]:
    return [np.c_[p, s].ravel().tolist() for p, s in zip(poses.keypoints, poses.scores, strict=True)]


def mmpose(poses: Poses) -> list[dict[str, Any]]:
    return [
        {"keypoints": p.tolist(), "keypoint_scores": s.tolist(), "bbox": [[1, 2, 3, 4]], "bbox_score": 0.9}
        for p, s in zip(poses.keypoints, poses.scores, strict=True)
    ]


def halpe(poses: Poses, count: int) -> list[dict[str, Any]]:
    points = np.zeros((len(poses), 136, 3))
    whole = np.concatenate([poses.keypoints, poses.scores[..., None]], axis=2)
    for coco, place in COCO_WHOLEBODY_133_FROM_HALPE.items():
        points[:, place] = whole[:, coco]
    return [{"keypoints": person[:count].ravel().tolist(), "score": 2.5} for person in points]


def coco(poses: Poses, image: Any = 7) -> list[dict[str, Any]]:
    return [
        {"image_id": image, "category_id": 1, "keypoints": flat, "score": 0.8, "bbox": [0, 0, 9, 9]}
        for flat in triples(poses)
    ]


OLD = {"pose_keypoints_2d": "pose_keypoints", "hand_left_keypoints_2d": "hand_left_keypoints",
       "hand_right_keypoints_2d": "hand_right_keypoints", "face_keypoints_2d": "face_keypoints"}  # fmt: skip
CAMEL = {"pose_keypoints_2d": "poseKeypoints2D", "hand_left_keypoints_2d": "handLeftKeypoints",
         "hand_right_keypoints_2d": "handRightKeypoints", "face_keypoints_2d": "faceKeypoints",
         "foot_keypoints_2d": "footKeypoints"}  # fmt: skip
COCO_PARTS = {"hand_left_keypoints_2d": "lefthand_kpts", "hand_right_keypoints_2d": "righthand_kpts",
              "face_keypoints_2d": "face_kpts", "foot_keypoints_2d": "foot_kpts"}  # fmt: skip

LAYOUTS: dict[str, tuple[Any, Poses]] = {
    "OpenPose 1.3": ({"people": plain(WHOLE), **CANVAS}, WHOLE),
    "OpenPose 1.0": ({"people": plain(WHOLE, **OLD), **CANVAS}, WHOLE),
    "OpenPose 1.2 with 3-D": (
        {"people": [{**p, "pose_keypoints_3d": [1.0] * 72} for p in plain(BODY, **OLD)], **CANVAS}, BODY),
    "camel case": ({"people": plain(WHOLE, **CAMEL), "canvasWidth": 640, "canvasHeight": 480}, WHOLE),
    "COCO-WholeBody's names": (
        {"people": [{**p, "keypoints": t[:51]} for p, t in zip(
            [{k: v for k, v in p.items() if k != "pose_keypoints_2d"} for p in plain(WHOLE, **COCO_PARTS)],
            triples(WHOLE), strict=True)], **CANVAS}, WHOLE),
    "people by id": ({"people": {str(n): p for n, p in enumerate(plain(BODY))}, **CANVAS}, BODY),
    "frames in a dict": ({"frames": [{"people": plain(BODY)}], "width": 640, "height": 480}, BODY),
    "frames by number": ({"0": {"people": plain(BODY), **CANVAS}}, BODY),
    "people of frames by number": ({"0": plain(BODY), **CANVAS}, BODY),
    "MMPose instances": ({"frame_id": 0, "instances": mmpose(BODY)}, BODY),
    "MMPose 133": (mmpose(WHOLE), WHOLE),
    "MMPose instance_info of a picture": ({"meta_info": {"dataset_name": "coco"}, "instance_info": mmpose(BODY)}, BODY),
    "MMPose instance_info of a video": (
        {"meta_info": {}, "instance_info": [{"frame_id": 1, "instances": mmpose(WHOLE)}]}, WHOLE),
    "MMPose predictions": ({"predictions": [mmpose(BODY)]}, BODY),
    "rtmlib": ({"keypoints": BODY.keypoints.tolist(), "scores": BODY.scores.tolist()}, BODY),
    "rtmlib 133 as arrays": ({"keypoints": WHOLE.keypoints, "scores": WHOLE.scores}, WHOLE),
    "AlphaPose": (coco(BODY, "0.jpg"), BODY),
    "AlphaPose 136": (halpe(WHOLE, 136), WHOLE),
    "AlphaPose cmu": ({"0.jpg": {"bodies": [{"joints": p["pose_keypoints_2d"]} for p in plain(BODY)]}}, BODY),
    "AlphaPose open": ({"0.jpg": {"version": 0.1, "people": plain(BODY)}}, BODY),
    "COCO results": (coco(BODY), BODY),
    "numbers as text": ({"people": [{"keypoints": [str(value) for value in flat]} for flat in triples(BODY)],
                         "canvas_width": "640", "canvas_height": "480"}, BODY),
    "points as dicts": (
        {"people": [{"keypoints": [{"x": x, "y": y, "score": s} for x, y, s in np.reshape(flat, (-1, 3)).tolist()]}
                    for flat in triples(BODY)]}, BODY),
    "columns of YOLO": ([{"name": "person", "box": {}, "keypoints": dict(zip(
        ("x", "y", "visible"), np.reshape(flat, (-1, 3)).T.tolist(), strict=True))} for flat in triples(BODY)], BODY),
    "flat pairs beside scores": ({"people": [{"keypoints": p.ravel().tolist(), "keypoint_scores": s.tolist()}
                                             for p, s in zip(BODY.keypoints, BODY.scores, strict=True)]}, BODY),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_pixels(layout: str) -> None:
    content, expected = LAYOUTS[layout]
    [frame] = read_pose_keypoint(content, size=SIZE)
    poses = to_poses(frame, expected.keypoint_set)
    assert poses.size == SIZE and len(poses) == len(expected)
    np.testing.assert_allclose(poses.keypoints, expected.keypoints, atol=2e-3)
    np.testing.assert_allclose(poses.scores, expected.scores, atol=1e-5)


def test_halpe_26_brings_body_and_feet() -> None:
    [frame] = read_pose_keypoint(halpe(WHOLE, 26), size=SIZE)
    poses = to_poses(frame)
    np.testing.assert_allclose(poses.keypoints[:, :23], WHOLE.keypoints[:, :23], atol=2e-3)
    assert not poses.scores[:, 23:].any()


def test_one_person_outside_lists_in_any_count() -> None:
    for poses in (BODY, WHOLE):
        content = {**mmpose(poses)[0], **CANVAS}
        [frame] = read_pose_keypoint(content)
        np.testing.assert_allclose(to_poses(frame).keypoints[0], poses.keypoints[0], atol=2e-3)


def test_the_official_key_counts_where_two_spellings_are_filled() -> None:
    person, other = plain(BODY)
    both = {"pose_keypoints": other["pose_keypoints_2d"], **person}
    [frame] = read_pose_keypoint({"people": [both], **CANVAS})
    np.testing.assert_allclose(to_poses(frame).keypoints[0], BODY.keypoints[0], atol=2e-3)
    older = {"pose_keypoints_2d": [], "pose_keypoints": other["pose_keypoints_2d"]}
    [frame] = read_pose_keypoint({"people": [older], **CANVAS})
    np.testing.assert_allclose(to_poses(frame).keypoints[0], BODY.keypoints[1], atol=2e-3)


# ---- nobody, and people that cannot be read


@pytest.mark.parametrize("people", [[], None, {}, [None], [{}], [{"pose_keypoints_2d": None}]])
def test_an_empty_list_is_nobody(people: Any) -> None:
    assert read_pose_keypoint({"people": people, **CANVAS})[0].people == []


@pytest.mark.parametrize(
    "person",
    [
        {"skeleton": [1.0] * 54},
        {"pose_keypoints_3d": [1.0] * 72, "person_id": [-1]},
        {"pose_keypoints_2d": [], "skeleton": [1.0] * 54},
        {"person_id": [3], "skeleton": {"nose": [1, 2]}},
    ],
)
@pytest.mark.parametrize("key", ["people", "instances"])
def test_people_without_a_known_key_are_an_error_that_names_both(person: dict, key: str) -> None:
    name = "skeleton" if "skeleton" in person else "pose_keypoints_3d"
    with pytest.raises(InputError, match=rf"frame, person 0: no known part .*{name}.*: expected pose_keypoints_2d"):
        read_pose_keypoint({key: [person], **CANVAS})


@pytest.mark.parametrize(
    "content",
    [
        {"images": [], "annotations": [], "categories": []},
        {"boxes": [[1, 2, 3, 4]]},
        {"0": {"people": []}, "1": {"boxes": []}},
        {"version": 1.3},
    ],
)
def test_content_of_another_kind_names_its_keys(content: dict) -> None:
    with pytest.raises(InputError, match=f"among its keys \\({', '.join(content)}\\): expected a frame with 'people'"):
        read_pose_keypoint(content, size=SIZE)


def test_scores_of_another_number_are_an_error() -> None:
    person = mmpose(BODY)[0] | {"keypoint_scores": [0.5] * 3}
    with pytest.raises(InputError, match="17 points, 3 scores"):
        read_pose_keypoint([person], size=SIZE)


# ---- lists of people over many pictures


def test_frames_by_image_id_come_in_natural_order_with_the_empty_ones_between() -> None:
    entries = [*coco(BODY, "10.jpg"), *coco(people_of(1, seed=1), "8.jpg"), *coco(people_of(1, seed=2), "9.jpg")]
    entries += coco(people_of(1, seed=3), "12.jpg")
    frames = read_pose_keypoint(entries, size=SIZE)
    assert [len(frame.people) for frame in frames] == [1, 1, 2, 0, 1]
    assert "4 frames, from 8.jpg to 12.jpg" in " ".join(frames[0].notes)
    assert "frames without people in place of 1 missing number" in frames[0].notes


def test_pictures_with_scattered_ids_or_names_are_not_filled() -> None:
    for ids in ((139, 285, 632), ("beach", "arch", "car")):
        entries = [entry for image in ids for entry in coco(BODY, image)]
        assert [len(frame.people) for frame in read_pose_keypoint(entries, size=SIZE)] == [2, 2, 2]


def test_other_categories_are_left_out_and_said() -> None:
    entries = coco(BODY)
    entries[1]["category_id"] = 3
    [frame] = read_pose_keypoint(entries, size=SIZE)
    assert len(frame.people) == 1 and any("1 entries of other categories" in note for note in frame.notes)


@pytest.mark.parametrize("empty", [[], None])
def test_an_empty_frame_between_others_keeps_its_place(empty: Any) -> None:
    read = read_pose_keypoint([mmpose(BODY), empty, mmpose(BODY)], size=SIZE)
    assert [len(frame.people) for frame in read] == [2, 0, 2]
    canvas = read_pose_keypoint([{"people": plain(BODY), **CANVAS}, empty])
    assert [(len(frame.people), frame.size) for frame in canvas] == [(2, SIZE), (0, SIZE)]
    assert read_pose_keypoint([empty, empty], size=SIZE) == []


@pytest.mark.parametrize(("dataset", "first"), [("h36m", "root"), ("ap10k", "L_Eye")])
def test_points_in_another_order_are_refused(dataset: str, first: str) -> None:
    content = {"meta_info": {"dataset_name": dataset, "keypoint_id2name": {"0": first}}, "instance_info": mmpose(BODY)}
    with pytest.raises(InputError, match=f"in the order of {dataset}, {first} first: expected people in COCO's order"):
        read_pose_keypoint(content, size=SIZE)
    content["meta_info"] = {"dataset_name": "coco", "keypoint_id2name": {"0": "nose"}}
    assert len(read_pose_keypoint(content, size=SIZE)[0].people) == 2


def test_points_in_three_dimensions_are_not_taken_for_more_points() -> None:
    points = np.c_[np.random.default_rng(0).uniform(50, 400, (18, 3)), np.full(18, 0.9)]
    with pytest.raises(InputError, match="expected x, y, score per point, got x, y, z, score"):
        read_pose_keypoint({"people": [{"pose_keypoints_2d": points.ravel().tolist()}], **CANVAS})


def test_the_same_note_is_given_once() -> None:
    person = {"pose_keypoints_2d": np.full((25, 3), 9.0).ravel().tolist()}
    [frame] = read_pose_keypoint([{"people": [person] * 20, **CANVAS}])
    assert sum("BODY_25" in note for note in frame.notes) == 1


def test_visibility_flags_are_no_scores() -> None:
    flags = np.where(np.arange(17) < 5, 0, np.where(np.arange(17) < 9, 1, 2))
    points = np.c_[BODY.keypoints[0], flags]
    [frame] = read_pose_keypoint([{"keypoints": points.ravel().tolist(), "category_id": 1}], size=SIZE)
    assert to_poses(frame).scores[0].tolist() == [0] * 5 + [1] * 12


def test_numbered_names_sort_as_numbers() -> None:
    content = {f"frame{n}": {"people": plain(people_of(1 + n % 3, seed=n)), **CANVAS} for n in (10, 9, 11, 1)}
    assert [len(frame.people) for frame in read_pose_keypoint(content)] == [2, 1, 2, 3]


def test_frames_by_number_have_the_empty_ones_between() -> None:
    content = {str(n): {"people": plain(BODY), **CANVAS} for n in (3, 5)}
    read = read_pose_keypoint(content)
    assert [(len(frame.people), frame.size) for frame in read] == [(2, SIZE), (0, SIZE), (2, SIZE)]
    named = read_pose_keypoint({f"pose {n}": {"people": plain(BODY), **CANVAS} for n in (3, 5)})
    assert len(named) == 2


def test_odd_values_anywhere_are_read_or_refused() -> None:
    """No other error than `InputError`, whatever stands in place of a value."""
    odd = [None, [], {}, "x", 0, -1, 1e30, float("nan"), True, [None], [[]], [1], {"a": 1}, [[1, 2]], {"x": 1, "y": 2}]

    def places(value: Any, path: tuple = ()) -> Any:
        yield path
        items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
        for key, inner in items:
            yield from places(inner, (*path, key))

    def replaced(value: Any, path: tuple, new: Any) -> Any:
        if not path:
            return new
        inner = replaced(value[path[0]], path[1:], new)
        if isinstance(value, dict):
            return {**value, path[0]: inner}
        return [*value[: path[0]], inner, *value[path[0] + 1 :]]

    contents = [content for content, _ in LAYOUTS.values() if not isinstance(content, dict) or "scores" not in content]
    cases = [(whole, path) for whole in contents for path in places(whole)]
    for number, (whole, path) in enumerate(cases):
        if number % 2 == 0:
            with contextlib.suppress(InputError):
                clip_poses(read_pose_keypoint(replaced(whole, path, odd[number % len(odd)]), size=SIZE))


def test_ids_of_other_tools() -> None:
    entries = mmpose(BODY)
    entries[0]["track_id"], entries[1]["idx"] = 4, [9.0]
    assert [person.person_id for person in read_pose_keypoint([entries], size=SIZE)[0].people] == [4, 9]


# ---- value ranges

RANGES = {"pixels": lambda p: p, "0..1": lambda p: p / SIZE, "-1..1": lambda p: p / SIZE * 2 - 1}


def in_range(poses: Poses, name: str, *, absent: tuple[float, float, float] | None = None) -> dict[str, Any]:
    """A frame whose last point of each person is absent if `absent` says how."""
    people = plain(poses)
    for person in people:
        for key, values in person.items():
            points = np.reshape(values, (-1, 3))
            seen = points[:, 2] > 0
            points[seen, :2] = RANGES[name](points[seen, :2])
            if absent is not None and key == "pose_keypoints_2d":
                points[-1] = absent
            person[key] = points.ravel().tolist()
    return {"people": people}


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("canvas", [True, False])
def test_every_range_with_and_without_a_canvas_in_one_and_many_frames(name: str, frames: int, canvas: bool) -> None:
    clip = [people_of(2, "coco_wholebody_133", seed) for seed in range(frames)]
    content = [in_range(poses, name) | (CANVAS if canvas else {}) for poses in clip]
    read = read_pose_keypoint(content, size=None if canvas else SIZE)
    for poses, expected in zip(clip_poses(read), clip, strict=True):
        np.testing.assert_allclose(poses.keypoints, expected.keypoints, atol=1e-2)
    said = [note for frame in read for note in frame.notes if "scaled to the canvas" in note]
    assert said == ([] if name == "pixels" else [f"coordinates in {name}: scaled to the canvas"])


@pytest.mark.parametrize(
    ("name", "absent"),
    [("pixels", (0, 0, 0)), ("0..1", (0, 0, 0)), ("-1..1", (0, 0, 0)), ("-1..1", (-1, -1, 0)), ("-1..1", (-1, -1, 1)),
     ("0..1", (-1, -1, 1)), ("pixels", (-1, -1, 1)), ("-1..1", (float("nan"), 0.5, 1))],
)  # fmt: skip
def test_absent_points_of_every_range(name: str, absent: tuple[float, float, float]) -> None:
    [frame] = read_pose_keypoint(in_range(BODY, name, absent=absent), size=SIZE)
    poses = to_poses(frame)
    assert not poses.scores[:, 3].any() and np.isnan(poses.keypoints[:, 3]).all()  # the last of OpenPose: left ear
    np.testing.assert_allclose(np.delete(poses.keypoints, 3, 1), np.delete(BODY.keypoints, 3, 1), atol=1e-2)


def test_the_range_is_that_of_the_whole_clip() -> None:
    """In the second frame all coordinates are positive: alone it would be read as 0..1."""
    far = Poses(BODY.keypoints * 0.2 + np.array([450, 350]), BODY.scores, BODY.boxes, SIZE, "coco_17")
    read = read_pose_keypoint([in_range(BODY, "-1..1") | CANVAS, in_range(far, "-1..1") | CANVAS])
    np.testing.assert_allclose(to_poses(read[1]).keypoints, far.keypoints, atol=1e-2)


def test_the_range_is_that_of_a_whole_folder(tmp_path: Path) -> None:
    far = Poses(BODY.keypoints * 0.2 + np.array([450, 350]), BODY.scores, BODY.boxes, SIZE, "coco_17")
    for number, poses in ((2, BODY), (10, far)):
        (tmp_path / f"f{number}.json").write_text(json.dumps(in_range(poses, "-1..1") | CANVAS))
    read = read_openpose_json(tmp_path)
    np.testing.assert_allclose(to_poses(read[1]).keypoints, far.keypoints, atol=1e-2)


def test_a_point_at_the_center_of_minus_1_to_1_is_there() -> None:
    content = in_range(BODY, "-1..1")
    content["people"][0]["pose_keypoints_2d"][:3] = [0.0, 0.0, 0.9]
    [frame] = read_pose_keypoint(content, size=SIZE)
    np.testing.assert_allclose(frame.people[0].body[0], [320, 240, 0.9])


def test_a_person_cut_off_at_the_edge_stays_in_0_to_1() -> None:
    cut = Poses(BODY.keypoints - [BODY.keypoints[..., 0].min() + 6, 0], BODY.scores, BODY.boxes, SIZE, "coco_17")
    [frame] = read_pose_keypoint(in_range(cut, "0..1"), size=SIZE)
    assert any("0..1" in note for note in frame.notes)
    np.testing.assert_allclose(to_poses(frame).keypoints, cut.keypoints, atol=1e-2)


def test_frames_in_other_units_than_the_clip_are_an_error() -> None:
    content = [in_range(BODY, "pixels") | CANVAS, in_range(BODY, "0..1") | CANVAS]
    with pytest.raises(InputError, match="frame 1: all its points lie within 1, those of other frames are pixels"):
        read_pose_keypoint(content)


@pytest.mark.parametrize("canvas", [(0, 0), (None, None), ("", "wide"), (float("nan"), 480), (640, None), (True, True)])
def test_a_canvas_that_is_none_is_asked_for(canvas: tuple[Any, Any]) -> None:
    content = {"people": plain(BODY), "canvas_width": canvas[0], "canvas_height": canvas[1]}
    with pytest.raises(InputError, match="has no canvas_width and canvas_height: say it so"):
        read_pose_keypoint(content, ask="say it so")
    assert read_pose_keypoint(content, size=SIZE)[0].size == SIZE


def test_a_canvas_of_the_wrong_size_is_noticed() -> None:
    [frame] = read_pose_keypoint({"people": plain(BODY)}, size=(64, 48))
    assert "lie outside the canvas, 64 x 48" in frame.notes[0]  # before notes that matter less
    [frame] = read_pose_keypoint({"people": [{"pose_keypoints_2d": [1e30] * 54}], **CANVAS})
    assert "(up to 1e+30, 1e+30)" in frame.notes[0]


# ---- files


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_files_in_every_encoding(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.JSON"
    path.write_bytes(json.dumps({"people": plain(BODY), **CANVAS}, indent=1).replace("\n", "\r\n").encode(encoding))
    for place in (path, tmp_path):
        np.testing.assert_allclose(to_poses(read_openpose_json(place)[0]).keypoints, BODY.keypoints, atol=2e-3)


def test_a_folder_is_read_in_natural_order_without_hidden_files(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        content = {"people": plain(people_of(number % 4, seed=number)), **CANVAS}
        (tmp_path / f"clip_{number}.json").write_text(json.dumps(content))
    (tmp_path / "._clip_1.json").write_bytes(b"\0\5\26\7")
    assert [len(frame.people) for frame in read_openpose_json(tmp_path)] == [1, 1, 2]


@pytest.mark.parametrize("name", ["clip_{:012d}_keypoints.json", "{}.json"])
def test_files_that_are_missing_between_the_frames_of_a_video(name: str, tmp_path: Path) -> None:
    for number in (3, 4, 7):
        (tmp_path / name.format(number)).write_text(json.dumps({"people": plain(BODY), **CANVAS}))
    read = read_openpose_json(tmp_path)
    assert [len(frame.people) for frame in read] == [2, 2, 0, 0, 2]
    assert "frames without people in place of 2 missing numbers" in read[0].notes


def test_nan_and_infinity_in_a_file_are_absent_points(tmp_path: Path) -> None:
    person = plain(BODY)[0]
    person["pose_keypoints_2d"][:2], person["pose_keypoints_2d"][4] = [float("nan")] * 2, float("inf")
    (tmp_path / "a.json").write_text(json.dumps({"people": [person], **CANVAS}))
    [frame] = read_openpose_json(tmp_path / "a.json")
    assert not frame.people[0].body[:2].any() and frame.people[0].body[2:, 2].all()
