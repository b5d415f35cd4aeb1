"""The parts of a clip's stream, each by itself: the planner, the calls of the estimator, the chunks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from synthetic_clip import RATE, SIZE, ColorDetector, FigureEstimator, picture

from sdpose_core.annotate import planner as planner_module
from sdpose_core.annotate.ahead import Worker
from sdpose_core.annotate.calls import DetectorAhead, EstimatorCalls
from sdpose_core.annotate.chunk_builder import ClipFacts, OpenChunk
from sdpose_core.annotate.clip_options import ClipOptions
from sdpose_core.annotate.images import FramePeople
from sdpose_core.annotate.planner import FOLLOW, FrameJob, Planner
from sdpose_core.annotate.presence import DEFAULT_PRESENCE
from sdpose_core.poses import Poses
from sdpose_core.tracking.tracker import Tracker
from sdpose_core.video.frames import Frame


def frame(index: int) -> Frame:
    return Frame(index=index, pts=index / 25, image=picture(index))


def planner(given: Any = None, **options: Any) -> Planner:
    settings = ClipOptions(**options)
    return Planner(settings, SIZE, Tracker(RATE, SIZE, settings.tracker), given)


def planned(subject: Planner, count: int) -> list[FrameJob]:
    """Jobs of `count` frames, found by the detector in calls of one frame, as far as they depend on each other."""
    calls = EstimatorCalls(FigureEstimator(), ColorDetector(), "empty", DEFAULT_PRESENCE, lambda _: None, None)
    jobs = []
    for index in range(count):
        job = subject.job(frame(index), last=index == count - 1)
        while job is not None and not subject.add(job):
            for done, poses in calls.now(subject.take(), index):
                subject.track(done, poses)
                jobs.append(done)
    return jobs + subject.take()


def test_each_nth_frame_and_the_last_become_jobs() -> None:
    jobs = planned(planner(every=4), 11)
    assert [(job.frame.index, job.number) for job in jobs] == [(0, 0), (4, 1), (8, 2), (10, 3)]
    assert all(job.people is None for job in jobs)


def test_between_detections_boxes_follow_a_few_frames_at_a_time() -> None:
    jobs = planned(planner(detect_every=7), 8)
    assert [job.follows for job in jobs] == [False] + [True] * 6 + [False]
    first = [job.people.boxes for job in jobs[1 : 1 + FOLLOW]]
    assert all(len(boxes) == 2 for boxes in first)


def test_a_call_holds_so_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner_module, "CHUNK_PIXELS", 2 * SIZE[0] * SIZE[1])
    subject = planner()
    added = [subject.add(subject.job(frame(index), last=False)) for index in range(3)]
    assert added == [True, True, False]
    assert len(subject.take()) == 2


def test_people_given_are_asked_for_once_per_frame() -> None:
    asked: list[int] = []

    def given(own: Frame) -> FramePeople:
        asked.append(own.index)
        return FramePeople(np.zeros((0, 5)))

    jobs = planned(planner(given), 3)
    assert asked == [0, 1, 2]
    assert all(job.people is not None and not job.follows for job in jobs)


def test_a_planner_goes_on_from_its_state() -> None:
    first, second = planner(every=3, detect_every=2), planner(every=3, detect_every=2)
    planned(first, 8)
    second.restore(first.state())
    assert second.state() == first.state()


def test_calls_of_a_worker_are_taken_in_order_with_the_batch_size_then_in_force() -> None:
    estimator, chunks = FigureEstimator(), [OpenChunk(), OpenChunk()]
    accepted: list[tuple[int, OpenChunk]] = []
    with Worker("test") as worker:
        calls = EstimatorCalls(estimator, ColorDetector(), "empty", DEFAULT_PRESENCE, lambda _: None, worker)
        for number, chunk in enumerate(chunks):
            calls.submit([FrameJob(frame(number), number, cut=False)], number + 1, chunk)
        assert [calls.waiting_for(chunk) for chunk in chunks] == [True, True]
        calls.take(lambda job, poses, chunk: accepted.append((job.number, chunk)))
        assert [calls.waiting_for(chunk) for chunk in chunks] == [False, True]
        estimator.batch_size = 2
        calls.take(lambda job, poses, chunk: accepted.append((job.number, chunk)))
    assert [number for number, _ in accepted] == [0, 1]
    assert [chunk is own for (_, chunk), own in zip(accepted, chunks, strict=True)] == [True, True]
    assert len(calls) == 0


def test_a_detector_that_looked_ahead_answers_each_picture_once() -> None:
    detector, image = ColorDetector(), picture(0)
    ahead = DetectorAhead(detector)
    ahead.look(image)
    np.testing.assert_array_equal(ahead.detect(image)[0], ColorDetector().detect(image)[0])
    assert (ahead.name, ahead.meta(), detector.calls) == (detector.name, detector.meta(), 1)
    with pytest.raises(KeyError):
        ahead.detect(image)


def test_a_chunk_has_a_place_for_each_frame() -> None:
    def found(people: Sequence[float], **meta: Any) -> Poses:
        points = np.tile(np.reshape(people, (-1, 1, 1)), (1, 17, 2))
        return Poses(points, np.ones(points.shape[:2]), np.ones((len(people), 5)), SIZE, "coco_17", meta=meta)

    chunk = OpenChunk()
    for index in range(5, 9):
        chunk.see(frame(index))
    chunk.add(frame(5), found([1, 2], scene_cut=True, model="m", dropped_boxes=["a", "b"]), detected=True)
    chunk.add(frame(8), found([], model="m", boxes_from="d: nobody found, whole picture used"), detected=False)
    chunk.close({"frames_done": 4}, last=True)
    result = chunk.result(ClipFacts(SIZE, Fraction(25), "coco_17", {"boxes_from": "d"}), 8, {"tracks": []})
    assert (result.sequence.track_ids >= 0).sum(axis=1).tolist() == [2, 0, 0, 0]
    assert result.estimated.tolist() == [True, False, False, True]
    assert result.sequence.frame_index.tolist() == [5, 6, 7, 8]
    assert result.sequence.meta["boxes_from"] == "d"
    assert result.sequence.meta["clip"] == {
        "counts": {"frames estimated": 2, "frames detected": 1, "whole picture used": 1, "boxes left out": 2},
        "scene_cuts": [5],
    }
    assert result.state == {
        "version": 1, "next_frame": 9, "frames_done": 4, "batch_size": 8, "tracker": {"tracks": []},
    }  # fmt: skip
    assert result.last
