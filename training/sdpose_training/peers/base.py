"""The base class of all peers: batches of people from many pictures, and the record of what made a result."""

from __future__ import annotations

import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sdpose_core
from sdpose_core.codec.crops import masked
from sdpose_core.errors import InputError, NotFiniteError, SDPoseError
from sdpose_core.estimation.crop_jobs import OnBatch, is_out_of_memory, plan_crops
from sdpose_core.estimation.stage_times import MODEL, StageTimes
from sdpose_core.files import sha256_of
from sdpose_core.poses import Poses
from sdpose_core.skeletons import KeypointSet, described, keypoint_set

log = logging.getLogger(__name__)

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
"""ImageNet's mean and deviation for RGB 0..255: most peers were trained with them."""

BATCH_SIZE = 8


class Peer(ABC):
    """An estimator of another project with the interface of `PoseEstimator`; subclasses implement `_find`.

    Attributes:
        name: for tables.
        points: keypoints of its results.
        path: file or folder of the weights, or None.
        flip_test: average with the mirrored crop (twice the cost).
        batch_size: people per pass.
        notes: remarks for readers of its results.
    """

    def __init__(
        self,
        name: str,
        points: KeypointSet | str,
        path: Path | None,
        *,
        flip_test: bool = True,
        batch: int | None = None,
    ) -> None:
        if batch is not None and batch < 1:
            raise InputError(f"batch size: expected at least 1, got {batch}")
        self.points = keypoint_set(points) if isinstance(points, str) else points
        self.name, self.path = name, path
        self.flip_test, self.batch_size = flip_test, batch or BATCH_SIZE
        self.notes: list[str] = []
        self.times = StageTimes()

    @property
    def keypoint_set(self) -> str:
        """Name of the set of its results."""
        return self.points.name

    def to(self, device: Any) -> Peer:
        """Return itself: a peer stays on the device where it was loaded."""
        log.info("%s cannot move to %s: it stays on the device where it was loaded", self.name, device)
        return self

    def estimate(
        self,
        images: Sequence[np.ndarray],
        boxes: Sequence[np.ndarray],
        *,
        masks: Sequence[np.ndarray | None] | None = None,
        on_batch: OnBatch | None = None,
    ) -> list[Poses]:
        """Poses of the people in `boxes` of each picture; arguments and errors as for `PoseEstimator.estimate`."""
        jobs, results = plan_crops(images, boxes, masks)
        for start in range(0, len(jobs), self.batch_size):
            batch = jobs[start : start + self.batch_size]
            pictures = [masked(images[job.image], job.mask) for job in batch]
            with self.times.busy(MODEL):
                found = self._find_or_explain(pictures, np.stack([job.box[:4] for job in batch]))
            for job, keypoints, scores in zip(batch, *found, strict=True):
                results[job.image].add(job, keypoints, scores)
            if on_batch:
                on_batch(start + len(batch), len(jobs))
        count, meta = len(self.points), self.meta()
        return [
            result.poses(image, self.keypoint_set, count, meta) for image, result in zip(images, results, strict=True)
        ]

    def meta(self) -> dict[str, Any]:
        """What made the poses: model, weights with SHA-256, and every setting that can move a keypoint."""
        return {
            "model": self.name,
            "preview": False,
            "weights": self._weights,
            "library_version": sdpose_core.__version__,
            "notes": list(self.notes),
            **described(self.points),
            "settings": {"batch_size": self.batch_size, "flip_test": self.flip_test, **self._settings()},
        }

    @abstractmethod
    def _find(self, images: Sequence[np.ndarray], boxes_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """n RGB pictures with one box each, (n, 4) -> keypoints (n, K, 2) in picture pixels, NaN if not found, scores
        (n, K)."""

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """More settings that can move a keypoint."""

    def _find_or_explain(self, images: Sequence[np.ndarray], boxes_xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            return self._find(images, boxes_xyxy)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise SDPoseError(
                f"{self.name} ran out of memory with {len(images)} people per pass: use a smaller batch or the CPU"
            ) from error

    @functools.cached_property
    def _weights(self) -> dict[str, Any]:
        if self.path is None:
            return {}
        files = [self.path] if self.path.is_file() else sorted(self.path.glob("*.safetensors"))
        return {"path": self.path.name, "sha256": {file.name: sha256_of(file) for file in files}}


def checked(name: str, values: Any) -> Any:
    """A network's output, an array or tensor; `NotFiniteError` if a value of it is NaN or infinite."""
    finite = np.isfinite(values) if isinstance(values, np.ndarray) else values.isfinite()
    if damage := int((~finite).sum()):
        raise NotFiniteError(
            f"{damage:,} values of {name} are not numbers (NaN or infinity): its weights are damaged: get them again"
        )
    return values


def unseen(keypoints: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (..., 2) and scores (...,) as float32, with NaN and 0 where the score is not a positive number."""
    seen = np.isfinite(scores) & (scores > 0) & np.isfinite(keypoints).all(axis=-1)
    keypoints = np.where(seen[..., None], keypoints, np.nan)
    return keypoints.astype(np.float32), np.where(seen, scores, 0).astype(np.float32)


def normalized(crops: np.ndarray, mean: np.ndarray = MEAN, std: np.ndarray = STD) -> np.ndarray:
    """Crops (n, h, w, 3), 0..255 -> (n, 3, h, w) float32, by a mean and a deviation of each channel."""
    return np.ascontiguousarray(((crops.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2))
