"""The embedded 17-point estimator: MoveNet Thunder, for a first run without the SDPose weights. It is not SDPose."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import boxes as box_tools
from .crops import udp_warp_matrix, warp
from .estimator import masked, plan_crops
from .files import sha256_of
from .onnx_runtime import OnnxModel
from .poses import Poses

WEIGHTS = Path(__file__).parent / "assets" / "movenet_thunder_f16.onnx"
SIZE = 256
PADDING = 1.25
MIN_MEAN_SCORE = 0.25
"""A person below this mean keypoint score is taken as not there: the model answers for any picture."""


class PreviewEstimator:
    """MoveNet Thunder behind the interface of `PoseEstimator`.

    Args:
        note: why the preview runs instead of SDPose; kept in every result's `meta`.
        backend: see `OnnxModel`.
    """

    keypoint_set = "coco_17"

    def __init__(self, *, note: str | None = None, backend: str | None = None) -> None:
        self.model = OnnxModel(WEIGHTS, backend=backend)
        self.note = note
        self.name = "preview (MoveNet Thunder)"

    def estimate(
        self,
        images: Sequence[np.ndarray],
        boxes: Sequence[np.ndarray],
        *,
        masks: Sequence[np.ndarray | None] | None = None,
        on_batch: Callable[[int, int], None] | None = None,
    ) -> list[Poses]:
        """See `PoseEstimator.estimate`; one crop at a time, as the model has a fixed batch of one.

        People whose mean keypoint score is below `MIN_MEAN_SCORE` are left out; `meta["not_there"]` counts them.
        """
        jobs, results = plan_crops(images, boxes, masks)
        not_there = [0] * len(images)
        for done, job in enumerate(jobs, start=1):
            keypoints, scores = self._one(masked(images[job.image], job.mask), job.box)
            if scores.mean() < MIN_MEAN_SCORE:
                not_there[job.image] += 1
            else:
                results[job.image].add(keypoints, scores, job.box)
            if on_batch:
                on_batch(done, len(jobs))
        return [
            result.poses(image, self.keypoint_set, 17, self.meta() | ({"not_there": absent} if absent else {}))
            for image, result, absent in zip(images, results, not_there, strict=True)
        ]

    def _one(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (17, 2) in picture pixels and scores (17,) of the person in a box."""
        corners = box_tools.clip(box[:4], (image.shape[1], image.shape[0]))
        center = (corners[:2] + corners[2:]) / 2
        side = float((corners[2:] - corners[:2]).max()) * PADDING
        matrix = udp_warp_matrix(center, np.array([side, side]), 0, (SIZE, SIZE))
        crop = warp(image, matrix, (SIZE, SIZE))
        [output] = self.model.run({"input:0": crop[None].astype(np.int32)})
        y, x, scores = output.reshape(17, 3).T
        return np.stack([x, y], axis=1) * side + (center - side / 2), scores

    def meta(self) -> dict[str, Any]:
        """What made the poses."""
        from . import __version__

        return {
            "model": self.name,
            "preview": True,
            "weights": {"path": WEIGHTS.name, "sha256": {WEIGHTS.name: _weights_sha256()}},
            "library_version": __version__,
            "settings": {"backend": self.model.backend, "batch_size": 1},
            "notes": [*([self.note] if self.note else []), *self.model.notes],
        }


@functools.cache
def _weights_sha256() -> str:
    return sha256_of(WEIGHTS)
