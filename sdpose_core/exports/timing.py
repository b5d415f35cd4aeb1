"""Which frames an export shows: another frame rate, by time stamps, and the number of frames that a tool asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from ..errors import InputError
from ..poses import Poses, PoseSequence


@dataclass(frozen=True)
class Timeline:
    """N moments between the frames of a sequence.

    Attributes:
        before, after: (N,) positions of the frames around each moment; equal where the moment is a frame.
        weight: (N,) how far each moment lies from `before` to `after`, 0 to 1.
    """

    before: np.ndarray
    after: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.before)

    @property
    def nearest(self) -> np.ndarray:
        """(N,) positions of the nearest frames."""
        return np.where(self.weight < 0.5, self.before, self.after)

    def to_length(self, count: int) -> Timeline:
        """The first `count` moments, the last one held where there are fewer."""
        index = np.minimum(np.arange(count), len(self) - 1)
        return Timeline(self.before[index], self.after[index], self.weight[index])


def every_frame(sequence: PoseSequence) -> Timeline:
    """The frames of the sequence as they are."""
    index = np.arange(len(sequence))
    return Timeline(index, index, np.zeros(len(sequence)))


def at_rate(sequence: PoseSequence, frame_rate: Fraction) -> Timeline:
    """Moments at a constant rate from the first frame, by the time stamps: int(duration x rate) of them, at least 1.

    The last frame lasts as long as the sequence's frame rate says. Raises `InputError` for a sequence of pictures.
    """
    if sequence.frame_rate is None:
        raise InputError("a sequence of pictures has no times: leave its frame rate as it is")
    pts = sequence.pts - sequence.pts[0]
    duration = pts[-1] + 1 / float(sequence.frame_rate)
    times = np.arange(max(int(duration * float(frame_rate) + 1e-6), 1)) / float(frame_rate)
    before = np.clip(np.searchsorted(pts, times + 1e-9, side="right") - 1, 0, len(pts) - 1)
    after = np.minimum(before + 1, len(pts) - 1)
    gap = pts[after] - pts[before]
    weight = np.where(gap > 0, (times - pts[before]) / np.where(gap > 0, gap, 1), 0)
    return Timeline(before, after, np.clip(weight, 0, 1).round(6))


def frame_count(rule: str, available: int) -> int:
    """How many frames to write of `available`.

    Args:
        rule: "all"; a number, for exactly so many; or a form such as "4n+1" for the next number of that form (held
            frames are added rather than motion lost).

    Raises `InputError` for another rule.
    """
    if rule == "all":
        return available
    form = re.fullmatch(r"(?:(\d+)n\+)?(\d+)", rule.replace(" ", ""))
    if form is None or int(form[2]) < 1 and form[1] is None or form[1] == "0":
        raise InputError(f"number of frames: expected all, a number such as 77, or a form such as 4n+1, got {rule!r}")
    offset = int(form[2])
    if form[1] is None:
        return offset
    step = int(form[1])
    return offset + step * max(-(-(available - offset) // step), 0)


def pose_at(sequence: PoseSequence, timeline: Timeline, number: int) -> Poses:
    """The people at a moment: those of the nearest frame, between the two frames where a person is in both.

    A point that only one of the frames has is that of the nearest, or absent with it.
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

    def mixed(own: np.ndarray, others: np.ndarray, where: np.ndarray) -> np.ndarray:
        result = np.array(own)
        result[mine] = np.where(where, own[mine] * (1 - share) + others[theirs] * share, own[mine])
        return result

    return replace(
        poses,
        keypoints=mixed(poses.keypoints, other.keypoints, both[..., None]),
        scores=mixed(poses.scores, other.scores, both),
        boxes=mixed(poses.boxes, other.boxes, np.ones((len(mine), 1), bool)),
    )
