"""Poses of frames that stream by: chunk after chunk, in memory that does not grow with the clip.

`estimate_frames` knows no files: `annotate_clip` keeps its chunks on disk, the nodes take them as they come. Each chunk
carries the state of detection and tracking at its end, from which another call goes on with the same results.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..estimation.crop_jobs import Estimator
from ..estimation.stage_times import StageTimes
from ..poses import Poses
from ..tracking.tracker import Tracker
from .ahead import Worker, read_ahead
from .calls import DetectorAhead, EstimatorCalls
from .chunk_builder import STATE_VERSION, ClipFacts, OpenChunk
from .chunks import ChunkResult, Given
from .clip_options import ClipOptions
from .images import CHUNK_PIXELS
from .planner import FrameJob, Planner

if TYPE_CHECKING:
    from ..detection.people import PersonDetector
    from ..video.frames import Frame

AHEAD = 8
"""Frames that are decoded, and looked at by the detector, before they are asked for; fewer of large ones."""


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
) -> Generator[ChunkResult, None, None]:
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
            looks = detector if worker is not None and given is None else None
            source, looked = _ahead(source, looks, planner, times)
            detector = looked or detector
            stack.callback(source.close)  # type: ignore[attr-defined]
        progress = _Progress(on_progress)
        calls = EstimatorCalls(estimator, detector, options.if_nobody, progress, worker)
        stream = _Stream(planner, calls, facts, progress, times, 0 if state is None else state["frames_done"])
        yield from _chunks(stream, source, options.chunk, times)


def _planner(
    options: ClipOptions,
    size: tuple[int, int],
    frame_rate: Fraction | None,
    given: Given | None,
    state: Mapping[str, Any] | None,
) -> Planner:
    """The planner of a clip, at its beginning or from a chunk's state on."""
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


def _ahead(
    frames: Iterator[Frame], detector: PersonDetector | None, planner: Planner, times: StageTimes
) -> tuple[Iterator[Frame], DetectorAhead | None]:
    """The frames, decoded in a thread and, with a detector, looked at by it in another; its answers are kept."""
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
    """The frames; those from `start` on that will be estimated have been looked at by the detector."""
    with contextlib.closing(frames):  # type: ignore[type-var]
        for frame, last in _with_last(frames):
            if frame.index >= start or last:
                start = frame.index + every
                with times.busy("detect"):
                    detector.look(frame.image)
            yield frame
            del frame


class _Progress:
    """The caller's callback, and what it was told last."""

    def __init__(self, on_progress: Callable[[int, int | None], None] | None) -> None:
        self.on_progress, self.reported = on_progress, 0

    def __call__(self, done: int) -> None:
        if self.on_progress:
            self.reported = done
            self.on_progress(done, None)


class _Stream:
    """Frames into the planner, its calls to the estimator, their poses into chunks.

    Without a worker each call is finished when it is made. With one, a call runs while the frames of the next are
    collected and the poses of the one before are tracked.
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
        self._chunk = OpenChunk()
        self._closed: deque[OpenChunk] = deque()

    @property
    def frames_in_chunk(self) -> int:
        return len(self._chunk.times)

    def add(self, frame: Frame, last: bool) -> None:
        """The next frame."""
        if _size_of(frame) != self.facts.size:
            raise InputError(
                f"frame {frame.index} is {_size_of(frame)}, those before {self.facts.size}: expected one size"
            )
        self._chunk.see(frame)
        self.frames_done += 1
        job = self.planner.job(frame, last)
        if job is not None:
            self._add(job)

    def close_chunk(self, last: bool) -> None:
        """The frames since the last chunk are one."""
        self._estimate_pending()
        chunk, self._chunk = self._chunk, OpenChunk()
        chunk.close({**self.planner.state(), "frames_done": self.frames_done}, last)
        self._closed.append(chunk)

    def finished(self, wait: bool = False) -> Iterator[ChunkResult]:
        """Closed chunks whose poses are there; with `wait` all, as soon as they are."""
        while self._closed:
            chunk = self._closed[0]
            while wait and self.calls.waiting_for(chunk):
                self.calls.take(self._accept)
            if self.calls.waiting_for(chunk):
                return
            self._closed.popleft()
            if (done := chunk.planned["frames_done"]) >= self.progress.reported:
                self.progress(done)
            yield chunk.result(self.facts, self.calls.batch_size, self.planner.tracker.state())

    def _add(self, job: FrameJob) -> None:
        while not self.planner.add(job):
            self._estimate_pending()

    def _estimate_pending(self) -> None:
        """Estimate what is waiting; from the first frame on whose following boxes fail, the detector is asked."""
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
            tracked = self.planner.track(job, poses)
        chunk.add(job.frame, tracked, detected=job.people is None)
