"""Clips: streamed chunk by chunk, resumed at any moment with the same bytes, and what is written."""

from __future__ import annotations

import errno
import gc
import json
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_clip import RATE, SIZE, ColorDetector, FigureEstimator, SyntheticClip, picture
from video_files import pictures, write

from sdpose_core import resumable
from sdpose_core.annotate import clip as clip_module
from sdpose_core.annotate import planner as planner_module
from sdpose_core.annotate import stream as stream_module
from sdpose_core.annotate.chunks import ChunkResult, FramePeople, join_chunks
from sdpose_core.annotate.clip import ClipFiles, ClipOutcome, annotate_clip
from sdpose_core.annotate.clip_options import ClipOptions, Selection
from sdpose_core.annotate.numbered import annotate_numbered, numbered_name
from sdpose_core.annotate.stream import AHEAD, estimate_frames
from sdpose_core.annotate.work_folder import WorkFolder
from sdpose_core.detection.box_files import BoxFile
from sdpose_core.errors import InputError
from sdpose_core.estimation.stage_times import StageTimes
from sdpose_core.images import write_png
from sdpose_core.names import output_name
from sdpose_core.origins import Origin, OtherOrigin, file_identity, read_mark
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences.interpolation import interpolate
from sdpose_core.tracking.options import TrackerOptions
from sdpose_core.video.frames import Frame
from sdpose_core.video.opening import open_video

ARRAYS = ("keypoints", "scores", "boxes", "track_ids", "frame_index", "pts")


def frames(count: int, start: int = 0) -> Iterator[Frame]:
    for index in range(start, count):
        yield Frame(index=index, pts=index / 25, image=picture(index))


def stream(count: int, options: ClipOptions, **settings: Any) -> list[ChunkResult]:
    settings = {"frame_rate": RATE} | settings
    start = settings["state"]["next_frame"] if settings.get("state") else 0
    estimator = settings.pop("estimator", None) or FigureEstimator()
    detector = settings.pop("detector", None) or ColorDetector()
    return list(estimate_frames(frames(count, start), estimator, detector, options, **settings))


def assert_same(first: PoseSequence, second: PoseSequence) -> None:
    for name in ARRAYS:
        a, b = getattr(first, name), getattr(second, name)
        assert (a.shape, a.tobytes()) == (b.shape, b.tobytes()), name


# --- streaming -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "detect_every"), [(1, 1), (3, 1), (1, 4), (2, 3)])
def test_going_on_from_any_chunk_gives_the_same_bytes(every: int, detect_every: int) -> None:
    options = ClipOptions(every=every, detect_every=detect_every, chunk=16)
    whole = stream(50, options)
    assert [len(chunk.sequence) for chunk in whole] == [16, 16, 16, 2]
    assert [chunk.last for chunk in whole] == [False, False, False, True]
    for number in range(3):
        state = json.loads(json.dumps(whole[number].state))
        again = stream(50, options, state=state)
        assert_same(join_chunks([*whole[: number + 1], *again]), join_chunks(whole))
        assert again[-1].state == whole[-1].state


def test_every_frame_comes_out_once_also_where_nobody_is() -> None:
    class Blind(ColorDetector):
        def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            boxes, scores = super().detect(image)
            seen = 5 <= self.calls < 9
            return boxes[: 2 * seen], scores[: 2 * seen]

    sequence = join_chunks(stream(20, ClipOptions(chunk=8), detector=Blind()))
    assert sequence.frame_index.tolist() == list(range(20))
    assert sequence.frame_rate == RATE
    assert (sequence.track_ids >= 0).sum(axis=1).tolist() == [0] * 4 + [2] * 4 + [0] * 12
    assert sequence.keypoints.shape == (20, 2, 17, 2)


def test_crops_of_all_frames_of_a_chunk_share_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = FigureEstimator()
    stream(40, ClipOptions(chunk=16), estimator=estimator)
    assert estimator.calls == [16, 16, 8]
    monkeypatch.setattr(planner_module, "CHUNK_PIXELS", 5 * SIZE[0] * SIZE[1])
    estimator = FigureEstimator()
    stream(40, ClipOptions(chunk=16), estimator=estimator)
    assert estimator.calls == [5, 5, 5, 1, 5, 5, 5, 1, 5, 3]


