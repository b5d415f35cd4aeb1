"""Corrected frames as training data: pictures, annotations, and the folder that clips share."""

from __future__ import annotations

import json
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
from sdpose_core.exports.timing import edited_frames
from sdpose_core.exports.training_data import write_training_data
from sdpose_core.images import read_image, write_png
from sdpose_core.poses import PoseSequence
from sdpose_core.skeletons import KEYPOINT_SETS
from sdpose_core.video.writer import VideoWriter
from sdpose_training.data.annotations import read_annotations, read_people
from sdpose_training.data.pictures import read_picture
from sdpose_training.evaluation.protocols import find_benchmark
from sdpose_training.evaluation.tasks import Places, load_task

SIZE, FRAMES, RATE = (96, 64), 12, Fraction(25)


def clip(keypoint_set: str = "coco_17", **values: Any) -> PoseSequence:
    """Two people; every point has a score of .8 but the last, of .1."""
    points = len(KEYPOINT_SETS[keypoint_set])
    rng = np.random.default_rng(3)
    keypoints = rng.uniform(10, 50, (FRAMES, 2, points, 2)).astype(np.float32)
    scores = np.full((FRAMES, 2, points), 0.8, np.float32)
    scores[..., -1] = 0.1
    boxes = np.tile(np.float32([8, 8, 52, 52, 0.9]), (FRAMES, 2, 1))
    meta = {"source": "dance.mp4", "origin": {"source": {"bytes": 1, "sha256": "0" * 64}, "settings": {}}}
    ids = np.tile([4, 2], (FRAMES, 1))
    index = np.arange(FRAMES)
    given = {"keypoints": keypoints, "scores": scores, "meta": meta, **values}
    return PoseSequence(
        given.pop("keypoints"), given.pop("scores"), boxes, ids, index, index / 25, SIZE, RATE, keypoint_set, **given
    )


def edited(sequence: PoseSequence, frames: list[int]) -> PoseSequence:
    """Of the first person in these frames: the last point is placed outside the box, the first one deleted."""
    mask = np.zeros(sequence.scores.shape, bool)
    mask[frames, 0, 0] = mask[frames, 0, -1] = True
    keypoints = np.array(sequence.keypoints)
    keypoints[frames, 0, 0] = np.nan
    keypoints[frames, 0, -1] = (90, 60)
    return replace(sequence, keypoints=keypoints, edited=mask)


def picture(t: int) -> np.ndarray:
    return np.full((SIZE[1], SIZE[0], 3), 20 * t, np.uint8)


def read(out: Path, part: str) -> dict[str, Any]:
    return json.loads((out / "annotations" / f"{part}.json").read_text())


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("keypoint_set", list(KEYPOINT_SETS))
def test_the_training_code_reads_it(keypoint_set: str, tmp_path: Path) -> None:
    sequence = edited(clip(keypoint_set), [1, 3, 4, 8, 9])
    files = write_training_data(sequence, [9, 1, 3, 4, 8], picture, tmp_path, "dance")
    assert [file.name for file in files[:2]] == ["dance_000001.png", "dance_000003.png"]
    assert [file.name for file in files[-2:]] == ["train.json", "val.json"]
    points = KEYPOINT_SETS[keypoint_set]
    people, problems = read_people(read_annotations(files[-2]), tmp_path / "images", points)
    assert not problems and len(people) == 8 and people.picture_sizes.tolist() == [[96, 64]] * 8
    own = people.select([0])
    np.testing.assert_allclose(own.keypoints[0, 1:], sequence.keypoints[1, 0, 1:], atol=1e-3)
    assert own.visibility[0].tolist() == [0, *[1] * (len(points) - 1)]  # deleted; the placed one in spite of its score
    assert people.visibility[1].tolist() == [*[1] * (len(points) - 1), 0]
    np.testing.assert_allclose(own.boxes_xyxy[0], [8, 8, 90, 60])  # it holds the placed point
    assert (read_picture(own.files[0], SIZE) == 20).all()
    task = load_task(find_benchmark("custom"), Places(tmp_path, ground_truth_boxes=True), keypoint_set)
    assert (task.keypoint_set.name, len(task.boxes_xyxy)) == (keypoint_set, 2)
    assert [file.name for file in task.files.values()] == ["dance_000009.png"]  # the last in time


