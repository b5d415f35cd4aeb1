"""COCO's keypoint evaluation of plain arrays: the figures that papers print."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_core.oks import BODY_POINTS
from sdpose_core.skeletons import COCO_WHOLEBODY_133, KeypointSet
from sdpose_training.data.annotations import annotated_points

FIGURES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
SCORERS = ("faster-coco-eval", "pycocotools")
NO_FIGURE = -1.0
"""COCO's word for: nobody of that size."""

_PERSON = 1
_AREAS = {"m": (32**2, 96**2), "l": (96**2, np.inf)}
"""Square pixels of COCO's medium and large people, both ends included."""


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


@dataclass(frozen=True, eq=False)
class Detections:
    """N found people.

    Attributes:
        image_ids: (N,) as in the annotations.
        keypoints: (N, K, 2) pixels, NaN where none.
        scores: (N,) of the people.
        areas: (N,) square pixels, by which APm and APl leave out what is of another size.
    """

    image_ids: Sequence[Any]
    keypoints: np.ndarray
    scores: np.ndarray
    areas: np.ndarray


def read_truth(content: Mapping[str, Any], keypoint_set: KeypointSet) -> Truth:
    """The people of a parsed COCO file, crowds and unlabelled ones too; annotations without keypoints are left out.

    Raises `InputError`: nobody has keypoints, somebody has another number of them than the set, figures that are none,
    or two pictures of one id.
    """
    _check_entries(content)
    known = {image["id"] for image in content["images"]}
    own = [a for a in content["annotations"] if a.get("keypoints") and a["image_id"] in known]
    if not own:
        raise InputError(f"none of {len(content['annotations'])} annotations has keypoints: nothing to score against")
    points = np.stack([_points(annotation, keypoint_set) for annotation in own])
    boxes = np.stack([_numbers(a, "bbox", (0, 0, 0, 0)) for a in own])
    areas = [float(_numbers(a, "area", 0)) or box[2] * box[3] for a, box in zip(own, boxes, strict=True)]
    counted = (points[..., 2] > 0).sum(axis=1)
    if keypoint_set.name != COCO_WHOLEBODY_133.name:  # whose number is that of the body alone
        stated = [_numbers(a, "num_keypoints", n) for a, n in zip(own, counted, strict=True)]
        counted = np.asarray(stated, int)
    return Truth(
        picture_ids=tuple(image["id"] for image in content["images"]),
        ids=tuple(a["id"] for a in own),
        image_ids=tuple(a["image_id"] for a in own),
        keypoints=points,
        labelled=counted,
        crowd=np.asarray([bool(a.get("iscrowd")) for a in own]),
        areas=np.asarray(areas, np.float64),
        boxes_xywh=boxes,
    )


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
            f"annotations: two entries of 'images' have the id {twice!r}: give each picture an id of its own (files "
            "that were joined must be numbered anew)"
        )


def _numbers(annotation: Mapping[str, Any], key: str, absent: Any) -> np.ndarray:
    """A value of an annotation as float64 of the shape of `absent`, which stands for what is not there."""
    value = annotation.get(key)
    try:
        numbers = np.asarray(absent if value is None else value, np.float64)
    except (TypeError, ValueError):
        numbers = np.asarray(np.nan)
    if numbers.shape != np.shape(absent) or not np.isfinite(numbers).all() or (not numbers.shape and numbers < 0):
        wanted = "numbers x, y, width, height" if np.shape(absent) else "number of at least 0"
        raise InputError(
            f"annotation {annotation['id']} of picture {annotation['image_id']}: {key} is {value!r:.60}, expected "
            f"{'the ' if np.shape(absent) else 'a '}{wanted}"
        )
    return numbers


def _points(annotation: Mapping[str, Any], keypoint_set: KeypointSet) -> np.ndarray:
    try:
        points = annotated_points(annotation, keypoint_set)
        if not np.isfinite(points).all():
            raise ValueError("keypoints that are no numbers")
        return points
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"annotation {annotation.get('id')} of picture {annotation.get('image_id')}: {reason}; expected "
            f"{len(keypoint_set)} points of {keypoint_set.name!r}: choose the annotation file of that keypoint set"
        ) from None


def extents(keypoints: np.ndarray) -> np.ndarray:
    """(N, K, 2) -> (N,) square pixels of the upright box around the points, 0 where there are none.

    Of whole bodies the official evaluation takes the box around the 17 points of the body, for every part.
    """
    points = keypoints[:, :BODY_POINTS] if keypoints.shape[1] == len(COCO_WHOLEBODY_133) else keypoints
    there = np.isfinite(points)
    size = np.where(there, points, -np.inf).max(axis=1) - np.where(there, points, np.inf).min(axis=1)
    return np.where(np.isfinite(size).all(axis=1), np.prod(size, axis=1), 0.0) if len(size) else np.zeros(0)


