"""What the signals of one person read, and what they have in common for all points of a frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...poses import PoseSequence
from ..tracks import Track
from .layout import Layout
from .windows import distance, middle_of_seven, speed_of


@dataclass(frozen=True, eq=False)
class Others:
    """The other people around one person.

    Attributes:
        sequence: of all of them.
        frames: (N,) positions in it of the person's frames.
        there: (N, P) bool: slots in which there is somebody else.
    """

    sequence: PoseSequence
    frames: np.ndarray
    there: np.ndarray

    def each(self, points: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Of each slot: the rows (R,) of the N in which somebody is there, their points (R, k, 2), boxes (R, 4)."""
        for slot in np.flatnonzero(self.there.any(axis=0)).tolist():
            rows = np.flatnonzero(self.there[:, slot])
            frames = self.frames[rows]
            yield rows, self.sequence.keypoints[frames[:, None], slot, points], self.sequence.boxes[frames, slot, :4]


@dataclass(frozen=True, eq=False)
class Scene:
    """One person of a sequence, N frames long.

    Attributes:
        track: float32.
        raw: the same person and frames before cleaning, if known.
        others: the people around.
        size: (w, h) of the picture.
        seconds: (N,) since the first frame.
        appears, disappears: whether the person does so within the recording, not at its ends or at a cut.
        radius: (N, K) pixels, see `layout.radii`.
        layout: of the keypoint set.
        rows: (R,) the frames in which the person is present.
        alone: whether the frames have nothing to do with one another, as people in pictures.
    """

    track: Track
    raw: Track | None
    others: Others
    size: tuple[int, int]
    seconds: np.ndarray
    appears: bool
    disappears: bool
    radius: np.ndarray
    layout: Layout
    rows: np.ndarray
    alone: bool = False

    @cached_property
    def part_scores(self) -> np.ndarray:
        """(N, G) mean score of each group of points, 0 for a group without points."""
        result = np.zeros((len(self.track), self.layout.groups), np.float32)
        for group in np.unique(self.layout.group).tolist():
            result[:, group] = self.track.scores[:, self.layout.group == group].mean(axis=1)
        return result

    @cached_property
    def middle(self) -> np.ndarray:
        """(N, 2) pixels: median of the points that place the person, NaN without any."""
        return median_of_points(self.track.keypoints[:, self.layout.body])

    @cached_property
    def motion(self) -> np.ndarray:
        """(N, 2) pixels per frame: median motion of these points."""
        return median_of_points(speed_of(self.track.keypoints[:, self.layout.body], self.track.stretch))

    @cached_property
    def person_radius(self) -> np.ndarray:
        """(N,) pixels: a tenth of the torso."""
        return self.radius[:, self.layout.body].min(axis=1)

    @cached_property
    def swapped(self) -> np.ndarray:
        """(N, sides) in radii: what an exchange of left and right would save, see `swap_gain`."""
        return swap_gain(self, self.track)

    @cached_property
    def raw_swapped(self) -> np.ndarray:
        """The same of the points before cleaning, which must be known."""
        assert self.raw is not None
        return swap_gain(self, self.raw)

    @cached_property
    def facing(self) -> np.ndarray:
        """(N,) in 0..1: shoulders and hips, or shoulders and eyes, are in opposite orders from left to right."""
        points = self.track.keypoints
        wide = [np.clip((points[:, a, 0] - points[:, b, 0]) / (5 * self.radius[:, a]), -1, 1)
                for a, b in self.layout.widths]  # fmt: skip
        worst = np.zeros(len(self.track), np.float32)
        for other in wide[1:]:
            worst = np.fmax(worst, -wide[0] * other)
        return worst

    @cached_property
    def box_jump(self) -> np.ndarray:
        """(N,) in radii: how far a corner of the box is from the middle of the frames around."""
        corners = self.track.boxes[:, :4].reshape(-1, 2, 2)
        away = distance(corners, middle_of_seven(corners, self.track.stretch)).max(axis=1)
        return np.nan_to_num(away) / self.person_radius

    @cached_property
    def brief(self) -> np.ndarray:
        """(N,) in 0..2: near in time to where the person appears or disappears; here for less than a second."""
        seconds, nearest = self.seconds, np.full(len(self.track), np.inf)
        if self.appears:
            nearest = np.minimum(nearest, seconds - seconds[0])
        if self.disappears:
            nearest = np.minimum(nearest, seconds[-1] - seconds)
        short = max(1 - float(seconds[-1] - seconds[0]), 0) if self.appears or self.disappears else 0
        return np.clip(1 - nearest / 0.5, 0, 1) + short


def median_of_points(values: np.ndarray) -> np.ndarray:
    """(N, B, C) -> (N, C) median of the known points (the lower one of two), NaN without any."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    return np.take_along_axis(ordered, np.maximum(count - 1, 0)[:, None] // 2, axis=1)[:, 0]


def swap_gain(scene: Scene, track: Track) -> np.ndarray:
    """(N, sides) radii by which exchanging left and right brings arms, legs and head nearer to the frames around."""
    gain = np.zeros((len(track), max(len(scene.layout.sides), 1)), np.float32)
    for side, pairs in enumerate(scene.layout.sides):
        left, right = track.keypoints[:, pairs[:, 0]], track.keypoints[:, pairs[:, 1]]
        around_left, around_right = (middle_of_seven(points, track.stretch) for points in (left, right))
        straight = distance(left, around_left) + distance(right, around_right)
        crossed = distance(left, around_right) + distance(right, around_left)
        saved = (straight - crossed) / scene.radius[:, pairs[0, 0]][:, None]
        known = np.isfinite(saved)
        gain[:, side] = np.where(known, saved, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.maximum(gain, 0)
