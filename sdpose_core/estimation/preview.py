"""`PreviewEstimator`: the embedded models, for a first run without the SDPose weights.

It is not SDPose: its models are small and were trained on photographs. Every result says so.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from ..codec.crops import masked
from ..embedded.crowds import doubles, same_pose, without
from ..embedded.movenet import MoveNet, movenet
from ..embedded.whole_body import WholeBody, one_owner_each
from ..errors import NotFiniteError
from ..onnx_devices import for_small_models
from ..poses import Poses
from ..skeletons import COCO_17, COCO_WHOLEBODY_133
from ..version import __version__
from .crop_jobs import Arrays, CropResults, Masks, OnBatch, plan_crops
from .stage_times import MODEL, StageTimes

log = logging.getLogger(__name__)

LEAST_SHARE = 0.4
"""A pose found behind somebody else needs this share of the score of the pose that it replaces."""
PREVIEWS = ("preview", "preview-body")
"""Names for `load_estimator`: the 133 points of the whole body, and the 17 of the body alone."""


class PreviewEstimator:
    """`WholeBody`, or `MoveNet` alone, with the interface of `PoseEstimator`.

    Args:
        body_only: the 17 points of the body instead of the 133 of the whole body.
        note: a line for `meta["notes"]`: why the preview is used.
        device: one for ONNX files alone, such as "openvino"; others do not concern it, see `onnx_devices.only_onnx`.
        backend: see `OnnxModel`.

    Raises `MissingDependency` if nothing can run ONNX here, and `InputError` for a device that is unknown or does not
    start.
    """

    def __init__(
        self, *, body_only: bool = False, note: str | None = None, device: Any = None, backend: str | None = None
    ) -> None:
        device = for_small_models(device)
        self.model: MoveNet | WholeBody
        self.model = movenet(backend, device) if body_only else WholeBody(device=device, backend=backend)
        self.name = f"preview ({self.model.name})"
        self._files = [self.model.model] if isinstance(self.model, MoveNet) else self.model.models
        self.notes = [*([note] if note else []), *(line for file in self._files for line in file.notes)]
        self.batch_size = 1
        self.times = StageTimes()
        self._set = COCO_17 if body_only else COCO_WHOLEBODY_133

    @property
    def keypoint_set(self) -> str:
        """`coco_wholebody_133`, or `coco_17` for the body alone."""
        return self._set.name

    def estimate(
        self, images: Arrays, boxes: Arrays, *, masks: Masks | None = None, on_batch: OnBatch | None = None
    ) -> list[Poses]:
        """As `PoseEstimator.estimate`: a pose for each box, however low its scores; see `detection.finding`.

        Hands, face and feet that were not found, and the small toes, are NaN with score 0.
        """
        jobs, results = plan_crops(images, boxes, masks)
        for done, job in enumerate(jobs, start=1):
            with self.times.busy(MODEL):
                try:
                    keypoints, scores = self.model.find(masked(images[job.image], job.mask), job.box)
                except NotFiniteError as error:
                    raise NotFiniteError(error.problem, job.image, len(images)) from None
            results[job.image].add(job, keypoints, scores)
            if on_batch:
                on_batch(done, len(jobs))
        for image, result in zip(images, results, strict=True):
            self._tell_apart(image, result)
        if self._set is COCO_WHOLEBODY_133:
            for result in results:
                one_owner_each(result.keypoints, result.scores, [crop.box for crop in result.crops])
        return [
            result.poses(image, self.keypoint_set, len(self._set), self.meta())
            for image, result in zip(images, results, strict=True)
        ]

    def _tell_apart(self, image: np.ndarray, result: CropResults) -> None:
        """Look again for people of a picture who got the pose of somebody else, with that one erased."""
        poses = list(zip(result.keypoints, result.scores, strict=True))
        boxes = [crop.box[:4] for crop in result.crops]
        for owner, other in doubles(poses, boxes):
            crop = result.crops[other]
            again = self.model.find(masked(without(image, poses[owner], boxes[owner]), crop.mask), crop.box)
            if again[1][:17].mean() >= LEAST_SHARE * poses[other][1][:17].mean() and not same_pose(again, poses[owner]):
                result.keypoints[other], result.scores[other] = again

    def to(self, device: Any) -> PreviewEstimator:
        """Logs that it stays on the CPU."""
        log.info("%s cannot move to %s: it runs on the CPU", self.name, device)
        return self

    def meta(self) -> dict[str, Any]:
        """Model, SHA-256 of the weights, backend, settings, notes."""
        sha256 = {file.path.name: file.sha256 for file in self._files}
        return {
            "model": self.name,
            "preview": True,
            "weights": {"path": ", ".join(sha256), "sha256": sha256},
            "library_version": __version__,
            "notes": list(self.notes),
            "settings": {"batch_size": 1, **self.model.settings()},
        }