def coco_figures(
    truth: Truth, found: Detections, sigmas: Sequence[float], scorer: str = "faster-coco-eval"
) -> dict[str, float]:
    """AP and AR at OKS .50:.95 and the rest of `FIGURES`, as fractions, -1 where nobody is of that size.

    At most 20 people per picture count, those with the best scores.

    Args:
        truth, found: of the same K points.
        sigmas: K.
        scorer: of `SCORERS`; both give the same figures, the first is faster.

    Raises:
        MissingDependency: the scorer is not installed.
        InputError: found people in pictures that are not annotated; an unknown scorer.
    """
    place = {picture: i + 1 for i, picture in enumerate(truth.picture_ids)}
    if strangers := sorted({repr(i) for i in found.image_ids if i not in place}):
        raise InputError(
            f"predictions for {len(strangers)} pictures that the annotations do not have (such as {strangers[0]}; they "
            f"have such as {next(iter(place), None)!r}): these are predictions for another annotation file"
        )
    if not len(found.scores):
        return _nothing_found(truth)
    sides = _truth_file(truth, place), _detection_file(found, place)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = _evaluator(scorer, *sides, np.asarray(sigmas, np.float64))
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) for name, value in zip(FIGURES, evaluation.stats, strict=False)}


def _nothing_found(truth: Truth) -> dict[str, float]:
    """0 for everybody that there was to be found, `NO_FIGURE` for sizes that nobody has; evaluators want detections."""
    counted = truth.areas[~truth.crowd & (truth.labelled > 0)]
    figures = {}
    for name in FIGURES:
        low, high = _AREAS.get(name[2:], (0, np.inf))
        figures[name] = 0.0 if ((counted >= low) & (counted <= high)).any() else NO_FIGURE
    return figures


def _evaluator(scorer: str, truth: dict[str, Any], found: dict[str, Any], sigmas: np.ndarray) -> Any:
    if scorer == "faster-coco-eval":
        faster = require("faster_coco_eval", "scoring")
        return faster.COCOeval_faster(
            faster.COCO(truth), faster.COCO(found), "keypoints", kpt_oks_sigmas=sigmas.tolist()
        )
    if scorer != "pycocotools":
        raise InputError(f"unknown scorer {scorer!r}: choose one of {', '.join(SCORERS)}")
    reader, evaluator = require("pycocotools.coco", "scoring"), require("pycocotools.cocoeval", "scoring")
    sides = []
    for content in (truth, found):
        sides.append(reader.COCO())
        sides[-1].dataset = content
        sides[-1].createIndex()
    evaluation = evaluator.COCOeval(*sides, "keypoints")
    evaluation.params.kpt_oks_sigmas = sigmas
    return evaluation


def _truth_file(truth: Truth, place: Mapping[Any, int]) -> dict[str, Any]:
    """In COCO's words; people and pictures numbered from 1, as the evaluators take 0 for nobody."""
    return _file(place, [
        {
            "id": i + 1,
            "image_id": place[truth.image_ids[i]],
            "category_id": _PERSON,
            "iscrowd": int(truth.crowd[i]),
            "area": float(truth.areas[i]),
            "bbox": truth.boxes_xywh[i].tolist(),
            "keypoints": truth.keypoints[i].ravel().tolist(),
            "num_keypoints": int(truth.labelled[i]),
        }
        for i in range(len(truth.ids))
    ])  # fmt: skip


def _detection_file(found: Detections, place: Mapping[Any, int]) -> dict[str, Any]:
    points = np.nan_to_num(found.keypoints.astype(np.float64))
    triples = np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=2)
    return _file(place, [
        {
            "id": i + 1,
            "image_id": place[found.image_ids[i]],
            "category_id": _PERSON,
            "iscrowd": 0,
            "area": float(found.areas[i]),
            "bbox": [0.0, 0.0, 0.0, 0.0],
            "keypoints": triples[i].ravel().tolist(),
            "score": float(found.scores[i]),
        }
        for i in range(len(found.scores))
    ])  # fmt: skip


def _file(place: Mapping[Any, int], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    category = {"id": _PERSON, "name": "person"}
    return {
        "info": {},
        "images": [{"id": i} for i in place.values()],
        "categories": [category],
        "annotations": annotations,
    }