@pytest.fixture
def only_new_garbage() -> Iterator[None]:
    """Collecting it does not look through all that was imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("only_new_garbage")
def test_no_more_than_a_chunk_of_pictures_is_held() -> None:
    alive: set[int] = set()
    most = 0

    def counted() -> Iterator[Frame]:
        nonlocal most
        for frame in frames(50):
            alive.add(frame.index)
            weakref.finalize(frame.image, alive.discard, frame.index)
            most = max(most, len(alive))
            yield frame

    for _ in estimate_frames(counted(), FigureEstimator(), ColorDetector(), ClipOptions(chunk=10), frame_rate=RATE):
        gc.collect()
    assert most <= 10 + 3


@pytest.mark.parametrize(
    ("every", "detect_every", "chunk", "pixels"),
    [(1, 1, 16, 64), (3, 1, 7, 64), (2, 3, 16, 64), (1, 1, 64, 5), (1, 1, 1, 64)],
)
def test_overlapped_or_one_after_the_other_the_bytes_are_the_same(
    every: int, detect_every: int, chunk: int, pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (planner_module, stream_module):
        monkeypatch.setattr(module, "CHUNK_PIXELS", pixels * SIZE[0] * SIZE[1])
    options = ClipOptions(every=every, detect_every=detect_every, chunk=chunk)
    estimators = FigureEstimator(), FigureEstimator()
    plain, overlapped = (stream(50, options, estimator=own, overlap=n == 1) for n, own in enumerate(estimators))
    assert estimators[0].calls == estimators[1].calls
    assert [part.state for part in overlapped] == [part.state for part in plain]
    assert [part.last for part in overlapped] == [part.last for part in plain]
    for first, second in zip(plain, overlapped, strict=True):
        assert_same(first.sequence, second.sequence)
        assert first.sequence.meta == second.sequence.meta
        np.testing.assert_array_equal(first.estimated, second.estimated)
    again = stream(50, options, state=json.loads(json.dumps(overlapped[0].state)), overlap=True)
    assert_same(join_chunks([overlapped[0], *again]), join_chunks(plain))


def test_while_the_model_works_frames_are_read_and_chunks_are_kept() -> None:
    """Each side waits for the other: one after the other this would not end."""
    read, kept = threading.Event(), threading.Event()

    def source() -> Iterator[Frame]:
        for frame in frames(40):
            if frame.index == 12:
                assert model_began.wait(20)
                read.set()
            yield frame

    model_began = threading.Event()
    passes = []

    def before_batch() -> None:
        passes.append(len(passes))
        model_began.set()
        if len(passes) == 1:
            assert read.wait(20)  # frame 12 is read during the first pass
        if len(passes) == 2:
            assert kept.wait(20)  # the first chunk is handed over during the second

    estimator = FigureEstimator(batch_size=16, before_batch=before_batch)
    for _ in estimate_frames(source(), estimator, ColorDetector(), ClipOptions(chunk=8), overlap=True):
        kept.set()
    assert estimator.calls == [8] * 5


@pytest.mark.usefixtures("only_new_garbage")
def test_overlapped_no_more_than_two_chunks_of_pictures_are_held() -> None:
    alive: set[int] = set()
    most = []

    def counted() -> Iterator[Frame]:
        for frame in frames(100):
            alive.add(frame.index)
            weakref.finalize(frame.image, alive.discard, frame.index)
            most.append(len(alive))
            yield frame

    options = ClipOptions(chunk=10)
    for _ in estimate_frames(counted(), FigureEstimator(), ColorDetector(), options, overlap=True):
        gc.collect()
    assert max(most) <= 2 * 10 + 2 * (AHEAD + 3)


@pytest.mark.parametrize("stage", ["reading", "detecting", "estimating"])
def test_an_error_of_any_stage_comes_out_and_no_thread_stays(stage: str) -> None:
    class Failure(Exception):
        pass

    class Failing(ColorDetector):
        def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if stage == "detecting" and self.calls == 20:
                raise Failure
            return super().detect(image)

    def source() -> Iterator[Frame]:
        yield from frames(20)
        if stage == "reading":
            raise Failure
        yield from frames(60, 20)

    def before_batch() -> None:
        if stage == "estimating" and len(estimator.calls) == 3:
            raise Failure

    estimator = FigureEstimator(before_batch=before_batch)
    before = threading.active_count()
    kept = []
    with pytest.raises(Failure):
        for chunk in estimate_frames(source(), estimator, Failing(), ClipOptions(chunk=8), overlap=True):
            kept.append(len(chunk.sequence))
    assert kept == [8, 8]
    assert threading.active_count() == before


def test_overlapped_a_failing_estimator_is_not_noticed_a_chunk_later() -> None:
    """Otherwise who cancels waits for dozens of frames to be detected."""

    class Canceled(BaseException):
        pass

    class Canceling(FigureEstimator):
        def estimate(self, *args: Any, **settings: Any) -> list[Poses]:
            raise Canceled

    class Slow(ColorDetector):
        def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            time.sleep(0.01)
            return super().detect(image)

    detector = Slow()
    with pytest.raises(Canceled):
        list(estimate_frames(frames(200), Canceling(), detector, ClipOptions(chunk=64), overlap=True))
    assert 64 <= detector.calls < 120


def test_who_leaves_early_leaves_no_thread() -> None:
    before = threading.active_count()
    chunks = estimate_frames(frames(1000), FigureEstimator(), ColorDetector(), ClipOptions(chunk=8), overlap=True)
    next(chunks)
    assert threading.active_count() > before
    chunks.close()
    assert threading.active_count() == before


def test_the_profile_names_the_stages(tmp_path: Path) -> None:
    times = StageTimes()
    annotate(tmp_path / "out", times=times, estimator=lambda: FigureEstimator(before_batch=lambda: time.sleep(0.02)))
    shares = {stage.name: stage for stage in times.shares()}
    assert {"decode", "detect", "model", "track", "write"} <= set(shares)
    assert shares["model"].seconds >= 10 * 0.02
    assert all(0 <= stage.seconds <= times.wall_seconds for stage in shares.values())
    assert "busy s" in times.table()


def test_progress_counts_frames_and_may_stop() -> None:
    seen: list[int] = []
    stream(20, ClipOptions(chunk=8), on_progress=lambda done, total: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == 20

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream(20, ClipOptions(chunk=8), on_progress=stop)


def test_frames_of_another_size_are_refused() -> None:
    wrong = [*frames(2), Frame(index=2, pts=0.1, image=np.zeros((10, 10, 3), np.uint8))]
    with pytest.raises(InputError, match=r"frame 2 is \(10, 10\), the first is \(96, 64\)"):
        list(estimate_frames(wrong, FigureEstimator(), ColorDetector(), ClipOptions()))


@pytest.mark.parametrize(
    "setting", [{"every": 0}, {"detect_every": 0}, {"chunk": 0}, {"fit": "x"}, {"if_nobody": "x"}, {"codec": "x"}]
)
def test_settings_that_cannot_be(setting: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(setting))):
        ClipOptions(**setting)


# --- frames between ------------------------------------------------------------------------------------------------


def test_frames_between_are_interpolated_and_said_to_be() -> None:
    estimator = FigureEstimator()
    sequence = join_chunks(stream(12, ClipOptions(every=4), estimator=estimator))
    assert sum(estimator.calls) == 4, "frames 0, 4, 8 and the last"
    points = sequence.keypoints.astype(np.float64)
    for frame, (before, after) in {1: (0, 4), 3: (0, 4), 6: (4, 8), 9: (8, 11), 10: (8, 11)}.items():
        share = (frame - before) / (after - before)
        expected = points[before] + share * (points[after] - points[before])
        np.testing.assert_allclose(points[frame], expected, atol=1e-4)
        np.testing.assert_allclose(sequence.boxes[frame, :, 4], 0.9, atol=1e-6)
    assert sequence.meta["interpolated"].startswith("8 of 12 frames")
    assert sequence.meta["clip"]["counts"]["frames estimated"] == 4


def test_interpolation_needs_the_person_and_the_point_on_both_sides() -> None:
    def person(x: float, track_id: int, score: float) -> Poses:
        keypoints = np.full((1, 17, 2), float(x))
        keypoints[0, 3] = np.nan
        return Poses(keypoints, np.full((1, 17), score), [[x, 0, x + 2, 9, 1]], (50, 50), "coco_17", [track_id])

    nobody = person(0, 0, 1).select([])
    raw = PoseSequence.from_poses(
        [person(0, 0, 0.2), nobody, person(10, 0, 0.8), nobody, person(30, 1, 0.8), nobody, nobody], frame_rate=RATE
    )
    result = interpolate(raw, np.asarray([True, False, True, False, True, False, True]))
    assert result.frame(1).keypoints[0, 0].tolist() == [5, 5]
    np.testing.assert_allclose(result.frame(1).scores[0], 0.5)
    np.testing.assert_allclose(result.frame(1).boxes[0], [5, 0, 7, 9, 1])
    assert np.isnan(result.frame(1).keypoints[0, 3]).all()
    assert [len(result.frame(t)) for t in range(7)] == [1, 1, 1, 0, 1, 0, 0]


# --- boxes that follow poses ---------------------------------------------------------------------------------------


def test_the_detector_is_asked_every_nth_frame_and_poses_are_followed_between() -> None:
    detector, estimator = ColorDetector(), FigureEstimator()
    options = ClipOptions(detect_every=5, chunk=40)
    sequence = join_chunks(stream(40, options, detector=detector, estimator=estimator))
    assert detector.calls == 8
    assert (sequence.track_ids == [0, 1]).all()
    assert max(estimator.calls) == 5, "four frames that follow, and the one that is detected, share a call"
    truth = join_chunks(stream(40, ClipOptions(chunk=40)))
    centres = [s.boxes[..., :4].reshape(40, 2, 2, 2).mean(axis=2) for s in (sequence, truth)]
    assert np.abs(centres[0] - centres[1]).max() < 4, "boxes stay on the people"
    assert "one frame in 5" in sequence.meta["boxes_from"]


class Doubting(FigureEstimator):
    """Changes the poses of the frame `at`, unless their boxes are the detector's."""

    def __init__(self, change: Callable[[Poses], Poses], at: int) -> None:
        super().__init__()
        self.change, self.at = change, picture(at)

    def estimate(self, images: Any, boxes: Any, **settings: Any) -> list[Poses]:
        found = super().estimate(images, boxes, **settings)
        exact = ColorDetector()
        return [
            self.change(poses)
            if np.array_equal(image, self.at) and not np.array_equal(exact.detect(image)[0], poses.boxes[:, :4])
            else poses
            for image, poses in zip(images, found, strict=True)
        ]


