"""What a review is opened with: videos and pictures that fit or do not, folders of mixed results, names, results."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from review_clips import two_people

from sdpose_core.errors import InputError
from sdpose_core.images import write_png
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.review.files import open_review
from sdpose_core.review.folder import open_folder_review
from sdpose_core.sequences.distrust import with_distrust
from sdpose_core.video.writer import VideoWriter

MOVE = {"kind": "move", "t": 0, "id": 4, "points": [9], "to": [[60.5, 70.25]]}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    two_people().save(tmp_path / "clip.pose.npz")
    return tmp_path / "clip.pose.npz"


def picture(path: Path, gray: int, size: tuple[int, int] = (320, 240)) -> Path:
    write_png(path, np.full((*size[::-1], 3), gray, np.uint8))
    return path


def video(path: Path, frames: int, size: tuple[int, int] = (320, 240)) -> Path:
    with VideoWriter(path, size, Fraction(25), codec="h264") as writer:
        for number in range(frames):
            writer.write(np.full((*size[::-1], 3), number * 4, np.uint8))
    return path


# --- results --------------------------------------------------------------------------------------------------------


def test_a_result_is_reviewed_and_saved_under_the_next_name(clip):
    session = open_review(clip)
    session.edit(MOVE)
    first, _ = session.save()
    session.close()
    content = first.read_bytes()
    again = open_review(first)
    again.edit({**MOVE, "t": 1})
    second, _ = again.save()
    assert (first.name, second.name) == ("clip_reviewed.pose.npz", "clip_reviewed-2.pose.npz")
    assert again.save()[0] == second and first.read_bytes() == content
    assert [edit["t"] for edit in PoseSequence.load(second).meta["review"]["edits"]] == [0, 1]


def test_results_of_poses_that_were_estimated_again_stay(clip):
    session = open_review(clip)
    session.edit(MOVE)
    path, _ = session.save()
    session.close()
    content = path.read_bytes()
    replace(two_people(), scores=two_people().scores / 2).save(clip)
    other = open_review(clip)
    other.edit({**MOVE, "t": 2})
    with pytest.raises(InputError, match="is not a review of these poses: choose another name"):
        other.save("clip_reviewed")
    assert other.save()[0].name == "clip_reviewed-2.pose.npz"
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"PK\3\4 damaged", b"a note"])
def test_a_file_that_cannot_be_read_stays(clip, content):
    clip.with_name("clip_reviewed.pose.npz").write_bytes(content)
    session = open_review(clip)
    with pytest.raises(InputError, match="choose another name"):
        session.save("clip_reviewed")
    assert session.save()[0].name == "clip_reviewed-2.pose.npz"
    assert clip.with_name("clip_reviewed.pose.npz").read_bytes() == content


def test_a_clip_that_was_renamed_with_its_journal_keeps_its_edits_and_saves_twice(clip):
    session = open_review(clip)
    session.edit(MOVE)
    session.close()
    renamed = clip.rename(clip.with_name("new name.pose.npz"))
    session.journal.path.rename(clip.with_name("new name.review.jsonl"))
    again = open_review(renamed)
    assert len(again.done) == 1
    assert again.save() and again.save()[0].name == "new name_reviewed.pose.npz"
    assert again.result().meta["review"]["of"]["sequence"] == renamed.name


@pytest.mark.skipif(sys.platform != "linux", reason="names of arbitrary bytes are Linux's")
@pytest.mark.parametrize(
    "name", ["a 'b' \"c\" #1 %41 ü 名", "x" * 240, "-rf", "a\\b", "c:d", ".hidden", "a\nb", os.fsdecode(b"caf\xe9")]
)
def test_odd_names_are_reviewed_and_saved(tmp_path, name):
    path = tmp_path / f"{name}.pose.npz"
    two_people().save(path)
    session = open_review(path)
    session.edit(MOVE)
    expected = session.result()
    saved, _ = session.save()
    session.close()
    again = open_review(path)
    np.testing.assert_array_equal(again.result().keypoints, expected.keypoints)
    np.testing.assert_array_equal(PoseSequence.load(saved).keypoints, expected.keypoints)
    assert saved.parent == tmp_path and again.save()[0] == saved


# --- videos and pictures of a clip -----------------------------------------------------------------------------------


def test_a_video_found_beside_the_poses_that_does_not_fit_is_a_note(clip):
    video(clip.with_name("clip.mp4"), 3, (64, 48))
    session = open_review(clip)
    assert session.pictures is None and any("64 x 48" in note for note in session.notes)
    session.close()
    with pytest.raises(InputError, match="64 x 48"):
        open_review(clip, video=clip.with_name("clip.mp4"))
    clip.with_name("clip.mp4").write_bytes(b"no video")
    session = open_review(clip)
    assert any("cannot be read as a video" in note for note in session.notes)


def test_another_video_of_the_same_size_is_noted(clip):
    path = video(clip.with_name("clip.mp4"), 40)
    for size, notes in ((path.stat().st_size, 0), (path.stat().st_size + 1, 1)):
        origin = {"source": {"bytes": size, "sha256": ""}, "settings": {}}
        replace(two_people(), meta={"source": "clip.mp4", "origin": origin}).save(clip)
        session = open_review(clip)
        assert session.pictures is not None
        assert len([note for note in session.notes if "is not the file" in note]) == notes
        session.close()


@pytest.mark.parametrize("source", ["..", "../up.mp4", "x" * 300, "a\0b", "\ud800", "/", ".", 5, ["a"]])
@pytest.mark.parametrize("frames", [1, 40])
def test_a_source_that_is_no_name_is_not_looked_for(tmp_path, source, frames):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    for place in (tmp_path, tmp_path / "a"):
        picture(place / "picture.png", 5)
        video(place / "up.mp4", 3)
    rate = Fraction(25) if frames > 1 else None
    replace(two_people(frames), frame_rate=rate, meta={"source": source}).save(folder / "clip.pose.npz")
    session = open_review(folder / "clip.pose.npz")
    assert session.pictures is None and len(session.notes) == 1
    session.close()
    if frames == 1:
        with pytest.raises(InputError, match="has no"):
            open_review(folder / "clip.pose.npz", pictures=folder)


def test_frames_beyond_the_end_of_a_video_or_a_folder_are_errors(clip, tmp_path):
    (tmp_path / "frames").mkdir()
    for number in range(3):
        picture(tmp_path / "frames" / f"{number}.png", number)
    for source in (video(tmp_path / "short.mp4", 10), tmp_path / "frames"):
        session = open_review(clip, video=source)
        assert session.pictures.jpeg(2)
        for t in (30, 39, 10):
            with pytest.raises(InputError, match=f"has no frame {t}"):
                session.pictures.jpeg(t)
        assert session.pictures.jpeg(1)
        session.close()


def test_pictures_of_a_folder_are_found_by_name_when_some_are_gone(clip, tmp_path):
    (tmp_path / "frames").mkdir()
    names = [f"{number:02}.png" for number in range(40)]
    files = [picture(tmp_path / "frames" / name, number) for number, name in enumerate(names)]
    replace(two_people(), meta={"source": "frames", "frame_names": names}).save(clip)
    files[5].unlink()
    session = open_review(clip)
    assert [session.pictures.picture(t)[0, 0, 0] for t in (4, 6, 39)] == [4, 6, 39]
    with pytest.raises(InputError, match=r"frames has no 05\.png"):
        session.pictures.picture(5)
    session.close()
    for file in files:
        file.unlink(missing_ok=True)
    picture(tmp_path / "frames" / "other.png", 1)
    with pytest.raises(InputError, match="none of the others"):
        open_review(clip, pictures=tmp_path / "frames")


def test_a_picture_of_another_size_is_not_shown_under_the_poses(tmp_path):
    two_people(1).save(tmp_path / "a.pose.npz")
    poses = replace(two_people(1), frame_rate=None, meta={"source": "a.png"})
    poses.save(tmp_path / "a.pose.npz")
    picture(tmp_path / "a.png", 9, (32, 24))
    session = open_review(tmp_path / "a.pose.npz")
    with pytest.raises(InputError, match="32 x 24"):
        session.pictures.picture(0)


# --- folders of results ----------------------------------------------------------------------------------------------


def poses(people: int, keypoint_set: str = "coco_17", points: int = 17, source: str = "") -> Poses:
    rng = np.random.default_rng(people)
    boxes = np.tile([10, 10, 90, 110, 0.9], (people, 1)).reshape(people, 5)
    return Poses(
        rng.uniform(10, 90, (people, points, 2)), np.full((people, points), 0.8), boxes, (100, 120), keypoint_set,
        meta={"source": source},
    )  # fmt: skip


def folder_of(tmp_path: Path, counts: dict[str, int], **options: object) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    for number, (name, people) in enumerate(counts.items()):
        poses(people, source=f"{name}.png", **options).save(folder / f"{name}.pose.npz")
        picture(folder / f"{name}.png", number, (100, 120))
    return folder


def placed(folder: Path, name: str) -> list[int]:
    """Numbers of the points that are marked in a result; [] without one."""
    path = folder / f"{name}_reviewed.pose.npz"
    return np.flatnonzero(PoseSequence.load(path).edited.any(axis=(0, 1))).tolist() if path.exists() else []


def test_a_folder_of_pictures_clips_and_results_shows_the_pictures(tmp_path):
    folder = folder_of(tmp_path, {"a": 2, "a_reviewed": 1, "b_reviewed": 1, "c": 0})
    two_people().save(folder / "clip.pose.npz")
    (folder / "c.png").unlink()
    session = open_folder_review(folder)
    assert session.canvas.opened.meta["frame_names"] == ["a.png", "b_reviewed.png", "c.png"]
    assert any("1 clip left out (clip.pose.npz)" in note for note in session.notes)
    assert any("1 picture of them not shown: c.png" in note for note in session.notes)
    assert session.pictures.picture(1)[0, 0, 0] == 2
    with pytest.raises(InputError, match="not there"):
        session.pictures.picture(2)
    session.edit({"kind": "move", "t": 0, "id": 0, "points": [1], "to": [[5, 5]]})
    content = (folder / "a_reviewed.pose.npz").read_bytes()
    with pytest.raises(InputError, match=r"a_reviewed\.pose\.npz exists and is not a review"):
        session.save()
    assert (folder / "a_reviewed.pose.npz").read_bytes() == content


def test_what_was_undone_after_saving_is_undone_in_the_files_too(tmp_path):
    folder = folder_of(tmp_path, {"a": 1, "b": 1})
    session = open_folder_review(folder)
    for t in (0, 1):
        session.edit({"kind": "move", "t": t, "id": 0, "points": [3 + t], "to": [[5, 5]]})
    session.save()
    assert (placed(folder, "a"), placed(folder, "b")) == ([3], [4])
    session.undo()
    session.save()
    assert (placed(folder, "a"), placed(folder, "b")) == ([3], [])
    assert PoseSequence.load(folder / "b_reviewed.pose.npz").meta["review"]["edits"] == []
    np.testing.assert_array_equal(
        PoseSequence.load(folder / "b_reviewed.pose.npz").keypoints, PoseSequence.load(folder / "b.pose.npz").keypoints
    )


def test_edits_that_change_several_pictures_are_saved_in_all_of_them(tmp_path):
    folder = folder_of(tmp_path, {"a": 1, "b": 2, "c": 2, "d": 0})
    session = open_folder_review(folder)
    session.edit({"kind": "split", "t": 1, "id": 0})
    session.save()
    ids = {
        name: PoseSequence.load(path).track_ids.tolist()
        for name in "abcd"
        if (path := folder / f"{name}_reviewed.pose.npz").exists()
    }
    assert ids == {"b": [[2, 1]], "c": [[2, 1]]}


def test_pictures_without_people_fit_any_keypoint_set(tmp_path):
    folder = folder_of(tmp_path, {"a": 1}, keypoint_set="mine", points=5)
    for name in ("0", "z"):
        Poses.empty((100, 120), "mine").save(folder / f"{name}.pose.npz")
        Poses.empty((100, 120), "coco_17").save(folder / f"{name}0.pose.npz")
    session = open_folder_review(folder)
    assert session.canvas.keypoints.shape == (5, 1, 5, 2)
    session.edit({"kind": "move", "t": 2, "id": 0, "points": [1], "to": [[5, 5]]})
    session.save()
    assert [file.name for file in folder.glob("*_reviewed.pose.npz")] == ["a_reviewed.pose.npz"]


def test_poses_of_different_sets_are_refused(tmp_path):
    folder = folder_of(tmp_path, {"a": 1}, keypoint_set="mine", points=5)
    poses(1, "mine", 6).save(folder / "b.pose.npz")
    with pytest.raises(InputError, match=r"^the pictures have poses of mine \(5 points\) and mine \(6 points\)"):
        open_folder_review(folder)
    assert not [name for name in os.listdir(folder) if "review" in name]


def test_distrust_of_many_pictures_is_that_of_each_by_itself(tmp_path):
    folder = folder_of(tmp_path, {"a": 1, "b": 3, "c": 0, "d": 2})
    small = PoseSequence.load(folder / "b.pose.npz")
    replace(small, size=(60, 60), meta={"source": "b.png", "preview": True}).save(folder / "e.pose.npz")
    with_distrust(small).save(folder / "b.pose.npz")
    opened = open_folder_review(folder).canvas.opened
    for t, name in enumerate("abcde"):
        alone = with_distrust(PoseSequence.load(folder / f"{name}.pose.npz"))
        people = alone.track_ids.shape[1]
        np.testing.assert_array_equal(opened.distrust[t, :people], alone.distrust[0], name)
        np.testing.assert_array_equal(opened.distrust_reasons[t, :people], alone.distrust_reasons[0], name)
        assert np.isnan(opened.distrust[t, people:]).all()
