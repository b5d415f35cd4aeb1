"""Poses of frames that stream by: chunk after chunk, in memory that does not grow with the clip.

`estimate_frames` knows no files: `annotate_clip` keeps its chunks on disk, the nodes take them as they come. Each chunk
carries the state of detection and tracking at its end, from which another call goes on with the same results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from .annotate import CHUNK_PIXELS, annotate_images
from .clip_options import ClipOptions
from .errors import InputError
from .estimator import Estimator, with_scores
from .following import Following
from .poses import Poses, PoseSequence
from .tracking import Tracker

if TYPE_CHECKING:
    from .detector import PersonDetector
    from .video import Frame

STATE_VERSION = 1
FOLLOW = 4
"""So many frames take their boxes from the same poses, so that they share batches."""
_OF_A_FRAME = ("boxes_from", "dropped_boxes", "not_there", "scene_cut")
"""Entries of a frame's meta that do not hold for a clip."""


@dataclass(frozen=True)
class FramePeople:
    """The people of a frame, where the detector is not asked.

    Attributes:
        boxes: (N, 4) or (N, 5) x1, y1, x2, y2 in pixels, score.
        track_ids: (N,) taken as they come where `TrackerOptions.trust_ids` says so.
        masks: (N, H, W) bool; what is not the person is blacked out.
    """

    boxes: np.ndarray
    track_ids: np.ndarray | None = None
    masks: np.ndarray | None = None


@dataclass(frozen=True)
class ChunkResult:
    """Frames that are finished.

    Attributes:
        sequence: their tracked poses, with raw scores. Frames that were not estimated are empty.
        estimated: (T,) bool.
        state: give it to `estimate_frames`, with the frames from `state["next_frame"]` on, to go on. JSON-able.
        last: whether the frames end here.
    """

    sequence: PoseSequence
    estimated: np.ndarray
    state: Mapping[str, Any]
    last: bool


Given = Callable[["Frame"], FramePeople]
"""Says who is in a frame, instead of the detector."""


