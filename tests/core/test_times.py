"""Rates and pauses, from the times of the frames."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from sdpose_core.errors import InputError
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.times import agreed_rate, clock_of, rate_of

FILM, NTSC = Fraction(24000, 1001), Fraction(30000, 1001)


def in_milliseconds(rate: Fraction | float, count: int = 60) -> np.ndarray:
    """Steps between frames whose times are rounded as in MKV."""
    return np.diff(np.round(np.arange(count) / float(rate), 3))


def sequence(
    pts: list[float] | np.ndarray, rate: Fraction | None = Fraction(25), index: list[int] | None = None
) -> PoseSequence:
    nobody = Poses.empty((64, 48), "coco_17")
    return PoseSequence.from_poses([nobody] * len(pts), frame_rate=rate, pts=pts, frame_index=index)


@pytest.mark.parametrize("rate", [FILM, NTSC, 24, 25, 30, 50, 60, 12, 15, Fraction(25, 2), 1, Fraction(1, 30)], ids=str)
def test_a_wrong_rate_is_replaced_by_that_of_the_times(rate: Fraction) -> None:
    assert agreed_rate(Fraction(1000), in_milliseconds(rate)) == rate


@pytest.mark.parametrize("rate", [FILM, NTSC, Fraction(25), Fraction(60), Fraction(240), Fraction(29)], ids=str)
def test_a_rate_that_fits_is_kept(rate: Fraction) -> None:
    assert agreed_rate(rate, in_milliseconds(rate)) == rate


def test_pauses_do_not_drag_the_rate() -> None:
    steps = np.asarray([0.04] * 10 + [3.0] + [0.04] * 10)
    assert agreed_rate(Fraction(6), steps) == 25


def test_a_varying_rate_is_the_mean() -> None:
    pulldown = np.tile([1 / 30, 1 / 20], 20)
    assert agreed_rate(NTSC, pulldown) == 24
    assert agreed_rate(Fraction(2400, 101), pulldown) == Fraction(2400, 101), "close enough to be meant"


@pytest.mark.parametrize("steps", [[], [np.nan], [0.0, -1.0]])
def test_without_times_the_stated_rate_counts(steps: list[float]) -> None:
    assert agreed_rate(Fraction(12), np.asarray(steps)) == 12
    assert agreed_rate(None, np.asarray(steps)) is None


def test_a_constant_rate_counts_frames() -> None:
    clock = clock_of(sequence(7 + np.round(np.arange(50) / float(NTSC), 3), NTSC, list(range(100, 150))))
    assert (clock.steady, clock.rate) == (True, NTSC)
    assert clock.frames.tolist() == list(range(100, 150))
    assert not clock.stretch.any()


def test_frames_that_were_left_out_are_no_other_rate() -> None:
    every_third = sequence([0.0, 0.12, 0.24, 0.36], Fraction(25), [0, 3, 6, 9])
    assert rate_of(every_third) == 25
    assert clock_of(every_third).frames.tolist() == [0, 3, 6, 9]


def test_a_pause_begins_another_stretch() -> None:
    clock = clock_of(sequence([0, 0.04, 0.08, 3.08, 3.12]))
    assert clock.stretch.tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_allclose(clock.frames, [0, 1, 2, 77, 78])
    slow = clock_of(sequence(np.arange(6) * 2.0, Fraction(1, 2)))
    assert not slow.stretch.any(), "two seconds are the usual step"


def test_pictures_have_no_times() -> None:
    pictures = sequence([0, 0, 0], None)
    assert rate_of(pictures) is None
    assert clock_of(pictures).frames.tolist() == [0, 1, 2]
    assert rate_of(sequence([0, 0.1, 0.2], None)) == 10, "times without a rate"
    assert len(clock_of(sequence([0.0])).frames) == 1


@pytest.mark.parametrize(
    "pts", [[0, 0.08, 0.04], [0, 0.04, 0.04], [0, np.nan, 0.08], [np.nan, 0, 0.04], [0, 0.04, np.inf]]
)
def test_times_that_do_not_rise_are_one_clear_message(pts: list[float]) -> None:
    with pytest.raises(InputError, match="pts of the pose sequence: expected values that rise"):
        clock_of(sequence(pts))
