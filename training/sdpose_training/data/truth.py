"""Ground truth for scoring, from COCO files: includes crowds and unlabeled people; damage is an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_WHOLEBODY_133, KeypointSet
from sdpose_training.data.annotations import AnnotatedPerson, numbers, read_person


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


def read_truth(content: Mapping[str, Any], keypoint_set: KeypointSet) -> Truth:
    """The people of a parsed COCO file, including crowds and unlabeled people; skips annotations without keypoints.

    Raises `InputError`: no annotation has keypoints, one has a wrong number of keypoints or invalid values, or two
    pictures have the same id.
    """
    _check_entries(content)
    known = {image["id"] for image in content["images"]}
    scored = [a for a in content["annotations"] if a.get("keypoints") and a["image_id"] in known]
    if not scored:
        raise InputError(f"none of {len(content['annotations'])} annotations has keypoints: nothing to score against")
    people, labeled = zip(*(_person(annotation, keypoint_set) for annotation in scored), strict=True)
    return Truth(
        picture_ids=tuple(image["id"] for image in content["images"]),
        ids=tuple(a["id"] for a in scored),
        image_ids=tuple(a["image_id"] for a in scored),
        keypoints=np.stack([person.points for person in people]),
        labeled=np.asarray(labeled).astype(int),
        crowd=np.asarray([bool(a.get("iscrowd")) for a in scored]),
        areas=np.asarray([person.area for person in people]),
        boxes_xywh=np.stack([person.bbox_xywh for person in people]),
    )


def _person(annotation: Mapping[str, Any], keypoint_set: KeypointSet) -> tuple[AnnotatedPerson, float]:
    """A person and the number of labeled points; `InputError` names the annotation."""
    try:
        person = read_person(annotation, keypoint_set)
        labeled = float((person.points[:, 2] > 0).sum())
        if keypoint_set.name != COCO_WHOLEBODY_133.name:  # its num_keypoints counts the body only
            labeled = float(numbers(annotation, "num_keypoints", labeled))
        return person, labeled
    except ValueError as error:
        where = f"annotation {annotation['id']} of picture {annotation['image_id']}"
        needed = f"the {len(keypoint_set)} points of {keypoint_set.name!r}"
        raise InputError(f"{where}: {error}; scoring needs {needed}") from None


def _check_entries(content: Mapping[str, Any]) -> None:
    for what, keys, named in (("images", {"id"}, "id"), ("annotations", {"id", "image_id"}, "image_id")):
        for number, entry in enumerate(content[what]):
            where = f"annotations: entry {number} of {what!r}"
            if not isinstance(entry, dict) or not keys <= entry.keys():
                raise InputError(f"{where} lacks {', '.join(sorted(keys))}")
            if not isinstance(entry[named], int | str):
                raise InputError(f"{where} has the {named} {entry[named]!r:.60}, expected a number or a text")
    check_once([image["id"] for image in content["images"]])


def check_once(picture_ids: Sequence[Any]) -> None:
    """Raise `InputError` if two pictures have the same id, which makes their annotations ambiguous."""
    if len(set(picture_ids)) < len(picture_ids):
        twice = next(picture for picture, count in Counter(picture_ids).items() if count > 1)
        advice = "give each picture a unique id (renumber the pictures when you join files)"
        raise InputError(f"annotations: two entries of 'images' have the id {twice!r}: {advice}")
