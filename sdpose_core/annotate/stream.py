"""Poses of frames that stream by: chunk after chunk, in memory that does not grow with the clip.

`estimate_frames` knows no files: `annotate_clip` keeps its chunks on disk, the nodes take them as they come. Each chunk
carries the state of detection and tracking at its end, from which another call goes on with the same results.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..estimation.crop_jobs import Estimator, with_scores
from ..estimation.stage_times import MODEL, StageTimes
from ..poses import Poses, PoseSequence
from ..tracking.following import Following
from ..tracking.tracker import Tracker
from .ahead import Worker, read_ahead, taken
from .chunks import ChunkResult, FramePeople, Given
from .clip_options import ClipOptions
from .images import CHUNK_PIXELS, annotate_images

if TYPE_CHECKING:
    from ..detection.people import PersonDetector
    from ..video.frames import Frame

STATE_VERSION = 1
FOLLOW = 4
"""So many frames take their boxes from the same poses, so that they share batches."""
AHEAD = 8
"""Frames that are decoded, and looked at by the detector, before they are asked for; fewer of large ones."""
_OF_A_FRAME = ("boxes_from", "dropped_boxes", "not_there", "scene_cut")
"""Entries of a frame's meta that do not hold for a clip."""


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
    overlap: bool = False,
    times: StageTimes | None = None,
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
        overlap: decode, detect and estimate in threads of their own, while the caller has the chunk before; the
            results are the same bytes. With `detect_every` above 1 only the decoding: which boxes a frame gets
            depends on the poses before it. `on_progress` is then called in another thread.
        times: told of the work of each stage.

    Raises `InputError` for frames of different sizes or out of order, and what estimator and detector raise.
    """
    times = times or StageTimes()
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        return
    feedback = given is None and options.detect_every > 1
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(Worker("estimator")) if overlap and not feedback else None
        stream = _Stream(estimator, detector, options, frame_rate, given, _size_of(first), on_progress, times, worker)
        if state is not None:
            stream.restore(state)
        source: Iterator[Frame] = itertools.chain([first], _timed(iterator, times))
        del first
        if overlap:
            source = stream.ahead(source, detects=worker is not None)
            stack.callback(source.close)  # type: ignore[attr-defined]
        yield from _chunks(stream, source, options.chunk, times)


def _chunks(stream: _Stream, frames: Iterator[Frame], length: int, times: StageTimes) -> Iterator[ChunkResult]:
    try:
        for frame, last in _with_last(frames):
            stream.add(frame, last)
            del frame
            yield from _written(stream.finished(), times)
            if last or stream.frames_in_chunk == length:
                stream.close_chunk(last)
                yield from _written(stream.finished(), times)
    except Exception:  # what is behind the frame that cannot be read is not lost
        yield from stream.finished(wait=True)
        raise
    yield from _written(stream.finished(wait=True), times)


def _written(chunks: Iterator[ChunkResult], times: StageTimes) -> Iterator[ChunkResult]:
    """The chunks; what the caller does with each is its writing."""
    for chunk in chunks:
        with times.busy("write"):
            yield chunk


def _timed(frames: Iterator[Frame], times: StageTimes) -> Iterator[Frame]:
    while True:
        with times.busy("decode"):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame
        del frame


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


@dataclass
class _Chunk:
    """Frames that will be handed over together.

    Attributes:
        times: number and time of each frame.
        found: tracked poses by frame number.
        planned: what the state says of the frames after it; None while frames are added.
    """

    times: list[tuple[int, float]] = field(default_factory=list)
    found: dict[int, Poses] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    planned: dict[str, Any] | None = None
    last: bool = False


@dataclass(frozen=True)
class _Call:
    """A call of the estimator that may not be finished; it gives poses and the batch size then in force."""

    jobs: Sequence[_Job]
    chunk: _Chunk
    result: Future[tuple[list[Poses], int | None]]


class _LookedAlready:
    """A detector whose answers are there before it is asked, once for each picture."""

    def __init__(self, detector: PersonDetector) -> None:
        self.name = detector.name
        self._detector = detector
        self._found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        if hasattr(detector, "meta"):
            self.meta = detector.meta

    def look(self, image: np.ndarray) -> None:
        self._found[id(image)] = self._detector.detect(image)

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `PersonDetector.detect`."""
        return self._found.pop(id(image))


