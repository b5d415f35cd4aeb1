"""The frames of an export: another frame rate, and the number of frames that a tool requires."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from ..errors import InputError
from ..pose_values import MAX_FRAMES
from ..poses import Poses, PoseSequence
from ..times import clock_of, has_times


@dataclass(frozen=True)
class Timeline:
    """N moments between the frames of a sequence.

    Attributes:
        before, after: (N,) positions of the frames around each moment.
        weight: (N,) position of each moment between `before` (0) and `after` (1).
    """

    before: np.ndarray
    after: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.before)

    @property
    def nearest(self) -> np.ndarray:
        return np.where(self.weight < 0.5, self.before, self.after)

    def to_length(self, count: int) -> Timeline:
        """The first `count` moments; if there are fewer, the last one is repeated."""
        index = np.minimum(np.arange(count), len(self) - 1)
        return Timeline(self.before[index], self.after[index], self.weight[index])


def every_frame(sequence: PoseSequence) -> Timeline:
    index = np.arange(len(sequence))
    return Timeline(index, index, np.zeros(len(sequence)))


def at_rate(sequence: PoseSequence, frame_rate: Fraction) -> Timeline:
    """Moments at a constant rate from the first frame: int(duration x rate) of them, at least 1.

    The last frame lasts one frame of the sequence's rate. While the recording pauses, the frame before it stays. Raises
    `InputError` for a sequence of pictures, and for times that do not rise.
    """
    if not has_times(sequence):
        raise InputError("a sequence of pictures has no times: do not set a frame rate")
    clock = clock_of(sequence)
    pts = sequence.pts - sequence.pts[0]
    duration = pts[-1] + 1 / float(clock.rate)
    count = max(int(duration * float(frame_rate) + 1e-6), 1)
    if count > MAX_FRAMES:
        raise InputError(f"{count:,} frames at {float(frame_rate):g} per second, the limit is {MAX_FRAMES:,}: split it")
    times = np.arange(count) / float(frame_rate)
    before = np.clip(np.searchsorted(pts, times + 1e-9, side="right") - 1, 0, len(pts) - 1)
    after = np.minimum(before + 1, len(pts) - 1)
    gap = pts[after] - pts[before]
    weight = np.where(gap > 0, (times - pts[before]) / np.where(gap > 0, gap, 1), 0)
    weight = np.where(clock.stretch[before] == clock.stretch[after], weight, 0)
    return Timeline(before, after, np.clip(weight, 0, 1).round(6))


def frame_count(rule: str, available: int) -> int:
    """The number of frames to write of `available`.

    Args:
        rule: "all"; an exact number; or a form such as "4n+1": the next number of that form, so that no motion is lost.

    Raises `InputError` for another rule.
    """
    if rule == "all":
        return available
    form = re.fullmatch(r"(?:(\d+)n\+)?(\d+)", rule.replace(" ", ""))
    if form is None or int(form[2]) < 1 and form[1] is None or form[1] == "0":
        raise InputError(f"number of frames: expected all, a number such as 77, or a form such as 4n+1, got {rule!r}")
    offset = int(form[2])
    if max(len(form[1] or ""), len(form[2])) > 7:
        raise InputError(f"number of frames: expected at most {MAX_FRAMES:,}, got {rule!r:.60}")
    if form[1] is None:
        return offset
    step = int(form[1])
    return offset + step * max(-(-(available - offset) // step), 0)


def edited_frames(sequence: PoseSequence) -> np.ndarray:
    """(N,) positions, rising, of frames with a point that was placed, swapped or deleted by hand, or that followed."""
    if sequence.edited is None:
        return np.zeros(0, np.int64)
    return np.flatnonzero((sequence.edited & (sequence.track_ids >= 0)[..., None]).any(axis=(1, 2)))


def pose_at(sequence: PoseSequence, timeline: Timeline, number: int) -> Poses:
    """The people of the frame nearest to a moment, interpolated if a person is in both frames.

    Points missing in either frame are taken from the nearest one.
    """
    before, after = int(timeline.before[number]), int(timeline.after[number])
    weight = float(timeline.weight[number])
    near, far = (before, after) if weight < 0.5 else (after, before)
    share = min(weight, 1 - weight)
    poses = sequence.frame(near)
    if share == 0 or not len(poses):
        return poses
    other = sequence.frame(far)
    assert poses.track_ids is not None and other.track_ids is not None
    mine, theirs = np.nonzero(poses.track_ids[:, None] == other.track_ids[None, :])
    both = np.isfinite(poses.keypoints[mine]).all(-1) & np.isfinite(other.keypoints[theirs]).all(-1)

    def mixed(values: np.ndarray, others: np.ndarray, where: np.ndarray) -> np.ndarray:
        result = np.array(values)
        result[mine] = np.where(where, values[mine] * (1 - share) + others[theirs] * share, values[mine])
        return result

    return replace(
        poses,
        keypoints=mixed(poses.keypoints, other.keypoints, both[..., None]),
        scores=mixed(poses.scores, other.scores, both),
        boxes=mixed(poses.boxes, other.boxes, np.ones((len(mine), 1), bool)),
    )
