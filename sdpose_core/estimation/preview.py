"""`PreviewEstimator`: 17 points from the embedded MoveNet Thunder, for a first run without the SDPose weights.

It is not SDPose: it is small, was trained on photographs and finds no hands, feet or face. Every result says so.
"""

from __future__ import annotations

import functools
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..codec.crops import masked
from ..errors import NotFiniteError
from ..files import sha256_of
from ..onnx_runtime import OnnxModel
from ..poses import Poses
from ..skeletons import COCO_17
from ..version import __version__
from .crop_jobs import Arrays, Masks, OnBatch, plan_crops
from .stage_times import MODEL, StageTimes

log = logging.getLogger(__name__)

WEIGHTS = Path(__file__).parents[1] / "assets" / "movenet_thunder_f16.onnx"
INPUT_SIDE = 256
BOX_PADDING = 1.25
"""First crop: a square of this many times the box's longer side."""
KEYPOINT_PADDING = 1.2
"""Second crop: a square of this many times the extent of the points that the first one found."""
FOUND = 0.2
"""Minimum score of the points of the first crop that place the second one."""
FEWEST_FOUND = 4
BELONGS = 0.6
"""Minimum share of a pose's points in the box; with fewer, the pose is another person's."""
NEARBY = 0.1
"""Points count as in the box up to this share of its longer side outside it."""
PERSON_THRESHOLD = 0.25
"""Minimum mean keypoint score of a person."""


