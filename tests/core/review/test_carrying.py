"""Edits of some poses on others of the same frames: for the right people, and only where they mend something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from review_clips import of_person, two_people

from sdpose_core.errors import InputError
from sdpose_core.poses import PoseSequence
from sdpose_core.review.canvas import Canvas
from sdpose_core.review.carrying import LOOKED_AT, NOT_NEEDED, NOT_THERE, Carried, carry, matching_ids, same_frames
from sdpose_core.review.operations import apply

MOVE = {"kind": "move", "t": 10, "id": 4, "points": [9], "to": [[60.5, 70.25]], "spread": 0}


def with_ids(sequence: PoseSequence, ids: dict[int, int]) -> PoseSequence:
    """The same people under other ids, and points a pixel away, as another model would find them."""
    renamed = np.vectorize(lambda track_id: ids.get(track_id, track_id))(sequence.track_ids)
    return replace(sequence, track_ids=renamed, keypoints=sequence.keypoints + 1)


def corrected(sequence: PoseSequence, carried: Carried) -> PoseSequence:
    canvas = Canvas(sequence)
    for edit in carried.edits:
        apply(canvas, edit)
    return canvas.result()


def test_people_are_told_by_their_places_not_by_their_ids():
    before = two_people()
    now = with_ids(before, {4: 9, 9: 4})
    assert matching_ids(before, now) == {4: 9, 9: 4}
    carried = carry([MOVE], before, now)
    assert carried.edits == [{**MOVE, "id": 9}] and not carried.left_out
    result = corrected(now, carried)
    np.testing.assert_array_equal(of_person(result, 9)[10, 9], MOVE["to"][0])
    np.testing.assert_array_equal(of_person(result, 4), of_person(now, 4))


def test_who_is_not_there_any_more_has_no_corrections():
    before = two_people()
    now = replace(before, track_ids=np.where(before.track_ids == 4, -1, before.track_ids))
    carried = carry([MOVE, {**MOVE, "id": 9}], before, now)
    assert carried.edits == [{**MOVE, "id": 9}] and carried.left_out == {NOT_THERE: 1}


def test_one_who_was_split_off_keeps_the_corrections_that_followed():
    before = two_people()
    now = with_ids(before, {4: 20})
    edits = [{"kind": "split", "t": 5, "id": 4}, {**MOVE, "id": 10}]
    carried = carry(edits, before, now)
    assert carried.edits == [{"kind": "split", "t": 5, "id": 20}, {**MOVE, "id": 21}]
    np.testing.assert_array_equal(of_person(corrected(now, carried), 21)[10, 9], MOVE["to"][0])


EXCHANGES: list[dict[str, Any]] = [
    {"kind": "exchange_ids", "from": 20, "to": 39, "ids": [4, 9]},
    {"kind": "exchange_sides", "from": 20, "to": 30, "id": 4, "part": "all"},
]


@pytest.mark.parametrize("edit", EXCHANGES, ids=lambda edit: edit["kind"])
@pytest.mark.parametrize("still_wrong", [True, False])
def test_an_exchange_is_undone_again_only_where_the_new_poses_have_it_too(edit, still_wrong):
    right = two_people()
    canvas = Canvas(right)
    apply(canvas, edit)
    wrong = replace(canvas.result(), edited=None)
    now = replace(wrong if still_wrong else right, keypoints=(wrong if still_wrong else right).keypoints + 1)
    carried = carry([edit], wrong, now)
    assert carried.edits == ([edit] if still_wrong else [])
    assert carried.left_out == ({} if still_wrong else {NOT_NEEDED: 1})
    for track_id in (4, 9):
        np.testing.assert_allclose(of_person(corrected(now, carried), track_id), of_person(right, track_id) + 1)


def test_nobody_has_looked_at_new_poses_unless_they_are_as_good_as_the_same():
    before = two_people()
    found_right = {"kind": "check", "from": 3, "to": 3, "id": 9, "checked": True}
    assert carry([found_right], before, with_ids(before, {})).left_out == {LOOKED_AT: 1}
    last_digits = replace(before, keypoints=before.keypoints + 0.01)
    assert carry([found_right], before, last_digits).edits == [found_right]


def test_what_is_not_possible_is_left_out_with_its_reason():
    before = two_people()
    gone = np.array(before.track_ids)
    gone[10][gone[10] == 4] = -1
    carried = carry([MOVE, {**MOVE, "t": 11}], before, replace(before, track_ids=gone))
    assert carried.edits == [{**MOVE, "t": 11}]
    assert carried.left_out == {"person 4 is not in frame 10: it has 9": 1}


@pytest.mark.parametrize(
    "other",
    [
        two_people(frames=39),
        replace(two_people(), size=(640, 240)),
        replace(two_people(), frame_index=np.arange(40) * 2),
        two_people(points=133, keypoint_set="coco_wholebody_133"),
    ],
    ids=["number", "size", "every second", "points"],
)
def test_poses_of_other_frames_are_refused(other):
    assert not same_frames(two_people(), other)
    with pytest.raises(InputError, match="other frames"):
        carry([MOVE], two_people(), other)