def test_doubtful_points_are_not_labeled_unless_they_were_placed(tmp_path: Path) -> None:
    distrust = np.full((FRAMES, 2, 17), 0.1, np.float32)
    distrust[2, :, 5], distrust[2, 0, -1] = 0.9, 0.9
    sequence = replace(edited(clip(), [2]), distrust=distrust)
    write_training_data(sequence, [2, 3], picture, tmp_path, "dance")
    first = np.reshape(read(tmp_path, "train")["annotations"][0]["keypoints"], (17, 3))
    assert (first[5, 2], first[6, 2], first[16, 2]) == (0, 2, 2)
    assert not first[5].any()


def test_doubtful_points_of_who_was_found_right_are_labeled(tmp_path: Path) -> None:
    distrust = np.full((FRAMES, 2, 17), 0.9, np.float32)
    sequence = clip(distrust=distrust, meta={"review": {"checked": [[2, 4]]}})
    write_training_data(sequence, [2, 3], picture, tmp_path, "dance")
    assert [a["num_keypoints"] for a in read(tmp_path, "train")["annotations"]] == [16, 0]
    assert [a["num_keypoints"] for a in read(tmp_path, "val")["annotations"]] == [0, 0]


def test_clips_share_a_folder_and_replace_their_own_frames(tmp_path: Path) -> None:
    write_training_data(clip(), [1, 2, 3], picture, tmp_path, "dance")
    other = clip(meta={"source": "walk.mp4"})
    write_training_data(other, [5, 6], picture, tmp_path, "walk")
    write_training_data(clip(), [2, 4], picture, tmp_path, "dance")
    assert names(tmp_path / "images") == [
        f"{n}.png" for n in ("dance_000002", "dance_000004", "walk_000005", "walk_000006")
    ]
    train, val = read(tmp_path, "train"), read(tmp_path, "val")
    assert [image["file_name"] for image in train["images"]] == ["dance_000002.png", "walk_000005.png"]
    assert [image["file_name"] for image in val["images"]] == ["dance_000004.png", "walk_000006.png"]
    assert [a["id"] for a in train["annotations"]] == [1, 2, 3, 4]
    assert [a["image_id"] for a in train["annotations"]] == [1, 1, 2, 2]
    again = {file: file.read_bytes() for file in (tmp_path / "annotations").iterdir()}
    write_training_data(clip(), [2, 4], picture, tmp_path, "dance")
    assert {file: file.read_bytes() for file in (tmp_path / "annotations").iterdir()} == again