def estimate_frames(
    frames: Iterable[Frame],
    estimator: Estimator,
    detector: PersonDetector | None,
    options: ClipOptions,
    *,
    frame_rate: Fraction | None = None,
    given: Given | None = None,
    state: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Iterator[ChunkResult]:
    """Tracked poses of the frames, `options.chunk` frames at a time.

    Crops share batches across the people and frames of a chunk. The same frames and options give the same poses,
    whether in one call or in several that go on from a chunk's state (with the estimator's batch size as it was).

    Args:
        frames: in order; all of one size.
        estimator, detector: as in `annotate_images`. The detector may be None where `given` is not.
        options: `every`, `detect_every`, `chunk`, `if_nobody` and `tracker` count here.
        frame_rate: of the source; None: 25 are assumed.
        given: people of each frame, instead of the detector.
        state: of the last chunk of an earlier call.
        on_progress: called with (frames done since the first, None) after each batch of crops; may raise to stop.

    Raises `InputError` for frames of different sizes or out of order, and what estimator and detector raise.
    """
    stream: _Stream | None = None
    for frame, last in _with_last(frames):
        if stream is None:
            stream = _Stream(estimator, detector, options, frame_rate, given, _size_of(frame), on_progress)
            if state is not None:
                stream.restore(state)
        stream.add(frame, last)
        if last or stream.frames_in_chunk == options.chunk:
            yield stream.take_chunk(last)


def _with_last(frames: Iterable[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Each frame, and whether it is the last."""
    held: Frame | None = None
    for frame in frames:
        if held is not None:
            yield held, False
        held = frame
    if held is not None:
        yield held, True


def _size_of(frame: Frame) -> tuple[int, int]:
    return frame.image.shape[1], frame.image.shape[0]


@dataclass(frozen=True)
class _Job:
    """A frame to estimate: its number among those estimated, and the boxes if they do not come from the detector."""

    frame: Frame
    number: int
    cut: bool
    people: FramePeople | None = None
    follows: bool = False


class _Stream:
    """What is known between two frames."""

    def __init__(
        self,
        estimator: Estimator,
        detector: PersonDetector | None,
        options: ClipOptions,
        frame_rate: Fraction | None,
        given: Given | None,
        size: tuple[int, int],
        on_progress: Callable[[int, int | None], None] | None,
    ) -> None:
        self.estimator, self.detector, self.options = estimator, detector, options
        self.frame_rate, self.given, self.size, self.on_progress = frame_rate, given, size, on_progress
        self.tracker = Tracker(frame_rate, size, options.tracker)
        self.following = Following(options.detect_every, options.tracker)
        self._next_estimate, self._number, self._frames_done = 0, 0, 0
        self._pending: list[_Job] = []
        self._times: list[tuple[int, float]] = []
        self._found: dict[int, Poses] = {}
        self._counts: Counter[str] = Counter()

    @property
    def frames_in_chunk(self) -> int:
        return len(self._times)

    def add(self, frame: Frame, last: bool) -> None:
        """The next frame."""
        if _size_of(frame) != self.size:
            raise InputError(f"frame {frame.index} is {_size_of(frame)}, those before {self.size}: expected one size")
        self._times.append((frame.index, frame.pts))
        self._frames_done += 1
        if frame.index < self._next_estimate and not last:
            return
        self._next_estimate = frame.index + self.options.every
        self._queue(_Job(frame, self._number, self.given is None and self.following.sees_cut(frame.image)))
        self._number += 1

    # --- which boxes, and which frames together -------------------------------------------------------------------

    def _queue(self, job: _Job) -> None:
        """Plan a frame for the next call of the estimator, or first make that call where the plan depends on it."""
        if self.size[0] * self.size[1] * (len(self._pending) + 1) > CHUNK_PIXELS:
            self._estimate_pending()
        if self.given is not None:
            job = replace(job, people=self.given(job.frame), follows=False)
        elif job.cut or self.following.needs_detector(job.number):
            self.following.detect(job.number)
            job = replace(job, people=None, follows=False)
        else:
            following = [other.follows for other in self._pending]
            if not all(following) or len(following) == FOLLOW:
                self._estimate_pending()  # for the poses to follow, or for later ones
                self._queue(job)
                return
            boxes = self.following.boxes(self.tracker, job.frame.index)
            job = replace(job, people=FramePeople(boxes), follows=True)
        self._pending.append(job)

    def _estimate_pending(self) -> None:
        """Estimate what is waiting; from the first frame on whose following boxes fail, the detector is asked."""
        while self._pending:
            jobs, self._pending = self._pending, []
            for place, (job, poses) in enumerate(zip(jobs, self._estimate(jobs), strict=True)):
                if job.follows and self.following.doubtful(poses, len(job.people.boxes)):  # type: ignore[union-attr]
                    self._counts["boxes not trusted"] += 1
                    self.following.doubt()
                    for later in jobs[place:]:
                        self._queue(later)
                    break
                self._accept(job, poses)

    def _estimate(self, jobs: Sequence[_Job]) -> list[Poses]:
        people = [job.people for job in jobs]
        results = annotate_images(
            [job.frame.image for job in jobs],
            estimator=self.estimator,
            detector=self.detector,
            boxes=[None if own is None else own.boxes for own in people],
            masks=[None if own is None else own.masks for own in people],
            if_nobody=self.options.if_nobody,
            on_batch=lambda done, crops: self._progress(round(len(jobs) * (1 - done / crops))),
        )
        return [
            poses if own is None or own.track_ids is None else _with_ids(poses, own)
            for poses, own in zip(results, people, strict=True)
        ]

    def _progress(self, waiting: int) -> None:
        if self.on_progress:
            self.on_progress(self._frames_done - waiting, None)

    def _accept(self, job: _Job, poses: Poses) -> None:
        if self.options.tracker.trust_ids and (job.people is None or job.people.track_ids is None):
            raise InputError(f"frame {job.frame.index}: ids are to be taken as they come, but its boxes have none")
        tracked = self.tracker.update(poses, job.frame.index, job.frame.image)
        self.following.accept(tracked, detected=not job.follows)
        self._found[job.frame.index] = tracked
        source = str(poses.meta.get("boxes_from", ""))
        self._counts["frames estimated"] += 1
        self._counts["frames detected"] += job.people is None
        self._counts["whole picture used"] += "whole picture used" in source
        self._counts["boxes left out"] += len(poses.meta.get("dropped_boxes", ()))
        self._counts["people not believed"] += int(poses.meta.get("not_there", 0))

    # --- chunks ----------------------------------------------------------------------------------------------------

    def take_chunk(self, last: bool) -> ChunkResult:
        """The frames since the last chunk."""
        self._estimate_pending()
        self._progress(0)
        sequence = self._sequence()
        estimated = np.asarray([index in self._found for index, _ in self._times])
        next_frame = self._times[-1][0] + 1
        self._times, self._found, self._counts = [], {}, Counter()
        return ChunkResult(sequence, estimated, self._state(next_frame), last)

    def _sequence(self) -> PoseSequence:
        found = list(self._found.values())
        points = max((poses.keypoints.shape[1] for poses in found), default=0)
        nobody = _nobody(self.size, self.estimator.keypoint_set, points)
        poses = [self._found.get(index, nobody) for index, _ in self._times]
        cuts = [index for index, own in self._found.items() if own.meta.get("scene_cut")]
        last = found[-1].meta if found else {}  # of the last frame: its batch size is the one in force
        meta: dict[str, Any] = {name: value for name, value in last.items() if name not in _OF_A_FRAME}
        if self.given is None and hasattr(self.detector, "meta"):
            meta["detector"] = self.detector.meta()
        meta["boxes_from"] = self._boxes_from()
        meta["clip"] = {"counts": {name: n for name, n in self._counts.items() if n}, "scene_cuts": cuts}
        return PoseSequence.from_poses(
            [own if len(own) else nobody for own in poses],
            frame_rate=self.frame_rate,
            pts=[pts for _, pts in self._times],
            frame_index=[index for index, _ in self._times],
            meta=meta,
        )

    def _boxes_from(self) -> str:
        if self.given is not None or self.detector is None:
            return "given"
        every = self.options.detect_every
        return self.detector.name + (f" in each {every}th frame, between by the last poses" if every > 1 else "")

    def _state(self, next_frame: int) -> dict[str, Any]:
        return {
            "version": STATE_VERSION,
            "next_frame": next_frame,
            "next_estimate": self._next_estimate,
            "number": self._number,
            "frames_done": self._frames_done,
            "batch_size": getattr(self.estimator, "batch_size", None),
            "tracker": self.tracker.state(),
            "following": self.following.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a chunk."""
        if state.get("version") != STATE_VERSION:
            raise InputError(f"state of a clip: expected version {STATE_VERSION}, got {state.get('version')!r}")
        self._next_estimate, self._number = state["next_estimate"], state["number"]
        self._frames_done = state["frames_done"]
        self.tracker = Tracker.from_state(state["tracker"])
        self.following.restore(state["following"])


def _nobody(size: tuple[int, int], keypoint_set: str, points: int) -> Poses:
    return Poses(np.zeros((0, points, 2)), np.zeros((0, points)), np.zeros((0, 5)), size, keypoint_set)


def _with_ids(poses: Poses, people: FramePeople) -> Poses:
    """The poses with the ids of the boxes they were found in; the estimator may have left some boxes out."""
    assert people.track_ids is not None
    given = with_scores(people.boxes)
    ids, row = [], 0
    for box in poses.boxes:
        while not np.array_equal(given[row], box):
            row += 1
        ids.append(people.track_ids[row])
        row += 1
    return replace(poses, track_ids=np.asarray(ids, np.int32))
