"""Pictures in, poses out: who is where, and what to do where nobody is found."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..estimation.crop_jobs import Estimator, OnBatch, with_scores
from ..images import check_image
from ..poses import Poses

if TYPE_CHECKING:
    from ..detection.people import PersonDetector

log = logging.getLogger(__name__)

IF_NOBODY = ("empty", "full-image", "previous")
"""Nobody; one box of the whole picture; the people of the frame before."""

CHUNK_PIXELS = 64_000_000
"""Pictures are read ahead for common batches up to this many pixels in all."""


@dataclass(frozen=True)
class FramePeople:
    """The people of a frame, where the detector is not asked.

    Attributes:
        boxes: (N, 4) or (N, 5) x1, y1, x2, y2 in pixels, score.
        track_ids: N ids, taken as they come where `TrackerOptions.trust_ids` says so.
        masks: (N, H, W) bool; what is not the person is blacked out.
    """

    boxes: np.ndarray
    track_ids: Sequence[int] | np.ndarray | None = None
    masks: np.ndarray | None = None


def annotate_images(
    images: Sequence[np.ndarray],
    *,
    estimator: Estimator,
    detector: PersonDetector | None = None,
    people: Sequence[FramePeople | None] | None = None,
    if_nobody: str = "empty",
    on_batch: OnBatch | None = None,
) -> list[Poses]:
    """Poses of the people of each picture.

    Args:
        images: RGB uint8 (H, W, 3).
        estimator: `PoseEstimator`, `PreviewEstimator` or alike.
        detector: finds people where `people` does not say.
        people: of each picture, or None to ask the detector. No boxes means nobody.
        if_nobody: one of `IF_NOBODY`: who is taken to be in a picture in which the detector finds nobody, see
            `fill_empty`. The result's `meta["boxes_from"]` says which it was. People given are never replaced.
        on_batch: called with (crops done, crops in all); may raise to stop.
    """
    _check_policy(if_nobody)
    given = [None] * len(images) if people is None else list(people)
    if len(given) != len(images):
        raise InputError(f"expected one list of boxes per picture, got {len(given)} for {len(images)} pictures")
    for image in images:
        check_image(image)
    asked = [image for image, own in zip(images, given, strict=True) if own is None]
    detected = iter(_detected(asked, detector, if_nobody))
    pairs = [
        next(detected) if own is None else (replace(own, boxes=with_scores(own.boxes)), {"boxes_from": "given"})
        for own in given
    ]
    results = estimate_people(images, [own for own, _ in pairs], estimator, on_batch)
    return [poses.with_meta(**source) for poses, (_, source) in zip(results, pairs, strict=True)]


def estimate_people(
    images: Sequence[np.ndarray], people: Sequence[FramePeople], estimator: Estimator, on_batch: OnBatch | None = None
) -> list[Poses]:
    """Poses of the people of each picture, with their track ids where they have some."""
    results = estimator.estimate(
        images, [own.boxes for own in people], masks=[own.masks for own in people], on_batch=on_batch
    )
    return [
        poses if own.track_ids is None else poses.with_ids_of_boxes(own.track_ids)
        for poses, own in zip(results, people, strict=True)
    ]


def fill_empty(
    people: Sequence[FramePeople], images: Sequence[np.ndarray], if_nobody: str
) -> tuple[list[FramePeople], list[int]]:
    """The people of each frame, empty frames filled, and the numbers of the frames that were filled.

    Args:
        people: of each frame, in order.
        images: the frames, RGB uint8 (H, W, 3).
        if_nobody: "empty": nobody; "full-image": one box of the whole picture, score 1; "previous": the boxes and track
            ids of the last frame that has some.
    """
    _check_policy(if_nobody)
    filled, numbers = list(people), []
    for number, (own, image) in enumerate(zip(people, images, strict=True)):
        before = filled[number - 1] if number else own
        if len(own.boxes) or if_nobody == "empty" or (if_nobody == "previous" and not len(before.boxes)):
            continue
        h, w = image.shape[:2]
        whole = FramePeople(np.asarray([[0, 0, w, h, 1]], np.float32))
        filled[number] = whole if if_nobody == "full-image" else replace(before, masks=None)
        numbers.append(number)
    return filled, numbers


def _check_policy(if_nobody: str) -> None:
    if if_nobody not in IF_NOBODY:
        raise InputError(f"if_nobody: expected one of {', '.join(IF_NOBODY)}, got {if_nobody!r}")


def _detected(
    images: Sequence[np.ndarray], detector: PersonDetector | None, if_nobody: str
) -> list[tuple[FramePeople, dict[str, Any]]]:
    """The people of each picture, and what its result's meta says of where they come from."""
    if not images:
        return []
    if detector is None:
        raise InputError("a picture came without boxes and without a detector: give one of them")
    found = []
    for image in images:
        boxes, scores = detector.detect(image)
        found.append(FramePeople(np.concatenate([boxes, scores[:, None]], axis=1)))
    people, filled = fill_empty(found, images, if_nobody)
    instead = {"full-image": "whole picture used", "previous": "boxes of the picture before used"}
    meta = detector.meta()
    pairs = []
    for number, own in enumerate(people):
        source = detector.name
        if not len(found[number].boxes):
            source += ": nobody found"
        if number in filled:
            source += f", {instead[if_nobody]}"
            log.info("%s", source)
        pairs.append((own, {"boxes_from": source, "detector": meta}))
    return pairs