CHANGES = {
    "one is not believed": lambda poses: poses.select([0]),
    "scores fall": lambda poses: replace(poses, scores=poses.scores * 0.5),
    "both are the same person": lambda poses: poses.select([0, 0]),
    "somebody beside the box": lambda poses: replace(poses, keypoints=poses.keypoints + 60),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_where_following_fails_the_detector_is_asked_at_once(change: Callable[[Poses], Poses]) -> None:
    detector = ColorDetector()
    options = ClipOptions(detect_every=10, chunk=20)
    sequence = join_chunks(stream(20, options, detector=detector, estimator=Doubting(change, at=6)))
    assert detector.calls == 3, "frames 0 and 6, and 16 after that"
    np.testing.assert_array_equal(sequence.frame(6).boxes[:, :4], ColorDetector().detect(picture(6))[0])
    assert sequence.meta["clip"]["counts"]["boxes not trusted"] == 1
    assert (sequence.track_ids == [0, 1]).all()


def test_after_a_loss_the_detector_is_asked_again() -> None:
    class MissesOnce(ColorDetector):
        def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            boxes, scores = super().detect(image)
            return (boxes[:1], scores[:1]) if self.calls == 2 else (boxes, scores)

    detector = MissesOnce()
    sequence = join_chunks(stream(12, ClipOptions(detect_every=5, chunk=12), detector=detector))
    assert (sequence.track_ids >= 0).sum(axis=1).tolist() == [2] * 5 + [1] + [2] * 6
    assert detector.calls == 4, "frames 0, 5 (one missed), 6, 11"


def test_a_cut_calls_for_the_detector() -> None:
    detector = ColorDetector()

    def cut() -> Iterator[Frame]:
        for frame in frames(12):
            yield frame if frame.index < 7 else replace(frame, image=255 - frame.image)

    [chunk] = estimate_frames(cut(), FigureEstimator(), detector, ClipOptions(detect_every=10), frame_rate=RATE)
    assert detector.calls >= 2
    assert chunk.sequence.meta["clip"]["scene_cuts"] == [7]
    assert chunk.sequence.track_ids[7:].max() == -1, "the new scene has nobody of these colours"


# --- people given --------------------------------------------------------------------------------------------------


def test_people_are_taken_with_their_ids_also_where_a_box_cannot_be_used() -> None:
    class LeavesOut(FigureEstimator):
        def estimate(self, images: Any, boxes: Any, **settings: Any) -> list[Poses]:
            usable = [np.flatnonzero(own[:, 0] < own[:, 2]) for own in boxes]
            kept = [own[rows] for own, rows in zip(boxes, usable, strict=True)]
            found = super().estimate(images, kept, **settings)
            return [replace(poses, box_index=rows) for poses, rows in zip(found, usable, strict=True)]

    def given(frame: Frame) -> FramePeople:
        boxes = np.asarray([[40, 10, 60, 50], [9, 9, 2, 50], [5, 10, 25, 50]], np.float32)
        return FramePeople(boxes, track_ids=np.asarray([7, 5, 3]))

    options = ClipOptions(tracker=TrackerOptions(trust_ids=True))
    [chunk] = stream(5, options, given=given, estimator=LeavesOut())
    assert chunk.sequence.track_ids.tolist() == [[3, 7]] * 5
    np.testing.assert_array_equal(chunk.sequence.boxes[0, :, 0], [5, 40])
    assert chunk.sequence.meta["boxes_from"] == "given"


def test_ids_that_are_to_be_trusted_must_be_there() -> None:
    options = ClipOptions(tracker=TrackerOptions(trust_ids=True))
    with pytest.raises(InputError, match="its boxes have none"):
        stream(3, options)


def test_masks_reach_the_estimator() -> None:
    seen: list[Any] = []

    class Masked(FigureEstimator):
        def estimate(self, images: Any, boxes: Any, *, masks: Any = None, on_batch: Any = None) -> list[Poses]:
            seen.extend(masks)
            return super().estimate(images, boxes)

    mask = np.ones((1, SIZE[1], SIZE[0]), bool)
    stream(2, ClipOptions(), given=lambda frame: FramePeople(np.ones((1, 4)) * [0, 0, 9, 9], masks=mask),
           estimator=Masked())  # fmt: skip
    assert len(seen) == 2
    assert all(own is mask for own in seen)


def test_box_files_name_frames_by_number(tmp_path: Path) -> None:
    rows = [
        {"image_id": 0, "bbox": [1, 2, 3, 4], "track_id": 4},
        {"image_id": 0, "bbox": [5, 5, 5, 5], "score": 0.5, "track_id": 2},
        {"image_id": 2, "bbox": [1, 2, 3, 4]},
    ]
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(rows))
    file = BoxFile(path)
    boxes, ids = file.people_of_frame(0)
    assert boxes.tolist() == [[1, 2, 4, 6, 1], [5, 5, 10, 10, 0.5]]
    assert ids is not None
    assert ids.tolist() == [4, 2]
    assert len(file.people_of_frame(1)[0]) == 0
    assert file.people_of_frame(2)[1] is None
    path.write_text(json.dumps({"000003.png": [[1, 2, 3, 4]]}))
    assert BoxFile(path).people_of_frame(3)[0].tolist() == [[1, 2, 3, 4, 1]]
    path.write_text(json.dumps([[1, 2, 3, 4]]))
    with pytest.raises(InputError, match="by frame number"):
        BoxFile(path).people_of_frame(0)


# --- annotate_clip -------------------------------------------------------------------------------------------------


def annotate(folder: Path, count: int = 40, options: ClipOptions | None = None, **settings: Any) -> ClipOutcome:
    folder.mkdir(exist_ok=True)
    source = folder.parent / f"clip{count}.json"
    clip = SyntheticClip(source) if source.exists() else SyntheticClip.make(source, count)
    settings = {"estimator": FigureEstimator, "detector": ColorDetector, "asked": {}, "name": "clip"} | settings
    return annotate_clip(clip, folder, options=options or ClipOptions(chunk=8), **settings)


def never() -> Any:
    raise AssertionError("no model is needed")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def result(folder: Path) -> PoseSequence:
    return PoseSequence.load(folder / "clip.pose.npz")


MADE: dict[str, dict[str, bytes]] = {}
"""Contents of folders that several tests begin with."""


def made_once(key: str, folder: Path, make: Callable[[], object]) -> None:
    """The folder as `make` leaves it, which runs for the first test only."""
    if key not in MADE:
        make()
        files = (path for path in folder.rglob("*") if path.is_file())
        MADE[key] = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    for name, content in MADE[key].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def finished(folder: Path, count: int = 40, options: ClipOptions | None = None) -> None:
    """A folder with the files of a clip."""
    made_once(f"{count} {options}", folder, lambda: annotate(folder, count, options))


@pytest.fixture
def undisturbed(tmp_path: Path) -> PoseSequence:
    finished(tmp_path / "undisturbed")
    return result(tmp_path / "undisturbed")


class Stop(Exception):
    """What a host raises to stop."""


def stop_after(frames_done: int, error: type[BaseException] = Stop) -> Callable[[int, int | None], None]:
    def progress(done: int, total: int | None) -> None:
        if done >= frames_done:
            raise error

    return progress


def stopped(folder: Path, after: int, **settings: Any) -> None:
    """A run that was stopped in the chunk of frame `after`."""

    def run() -> None:
        with pytest.raises(Stop):
            annotate(folder, on_progress=stop_after(after), **settings)

    run() if settings else made_once(f"stopped {after}", folder, run)


