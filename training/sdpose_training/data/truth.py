"""Annotation files in COCO's format as evaluators see them: crowds and unlabelled people too, no damage allowed."""

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
    """N annotated people, of P pictures.

    Attributes:
        picture_ids: of all pictures, also of those without people.
        ids: (N,) of the annotations, as in the file.
        image_ids: (N,) as in the file.
        keypoints: (N, K, 3) float64: x, y in pixels, visibility (0 not labelled).
        labelled: (N,) number of labelled points; those with 0 are neither found nor missed.
        crowd: (N,) bool: regions in which detections do not count.
        areas: (N,) square pixels.
        boxes_xywh: (N, 4) pixels.
    """

    picture_ids: tuple[Any, ...]
    ids: tuple[Any, ...]
    image_ids: tuple[Any, ...]
    keypoints: np.ndarray
    labelled: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    boxes_xywh: np.ndarray

    def part(self, indices: Sequence[int]) -> Truth:
        """The same people with some of their points."""
        keypoints = self.keypoints[:, list(indices)]
        return replace(self, keypoints=keypoints, labelled=(keypoints[..., 2] > 0).sum(axis=1))


def read_truth(content: Mapping[str, Any], keypoint_set: KeypointSet) -> Truth:
    """The people of a parsed COCO file, crowds and unlabelled ones too; annotations without keypoints are left out.

    Raises `InputError`: nobody has keypoints, somebody has another number of them than the set, figures that are none,
    or two pictures of one id.
    """
    _check_entries(content)
    known = {image["id"] for image in content["images"]}
    scored = [a for a in content["annotations"] if a.get("keypoints") and a["image_id"] in known]
    if not scored:
        raise InputError(f"none of {len(content['annotations'])} annotations has keypoints: nothing to score against")
    people, labelled = zip(*(_person(annotation, keypoint_set) for annotation in scored), strict=True)
    return Truth(
        picture_ids=tuple(image["id"] for image in content["images"]),
        ids=tuple(a["id"] for a in scored),
        image_ids=tuple(a["image_id"] for a in scored),
        keypoints=np.stack([person.points for person in people]),
        labelled=np.asarray(labelled).astype(int),
        crowd=np.asarray([bool(a.get("iscrowd")) for a in scored]),
        areas=np.asarray([person.area for person in people]),
        boxes_xywh=np.stack([person.bbox_xywh for person in people]),
    )


def _person(annotation: Mapping[str, Any], keypoint_set: KeypointSet) -> tuple[AnnotatedPerson, float]:
    """A person and the number of labelled points; `InputError` names the annotation."""
    try:
        person = read_person(annotation, keypoint_set)
        counted = float((person.points[:, 2] > 0).sum())
        if keypoint_set.name != COCO_WHOLEBODY_133.name:  # whose stated number is that of the body alone
            counted = float(numbers(annotation, "num_keypoints", counted))
        return person, counted
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"annotation {annotation['id']} of picture {annotation['image_id']}: {reason}; scored are the "
            f"{len(keypoint_set)} points of {keypoint_set.name!r}"
        ) from None


def _check_entries(content: Mapping[str, Any]) -> None:
    for what, keys, named in (("images", {"id"}, "id"), ("annotations", {"id", "image_id"}, "image_id")):
        for number, entry in enumerate(content[what]):
            if not isinstance(entry, dict) or not keys <= entry.keys():
                raise InputError(f"annotations: entry {number} of {what!r} lacks {', '.join(sorted(keys))}")
            if not isinstance(entry[named], int | str):
                raise InputError(
                    f"annotations: entry {number} of {what!r} has the {named} {entry[named]!r:.60}, expected a number "
                    "or a text"
                )
    check_once([image["id"] for image in content["images"]])


def check_once(picture_ids: Sequence[Any]) -> None:
    """Raise `InputError` for an id that two pictures have: whose people are whose is not known then."""
    if len(set(picture_ids)) < len(picture_ids):
        twice = next(picture for picture, count in Counter(picture_ids).items() if count > 1)
        raise InputError(
            f"annotations: two entries of 'images' have the id {twice!r}: give each picture an id of its own "
            "(renumber the pictures when you join files)"
        )
