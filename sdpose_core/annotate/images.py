"""Pictures in, poses out: which boxes, and what to do where nobody is found."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..estimation.crop_jobs import Estimator, OnBatch, with_scores
from ..images import check_image
from ..poses import Poses

if TYPE_CHECKING:
    from ..detection.people import PersonDetector

log = logging.getLogger(__name__)

IF_NOBODY = ("empty", "full-image")

CHUNK_PIXELS = 64_000_000
"""Pictures are read ahead for common batches up to this many pixels in all."""


def annotate_images(
    images: Sequence[np.ndarray],
    *,
    estimator: Estimator,
    detector: PersonDetector | None = None,
    boxes: Sequence[np.ndarray | None] | None = None,
    masks: Sequence[np.ndarray | None] | None = None,
    if_nobody: str = "empty",
    on_batch: OnBatch | None = None,
) -> list[Poses]:
    """Poses of the people of each picture.

    Args:
        images: RGB uint8 (H, W, 3).
        estimator: `PoseEstimator`, `PreviewEstimator` or alike.
        detector: finds people where `boxes` does not say.
        boxes: for each picture (N, 4) or (N, 5), or None to ask the detector. An empty array means nobody.
        masks: for each picture (N, H, W) that belong to its boxes, see `PoseEstimator.estimate`.
        if_nobody: what a picture gets in which the detector finds nobody: "empty" (no poses) or "full-image" (one box
            of the whole picture). The result's `meta["boxes_from"]` says which it was. Boxes given are never replaced.
        on_batch: called with (crops done, crops in all); may raise to stop.
    """
    if if_nobody not in IF_NOBODY:
        raise InputError(f"if_nobody: expected one of {', '.join(IF_NOBODY)}, got {if_nobody!r}")
    given = [None] * len(images) if boxes is None else list(boxes)
    if len(given) != len(images):
        raise InputError(f"expected one list of boxes per picture, got {len(given)} for {len(images)} pictures")
    pairs = [_boxes_for(image, own, detector, if_nobody) for image, own in zip(images, given, strict=True)]
    found = [found for found, _ in pairs]
    results = estimator.estimate(images, found, masks=masks, on_batch=on_batch)
    how = {"detector": detector.meta()} if detector is not None and hasattr(detector, "meta") else {}
    return [
        poses.with_meta(boxes_from=source, **(how if source != "given" else {}))
        for poses, (_, source) in zip(results, pairs, strict=True)
    ]


def _boxes_for(
    image: np.ndarray, given: np.ndarray | None, detector: PersonDetector | None, if_nobody: str
) -> tuple[np.ndarray, str]:
    """(N, 5) boxes of a picture, and where they come from."""
    check_image(image)
    if given is not None:
        return with_scores(given), "given"
    if detector is None:
        raise InputError("a picture came without boxes and without a detector: give one of them")
    found, scores = detector.detect(image)
    if len(found):
        return np.concatenate([found, scores[:, None]], axis=1), detector.name
    if if_nobody == "empty":
        return np.zeros((0, 5), np.float32), f"{detector.name}: nobody found"
    h, w = image.shape[:2]
    log.info("%s found nobody: using the whole picture", detector.name)
    return np.asarray([[0, 0, w, h, 1]], np.float32), f"{detector.name}: nobody found, whole picture used"
