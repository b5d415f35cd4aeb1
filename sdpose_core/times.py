"""The times of frames: what everything that works over time reads, instead of counting frames.

The frame rate that a file states may be wrong, and a recording may pause. The times of the frames decide.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .pose_values import check_rising
from .poses import USUAL_RATE, PoseSequence

CONTRADICTION = 0.05
"""A stated rate that differs by a larger share from the times of the frames is not used."""

EVEN = 0.75
"""From this share of equal steps on, the others count as pauses; below it the rate varies, and its mean counts."""

ROUNDING = 0.002
"""Seconds. Containers that round times to milliseconds are off by less."""

PAUSE_SECONDS, PAUSE_STEPS = 0.5, 5
"""The recording pauses where a step in time is longer than both: so many seconds, and so many usual steps."""

_USUAL = (
    *(Fraction(n) for n in (24, 25, 30, 48, 50, 60, 90, 100, 120, 240)),
    *(Fraction(1000 * n, 1001) for n in (24, 30, 48, 60, 120, 240)),
)
"""Frame rates of cameras, films and screens."""


def agreed_rate(stated: Fraction | None, steps: np.ndarray) -> Fraction | None:
    """Frames per second: the stated rate, or that of the times if both contradict.

    Args:
        stated: by the file; None: unknown.
        steps: (N,) seconds from one frame to the next; those that are not positive are ignored.

    The rate of the times is that of the usual step if most steps are equal (pauses do not count), otherwise the mean.
    It is `stated` if there are no steps.
    """
    steps = np.asarray(steps, np.float64)
    steps = steps[np.isfinite(steps) & (steps > 0)]
    if not len(steps):
        return stated
    usual = float(np.median(steps))
    counted = steps[np.abs(steps - usual) <= max(usual / 10, ROUNDING)]
    if len(counted) < EVEN * len(steps):
        counted = steps[~_is_pause(steps, usual)]
    step = float(counted.mean())
    if stated is not None and abs(float(stated) * step - 1) <= CONTRADICTION:
        return stated
    return _usual_rate(step, error=max(ROUNDING / 2 / len(counted), step / 10_000))


def _usual_rate(step: float, error: float) -> Fraction:
    """The rate of frames `step` seconds apart, known to within `error`: a usual one, a whole one, or as it is."""

    def nearest(rates: Iterable[Fraction]) -> Fraction | None:
        off = {rate: abs(1 / float(rate) - step) for rate in rates if rate > 0}
        return min((rate for rate in off if off[rate] <= error), key=off.__getitem__, default=None)

    exact = Fraction(1 / step).limit_denominator(1001) or 1 / Fraction(step).limit_denominator(1_000_000)
    return nearest(_USUAL) or nearest([Fraction(round(1 / step))]) or exact


def _is_pause(steps: np.ndarray, usual: float) -> np.ndarray:
    """(N,) bool of steps in seconds."""
    return steps > max(PAUSE_SECONDS, PAUSE_STEPS * usual)


def is_pause(frames: float, usual: float, rate: Fraction) -> bool:
    """Whether the recording paused in a step of `frames`, where `usual` are expected, in frames of `rate`."""
    return bool(_is_pause(np.asarray(frames / float(rate)), usual / float(rate)))


def frames_between(seconds: float, frames: int, rate: Fraction) -> float:
    """A step in time, in frames of `rate`: exactly `frames`, the difference of the numbers, if the rate is kept."""
    off = abs(seconds - float(frames / rate))
    return frames if off <= _tolerance(rate) else seconds * float(rate)


def times_to_write(times: Sequence[float], rate: Fraction) -> list[float] | None:
    """Seconds from the first frame, for a video with the same times; None if the rate is constant."""
    if all(frames_between(after - before, 1, rate) == 1 for before, after in itertools.pairwise(times)):
        return None
    return [time - times[0] for time in times]


def _tolerance(rate: Fraction) -> float:
    """Seconds by which times may differ from a constant rate."""
    return min(ROUNDING, float(1 / rate) / 2)


@dataclass(frozen=True)
class Clock:
    """The times of the T frames of a sequence.

    Attributes:
        rate: frames per second, which the times agree with.
        frames: (T,) float64, time in frames of that rate; the frame numbers of the source if the rate is constant.
        stretch: (T,) which uninterrupted part of the recording each frame is in, from 0.
        steady: whether the rate is constant.
    """

    rate: Fraction
    frames: np.ndarray
    stretch: np.ndarray
    steady: bool


def clock_of(sequence: PoseSequence) -> Clock:
    """The times of a sequence; frames without times (all 0, and no rate) are taken as 25 per second.

    Raises `InputError` if times or frame numbers do not rise.
    """
    index = sequence.frame_index.astype(np.float64)
    if len(sequence) < 2 or not has_times(sequence):
        return Clock(sequence.frame_rate or USUAL_RATE, index, np.zeros(len(sequence), np.int64), True)
    check_rising("frame_index", sequence.frame_index)
    check_rising("pts", sequence.pts)
    rate = rate_of(sequence) or USUAL_RATE
    seconds = sequence.pts - sequence.pts[0]
    steady = bool(np.abs(seconds - (index - index[0]) / float(rate)).max() <= _tolerance(rate))
    frames = index if steady else index[0] + seconds * float(rate)
    steps = np.diff(frames)
    paused = _is_pause(steps / float(rate), float(np.median(steps)) / float(rate))
    return Clock(rate, frames, np.concatenate([[0], np.cumsum(paused)]), steady)


def has_times(sequence: PoseSequence) -> bool:
    """Whether a sequence has times; pictures have none."""
    return sequence.frame_rate is not None or bool((sequence.pts != 0).any())


def rate_of(sequence: PoseSequence) -> Fraction | None:
    """Frames per second of a sequence by its times; None for pictures."""
    if not has_times(sequence):
        return None
    numbers = np.diff(sequence.frame_index)
    return agreed_rate(sequence.frame_rate, np.diff(sequence.pts) / np.where(numbers > 0, numbers, np.nan))
