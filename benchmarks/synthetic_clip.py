"""A computed clip of any length, with a detector and an estimator that find its people by color.

Nothing is random: a frame is a function of its number. As with a real model, the last digits of the results depend on
the pixels and the batch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.estimation.stage_times import MODEL, StageTimes
from sdpose_core.origins import file_identity
from sdpose_core.poses import Poses
from sdpose_core.skeletons import KEYPOINT_SETS
from sdpose_core.video.frames import Frame, VideoInfo

SIZE = (96, 64)
RATE = Fraction(25)
COLORS = ((220, 30, 30), (30, 60, 220))


class SyntheticClip:
    """A source like those of `open_video`, described by a small file, which gives it an identity."""

    def __init__(self, path: Path) -> None:
        length = json.loads(path.read_text(encoding="utf-8"))["frames"]
        self.damaged: list[int] = []
        self.info = VideoInfo(path=path, size=SIZE, frame_rate=RATE, frames=length, duration=length / float(RATE))

    @classmethod
    def make(cls, path: Path, frames: int) -> SyntheticClip:
        """Write the file that describes a clip with this number of frames."""
        path.write_text(json.dumps({"frames": frames}), encoding="utf-8")
        return cls(path)

    def identity(self) -> dict[str, Any]:
        """Of the file that describes it."""
        return file_identity(self.info.path)

    def __enter__(self) -> SyntheticClip:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """From frame `start` on."""
        assert self.info.frames is not None
        for index in range(start, self.info.frames):
            yield Frame(index=index, pts=index / float(RATE), image=picture(index))


def picture(index: int) -> np.ndarray:
    """RGB uint8: two people walk back and forth; the second is away for 30 of each 200 frames."""
    image = np.full((SIZE[1], SIZE[0], 3), 98 + index % 5, np.uint8)
    for person, color in enumerate(COLORS):
        if person == 1 and index % 200 >= 170:
            continue
        x = int(12 + 48 * person + 10 * np.sin(index / (9 + 4 * person)))
        y = int(14 + 4 * np.cos(index / 13))
        image[y : y + 40, x : x + 16] = color
    return image


class ColorDetector:
    """Boxes around the two colors."""

    name = "by color"

    def __init__(self) -> None:
        self.calls = 0

    def meta(self) -> dict[str, Any]:
        return {"name": self.name}

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.calls += 1
        boxes = []
        for color in COLORS:
            mask = (image == color).all(axis=2)
            if mask.any():
                rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
                boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        return np.asarray(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), 0.9, np.float32)


class FigureEstimator:
    """A figure in each box.

    Args:
        batch_size: crops per pass; results depend on it in their last digits.
        keypoint_set: of the results.
        before_batch: called before each pass, to wait or to fail.
    """

    name = "figures"
    notes = ()

    def __init__(
        self, batch_size: int = 8, keypoint_set: str = "coco_17", before_batch: Callable[[], None] | None = None
    ) -> None:
        self.batch_size, self.keypoint_set, self.before_batch = batch_size, keypoint_set, before_batch
        self.calls: list[int] = []
        self.times = StageTimes()
        turn = np.arange(len(KEYPOINT_SETS[keypoint_set])) * 2.4
        self._layout = 0.5 + 0.45 * np.stack([np.cos(turn), np.sin(turn)], axis=1)

    def to(self, device: Any) -> FigureEstimator:
        return self

    def meta(self) -> dict[str, Any]:
        settings = {"batch_size": self.batch_size}
        return {"model": self.name, "weights": {}, "library_version": "0", "settings": settings}

    def estimate(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], *, masks: Any = None, on_batch: Any = None
    ) -> list[Poses]:
        jobs = [(number, box) for number, members in enumerate(boxes) for box in members]
        self.calls.append(len(images))
        found: list[list[np.ndarray]] = [[] for _ in images]
        for start in range(0, len(jobs), self.batch_size):
            batch = jobs[start : start + self.batch_size]
            with self.times.busy(MODEL):
                if self.before_batch:
                    self.before_batch()
                for number, box in batch:
                    found[number].append(self._points(images[number], box, len(batch)))
            if on_batch:
                on_batch(start + len(batch), len(jobs))
        return [self._poses(*each) for each in zip(images, boxes, found, strict=True)]

    def _points(self, image: np.ndarray, box: np.ndarray, companions: int) -> np.ndarray:
        seed = float(image[::7, ::7].sum() % 97) / 97
        wobble = 0.3 * np.sin(seed * 40 + np.arange(len(self._layout)))[:, None] + 1e-4 * companions
        return box[:2] + self._layout * (box[2:4] - box[:2]) + wobble

    def _poses(self, image: np.ndarray, boxes: np.ndarray, points: list[np.ndarray]) -> Poses:
        count = len(self._layout)
        scores = np.tile(0.6 + 0.3 * np.sin(np.arange(count)), (len(points), 1))
        size = (image.shape[1], image.shape[0])
        keypoints = np.asarray(points).reshape(-1, count, 2)
        return Poses(keypoints, scores, np.reshape(boxes, (-1, 5)), size, self.keypoint_set, meta=self.meta())
