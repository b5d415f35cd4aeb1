"""Estimating a stream of frames chunk by chunk, in memory that does not grow with the clip.

Each chunk has the state of detection and tracking at its end; another call resumes from it with the same results.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..estimation.crop_jobs import Estimator, OnBatch
from ..estimation.stage_times import StageTimes
from ..poses import Poses
from ..tracking.tracker import Tracker
from .ahead import Worker, read_ahead
from .calls import DetectorAhead, EstimatorCalls
from .chunk_builder import STATE_VERSION, ClipFacts, OpenChunk
from .chunks import ChunkResult, Given
from .clip_options import ClipOptions
from .images import CHUNK_PIXELS
from .missed import MissedPeople
from .planner import FrameJob, Planner

if TYPE_CHECKING:
    from ..detection.people import PersonDetector
    from ..video.frames import Frame

AHEAD = 8
"""Number of frames that are decoded and detected in advance; fewer if they are large."""


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
    on_crops: OnBatch | None = None,
    overlap: bool = False,
    times: StageTimes | None = None,
) -> Generator[ChunkResult, None, None]:
    """Tracked poses of the frames, `options.chunk` frames at a time.

    Crops share batches across the people and frames of a chunk. The same frames and options give the same poses,
    in one call or in several that resume from a chunk's state (with the same batch size).

    Args:
        frames: in order; all of one size.
        estimator, detector: as in `annotate_images`. With `given`, the detector may be None.
        options: `every`, `detect_every`, `chunk`, `if_nobody`, `presence` and `tracker` are used.
        frame_rate: of the source; None: 25.
        given: gives the people of each frame, instead of the detector.
        state: of the last chunk of an earlier call.
        on_progress: called with (frames done since the first, None) after each batch of crops; may raise to stop.
        on_crops: called with (crops done, total crops) of the frames that share batches, first with none done, in the
            same thread as `on_progress`.
        overlap: decode, detect and estimate in separate threads while the caller handles the chunk before; the
            results have the same bytes. With `detect_every` above 1 only decoding overlaps, because the boxes of a
            frame depend on the poses before it. `on_progress` is then called in another thread.
        times: records the time of each stage.

    Raises `InputError` for frames of different sizes or out of order, and what estimator and detector raise.
    """
    times = times or StageTimes()
    estimator.times = times
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        return
    planner = _planner(options, _size_of(first), frame_rate, given, state)
    facts = _facts(planner, estimator, detector, frame_rate)
    source: Iterator[Frame] = itertools.chain([first], _timed(iterator, times))
    del first
    feedback = given is None and options.detect_every > 1
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(Worker("estimator")) if overlap and not feedback else None
        if overlap:
            early = detector if worker is not None and given is None else None
            source, looked = _ahead(source, early, planner, times)
            detector = looked or detector
            stack.callback(source.close)  # type: ignore[attr-defined]
        progress = _Progress(on_progress)
        calls = EstimatorCalls(estimator, detector, options.if_nobody, options.presence, progress, worker, on_crops)
        stream = _Stream(planner, calls, facts, progress, times, 0 if state is None else state["frames_done"])
        yield from _chunks(stream, source, options.chunk, times)


def _planner(
    options: ClipOptions,
    size: tuple[int, int],
    frame_rate: Fraction | None,
    given: Given | None,
    state: Mapping[str, Any] | None,
) -> Planner:
    """A new planner, or one that continues from a chunk's state."""
    if state is None:
        return Planner(options, size, Tracker(frame_rate, size, options.tracker), given)
    if state.get("version") != STATE_VERSION:
        raise InputError(f"state of a clip: expected version {STATE_VERSION}, got {state.get('version')!r}")
    planner = Planner(options, size, Tracker.from_state(state["tracker"]), given)
    planner.restore(state)
    return planner


def _facts(
    planner: Planner, estimator: Estimator, detector: PersonDetector | None, frame_rate: Fraction | None
) -> ClipFacts:
    asked = detector if planner.given is None else None
    meta: dict[str, Any] = {"boxes_from": planner.boxes_from(None if asked is None else asked.name)}
    if asked is not None:
        meta["detector"] = asked.meta()
    return ClipFacts(planner.size, frame_rate, estimator.keypoint_set, meta)


def _chunks(stream: _Stream, frames: Iterator[Frame], length: int, times: StageTimes) -> Iterator[ChunkResult]:
    try:
        for frame, last in _with_last(frames):
            stream.add(frame, last)
            del frame
            yield from _written(stream.finished(), times)
            if last or stream.frames_in_chunk == length:
                stream.close_chunk(last)
                yield from _written(stream.finished(), times)
    except Exception:  # keep the chunks before a frame that cannot be read
        yield from stream.finished(wait=True)
        raise
    yield from _written(stream.finished(wait=True), times)


def _written(chunks: Iterator[ChunkResult], times: StageTimes) -> Iterator[ChunkResult]:
    """The chunks; the caller's time with each counts as writing."""
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


