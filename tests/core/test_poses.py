"""Poses, PoseSequence and the `.pose.npz` file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from custom_sets import PEN, custom_poses

from sdpose_core.errors import InputError
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.skeletons import SKELETON


def make_poses(people: int, seed: int = 0, size: tuple[int, int] = (64, 48)) -> Poses:
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 48, (people, 17, 2))
    keypoints[:, 3] = np.nan
    return Poses(keypoints, rng.uniform(0, 1.2, (people, 17)), rng.uniform(0, 48, (people, 5)), size, "coco_17")


def test_a_sequence_survives_the_file(tmp_path: Path) -> None:
    frames = [make_poses(2, 1), make_poses(0), make_poses(3, 2)]
    sequence = PoseSequence.from_poses(frames, frame_rate=Fraction(30000, 1001), meta={"model": "a test"})
    sequence.save(tmp_path / "clip.pose.npz")
    read = PoseSequence.load(tmp_path / "clip.pose.npz")
    for name in ("keypoints", "scores", "boxes", "track_ids", "frame_index", "pts"):
        np.testing.assert_array_equal(getattr(read, name), getattr(sequence, name))
        assert getattr(read, name).dtype == getattr(sequence, name).dtype
    assert (read.size, read.frame_rate, read.keypoint_set) == ((64, 48), Fraction(30000, 1001), "coco_17")
    assert read.meta["model"] == "a test"
    assert [len(frame) for frame in read.frames()] == [2, 0, 3]
    np.testing.assert_allclose(read.pts, np.arange(3) * 1001 / 30000)


def test_the_file_is_what_the_contract_says(tmp_path: Path) -> None:
    make_poses(2).save(tmp_path / "one.pose.npz")
    with np.load(tmp_path / "one.pose.npz", allow_pickle=False) as file:
        shapes = {name: (file[name].dtype.kind + str(file[name].dtype.itemsize), file[name].shape) for name in file}
        assert file["size"].tolist() == [64, 48]
        assert file["frame_rate"].tolist() == [0, 1]
        assert file["track_ids"].tolist() == [[0, 1]]
    assert shapes["keypoints"] == ("f4", (1, 2, 17, 2))
    assert shapes["scores"] == ("f4", (1, 2, 17))
    assert shapes["boxes"] == ("f4", (1, 2, 5))
    assert shapes["track_ids"] == ("i4", (1, 2))
    assert shapes["frame_index"] == ("i8", (1,))
    assert shapes["pts"] == ("f8", (1,))
    assert shapes["size"] == ("i4", (2,))
    assert shapes["frame_rate"] == ("i8", (2,))


def test_nobody_keeps_the_keypoint_count(tmp_path: Path) -> None:
    Poses.empty((10, 20), "coco_wholebody_133").save(tmp_path / "none.pose.npz")
    read = PoseSequence.load(tmp_path / "none.pose.npz")
    assert read.keypoints.shape == (1, 0, 133, 2)
    assert len(read.frame(0)) == 0


def test_the_box_of_each_person_follows_the_rows_and_stays_in_memory(tmp_path: Path) -> None:
    poses = make_poses(3)
    assert poses.box_index.tolist() == [0, 1, 2]
    poses = replace(poses, box_index=[5, 2, 0])
    assert poses.select([2, 0]).box_index.tolist() == [0, 5]
    assert poses.with_meta(a=1).box_index.tolist() == [5, 2, 0]
    assert poses.with_ids_of_boxes([10, 11, 12, 13, 14, 15]).track_ids.tolist() == [15, 12, 10]
    poses.save(tmp_path / "one.pose.npz")
    with np.load(tmp_path / "one.pose.npz") as file:
        assert "box_index" not in file
    with pytest.raises(InputError, match="box_index"):
        replace(poses, box_index=[0])


def test_values_are_frozen() -> None:
    poses = make_poses(1)
    with pytest.raises(ValueError, match="read-only"):
        poses.keypoints[0, 0, 0] = 1
    source = np.zeros((1, 17, 2), np.float32)
    kept = Poses(source, np.zeros((1, 17)), np.zeros((1, 5)), (4, 4), "coco_17")
    source[:] = 9
    assert not kept.keypoints.any()


def test_select_keeps_what_belongs_together() -> None:
    poses = make_poses(3)
    chosen = poses.select([2, 0])
    np.testing.assert_array_equal(chosen.keypoints, poses.keypoints[[2, 0]])
    np.testing.assert_array_equal(chosen.boxes, poses.boxes[[2, 0]])
    assert chosen.track_ids.tolist() == [2, 0]
    assert poses.select(np.array([False, True, False])).track_ids.tolist() == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": np.zeros((1, 16, 2)), "scores": np.zeros((1, 16))}, "has 17 points, the array has 16"),
        ({"keypoints": np.zeros((1, 17, 3))}, r"expected shape \(any, any, 2\), got shape \(1, 17, 3\)"),
        ({"scores": np.zeros((2, 17))}, r"scores: expected shape \(1, 17\)"),
        ({"boxes": np.zeros((1, 4))}, r"boxes: expected shape \(1, 5\)"),
        ({"size": (0, 5)}, "at least 1 pixel"),
        ({"track_ids": np.zeros(2)}, "track_ids"),
    ],
)
def test_wrong_shapes_are_refused(change: dict, message: str) -> None:
    fine = {
        "keypoints": np.zeros((1, 17, 2)),
        "scores": np.zeros((1, 17)),
        "boxes": np.zeros((1, 5)),
        "size": (4, 4),
        "keypoint_set": "coco_17",
    }
    with pytest.raises(InputError, match=message):
        Poses(**{**fine, **change})


def test_frames_of_a_sequence_must_agree() -> None:
    with pytest.raises(InputError, match="frame 1"):
        PoseSequence.from_poses([make_poses(1), make_poses(1, size=(10, 10))])
    with pytest.raises(InputError, match="at least one frame"):
        PoseSequence.from_poses([])


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut short"])
def test_damaged_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pose.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="bad.pose.npz"):
        PoseSequence.load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", keypoints=np.zeros(3))
    with pytest.raises(InputError, match="lacks scores"):
        PoseSequence.load(tmp_path / "other.npz")
    np.savez(tmp_path / "objects.npz", keypoints=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"objects\.npz"):
        PoseSequence.load(tmp_path / "objects.npz")
    with pytest.raises(InputError, match="no such file"):
        PoseSequence.load(tmp_path / "missing.pose.npz")


def test_a_truncated_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.pose.npz"
    make_poses(4).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged"):
        PoseSequence.load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.pose.npz"
    make_poses(1).save(path)
    before = path.read_bytes()

    def full_disk(handle, **arrays):
        handle.write(b"some bytes")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(InputError, match="No space left on device"):
        make_poses(2).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["kept.pose.npz"]


def test_a_custom_set_travels_with_its_poses(tmp_path: Path) -> None:
    poses = custom_poses(PEN, [(1, 2), (3, 4), (5, 6), (7, 8)])
    poses.save(tmp_path / "pen.pose.npz")
    read = PoseSequence.load(tmp_path / "pen.pose.npz")
    assert read.skeleton == read.frame(0).skeleton == poses.skeleton == PEN
    assert Poses.empty((8, 8), "pen_4", poses.meta).skeleton == PEN
    damaged = replace(poses, meta={SKELETON: {"names": ["a"]}})
    with pytest.raises(InputError, match="has 1 point, the poses have 4"):
        damaged.save(tmp_path / "damaged.pose.npz")
