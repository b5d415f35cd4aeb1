"""Reads annotation files in COCO's format, and selects the people for training (`truth.py`: for scoring)."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_WHOLEBODY_133, KeypointSet

_WHOLEBODY_FIELDS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")


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
        annotation_ids, image_ids: (N,) as in the file.
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
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the annotations {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        raise InputError(f"{path} is not in COCO's format: expected the lists 'images' and 'annotations'")
    categories = content.get("categories") or []
    if not isinstance(categories, list) or not all(isinstance(category, dict) for category in categories):
        raise InputError(f"{path}: expected 'categories' to be a list of objects, found {categories!r:.60}")
    return {**content, "categories": categories}


def read_people(content: Mapping[str, Any], pictures: Path, keypoint_set: KeypointSet) -> tuple[People, list[str]]:
    """The people of `read_annotations` to train on, and messages about damaged annotations.

    Crowds and people without labeled points or box are skipped silently, as in the released pipeline. `pictures` is the
    folder of the pictures. Raises `InputError` if nobody is left.
    """
    images, problems = _images_by_id(content["images"])
    rows: list[tuple] = []
    for number, annotation in enumerate(content["annotations"]):
        if not isinstance(annotation, dict):
            problems.append(f"annotation number {number}: expected an object, found {annotation!r:.40}")
            continue
        if annotation.get("iscrowd") or "keypoints" not in annotation:
            continue
        try:
            row = _row(annotation, images, keypoint_set)
        except ValueError as error:
            image_id = annotation.get("image_id")
            image = images.get(image_id, {}) if isinstance(image_id, Hashable) else {}
            name = image.get("file_name", "an unknown picture")
            problems.append(f"annotation {annotation.get('id')} of {name}: {error}")
            continue
        if row is not None:
            rows.append(row)
    if not rows:
        first = f"; the first problem: {problems[0]}" if problems else ""
        count = len(content["annotations"])
        raise InputError(f"no person with {keypoint_set.name!r} keypoints among {count} annotations{first}")
    files, *columns = zip(*rows, strict=True)
    kinds = (np.int64, *(np.float32,) * 4, np.int64, np.int64)
    arrays = [np.asarray(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    people = People(keypoint_set, tuple(pictures / str(name) for name in files), *arrays)
    return replace(people, source={key: content[key] for key in ("info", "licenses") if key in content}), problems


def _images_by_id(entries: Sequence[Any]) -> tuple[dict[Any, Mapping[str, Any]], list[str]]:
    """Entries of "images" by id, and messages about damaged ones."""
    images: dict[Any, Mapping[str, Any]] = {}
    problems: list[str] = []
    for number, entry in enumerate(entries):
        complete = isinstance(entry, dict) and isinstance(entry.get("file_name"), str) and "id" in entry
        if complete and isinstance(entry["id"], Hashable):
            images[entry["id"]] = entry
        else:
            problems.append(f"image number {number}: expected an object with id and file_name, found {entry!r:.60}")
    return images, problems


def _row(annotation: Mapping[str, Any], images: Mapping[Any, Any], keypoint_set: KeypointSet) -> tuple | None:
    """One row of `People`, or None for a person without labeled points or box; `ValueError` if it is damaged."""
    image_id = _value(annotation, "image_id")
    if not isinstance(image_id, Hashable) or image_id not in images:
        raise ValueError(f"no picture has the id {image_id!r:.60}")
    image = images[image_id]
    w, h = _whole(image, "width"), _whole(image, "height")
    person = read_person(annotation, keypoint_set)
    # COCO-WholeBody gives hands and faces confidences below 1: still labeled, as in the released pipeline.
    visibility = person.points[:, 2] > 0
    if _value(annotation, "bbox") is None:
        raise ValueError("bbox is None, expected the numbers x, y, width, height")
    x, y, box_w, box_h = person.bbox_xywh
    # The released pipeline clips boxes to the centers of the outermost pixels.
    box = np.clip([x, y, x + box_w, y + box_h], 0, [w - 1, h - 1, w - 1, h - 1])
    if not visibility.any() or box[2] <= box[0] or box[3] <= box[1]:
        return None
    ids = (_whole(annotation, "id"), _whole(annotation, "image_id"))
    return image["file_name"], (w, h), box, person.points[:, :2], visibility, person.area, *ids


def _value(entry: Mapping[str, Any], key: str) -> Any:
    if key not in entry:
        raise ValueError(f"missing {key!r}")
    return entry[key]


def _whole(entry: Mapping[str, Any], key: str) -> int:
    """A value as a 64-bit whole number."""
    value = _value(entry, key)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{key} is {value!r:.60}, expected a whole number") from None
    if abs(number) >= 1 << 63:
        raise ValueError(f"{key} is {number}, which does not fit into 64 bits")
    return number


@dataclass(frozen=True, eq=False)
class AnnotatedPerson:
    """One annotation.

    Attributes:
        points: (K, 3) float64, finite: x, y in pixels of the picture, visibility.
        bbox_xywh: (4,) float64, finite, pixels; zeros if the annotation has no box.
        area: square pixels; of the box if the annotation has none.
    """

    points: np.ndarray
    bbox_xywh: np.ndarray
    area: float


def read_person(annotation: Mapping[str, Any], keypoint_set: KeypointSet) -> AnnotatedPerson:
    """One entry of "annotations"; `ValueError` for damaged values, or another number of keypoints."""
    points = _points(annotation, keypoint_set)
    box = numbers(annotation, "bbox", (0, 0, 0, 0))
    area = numbers(annotation, "area", 0) if annotation.get("area") else box[2] * box[3]
    return AnnotatedPerson(points, box, float(area))


def numbers(annotation: Mapping[str, Any], key: str, absent: Any) -> np.ndarray:
    """A value as float64 with the shape of `absent`, its default; `ValueError` if it is not finite or negative."""
    value = annotation.get(key)
    try:
        found = np.asarray(absent if value is None else value, np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.asarray(np.nan)
    if found.shape != np.shape(absent) or not np.isfinite(found).all() or (not found.shape and found < 0):
        expected = "the numbers x, y, width, height" if np.shape(absent) else "a number of at least 0"
        raise ValueError(f"{key} is {value!r:.60}, expected {expected}")
    return found


def _points(annotation: Mapping[str, Any], keypoint_set: KeypointSet) -> np.ndarray:
    """(K, 3) x, y, visibility 0..2, finite; COCO-WholeBody keeps its parts in separate fields."""
    values = _list(annotation, "keypoints")
    if keypoint_set.name == COCO_WHOLEBODY_133.name and len(values) != 3 * len(keypoint_set):
        values = [value for name in _WHOLEBODY_FIELDS for value in _list(annotation, name)]
    if len(values) != 3 * len(keypoint_set):
        advice = f"choose annotations of the keypoint set {keypoint_set.name!r}"
        raise ValueError(f"{len(values)} keypoint values instead of {3 * len(keypoint_set)}: {advice}")
    try:
        points = np.asarray(values, np.float64).reshape(-1, 3)
    except (TypeError, ValueError, OverflowError):
        points = np.asarray(np.nan)
    if not np.isfinite(points).all():
        raise ValueError("keypoints that are not numbers")
    return points


def _list(annotation: Mapping[str, Any], key: str) -> list[Any]:
    value = _value(annotation, key)
    if not isinstance(value, list | tuple):
        raise ValueError(f"{key} is {value!r:.60}, expected a list of numbers")
    return list(value)
