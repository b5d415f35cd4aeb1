"""Poses of the people in pictures, and what to do where nobody is found."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..detection.people import SURE_BOX, find_people
from ..errors import InputError
from ..estimation.crop_jobs import Estimator, OnBatch, with_scores
from ..images import check_image
from ..poses import Poses
from .presence import DEFAULT_PRESENCE, Presence

if TYPE_CHECKING:
    from ..detection.people import Found, PersonDetector

log = logging.getLogger(__name__)

IF_NOBODY = ("empty", "full-image", "previous")
"""Nobody; one box around the whole picture; the people of the frame before."""

CHUNK_PIXELS = 64_000_000
"""Pictures that share batches have at most this many pixels in total."""


@dataclass(frozen=True)
class FramePeople:
    """The people of a frame.

    Attributes:
        boxes: (N, 4) or (N, 5) x1, y1, x2, y2 in pixels, score.
        track_ids: N ids, kept as they are if `TrackerOptions.trust_ids` is set.
        masks: (N, H, W) bool; pixels outside a person's mask are black in the crop.
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
    presence: Presence = DEFAULT_PRESENCE,
    on_batch: OnBatch | None = None,
) -> list[Poses]:
    """Poses of the people of each picture.

    Args:
        images: RGB uint8 (H, W, 3).
        estimator: from `load_estimator`.
        detector: finds the people of pictures whose entry in `people` is None.
        people: of each picture, or None to run the detector. No boxes means nobody.
        if_nobody: one of `IF_NOBODY`: what to do if the detector finds nobody, see `fill_empty`. The result's
            `meta["boxes_from"]` says what was done. People that were given are never replaced.
        presence: which points stay although they are not there.
        on_batch: called with (crops done, total crops), first with none done; may raise to stop.

    Raises `InputError` for arguments that do not match, and what detector and estimator raise.
    """
    _check_policy(if_nobody)
    given = [None] * len(images) if people is None else list(people)
    if len(given) != len(images):
        raise InputError(f"expected one list of boxes per picture, got {len(given)} for {len(images)} pictures")
    for image in images:
        check_image(image)
    unknown = [image for image, known in zip(images, given, strict=True) if known is None]
    detected = iter(_detected(unknown, detector, if_nobody))
    pairs = [
        next(detected) if known is None else (replace(known, boxes=with_scores(known.boxes)), {"boxes_from": "given"})
        for known in given
    ]
    results = estimate_people(images, [found for found, _ in pairs], estimator, on_batch, presence)
    return [poses.with_meta(**source) for poses, (_, source) in zip(results, pairs, strict=True)]


def estimate_people(
    images: Sequence[np.ndarray],
    people: Sequence[FramePeople],
    estimator: Estimator,
    on_batch: OnBatch | None = None,
    presence: Presence = DEFAULT_PRESENCE,
) -> list[Poses]:
    """Poses of the people of each picture, with their track ids if they have any."""
    if on_batch and (crops := sum(len(frame.boxes) for frame in people)):
        on_batch(0, crops)  # the first batch may take a minute
    results = estimator.estimate(
        images, [frame.boxes for frame in people], masks=[frame.masks for frame in people], on_batch=on_batch
    )
    there = [presence.apply(poses) for poses in results]
    return [
        poses if frame.track_ids is None else poses.with_ids_of_boxes(frame.track_ids)
        for poses, frame in zip(there, people, strict=True)
    ]


def fill_empty(
    people: Sequence[FramePeople], images: Sequence[np.ndarray], if_nobody: str
) -> tuple[list[FramePeople], list[int]]:
    """The people of each frame after empty frames were filled, and the numbers of the filled frames.

    Args:
        people: of each frame, in order.
        images: the frames, RGB uint8 (H, W, 3).
        if_nobody: "empty": nobody; "full-image": one box around the whole picture, score 1; "previous": the boxes and
            track ids of the last frame with people.
    """
    _check_policy(if_nobody)
    filled, numbers = list(people), []
    for number, (frame, image) in enumerate(zip(people, images, strict=True)):
        before = filled[number - 1] if number else frame
        if len(frame.boxes) or if_nobody == "empty" or (if_nobody == "previous" and not len(before.boxes)):
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
    """The people of each picture, and the entries of its meta that say how they were found."""
    if not images:
        return []
    if detector is None:
        raise InputError("a picture has neither boxes nor a detector: give one of them")
    looked = [find_people(detector, image) for image in images]
    found = [FramePeople(own.boxes) for own in looked]
    people, filled = fill_empty(found, images, if_nobody)
    instead = {"full-image": "whole picture used", "previous": "boxes of the picture before used"}
    meta = detector.meta()
    pairs = []
    for number, frame in enumerate(people):
        source = detector.name
        if not len(found[number].boxes):
            source += ": nobody found"
        if number in filled:
            source += f", {instead[if_nobody]}"
            log.info("%s", source)
        pairs.append((frame, {"boxes_from": source, "detector": meta, **_how_found(looked[number])}))
    return pairs


def unsure(meta: Mapping[str, Any]) -> list[str]:
    """How the people of a picture were found of whom the detector was not sure."""
    return [how for how in meta.get("boxes_found", ()) if how != SURE_BOX]


def _how_found(found: Found) -> dict[str, Any]:
    """The entries of a picture's meta that say how each person was found, and how many were not believed."""
    entries = {"boxes_found": list(found.how), "not_there": found.not_there}
    return {name: value for name, value in entries.items() if value}
