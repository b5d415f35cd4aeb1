"""Cleaning up along time, on motion whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import smooth_benchmark
from moving_people import figure

from sdpose_core.errors import InputError
from sdpose_core.openpose.order import people
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences.cleaning import (
    CleanOptions,
    clean,
    decide_visibility,
    drawing_threshold,
    fill_gaps,
    reject_outliers,
)
from sdpose_core.sequences.flips import repair_flips
from sdpose_core.sequences.one_euro import smooth
from sdpose_core.sequences.tracks import by_track, join_tracks, split_tracks
from sdpose_core.skeletons import COCO_WHOLEBODY_133

OFF = CleanOptions(
    repair_flips=0, hysteresis=-1, outliers=0, fill_gaps=0, smooth=0, smooth_hands=0, smooth_face=0, hide_faces=False
)


def walking(frames: int = 40, direction: float = 1.0) -> PoseSequence:
    """One person, id 3, walking 3 px per frame; 25 frames per second."""
    made = []
    for t in range(frames):
        points = figure(100 + 3.0 * t, 300, 200, t / 10, direction)
        box = [*points.min(axis=0), *points.max(axis=0), 1]
        made.append(Poses(points[None], np.full((1, 17), 0.9), [box], (640, 360), "coco_17", np.asarray([3])))
    return PoseSequence.from_poses(made, frame_rate=Fraction(25))


def changed(sequence: PoseSequence, **arrays: tuple) -> PoseSequence:
    """The sequence with `name=(index, value)` set in its arrays."""
    values = {}
    for name, (index, value) in arrays.items():
        values[name] = np.array(getattr(sequence, name))
        values[name][index] = value
    return replace(sequence, **values)


def without(sequence: PoseSequence, first: int, last: int) -> PoseSequence:
    """Nobody found from frame `first` to `last`."""
    gap = slice(first, last + 1)
    return changed(sequence, keypoints=(gap, np.nan), scores=(gap, 0), boxes=(gap, 0), track_ids=(gap, -1))


def same(first: PoseSequence, second: PoseSequence) -> bool:
    names = ("keypoints", "scores", "boxes", "track_ids")
    return all(np.array_equal(getattr(first, n), getattr(second, n), equal_nan=n != "track_ids") for n in names)


# --- tracks --------------------------------------------------------------------------------------------------------


def three() -> PoseSequence:
    """Ids 5, 2 and 9 in changing slots."""
    ids = np.asarray([[5, 2, -1], [2, 5, -1], [9, 2, 5], [-1, 9, -1]])
    keypoints = ids[..., None, None] * 10.0 + np.arange(4)[:, None, None, None] + np.zeros((4, 3, 17, 2))
    keypoints[ids < 0] = np.nan
    boxes = np.where(ids[..., None] < 0, 0, ids[..., None] + np.arange(5.0))
    scores = np.where(ids[..., None] < 0, 0, np.ones((4, 3, 17)))
    return PoseSequence(
        keypoints, scores, boxes, ids, np.arange(4), np.arange(4) / 25, (99, 99), Fraction(25), "coco_17"
    )


def test_one_slot_per_id() -> None:
    result = by_track(three())
    assert result.track_ids.tolist() == [[2, 5, -1], [2, 5, -1], [2, 5, 9], [-1, -1, 9]]
    assert result.keypoints[2, :, 0, 0].tolist() == [22, 52, 92]
    assert np.isnan(result.keypoints[3, :2]).all()


def test_tracks_split_and_join() -> None:
    tracks = split_tracks(three())
    assert [(track.id, track.start, len(track)) for track in tracks] == [(2, 0, 3), (5, 0, 3), (9, 2, 2)]
    joined = join_tracks(three(), tracks)
    assert same(by_track(joined), by_track(three()))
    assert joined.track_ids.tolist() == [[2, 5, -1], [2, 5, -1], [2, 5, 9], [9, -1, -1]]


def test_an_empty_sequence_stays_empty() -> None:
    nobody = PoseSequence.from_poses([Poses.empty((10, 10), "coco_17")] * 3, frame_rate=Fraction(25))
    assert same(clean(nobody), nobody)
    assert by_track(nobody).keypoints.shape == (3, 0, 17, 2)


# --- steps ---------------------------------------------------------------------------------------------------------


def test_everything_switched_off_changes_nothing() -> None:
    sequence = smooth_benchmark.noisy(smooth_benchmark.truth()[:50])
    assert same(clean(sequence, OFF), sequence)


@pytest.mark.parametrize("hands", [False, True])
def test_jitter_falls_by_70_percent_without_lag(hands: bool) -> None:
    before, after = smooth_benchmark.run(two_way=True, hands=hands)
    assert after.jitter < 0.3 * before.jitter
    assert abs(after.lag) <= 1
    assert after.error < 0.7 * before.error


def test_hands_are_smoothed_more_than_the_body() -> None:
    true = smooth_benchmark.truth(hands=True)
    before = smooth_benchmark.noisy(np.repeat(true[:1], 120, axis=0))
    after = smooth(before)
    left = smooth_benchmark.acceleration(after.keypoints[:, 0, 91:133])
    assert left < smooth_benchmark.acceleration(after.keypoints[:, 0, :17])


def test_causal_smoothing_looks_back_only() -> None:
    sequence = smooth_benchmark.noisy(smooth_benchmark.truth()[:60])
    shorter = replace(sequence, **{
        name: getattr(sequence, name)[:40]
        for name in ("keypoints", "scores", "boxes", "track_ids", "frame_index", "pts")
    })  # fmt: skip
    whole = smooth(sequence, two_way=False).keypoints[:40]
    part = smooth(shorter, two_way=False).keypoints
    np.testing.assert_array_equal(whole, part)


def test_unsure_points_count_less() -> None:
    sequence = walking()
    jumped = changed(sequence, keypoints=((20, 0, 9), [400.0, 100.0]))
    sure = smooth(jumped).keypoints[20, 0, 9] - smooth(sequence).keypoints[20, 0, 9]
    unsure = changed(jumped, scores=((20, 0, 9), 0.1))
    moved = smooth(unsure).keypoints[20, 0, 9] - smooth(sequence).keypoints[20, 0, 9]
    assert np.linalg.norm(moved) < 0.5 * np.linalg.norm(sure)


def test_a_part_with_cutoff_0_stays_as_it_is() -> None:
    sequence = smooth_benchmark.noisy(smooth_benchmark.truth(hands=True)[:30])
    result = smooth(sequence, {"body": 0, "hands": 1.0, "face": 0})
    assert np.array_equal(result.keypoints[:, :, :91], sequence.keypoints[:, :, :91])
    assert not np.array_equal(result.keypoints[:, :, 91:], sequence.keypoints[:, :, 91:])


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(InputError, match="body, hands and face"):
        smooth(walking(), {"legs": 1.0})


def test_a_limb_about_the_threshold_does_not_blink() -> None:
    flicker = np.where(np.arange(40) % 2, 0.35, 0.25)
    sequence = changed(walking(), scores=((slice(None), 0, 9), flicker))
    sequence = changed(sequence, scores=((0, 0, 9), 0.9))
    result = decide_visibility(sequence, 0.3, 0.08)
    assert np.isfinite(result.keypoints[:, 0, 9]).all()
    assert np.array_equal(result.scores, sequence.scores)
    low = decide_visibility(changed(sequence, scores=((slice(15, 40), 0, 9), 0.2)), 0.3, 0.08)
    assert np.isfinite(low.keypoints[:, 0, 9, 0]).tolist() == [True] * 15 + [False] * 25
    assert (drawing_threshold(result.meta, 0.3), drawing_threshold(sequence.meta, 0.3)) == (0.0, 0.3)


def test_an_outlier_is_removed_and_fast_motion_kept() -> None:
    sequence = changed(walking(), keypoints=((20, 0, 9), [400.0, 20.0]))
    result = reject_outliers(sequence)
    assert np.argwhere(np.isnan(result.keypoints[..., 0])).tolist() == [[20, 0, 9]]
    fast = np.array(walking().keypoints)
    fast[..., 0] += 40.0 * np.arange(40)[:, None, None]
    assert np.isfinite(reject_outliers(replace(walking(), keypoints=fast)).keypoints).all()


@pytest.mark.parametrize(("last", "filled"), [(17, True), (18, False)])
def test_gaps_up_to_n_frames_are_filled(last: int, filled: bool) -> None:
    sequence = walking()
    gap = changed(sequence, keypoints=((slice(10, last + 1), 0, 9), np.nan))
    result = fill_gaps(gap, 8)
    assert np.isfinite(result.keypoints[10 : last + 1, 0, 9]).all() == filled
    if filled:
        line = np.linspace(sequence.keypoints[9, 0, 9], sequence.keypoints[18, 0, 9], 10)
        np.testing.assert_allclose(result.keypoints[9:19, 0, 9], line, rtol=1e-5)
    assert np.array_equal(result.scores, gap.scores)


def test_a_missed_person_is_there_again_and_can_be_drawn() -> None:
    result = fill_gaps(without(walking(), 10, 13), 8)
    assert (result.track_ids == 3).all()
    np.testing.assert_allclose(result.boxes[11], walking().boxes[11], atol=12)  # the legs swing
    assert people(result.frame(11), 0.3)[0].body[:, 2].all()
    assert same(fill_gaps(without(walking(), 10, 20), 8), without(walking(), 10, 20))


def test_gaps_are_counted_in_source_frames() -> None:
    every_third = replace(walking(), frame_index=np.arange(40) * 3)
    gap = changed(every_third, keypoints=((slice(10, 13), 0, 9), np.nan))  # 11 source frames
    assert np.isnan(fill_gaps(gap, 8).keypoints[11, 0, 9]).all()
    assert np.isfinite(fill_gaps(gap, 11).keypoints[11, 0, 9]).all()


@pytest.mark.parametrize("joints", [(7, 8, 9, 10, 5, 6), (11, 12, 13, 14, 15, 16)], ids=["arms", "legs"])
def test_exchanged_sides_are_put_back(joints: tuple[int, ...]) -> None:
    sequence = walking()
    keypoints, scores = np.array(sequence.keypoints), np.array(sequence.scores)
    for left, right in zip(joints[::2], joints[1::2], strict=True):
        keypoints[15:19, 0, [left, right]] = keypoints[15:19, 0, [right, left]]
        scores[15:19, 0, left], scores[15:19, 0, right] = 0.5, 0.6
    result = repair_flips(replace(sequence, keypoints=keypoints, scores=scores), 8)
    np.testing.assert_allclose(result.keypoints, sequence.keypoints)
    assert result.scores[16, 0, joints[0]] == np.float32(0.6)


def test_a_turn_of_the_person_is_no_exchange() -> None:
    turned = np.concatenate([walking(20).keypoints, walking(40, direction=-1.0).keypoints[20:]])
    sequence = replace(walking(), keypoints=turned)
    np.testing.assert_array_equal(repair_flips(sequence, 8).keypoints, turned)
    np.testing.assert_array_equal(repair_flips(walking()).keypoints, walking().keypoints)


def test_every_pair_of_the_whole_body_belongs_to_one_group() -> None:
    from sdpose_core.sequences.flips import flip_groups

    arms, legs, head = flip_groups("coco_wholebody_133")
    names = COCO_WHOLEBODY_133.names
    assert len(arms) + len(legs) + len(head) == len(COCO_WHOLEBODY_133.flip_pairs)
    assert {names[left] for left, _ in legs} == {
        "left_hip", "left_knee", "left_ankle", "left_big_toe", "left_small_toe", "left_heel"
    }  # fmt: skip
    assert (len(arms), len(head)) == (3 + 21, 2 + 29)


def test_clean_keeps_raw_scores_and_records_what_it_did() -> None:
    sequence = smooth_benchmark.noisy(smooth_benchmark.truth()[:50])
    result = clean(sequence)
    assert np.array_equal(result.scores, sequence.scores)
    assert result.meta["clean"]["smooth"] == CleanOptions().smooth


def test_nothing_is_smoothed_across_a_cut() -> None:
    first, second = walking(20), walking(20)
    frames = [
        *first.frames(),
        *[replace(p, keypoints=p.keypoints + 200, track_ids=np.asarray([8])) for p in second.frames()],
    ]
    sequence = PoseSequence.from_poses(frames, frame_rate=Fraction(25))
    result = clean(sequence)
    assert np.abs(result.keypoints - sequence.keypoints)[[19, 20]].max() < 12


def test_one_frame_and_two_frames() -> None:
    for count in (1, 2):
        assert np.isfinite(clean(walking(count)).keypoints).all()


# --- seconds come from the times of the frames -----------------------------------------------------------------------


def paused(sequence: PoseSequence, at: int, seconds: float) -> PoseSequence:
    """The recording pauses before frame `at`."""
    return replace(sequence, pts=sequence.pts + np.where(np.arange(len(sequence)) >= at, seconds, 0))


def jittery(frames: int = 40) -> PoseSequence:
    sequence = walking(frames)
    noise = np.random.default_rng(0).normal(0, 3, sequence.keypoints.shape)
    return replace(sequence, keypoints=sequence.keypoints + noise)


@pytest.mark.parametrize("rate", [Fraction(1000), Fraction(5), None], ids=str)
@pytest.mark.parametrize("first", [0.0, 7.0])
def test_a_wrong_rate_changes_nothing(rate: Fraction | None, first: float) -> None:
    right = jittery()
    wrong = replace(right, frame_rate=rate, pts=right.pts + first)
    np.testing.assert_array_equal(clean(wrong).keypoints, clean(right).keypoints)


def test_milliseconds_change_nothing() -> None:
    exact = jittery()
    exact = replace(exact, frame_rate=Fraction(30000, 1001), pts=np.arange(40) * 1001 / 30000)
    rounded = replace(exact, pts=exact.pts.round(3))
    np.testing.assert_array_equal(clean(rounded).keypoints, clean(exact).keypoints)


def test_nothing_is_smoothed_across_a_pause() -> None:
    """Each part is cleaned as if it were a clip of its own."""
    whole = paused(jittery(), 20, 3.0)
    moved = changed(whole, keypoints=(slice(20, None), whole.keypoints[20:] + 200))
    both = clean(moved).keypoints
    for part in (slice(0, 20), slice(20, 40)):
        names = ("keypoints", "scores", "boxes", "track_ids", "frame_index", "pts")
        alone = replace(moved, **{name: getattr(moved, name)[part] for name in names})
        np.testing.assert_allclose(both[part], clean(alone).keypoints, atol=1e-3)


def test_uneven_times_are_smoothed_by_seconds() -> None:
    """The same motion, of which every second frame of the second half is missing: the rest hardly changes."""
    even = smooth(jittery(60))
    kept = np.asarray([*range(30), *range(30, 60, 2)])
    names = ("keypoints", "scores", "boxes", "track_ids", "pts")
    uneven = replace(jittery(60), **{n: getattr(jittery(60), n)[kept] for n in names}, frame_index=np.arange(45))
    by_time = np.abs(smooth(uneven).keypoints - even.keypoints[kept]).mean()
    by_count = np.abs(smooth(replace(uneven, pts=np.arange(45) / 25)).keypoints - even.keypoints[kept]).mean()
    assert by_time < by_count


@pytest.mark.parametrize(("seconds", "filled"), [(0.0, True), (0.2, True), (3.0, False)])
def test_a_gap_over_a_pause_is_not_filled(seconds: float, filled: bool) -> None:
    gap = paused(without(walking(), 10, 13), 12, seconds)
    found = fill_gaps(gap, 8)
    assert (found.track_ids[10:14, 0] == 3).all() == filled
    if filled and seconds:  # where the person is at that time, not after that many frames
        x = found.keypoints[:, 0, 0, 0]
        assert (x[11] - x[9]) / (x[14] - x[9]) == pytest.approx(2 * 0.04 / 0.4, abs=0.01)


def test_one_frame_between_two_pauses_is_no_outlier() -> None:
    lonely = changed(walking(), keypoints=(20, walking().keypoints[20] + 150))
    assert np.isnan(reject_outliers(lonely).keypoints[20]).all()
    lonely = paused(paused(lonely, 20, 2.0), 21, 2.0)
    assert np.isfinite(reject_outliers(lonely).keypoints[20]).all()


def test_times_that_fall_are_told() -> None:
    with pytest.raises(InputError, match="pts of the pose sequence"):
        clean(replace(walking(), pts=walking().pts[::-1].copy()))