def test_another_clip_of_the_same_name_is_refused(tmp_path: Path) -> None:
    write_training_data(clip(), [1, 2], picture, tmp_path, "dance")
    other = clip(meta={"source": "dance.mp4", "origin": {"source": {"sha256": "1" * 64}, "settings": {}}})
    with pytest.raises(InputError, match="another clip called 'dance'.*another name"):
        write_training_data(other, [1, 2], picture, tmp_path, "dance")
    with pytest.raises(InputError, match="'coco_17', these are of 'coco_wholebody_133'"):
        write_training_data(clip("coco_wholebody_133"), [1, 2], picture, tmp_path, "b")


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("images/holiday.png", b""),
        ("annotations/train.json", b'{"images": [], "annotations": []}'),
        ("images", b"file"),
    ],
)
def test_files_of_others_are_never_touched(place: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    with pytest.raises(InputError, match="nothing was written; choose another folder"):
        write_training_data(clip(), [1, 2], picture, tmp_path, "dance")
    assert file.read_bytes() == content
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == [file]


@pytest.mark.parametrize(
    ("frames", "name", "expected"),
    [
        ([], "a", "no frames"), ([FRAMES], "a", "frame 12: expected 0 to 11"), ([-1], "a", "frame -1"),
        ([1], "../a", "outside"), ([1], "b/a", "a path"), ([1], "b\\a", "a path"),
    ],
)  # fmt: skip
def test_what_cannot_be_written(frames: list[int], name: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=expected):
        write_training_data(clip(), frames, picture, tmp_path / "out", name)
    assert not (tmp_path / "out").exists()


def test_nobody_and_other_pictures(tmp_path: Path) -> None:
    nobody = replace(clip(), track_ids=np.full((FRAMES, 2), -1))
    with pytest.raises(InputError, match="nobody has labeled points"):
        write_training_data(nobody, [1], picture, tmp_path, "a")
    with pytest.raises(InputError, match="frame 1 has 10 x 20 pixels, its poses are of 96 x 64"):
        write_training_data(clip(), [1], lambda _: np.zeros((20, 10, 3), np.uint8), tmp_path, "a")


def test_pictures_of_several_sizes(tmp_path: Path) -> None:
    sizes = [(60 + t, 64) for t in range(FRAMES)]
    shown = {t: np.zeros((h, w, 3), np.uint8) for t, (w, h) in enumerate(sizes)}
    write_training_data(clip(), [1, 2], shown.__getitem__, tmp_path, "a", sizes=sizes)
    assert [image["width"] for part in ("train", "val") for image in read(tmp_path, part)["images"]] == [61, 62]


# --- sdpose export ---------------------------------------------------------------------------------------------------


def test_export_with_the_video(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with VideoWriter(tmp_path / "dance.mp4", SIZE, RATE, codec="lossless") as writer:
        for t in range(FRAMES):
            writer.write(picture(t))
    sequence = edited(clip(), [2, 5, 7])
    sequence.save(tmp_path / "dance.pose.npz")
    words = ["export", tmp_path / "dance.pose.npz", "--to", "coco", "--frames", "edited", "-o", tmp_path / "out"]
    assert main([*map(str, words), "--video", str(tmp_path / "dance.mp4")]) == 0
    printed = capsys.readouterr()
    assert "3 pictures in" in printed.err and "1 of them for val.json" in printed.err
    assert [Path(line).name for line in printed.out.split()] == [
        "dance_results.json", "dance_annotations.json", "train.json", "val.json",
    ]  # fmt: skip
    assert edited_frames(sequence).tolist() == [2, 5, 7]
    images = json.loads((tmp_path / "out" / "dance_annotations.json").read_text())["images"]
    assert [image["frame_index"] for image in images] == [2, 5, 7]
    for t in (2, 5, 7):
        np.testing.assert_array_equal(read_image(tmp_path / "out" / "images" / f"dance_{t:06d}.png"), picture(t))


def test_export_with_a_folder_of_pictures_goes_by_their_names(tmp_path: Path) -> None:
    for t in range(FRAMES):
        write_png(tmp_path / "pictures" / f"shot {t}.png", picture(t))
    write_png(tmp_path / "pictures" / "another.png", picture(0) + 200)
    sequence = clip(meta={"frame_names": [f"shot {t}.png" for t in range(FRAMES)]})
    export(sequence, "coco", tmp_path / "out", name="a", video=tmp_path / "pictures")
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "images" / "a_000007.png"), picture(7))


def test_export_refuses_what_does_not_go_together(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "short.mp4", SIZE, RATE, codec="lossless") as writer:
        writer.write(picture(0))
    with pytest.raises(InputError, match=r"short.mp4 has no frame 1: name the video"):
        export(clip(), "coco", tmp_path / "a", name="a", video=tmp_path / "short.mp4")
    with pytest.raises(InputError, match="no frame was edited by hand"):
        export(clip(), "coco", tmp_path / "a", name="a", options=ExportOptions(frames="edited"))
    with pytest.raises(InputError, match="frames 'edited' are for the target coco"):
        export(edited(clip(), [1]), "openpose", tmp_path / "a", name="a", options=ExportOptions(frames="edited"))
    with pytest.raises(InputError, match="fitted to another canvas"):
        fitted = ExportOptions(size=(48, 32))
        export(clip(), "coco", tmp_path / "b", name="a", video=tmp_path / "short.mp4", options=fitted)
