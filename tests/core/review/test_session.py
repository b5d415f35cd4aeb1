"""Journal and session: nothing is lost, whatever ends the process; results are what the page shows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from custom_sets import PEN, custom_poses
from review_clips import of_person, two_people

from sdpose_core.cli.main import main
from sdpose_core.errors import InputError
from sdpose_core.images import read_image, write_png
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.review import applying
from sdpose_core.review.files import open_review
from sdpose_core.review.folder import open_folder_review
from sdpose_core.review.session import ReviewSession
from sdpose_core.review.views import clip_view, frames_view, person_distrust, timeline_view, worst_view
from sdpose_core.sequences.distrust import with_distrust

EDITS = [
    {"kind": "move", "t": 10, "id": 4, "points": [9], "to": [[60.5, 70.25]], "spread": 4},
    {"kind": "exchange_ids", "from": 20, "to": 39, "ids": [4, 9]},
    {"kind": "check", "from": 3, "to": 3, "id": 9, "checked": True},
    {"kind": "delete", "from": 3, "to": 6, "id": 9, "points": [0, 5]},
]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    two_people().save(tmp_path / "clip.pose.npz")
    return tmp_path / "clip.pose.npz"


def same_poses(a: PoseSequence, b: PoseSequence) -> None:
    for name in ("keypoints", "scores", "boxes", "track_ids", "edited"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)


def test_edits_survive_closing_without_saving(clip):
    first = open_review(clip)
    for op in EDITS:
        first.edit(op)
    first.undo()
    expected = first.result()
    first.close()
    again = open_review(clip)
    same_poses(again.result(), expected)
    assert again.state()["undo"] == 3 and again.state()["redo"] == 1 and not again.state()["saved"]
    again.redo()
    assert np.isnan(of_person(again.result(), 9)[3:7, 0]).all()
    again.close()


def test_everything_can_be_undone_and_done_again_step_by_step(clip, monkeypatch):
    for limit in (1 << 30, 1):  # with and without the memory for a quick undo
        monkeypatch.setattr(applying, "UNDO_BYTES", limit)
        session = open_review(clip)
        states = [session.result()]
        for op in EDITS:
            session.edit(op)
            states.append(session.result())
        for expected in states[-2::-1]:
            session.undo()
            same_poses(session.result(), expected)
        with pytest.raises(InputError, match="nothing to undo"):
            session.undo()
        for expected in states[1:]:
            session.redo()
            same_poses(session.result(), expected)
        with pytest.raises(InputError, match="nothing to redo"):
            session.redo()
        session.close()
        session.journal.path.unlink()


def test_a_new_edit_forgets_what_was_undone(clip):
    session = open_review(clip)
    session.edit(EDITS[0])
    session.undo()
    session.edit(EDITS[1])
    assert session.state()["redo"] == 0
    session.close()


def test_a_journal_cut_off_in_the_middle_of_a_line_keeps_the_rest(clip):
    session = open_review(clip)
    session.edit(EDITS[0])
    expected = session.result()
    session.edit(EDITS[1])
    session.close()
    content = session.journal.path.read_bytes()
    session.journal.path.write_bytes(content[:-20])
    again = open_review(clip)
    same_poses(again.result(), expected)
    again.edit(EDITS[1])
    again.close()
    assert session.journal.path.read_bytes() == content


def test_a_full_disk_refuses_the_edit_and_leaves_the_journal_whole(clip, monkeypatch):
    session = open_review(clip)
    session.edit(EDITS[0])
    expected, content = session.result(), session.journal.path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="cannot write .*No space left"):
        session.edit(EDITS[1])
    monkeypatch.undo()
    same_poses(session.result(), expected)
    assert session.journal.path.read_bytes() == content
    session.close()


def test_corrections_of_other_poses_are_set_aside_and_kept(clip):
    session = open_review(clip)
    session.edit(EDITS[0])
    session.close()
    kept = session.journal.path.read_bytes()
    replace(two_people(), scores=two_people().scores / 2).save(clip)
    again = open_review(clip)
    assert again.state()["undo"] == 0
    assert any("clip.review-1.jsonl" in note and "have changed" in note for note in again.notes)
    again.close()
    assert clip.with_name("clip.review-1.jsonl").read_bytes() == kept


def test_one_review_at_a_time(clip):
    session = open_review(clip)
    with pytest.raises(InputError, match="another process"):
        open_review(clip)
    session.close()
    open_review(clip).close()


def test_a_damaged_journal_is_named_and_stays(clip):
    journal = clip.with_name("clip.review.jsonl")
    journal.write_text('{"journal":1}\nnot json\n')
    with pytest.raises(InputError, match="line 2 is damaged"):
        open_review(clip)
    assert journal.read_text() == '{"journal":1}\nnot json\n'


def test_saving_writes_the_poses_and_lists_the_edits(clip):
    session = open_review(clip)
    for op in EDITS:
        session.edit(op)
    path, state = session.save()
    assert path.name == "clip_reviewed.pose.npz" and state["saved"]
    read = PoseSequence.load(path)
    same_poses(read, session.result())
    review = read.meta["review"]
    assert review["edits"] == EDITS and review["placed"] == [{"frame": 10, "id": 4, "points": [9]}]
    assert review["of"]["sequence"] == "clip.pose.npz" and review["checked"] == [[3, 9]]
    assert read.meta["model"] == "a test"
    np.testing.assert_array_equal(of_person(read, 4)[10, 9], np.float32([60.5, 70.25]))
    np.testing.assert_array_equal(read.scores, two_people().scores)  # raw
    session.edit({**EDITS[0], "t": 11})
    assert not session.state()["saved"]
    session.save()  # its own result may be replaced
    session.close()
    again = open_review(path)  # and be reviewed again
    assert again.canvas.placed() == [{"frame": t, "id": 4, "points": [9]} for t in (10, 11)]
    again.close()


def test_saving_replaces_nothing_of_others(clip):
    session = open_review(clip)
    session.edit(EDITS[0])
    with pytest.raises(InputError, match="stays as it is"):
        session.save("clip")
    two_people(5).save(clip.with_name("other.pose.npz"))
    with pytest.raises(InputError, match="is not a review of these poses"):
        session.save("other")
    for name in ("../out", "/tmp/out", "a/../../b", "..", "C:\\out", "a\nb"):
        with pytest.raises(InputError):
            session.save(name)
    assert sorted(file.name for file in clip.parent.glob("*.pose.npz")) == ["clip.pose.npz", "other.pose.npz"]
    session.close()


def test_estimating_again_adds_a_person_or_replaces_points(clip):
    session = open_review(clip)
    asked = []

    def estimate(image: np.ndarray, boxes: np.ndarray) -> Poses:
        asked.append(boxes.tolist())
        points = np.full((1, 17, 2), 33.0)
        return Poses(points, np.full((1, 17), 0.7), boxes, (320, 240), "coco_17")

    class Gray:
        def picture(self, t: int) -> np.ndarray:
            return np.zeros((240, 320, 3), np.uint8)

        def close(self) -> None:
            pass

    session.estimate, session.pictures = estimate, Gray()
    session.estimate_again(5, None, [10, 20, 60, 90], None)
    session.estimate_again(6, 4, [10, 20, 60, 90], [9, 10])
    expected = session.result()
    assert asked == [[[10, 20, 60, 90, 1]]] * 2
    assert (of_person(expected, 10)[5] == 33).all() and (of_person(expected, 4)[6, [9, 10]] == 33).all()
    assert (of_person(expected, 4)[6, :9] != 33).all()
    with pytest.raises(InputError, match="at least 2 x 2"):
        session.estimate_again(5, None, [10, 20, 10, 90], None)
    session.pictures = None
    session.close()
    again = open_review(clip)  # without the model
    same_poses(again.result(), expected)
    again.close()


def test_the_page_has_the_names_and_links_of_a_custom_set(tmp_path):
    custom_poses(PEN, [(1, 2), (3, 4), (5, 6), (7, 8)]).save(tmp_path / "pen.pose.npz")
    session = open_review(tmp_path / "pen.pose.npz")
    points = clip_view(session)["points"]
    assert points["names"] == list(PEN.names) and points["flip_pairs"] == [[0, 1]] and points["parts"] == {}
    assert points["links"] == [[2, 3], [0, 2], [1, 2]]
    session.close()


def test_views_agree_with_the_poses(clip):
    session = open_review(clip)
    for op in EDITS:
        session.edit(op)
    result = session.result()
    for frame in frames_view(session.canvas, 0, 40):
        poses = result.frame(frame["t"])
        assert [person["id"] for person in frame["people"]] == sorted(poses.track_ids.tolist())
        for person in frame["people"]:
            points = poses.keypoints[poses.track_ids.tolist().index(person["id"])]
            shown = [[np.nan] * 2 if point is None else point[:2] for point in person["points"]]
            np.testing.assert_allclose(shown, points, atol=1e-3)
    rows = timeline_view(session.canvas, 40)
    assert [row["id"] for row in rows] == [4, 9]
    assert [t for t, mark in enumerate(rows[0]["edited"]) if mark == 2] == [10]
    assert [t for t, mark in enumerate(rows[1]["checked"]) if mark] == [3]
    for bins in (1, 7, 100):
        assert all(len(row["distrust"]) == min(bins, 40) for row in timeline_view(session.canvas, bins))
    for start, end in ((0, 41), (-1, 3), (5, 5)):
        with pytest.raises(InputError, match="expected at most"):
            frames_view(session.canvas, start, end)
    session.close()


def test_what_is_checked_or_corrected_is_not_suggested_again(clip):
    given = two_people()
    distrust = np.full(given.scores.shape, 0.05, np.float32)
    slot = given.track_ids[30].tolist().index(9)
    distrust[30, slot, [7, 9]] = 0.7, 0.9
    replace(given, distrust=distrust, distrust_reasons=np.zeros(given.scores.shape)).save(clip)
    session = open_review(clip)
    [item] = worst_view(session.canvas, 10)["items"]
    assert (item["t"], item["id"], item["points"]) == (30, 9, [9, 7])
    session.edit({"kind": "check", "from": 30, "to": 30, "id": 9, "checked": True})
    assert worst_view(session.canvas, 10)["total"] == 0
    session.undo()
    session.edit({"kind": "move", "t": 30, "id": 9, "points": [7, 9], "to": [[200, 100], [210, 110]], "spread": 0})
    assert worst_view(session.canvas, 10)["total"] == 0
    session.close()


def test_distrust_is_computed_while_the_review_is_open(clip):
    session = open_review(clip)
    for op in EDITS:
        session.edit(op)
    while session.computing:
        time.sleep(0.02)
    expected = with_distrust(two_people())
    mine, edited = of_person(session.result(), 4, "distrust"), of_person(session.result(), 4, "edited")
    np.testing.assert_array_equal(mine[:6], of_person(expected, 4, "distrust")[:6])
    assert (mine[10, 9] == 0) and edited[10, 9] and np.isfinite(mine[:20]).all()
    session.edit({"kind": "restore", "from": 10, "to": 10, "id": 4, "points": [9]})
    assert of_person(session.result(), 4, "distrust")[10, 9] == of_person(expected, 4, "distrust")[10, 9]
    session.close()


def test_closing_stops_what_is_computed(clip):
    two_people(4000, 133, "coco_wholebody_133").save(clip)
    session = open_review(clip)
    assert session.computing
    session.close()
    assert not session.computing and session.canvas.opened.distrust is None
    assert not any(thread.name == session._learning.name for thread in threading.enumerate())


def test_distrust_of_people_is_of_the_worst_part():
    distrust = np.full((2, 133), 0.1)
    distrust[0, 9] = 0.8
    distrust[1, 95] = 0.9  # one finger does not make a hand
    found = person_distrust(distrust, "coco_wholebody_133")
    assert found[0] == pytest.approx(0.8) and found[1] == pytest.approx(0.1)
    for value, expected in ((0.5, 0.1), (0.7, 0.1), (0.8, 0.8), (1.0, 1.0)):
        distrust[1, 91:112] = value
        assert person_distrust(distrust, "coco_wholebody_133")[1] == pytest.approx(expected)
    assert np.isnan(person_distrust(np.full((1, 17), np.nan), "coco_17"))[0]


def test_pictures_of_a_folder_are_reviewed_together(tmp_path):
    for name, size in (("a", (100, 80)), ("b", (50, 200))):
        part = two_people(1)
        replace(part, size=size, frame_rate=None, meta={"source": f"{name}.png"}).save(tmp_path / f"{name}.pose.npz")
    session = open_folder_review(tmp_path)
    assert len(session.canvas) == 2 and session.sizes == [(100, 80), (50, 200)]
    session.edit({"kind": "move", "t": 1, "id": 4, "points": [0], "to": [[7, 8]], "spread": 0})
    session.save()
    session.close()
    read = PoseSequence.load(tmp_path / "b_reviewed.pose.npz")
    assert read.size == (50, 200) and read.meta["source"] == "b.png"
    np.testing.assert_array_equal(of_person(read, 4)[0, 0], [7, 8])
    assert not (tmp_path / "a_reviewed.pose.npz").exists()
    assert isinstance(open_folder_review(tmp_path), ReviewSession)


def test_training_data_of_pictures_of_different_sizes(tmp_path):
    for number, (name, size) in enumerate((("a", (300, 80)), ("b", (250, 200)), ("c", (280, 120)))):
        part = two_people(1)
        replace(part, size=size, frame_rate=None, meta={"source": f"{name}.png"}).save(tmp_path / f"{name}.pose.npz")
        write_png(tmp_path / f"{name}.png", np.full((size[1], size[0], 3), 50 * number, np.uint8))
    session = open_folder_review(tmp_path)
    with pytest.raises(InputError, match="no point was placed by hand and nobody was found right"):
        session.save_training()
    session.edit({"kind": "move", "t": 1, "id": 4, "points": [0], "to": [[7, 8]], "spread": 0})
    session.edit({"kind": "check", "from": 2, "to": 2, "id": 9, "checked": True})
    folder, pictures, people = session.save_training()
    session.close()
    assert (folder.name, pictures, people) == ("training_data", 2, 2)
    images = []
    for part in ("train", "val"):
        content = json.loads((folder / "annotations" / f"{part}.json").read_text())
        images += [(image["width"], image["height"]) for image in content["images"]]
        assert len(content["annotations"]) == 1  # nobody who was not looked at
        for image in content["images"]:
            assert read_image(folder / "images" / image["file_name"]).shape[:2] == (image["height"], image["width"])
        if part == "train":
            assert content["annotations"][0]["keypoints"][:3] == [7, 8, 2]
    assert images == [(250, 200), (280, 120)]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_server_loses_nothing(clip, how):
    import urllib.request

    command = [sys.executable, "-m", "sdpose_core.cli", "review", str(clip), "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        for number in range(20):
            op = {"kind": "move", "t": number, "id": 4, "points": [9], "to": [[number, 5]], "spread": 0}
            body = json.dumps({"op": op}).encode()
            request = urllib.request.Request(f"{address}api/edit", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request) as answer:
                assert json.load(answer)["undo"] == number + 1
        server.send_signal(how)
        started = time.monotonic()
        code = server.wait(20)
        assert code in {signal.SIGKILL: (-9,), signal.SIGTERM: (0,), signal.SIGINT: (0, 130)}[how]
        assert time.monotonic() - started < 15
    finally:
        server.kill()
        server.communicate()
    session = open_review(clip)
    assert of_person(session.result(), 4)[:20, 9].tolist() == [[number, 5] for number in range(20)]
    session.close()
    assert how == signal.SIGKILL or not list(clip.parent.glob("*.lock"))


def test_files_that_are_no_poses_are_refused(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("a.txt", "expected a .pose.npz"),
        ("empty", "no .pose.npz in it"),
        ("no.pose.npz", "no such file"),
    ):
        assert main(["review", str(tmp_path / name), "--no-browser"]) == 1
        assert words in capsys.readouterr().err
