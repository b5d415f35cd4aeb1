"""`PreviewEstimator`: 17 points from the embedded MoveNet Thunder, for a first run without the SDPose weights.

It is not SDPose: it is small, was trained on photographs and finds no hands, feet or face. Every result says so.
"""

from __future__ import annotations

import logging
from typing import Any

from ..codec.crops import masked
from ..embedded.movenet import WEIGHTS, MoveNet, weights_sha256
from ..errors import NotFiniteError
from ..poses import Poses
from ..skeletons import COCO_17
from ..version import __version__
from .crop_jobs import Arrays, Masks, OnBatch, plan_crops
from .stage_times import MODEL, StageTimes

log = logging.getLogger(__name__)


class PreviewEstimator:
    """`MoveNet` with the interface of `PoseEstimator`.

    Args:
        note: a line for `meta["notes"]`: why the preview is used.
        backend: see `OnnxModel`.

    Raises `MissingDependency` if nothing can run ONNX here.
    """

    name = "preview (MoveNet Thunder)"
    keypoint_set = COCO_17.name

    def __init__(self, *, note: str | None = None, backend: str | None = None) -> None:
        self.body = MoveNet(backend=backend)
        self.notes = [*([note] if note else []), *self.body.model.notes]
        self.batch_size = 1
        self.times = StageTimes()

    def estimate(
        self, images: Arrays, boxes: Arrays, *, masks: Masks | None = None, on_batch: OnBatch | None = None
    ) -> list[Poses]:
        """As `PoseEstimator.estimate`: a pose for each box, however low its scores; see `detection.finding`."""
        jobs, results = plan_crops(images, boxes, masks)
        for done, job in enumerate(jobs, start=1):
            with self.times.busy(MODEL):
                try:
                    keypoints, scores = self.body.find(masked(images[job.image], job.mask), job.box)
                except NotFiniteError as error:
                    raise NotFiniteError(error.problem, job.image, len(images)) from None
            results[job.image].add(job, keypoints, scores)
            if on_batch:
                on_batch(done, len(jobs))
        return [
            result.poses(image, self.keypoint_set, len(COCO_17), self.meta())
            for image, result in zip(images, results, strict=True)
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
            "weights": {"path": WEIGHTS.name, "sha256": weights_sha256()},
            "library_version": __version__,
            "notes": list(self.notes),
            "settings": {"batch_size": 1, **self.body.settings()},
        }
