"""MoveNet SinglePose Thunder: the 17 body points of the person in a box.

It is small and was trained on photographs. It judges where people are (`detection/finding.py`), and is the body of the
preview.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NotFiniteError
from ..onnx_runtime import OnnxModel
from ..skeletons import COCO_17
from .squares import square_around, square_crop

REMEMBERED = 4096
"""Crops whose results are kept: the estimator asks for those that the finder has just looked at."""
WEIGHTS = Path(__file__).parents[1] / "assets" / "movenet_thunder_f16.onnx"
INPUT_SIDE = 256
BOX_PADDING = 1.25
"""First crop: a square of this many times the box's longer side."""
KEYPOINT_PADDING = 1.2
"""Second crop: a square of this many times the extent of the points that the first one found."""
FOUND = 0.2
"""Minimum score of the points of the first crop that place the second one."""
FEWEST_FOUND = 4
BELONGS = 0.9
"""Minimum share of a pose's points in the box; with fewer, the pose is another person's."""
NEARBY = 0.1
"""Points count as in the box up to this share of its longer side outside it."""
WIDER = 1.25
"""Points near the picture's edge are looked for again in a square this much larger, gray beyond the edge."""
NEAR_EDGE, AT_EDGE, ON_EDGE = 0.15, 0.02, 0.01
"""Distances to the edge, as shares of the box's longer side."""
SURE_POINT = 0.6
"""Points of at least this score are there unless they are on the edge itself."""


