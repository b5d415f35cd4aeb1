"""The edits of a review: each on a canvas, undone, refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from custom_sets import HAND, PEN
from review_clips import of_person, two_people

from sdpose_core.errors import InputError
from sdpose_core.review.canvas import CHANGED, FOLLOWS, PLACED, Canvas
from sdpose_core.review.operations import KINDS, apply, pairs_of
from sdpose_core.sequences.distrust import REASONS
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133

OPS = [
    {"kind": "move", "t": 10, "id": 4, "points": [9, 10], "to": [[60.5, 70], [61, 71.25]], "spread": 4},
    {"kind": "delete", "from": 3, "to": 6, "id": 9, "points": [0, 5]},
    {"kind": "restore", "from": 0, "to": 39, "id": 4, "points": [9]},
    {"kind": "copy", "t": 5, "from": 6, "to": 8, "id": 4, "points": [1, 2]},
    {"kind": "exchange_sides", "from": 2, "to": 9, "id": 4, "part": "arms"},
    {"kind": "exchange_ids", "from": 20, "to": 39, "ids": [4, 9]},
    {"kind": "split", "t": 15, "id": 9},
    {"kind": "join", "ids": [4, 77]},
    {"kind": "remove", "from": 30, "to": 39, "id": 9},
    {"kind": "check", "from": 0, "to": 5, "id": 9, "checked": True},
    {"kind": "put", "t": 7, "id": None, "box": [1, 2, 50, 60, 1], "to": [[5, 6]] * 16 + [None], "scores": [0.5] * 17},
]  # fmt: skip


def canvas_with_third() -> Canvas:
    """Two people, and a third (77) who is only in frames where 4 is not: none, until 4 is removed from 35 on."""
    sequence = two_people()
    ids = np.array(sequence.track_ids)
    ids[35:][ids[35:] == 4] = 77
    return Canvas(replace(sequence, track_ids=ids))


def state(canvas: Canvas) -> dict[str, np.ndarray]:
    names = ("keypoints", "scores", "boxes", "track_ids", "marks", "checked", "distrust", "distrust_reasons")
    return {name: np.array(getattr(canvas, name)) for name in names}


@pytest.mark.parametrize("op", OPS, ids=lambda op: op["kind"])
def test_every_edit_can_be_undone_and_done_again(op):
    canvas = canvas_with_third()
    before = state(canvas)
    change = apply(canvas, op)
    after = state(canvas)
    assert change.frames is not None
    canvas.revert(change)
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(canvas, name)[:, : values.shape[1]], values, name)
    assert (canvas.track_ids[:, before["track_ids"].shape[1] :] == -1).all()
    apply(canvas, op)
    for name, values in after.items():
        np.testing.assert_array_equal(getattr(canvas, name), values, name)


def test_all_kinds_are_in_the_table():
    assert [op["kind"] for op in OPS] == list(KINDS)


def test_a_placed_point_is_exact_and_its_neighbors_follow_and_fade():
    given = two_people()
    canvas = Canvas(given)
    apply(canvas, {"kind": "move", "t": 20, "id": 4, "points": [9], "to": [[100, 90]], "spread": 3})
    before, after = of_person(given, 4)[:, 9], of_person(canvas.result(), 4)[:, 9]
    np.testing.assert_array_equal(after[20], [100, 90])
    shares = np.linalg.norm(after - before, axis=-1) / np.linalg.norm(after[20] - before[20])
    expected = [0.5 + 0.5 * np.cos(np.pi * d / 4) for d in (3, 2, 1, 0, 1, 2, 3)]
    np.testing.assert_allclose(shares[17:24], expected, atol=1e-5)
    assert (shares[:17] == 0).all() and (shares[24:] == 0).all()
    marks = of_person(replace(canvas.result(), scores=canvas.marks), 4, "scores")[:, 9]
    assert marks[20] == PLACED and (marks[[17, 18, 19, 21, 22, 23]] == FOLLOWS).all() and marks[[16, 24]].sum() == 0
    others = np.delete(np.arange(17), 9)
    np.testing.assert_array_equal(of_person(canvas.result(), 4)[:, others], of_person(given, 4)[:, others])
    np.testing.assert_array_equal(of_person(canvas.result(), 9), of_person(given, 9))


def test_a_correction_ends_at_the_next_keyframe_of_the_same_point():
    given = two_people()
    canvas = Canvas(given)
    old = of_person(given, 4)[:, 9]
    for t in (10, 16):
        apply(
            canvas, {"kind": "move", "t": t, "id": 4, "points": [9], "to": [(old[t] + [12, 0]).tolist()], "spread": 6}
        )
    moved = (of_person(canvas.result(), 4)[:, 9] - old)[:, 0]
    np.testing.assert_allclose(moved[10], 12, atol=1e-4)
    np.testing.assert_allclose(moved[16], 12, atol=1e-4)
    assert (moved[11:16] > 10).all()  # between two keyframes the correction holds
    apply(canvas, {"kind": "move", "t": 13, "id": 4, "points": [9], "to": [old[13].tolist()], "spread": 6})
    moved = (of_person(canvas.result(), 4)[:, 9] - old)[:, 0]
    np.testing.assert_allclose(moved[[10, 13, 16]], [12, 0, 12], atol=1e-4)


def test_an_absent_point_is_placed_and_carried_with_the_person():
    given = two_people()
    canvas = Canvas(given)
    apply(canvas, {"kind": "move", "t": 20, "id": 9, "points": [3], "to": [[200, 100]], "spread": 4})
    path = of_person(canvas.result(), 9)[:, 3]
    np.testing.assert_allclose(path[16:25], [[200 + d, 100 + d / 2] for d in range(-4, 5)], atol=1e-3)
    assert np.isnan(path[15]).all() and np.isnan(path[25]).all()
    assert canvas.result().frame(20).scores.min() >= 0.4  # it is shown, whatever its raw score


def test_absent_points_between_two_keyframes_are_interpolated():
    canvas = Canvas(two_people())
    for t, x in ((10, 100), (14, 140)):
        apply(canvas, {"kind": "move", "t": t, "id": 9, "points": [3], "to": [[x, 50]], "spread": 0 if t == 10 else 8})
    path = of_person(canvas.result(), 9)[10:15, 3]
    assert (np.diff(path[:, 0]) > 0).all() and path[0, 0] == 100 and path[-1, 0] == 140
    np.testing.assert_allclose(path[:, 1], 50)


def test_sides_are_exchanged_with_their_scores_for_every_pair_of_a_part():
    for points in (COCO_17, COCO_WHOLEBODY_133):
        given = two_people(6, len(points), points.name)
        for part in ("all", "arms", "legs", "head", "hands", "feet"):
            if part in ("hands", "feet") and len(points) == 17:
                with pytest.raises(InputError, match="expected one of all"):
                    pairs_of(points, part)
                continue
            canvas = Canvas(given)
            apply(canvas, {"kind": "exchange_sides", "from": 2, "to": 3, "id": 4, "part": part})
            for name in ("keypoints", "scores"):
                before, after = of_person(given, 4, name), of_person(canvas.result(), 4, name)
                expected = np.array(before)
                for left, right in pairs_of(points, part):
                    assert points.names[left].replace("left", "right") == points.names[right] or part in ("all", "head")
                    expected[2:4, left], expected[2:4, right] = before[2:4, right], before[2:4, left]
                np.testing.assert_array_equal(after, expected)


def test_sides_of_a_custom_set_are_those_of_its_pairs() -> None:
    assert pairs_of(PEN, "all").tolist() == [[0, 1]]
    with pytest.raises(InputError, match="expected one of all"):
        pairs_of(PEN, "arms")
    with pytest.raises(InputError, match="'hand_21' has no pairs of left and right points"):
        pairs_of(HAND, "all")


def test_swapped_sides_show_no_point_that_was_hidden_and_stay_distrusted_for_other_reasons():
    given = two_people()
    scores, distrust = np.array(given.scores), np.full(given.scores.shape, 0.1, np.float32)
    slot = given.track_ids[5].tolist().index(4)
    scores[5, slot, 9] = 0.05  # the left wrist is hidden
    reasons = np.zeros(given.scores.shape, np.uint16)
    for point, reason in ((7, "left_right"), (13, "jump")):
        distrust[5, slot, point], reasons[5, slot, point] = 0.9, 1 << REASONS.index(reason)
    canvas = Canvas(replace(given, scores=scores, distrust=distrust, distrust_reasons=reasons))
    apply(canvas, {"kind": "exchange_sides", "from": 5, "to": 5, "id": 4, "part": "all"})
    shown = canvas.result().frame(5)
    row = shown.scores[shown.track_ids.tolist().index(4)]
    assert row[10] == np.float32(0.05) and row[9] >= 1  # it is the right one now, and still hidden
    assert canvas.distrust[5, slot, 8] == 0 and canvas.distrust[5, slot, 14] == np.float32(0.9)


def test_ids_are_exchanged_in_the_range_and_nowhere_else():
    given = two_people()
    canvas = Canvas(given)
    apply(canvas, {"kind": "exchange_ids", "from": 12, "to": 25, "ids": [9, 4]})
    result = canvas.result()
    inside = np.zeros(40, bool)
    inside[12:26] = True
    for first, second in ((4, 9), (9, 4)):
        np.testing.assert_array_equal(of_person(result, first)[inside], of_person(given, second)[inside])
        np.testing.assert_array_equal(of_person(result, first)[~inside], of_person(given, first)[~inside])


def test_a_split_person_is_whole_again_when_joined():
    given = two_people()
    canvas = Canvas(given)
    apply(canvas, {"kind": "split", "t": 20, "id": 4})
    assert set(np.unique(canvas.result().track_ids)) == {4, 9, 10}
    apply(canvas, {"kind": "join", "ids": [4, 10]})
    np.testing.assert_array_equal(canvas.result().track_ids, given.track_ids)


def test_a_removed_person_leaves_an_empty_slot():
    canvas = Canvas(two_people())
    apply(canvas, {"kind": "remove", "from": 0, "to": 39, "id": 9})
    result = canvas.result()
    assert set(np.unique(result.track_ids)) == {-1, 4} and np.isnan(result.keypoints[result.track_ids < 0]).all()


def test_restore_gives_back_what_was_opened():
    given = two_people()
    canvas = Canvas(given)
    everything = list(range(17))
    apply(canvas, {"kind": "delete", "from": 0, "to": 39, "id": 4, "points": everything})
    apply(canvas, {"kind": "exchange_sides", "from": 0, "to": 39, "id": 9})
    for track_id in (4, 9):
        apply(canvas, {"kind": "restore", "from": 0, "to": 39, "id": track_id, "points": everything})
    result = canvas.result()
    for name in ("keypoints", "scores", "track_ids"):
        np.testing.assert_array_equal(getattr(result, name), getattr(given, name))
    assert not result.edited.any()


def test_deleted_points_are_absent_and_marked():
    canvas = Canvas(two_people())
    apply(canvas, {"kind": "delete", "from": 3, "to": 6, "id": 4, "points": [0]})
    result = canvas.result()
    assert np.isnan(of_person(result, 4)[3:7, 0]).all() and np.isfinite(of_person(result, 4)[2, 0]).all()
    assert of_person(result, 4, "edited").sum() == 4
    assert (canvas.marks == CHANGED).sum() == 4


def test_a_new_person_gets_a_new_slot_and_id():
    canvas = Canvas(two_people())
    apply(canvas, OPS[-1])
    result = canvas.result()
    assert result.track_ids.shape == (40, 3) and (result.track_ids == 10).sum() == 1
    np.testing.assert_array_equal(of_person(result, 10)[7, :16], [[5, 6]] * 16)
    assert np.isnan(of_person(result, 10)[7, 16]).all()


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (None, "expected an object"),
        ({"kind": "mvoe"}, "did you mean"),
        ({"kind": "move", "t": 40, "id": 4, "points": [1], "to": [[1, 2]]}, "t: expected a whole number from 0 to 39"),
        ({"kind": "move", "t": 1, "id": 5, "points": [1], "to": [[1, 2]]}, "person 5 is not in frame 1: it has 4, 9"),
        ({"kind": "move", "t": 1, "id": 4, "points": [17], "to": [[1, 2]]}, "points"),
        ({"kind": "move", "t": 1, "id": 4, "points": [1, 1], "to": [[1, 2], [1, 2]]}, "different numbers"),
        ({"kind": "move", "t": 1, "id": 4, "points": [1], "to": [[1, float("nan")]]}, "x, y"),
        ({"kind": "move", "t": 1, "id": 4, "points": [1], "to": [[1e30, 0]]}, "x, y"),
        ({"kind": "move", "t": True, "id": 4, "points": [1], "to": [[1, 2]]}, "whole number"),
        ({"kind": "move", "t": 1, "id": 4, "points": [1], "to": [[1, 2], [3, 4]]}, "of 1 point"),
        ({"kind": "delete", "from": 5, "to": 2, "id": 4, "points": [1]}, "the first before the last"),
        ({"kind": "delete", "from": 1, "to": 2, "id": 8, "points": [1]}, "nothing to change"),
        ({"kind": "exchange_ids", "from": 1, "to": 2, "ids": [4, 4]}, "two different ids"),
        ({"kind": "exchange_ids", "from": 1, "to": 2, "ids": [70, 71]}, "nothing to change"),
        ({"kind": "exchange_sides", "from": 1, "to": 2, "id": 4, "part": "wings"}, "expected one of all"),
        ({"kind": "join", "ids": [4, 9]}, "both in frame 0"),
        ({"kind": "split", "t": 0, "id": 4}, "begins at frame 0"),
        ({"kind": "copy", "t": 1, "from": 2, "to": 3, "id": 9, "points": [3]}, "does not show all"),
        ({"kind": "check", "from": 1, "to": 2, "id": 4, "checked": "yes"}, "true or false"),
    ],
)
def test_what_is_not_possible_is_refused_and_changes_nothing(op, message):
    canvas = Canvas(two_people())
    before = state(canvas)
    with pytest.raises(InputError, match=message):
        apply(canvas, op)
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(canvas, name), values, name)


def test_a_sequence_without_people_takes_a_new_one():
    empty = two_people()
    nobody = replace(
        empty, keypoints=empty.keypoints[:, :0], scores=empty.scores[:, :0], boxes=empty.boxes[:, :0],
        track_ids=empty.track_ids[:, :0],
    )  # fmt: skip
    canvas = Canvas(nobody)
    apply(canvas, OPS[-1])
    assert (canvas.result().track_ids == 0).sum() == 1
