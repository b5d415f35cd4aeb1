"""Models that find all people of a picture at once: their people are matched to the boxes that are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sdpose_core.boxes import iou, nms
from sdpose_core.codec.crops import PADDING, box_to_center_scale, tight_box
from sdpose_core.dependencies import opencv
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.poses import Poses
from sdpose_core.skeletons import KEYPOINT_SETS, KeypointSet
from sdpose_training.data.keypoint_sets import find_keypoint_set
from sdpose_training.options import size
from sdpose_training.peers.base import Peer, unseen
from sdpose_training.peers.onnx_files import open_onnx, picture_input, title_of
from sdpose_training.peers.spec_options import Reader, number, one_of

GRAY = 114
"""Of the border of a letterbox."""

CANDIDATES = 1000
"""The most people of a picture that non-maximum suppression compares."""


@dataclass(frozen=True, eq=False)
class Found:
    """N people of a picture, in its pixels.

    Attributes:
        boxes_xyxy, scores: (N, 4), (N,).
        keypoints, keypoint_scores: (N, K, 2), (N, K).
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray
    keypoint_scores: np.ndarray

    def select(self, indices: np.ndarray) -> Found:
        """The people at `indices`, in that order."""
        columns = (self.boxes_xyxy, self.scores, self.keypoints, self.keypoint_scores)
        return Found(*(column[indices] for column in columns))


@dataclass(frozen=True)
class PeopleOptions:
    """How people are found and matched.

    Attributes:
        input: (w, h), for files that leave it open.
        view: what the model sees: the whole "picture", or a "box" and what is around it.
        padding: factor on the size of the box, for "box".
        iou: least overlap of a box and a found person's box.
        confidence: least score of a person.
        nms: largest overlap of two people, where the model does not suppress by itself.
        keypoints: name of a known set or a TOML file; None: by their number.
    """

    input: tuple[int, int] | None = None
    view: str = "picture"
    padding: float = PADDING
    iou: float = 0.3
    confidence: float = 0.001
    nms: float = 0.7
    keypoints: str | None = None


READERS: Mapping[str, Reader] = {
    "input": size(1),
    "view": one_of("picture", "box"),
    "padding": number(0, above=True),
    "iou": number(0, 1),
    "confidence": number(0, 1),
    "nms": number(0, 1),
    "keypoints": str,
}