def _ahead(
    frames: Iterator[Frame], detector: PersonDetector | None, planner: Planner, times: StageTimes
) -> tuple[Iterator[Frame], DetectorAhead | None]:
    """The frames, decoded in one thread and, with a detector, detected in another; its results are kept."""
    w, h = planner.size
    count = max(1, min(AHEAD, CHUNK_PIXELS // (4 * w * h)))
    frames = read_ahead(frames, count)
    if detector is None:
        return frames, None
    looked = DetectorAhead(detector)
    return read_ahead(_looked_at(frames, looked, planner.next_estimate, planner.options.every, times), count), looked


def _looked_at(
    frames: Iterator[Frame], detector: DetectorAhead, start: int, every: int, times: StageTimes
) -> Iterator[Frame]:
    """The frames; the detector has run on those from `start` on that will be estimated."""
    with contextlib.closing(frames):  # type: ignore[type-var]
        for frame, last in _with_last(frames):
            if frame.index >= start or last:
                start = frame.index + every
                with times.busy("detect"):
                    detector.look(frame.image)
            yield frame
            del frame


class _Progress:
    """The caller's callback, and the number it was last called with."""

    def __init__(self, on_progress: Callable[[int, int | None], None] | None) -> None:
        self.on_progress, self.reported = on_progress, 0

    def __call__(self, done: int) -> None:
        if self.on_progress:
            self.reported = done
            self.on_progress(done, None)


class _Stream:
    """Passes frames to the planner, its jobs to the estimator, and their poses to chunks.

    Without a worker, each call returns its poses. With one, a call runs while the frames of the next call are
    collected and the poses of the previous one are tracked.
    """

    def __init__(
        self,
        planner: Planner,
        calls: EstimatorCalls,
        facts: ClipFacts,
        progress: _Progress,
        times: StageTimes,
        frames_done: int,
    ) -> None:
        self.planner, self.calls, self.facts = planner, calls, facts
        self.progress, self.times, self.frames_done = progress, times, frames_done
        looks = planner.options.find_missed and planner.given is None and not planner.options.tracker.trust_ids
        self.missed = MissedPeople(planner.tracker, calls.more) if looks else None
        self._chunk = OpenChunk()
        self._closed: deque[OpenChunk] = deque()

    @property
    def frames_in_chunk(self) -> int:
        return len(self._chunk.times)

    def add(self, frame: Frame, last: bool) -> None:
        """Add the next frame. Raises what an earlier call of the estimator failed with."""
        self.calls.raise_failure()
        if _size_of(frame) != self.facts.size:
            raise InputError(
                f"frame {frame.index} is {_size_of(frame)}, the first is {self.facts.size}: expected one size"
            )
        self._chunk.see(frame)
        self.frames_done += 1
        job = self.planner.job(frame, last)
        if job is not None:
            self._add(job)

    def close_chunk(self, last: bool) -> None:
        """End the chunk at the last frame added."""
        self._estimate_pending()
        chunk, self._chunk = self._chunk, OpenChunk()
        chunk.close({**self.planner.state(), "frames_done": self.frames_done}, last)
        self._closed.append(chunk)

    def finished(self, wait: bool = False) -> Iterator[ChunkResult]:
        """Closed chunks that have all their poses; with `wait`, wait for the others too."""
        while self._closed:
            chunk = self._closed[0]
            while wait and self.calls.waiting_for(chunk):
                self.calls.take(self._accept)
            if self.calls.waiting_for(chunk):
                return
            self._closed.popleft()
            if self.missed is not None:
                self.missed.forget(chunk)
            if (done := chunk.planned["frames_done"]) >= self.progress.reported:
                self.progress(done)
            yield chunk.result(self.facts, self.calls.batch_size, self.planner.tracker.state())

    def _add(self, job: FrameJob) -> None:
        while not self.planner.add(job):
            self._estimate_pending()

    def _estimate_pending(self) -> None:
        """Estimate the pending jobs. If the poses of one cannot be trusted, redo it and those after it with the
        detector."""
        while jobs := self.planner.take():
            if self.calls.worker is not None:
                self.calls.submit(jobs, self.frames_done, self._chunk)
                while len(self.calls) > 1:
                    self.calls.take(self._accept)
                return
            for place, (job, poses) in enumerate(self.calls.now(jobs, self.frames_done)):
                if self.planner.doubts(job, poses):
                    self._chunk.counts["boxes not trusted"] += 1
                    for later in jobs[place:]:
                        self._add(later)
                    break
                self._accept(job, poses, self._chunk)

    def _accept(self, job: FrameJob, poses: Poses, chunk: OpenChunk) -> None:
        with self.times.busy("track"):
            seen = len(poses)
            if self.missed is not None and not job.follows:
                poses = self.missed.found(job.frame, poses)
            tracked = self.planner.track(job, poses)
        chunk.add(job.frame, tracked, detected=job.people is None)
        chunk.counts["people found where they were expected"] += len(poses) - seen
        if self.missed is not None:
            back = self.missed.look_back(job.frame, tracked, chunk, job.number == 0)
            chunk.counts["people found in the frames before"] += back
