"""COCO keypoints of others, and our own export, read as sequences."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdpose_core.cli.main import main
from sdpose_core.errors import InputError
from sdpose_core.exports.profile import ExportOptions
from sdpose_core.exports.targets import export
from sdpose_core.imports.points import point_table
from sdpose_core.imports.reading import import_poses
from sdpose_core.poses import PoseSequence
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KEYPOINT_SETS

RATE = Fraction(30)
NAMES = list(COCO_17.names)


def sequence(keypoint_set: str, *, names: bool = False) -> PoseSequence:
    """Two people in five frames of which the second has only one; every fifth point is absent."""
    rng = np.random.default_rng(0)
    points = len(KEYPOINT_SETS[keypoint_set])
    keypoints = rng.uniform(20, 180, (5, 2, points, 2)).round(2)
    scores = rng.uniform(0.35, 0.99, (5, 2, points)).round(2)
    keypoints[:, :, ::5], scores[:, :, ::5] = np.nan, 0
    boxes = np.tile([10, 10, 190, 190, 1], (5, 2, 1)).astype(float)
    boxes[..., 4] = scores.mean(axis=-1)
    ids = np.tile([7, 3], (5, 1))
    ids[1, 1], keypoints[1, 1], scores[1, 1], boxes[1, 1] = -1, np.nan, 0, 0
    frames = np.arange(4, 9)
    meta = {"frame_names": [f"walk {n:03d}.png" for n in range(5)]} if names else {}
    return PoseSequence(keypoints, scores, boxes, ids, frames, frames / 30, (200, 200), RATE, keypoint_set, meta)


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def person(**entry: Any) -> dict[str, Any]:
    points = [value for i in range(17) for value in (10 * i + 5, 40 + i, 2)]
    return {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [0, 30, 180, 40], "area": 7200,
            "num_keypoints": 17, "keypoints": points, **entry}  # fmt: skip


def coco(annotations: list[dict[str, Any]], images: int = 1, names: list[str] | None = None) -> dict[str, Any]:
    return {
        "images": [
            {"id": n + 1, "file_name": f"frame_{n:06d}.png", "width": 320, "height": 240} for n in range(images)
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": names or NAMES, "skeleton": []}],
        "annotations": annotations,
    }


# --- our own export --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize("keypoint_set", list(KEYPOINT_SETS))
def test_exported_annotations_come_back(keypoint_set: str, names: bool, tmp_path: Path) -> None:
    given = sequence(keypoint_set, names=names)
    export(given, "coco", tmp_path, name="walk", options=ExportOptions(threshold=0.0))
    found = import_poses(tmp_path / "walk_annotations.json", frame_rate=RATE)
    assert found is not None
    assert (found.keypoint_set, found.size, found.frame_rate) == (keypoint_set, (200, 200), RATE)
    np.testing.assert_array_equal(found.frame_index, given.frame_index)
    np.testing.assert_allclose(found.pts, given.pts)
    np.testing.assert_array_equal(found.track_ids, given.track_ids)
    np.testing.assert_allclose(found.keypoints, given.keypoints, atol=6e-4)
    np.testing.assert_array_equal(found.scores, given.scores > 0)
    np.testing.assert_allclose(found.boxes[..., :4], given.boxes[..., :4])
    assert found.meta.get("frame_names") == (
        given.meta["frame_names"] if names else [f"walk_{n:06d}.png" for n in range(4, 9)]
    )


@pytest.mark.parametrize("keypoint_set", list(KEYPOINT_SETS))
def test_exported_results_come_back_with_their_scores(keypoint_set: str, tmp_path: Path) -> None:
    given = sequence(keypoint_set)
    one = replace(given, **{n: getattr(given, n)[:, :1] for n in ("keypoints", "scores", "boxes", "track_ids")})
    export(one, "coco", tmp_path, name="walk")
    found = import_poses(tmp_path / "walk_results.json", size=(200, 200), frame_rate=RATE)
    assert found is not None and found.keypoint_set == keypoint_set
    np.testing.assert_array_equal(found.frame_index, given.frame_index)
    np.testing.assert_allclose(found.keypoints, one.keypoints, atol=6e-4)
    np.testing.assert_allclose(found.scores, one.scores, atol=6e-4)
    np.testing.assert_allclose(found.boxes, one.boxes, atol=6e-4)
    assert len(np.unique(found.track_ids)) == 1  # tracked: results have no ids


def test_results_need_a_size(tmp_path: Path) -> None:
    export(sequence("coco_17"), "coco", tmp_path, name="walk")
    with pytest.raises(InputError, match="size of the pictures.*--canvas"):
        import_poses(tmp_path / "walk_results.json")


# --- files of others -------------------------------------------------------------------------------------------------


def test_ids_numbers_and_hidden_points_of_cvat(tmp_path: Path) -> None:
    """CVAT counts pictures from 1, names them by frame, and keeps the track in the attributes."""
    attributes = {"occluded": False, "track_id": 5, "keyframe": True}
    hidden = person(id=3, image_id=3, attributes=attributes)
    hidden["keypoints"] = [1 if i == 2 else v for i, v in enumerate(hidden["keypoints"])]
    file = write(tmp_path / "person_keypoints_default.json", coco([person(attributes=attributes), hidden], images=3))
    found = import_poses(file)
    assert found is not None
    assert found.frame_index.tolist() == [0, 1, 2]
    assert found.track_ids.tolist() == [[5], [-1], [5]]
    assert found.scores[2, 0, 0] == 1 and found.keypoints[2, 0, 0].tolist() == [5, 40]
    assert any("25 frames per second" in note for note in found.meta["notes"])


def test_points_go_by_their_names(tmp_path: Path) -> None:
    order = [*reversed(NAMES[5:]), "neck"]
    names = [name.title().replace("Left_", "L").replace("Right_", "R") for name in order]  # such as LWrist
    points = [[10 * NAMES.index(name) + 5 if name in NAMES else 1, 7, 2] for name in order]
    file = write(tmp_path / "a.json", coco([person(keypoints=sum(points, []))], names=names))
    found = import_poses(file)
    assert found is not None and found.keypoint_set == "coco_17"
    np.testing.assert_array_equal(found.keypoints[0, 0, 5:, 0], [10 * i + 5 for i in range(5, 17)])
    assert np.isnan(found.keypoints[0, 0, :5]).all()
    notes = " ".join(found.meta["notes"])
    assert "Neck" in notes and "nose, left_eye" in notes


def test_an_archive_of_cvat(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        archive.writestr("annotations/person_keypoints_default.json", json.dumps(coco([person()])))
        archive.writestr("images/frame_000000.png", b"")
    found = import_poses(tmp_path / "task.zip")
    assert found is not None and found.keypoints[0, 0, 1].tolist() == [15, 41]


def test_pictures_of_several_sizes_are_imported_one_size_at_a_time(tmp_path: Path) -> None:
    content = coco([person(), person(id=2, image_id=2)], images=2)
    content["images"][1] |= {"width": 640, "height": 480}
    file = write(tmp_path / "a.json", content)
    with pytest.raises(InputError, match=r"2 sizes: 320 x 240 \(1 pictures\), 640 x 480 .*--canvas"):
        import_poses(file)
    found = import_poses(file, size=(640, 480))
    assert found is not None and (len(found), found.size, found.frame_index.tolist()) == (1, (640, 480), [1])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"keypoints": [1, 2, 3]}, "3 keypoint values instead of 51"),
        ({"track_id": -4}, "track_id is -4"),
        ({"track_id": 1.5}, "track_id 1.5"),
        ({"keypoints": [float("inf"), 2, 2] * 17}, "keypoints that are not numbers"),
    ],
)
def test_damage_is_named(change: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=expected):
        import_poses(write(tmp_path / "a.json", coco([person(**change)])))


@pytest.mark.parametrize("content", [{"categories": 3}, {"categories": ["person"]}, {"images": [7]}])
def test_damaged_lists_are_named(content: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected"):
        import_poses(write(tmp_path / "a.json", {**coco([person()]), **content}))


def test_results_without_points_are_named(tmp_path: Path) -> None:
    for keypoints in (True, None, [1, 2, 3], "x"):
        with pytest.raises(InputError, match="result number 0"):
            import_poses(write(tmp_path / "a.json", [{"image_id": 1, "keypoints": keypoints}]), size=(9, 9))


def test_one_id_twice_in_a_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="person 4 twice"):
        import_poses(write(tmp_path / "a.json", coco([person(track_id=4), person(id=2, track_id=4)])))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["tail", "snout"], "tail, snout"),
        (["left_eye", "LEye"], "left_eye and LEye"),
        ([str(n) for n in range(2, 19)], "expected 0 to 16 or 1 to 17"),
    ],
)
def test_names_that_cannot_be_used(names: list[str], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        point_table(names)


def test_every_name_of_the_whole_body_is_found_in_other_spellings() -> None:
    spelled = [name.replace("_", " ").title() for name in COCO_WHOLEBODY_133.names]
    assert list(point_table(spelled).places.values()) == list(range(133))
    assert list(point_table([str(n) for n in range(1, 18)]).places.values()) == list(range(17))


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_a_sequence_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = write(tmp_path / "a.json", coco([person(track_id=2)]))
    assert main(["import", str(file)]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(tmp_path / "a.pose.npz")
    assert "1 frame, 1 person, coco_17" in printed.err
    assert PoseSequence.load(tmp_path / "a.pose.npz").track_ids.tolist() == [[2]]
    assert main(["import", str(file)]) == 0 and "kept" in capsys.readouterr().err
    write(file, coco([person(track_id=3)]))
    assert main(["import", str(file)]) == 1 and "--overwrite" in capsys.readouterr().err


def test_the_command_reads_openpose_json(tmp_path: Path) -> None:
    body = [value for i in range(18) for value in (10 + i, 20 + i, 1)]
    frame = {"people": [{"pose_keypoints_2d": body}], "canvas_width": 100, "canvas_height": 80}
    file, out = write(tmp_path / "a.json", frame), tmp_path / "b.pose.npz"
    assert main(["import", str(file), "-o", str(out)]) == 0
    assert PoseSequence.load(out).keypoints[0, 0, 0].tolist() == [10, 20]


def test_pictures_are_numbered_as_in_their_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from sdpose_core.images import write_png

    for number in range(3):
        write_png(tmp_path / "pictures" / f"img{number + 10}.png", np.zeros((240, 320, 3), np.uint8))
    content = coco([person(track_id=0)], images=1)
    content["images"][0]["file_name"] = "img12.png"
    file, out = write(tmp_path / "a.json", content), tmp_path / "a.pose.npz"
    assert main(["import", str(file), "--video", str(tmp_path / "pictures")]) == 0
    assert PoseSequence.load(out).frame_index.tolist() == [2]
    content["images"][0]["file_name"] = "img13.png"
    write(file, content)
    assert main(["import", str(file), "--overwrite", "--video", str(tmp_path / "pictures")]) == 2
    assert "no picture 'img13.png'" in capsys.readouterr().err


def test_frames_of_a_video_have_its_rate_and_no_file_names(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from sdpose_core.video.writer import VideoWriter

    with VideoWriter(tmp_path / "walk.mp4", (200, 200), RATE, codec="lossless") as writer:
        writer.write(np.zeros((200, 200, 3), np.uint8))
    export(sequence("coco_17"), "coco", tmp_path, name="walk", options=ExportOptions(threshold=0.0))
    for name in ("annotations", "results"):
        file, out = tmp_path / f"walk_{name}.json", tmp_path / f"{name}.pose.npz"
        assert main(["import", str(file), "--video", str(tmp_path / "walk.mp4"), "-o", str(out)]) == 0
        found = PoseSequence.load(out)
        assert (found.size, found.frame_rate, found.meta["source"]) == ((200, 200), RATE, "walk.mp4")
        assert "frame_names" not in found.meta
    with VideoWriter(tmp_path / "other.mp4", (64, 48), RATE, codec="lossless") as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    capsys.readouterr()
    words = ["import", tmp_path / "walk_annotations.json", "--overwrite", "--video", tmp_path / "other.mp4"]
    assert main([*map(str, words)]) == 2
    assert "other.mp4 has 64 x 48 pixels, the annotations are of 200 x 200" in capsys.readouterr().err


def test_other_commands_name_the_one_that_reads_annotations(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = write(tmp_path / "a.json", coco([person()]))
    assert main(["draw", str(file)]) == 1
    assert "COCO annotations: `sdpose import` reads them" in capsys.readouterr().err
