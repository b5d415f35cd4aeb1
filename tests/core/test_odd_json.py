"""Each reader of JSON from other tools, with odd values in valid files: a result that can be used, or one line."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_values import odd_versions

from sdpose_core.cli.pose_files import read_sequence
from sdpose_core.coco.annotations import Coco, read_coco
from sdpose_core.detection.box_files import BoxFile
from sdpose_core.errors import SDPoseError
from sdpose_core.openpose.reader import read_pose_keypoint
from sdpose_core.openpose.writer import clip_poses, to_pose_keypoint
from sdpose_core.pose_values import MAX_PEOPLE
from sdpose_core.poses import PoseSequence
from sdpose_core.skeletons import COCO_17

RNG = np.random.default_rng(0)
SIZE = (64, 48)


def points(count: int, third: float = 0.9) -> list[float]:
    return [value for x, y in RNG.uniform(5, 45, (count, 2)).tolist() for value in (x, y, third)]


def person() -> dict[str, Any]:
    return {"person_id": [-1], "pose_keypoints_2d": points(18), "hand_left_keypoints_2d": points(21),
            "hand_right_keypoints_2d": [], "face_keypoints_2d": None}  # fmt: skip


FRAME = {"version": 1.3, "people": [person(), person()], "canvas_width": 64, "canvas_height": 48}
ROW = {"file_name": "a.jpg", "bbox": [3, 4, 30, 40], "score": 0.9, "track_id": 4, "category_id": 1}
PERSON = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40], "area": 100.5, "iscrowd": 0,
          "num_keypoints": 17, "keypoints": points(17, 2)}  # fmt: skip
PICTURE = {"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}
CATEGORY = {"id": 1, "name": "person", "keypoints": list(COCO_17.names)}
COCO = {"images": [PICTURE], "annotations": [PERSON, {**PERSON, "id": 2}], "categories": [CATEGORY]}

POSES = {
    "openpose": [FRAME, {**FRAME, "people": [person()]}],
    "ours": to_pose_keypoint(clip_poses(read_pose_keypoint(FRAME))),
    "mmpose": {"instance_info": [{"frame_id": 1, "instances": [
        {"keypoints": RNG.uniform(0, 45, (17, 2)).tolist(), "keypoint_scores": [0.9] * 17, "bbox": [[1, 2, 3, 4]]}]}]},
    "alphapose": [{"image_id": "0.jpg", "category_id": 1, "keypoints": points(17), "score": 2.5, "idx": 1}],
    "rtmlib": {"keypoints": RNG.uniform(0, 45, (2, 17, 2)).tolist(), "scores": [[0.9] * 17] * 2},
    "yolo": [{"name": "person", "class": 0, "box": {"x1": 1, "y1": 2, "x2": 30, "y2": 40},
              "keypoints": {"x": [1.0] * 17, "y": [2.0] * 17, "visible": [0.5] * 17}}],
    "editor": {"width": 64, "height": 48, "keypoints": [[[1, 2], [3, 4], None] * 6]},
    "by name": {"0.json": FRAME, "2.json": FRAME},
}  # fmt: skip
BOXES = {
    "plain": [[3, 4, 30, 40], [10, 12, 50, 45, 0.87]],
    "by name": {"a.jpg": [[3, 4, 30, 40]], "b.jpg": []},
    "by number": {"0": [[3, 4, 30, 40, 0.5]], "1": [[1, 2, 3, 4]]},
    "detections": [ROW, {"image_id": 1, "bbox": [1, 2, 3, 4], "score": "0.5", "category_id": 3}],
    "columns": {"bboxes": [[3, 4, 30, 40]], "scores": [0.9], "labels": [0]},
    "coco": COCO,
}


def poses_of(path: Path) -> None:
    sequence = read_sequence(path, SIZE)
    sequence.save(path.with_suffix(".npz"))
    PoseSequence.load(path.with_suffix(".npz"))
    json.dumps(to_pose_keypoint(sequence.frames()), allow_nan=False)


def boxes_of(path: Path) -> None:
    assert np.isfinite(BoxFile(path).boxes_of(Path("a.jpg"), True, SIZE)).all()


def expected_boxes_of(path: Path) -> None:
    file = BoxFile(path)
    file.expect([Path("a.jpg"), Path("b.jpg")])
    assert np.isfinite(file.boxes_of(Path("a.jpg"), False, SIZE)).all()


def boxes_of_frames(path: Path) -> None:
    assert np.isfinite(BoxFile(path).people_of_frame(0, None, SIZE)[0]).all()


def boxes_of_a_clip(path: Path) -> None:
    file = BoxFile(path)
    file.expect_frames([Path("a.jpg"), Path("b.jpg")])
    assert np.isfinite(file.people_of_frame(0, "a.jpg", SIZE)[0]).all()


def annotations_of(path: Path) -> None:
    coco = Coco.of(read_coco(path))
    for _, found in coco.people(COCO_17, crowds=False).people:
        assert np.isfinite(found.points).all() and np.isfinite([*found.bbox_xywh, found.area]).all()
    coco.sizes()
    coco.ids_of({1: "a.jpg", "b": "b"})


def _cases() -> Iterator[Any]:
    for name, content in POSES.items():
        yield pytest.param(poses_of, content, 10, id=f"poses, {name}")
    for name, content in BOXES.items():
        for read in (boxes_of, expected_boxes_of, boxes_of_frames, boxes_of_a_clip):
            yield pytest.param(read, content, 10, id=f"{read.__name__}, {name}")
    yield pytest.param(annotations_of, COCO, 60, id="annotations")


@pytest.mark.parametrize(("read", "content", "count"), list(_cases()))
def test_odd_values_are_one_line(read: Callable[[Path], None], content: Any, count: int, tmp_path: Path) -> None:
    accepted, path = 0, tmp_path / "x.json"
    for odd in odd_versions(content, count):
        path.write_text(json.dumps(odd))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                read(path)
            accepted += 1
        except SDPoseError as error:
            assert str(error).isprintable() or "\n" not in str(error)
            assert len(str(error)) < 900, odd
    assert accepted < count


def test_people_in_one_picture_are_limited(tmp_path: Path) -> None:
    many = MAX_PEOPLE + 1
    for content in ([[1, 2, 3, 4]] * many, [ROW] * many):
        (tmp_path / "boxes.json").write_text(json.dumps(content))
        with pytest.raises(SDPoseError, match="1,001 people in one picture, the limit is 1,000: leave some out"):
            BoxFile(tmp_path / "boxes.json")
    with pytest.raises(SDPoseError, match="frame: 1,001 people in one picture"):
        read_pose_keypoint({**FRAME, "people": [{"pose_keypoints_2d": [1.0] * 54}] * many})
    (tmp_path / "boxes.json").write_text(json.dumps({str(frame): [[1, 2, 3, 4]] for frame in range(many)}))
    assert len(BoxFile(tmp_path / "boxes.json").people_of_frame(0)[0]) == 1


def test_a_quoted_name_cannot_write_to_the_terminal() -> None:
    with pytest.raises(SDPoseError) as refused:
        read_pose_keypoint({"\x1b[2J\nfine": 1})
    assert "\\x1b[2J\\nfine" in str(refused.value)