class PreviewEstimator:
    """MoveNet SinglePose Thunder on boxes, with the interface of `PoseEstimator`.

    A second crop around the points of the first, averaged with its mirror image, is used if its mean score is at least
    as high (mean OKS on the project's four check photos: 0.84 instead of 0.82, and steadier with loose boxes).

    Args:
        note: a line for `meta["notes"]`: why the preview is used.
        backend: see `OnnxModel`.

    Raises `MissingDependency` if nothing can run ONNX here.
    """

    name = "preview (MoveNet Thunder)"
    keypoint_set = COCO_17.name

    def __init__(self, *, note: str | None = None, backend: str | None = None) -> None:
        self.model = OnnxModel(WEIGHTS, backend=backend)
        self.notes = [*([note] if note else []), *self.model.notes]
        self.batch_size = 1
        self.times = StageTimes()

    def estimate(
        self, images: Arrays, boxes: Arrays, *, masks: Masks | None = None, on_batch: OnBatch | None = None
    ) -> list[Poses]:
        """As `PoseEstimator.estimate`. Boxes without a person (mean keypoint score below `PERSON_THRESHOLD`) are left
        out, and `meta["not_there"]` is their number."""
        jobs, results = plan_crops(images, boxes, masks)
        not_there = [0] * len(images)
        for done, job in enumerate(jobs, start=1):
            with self.times.busy(MODEL):
                try:
                    keypoints, scores = self._find(masked(images[job.image], job.mask), job.box)
                except NotFiniteError as error:
                    raise NotFiniteError(error.problem, job.image, len(images)) from None
            if scores.mean() >= PERSON_THRESHOLD:
                results[job.image].add(job, keypoints, scores)
            else:
                log.info("picture %d: nobody in box %s (mean score %.2f)", job.image, job.box[:4], scores.mean())
                not_there[job.image] += 1
            if on_batch:
                on_batch(done, len(jobs))
        metas = [self.meta() | ({"not_there": count} if count else {}) for count in not_there]
        return [
            result.poses(image, self.keypoint_set, len(COCO_17), meta)
            for image, result, meta in zip(images, results, metas, strict=True)
        ]

    def to(self, device: Any) -> PreviewEstimator:
        """Logs that it stays on the CPU."""
        log.info("%s cannot move to %s: it runs on the CPU", self.name, device)
        return self

    def meta(self) -> dict[str, Any]:
        """Model, SHA-256 of the weights, backend, settings, notes."""
        return {
            "model": self.name,
            "preview": True,
            "weights": {"path": WEIGHTS.name, "sha256": {WEIGHTS.name: _weights_sha256()}},
            "library_version": __version__,
            "notes": list(self.notes),
            "settings": {
                "backend": self.model.backend,
                "batch_size": 1,
                "box_padding": BOX_PADDING,
                "keypoint_padding": KEYPOINT_PADDING,
                "person_threshold": PERSON_THRESHOLD,
            },
        }

    def _find(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (17, 2) in picture pixels and scores (17,) of the person in a box.

        The square around a narrow box shows its neighbors too, and the model finds the most prominent person. If the
        points are another person's, the model runs again on the box alone.
        """
        keypoints, scores = self._look(image, box)
        if _share_inside(keypoints, scores, box) >= BELONGS:
            return keypoints, scores
        return self._look(_alone(image, box), box)

    def _look(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (17, 2) in picture pixels and scores (17,) from the squares around a box and around its pose."""
        x1, y1, x2, y2 = (float(v) for v in box[:4])
        side = max(x2 - x1, y2 - y1) * BOX_PADDING
        keypoints, scores = self._run(image, ((x1 + x2) / 2, (y1 + y2) / 2), side)
        found = keypoints[scores > FOUND]
        if len(found) < FEWEST_FOUND:
            return keypoints, scores
        low, high = found.min(axis=0), found.max(axis=0)
        side = max(float((high - low).max()) * KEYPOINT_PADDING, 1.0)
        again, scores_again = self._run(image, tuple((low + high) / 2), side, mirror=True)
        return (again, scores_again) if scores_again.mean() >= scores.mean() else (keypoints, scores)

    def _run(
        self, image: np.ndarray, center: tuple[float, float], side: float, *, mirror: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints and scores of one square; `mirror`: the mean, weighted by score, with the mirrored square's."""
        crop = square_crop(image, center, side)
        points, scores = self._forward(crop)
        if mirror:
            mirrored, mirrored_scores = self._forward(crop[:, ::-1])
            mirrored, mirrored_scores = mirrored[COCO_17.flip_indices], mirrored_scores[COCO_17.flip_indices]
            mirrored[:, 0] = 1 - mirrored[:, 0]
            share = (scores / np.maximum(scores + mirrored_scores, 1e-6))[:, None]
            points, scores = points * share + mirrored * (1 - share), (scores + mirrored_scores) / 2
        return np.asarray(center) - side / 2 + points * side, scores

    def _forward(self, crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RGB (256, 256, 3) -> points (17, 2) as x, y in 0..1 of the crop, scores (17,)."""
        blob = np.ascontiguousarray(crop[None], dtype=np.int32)
        found = self.model.run({self.model.inputs[0].name: blob})[0].reshape(len(COCO_17), 3)
        if damage := int((~np.isfinite(found)).sum()):
            raise NotFiniteError(
                f"{damage} of {found.size} values of {self.name} are not numbers (NaN or infinity): {WEIGHTS.name} or "
                f"{self.model.backend} is damaged, install them again"
            )
        return found[:, 1::-1].copy(), found[:, 2]


def _share_inside(keypoints: np.ndarray, scores: np.ndarray, box: np.ndarray) -> float:
    """Share of the points found that lie in the box widened by `NEARBY`; 1 if fewer than `FEWEST_FOUND` were found."""
    found = keypoints[scores > FOUND]
    if len(found) < FEWEST_FOUND:
        return 1.0
    low, high = _widened(box)
    return float(((found >= low) & (found <= high)).all(axis=1).mean())


def _widened(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    corners = np.asarray(box[:4], np.float64).reshape(2, 2)
    margin = NEARBY * (corners[1] - corners[0]).max()
    return corners[0] - margin, corners[1] + margin


def _alone(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The picture, black outside the box widened by `NEARBY`."""
    low, high = _widened(box)
    (x1, y1), (x2, y2) = np.maximum(np.floor(low), 0).astype(int), np.ceil(high).astype(int)
    alone = np.zeros_like(image)
    alone[y1:y2, x1:x2] = image[y1:y2, x1:x2]
    return alone


def square_crop(image: np.ndarray, center: tuple[float, float], side: float) -> np.ndarray:
    """The square of `side` pixels around `center` (x, y) of an RGB picture -> (256, 256, 3) uint8, black outside."""
    import cv2

    left, top = center[0] - side / 2, center[1] - side / 2
    x0, y0 = max(0, math.floor(left) - 1), max(0, math.floor(top) - 1)
    part = image[y0 : max(y0, math.ceil(top + side) + 1), x0 : max(x0, math.ceil(left + side) + 1)]
    if 0 in part.shape:
        return np.zeros((INPUT_SIDE, INPUT_SIDE, 3), np.uint8)
    h, w = part.shape[:2]
    shrink = max(1.0, side / (2 * INPUT_SIDE))  # bilinear sampling alone would skip pixels of large pictures
    if shrink > 1:
        part = cv2.resize(part, (max(1, round(w / shrink)), max(1, round(h / shrink))), interpolation=cv2.INTER_AREA)
    matrix = np.empty((2, 3))
    for row, (start, offset, old, new) in enumerate(((left, x0, w, part.shape[1]), (top, y0, h, part.shape[0]))):
        scale = INPUT_SIDE / side * old / new
        matrix[row] = 0, 0, (offset - start) * INPUT_SIDE / side + 0.5 * scale - 0.5  # pixel centers are at .5
        matrix[row, row] = scale
    return cv2.warpAffine(part, matrix, (INPUT_SIDE, INPUT_SIDE), flags=cv2.INTER_LINEAR)


@functools.cache
def _weights_sha256() -> str:
    return sha256_of(WEIGHTS)