def test_a_clip_gives_its_files_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    progress: list[tuple[int, int | None]] = []
    drawn: list[tuple[int, int | None]] = []
    outcome = annotate(
        out,
        options=ClipOptions(chunk=8, overlay=True),
        on_progress=lambda *at: progress.append(at),
        on_draw=lambda *at: drawn.append(at),
    )
    assert names(out) == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4", "clip_overlay.mp4"]
    assert (outcome.status, outcome.frames, outcome.people, outcome.batch_size) == ("done", 40, 2, 8)
    assert outcome.message == "40 frames, 2 people; figures"
    assert [path.name for path in outcome.files] == names(out)
    assert progress[-1] == (40, 40)
    assert drawn == [(n, 40) for n in range(1, 41)] * 3
    sequence = result(out)
    assert (len(sequence), sequence.frame_rate, sequence.size) == (40, RATE, SIZE)
    assert sequence.meta["source"] == "clip40.json"
    assert sequence.meta["clip_settings"]["chunk"] == 8
    assert sequence.meta["clean"]["fill_gaps"] == 8


def test_without_cleaning_the_poses_are_the_estimators(tmp_path: Path) -> None:
    annotate(tmp_path / "raw", options=ClipOptions(chunk=8, clean=None))
    assert_same(result(tmp_path / "raw"), join_chunks(stream(40, ClipOptions(chunk=8))))
    annotate(tmp_path / "clean")
    np.testing.assert_array_equal(result(tmp_path / "clean").scores, result(tmp_path / "raw").scores)
    assert not np.array_equal(result(tmp_path / "clean").keypoints, result(tmp_path / "raw").keypoints)


def test_finished_files_are_kept_and_no_model_is_loaded(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    outcome = annotate(out, estimator=never, detector=never)
    assert (outcome.status, outcome.frames, outcome.people) == ("kept", 40, 2)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert annotate(out, options=ClipOptions(chunk=8, overwrite=True)).status == "done"
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} != before


