"""The canvas with poses that have a past: empty slots, earlier reviews, points estimated again, distrust that comes."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_clips import of_person, two_people

from sdpose_core.errors import InputError
from sdpose_core.poses import PoseSequence
from sdpose_core.review import applying
from sdpose_core.review import session as session_module
from sdpose_core.review.canvas import CHANGED, PLACED, Canvas
from sdpose_core.review.files import open_review
from sdpose_core.review.operations import apply
from sdpose_core.review.session import ReviewSession
from sdpose_core.review.views import timeline_view
from sdpose_core.sequences.cleaning import clean
from sdpose_core.sequences.distrust import REASONS, with_distrust
from sdpose_core.sequences.people import select_people
from sdpose_core.sequences.tracks import by_track

FOUND = {"kind": "put", "t": 3, "id": None, "box": [1, 2, 50, 60, 1], "to": [[5, 6]] * 17, "scores": [0.7] * 17}
MOVE = {"kind": "move", "t": 10, "id": 4, "points": [9], "to": [[60.5, 70.25]], "spread": 4}


class Kept:
    """A journal that keeps its entries in memory."""

    def __init__(self) -> None:
        self.about: dict[str, Any] = {}
        self.entries: list[dict[str, Any]] = []

    def add(self, **entry: Any) -> None:
        self.entries.append(entry)


def session_of(sequence: PoseSequence) -> ReviewSession:
    return ReviewSession(sequence, name="", journal=Kept())


def test_a_restored_point_of_a_new_person_has_the_score_that_it_was_found_with():
    sequence = two_people()
    ids, scores = np.array(sequence.track_ids), np.array(sequence.scores)
    ids[3, 0], scores[3, 0] = -1, np.nan  # what an empty slot holds does not matter
    session = session_of(with_distrust(replace(sequence, track_ids=ids, scores=scores)))
    session.edit(FOUND)
    session.edit({"kind": "delete", "from": 3, "to": 3, "id": 10, "points": [2]})
    session.edit({"kind": "restore", "from": 3, "to": 3, "id": 10, "points": [2]})
    result = session.result()
    np.testing.assert_array_equal(of_person(result, 10)[3, 2], [5, 6])
    assert of_person(result, 10, "scores")[3, 2] == np.float32(0.7)
    assert not of_person(result, 10, "edited")[3, 2]


def reviewed(tmp_path: Path) -> PoseSequence:
    """Poses with point 9 of person 4 placed in frame 10, and person 9 found right in frame 20."""
    two_people().save(tmp_path / "clip.pose.npz")
    session = open_review(tmp_path / "clip.pose.npz")
    session.edit({**MOVE, "spread": 0})
    session.edit({"kind": "check", "from": 20, "to": 20, "id": 9, "checked": True})
    path, _ = session.save()
    session.close()
    return PoseSequence.load(path)


def test_what_an_earlier_review_placed_stays_placed_when_restored(tmp_path):
    canvas = Canvas(reviewed(tmp_path))
    apply(canvas, {**MOVE, "to": [[1, 2]], "spread": 0})
    apply(canvas, {"kind": "restore", "from": 10, "to": 10, "id": 4, "points": [9]})
    result = canvas.result()
    np.testing.assert_array_equal(of_person(result, 4)[10, 9], [60.5, 70.25])
    assert of_person(result, 4, "edited")[10, 9]


def test_what_an_earlier_review_found_right_is_still_right(tmp_path):
    session = session_of(reviewed(tmp_path))
    assert session.result().meta["review"]["checked"] == [[20, 9]]


@pytest.mark.parametrize(
    "review",
    [
        {"placed": [{"frame": 400, "id": 4, "points": [9]}, {"frame": 10, "id": 4, "points": [99, -1, "x"]}]},
        {"placed": [{"id": 4}, 7, {"frame": 10, "id": [4], "points": 3}], "checked": [[400, 4], [1], 5, [None, 2]]},
        {"placed": 5, "checked": {"a": 1}},
        "none",
    ],
)
def test_an_earlier_review_of_other_frames_or_kinds_is_passed_over(tmp_path, review):
    sequence = reviewed(tmp_path)
    canvas = Canvas(replace(sequence, meta={**sequence.meta, "review": review}))
    slot = canvas.slot(10, 4)
    assert canvas.marks[10, slot, 9] == CHANGED and not (canvas.marks == PLACED).any()
    assert not canvas.checked.any()


def test_ids_and_people_end_where_the_format_does():
    sequence = two_people(4)
    ids = np.where(sequence.track_ids == 9, 2**31 - 1, 4)
    with pytest.raises(InputError, match="no id above 2147483647"):
        apply(Canvas(replace(sequence, track_ids=ids)), {"kind": "split", "t": 2, "id": 4})
    crowd = PoseSequence(
        np.zeros((4, 1000, 1, 2)), np.zeros((4, 1000, 1)), np.zeros((4, 1000, 5)), np.tile(np.arange(1000), (4, 1)),
        np.arange(4), np.zeros(4), (10, 10), None, "one point",
    )  # fmt: skip
    with pytest.raises(InputError, match="1,001 people in one picture"):
        apply(Canvas(crowd), {**FOUND, "to": [[5, 6]], "scores": [0.7]})


def test_a_sequence_without_points_has_a_timeline():
    empty = PoseSequence(
        np.zeros((2, 1, 0, 2)), np.zeros((2, 1, 0)), np.zeros((2, 1, 5)), np.zeros((2, 1)), np.arange(2), np.zeros(2),
        (10, 10), None, "no points",
    )  # fmt: skip
    assert timeline_view(Canvas(empty), 2)[0]["distrust"] == [0, 0]


def test_edits_made_before_the_distrust_came_give_the_same_as_after(monkeypatch):
    go = threading.Event()

    def late(sequence: PoseSequence, **_: Any) -> PoseSequence:
        assert go.wait(20)
        return with_distrust(sequence)

    expected = session_of(with_distrust(two_people()))
    monkeypatch.setattr(session_module, "with_distrust", late)
    session = session_of(two_people())
    edits = [MOVE, {"kind": "exchange_ids", "from": 20, "to": 30, "ids": [4, 9]}, {**MOVE, "t": 5, "spread": 0}]
    for op in edits:
        session.edit(op)
        expected.edit(op)
    go.set()
    while session.computing:
        pass
    for _ in edits:
        np.testing.assert_array_equal(session.view(lambda canvas: canvas.distrust), expected.canvas.distrust)
        session.undo()
        expected.undo()
    np.testing.assert_array_equal(session.canvas.distrust, with_distrust(two_people()).distrust)


def test_distrust_after_closing_and_opening_is_what_it_was(tmp_path):
    with_distrust(two_people()).save(tmp_path / "clip.pose.npz")
    session = open_review(tmp_path / "clip.pose.npz")
    for op in (MOVE, {"kind": "exchange_ids", "from": 12, "to": 30, "ids": [4, 9]}, {**MOVE, "t": 12, "id": 9}):
        session.edit(op)
    session.close()
    again = open_review(tmp_path / "clip.pose.npz")
    while again.computing:
        time.sleep(0.02)
    np.testing.assert_array_equal(again.canvas.distrust, session.canvas.distrust)
    while again.done:
        again.undo()
    np.testing.assert_array_equal(again.canvas.distrust, again.canvas.opened.distrust)


def test_an_edit_whose_distrust_cannot_be_computed_changes_nothing(monkeypatch):
    session = session_of(with_distrust(two_people()))
    before = session.result()

    def fails(*_: Any) -> None:
        raise InputError("no")

    monkeypatch.setattr(applying, "refresh", fails)
    with pytest.raises(InputError, match="no"):
        session.edit({"kind": "exchange_ids", "from": 20, "to": 30, "ids": [4, 9]})
    np.testing.assert_array_equal(session.result().track_ids, before.track_ids)


def test_a_redo_that_cannot_be_written_changes_nothing(monkeypatch):
    session = session_of(with_distrust(two_people()))
    session.edit(MOVE)
    session.undo()
    before = session.result()

    def full(**_: Any) -> None:
        raise InputError("cannot write")

    monkeypatch.setattr(session.journal, "add", full)
    with pytest.raises(InputError, match="cannot write"):
        session.redo()
    np.testing.assert_array_equal(session.result().keypoints, before.keypoints)
    assert session.state()["redo"] == 1


def test_a_result_without_people_is_cleaned_and_sorted_like_others():
    session = session_of(with_distrust(two_people()))
    for track_id in (4, 9):
        session.edit({"kind": "remove", "from": 0, "to": 39, "id": track_id})
    result = session.result()
    assert result.edited.shape == (40, 0, 17)
    for after in (clean(result), by_track(result), select_people(result, "leftmost")):
        assert after.track_ids.shape == (40, 0) and after.edited.shape == (40, 0, 17)


def test_a_box_grows_by_placed_points_and_shrinks_when_they_move_back():
    canvas = Canvas(two_people())
    slot = canvas.slot(10, 4)
    before = np.array(canvas.boxes[10, slot])
    x, y = canvas.keypoints[10, slot, 9].tolist()
    place = {"kind": "move", "t": 10, "id": 4, "points": [9], "spread": 0}
    apply(canvas, {**place, "to": [[5000, -900]]})
    assert canvas.boxes[10, slot, 2] == 5000 and canvas.boxes[10, slot, 1] == -900
    apply(canvas, {**place, "to": [[x, y]]})
    np.testing.assert_array_equal(canvas.boxes[10, slot], before)
    for back in ("delete", "restore"):
        apply(canvas, {**place, "to": [[5000, -900]]})
        apply(canvas, {"kind": back, "from": 0, "to": 39, "id": 4, "points": [9]})
        np.testing.assert_array_equal(canvas.boxes[10, slot], before)


def test_distrust_after_exchanging_twice_is_what_it_was_also_of_people_on_one_another():
    sequence = two_people()
    keypoints, boxes = np.array(sequence.keypoints), np.array(sequence.boxes)
    rows = np.arange(len(sequence))
    first, second = (sequence.track_ids == 4).argmax(axis=1), (sequence.track_ids == 9).argmax(axis=1)
    keypoints[rows, second], boxes[rows, second] = keypoints[rows, first] + 3, boxes[rows, first]
    session = session_of(with_distrust(replace(sequence, keypoints=keypoints, boxes=boxes)))
    before = session.result()
    assert (before.distrust_reasons >> REASONS.index("other_person") & 1).any()
    for _ in range(2):
        session.edit({"kind": "exchange_ids", "from": 15, "to": 25, "ids": [4, 9]})
    np.testing.assert_allclose(session.result().distrust, before.distrust, atol=1e-6)
    np.testing.assert_array_equal(session.result().distrust_reasons, before.distrust_reasons)
