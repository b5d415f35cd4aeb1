"""The interface and limits of person detectors, and the whole picture as a box."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np

from .. import boxes as box_tools
from ..errors import InputError, NotFiniteError
from ..images import check_image

Detections = tuple[np.ndarray, np.ndarray]
"""boxes_xyxy (N, 4) float32 pixels, scores (N,) float32."""

SURE = 0.35
"""Boxes of at least this score are people, if their pose does not speak against it; used everywhere."""

SURE_BOX = "sure box"
"""How a person was found of whom the detector is sure."""

LOWEST = 0.02
"""Minimum score of a box that is proposed; below, there are too many."""

MIN_PERSON_SCORE = 0.3
"""Minimum score of a pose where the detector is not sure, see `finding.PersonFinder`."""

_SHARES = ("threshold", "nms_iou", "min_person_score")
_MAX_CANDIDATES = 1000
"""Kept for suppression, which compares all pairs; a picture has fewer people."""


class PersonDetector(Protocol):
    """Finds the people of a picture; results record `name`."""

    name: str

    def meta(self) -> dict[str, Any]:
        """For results: "name", and every setting that affects boxes."""

    def detect(self, image: np.ndarray) -> Detections:
        """RGB uint8 (H, W, 3) -> boxes_xyxy (N, 4) float32 in pixels, inside the picture; scores (N,), best first."""


@dataclass(frozen=True)
class Limits:
    """Which detections count as people.

    Attributes:
        threshold: minimum score; of a sure box, where `PersonFinder` decides.
        nms_iou: maximum overlap of two boxes, for detectors that need suppression.
        max_people: number of best boxes to keep; None: all.
        min_size: minimum width and height of a box in pixels, inside the picture.
    """

    threshold: float = SURE
    nms_iou: float = 0.5
    max_people: int | None = None
    min_size: float = 0

    def __post_init__(self) -> None:
        shares = {field.name: getattr(self, field.name) for field in fields(self) if field.name in _SHARES}
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise InputError(f"detector {name}: expected 0 to 1, got {value}")
        if self.max_people is not None and self.max_people < 1:
            raise InputError(f"detector max_people: expected at least 1, or None for all, got {self.max_people}")
        if not self.min_size >= 0:
            raise InputError(f"detector min_size: expected at least 0 pixels, got {self.min_size}")

    def apply(self, boxes_xyxy: np.ndarray, scores: np.ndarray, size: tuple[int, int], *, nms: bool) -> Detections:
        """Candidates (N, 4), (N,) of a picture of `size` (w, h) -> people, best first, clipped to the picture."""
        usable = (scores >= self.threshold) & np.isfinite(boxes_xyxy).all(axis=1)
        best = np.argsort(-scores[usable], kind="stable")[:_MAX_CANDIDATES]
        boxes, scores = boxes_xyxy[usable][best], scores[usable][best]
        if nms:
            kept = box_tools.nms(boxes, scores, self.nms_iou)
            boxes, scores = boxes[kept], scores[kept]
        boxes = box_tools.clip(boxes, size)
        large = self.are_large(boxes)
        boxes, scores = boxes[large][: self.max_people], scores[large][: self.max_people]
        return boxes.astype(np.float32), scores.astype(np.float32)

    def are_large(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """(N,) bool: which boxes inside the picture (N, 4) are not empty and have `min_size`."""
        sides = (boxes_xyxy[:, 2:4] - boxes_xyxy[:, :2]).min(axis=1, initial=np.inf)
        return (sides > 0) & (sides >= self.min_size)


def check_finite(boxes_xyxy: np.ndarray, scores: np.ndarray, threshold: float, name: str) -> None:
    """Raise `NotFiniteError` if a score, or a box that counts, is NaN or infinite: then nobody would be found."""
    damaged = ~np.isfinite(scores) | ((scores >= threshold) & ~np.isfinite(boxes_xyxy).all(axis=1))
    if damaged.any():
        raise NotFiniteError(
            f"detector {name}: {damaged.sum():,} of {len(scores):,} candidates are not numbers (NaN or infinity): its "
            "weights are damaged or its half precision is too small: get the file again, or choose another detector"
        )


@dataclass(frozen=True)
class DetectorOptions(Limits):
    """How a detector is loaded, and which of its detections count.

    Attributes:
        threshold, nms_iou, max_people, min_size: see `Limits`.
        sure_only, min_person_score: see `finding.PersonFinder`.
        backend: for ONNX files, "onnxruntime" or "cv2"; None: the first one installed.
        device: for RT-DETR and D-FINE, CUDA if available or else the CPU if it is None; one for ONNX files alone, such
            as "openvino", is for YOLOX and the poses that confirm people.
        download: whether a name on the Hugging Face hub that is not in its local cache may be downloaded.
    """

    sure_only: bool = False
    min_person_score: float = MIN_PERSON_SCORE
    backend: str | None = None
    device: str | None = None
    download: bool = False

    def limits(self) -> Limits:
        """The part that says which detections count."""
        return Limits(self.threshold, self.nms_iou, self.max_people, self.min_size)

    def confirming(self) -> dict[str, Any]:
        """The options that say which boxes are confirmed by poses, by name."""
        return {"sure_only": self.sure_only, "min_person_score": self.min_person_score}

    def proposals(self) -> Limits:
        """What a detector proposes to `PersonFinder`: all boxes but the least likely."""
        return Limits(min(self.threshold, LOWEST), self.nms_iou)


def find_people(detector: PersonDetector, image: np.ndarray) -> Found:
    """The people of an RGB uint8 picture (H, W, 3), and how each was found, if the detector says so."""
    find = getattr(detector, "find", None)
    return Found(with_score_column(*detector.detect(image))) if find is None else find(image)


def with_score_column(boxes_xyxy: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(N, 4) boxes and (N,) scores -> (N, 5) float32."""
    return np.concatenate([boxes_xyxy, scores[:, None]], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Found:
    """The people of a picture, best first.

    Attributes:
        boxes: (N, 5) x1, y1, x2, y2 in pixels, score.
        how: N phrases that say how each was found; none where the detector does not say.
        not_there: number of sure boxes in which the pose shows nobody.
    """

    boxes: np.ndarray
    how: tuple[str, ...] = ()
    not_there: int = 0


class WholePicture:
    """The whole picture as one box of score 1: for pictures of one person, and for art that detectors miss."""

    name = "full (the whole picture)"

    def detect(self, image: np.ndarray) -> Detections:
        """See `PersonDetector.detect`."""
        check_image(image)
        h, w = image.shape[:2]
        return np.asarray([[0, 0, w, h]], np.float32), np.ones(1, np.float32)

    def meta(self) -> dict[str, Any]:
        """See `PersonDetector.meta`."""
        return {"name": self.name}
