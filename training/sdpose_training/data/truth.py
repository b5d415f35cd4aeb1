"""Ground truth for scoring, from COCO files: includes crowds and unlabeled people; damage is an error."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sdpose_core.coco.annotations import Coco, CocoAnnotation, PeopleFound
from sdpose_core.coco.people import read_amount
from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_WHOLEBODY_133, KeypointSet

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Truth:
    """N annotated people.

    Attributes:
        picture_ids: of all pictures, including those without people.
        ids, image_ids: (N,) of the annotations and their pictures, as in the file.
        keypoints: (N, K, 3) float64: x, y in pixels, visibility (0 not labeled).
        labeled: (N,) number of labeled points; people with 0 are ignored in scoring.
        crowd: (N,) bool: regions in which detections are ignored.
        areas: (N,) square pixels.
        boxes_xywh: (N, 4) pixels.
    """

    picture_ids: tuple[Any, ...]
    ids: tuple[Any, ...]
    image_ids: tuple[Any, ...]
    keypoints: np.ndarray
    labeled: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    boxes_xywh: np.ndarray

    def part(self, indices: Sequence[int]) -> Truth:
        """The same people with only the points at `indices`."""
        keypoints = self.keypoints[:, list(indices)]
        return replace(self, keypoints=keypoints, labeled=(keypoints[..., 2] > 0).sum(axis=1))


def read_truth(content: Mapping[str, Any] | Coco, keypoint_set: KeypointSet) -> Truth:
    """The people of a parsed COCO file, including crowds and unlabeled people; skips annotations without keypoints.

    Raises `InputError`: no annotation has keypoints, one has a wrong number of keypoints or invalid values, or two
    pictures have the same id.
    """
    coco = content if isinstance(content, Coco) else Coco.of(content)
    found = coco.people(keypoint_set, crowds=True)
    if coco.problems:
        raise InputError(f"annotations: {coco.problems[0]}")
    if found.problems:
        needed = f"the {len(keypoint_set)} points of {keypoint_set.name!r}"
        raise InputError(f"{found.problems[0]}; scoring needs {needed}")
    if not found.people:
        reasons = f" ({found.reasons()})" if found.reasons() else ""
        raise InputError(
            f"none of {len(coco.annotations)} annotations has keypoints{reasons}: nothing to score against"
        )
    annotations, people = zip(*found.people, strict=True)
    return Truth(
        picture_ids=tuple(coco.images),
        ids=tuple(each.id for each in annotations),
        image_ids=tuple(each.image.id for each in annotations),
        keypoints=np.stack([person.points for person in people]),
        labeled=_labeled(found, keypoint_set),
        crowd=np.asarray([each.crowd for each in annotations]),
        areas=np.asarray([person.area for person in people]),
        boxes_xywh=np.stack([person.bbox_xywh for person in people]),
    )


def _labeled(found: PeopleFound, keypoint_set: KeypointSet) -> np.ndarray:
    """(N,) number of labeled points as stated (COCO's evaluation ignores 0); as labeled where nothing is stated.

    `InputError` names an annotation with a wrong number.
    """
    labeled = np.asarray([(person.points[:, 2] > 0).sum() for _, person in found.people])
    if keypoint_set.name == COCO_WHOLEBODY_133.name:  # its num_keypoints counts the body only
        return labeled
    pairs = zip(found.people, labeled, strict=True)
    stated = np.asarray([_stated(annotation, count) for (annotation, _), count in pairs]).astype(int)
    if wrong := int(((stated == 0) & (labeled > 0)).sum()):
        if not stated.any():
            log.warning("num_keypoints is 0 for all %d people: their labeled points are counted", wrong)
            return labeled
        log.warning("%d people with labeled points have num_keypoints 0: not scored, as in COCO's evaluation", wrong)
    return stated


def _stated(annotation: CocoAnnotation, labeled: int) -> float:
    try:
        return read_amount(annotation.entry, "num_keypoints", labeled)
    except ValueError as error:
        raise InputError(f"{annotation.name}: {error}") from None
