"""Planning which frames of a clip are estimated, in which boxes, and which share a call of the estimator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError
from ..poses import Poses
from ..times import is_pause
from ..tracking.following import Following
from ..tracking.tracker import Tracker
from ..video.frames import Frame
from .chunks import Given
from .clip_options import ClipOptions
from .images import CHUNK_PIXELS, FramePeople

FOLLOW = 4
"""Number of frames whose boxes follow the same poses, so that they share batches."""


@dataclass(frozen=True)
class FrameJob:
    """A frame to estimate.

    Attributes:
        number: its position among the frames that are estimated.
        cut: whether a scene begins with it.
        people: its people; None: the detector finds them.
        follows: whether the boxes follow the last poses.
    """

    frame: Frame
    number: int
    cut: bool
    people: FramePeople | None = None
    follows: bool = False


class Planner:
    """Plans the calls of the estimator from the frames and from the poses of earlier calls.

    Args:
        size: (w, h) of the frames.
        tracker: predicts where people move.
        given: gives the people of a frame, instead of the detector and earlier poses.
    """

    def __init__(self, options: ClipOptions, size: tuple[int, int], tracker: Tracker, given: Given | None) -> None:
        self.options, self.size, self.tracker, self.given = options, size, tracker, given
        self.following = Following(options.detect_every, options.tracker)
        self.next_estimate, self.number = 0, 0
        self.pending: list[FrameJob] = []

    def job(self, frame: Frame, last: bool) -> FrameJob | None:
        """The next frame as a job; None if its poses will be interpolated."""
        if frame.index < self.next_estimate and not last:
            return None
        self.next_estimate = frame.index + self.options.every
        job = FrameJob(frame, self.number, cut=self.given is None and self.following.sees_cut(frame.image))
        self.number += 1
        return job

    def add(self, job: FrameJob) -> bool:
        """Add a job to the next call. False: make that call first, because it is full or the job depends on it."""
        if self.pending and self.size[0] * self.size[1] * (len(self.pending) + 1) > CHUNK_PIXELS:
            return False
        if self.given is not None:
            job = replace(job, people=self.given(job.frame), follows=False)
        elif job.cut or self.following.needs_detector(job.number) or self._paused_before(job):
            self.following.detect(job.number)
            job = replace(job, people=None, follows=False)
        else:
            following = [other.follows for other in self.pending]
            if not all(following) or len(following) == FOLLOW:
                return False  # the poses to follow are not known yet, or newer ones are due
            boxes = self.following.boxes(self.tracker, job.frame.index, job.frame.pts)
            job = replace(job, people=FramePeople(boxes), follows=True)
        self.pending.append(job)
        return True

    def _paused_before(self, job: FrameJob) -> bool:
        """Whether the recording paused before the frame of a job: the last poses do not say where people are then."""
        frame = job.frame
        if not self.pending:
            return self.tracker.pauses_before(frame.index, frame.pts)
        last, rate = self.pending[-1].frame, self.tracker.frame_rate
        return is_pause((frame.pts - last.pts) * float(rate), frame.index - last.index, rate)

    def take(self) -> list[FrameJob]:
        """Remove and return the jobs of the next call."""
        jobs, self.pending = self.pending, []
        return jobs

    def doubts(self, job: FrameJob, poses: Poses) -> bool:
        """Whether the poses of a job cannot be trusted. If so, add it and the jobs after it again: the detector is next
        to run."""
        if job.people is None or not job.follows:
            return False
        doubtful = self.following.doubtful(poses, len(job.people.boxes))
        if doubtful:
            self.following.doubt()
        return doubtful

    def track(self, job: FrameJob, poses: Poses) -> Poses:
        """The poses of a job with their track ids; call this in the order of the frames."""
        if self.options.tracker.trust_ids and (job.people is None or job.people.track_ids is None):
            raise InputError(f"frame {job.frame.index}: trust_ids expects track ids, but its boxes have none")
        tracked = self.tracker.update(poses, job.frame.index, job.frame.image, job.frame.pts)
        self.following.accept(tracked, detected=not job.follows)
        return tracked

    def boxes_from(self, detector_name: str | None) -> str:
        """Where the boxes of the clip come from, in words."""
        if self.given is not None or detector_name is None:
            return "given"
        every = self.options.detect_every
        return detector_name + (f" on one frame in {every}, the last poses in between" if every > 1 else "")

    def state(self) -> dict[str, Any]:
        """The state for `restore`, without the tracker's; call this while no jobs are pending. JSON-able."""
        return {"next_estimate": self.next_estimate, "number": self.number, "following": self.following.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state`."""
        self.next_estimate, self.number = state["next_estimate"], state["number"]
        self.following.restore(state["following"])