class MoveNet:
    """MoveNet on boxes.

    A second crop around the points of the first, averaged with its mirror image, is used if its mean score is at least
    as high (mean OKS on the project's four check photos: 0.84 instead of 0.82, and steadier with loose boxes).

    Args:
        device, backend: see `OnnxModel`.

    Raises `MissingDependency` if nothing can run ONNX here.
    """

    name = "MoveNet Thunder"

    def __init__(self, *, device: str | None = None, backend: str | None = None) -> None:
        self.model = OnnxModel(WEIGHTS, device=device, backend=backend)
        self._known: dict[bytes, np.ndarray] = {}
        self._one_at_a_time = threading.Lock()

    def find(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (17, 2) in picture pixels and scores (17,) of the person in a box (4,) x1, y1, x2, y2.

        A joint beyond the picture's edge has the score 0.

        The square around a narrow box shows its neighbors too, and the model finds the most prominent person. If the
        points are another person's, the model runs again on the box alone.
        """
        keypoints, scores = self._look(image, box)
        if _share_inside(keypoints, scores, box) < BELONGS:
            image = _alone(image, box)
            keypoints, scores = self._look(image, box)
        return keypoints, np.where(self._beyond_edge(image, box, keypoints, scores), 0, scores)

    def glance(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `find`, less exact, in one or two runs of the model that `find` mostly needs as well."""
        keypoints, scores = self._first(image, box)
        if _share_inside(keypoints, scores, box) < BELONGS:
            return self._first(_alone(image, box), box)
        return keypoints, scores

    def _first(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (17, 2) in picture pixels and scores (17,) from the square around a box."""
        return self._run(image, *square_around(box, BOX_PADDING))

    def _beyond_edge(self, image: np.ndarray, box: np.ndarray, keypoints: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """(17,) bool: which points are guesses for joints beyond the picture's edge, which MoveNet moves to the edge.

        On photos cut off at many heights, this removes 65% of the points seen within `NEAR_EDGE` of the edge for joints
        that were cut off (all of those on the edge), and 5% of the right ones (`benchmarks/edge_points.py`).
        """
        side = float((box[2:4] - box[:2]).max())
        distance, unsure = _to_edge(image, keypoints), scores < SURE_POINT
        near = (distance < NEAR_EDGE * side) & (scores >= FOUND)
        beyond = near & (distance < np.where(unsure, AT_EDGE, ON_EDGE) * side)
        undecided = near & ~beyond & unsure
        if undecided.any():
            again, _ = self._run(image, *square_around(box, BOX_PADDING * WIDER), outside=128)
            beyond |= undecided & (_to_edge(image, again) < AT_EDGE * side)
        return beyond

    def agreed(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Scores (17,) of the person in a box (4,), low for points that the mirrored picture has elsewhere.

        Background looks like a person in one picture, but rarely like the same one in its mirror image.
        """
        crop = square_crop(image, *square_around(box, BOX_PADDING), INPUT_SIDE)
        (points, scores), (mirrored, mirrored_scores) = self._forward(crop), self._mirrored(crop)
        area = (1 / BOX_PADDING) ** 2 / 2  # of a person, in a square of side 1
        squared = ((points - mirrored) ** 2).sum(axis=1)
        alike = np.exp(-squared / (2 * area * (2 * np.asarray(COCO_17.sigmas)) ** 2))
        return np.sqrt(np.maximum(scores * mirrored_scores, 0)) * alike

    def settings(self) -> dict[str, Any]:
        """What affects its results, for `meta`."""
        return {"backend": self.model.backend, "box_padding": BOX_PADDING, "keypoint_padding": KEYPOINT_PADDING}

    def _look(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (17, 2) in picture pixels and scores (17,) from the squares around a box and around its pose."""
        keypoints, scores = self._first(image, box)
        found = keypoints[scores > FOUND]
        if len(found) < FEWEST_FOUND:
            return keypoints, scores
        low, high = found.min(axis=0), found.max(axis=0)
        side = max(float((high - low).max()) * KEYPOINT_PADDING, 1.0)
        again, scores_again = self._run(image, tuple((low + high) / 2), side, mirror=True)
        return (again, scores_again) if scores_again.mean() >= scores.mean() else (keypoints, scores)

    def _run(
        self, image: np.ndarray, center: tuple[float, float], side: float, *, mirror: bool = False, outside: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints and scores of one square; `mirror`: the mean, weighted by score, with the mirrored square's."""
        crop = square_crop(image, center, side, INPUT_SIDE, outside)
        points, scores = self._forward(crop)
        if mirror:
            mirrored, mirrored_scores = self._mirrored(crop)
            share = (scores / np.maximum(scores + mirrored_scores, 1e-6))[:, None]
            points, scores = points * share + mirrored * (1 - share), (scores + mirrored_scores) / 2
        return np.asarray(center) - side / 2 + points * side, scores

    def _mirrored(self, crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `_forward` of the mirrored crop, in the coordinates and with the left and right of the crop."""
        points, scores = self._forward(crop[:, ::-1])
        points, scores = points[COCO_17.flip_indices], scores[COCO_17.flip_indices]
        points[:, 0] = 1 - points[:, 0]
        return points, scores

    def _forward(self, crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RGB (256, 256, 3) -> points (17, 2) as x, y in 0..1 of the crop, scores (17,)."""
        key = hashlib.blake2b(np.ascontiguousarray(crop).data, digest_size=16).digest()
        found = self._known.get(key)
        if found is None:
            with self._one_at_a_time:
                found = self._known[key] = self._run_model(crop)
                while len(self._known) > REMEMBERED:
                    del self._known[next(iter(self._known))]
        return found[:, 1::-1].copy(), found[:, 2].copy()

    def _run_model(self, crop: np.ndarray) -> np.ndarray:
        """RGB (256, 256, 3) -> (17, 3) y, x in 0..1 of the crop, score."""
        blob = np.ascontiguousarray(crop[None], dtype=np.int32)
        found = self.model.run({self.model.inputs[0].name: blob})[0].reshape(len(COCO_17), 3)
        if damage := int((~np.isfinite(found)).sum()):
            raise NotFiniteError(
                f"{damage} of {found.size} values of {self.name} are not numbers (NaN or infinity): {WEIGHTS.name} or "
                f"{self.model.backend} is damaged, install them again"
            )
        return found


def _to_edge(image: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """(N,) distance of points to the nearest edge of the picture, in pixels; negative outside."""
    h, w = image.shape[:2]
    return np.minimum(keypoints, np.asarray([w, h]) - keypoints).min(axis=1)


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


@functools.cache
def movenet(backend: str | None, device: str | None) -> MoveNet:
    """The MoveNet of this process: what finds people and what estimates them share it, and its crops."""
    return MoveNet(device=device, backend=backend)
