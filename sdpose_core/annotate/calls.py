"""Calls of the estimator for the frames of a clip: immediate, or in a thread while the next call is collected."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..detection.people import find_people
from ..errors import NotFiniteError
from ..estimation.crop_jobs import Estimator, OnBatch
from ..poses import Poses
from .ahead import Worker, taken
from .chunk_builder import OpenChunk
from .images import FramePeople, annotate_images, estimate_people
from .planner import FrameJob
from .presence import Presence

if TYPE_CHECKING:
    from ..detection.people import Detections, Found, PersonDetector
    from ..video.frames import Frame

Results = list[tuple[FrameJob, Poses]]


@dataclass(frozen=True)
class _Call:
    """A call that may still be running; its result is the poses and the batch size used."""

    jobs: Sequence[FrameJob]
    chunk: OpenChunk
    result: Future[tuple[list[Poses], int]]


class EstimatorCalls:
    """Calls an estimator for the jobs of a clip.

    Args:
        detector: for jobs whose people are not known.
        if_nobody, presence: see `annotate_images`.
        on_frames: called with the number of frames done so far, after each batch of crops.
        on_crops: called with (crops done, total crops) of a call, first with none done.
        worker: makes the calls of `submit`.

    Attributes:
        batch_size: the one used in the last call whose results were taken.
    """

    def __init__(
        self,
        estimator: Estimator,
        detector: PersonDetector | None,
        if_nobody: str,
        presence: Presence,
        on_frames: Callable[[int], None],
        worker: Worker | None,
        on_crops: OnBatch | None = None,
    ) -> None:
        self.estimator, self.detector, self.if_nobody, self.presence = estimator, detector, if_nobody, presence
        self.on_crops = on_crops
        self.on_frames, self.worker = on_frames, worker
        self.batch_size = estimator.batch_size
        self._calls: deque[_Call] = deque()

    def now(self, jobs: Sequence[FrameJob], frames_done: int) -> Results:
        """The poses of each job. `frames_done`: the number of frames so far, including these."""
        poses, self.batch_size = self._estimate(jobs, frames_done)
        return list(zip(jobs, poses, strict=True))

    def submit(self, jobs: Sequence[FrameJob], frames_done: int, chunk: OpenChunk) -> None:
        """Queue a call whose poses belong to `chunk`."""
        worker = self.worker
        assert worker is not None
        result = worker.submit(lambda: self._estimate(jobs, frames_done, worker.stopped.is_set))
        self._calls.append(_Call(jobs, chunk, result))

    def __len__(self) -> int:
        """The number of calls whose results were not taken yet."""
        return len(self._calls)

    def waiting_for(self, chunk: OpenChunk) -> bool:
        """Whether results for a chunk were not taken yet."""
        return any(call.chunk is chunk for call in self._calls)

    def take(self, accept: Callable[[FrameJob, Poses, OpenChunk], None]) -> None:
        """Wait for the oldest call and pass on its poses. A failed call stays, so its chunk never counts as done."""
        call = self._calls[0]
        results, self.batch_size = taken(call.result)
        for job, poses in zip(call.jobs, results, strict=True):
            accept(job, poses, call.chunk)
        self._calls.popleft()

    def raise_failure(self) -> None:
        """Raise what a call failed with, long before its poses are needed."""
        for call in self._calls:
            if call.result.done():
                call.result.result()

    def more(self, frame: Frame, boxes: np.ndarray) -> Poses:
        """Poses of more people of a frame, now, in boxes (N, 5)."""

        def estimate() -> Poses:
            try:
                people = [FramePeople(boxes)]
                return estimate_people([frame.image], people, self.estimator, presence=self.presence)[0]
            except NotFiniteError as error:
                raise NotFiniteError(f"frame {frame.index}: {error.problem}") from None

        return estimate() if self.worker is None else taken(self.worker.submit(estimate))

    def _estimate(
        self, jobs: Sequence[FrameJob], frames_done: int, stopped: Callable[[], bool] = lambda: False
    ) -> tuple[list[Poses], int]:
        def on_batch(done: int, crops: int) -> None:
            if stopped():
                raise _Stopped
            if done:
                self.on_frames(frames_done - round(len(jobs) * (1 - done / crops)))
            if self.on_crops:
                self.on_crops(done, crops)

        try:
            poses = annotate_images(
                [job.frame.image for job in jobs], people=[job.people for job in jobs], estimator=self.estimator,
                detector=self.detector, if_nobody=self.if_nobody, presence=self.presence, on_batch=on_batch,
            )  # fmt: skip
        except NotFiniteError as error:
            if error.picture is None:
                raise
            raise NotFiniteError(f"frame {jobs[error.picture].frame.index}: {error.problem}") from None
        return poses, self.estimator.batch_size


class DetectorAhead:
    """A detector whose boxes are computed in advance, once for each picture."""

    def __init__(self, detector: PersonDetector) -> None:
        self.name, self.meta = detector.name, detector.meta
        self._detector = detector
        self._found: dict[int, Found] = {}

    def look(self, image: np.ndarray) -> None:
        """Detect now, for a later call of `find`."""
        self._found[id(image)] = find_people(self._detector, image)

    def find(self, image: np.ndarray) -> Found:
        """See `find_people`."""
        return self._found.pop(id(image))

    def detect(self, image: np.ndarray) -> Detections:
        """See `PersonDetector.detect`."""
        boxes = self.find(image).boxes
        return boxes[:, :4], boxes[:, 4]


class _Stopped(Exception):
    """The results are no longer needed."""
