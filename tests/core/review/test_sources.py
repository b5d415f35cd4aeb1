"""What a review is opened with: videos and pictures that fit or do not, names, results."""

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
from sdpose_core.poses import PoseSequence
from sdpose_core.review.files import open_review
from sdpose_core.review.folder import open_folder_review
from sdpose_core.review.session import ROUGH
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


def test_corrections_stay_with_poses_whose_file_is_written_again_with_distrust(clip):
    session = open_review(clip)
    session.edit(MOVE)
    saved, _ = session.save()
    session.close()
    content = clip.read_bytes()
    with_distrust(PoseSequence.load(clip)).save(clip)  # as sdpose video --check does with poses that are kept
    assert clip.read_bytes() != content
    again = open_review(clip)
    assert again.done == [MOVE] and not [note for note in again.notes if "changed" in note]
    assert again.save()[0] == saved
    again.close()


@pytest.mark.parametrize("known", [True, False], ids=["stated", "computed"])
def test_distrust_that_is_not_calibrated_for_the_model_is_noted(clip, known):
    for meta, count in (({"weights": {}}, 1), ({"preview": True}, 0), ({}, 0)):
        poses = replace(two_people(), meta=meta)
        (with_distrust(poses) if known else poses).save(clip)
        session = open_review(clip)
        assert session.notes.count(ROUGH) == count
        session.close()


@pytest.mark.parametrize("stated", [None, 5, ["a"], {"not_calibrated": 5, "edits": 5}])
def test_a_distrust_entry_that_somebody_else_wrote_is_no_error(clip, stated):
    poses = with_distrust(two_people(1))
    replace(poses, frame_rate=None, meta={"distrust": stated, "review": stated}).save(clip)
    for opened in (open_review, lambda path: open_folder_review(path.parent)):
        session = opened(clip)
        session.result()
        session.close()
