"""Reads annotation files in COCO's format, and selects the people for training (`truth.py`: for scoring)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.coco.annotations import Coco, CocoAnnotation, read_coco
from sdpose_core.coco.files import picture_paths, picture_size
from sdpose_core.coco.people import AnnotatedPerson
from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_17, KeypointSet

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class People:
    """N people with keypoints.

    Attributes:
        files: picture of each person.
        picture_sizes: (N, 2) int, (w, h) as annotated.
        boxes_xyxy: (N, 4) float32, clipped to the picture.
        keypoints: (N, K, 2) float32, pixels of the picture.
        visibility: (N, K) float32: 1 for labeled points, visible or hidden; else 0.
        areas: (N,) float32, square pixels, for OKS.
        annotation_ids, image_ids: (N,) as in the file: int64, or objects if some are texts.
        source: "info" and "licenses" of the file, if present.
    """

    keypoint_set: KeypointSet
    files: tuple[Path, ...]
    picture_sizes: np.ndarray
    boxes_xyxy: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray
    areas: np.ndarray
    annotation_ids: np.ndarray
    image_ids: np.ndarray
    source: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files)

    def first(self, count: int) -> People:
        """The first `count` people; all if it is negative."""
        return self if count < 0 else self.select(range(min(count, len(self))))

    def select(self, indices: Sequence[int]) -> People:
        """The people at `indices`, in that order."""
        at = np.asarray(indices, int)
        arrays = (self.picture_sizes, self.boxes_xyxy, self.keypoints, self.visibility, self.areas)
        chosen = (array[at] for array in (*arrays, self.annotation_ids, self.image_ids))
        return People(self.keypoint_set, tuple(self.files[i] for i in at), *chosen, source=self.source)


def read_annotations(path: str | Path) -> dict[str, Any]:
    """A COCO file as parsed JSON; `InputError` if it is missing, damaged or not in COCO's format."""
    return read_coco(path)


def only_pictures(content: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The parsed file with only the pictures of these file names, and their annotations."""
    images = [image for image in content["images"] if str(image.get("file_name")) in names]
    ids = {image["id"] for image in images}
    people = [each for each in content["annotations"] if each.get("image_id") in ids]
    return {**content, "images": images, "annotations": people}


def read_people(
    content: Mapping[str, Any], pictures: Path, keypoint_set: KeypointSet, *, unlabeled: bool = False
) -> tuple[People, list[str]]:
    """The people of `read_annotations` to train on, and messages about damaged annotations.

    Crowds, other categories and people without labeled points or box are left out and counted in the log, as in the
    released pipeline. With `unlabeled`, a box is enough. `pictures` is the folder of the pictures. Raises `InputError`
    if nobody is left, or as `Coco`.
    """
    coco = Coco.of(content)
    found = coco.people(keypoint_set, crowds=False, unlabeled=unlabeled)
    problems = [*coco.problems, *coco.without_name(), *found.problems]
    people = [pair for pair in found.people if pair[0].image.file_name is not None]  # else among the problems
    rows: list[tuple] = []
    beyond = 0
    files = picture_paths([str(annotation.image.file_name) for annotation, _ in people], pictures)
    for (annotation, person), file in zip(people, files, strict=True):
        try:
            rows.append((file, *_row(annotation, person, file, unlabeled)))
            beyond += _reaches_beyond(person, rows[-1][1])
        except _NoPerson as reason:
            found.left_out[str(reason)] += 1
        except ValueError as error:
            problems.append(f"{annotation.name}: {error}")
    if not rows:
        reasons = f"; left out: {found.reasons()}" if found.reasons() else ""
        first = f"; the first problem: {problems[0]}" if problems else ""
        count = len(content["annotations"])
        what = "a box" if unlabeled else f"{keypoint_set.name!r} keypoints"
        raise InputError(f"no person with {what} among {count} annotations{reasons}{first}")
    found.report(log, used=len(rows))
    if beyond > len(rows) / 5:
        advice = "bbox is x, y, width, height: are these x1, y1, x2, y2?"
        log.warning("%d of %d boxes reach beyond their picture; %s", beyond, len(rows), advice)
    chosen, *columns = zip(*rows, strict=True)
    kinds = (np.int64, *(np.float32,) * 4)
    arrays = [np.asarray(column, kind) for column, kind in zip(columns, kinds, strict=False)]
    source = {key: content[key] for key in ("info", "licenses") if key in content}
    return People(keypoint_set, chosen, *arrays, *map(_ids, columns[len(kinds) :]), source=source), problems


def with_body(people: People) -> People:
    """The people with at least one labeled point of COCO's 17, as the released pipeline selects for COCO-WholeBody.

    There, `num_keypoints` counts only the body, so that a person with a labeled hand or face alone is left out.
    Raises `InputError` if the set has none of COCO's points, or nobody is left.
    """
    keypoint_set = people.keypoint_set
    body = [index for index, name in enumerate(keypoint_set.names) if name in COCO_17.names]
    chosen = np.flatnonzero(people.visibility[:, body].any(axis=1))
    if not len(chosen):
        what = "nobody has a labeled body point" if body else f"{keypoint_set.name!r} has none of COCO's 17 points"
        raise InputError(f"data.need_body is on, but {what}: turn it off")
    log.info("%d of %d people left out: no labeled body point", len(people) - len(chosen), len(people))
    return people.select(chosen.tolist())


def _reaches_beyond(person: AnnotatedPerson, size: tuple[int, int]) -> bool:
    """Whether the box ends far outside a picture of `size` (w, h)."""
    x, y, w, h = person.bbox_xywh.tolist()
    return x + w > 1.1 * size[0] or y + h > 1.1 * size[1]


class _NoPerson(Exception):
    """Nothing is damaged, but there is nobody to train on; the message is the reason."""


def _ids(values: Sequence[Any]) -> np.ndarray:
    """(N,) ids: int64, or objects if some are texts."""
    if all(isinstance(value, int) for value in values):
        return np.asarray(values, np.int64)
    ids = np.empty(len(values), object)
    ids[:] = values
    return ids


def _row(annotation: CocoAnnotation, person: AnnotatedPerson, file: Path, unlabeled: bool) -> tuple:
    """The columns of `People` behind `files`; `ValueError` for damage, `_NoPerson` without labeled points (unless
    `unlabeled`) or box."""
    size = w, h = annotation.image.size() or picture_size(file)
    # COCO-WholeBody gives hands and faces confidences below 1: still labeled, as in the released pipeline.
    visibility = person.points[:, 2] > 0
    if not (unlabeled or visibility.any()):
        raise _NoPerson("without labeled points")
    x, y, box_w, box_h = person.bbox_xywh.tolist()
    # The released pipeline clips boxes to the centers of the outermost pixels.
    limits = ((x, w), (y, h), (x + box_w, w), (y + box_h, h))
    box = [min(max(value, 0), side - 1) for value, side in limits]
    if box[2] <= box[0] or box[3] <= box[1]:
        raise _NoPerson("without a box in the picture")
    return size, box, person.points[:, :2], visibility, person.area, annotation.id, annotation.image.id
