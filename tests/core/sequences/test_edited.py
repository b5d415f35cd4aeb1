"""The optional arrays of a sequence: distrust and points edited by hand."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from sdpose_core.errors import InputError
from sdpose_core.poses import OF_POINTS, PoseSequence
from sdpose_core.sequences.cleaning import CleanOptions, clean
from sdpose_core.sequences.flips import repair_flips
from sdpose_core.sequences.tracks import by_track, join_tracks, split_tracks

NO_CLEANING = CleanOptions(0, -1, outliers=0, fill_gaps=0, smooth=0, smooth_hands=0, smooth_face=0, hide_faces=False)


def edited_sequence() -> PoseSequence:
    """Three frames of two people with five points each, in slots that change; the ids are 7 and 3."""
    ids = np.array([[7, 3], [3, 7], [-1, 7]])
    shape = (3, 2, 5)
    values = np.arange(30, dtype=np.float32).reshape(shape)
    return PoseSequence(
        np.stack([values + 100, values], axis=-1), values / 100, np.tile([0, 0, 90, 90, 1], (3, 2, 1)), ids,
        np.arange(3), np.arange(3) / 25, (200, 200), Fraction(25), "five", {},
        distrust=values / 30, distrust_reasons=values.astype(int), edited=values % 7 == 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    "change", [by_track, lambda s: join_tracks(s, split_tracks(s)), lambda s: clean(s, NO_CLEANING)]
)
def test_distrust_and_edits_follow_their_person(change):
    given = edited_sequence()
    result = change(given)
    for t in range(3):
        for slot, track_id in enumerate(result.track_ids[t]):
            if track_id < 0:
                continue
            before = given.track_ids[t].tolist().index(track_id)
            for name in ("scores", *OF_POINTS):
                np.testing.assert_array_equal(getattr(result, name)[t, slot], getattr(given, name)[t, before], name)


def test_optional_arrays_are_saved_and_read_back(tmp_path):
    given = edited_sequence()
    given.save(tmp_path / "a.pose.npz")
    read = PoseSequence.load(tmp_path / "a.pose.npz")
    for name, dtype in OF_POINTS.items():
        assert getattr(read, name).dtype == dtype
        np.testing.assert_array_equal(getattr(read, name), getattr(given, name))
    replace(given, distrust=None, distrust_reasons=None, edited=None).save(tmp_path / "b.pose.npz")
    assert PoseSequence.load(tmp_path / "b.pose.npz").of_points() == {}


def test_points_placed_by_hand_are_shown_and_keep_their_raw_scores():
    given = edited_sequence()
    shown = given.frame(0).scores
    assert (shown[given.edited[0]] == 1).all() and given.edited[0].any()
    np.testing.assert_array_equal(shown[~given.edited[0]], given.scores[0][~given.edited[0]])


def test_cleaning_leaves_points_edited_by_hand_alone():
    rng = np.random.default_rng(1)
    keypoints = rng.uniform(50, 150, (20, 1, 5, 2))
    edited = np.zeros((20, 1, 5), bool)
    edited[10, 0, 2] = edited[11, 0, 3] = True
    keypoints[11, 0, 3] = np.nan  # deleted by hand
    scores = np.full((20, 1, 5), 0.9)
    scores[10, 0, 2] = 0.01
    given = PoseSequence(
        keypoints, scores, np.tile([0, 0, 200, 200, 1], (20, 1, 1)), np.zeros((20, 1)), np.arange(20),
        np.arange(20) / 25, (200, 200), Fraction(25), "five", edited=edited,
    )  # fmt: skip
    result = clean(given)
    np.testing.assert_array_equal(result.keypoints[edited], given.keypoints[edited])
    assert np.isfinite(clean(replace(given, edited=None)).keypoints[11, 0, 3]).all()  # it would have been filled
    np.testing.assert_array_equal(result.scores[edited], given.scores[edited])


def test_the_limb_of_a_point_edited_by_hand_is_not_exchanged():
    left, right = 15, 16  # ankles
    keypoints = np.zeros((20, 1, 17, 2)) + np.arange(17)[:, None] * [60, 7] + np.arange(20)[:, None, None, None] * 0.1
    keypoints[10, 0, [11, 12, 13, 14, 15, 16]] = keypoints[10, 0, [12, 11, 14, 13, 16, 15]]
    scores = np.full((20, 1, 17), 0.4) + np.arange(17) / 100
    edited = np.zeros((20, 1, 17), bool)
    keypoints[10, 0, left] = keypoints[9, 0, left]  # what the user put right: the other ankle was left as it was
    edited[10, 0, left] = True
    given = PoseSequence(
        keypoints, scores, np.tile([0, 0, 400, 200, 1], (20, 1, 1)), np.zeros((20, 1)), np.arange(20),
        np.arange(20) / 25, (400, 200), Fraction(25), "coco_17",
    )  # fmt: skip
    exchanged = repair_flips(given)
    assert not np.array_equal(exchanged.keypoints[10, 0, right], given.keypoints[10, 0, right])  # as it would be
    result = repair_flips(replace(given, edited=edited))
    np.testing.assert_array_equal(result.keypoints, given.keypoints)
    np.testing.assert_array_equal(result.scores, given.scores)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("distrust", np.full((3, 2, 5), 1.5), "expected a probability"),
        ("distrust", np.zeros((3, 2, 4)), "expected shape"),
        ("edited", np.zeros((3, 2, 5)), "truth values"),
        ("distrust_reasons", np.full((3, 2, 5), -1), "whole numbers"),
    ],
)
def test_wrong_optional_arrays_are_refused(name, value, message):
    with pytest.raises(InputError, match=message):
        replace(edited_sequence(), **{name: value})