def test_a_missing_video_is_drawn_from_the_sequence(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(out)
    video = (out / "clip_kps.mp4").read_bytes()
    (out / "clip_kps.mp4").unlink()
    outcome = annotate(out, estimator=never, detector=never)
    assert [path.name for path in outcome.files] == ["clip_kps.mp4"]
    assert (out / "clip_kps.mp4").read_bytes() == video
    assert names(out) == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4"]


@pytest.mark.parametrize("after", [8, 9, 30, 40])
def test_a_stopped_run_goes_on_with_the_same_bytes(tmp_path: Path, undisturbed: PoseSequence, after: int) -> None:
    out = tmp_path / "out"
    stopped(out, after)
    kept = (after - 1) // 8 * 8
    if kept:
        partial = PoseSequence.load(out / "clip.partial.pose.npz")
        assert len(partial) == kept
        assert partial.meta["partial"] is True
    else:
        assert names(out) == [".clip.sdpose"]
    estimator = FigureEstimator()
    outcome = annotate(out, estimator=lambda: estimator)
    assert sum(estimator.calls) == 40 - kept
    assert outcome.notes == []
    assert_same(result(out), undisturbed)
    assert result(out).meta == undisturbed.meta
    assert names(out) == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4"]


def test_a_run_stopped_while_drawing_goes_on(tmp_path: Path, undisturbed: PoseSequence) -> None:
    out = tmp_path / "out"
    with pytest.raises(Stop):
        annotate(out, on_draw=stop_after(5))
    assert names(out) == [".clip.sdpose", "clip.pose.npz"]
    annotate(out, estimator=never, detector=never)
    assert_same(result(out), undisturbed)
    assert names(out) == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4"]


def damage_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "a byte": damage_byte,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "another chunk": lambda path: path.write_bytes(path.with_name("chunk_00000.npz").read_bytes()),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_chunk_is_done_again_with_its_followers(
    tmp_path: Path, undisturbed: PoseSequence, damage: Callable[[Path], Any]
) -> None:
    out = tmp_path / "out"
    stopped(out, 33)
    work = ClipFiles(out, "clip").work
    assert names(work) == [f"chunk_0000{n}.npz" for n in range(4)] + ["lock", "settings.json"]
    damage(work / "chunk_00001.npz")
    estimator = FigureEstimator()
    outcome = annotate(out, estimator=lambda: estimator)
    assert sum(estimator.calls) == 32, "the first chunk is good"
    [note] = outcome.notes
    assert "chunk_00001.npz is" in note
    assert_same(result(out), undisturbed)


def test_a_chunk_is_a_pose_sequence_of_its_own(tmp_path: Path) -> None:
    stopped(tmp_path / "out", 20)
    chunk = PoseSequence.load(tmp_path / "out" / ".clip.sdpose" / "chunk_00001.npz")
    assert chunk.frame_index.tolist() == list(range(8, 16))


CHANGED: dict[str, tuple[ClipOptions, type, str]] = {
    "options": (ClipOptions(chunk=8, detect_every=2), FigureEstimator, "options.detect_every was 1, now 2"),
    "model": (ClipOptions(chunk=8), type("Other", (FigureEstimator,), {"name": "other"}), "model.model was 'figures'"),
}


@pytest.mark.parametrize(("options", "make", "expected"), CHANGED.values(), ids=CHANGED)
def test_an_unfinished_run_with_other_settings_is_thrown_away_only_if_asked(
    tmp_path: Path, options: ClipOptions, make: Callable[[], Any], expected: str
) -> None:
    out = tmp_path / "out"
    stopped(out, 20)
    estimator = make()
    with pytest.raises(OtherOrigin, match=f"unfinished run that had other settings .*{expected}.*--overwrite"):
        annotate(out, options=options, estimator=lambda: estimator)
    [note] = annotate(out, options=replace(options, overwrite=True), estimator=lambda: estimator).notes
    assert expected in note
    assert "starting over" in note
    assert sum(estimator.calls) >= 40


class InDtype(FigureEstimator):
    """An estimator whose results say in what dtype they were computed."""

    dtype = "float32"

    def meta(self) -> dict[str, Any]:
        meta = super().meta()
        return {**meta, "settings": {**meta["settings"], "dtype": self.dtype}}


class InBf16(InDtype):
    dtype = "bfloat16"


def with_dtype(name: str) -> dict[str, Any]:
    return {"estimator": {"dtype": name}}


def test_what_auto_chose_is_resumed_and_kept_where_that_dtype_is_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped(out, 20, asked=with_dtype("auto"), estimator=InDtype)
    for asked in ("auto", "bfloat16"):  # what auto chooses elsewhere: a clip never has two dtypes
        with pytest.raises(OtherOrigin, match=r"model settings\.dtype was 'float32', now 'bfloat16'"):
            annotate(out, asked=with_dtype(asked), estimator=InBf16)
    estimator = InDtype()
    assert annotate(out, asked=with_dtype("float32"), estimator=lambda: estimator).status == "done"
    assert sum(estimator.calls) == 24, "the first two chunks are there"
    assert annotate(out, asked=with_dtype("float32"), estimator=never, detector=never).status == "kept"


def test_what_auto_computed_is_kept_where_auto_chooses_otherwise(tmp_path: Path) -> None:
    out = tmp_path / "out"
    short(out, asked=with_dtype("auto"), estimator=InDtype)
    for asked in ("auto", "float32"):
        assert short(out, asked=with_dtype(asked), estimator=never, detector=never).status == "kept"
    with pytest.raises(OtherOrigin, match=r"estimator\.dtype was 'auto: float32', now 'bfloat16'"):
        short(out, asked=with_dtype("bfloat16"), estimator=never, detector=never)


def test_an_unfinished_run_of_another_source_is_thrown_away_only_if_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped(out, 20)
    (tmp_path / "clip40.json").write_text('{"frames": 40, "note": "changed"}')
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(OtherOrigin, match=r"clip\.partial\.pose\.npz exists, but it was made from another file"):
        annotate(out)
    (out / "clip.partial.pose.npz").rename(tmp_path / "aside")
    with pytest.raises(OtherOrigin, match="unfinished run that was of another source"):
        annotate(out)
    (tmp_path / "aside").rename(out / "clip.partial.pose.npz")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    [note] = annotate(out, options=ClipOptions(chunk=8, overwrite=True)).notes
    assert "was of another source (source was a file (" in note
    assert names(out) == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4"]


def test_where_nothing_is_finished_other_settings_start_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped(out, 1)
    [note] = annotate(out, options=ClipOptions(chunk=4)).notes
    assert "asked.options.chunk was 8, now 4" in note


def test_options_that_change_no_estimate_go_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped(out, 20)
    estimator = FigureEstimator()
    outcome = annotate(out, options=ClipOptions(chunk=8, clean=None, style="musepose"), estimator=lambda: estimator)
    assert outcome.notes == []
    assert sum(estimator.calls) == 24
    assert_same(result(out), join_chunks(stream(40, ClipOptions(chunk=8))))


def test_the_batch_size_in_force_is_kept(tmp_path: Path) -> None:
    """As when memory ran out in the third chunk: the size was halved for good."""

    class Halving(FigureEstimator):
        def estimate(self, *args: Any, **settings: Any) -> list[Poses]:
            if len(self.calls) == 2:
                self.batch_size = 4
            return super().estimate(*args, **settings)

    annotate(tmp_path / "whole", estimator=Halving)
    stopped(tmp_path / "out", 30, estimator=Halving)
    third = FigureEstimator(batch_size=8)
    outcome = annotate(tmp_path / "out", estimator=lambda: third)
    assert outcome.notes == ["resumed with a batch size of 4, as in the first run"]
    assert outcome.batch_size == 4
    assert_same(result(tmp_path / "out"), result(tmp_path / "whole"))
    assert result(tmp_path / "out").meta["clip"]["batch_sizes"] == [8, 4]
    assert third.batch_size == 8, "the next clip begins with the estimator's own"


def test_a_full_disk_stops_with_a_line_and_loses_nothing_finished(
    tmp_path: Path, undisturbed: PoseSequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    real = resumable.atomic_write

    def full(path: Path, mode: str = "wb") -> Any:
        if path.name == "chunk_00002.npz":
            raise InputError(f"cannot write {path}: {OSError(errno.ENOSPC, 'No space left on device').strerror}")
        return real(path, mode)

    with monkeypatch.context() as patch:
        patch.setattr(resumable, "atomic_write", full)
        with pytest.raises(InputError, match="No space left"):
            annotate(out)
    estimator = FigureEstimator()
    annotate(out, estimator=lambda: estimator)
    assert sum(estimator.calls) == 24
    assert_same(result(out), undisturbed)


def test_two_processes_do_not_share_a_clip(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with WorkFolder(ClipFiles(out, "clip").work), pytest.raises(InputError, match="another process uses this folder"):
        annotate(out)
    assert annotate(out).status == "done"


@pytest.mark.parametrize("name", ["notes.txt", "folder/chunk_00000.npz"])
def test_what_somebody_puts_into_the_work_folder_meanwhile_stays(tmp_path: Path, name: str) -> None:
    work = WorkFolder(tmp_path / ".clip.sdpose")
    work.begin({"source": "a"})
    (work.path / name).parent.mkdir(exist_ok=True)
    (work.path / name).write_text("mine")
    work.remove()
    assert [file.name for file in work.path.iterdir()] == [name.partition("/")[0]]


def test_the_lock_file_of_a_dead_process_holds_nobody_up(tmp_path: Path) -> None:
    work = ClipFiles(tmp_path / "out", "clip").work
    work.mkdir(parents=True)
    (work / "lock").write_text("process 1\n")
    assert annotate(tmp_path / "out").status == "done"
    assert names(tmp_path / "out") == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4"]


def test_a_model_that_is_missing_leaves_no_folder(tmp_path: Path) -> None:
    def missing() -> Any:
        raise InputError("no such model")

    with pytest.raises(InputError, match="no such model"):
        annotate(tmp_path / "out", estimator=missing)
    assert names(tmp_path / "out") == []


def test_what_a_kill_left_while_clearing_up_goes_away(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(out)
    work = ClipFiles(out, "clip").work
    work.mkdir()
    for name in ("chunk_00000.npz", "lock"):  # the settings go first, the lock last
        (work / name).touch()
    assert annotate(out, estimator=never, detector=never).message == "its files already exist"
    assert names(out) == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_while_the_poses_are_put_in_place_nothing_is_left_after_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    out, move = tmp_path / "out", Path.replace

    class Killed(BaseException):
        pass

    def killed(self: Path, target: Path) -> None:
        if moment == "after":
            move(self, target)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            annotate(out)
    assert names(out) == [".clip.sdpose", *(["clip.pose.npz"] if moment == "after" else [])]
    annotate(out)
    assert names(out) == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4"]


def link_to_a_folder(work: Path, elsewhere: Path) -> None:
    work.symlink_to(elsewhere, target_is_directory=True)


def link_to_nothing(work: Path, elsewhere: Path) -> None:
    work.symlink_to(elsewhere / "nothing")


def a_file(work: Path, elsewhere: Path) -> None:
    work.write_text("mine")


def others_files(work: Path, elsewhere: Path) -> None:
    shutil.copytree(elsewhere, work)


def a_link_in_it(work: Path, elsewhere: Path) -> None:
    work.mkdir()
    (work / "lock").symlink_to(elsewhere / "chunk_00000.npz")  # opened to lock it, it would be cut off


NOT_OURS = {
    link_to_a_folder: "is a link to", link_to_nothing: "is a link to", a_file: "is a file",
    others_files: "is not the work folder of a clip", a_link_in_it: "holds 'lock'",
}  # fmt: skip


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("prepare", NOT_OURS)
def test_a_work_folder_that_is_not_ours_is_left_alone(tmp_path: Path, prepare: Any, overwrite: bool) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    for name in ("chunk_00000.npz", "film.mp4"):
        (elsewhere / name).write_text("precious")
    prepare(ClipFiles(out, "clip").work, elsewhere)
    SyntheticClip.make(tmp_path / "clip40.json", 40)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=f"{NOT_OURS[prepare]}.*nothing was removed"):
        annotate(out, estimator=never, detector=never, options=ClipOptions(overwrite=overwrite))
    assert sorted(tmp_path.rglob("*")) == before
    assert [file.read_text() for file in elsewhere.iterdir()] == ["precious"] * 2


def test_an_unfinished_overwriting_run_is_told_of(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(out)
    before = (out / "clip.pose.npz").read_bytes()
    overwriting = ClipOptions(chunk=8, overwrite=True)
    stopped(out, 20, options=overwriting)
    outcome = annotate(out, estimator=never, detector=never)
    assert "unfinished run" in outcome.message
    assert (out / "clip.pose.npz").read_bytes() == before
    estimator = FigureEstimator()
    annotate(out, options=overwriting, estimator=lambda: estimator)
    assert sum(estimator.calls) == 24
    assert names(out) == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4"]


def test_a_sequence_without_an_origin_is_not_drawn_for_this_video(tmp_path: Path) -> None:
    """Such as one of an earlier version, which may be of any video."""
    out = tmp_path / "out"
    out.mkdir()
    Poses.empty(SIZE, "coco_17").save(out / "clip.pose.npz")
    with pytest.raises(OtherOrigin, match="does not say what it was made from: use --overwrite"):
        annotate(out)


def test_a_clip_without_frames_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frames"):
        annotate(tmp_path / "out", count=0)


def test_boxes_of_a_file_replace_the_detector(tmp_path: Path) -> None:
    rows = {str(n): [[40, 10, 60, 50]] for n in range(10)}
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(rows))
    annotate(tmp_path / "out", count=12, detector=never, boxes=BoxFile(path), options=ClipOptions(clean=None))
    sequence = result(tmp_path / "out")
    assert (sequence.track_ids >= 0).sum(axis=1).tolist() == [1] * 10 + [0] * 2
    assert sequence.meta["boxes_from"] == "given"


def test_sources_are_known_again_by_their_content(tmp_path: Path) -> None:
    for name, level in (("frame2.png", 1), ("frame10.png", 2)):
        write_png(tmp_path / "in" / name, np.full((8, 8, 3), level, np.uint8))
    first = open_video(tmp_path / "in").identity()
    (tmp_path / "in" / ".hidden.png").write_bytes(b"not a frame")
    (tmp_path / "in" / "notes.txt").write_text("not a frame")
    (tmp_path / "in" / "frame2.png").touch()
    (tmp_path / "in").rename(tmp_path / "moved")
    assert open_video(tmp_path / "moved").identity() == first
    write_png(tmp_path / "moved" / "frame2.png", np.full((8, 8, 3), 9, np.uint8))
    changed = open_video(tmp_path / "moved").identity()
    write_png(tmp_path / "moved" / "frame11.png", np.full((8, 8, 3), 3, np.uint8))
    assert len({str(each) for each in (first, changed, open_video(tmp_path / "moved").identity())}) == 3
    with pytest.raises(InputError, match="cannot read"):
        file_identity(tmp_path / "gone.mp4")


# --- whose results -------------------------------------------------------------------------------------------------


def short(folder: Path, options: ClipOptions | None = None, **settings: Any) -> ClipOutcome:
    return annotate(folder, 12, options or ClipOptions(chunk=4), **settings)


def stopped_short(folder: Path, after: int, **settings: Any) -> None:
    with pytest.raises(Stop):
        short(folder, on_progress=stop_after(after), **settings)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def other_clip(tmp_path: Path, **content: Any) -> SyntheticClip:
    """Another clip of 12 frames with the same file name."""
    (tmp_path / "card2").mkdir(exist_ok=True)
    (tmp_path / "card2" / "clip12.json").write_text(json.dumps({"frames": 12, **content}))
    return SyntheticClip(tmp_path / "card2" / "clip12.json")


def annotate_other(out: Path, clip: SyntheticClip, **settings: Any) -> ClipOutcome:
    given = {"options": ClipOptions(chunk=4), "estimator": FigureEstimator, "detector": ColorDetector, "asked": {}}
    return annotate_clip(clip, out, name="clip", **{**given, **settings})


def test_a_clip_that_another_process_finished_just_before_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, lock = tmp_path / "out", clip_module.WorkFolder

    def late(path: Path) -> WorkFolder:
        monkeypatch.setattr(clip_module, "WorkFolder", lock)
        short(path.parent)
        return lock(path)

    monkeypatch.setattr(clip_module, "WorkFolder", late)
    with pytest.raises(OtherOrigin, match=r"clip\.pose\.npz exists, but it was made from another file"):
        annotate_other(out, other_clip(tmp_path, card=2), estimator=never)
    assert names(out) == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4"]
    monkeypatch.setattr(clip_module, "WorkFolder", late)
    out = tmp_path / "out2"
    assert annotate_other(out, other_clip(tmp_path), estimator=never, detector=never).status == "done"


@pytest.mark.parametrize("content", [{"card": 2}, {}], ids=["another", "a copy"])
def test_another_clip_of_the_name_is_refused_and_a_copy_of_this_one_kept(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    short(out, options=ClipOptions(chunk=4, overlay=True))
    before, second = files_in(out), other_clip(tmp_path, **content)
    for overlay in (False, True):
        options = ClipOptions(chunk=4, overlay=overlay)
        if content:
            with pytest.raises(OtherOrigin, match=r"clip\.pose\.npz exists, but it was made from another file"):
                annotate_other(out, second, options=options, estimator=never, detector=never)
        else:
            kept = annotate_other(out, second, options=options, estimator=never, detector=never)
            assert kept.status == "kept"
    assert files_in(out) == before
    if content:
        annotate_other(out, second, options=ClipOptions(chunk=4, overwrite=True))
        assert names(out) == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4"], (
            "the overlay of the first clip does not stay"
        )
        assert annotate_other(out, second, estimator=never, detector=never).status == "kept"


ESTIMATION: dict[str, tuple[ClipOptions, dict[str, Any], str]] = {
    "model": (ClipOptions(chunk=4), {"model": "other"}, "model was 'this', now 'other'"),
    "every": (ClipOptions(chunk=4, every=2), {"model": "this"}, "options.every was 1, now 2"),
    "clean": (ClipOptions(chunk=4, clean=None), {"model": "this"}, "clean was"),
    "person": (ClipOptions(chunk=4, person=Selection("largest")), {"model": "this"}, "person.by was None"),
}


@pytest.mark.parametrize(("options", "asked", "reason"), ESTIMATION.values(), ids=ESTIMATION)
def test_poses_of_other_settings_are_refused(
    tmp_path: Path, options: ClipOptions, asked: dict[str, Any], reason: str
) -> None:
    out = tmp_path / "out"
    short(out, asked={"model": "this"})
    before = files_in(out)
    with pytest.raises(OtherOrigin, match=f"other settings \\({reason}.*--overwrite"):
        short(out, options=options, asked=asked, estimator=never, detector=never)
    assert files_in(out) == before


DRAWING = {
    "style": {"style": "musepose"}, "size": {"size": (48, 48)}, "parts": {"parts": ("body",)},
    "overlay": {"overlay": True}, "codec": {"codec": "ffv1"}, "threshold": {"threshold": 0.8},
}  # fmt: skip


@pytest.mark.parametrize("drawing", DRAWING.values(), ids=DRAWING)
def test_another_drawing_is_made_from_the_keypoints(tmp_path: Path, drawing: dict[str, Any]) -> None:
    out, plain = tmp_path / "out", {"chunk": 4, "clean": None}
    finished(out, 12, ClipOptions(**plain))
    poses = (out / "clip.pose.npz").read_bytes()
    options = ClipOptions(**plain, **drawing)
    outcome = short(out, options=options, estimator=never, detector=never)
    assert outcome.status == "done" and "drawn again from the keypoints: clip_" in outcome.message
    assert (out / "clip.pose.npz").read_bytes() == poses
    assert short(out, options=options, estimator=never, detector=never).status == "kept"
    short(tmp_path / "fresh", options=options)
    fresh = files_in(tmp_path / "fresh")
    if options.codec != "ffv1":  # whose container has a random number
        assert fresh.items() <= files_in(out).items(), "the same bytes as drawn at once"


def test_what_does_not_change_the_drawing_keeps_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    short(out, options=ClipOptions(chunk=4, parts=("body", "head")))
    same = ClipOptions(chunk=4, parts=("head", "body"), fit="crop")
    assert short(out, options=same, estimator=never, detector=never).status == "kept"


def test_edited_poses_are_drawn_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(out, 12, ClipOptions(chunk=4))
    before, edited = result(out), np.array(result(out).keypoints)
    edited[:, 0] += 3
    replace(before, keypoints=edited).save(out / "clip.pose.npz")
    assert "drawn again" in short(out, estimator=never, detector=never).message
    np.testing.assert_array_equal(result(out).keypoints, edited)
    assert short(out, estimator=never, detector=never).status == "kept"


@pytest.mark.parametrize("codec", ["lossless", "ffv1"])
@pytest.mark.parametrize("keep", [0, 0.6])
def test_a_video_that_is_cut_off_is_drawn_again(tmp_path: Path, codec: str, keep: float) -> None:
    out, options = tmp_path / "out", ClipOptions(chunk=4, codec=codec)
    short(out, options=options)
    video = ClipFiles(out, "clip", codec).pose_video
    whole = video.read_bytes()
    video.write_bytes(whole[: int(len(whole) * keep)])
    assert "drawn again" in short(out, options=options, estimator=never, detector=never).message
    assert len(video.read_bytes()) == len(whole)
    assert short(out, options=options, estimator=never, detector=never).status == "kept"


def test_damaged_poses_say_what_to_do(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(out, 12, ClipOptions(chunk=4))
    damage_byte(out / "clip.pose.npz")
    before = files_in(out)
    with pytest.raises(InputError, match="damaged or of another kind: use --overwrite"):
        short(out, estimator=never, detector=never)
    assert files_in(out) == before
    assert short(out, options=ClipOptions(chunk=4, overwrite=True)).status == "done"


def test_a_video_of_somebody_elses_is_never_drawn_over(tmp_path: Path) -> None:
    out, theirs = tmp_path / "out", tmp_path / "theirs.mp4"
    write(theirs, pictures(3))
    finished(out, 12, ClipOptions(chunk=4))
    (out / "clip_kps.mp4").write_bytes(theirs.read_bytes())
    with pytest.raises(OtherOrigin, match=r"clip_kps\.mp4 exists, but it does not say what it was drawn from"):
        short(out, estimator=never, detector=never)
    (out / "clip.pose.npz").unlink()
    with pytest.raises(OtherOrigin, match=r"clip_kps\.mp4 exists, but clip\.pose\.npz, from which"):
        short(out, estimator=never, detector=never)
    assert (out / "clip_kps.mp4").read_bytes() == theirs.read_bytes()


def test_a_partial_result_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped_short(out, 6)
    (out / "clip.partial.pose.npz").rename(out / "clip.pose.npz")
    with pytest.raises(OtherOrigin, match="partial was True"):
        short(out, estimator=never, detector=never)


def test_a_source_that_is_replaced_meanwhile_is_an_error(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def swap(chunk: ChunkResult) -> None:
        (tmp_path / "clip12.json").write_text('{"frames": 12, "note": "swapped"}')

    with pytest.raises(InputError, match=r"clip12\.json was replaced while it was annotated"):
        short(out, on_chunk=swap)
    assert names(out) == []
    assert short(out).status == "done"


def test_drawing_stopped_and_another_source_comes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Stop):
        short(out, on_draw=stop_after(5))
    with pytest.raises(OtherOrigin, match="another file"):
        annotate_other(out, other_clip(tmp_path, card=2), estimator=never, detector=never)
    short(out, estimator=never, detector=never)
    assert names(out) == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4"]


def test_overwriting_stopped_while_drawing_goes_on_without_the_model(tmp_path: Path) -> None:
    out, overwriting = tmp_path / "out", ClipOptions(chunk=4, overwrite=True)
    finished(out, 12, ClipOptions(chunk=4))
    with pytest.raises(Stop):
        short(out, options=overwriting, on_draw=stop_after(5))
    estimator = FigureEstimator()
    short(out, options=overwriting, estimator=lambda: estimator)
    assert not estimator.calls
    assert names(out) == ["clip.pose.npz", "clip_kps.mp4", "clip_kps_play.mp4"]


def test_drawing_again_leaves_an_unfinished_overwriting_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(out, 12, ClipOptions(chunk=4))
    stopped_short(out, 6, options=ClipOptions(chunk=4, overwrite=True))
    short(out, options=ClipOptions(chunk=4, style="musepose"), estimator=never, detector=never)
    estimator = FigureEstimator()
    short(out, options=ClipOptions(chunk=4, overwrite=True), estimator=lambda: estimator)
    assert sum(estimator.calls) == 8


def test_what_is_drawn_carries_its_mark(tmp_path: Path) -> None:
    out = tmp_path / "out"
    short(out, options=ClipOptions(chunk=4, overlay=True, style="musepose"))
    origin = result(out).meta["origin"]
    assert origin["source"] == file_identity(tmp_path / "clip12.json")
    for name, codec in (("clip_kps.mp4", "lossless"), ("clip_kps_play.mp4", "h264"), ("clip_overlay.mp4", "h264")):
        mark = read_mark(out / name)
        assert mark is not None
        assert mark["poses"] == file_identity(out / "clip.pose.npz")["sha256"]
        assert (mark["drawing"]["style"], mark["drawing"]["codec"]) == ("musepose", codec)


# --- names with a counter ------------------------------------------------------------------------------------------


def numbered(out: Path, keep: bool = False, options: ClipOptions | None = None, **settings: Any) -> ClipOutcome:
    options = options or ClipOptions(chunk=4)
    name = lambda origin: numbered_name(out, "clip", origin, options, keep)  # noqa: E731
    return short(out, options=options, name=name, **settings)


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    out, other = tmp_path / "out", ClipOptions(chunk=4, style="musepose")
    assert [numbered(out).name, numbered(out).name, numbered(out, options=other).name] == [
        "clip_00001", "clip_00002", "clip_00003",
    ]  # fmt: skip
    (tmp_path / "clip12.json").write_text('{"frames": 12, "another": "clip"}')
    before = files_in(out)
    assert numbered(out, keep=True).name == "clip_00004"
    assert before.items() <= files_in(out).items()


def test_finished_sets_are_used_if_asked_and_drawn_again_under_a_new_name(tmp_path: Path) -> None:
    out, other = tmp_path / "out", ClipOptions(chunk=4, style="musepose")
    model = {"estimator": never, "detector": never}
    first = numbered(out)
    before = files_in(out)
    assert (numbered(out, keep=True, **model).status, files_in(out)) == ("kept", before)
    again = numbered(out, keep=True, options=other, **model)
    assert (first.name, again.name, again.status) == ("clip_00001", "clip_00002", "done")
    assert before.items() <= files_in(out).items()
    one, two = (PoseSequence.load(out / f"clip_0000{number}.pose.npz") for number in (1, 2))
    np.testing.assert_array_equal(one.keypoints, two.keypoints)
    for options, name in ((ClipOptions(chunk=4), "clip_00001"), (other, "clip_00002")):
        kept = numbered(out, keep=True, options=options, **model)
        assert (kept.name, kept.status) == (name, "kept")
    assert numbered(out, keep=True, options=ClipOptions(chunk=4, every=2)).name == "clip_00003"


def test_a_run_that_was_stopped_on_another_device_is_left_alone(tmp_path: Path) -> None:
    class OnOtherDevice(FigureEstimator):
        def meta(self) -> dict[str, Any]:
            meta = super().meta()
            return {**meta, "settings": {**meta.get("settings", {}), "device": "other"}}

    def again(estimator: type[FigureEstimator], **settings: Any) -> ClipOutcome:
        clip = SyntheticClip(tmp_path / "clip12.json")
        return annotate_numbered(
            clip, out, "clip", False, options=ClipOptions(chunk=4), asked={}, estimator=estimator,
            detector=ColorDetector, **settings,
        )  # fmt: skip

    out = tmp_path / "out"
    other_clip(tmp_path)
    (tmp_path / "clip12.json").write_text('{"frames": 12}')
    with pytest.raises(Stop):
        again(FigureEstimator, on_progress=stop_after(6))
    assert again(OnOtherDevice).name == "clip_00002"
    assert again(FigureEstimator).name == "clip_00001"


def test_what_a_kill_left_before_the_first_frame_takes_no_name(tmp_path: Path) -> None:
    work = ClipFiles(tmp_path / "out", "clip_00001").work
    work.mkdir(parents=True)
    (work / "lock").touch()
    assert numbered(tmp_path / "out").name == "clip_00001"
    assert names(tmp_path / "out") == [f"clip_00001{end}" for end in (".pose.npz", "_kps.mp4", "_kps_play.mp4")]


def test_a_long_name_with_a_counter_still_fits(tmp_path: Path) -> None:
    found = [numbered_name(tmp_path, "x" * 250, Origin({}, {}), ClipOptions(), False)]
    (tmp_path / f"{found[0]}_kps_play.mp4").touch()
    found.append(numbered_name(tmp_path, "x" * 250, Origin({}, {}), ClipOptions(), False))
    assert len(set(found)) == 2 and max(map(len, found)) <= 215
    assert [output_name(name, tmp_path) for name in found] == found


@pytest.mark.parametrize("stop", ["estimating", "drawing"])
def test_an_unfinished_set_is_resumed_under_its_name(tmp_path: Path, stop: str) -> None:
    out = tmp_path / "out"
    numbered(out)
    with pytest.raises(Stop):
        numbered(out, **{"on_progress" if stop == "estimating" else "on_draw": stop_after(6)})
    assert numbered(out, options=ClipOptions(chunk=4, every=2)).name == "clip_00003", "of other settings: not resumed"
    estimator = FigureEstimator()
    assert numbered(out, estimator=lambda: estimator).name == "clip_00002"
    assert sum(estimator.calls) == (8 if stop == "estimating" else 0)


def test_numbers_count_on_as_those_of_comfyui(tmp_path: Path) -> None:
    """A name that was removed is not given to other files while there are later ones."""
    out = tmp_path / "out"
    for _ in range(3):
        numbered(out)
    for path in (*out.glob("clip_00001*"), *out.glob("clip_00002*")):
        path.unlink()
    (out / "Clip_00007_.png").touch()
    (out / "clip_00009x").touch()
    (out / "clipper_00012_kps.mp4").touch()
    (out / ".clip_00020.sdpose").mkdir()
    assert numbered(out).name == "clip_00010"


def test_a_set_is_not_drawn_again_in_another_codec_unless_it_was_stopped(tmp_path: Path) -> None:
    """The other node's files stay its own: each set has poses and one pose video."""
    out, other = tmp_path / "out", ClipOptions(chunk=4, codec="webm")
    assert [numbered(out).name, numbered(out, options=other).name] == ["clip_00001", "clip_00002"]
    (out / "clip_00001_kps.mp4").unlink()
    never_again = {"estimator": never, "detector": never}
    assert numbered(out).name == "clip_00003"
    assert numbered(out, keep=True, options=other, **never_again).name == "clip_00002"


def test_results_without_a_number_are_used_if_asked(tmp_path: Path) -> None:
    """Those of `sdpose video`."""
    out = tmp_path / "out"
    short(out, options=ClipOptions(chunk=4), name="clip")
    assert numbered(out).name == "clip_00001"
    kept = numbered(out, keep=True, estimator=never, detector=never)
    assert (kept.status, kept.name) == ("kept", "clip")


def test_the_frame_rate_is_a_fraction() -> None:
    [chunk] = stream(3, ClipOptions(), frame_rate=Fraction(30000, 1001))
    assert chunk.sequence.frame_rate == Fraction(30000, 1001)


# --- names and times of frames ---------------------------------------------------------------------------------------


def folder(path: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        write_png(path / name, picture(number))
    return path


def annotated(source: Path, out: Path, **settings: Any) -> PoseSequence:
    outcome = annotate_clip(
        source,
        out,
        estimator=FigureEstimator,
        detector=ColorDetector,
        options=ClipOptions(chunk=3, clean=None),
        asked={},
        **settings,
    )
    return PoseSequence.load(outcome.files[0])


def test_pictures_of_a_folder_keep_their_names(tmp_path: Path) -> None:
    names = ["frame_2.png", "frame_9.png", "frame_10.png", "frame_11.png", "frame_100.png"]
    sequence = annotated(folder(tmp_path / "in", names[::-1]), tmp_path / "out")
    assert sequence.meta["frame_names"] == names
    assert sequence.frame_index.tolist() == list(range(5))


def test_frames_of_a_video_have_no_names() -> None:
    chunks = estimate_frames(frames(5), FigureEstimator(), ColorDetector(), ClipOptions(chunk=3))
    assert "frame_names" not in join_chunks(chunks).meta


@pytest.mark.parametrize("key", ["{}.png", "{}"])
def test_boxes_by_the_names_of_pictures(tmp_path: Path, key: str) -> None:
    """0001.png is not frame 1."""
    names = ["0001", "0002", "0003"]
    source = folder(tmp_path / "in", [f"{name}.png" for name in names])
    boxes = {key.format(name): [[10 * n, 0, 10 * n + 5, 30]] for n, name in enumerate(names, start=1)}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    sequence = annotated(source, tmp_path / "out", boxes=BoxFile(tmp_path / "boxes.json"))
    assert sequence.boxes[:, 0, 0].tolist() == [10, 20, 30]


def test_the_rate_of_a_sequence_is_that_of_its_times() -> None:
    chunks = estimate_frames(frames(6), FigureEstimator(), ColorDetector(), ClipOptions(), frame_rate=Fraction(1000))
    assert join_chunks(chunks).frame_rate == 25


def test_skipped_frames_are_interpolated_by_time() -> None:
    late = [replace(frame, pts=frame.pts + (2.0 if frame.index > 1 else 0)) for frame in frames(5)]
    sequence = join_chunks(estimate_frames(late, FigureEstimator(), ColorDetector(), ClipOptions(every=4)))
    x = sequence.keypoints[:, 0, 0, 0]
    assert (x[1] - x[0]) / (x[4] - x[0]) == pytest.approx(0.04 / 2.16, abs=0.01)


def test_the_detector_runs_after_a_pause_of_the_recording() -> None:
    def calls(pause: float) -> int:
        late = (replace(frame, pts=frame.pts + (pause if frame.index > 5 else 0)) for frame in frames(12))
        detector = ColorDetector()
        list(estimate_frames(late, FigureEstimator(), detector, ClipOptions(detect_every=50)))
        return detector.calls

    assert calls(3.0) == calls(0.0) + 1
