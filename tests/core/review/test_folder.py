"""Folders of pictures under review: what belongs together, distrust, results picture by picture."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_clips import two_people

from sdpose_core.errors import InputError
from sdpose_core.images import write_png
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.review.files import open_review
from sdpose_core.review.folder import open_folder_review, stacked
from sdpose_core.review.session import ROUGH
from sdpose_core.sequences.distrust import with_distrust


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
        write_png(folder / f"{name}.png", np.full((120, 100, 3), number, np.uint8))
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
    replace(small, meta={"source": "b.png", "weights": {}}).save(folder / "f.pose.npz")
    with_distrust(small).save(folder / "b.pose.npz")
    opened = open_folder_review(folder).canvas.opened
    for t, name in enumerate("abcdef"):
        alone = with_distrust(PoseSequence.load(folder / f"{name}.pose.npz"))
        people = alone.track_ids.shape[1]
        np.testing.assert_array_equal(opened.distrust[t, :people], alone.distrust[0], name)
        np.testing.assert_array_equal(opened.distrust_reasons[t, :people], alone.distrust_reasons[0], name)
        assert np.isnan(opened.distrust[t, people:]).all()


def reviewed(folder: Path, name: str) -> dict[str, Any]:
    """The review that a result states."""
    return PoseSequence.load(folder / f"{name}_reviewed.pose.npz").meta["review"]


def edited_folder(tmp_path: Path) -> Path:
    """Pictures a, b and c; in b a point of person 0 was placed, person 1 found right, and in c somebody removed."""
    folder = folder_of(tmp_path, {"a": 1, "b": 2, "c": 2})
    session = open_folder_review(folder)
    session.edit({"kind": "move", "t": 1, "id": 0, "points": [3], "to": [[5, 5]]})
    session.edit({"kind": "check", "from": 1, "to": 2, "id": 1, "checked": True})
    session.edit({"kind": "remove", "from": 2, "to": 2, "id": 0})
    session.save()
    session.close()
    return folder


def test_the_result_of_each_picture_states_its_own_review_as_frame_0(tmp_path):
    folder = edited_folder(tmp_path)
    move = {"kind": "move", "t": 0, "id": 0, "points": [3], "to": [[5, 5]]}
    check = {"kind": "check", "from": 0, "to": 0, "id": 1, "checked": True}
    review = reviewed(folder, "b")
    assert review["of"]["sequence"] == "b.pose.npz"
    assert review["edits"] == [move, check]
    assert (review["placed"], review["checked"]) == ([{"frame": 0, "id": 0, "points": [3]}], [[0, 1]])
    review = reviewed(folder, "c")
    assert review["edits"] == [check, {"kind": "remove", "from": 0, "to": 0, "id": 0}]
    assert (review["placed"], review["checked"]) == ([], [[0, 1]])
    assert not (folder / "a_reviewed.pose.npz").exists()


def test_a_copy_is_stated_where_it_was_copied_to(tmp_path):
    folder = folder_of(tmp_path, {"a": 1, "b": 1})
    session = open_folder_review(folder)
    session.edit({"kind": "copy", "t": 0, "from": 0, "to": 1, "id": 0, "points": [2]})
    session.save()
    assert reviewed(folder, "b")["edits"] == [{"kind": "copy", "from": 0, "to": 0, "id": 0, "points": [2]}]


def test_the_result_of_a_picture_is_reviewed_again_from_where_it_was_left(tmp_path):
    folder = edited_folder(tmp_path)
    session = open_review(folder / "b_reviewed.pose.npz")
    assert session.canvas.placed() == [{"frame": 0, "id": 0, "points": [3]}]
    assert session.result().meta["review"]["checked"] == [[0, 1]]
    session.close()


def test_a_folder_of_results_is_reviewed_again_from_where_it_was_left(tmp_path):
    (again := tmp_path / "again").mkdir()
    for path in edited_folder(tmp_path).glob("*_reviewed.pose.npz"):
        path.rename(again / path.name.replace("_reviewed", ""))
    session = open_folder_review(again)
    assert session.canvas.placed() == [{"frame": 0, "id": 0, "points": [3]}]
    assert session.result().meta["review"]["checked"] == [[0, 1], [1, 1]]
    session.edit({"kind": "move", "t": 0, "id": 1, "points": [4], "to": [[6, 6]]})
    session.save()
    session.close()
    review = reviewed(again, "b")
    assert [entry["points"] for entry in review["placed"]] == [[3], [4]] and review["checked"] == [[0, 1]]
    assert [edit["points"] for edit in review["edits"] if edit["kind"] == "move"] == [[3], [4]]


def test_a_result_with_distrust_states_its_calibration(tmp_path):
    folder = folder_of(tmp_path, {"a": 1, "b": 1})
    b = PoseSequence.load(folder / "b.pose.npz")
    replace(b, meta={**b.meta, "preview": True}).save(folder / "b.pose.npz")
    session = open_folder_review(folder)
    for t in (0, 1):
        session.edit({"kind": "move", "t": t, "id": 0, "points": [3], "to": [[5, 5]]})
    session.save()
    for name, calibration in (("a", "any picture"), ("b", "preview picture")):
        result = PoseSequence.load(folder / f"{name}_reviewed.pose.npz")
        assert result.distrust is not None and result.meta["distrust"]["calibration"] == calibration


def test_distrust_that_is_not_calibrated_for_a_picture_is_noted(tmp_path):
    folder = folder_of(tmp_path, {"a": 1, "b": 1})
    session = open_folder_review(folder)
    assert ROUGH not in session.notes
    session.close()
    b = PoseSequence.load(folder / "b.pose.npz")
    replace(b, meta={**b.meta, "weights": {}}).save(folder / "b.pose.npz")
    assert open_folder_review(folder).notes.count(ROUGH) == 1


def test_corrections_stay_with_pictures_that_get_distrust_and_leave_other_pictures(tmp_path):
    folder = folder_of(tmp_path, {"a": 1, "b": 0})
    session = open_folder_review(folder)
    session.edit({"kind": "move", "t": 0, "id": 0, "points": [3], "to": [[5, 5]]})
    session.close()
    with_distrust(PoseSequence.load(folder / "a.pose.npz")).save(folder / "a.pose.npz")
    session = open_folder_review(folder)
    assert len(session.done) == 1
    session.close()
    empty = PoseSequence.load(folder / "b.pose.npz")
    replace(empty, meta={**empty.meta, "source": "other.png"}).save(folder / "b.pose.npz")
    assert not open_folder_review(folder).done


def test_what_all_pictures_say_of_their_model_holds_for_the_folder():
    made = [replace(two_people(1), frame_rate=None, meta={"source": f"{n}.png", "preview": True}) for n in "ab"]
    assert stacked(made).meta["preview"] is True
    assert "preview" not in stacked([made[0], replace(made[1], meta={"source": "b.png"})]).meta
