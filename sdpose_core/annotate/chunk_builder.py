"""Frames of a clip and their tracked poses, collected until they are a chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from ..poses import Poses, PoseSequence
from ..video.frames import Frame
from .chunks import ChunkResult

STATE_VERSION = 1
_OF_A_FRAME = ("boxes_from", "dropped_boxes", "not_there", "scene_cut")
"""Entries of a frame's meta that do not hold for a clip."""


@dataclass(frozen=True)
class ClipFacts:
    """What all chunks of a clip have in common.

    Attributes:
        size: (w, h) of the frames.
        frame_rate: of the source, or None.
        keypoint_set: of the estimator.
        meta: entries that no frame has: "boxes_from", and "detector" where one is asked.
    """

    size: tuple[int, int]
    frame_rate: Fraction | None
    keypoint_set: str
    meta: Mapping[str, Any]


@dataclass(eq=False)
class OpenChunk:
    """Frames that will be handed over together.

    Attributes:
        times: number and time of each frame.
        found: tracked poses by frame number.
        counts: what was out of the ordinary, and how often.
        planned: what the state says of the frames after it; empty while frames are added.
        last: whether the clip ends with it.
    """

    times: list[tuple[int, float]] = field(default_factory=list)
    found: dict[int, Poses] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    planned: dict[str, Any] = field(default_factory=dict)
    last: bool = False

    def see(self, frame: Frame) -> None:
        """The next frame."""
        self.times.append((frame.index, frame.pts))

    def add(self, frame: Frame, tracked: Poses, *, detected: bool) -> None:
        """The poses of one of the frames; whether the detector was asked."""
        self.found[frame.index] = tracked
        self.counts["frames estimated"] += 1
        self.counts["frames detected"] += detected
        self.counts["whole picture used"] += "whole picture used" in str(tracked.meta.get("boxes_from", ""))
        self.counts["boxes left out"] += len(tracked.meta.get("dropped_boxes", ()))
        self.counts["people not believed"] += int(tracked.meta.get("not_there", 0))

    def close(self, planned: Mapping[str, Any], last: bool) -> None:
        """There are no more frames. `planned`: the state of what comes after, as far as it is known."""
        self.planned, self.last = {"next_frame": self.times[-1][0] + 1, **planned}, last

    def result(self, facts: ClipFacts, batch_size: int, tracker: Mapping[str, Any]) -> ChunkResult:
        """The finished chunk, when all its poses are there; batch size and tracker's state belong to its own state."""
        state = {"version": STATE_VERSION, **self.planned, "batch_size": batch_size, "tracker": tracker}
        estimated = np.asarray([index in self.found for index, _ in self.times])
        return ChunkResult(self._sequence(facts), estimated, state, self.last)

    def _sequence(self, facts: ClipFacts) -> PoseSequence:
        found = list(self.found.values())
        points = max((poses.keypoints.shape[1] for poses in found), default=0)
        empty = np.zeros((0, points, 2)), np.zeros((0, points)), np.zeros((0, 5))
        nobody = Poses(*empty, facts.size, facts.keypoint_set)
        poses = [self.found.get(index, nobody) for index, _ in self.times]
        cuts = [index for index, own in self.found.items() if own.meta.get("scene_cut")]
        last = found[-1].meta if found else {}  # of the last frame: its batch size is the one in force
        counts = {name: count for name, count in self.counts.items() if count}
        return PoseSequence.from_poses(
            [own if len(own) else nobody for own in poses],
            frame_rate=facts.frame_rate,
            pts=[pts for _, pts in self.times],
            frame_index=[index for index, _ in self.times],
            meta={
                **{name: value for name, value in last.items() if name not in _OF_A_FRAME},
                **facts.meta,
                "clip": {"counts": counts, "scene_cuts": cuts},
            },
        )
