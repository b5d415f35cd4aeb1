"""Collecting frames of a clip and their tracked poses into a chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from ..poses import Poses, PoseSequence
from ..video.frames import Frame
from .chunks import FRAME_NAMES, ChunkResult
from .images import unsure

STATE_VERSION = 1
_OF_A_FRAME = ("boxes_from", "boxes_found", "dropped_boxes", "not_there", "scene_cut")
"""Entries of a frame's meta that do not apply to a clip."""


@dataclass(frozen=True)
class ClipFacts:
    """What all chunks of a clip have in common.

    Attributes:
        size: (w, h) of the frames.
        frame_rate: of the source, or None.
        keypoint_set: of the estimator.
        meta: "boxes_from" and, if a detector is used, "detector".
    """

    size: tuple[int, int]
    frame_rate: Fraction | None
    keypoint_set: str
    meta: Mapping[str, Any]


@dataclass(eq=False)
class OpenChunk:
    """A chunk that is still growing or waiting for poses.

    Attributes:
        times: number and time of each frame.
        names: file name of each frame, if it is a picture of a folder.
        found: tracked poses by frame number.
        counts: events by name, such as "frames estimated" or "boxes left out".
        planned: the planner's state after the chunk; empty while frames are added.
        last: whether it is the last chunk of the clip.
    """

    times: list[tuple[int, float]] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    found: dict[int, Poses] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    planned: dict[str, Any] = field(default_factory=dict)
    last: bool = False

    def see(self, frame: Frame) -> None:
        """Add the next frame."""
        self.times.append((frame.index, frame.pts))
        self.names.append(frame.name)

    def add(self, frame: Frame, tracked: Poses, *, detected: bool) -> None:
        """Add the poses of one of the frames. `detected`: whether the detector ran on it."""
        self.found[frame.index] = tracked
        self.counts["frames estimated"] += 1
        self.counts["frames detected"] += detected
        self.counts["whole picture used"] += "whole picture used" in str(tracked.meta.get("boxes_from", ""))
        self.counts["boxes left out"] += len(tracked.meta.get("dropped_boxes", ()))
        self.counts["people the detector was not sure of"] += len(unsure(tracked.meta))
        self.counts["people not believed"] += int(tracked.meta.get("not_there", 0))

    def close(self, planned: Mapping[str, Any], last: bool) -> None:
        """End the chunk. `planned`: the state for the frames after it."""
        self.planned, self.last = {"next_frame": self.times[-1][0] + 1, **planned}, last

    def result(self, facts: ClipFacts, batch_size: int, tracker: Mapping[str, Any]) -> ChunkResult:
        """The finished chunk; call this when it has all its poses. The last two arguments become part of its state."""
        state = {"version": STATE_VERSION, **self.planned, "batch_size": batch_size, "tracker": tracker}
        estimated = np.asarray([index in self.found for index, _ in self.times])
        return ChunkResult(self._sequence(facts), estimated, state, self.last)

    def _sequence(self, facts: ClipFacts) -> PoseSequence:
        found = list(self.found.values())
        points = max((poses.keypoints.shape[1] for poses in found), default=0)
        empty = np.zeros((0, points, 2)), np.zeros((0, points)), np.zeros((0, 5))
        nobody = Poses(*empty, facts.size, facts.keypoint_set)
        poses = [self.found.get(index, nobody) for index, _ in self.times]
        cuts = [index for index, frame in self.found.items() if frame.meta.get("scene_cut")]
        last = found[-1].meta if found else {}  # the last frame has the batch size now used
        counts = {name: count for name, count in self.counts.items() if count}
        return PoseSequence.from_poses(
            [frame if len(frame) else nobody for frame in poses],
            frame_rate=facts.frame_rate,
            pts=[pts for _, pts in self.times],
            frame_index=[index for index, _ in self.times],
            meta={
                **{name: value for name, value in last.items() if name not in _OF_A_FRAME},
                **facts.meta,
                **({FRAME_NAMES: self.names} if None not in self.names else {}),
                "clip": {"counts": counts, "scene_cuts": cuts},
            },
        )