class _Stream:
    """What is known between two frames.

    Without a worker each call of the estimator is finished when it is made. With one, a call runs while the frames of
    the next are collected and the poses of the one before are tracked.
    """

    def __init__(
        self,
        estimator: Estimator,
        detector: PersonDetector | None,
        options: ClipOptions,
        frame_rate: Fraction | None,
        given: Given | None,
        size: tuple[int, int],
        on_progress: Callable[[int, int | None], None] | None,
        times: StageTimes,
        worker: Worker | None,
    ) -> None:
        self.estimator, self.detector, self.options = estimator, detector, options
        self.frame_rate, self.given, self.size, self.on_progress = frame_rate, given, size, on_progress
        self.tracker = Tracker(frame_rate, size, options.tracker)
        self.following = Following(options.detect_every, options.tracker)
        self.times, self.worker = times, worker
        self._next_estimate, self._number, self._frames_done, self._reported = 0, 0, 0, 0
        self._pending: list[_Job] = []
        self._calls: deque[_Call] = deque()
        self._chunk = _Chunk()
        self._closed: deque[_Chunk] = deque()
        self._size_in_force = self._batch_size()
        if hasattr(estimator, "times"):
            estimator.times = times

    @property
    def frames_in_chunk(self) -> int:
        return len(self._chunk.times)

    def ahead(self, frames: Iterator[Frame], *, detects: bool) -> Iterator[Frame]:
        """The frames, decoded in a thread and, if it `detects` ahead, looked at by the detector in another."""
        count = max(1, min(AHEAD, CHUNK_PIXELS // (4 * self.size[0] * self.size[1])))
        frames = read_ahead(frames, count)
        if not detects or self.given is not None or self.detector is None:
            return frames
        self.detector = looked = _LookedAlready(self.detector)
        return read_ahead(self._looked_at(frames, looked, self._next_estimate), count)

    def _looked_at(self, frames: Iterator[Frame], detector: _LookedAlready, start: int) -> Iterator[Frame]:
        with contextlib.closing(frames):  # type: ignore[type-var]
            for frame, last in _with_last(frames):
                if frame.index >= start or last:
                    start = frame.index + self.options.every
                    with self.times.busy("detect"):
                        detector.look(frame.image)
                yield frame
                del frame

    def add(self, frame: Frame, last: bool) -> None:
        """The next frame."""
        if _size_of(frame) != self.size:
            raise InputError(f"frame {frame.index} is {_size_of(frame)}, those before {self.size}: expected one size")
        self._chunk.times.append((frame.index, frame.pts))
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
            if self.worker is not None:
                self._calls.append(self._call(jobs, self.worker))
                while len(self._calls) > 1:
                    self._take_call()
                return
            for place, (job, poses) in enumerate(zip(jobs, self._estimate(jobs, self._frames_done)[0], strict=True)):
                if job.follows and self.following.doubtful(poses, len(job.people.boxes)):  # type: ignore[union-attr]
                    self._chunk.counts["boxes not trusted"] += 1
                    self.following.doubt()
                    for later in jobs[place:]:
                        self._queue(later)
                    break
                self._accept(job, poses, self._chunk)

    def _call(self, jobs: Sequence[_Job], worker: Worker) -> _Call:
        done = self._frames_done
        return _Call(jobs, self._chunk, worker.submit(lambda: self._estimate(jobs, done, worker.stopped.is_set)))

    def _take_call(self) -> None:
        """Wait for the oldest call, and track its poses. One that failed stays, so that its chunk is never finished."""
        call = self._calls[0]
        results, self._size_in_force = taken(call.result)
        for job, poses in zip(call.jobs, results, strict=True):
            self._accept(job, poses, call.chunk)
        self._calls.popleft()

    def _estimate(
        self, jobs: Sequence[_Job], frames_done: int, stopped: Callable[[], bool] = lambda: False
    ) -> tuple[list[Poses], int | None]:
        """Poses of each job, and the batch size that was in force at the end."""
        people = [job.people for job in jobs]

        def on_batch(done: int, crops: int) -> None:
            if stopped():
                raise _Stopped
            self._progress(frames_done - round(len(jobs) * (1 - done / crops)))

        # An estimator that has times of its own tells apart what it does.
        times = StageTimes() if hasattr(self.estimator, "times") else self.times
        with times.busy(MODEL):
            results = annotate_images(
                [job.frame.image for job in jobs],
                estimator=self.estimator,
                detector=self.detector,
                boxes=[None if own is None else own.boxes for own in people],
                masks=[None if own is None else own.masks for own in people],
                if_nobody=self.options.if_nobody,
                on_batch=on_batch,
            )
        return [
            poses if own is None or own.track_ids is None else _with_ids(poses, own)
            for poses, own in zip(results, people, strict=True)
        ], self._batch_size()

    def _batch_size(self) -> int | None:
        return getattr(self.estimator, "batch_size", None)

    def _progress(self, done: int) -> None:
        if self.on_progress:
            self._reported = done
            self.on_progress(done, None)

    def _accept(self, job: _Job, poses: Poses, chunk: _Chunk) -> None:
        if self.options.tracker.trust_ids and (job.people is None or job.people.track_ids is None):
            raise InputError(f"frame {job.frame.index}: ids are to be taken as they come, but its boxes have none")
        with self.times.busy("track"):
            tracked = self.tracker.update(poses, job.frame.index, job.frame.image)
            self.following.accept(tracked, detected=not job.follows)
        chunk.found[job.frame.index] = tracked
        source = str(poses.meta.get("boxes_from", ""))
        chunk.counts["frames estimated"] += 1
        chunk.counts["frames detected"] += job.people is None
        chunk.counts["whole picture used"] += "whole picture used" in source
        chunk.counts["boxes left out"] += len(poses.meta.get("dropped_boxes", ()))
        chunk.counts["people not believed"] += int(poses.meta.get("not_there", 0))

    # --- chunks ----------------------------------------------------------------------------------------------------

    def close_chunk(self, last: bool) -> None:
        """The frames since the last chunk are one."""
        self._estimate_pending()
        chunk, self._chunk = self._chunk, _Chunk()
        chunk.last = last
        chunk.planned = {
            "next_frame": chunk.times[-1][0] + 1,
            "next_estimate": self._next_estimate,
            "number": self._number,
            "frames_done": self._frames_done,
            "following": self.following.state(),
        }
        self._closed.append(chunk)

    def finished(self, wait: bool = False) -> Iterator[ChunkResult]:
        """Closed chunks whose poses are there; with `wait` all, as soon as they are."""
        while self._closed:
            chunk = self._closed[0]
            while wait and any(call.chunk is chunk for call in self._calls):
                self._take_call()
            if any(call.chunk is chunk for call in self._calls):
                return
            self._closed.popleft()
            if (done := chunk.planned["frames_done"]) >= self._reported:  # type: ignore[index]
                self._progress(done)
            yield ChunkResult(
                self._sequence(chunk),
                np.asarray([index in chunk.found for index, _ in chunk.times]),
                self._state(chunk),
                chunk.last,
            )

    def _sequence(self, chunk: _Chunk) -> PoseSequence:
        found = list(chunk.found.values())
        points = max((poses.keypoints.shape[1] for poses in found), default=0)
        nobody = _nobody(self.size, self.estimator.keypoint_set, points)
        poses = [chunk.found.get(index, nobody) for index, _ in chunk.times]
        cuts = [index for index, own in chunk.found.items() if own.meta.get("scene_cut")]
        last = found[-1].meta if found else {}  # of the last frame: its batch size is the one in force
        meta: dict[str, Any] = {name: value for name, value in last.items() if name not in _OF_A_FRAME}
        if self.given is None and hasattr(self.detector, "meta"):
            meta["detector"] = self.detector.meta()
        meta["boxes_from"] = self._boxes_from()
        meta["clip"] = {"counts": {name: n for name, n in chunk.counts.items() if n}, "scene_cuts": cuts}
        return PoseSequence.from_poses(
            [own if len(own) else nobody for own in poses],
            frame_rate=self.frame_rate,
            pts=[pts for _, pts in chunk.times],
            frame_index=[index for index, _ in chunk.times],
            meta=meta,
        )

    def _boxes_from(self) -> str:
        if self.given is not None or self.detector is None:
            return "given"
        every = self.options.detect_every
        return self.detector.name + (f" in each {every}th frame, between by the last poses" if every > 1 else "")

    def _state(self, chunk: _Chunk) -> dict[str, Any]:
        assert chunk.planned is not None
        return {
            "version": STATE_VERSION,
            **chunk.planned,
            "batch_size": self._batch_size() if self.worker is None else self._size_in_force,
            "tracker": self.tracker.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a chunk."""
        if state.get("version") != STATE_VERSION:
            raise InputError(f"state of a clip: expected version {STATE_VERSION}, got {state.get('version')!r}")
        self._next_estimate, self._number = state["next_estimate"], state["number"]
        self._frames_done = state["frames_done"]
        self.tracker = Tracker.from_state(state["tracker"])
        self.following.restore(state["following"])


class _Stopped(Exception):
    """Nobody waits for the results any more."""


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
