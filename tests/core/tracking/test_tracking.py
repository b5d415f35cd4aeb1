"""Track ids: on clips whose truth is known, across cuts, and through a stop and a resume."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import moving_people as clips
import numpy as np
import pytest
import running_people
import track_benchmark

from sdpose_core.errors import InputError
from sdpose_core.oks import body_sigmas, oks
from sdpose_core.poses import Poses
from sdpose_core.tracking.frames import track_frames
from sdpose_core.tracking.looks import likeness, looks
from sdpose_core.tracking.options import TrackerOptions
from sdpose_core.tracking.scene_cuts import SceneCuts
from sdpose_core.tracking.tracker import Tracker


@functools.cache
def made(make: Callable[[], clips.Clip]) -> clips.Clip:
    return make()


@pytest.mark.parametrize("make", clips.CLIPS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("pictures", [True, False], ids=["with pictures", "without"])
def test_no_id_is_switched_or_shared(make: Callable[[], clips.Clip], pictures: bool) -> None:
    if make is clips.hard_cut and not pictures:
        pytest.skip("a cut can only be seen in pictures")
    clip = made(make)
    score = track_benchmark.score(clip, track_benchmark.track(clip, pictures))
    assert (score.switches, score.fragments, score.merges) == (0, 0, 0)
    assert score.tracks == score.people


def test_the_benchmark_counts_what_goes_wrong() -> None:
    clip = clips.crossing()
    right = [own.copy() for own in clip.sources]
    wrong = [own if frame < 60 else 3 - own for frame, own in enumerate(right)]  # 1 and 2 exchanged
    assert track_benchmark.score(clip, right).switches == 0
    score = track_benchmark.score(clip, wrong)
    assert (score.switches, score.fragments, score.merges) == (2, 2, 2)
    assert score.idf1 < 0.7


def standing(*xs: float, ids: list[int] | None = None, size: tuple[int, int] = clips.SIZE) -> Poses:
    """People who stand at these x."""
    points = np.stack([clips.figure(x, 225, 150, 0, 1) for x in xs])
    boxes = np.stack([np.append(clips.box_of(own), 0.9) for own in points])
    return Poses(points, np.ones((len(xs), 17)), boxes, size, "coco_17", None if ids is None else np.asarray(ids))


def test_the_people_come_in_the_order_of_their_ids() -> None:
    tracker = Tracker(Fraction(25), clips.SIZE)
    tracker.update(standing(100, 300), 0)
    result = tracker.update(standing(300, 100), 1)
    assert result.track_ids.tolist() == [0, 1]
    assert result.keypoints[:, 0, 0].tolist() == standing(100, 300).keypoints[:, 0, 0].tolist()


def test_ids_of_others_are_taken_as_they_come() -> None:
    tracker = Tracker(None, clips.SIZE, TrackerOptions(trust_ids=True))
    assert tracker.update(standing(100, 300, ids=[7, 2]), 0).track_ids.tolist() == [2, 7]
    assert tracker.update(standing(100, 300, ids=[2, 7]), 5).track_ids.tolist() == [2, 7]
    with pytest.raises(InputError, match="same track id"):
        tracker.update(standing(100, 300, ids=[2, 2]), 6)


@pytest.mark.parametrize(("seconds", "ids"), [(1.0, [0]), (3.0, [1])])
def test_who_is_away_too_long_in_the_middle_gets_a_new_id(seconds: float, ids: list[int]) -> None:
    tracker = Tracker(Fraction(10), clips.SIZE)
    tracker.update(standing(240), 0)
    assert tracker.update(standing(240), round(10 * seconds)).track_ids.tolist() == ids


def test_a_prediction_goes_on_at_constant_velocity_and_stays_inside() -> None:
    tracker = Tracker(Fraction(25), clips.SIZE)
    for frame in range(10):
        tracker.update(standing(100 + 4.0 * frame), frame)
    last, _ = tracker.predict(9)
    later, ids = tracker.predict(14)
    assert ids.tolist() == [0]
    np.testing.assert_allclose(later - last, [[20, 0, 20, 0]], atol=0.1)
    assert tracker.predict(1000)[0][0, [0, 2]].mean() == pytest.approx(clips.SIZE[0])


def test_a_prediction_goes_no_farther_than_three_body_lengths_and_one_while_the_velocity_is_new() -> None:
    wide = (4000, 270)
    tracker = Tracker(Fraction(25), wide)
    for frame in range(10):
        last = tracker.update(standing(100 + 4.0 * frame, size=wide), frame).boxes[0]
        moved = tracker.predict(1000)[0][0, [0, 2]].mean() - last[[0, 2]].mean()
        assert moved == pytest.approx((0 if frame == 0 else 1 if frame == 1 else 3) * (last[3] - last[1]), abs=1)


@pytest.mark.parametrize("rate", running_people.RATES, ids=lambda rate: f"{rate} fps")
@pytest.mark.parametrize("hidden", [2, 5])
@pytest.mark.parametrize(
    "scene", [running_people.speeding_up, running_people.meeting], ids=lambda scene: scene.__name__
)
def test_a_runner_who_is_hidden_for_some_frames_keeps_their_id(
    scene: running_people.Scene, hidden: int, rate: Fraction
) -> None:
    assert running_people.lost(scene, rate, hidden, seeds=range(2)) == 0


def test_somebody_new_may_move_like_everybody_else_while_the_camera_pans() -> None:
    tracker = Tracker(Fraction(25), clips.SIZE)
    places = {0: [200.0], 1: [170.0], 2: [140.0], 3: [110.0, 430.0], 4: [80.0, 400.0, 430.0], 5: [50.0, 370.0, 400.0]}
    found = [tracker.update(standing(*places[frame]), frame) for frame in places]
    at = [dict(zip(own.track_ids.tolist(), own.boxes[:, [0, 2]].mean(axis=1), strict=True)) for own in found]
    assert [round(at[frame][1]) for frame in (3, 4, 5)] == pytest.approx([430, 400, 370], abs=2)


@pytest.mark.parametrize("make", [clips.flicker, clips.returning, clips.hard_cut], ids=lambda make: make.__name__)
def test_a_resumed_run_equals_an_undisturbed_one(make: Callable[[], clips.Clip]) -> None:
    clip = made(make)
    whole, resumed = Tracker(Fraction(25), clips.SIZE), Tracker(Fraction(25), clips.SIZE)
    for frame, (poses, image) in enumerate(zip(clip.poses, clip.images, strict=True)):
        text = json.dumps(resumed.state(), allow_nan=False)
        resumed = Tracker.from_state(json.loads(text))
        first, second = whole.update(poses, frame, image), resumed.update(poses, frame, image)
        assert first.track_ids.tolist() == second.track_ids.tolist()
    assert json.dumps(whole.state()) == json.dumps(resumed.state())


def test_bad_input() -> None:
    tracker = Tracker(Fraction(25), clips.SIZE)
    tracker.update(standing(100), 3)
    with pytest.raises(InputError, match="in order"):
        tracker.update(standing(100), 3)
    with pytest.raises(InputError, match="clip of"):
        tracker.update(standing(100, size=(999, 270)), 4)
    with pytest.raises(InputError, match="version"):
        Tracker.from_state({**tracker.state(), "version": 99})


def test_nobody() -> None:
    tracker = Tracker(Fraction(25), clips.SIZE)
    assert len(tracker.update(Poses.empty(clips.SIZE, "coco_17"), 0)) == 0
    assert tracker.update(standing(100), 1).track_ids.tolist() == [0]
    assert len(tracker.update(Poses.empty(clips.SIZE, "coco_17"), 2)) == 0


def test_people_without_points_are_tracked_by_their_boxes() -> None:
    tracker = Tracker(Fraction(25), clips.SIZE)
    for frame in range(5):
        poses = standing(100 + 3 * frame, 300 - 3 * frame)
        result = tracker.update(replace(poses, keypoints=np.full_like(poses.keypoints, np.nan)), frame)
        assert result.boxes[:, 0].tolist() == poses.boxes[:, 0].tolist()
        assert result.track_ids.tolist() == [0, 1]


# --- what it stands on ---------------------------------------------------------------------------------------------


def test_oks_by_hand() -> None:
    """One point off by d in a square of area a, sigma s: exp(-d^2 / (2 a (2 s)^2)); unshared points do not count."""
    first = np.asarray([[[0.0, 0.0], [5.0, 5.0], [9.0, 9.0]]])
    second = np.asarray([[[3.0, 4.0], [5.0, 5.0], [np.nan, np.nan]]])
    expected = (np.exp(-25 / (2 * 100 * 0.16**2)) + 1) / 2
    assert oks(first, second, np.asarray([100.0]), np.full(3, 0.08))[0, 0] == pytest.approx(expected)
    assert oks(first, second[:, [2, 2, 2]], np.asarray([100.0]), np.full(3, 0.08))[0, 0] == 0


@pytest.mark.parametrize(
    ("name", "count", "points"), [("coco_17", 17, 17), ("coco_wholebody_133", 133, 17), ("own", 5, 5)]
)
def test_sigmas(name: str, count: int, points: int) -> None:
    assert len(body_sigmas(name, count)) == points


def test_cuts_are_where_the_scene_changes_and_nowhere_else() -> None:
    clip, cuts = clips.hard_cut(), SceneCuts()
    assert [frame for frame, image in enumerate(clip.images) if cuts.update(image)] == [60]


def test_a_slow_fade_is_no_cut() -> None:
    image, cuts = clips.backdrop(3), SceneCuts()
    fade = [np.rint(image * factor).astype(np.uint8) for factor in np.linspace(1, 0.3, 40)]
    assert not any(cuts.update(picture) for picture in fade)


def test_looks_tell_colours_apart_and_know_them_again() -> None:
    clip = clips.crossing()
    first, later = ({int(i): row for i, row in zip(clip.sources[f], looks(clip.images[f], clip.poses[f]), strict=True)}
                    for f in (5, 100))  # fmt: skip
    assert all(likeness(first[i], later[i]) > 0.9 for i in (1, 2))
    assert likeness(first[1], later[2]) < 0.5


def test_whoever_is_covered_has_no_look() -> None:
    poses = standing(200, 200)
    boxes = np.array(poses.boxes)
    boxes[0] += [-10, -10, 10, 10, 0]  # the first is nearer
    seen = looks(clips.backdrop(0), replace(poses, boxes=boxes))
    assert np.isnan(seen).all(axis=(1, 2)).tolist() == [False, True]
    assert np.isnan(likeness(seen[0], seen[1]))


# --- pauses of the recording -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pause", "same"), [(1.0, True), (3.0, True), (21.0, True), (30.0, False)])
def test_ids_over_a_pause_of_the_recording(pause: float, same: bool) -> None:
    """Nobody was seen to leave: people are looked for in their places until they would be forgotten anyway."""
    tracker = Tracker(Fraction(25), clips.SIZE)
    for frame in range(10):
        tracker.update(standing(100, 300), frame, None, frame / 25)
    found = tracker.update(standing(104, 298), 10, None, 10 / 25 + pause)
    assert found.track_ids.tolist() == ([0, 1] if same else [2, 3])


def test_lost_people_are_counted_in_seconds() -> None:
    """Somebody unseen, at the times of a clip of 4 frames per second that states 25."""
    for seconds, ids in ((1.0, [0]), (3.0, [1])):
        tracker = Tracker(Fraction(25), clips.SIZE)
        tracker.update(standing(240), 0, None, 0.0)
        for number in range(1, int(4 * seconds)):
            tracker.update(Poses.empty(clips.SIZE, "coco_17"), number, None, number / 4)
        assert tracker.update(standing(240), int(4 * seconds), None, seconds).track_ids.tolist() == ids


def test_people_walk_on_by_seconds() -> None:
    tracker = Tracker(Fraction(25), clips.SIZE)
    for frame in range(10):
        tracker.update(standing(100 + 4.0 * frame), frame, None, frame / 25)
    last, _ = tracker.predict(9, 9 / 25)
    later, _ = tracker.predict(10, 9 / 25 + 0.2)
    np.testing.assert_allclose(later - last, [[20, 0, 20, 0]], atol=0.1)


def test_times_of_a_constant_rate_change_nothing() -> None:
    with_times, without = Tracker(Fraction(30000, 1001), clips.SIZE), Tracker(Fraction(30000, 1001), clips.SIZE)
    clip = made(clips.flicker)
    for frame, (poses, image) in enumerate(zip(clip.poses[:40], clip.images[:40], strict=True)):
        seconds = round(5 + frame * 1001 / 30000, 3)
        first, second = with_times.update(poses, frame, image, seconds), without.update(poses, frame, image)
        assert first.track_ids.tolist() == second.track_ids.tolist()
    assert {**with_times.state(), "last_seconds": None} == without.state()


def test_a_state_without_times_goes_on() -> None:
    tracker = Tracker(Fraction(25), clips.SIZE)
    tracker.update(standing(100), 0, None, 0.0)
    state = {name: value for name, value in tracker.state().items() if name not in ("last_seconds", "extra_frames")}
    assert Tracker.from_state(state).update(standing(102), 1, None, 0.04).track_ids.tolist() == [0]


def test_the_state_holds_the_pauses() -> None:
    whole = Tracker(Fraction(25), clips.SIZE)
    for frame in range(6):
        whole.update(standing(100 + frame), frame, None, frame / 25 + (1.5 if frame > 2 else 0))
    resumed = Tracker.from_state(json.loads(json.dumps(whole.state())))
    for tracker in (whole, resumed):
        tracker.update(standing(110), 6, None, 8.0)
    assert whole.state() == resumed.state()


def test_frames_that_are_already_estimated_may_have_times() -> None:
    people = [standing(100 + n) for n in range(4)]
    tracked = track_frames(people, Fraction(25), pts=[0, 0.04, 40, 40.04])
    assert tracked.pts.tolist() == [0, 0.04, 40, 40.04]
    assert tracked.track_ids[:, 0].tolist() == [0, 0, 1, 1]
