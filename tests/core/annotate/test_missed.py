"""People whom the detector misses: in the middle of a clip, in its first frames, after a cut; nobody is invented."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from synthetic_clip import RATE, SIZE, ColorDetector, FigureEstimator, picture

from sdpose_core.annotate import missed as missed_module
from sdpose_core.annotate.chunks import ChunkResult, join_chunks
from sdpose_core.annotate.clip_options import ClipOptions
from sdpose_core.annotate.missed import confirmed
from sdpose_core.annotate.stream import estimate_frames
from sdpose_core.embedded.movenet import MoveNet
from sdpose_core.images import read_image
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.video.frames import Frame

from paths import DATA  # isort: skip

RED = (220, 30, 30)
ASTRONAUT = read_image(DATA / "astronaut.png")
ASTRONAUT_BOX = np.asarray([50.0, 10, 400, 500])


class ColorJudge:
    """Knows people by their color, like the detector: the estimator's figure on whoever is in the box."""

    def __init__(self) -> None:
        self.boxes: list[np.ndarray] = []
        self.layout = FigureEstimator()._layout

    def find(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.boxes.append(box)
        x1, y1, x2, y2 = np.rint(box).astype(int)
        low = np.maximum([x1 - 4, y1 - 4], 0)
        rows, columns = np.nonzero((image[low[1] : y2 + 4, low[0] : x2 + 4] >= 200).any(axis=2))
        if len(rows) < 300:
            return np.zeros((17, 2)), np.zeros(17)
        start, end = low + [columns.min(), rows.min()], low + [columns.max() + 1, rows.max() + 1]
        return start + self.layout * (end - start), np.full(17, 0.8)


class Missing(ColorDetector):
    """Misses everybody in some of the frames, counted from `start`."""

    def __init__(self, missed: Callable[[int], bool], start: int = 0) -> None:
        super().__init__()
        self.missed, self.start = missed, start

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes, scores = super().detect(image)
        return (boxes[:0], scores[:0]) if self.missed(self.start + self.calls - 1) else (boxes, scores)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> ColorJudge:
    judge = ColorJudge()
    monkeypatch.setattr(missed_module, "movenet", lambda *_: judge)
    return judge


def frames(count: int, start: int = 0, make: Callable[[int], np.ndarray] = picture) -> Iterator[Frame]:
    for index in range(start, count):
        yield Frame(index=index, pts=index / float(RATE), image=make(index))


def stream(
    count: int, missed: Callable[[int], bool], options: ClipOptions | None = None, *,
    make: Callable[[int], np.ndarray] = picture, **settings: Any,
) -> list[ChunkResult]:  # fmt: skip
    state = settings.get("state")
    start = 0 if state is None else state["next_frame"]
    return list(
        estimate_frames(
            frames(count, start, make),
            FigureEstimator(),
            Missing(missed, start),
            options or ClipOptions(),
            frame_rate=RATE,
            **settings,
        )  # fmt: skip
    )


def people(sequence: PoseSequence) -> list[int]:
    return (sequence.track_ids >= 0).sum(axis=1).tolist()


def counts(sequence: PoseSequence) -> dict[str, int]:
    return sequence.meta["clip"]["counts"]


@pytest.mark.usefixtures("judge")
@pytest.mark.parametrize("options", [ClipOptions(), ClipOptions(detect_every=3)], ids=["every frame", "every third"])
def test_a_tracked_person_is_found_where_the_detector_misses_them(options: ClipOptions) -> None:
    sequence = join_chunks(stream(30, lambda detection: 3 <= detection < 6, options))
    assert people(sequence) == [2] * 30
    assert np.unique(sequence.track_ids).tolist() == [0, 1]
    assert counts(sequence)["people found where they were expected"] > 0
    alone = join_chunks(stream(30, lambda detection: 3 <= detection < 6, ClipOptions(find_missed=False)))
    assert people(alone)[2:7] == [2, 0, 0, 0, 2]


@pytest.mark.usefixtures("judge")
def test_the_first_frames_look_forward_for_their_people() -> None:
    sequence = join_chunks(stream(20, lambda frame: frame < 5))
    assert people(sequence) == [2] * 20
    assert counts(sequence)["people found in the frames before"] == 10
    assert np.diff(sequence.track_ids, axis=1).min() > 0


@pytest.mark.usefixtures("judge")
def test_the_first_frames_of_a_scene_look_forward_but_not_across_the_cut() -> None:
    def make(index: int) -> np.ndarray:
        if index >= 8:
            return picture(index)
        empty = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        empty[:, ::2] = 160
        return empty

    sequence = join_chunks(stream(20, lambda frame: frame < 11, make=make))
    assert sequence.meta["clip"]["scene_cuts"] == [8]
    assert people(sequence) == [0] * 8 + [2] * 12


def test_a_person_who_left_is_looked_for_twice(judge: ColorJudge) -> None:
    sequence = join_chunks(stream(40, lambda frame: False, make=lambda index: picture(index + 150)))
    assert people(sequence) == [2] * 20 + [1] * 20
    assert len(judge.boxes) == 2


def test_nobody_is_kept_longer_than_lost_tracks(judge: ColorJudge) -> None:
    sequence = join_chunks(stream(100, lambda frame: frame >= 20))
    assert people(sequence) == [2] * 70 + [0] * 30  # the last one seen by the detector, and two seconds


@pytest.mark.usefixtures("judge")
@pytest.mark.parametrize("options", [ClipOptions(chunk=8), ClipOptions(chunk=8, detect_every=3)])
def test_resumed_and_overlapped_runs_give_the_same_bytes(options: ClipOptions) -> None:
    def missed(frame: int) -> bool:
        return frame < 3 or frame % 7 in (0, 1) or 20 <= frame < 23

    if options.detect_every > 1:  # which frames are detected depends on the poses: miss none
        missed = lambda frame: False  # noqa: E731
    whole = stream(40, missed, options)
    runs = [
        stream(40, missed, options, overlap=True),
        *(
            [*whole[: n + 1], *stream(40, missed, options, state=json.loads(json.dumps(whole[n].state)))]
            for n in (0, 2)
        ),
    ]
    first = join_chunks(whole)
    for run in runs:
        again = join_chunks(run)
        for name in ("keypoints", "scores", "boxes", "track_ids"):
            assert getattr(first, name).tobytes() == getattr(again, name).tobytes(), name
    assert not missed(1) or counts(first)["people found in the frames before"] > 0


@pytest.mark.usefixtures("judge")
def test_people_in_a_file_of_boxes_are_only_those_in_it(judge: ColorJudge) -> None:
    from sdpose_core.annotate.images import FramePeople

    def given(frame: Frame) -> FramePeople:
        boxes, _ = ColorDetector().detect(frame.image)
        return FramePeople(boxes if frame.index % 2 else boxes[:1])

    sequence = join_chunks(stream(10, lambda frame: False, given=given))
    assert people(sequence) == [1, 2] * 5
    assert not judge.boxes


# --- the judge itself ----------------------------------------------------------------------------------------------


def test_the_judge_confirms_a_person_but_neither_a_wall_nor_somebody_twice() -> None:
    nobody = Poses.empty((ASTRONAUT.shape[1], ASTRONAUT.shape[0]), "coco_17")
    keypoints, scores = MoveNet().find(ASTRONAUT, ASTRONAUT_BOX)
    box = confirmed(ASTRONAUT, ASTRONAUT_BOX, keypoints, nobody)
    assert box is not None
    np.testing.assert_allclose(box[:4], ASTRONAUT_BOX)
    moved = confirmed(ASTRONAUT, ASTRONAUT_BOX, keypoints - [20, 5], nobody)
    assert moved is not None
    np.testing.assert_allclose(moved[:4], ASTRONAUT_BOX + [20, 5, 20, 5], atol=0.01)
    assert confirmed(ASTRONAUT, np.asarray([400.0, 0, 511, 200]), keypoints, nobody) is None
    her = Poses(keypoints[None], scores[None], box[None], nobody.size, "coco_17")
    assert confirmed(ASTRONAUT, ASTRONAUT_BOX, keypoints, her) is None


def test_a_box_that_leaves_the_picture_is_nobody() -> None:
    nobody = Poses.empty((ASTRONAUT.shape[1], ASTRONAUT.shape[0]), "coco_17")
    assert confirmed(ASTRONAUT, np.asarray([-90.0, 0, 1, 500]), np.zeros((17, 2)), nobody) is None