@dataclass(frozen=True)
class Letterbox:
    """A picture scaled into the middle of an input, with a gray border.

    Attributes:
        picture: (w, h) of the picture.
        size: (w, h) of the scaled picture, whole pixels.
        corner: (x, y) of the scaled picture in the input.
        input_size: (w, h).
    """

    picture: tuple[int, int]
    size: tuple[int, int]
    corner: tuple[int, int]
    input_size: tuple[int, int]

    @classmethod
    def of(cls, picture: tuple[int, int], input_size: tuple[int, int]) -> Letterbox:
        """The letterbox of a picture of (w, h), as large as fits."""
        factor = min(input_size[0] / picture[0], input_size[1] / picture[1])
        w, h = (max(1, round(side * factor)) for side in picture)
        return cls(picture, (w, h), ((input_size[0] - w) // 2, (input_size[1] - h) // 2), input_size)

    def fill(self, image: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8: the picture in its place."""
        cv2 = opencv()
        (x, y), (w, h) = self.corner, self.size
        canvas = np.full((self.input_size[1], self.input_size[0], 3), GRAY, np.uint8)
        canvas[y : y + h, x : x + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
        return canvas

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) in input pixels -> picture pixels, by sizes: as labels are scaled in training."""
        return (points - np.asarray(self.corner)) * self.picture / np.asarray(self.size)


class WholePicturePeer(Peer):
    """An estimator that gets no boxes; subclasses implement `_people`.

    Each box gets the found person whose box overlaps it most; without one of enough overlap, no point is found. Two
    boxes may get the same person: OKS-NMS of the evaluation keeps one. There is no flip test.

    Args:
        name, points, path: as for `Peer`.
        settings: how people are found and matched.
        batch: of `Peer`.
        flip_test: ignored.
    """

    def __init__(
        self,
        name: str,
        points: KeypointSet,
        path: Path,
        settings: PeopleOptions,
        *,
        batch: int | None = None,
        flip_test: bool = False,
    ) -> None:
        super().__init__(name, points, path, flip_test=False, batch=batch)
        self.settings = settings
        self._last: tuple[np.ndarray, Found] | None = None
        self.notes.append("finds people by itself; the boxes only choose among them")

    def estimate(self, *arguments: Any, **options: Any) -> list[Poses]:
        """See `Peer.estimate`."""
        try:
            return super().estimate(*arguments, **options)
        finally:
            self._last = None  # its pixels may change before the next call

    @abstractmethod
    def _people(self, image_rgb: np.ndarray) -> Found:
        """All people of a picture (H, W, 3) uint8."""

    def _find(self, images: Sequence[np.ndarray], boxes_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answers = [self._person(image, box) for image, box in zip(images, boxes_xyxy, strict=True)]
        keypoints, scores = (np.stack(each) for each in zip(*answers, strict=True))
        return unseen(keypoints, scores)

    def _person(self, image: np.ndarray, box_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (K, 2) and scores (K,) of the person in a box; NaN and 0 if there is none."""
        found = self._in_picture(image) if self.settings.view == "picture" else self._around(image, box_xyxy)
        overlaps = iou(box_xyxy[None], found.boxes_xyxy)[0]
        best = int(overlaps.argmax()) if len(overlaps) else -1
        if best < 0 or overlaps[best] < self.settings.iou or overlaps[best] == 0:
            return np.full((len(self.points), 2), np.nan), np.zeros(len(self.points))
        return found.keypoints[best], found.keypoint_scores[best]

    def _in_picture(self, image: np.ndarray) -> Found:
        if self._last is None or self._last[0] is not image:
            self._last = (image, self._people(image))
        return self._last[1]

    def _around(self, image: np.ndarray, box_xyxy: np.ndarray) -> Found:
        """People in the padded box, in pixels of the whole picture."""
        center, scale = box_to_center_scale(box_xyxy, self.settings.padding)
        padded = np.concatenate([center - scale / 2, center + scale / 2])
        x1, y1, x2, y2 = tight_box(padded, (image.shape[1], image.shape[0]))
        found = self._people(np.ascontiguousarray(image[y1:y2, x1:x2]))
        corner = np.array([x1, y1])
        boxes = found.boxes_xyxy + np.tile(corner, 2)
        return Found(boxes, found.scores, found.keypoints + corner, found.keypoint_scores)

    def _settings(self) -> dict[str, Any]:
        how = self.settings
        matched = {"view": how.view, "min_iou": how.iou, "confidence": how.confidence}
        return {**matched, **({"box_padding": how.padding} if how.view == "box" else {})}


class OnnxPeoplePeer(WholePicturePeer):
    """A `WholePicturePeer` from an ONNX file; subclasses implement `_people` and `_count`, and name themselves.

    Args:
        path: the ONNX file.
        settings: how people are found and matched.
        device: "cpu", "cuda", or None for the best available.
        options: batch of `Peer`; there is no flip test.

    Raises: see `load_peer`.
    """

    title: ClassVar[str]
    what: ClassVar[str]
    """The kind of model, for errors."""
    more_inputs: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, path: str | Path, settings: PeopleOptions | None = None, *, device: Any = None, **options: Any
    ) -> None:
        path, settings = Path(path), settings or PeopleOptions()
        self.model = open_onnx(path, device)
        asked = settings.input or self._stated_size()
        self._input = picture_input(self.model, self.what, asked, example="input=640x640", more=self.more_inputs)
        points = points_of(self._count(), settings.keypoints, path)
        super().__init__(f"{self.title} ({title_of(path)})", points, path, settings, **options)
        self.notes += self.model.notes

    def _stated_size(self) -> tuple[int, int] | None:
        """(w, h) that the file states beside its input, if there is such a place."""
        return None

    def _empty(self) -> np.ndarray:
        """A black input (1, 3, h, w) float32, to learn the outputs' shapes."""
        w, h = self._input.size
        return np.zeros((1, 3, h, w), np.float32)

    @abstractmethod
    def _count(self) -> int:
        """The number of keypoints. Raises `CheckpointError` for outputs of another kind of model."""

    def _settings(self) -> dict[str, Any]:
        return {"backend": self.model.backend, "input_size": list(self._input.size), **super()._settings()}


def suppressed(found: Found, settings: PeopleOptions, *, overlap: bool) -> Found:
    """The people of enough confidence, best first; `overlap`: without those that overlap a better one too much."""
    order = np.argsort(-found.scores, kind="stable")
    order = order[found.scores[order] >= settings.confidence][:CANDIDATES]
    best = found.select(order)
    return best.select(nms(best.boxes_xyxy, best.scores, settings.nms)) if overlap else best


def split_values(length: int) -> tuple[int, int]:
    """Number of keypoints and values of each, of so many values: with scores, if that is possible."""
    values = 3 if length % 3 == 0 else 2
    return length // values, values


def points_of(count: int, asked: str | None, path: Path) -> KeypointSet:
    """The keypoint set that was asked for, or the known one with `count` points.

    Raises `CheckpointError` for an unknown number, `InputError` for a set with another one.
    """
    if asked is not None:
        points = find_keypoint_set(asked)
        if len(points) != count:
            raise InputError(f"{path} has {count} keypoints, keypoints={asked} has {len(points)}: give the right set")
        return points
    sets = {len(each): each for each in KEYPOINT_SETS.values()}
    if count not in sets:
        known = ", ".join(map(str, sets))
        raise CheckpointError(
            f"{path} has {count} keypoints: known are {known}; name other keypoints, such as keypoints=my_points.toml"
        )
    return sets[count]
