"""Predicted people, and the JSON files that hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.coco.annotations import Coco
from sdpose_core.coco.categories import category_of, names_by_id, people_ids
from sdpose_core.coco.people import WHOLEBODY_FIELDS, are_shares
from sdpose_core.coco.values import as_written, read_id
from sdpose_core.codec.crops import box_to_center_scale, fix_aspect
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write
from sdpose_core.texts import read_json

BOX_ASPECT = (768, 1024)
"""(w, h): aspect to which boxes grow for the area in OKS-NMS, the same for every model."""
KEYS = ("id", "img_id", "keypoints", "keypoint_scores", "bbox_score", "bbox_scale")
"""Of each entry of a file of predictions."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """N predicted people, before NMS.

    Attributes:
        ids: (N,) int, of the boxes.
        image_ids: (N,) as in the annotations.
        keypoints: (N, K, 2) float64, pixels of the pictures, NaN where none.
        keypoint_scores: (N, K) float64.
        box_scores: (N,) float64.
        box_scales: (N, 2) float64: width and height of the padded box of the crop in pixels.
        final: the box scores are those of the people, and NMS is done: as in COCO's results.

    Raises `InputError` for shapes that do not match.
    """

    ids: np.ndarray
    image_ids: tuple[Any, ...]
    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    box_scores: np.ndarray
    box_scales: np.ndarray
    final: bool = False

    def __post_init__(self) -> None:
        count = len(self.ids)
        points = self.keypoints.shape[1:2]
        expected = ((count, *points, 2), (count, *points), (count,), (count, 2), count)
        arrays = (self.keypoints, self.keypoint_scores, self.box_scores, self.box_scales)
        found = (*(array.shape for array in arrays), len(self.image_ids))
        if found != expected:
            raise InputError(f"predictions: expected the shapes {expected}, found {found}")

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, indices: Sequence[int] | np.ndarray) -> Predictions:
        """The people at `indices`, in that order."""
        at = np.asarray(indices, int)
        arrays = (self.keypoints, self.keypoint_scores, self.box_scores, self.box_scales)
        image_ids, columns = tuple(self.image_ids[i] for i in at), (array[at] for array in arrays)
        return Predictions(self.ids[at], image_ids, *columns, final=self.final)

    def points(self, indices: Sequence[int]) -> Predictions:
        """The same people with only the points at `indices`, in that order."""
        at = list(indices)
        return replace(self, keypoints=self.keypoints[:, at], keypoint_scores=self.keypoint_scores[:, at])


def box_scales(boxes_xyxy: np.ndarray) -> np.ndarray:
    """(N, 4) -> (N, 2): width and height of the boxes of the crops, padded by 1.25 and grown to 3:4."""
    return fix_aspect(box_to_center_scale(boxes_xyxy)[1], BOX_ASPECT)


def read_predictions(path: str | Path, pictures: Coco | None = None) -> Predictions:
    """Predictions from a JSON file.

    Either a list of {id, img_id, keypoints (K, 2), keypoint_scores (K), bbox_score, bbox_scale (w, h)}, as
    `write_predictions` writes it, or COCO's keypoint results: a list of {image_id, keypoints (x, y, score ...), score},
    alone or as "annotations" beside "images", by whose file names the pictures of `pictures` are found.

    Raises `InputError` for any other file.
    """
    content = read_json(path, "predictions")
    entries = content
    if isinstance(content, Mapping):
        if {"AP", "AR"} <= content.keys() or {"mean_oks", "pictures"} <= content.keys():
            advice = "give the file that --save-predictions wrote"
            raise InputError(f"{path} is a result of evaluate.py and holds no predictions: {advice}")
        entries = content.get("annotations", content.get("predictions"))
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} holds no predictions: expected a list with at least one entry")
    if isinstance(entries[0], Mapping) and "image_id" in entries[0] and "img_id" not in entries[0]:
        return _coco_results(entries, content, path, pictures)
    _check_keys(entries, KEYS, path)
    image_ids = read_image_ids(entries, "img_id", path)
    ids, keypoints = column(entries, "id", path, np.int64), column(entries, "keypoints", path)
    if keypoints.ndim != 3:
        raise InputError(f"{path}: expected keypoints of shape (K, 2) for each person, found {keypoints.shape[1:]}")
    keypoints[~np.isfinite(keypoints)] = np.nan
    _check_pixels(keypoints, path)
    point_scores = column(entries, "keypoint_scores", path)
    _check_values(entries, "keypoint_scores", np.isfinite(point_scores), path)
    box_scores, scales = column(entries, "bbox_score", path), column(entries, "bbox_scale", path)
    _check_values(entries, "bbox_score", np.isfinite(box_scores), path)
    _check_values(entries, "bbox_scale", np.isfinite(scales) & (scales >= 0), path)
    return Predictions(ids, image_ids, keypoints, point_scores, box_scores, scales)


def _coco_results(entries: Sequence[Any], content: Any, path: str | Path, pictures: Coco | None) -> Predictions:
    """COCO's keypoint results; the box of a person without "bbox" is around its points."""
    _check_keys(entries, ("image_id", "keypoints", "score"), path)
    categories = {category_of(entry) for entry in entries} - {None}
    if len(categories) > 1:
        people = people_ids(categories, names_by_id(_objects(content, "categories")), str(path))[0]
        entries = [entry for entry in entries if category_of(entry) in (None, *people)]
    image_ids = read_image_ids(entries, "image_id", path)
    if pictures is not None and (images := _objects(content, "images")):
        image_ids = _ids_by_name(image_ids, images, pictures)
    triples = [
        {"keypoints": [value for key in WHOLEBODY_FIELDS for value in _listed(entry.get(key), key, path)]}
        for entry in entries
    ]
    points = column(triples, "keypoints", path)
    if points.ndim == 2 and points.shape[1] % 3 == 0:
        points = points.reshape(len(points), -1, 3)
    if points.ndim != 3 or points.shape[2] != 3:
        shape = " x ".join(map(str, points.shape[1:]))
        raise InputError(f"{path}: expected keypoints as x, y, score of each point, found {shape} numbers")
    points[~np.isfinite(points).all(axis=2)] = (np.nan, np.nan, 0)
    _check_pixels(points[..., :2], path)
    scores = column(entries, "score", path)
    _check_values(entries, "score", np.isfinite(scores), path)
    keypoints, found = points[..., :2], np.isfinite(points[..., :1])
    low = np.where(found, keypoints, np.inf).min(axis=1)
    high = np.where(found, keypoints, -np.inf).max(axis=1)
    boxes = np.nan_to_num(np.concatenate([low, high], axis=1), posinf=0, neginf=0)
    ids = np.arange(len(entries))
    return Predictions(ids, image_ids, keypoints, points[..., 2], scores, box_scales(boxes), final=True)


def _objects(content: Any, key: str) -> list[Mapping[str, Any]]:
    values = content.get(key) if isinstance(content, Mapping) else None
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list) else []


def _listed(value: Any, key: str, path: str | Path) -> Sequence[Any]:
    if not isinstance(value, list | None):
        raise InputError(f"{path}: expected {key!r} to be a list of x, y, score, found {value!r:.60}")
    return value or []


def _ids_by_name(image_ids: Sequence[Any], images: Sequence[Mapping[str, Any]], pictures: Coco) -> tuple[Any, ...]:
    """The ids that the annotations have for the pictures of another file; unknown pictures are called by their name."""
    names = {
        image.id: image.file_name or image.id
        for image in Coco.of({"images": images, "annotations": []}).images.values()
    }
    known = pictures.ids_of(names)
    return tuple(known.get(i, names.get(i, i)) for i in image_ids)


def _check_keys(entries: Sequence[Any], keys: Sequence[str], path: str | Path) -> None:
    for number, entry in enumerate(entries):
        missing = [key for key in keys if not isinstance(entry, Mapping) or key not in entry]
        if missing:
            raise InputError(f"{path}: entry {number} lacks {missing[0]!r}; expected {', '.join(keys)}")


def _check_values(entries: Sequence[Mapping[str, Any]], key: str, good: np.ndarray, path: str | Path) -> None:
    if not good.all():
        wrong = int(np.argwhere(~good)[0][0])
        raise InputError(
            f"{path}: entry {wrong} has the {key} {entries[wrong][key]!r:.60}, expected numbers (sizes from 0)"
        )


def _check_pixels(keypoints: np.ndarray, path: str | Path) -> None:
    found = keypoints[np.isfinite(keypoints)]
    if found.any() and are_shares(found):
        raise InputError(f"{path}: keypoints from 0 to 1: expected pixels (multiply by width and height)")


def column(entries: Sequence[Mapping[str, Any]], key: str, path: str | Path, dtype: type = np.float64) -> np.ndarray:
    """(N, ...) the numbers under one key of each entry; `InputError` if they are not numbers of one shape."""
    try:
        return np.asarray([entry[key] for entry in entries], dtype)
    except OverflowError:
        raise InputError(f"{path}: a number under {key!r} is too large: expected 64 bits") from None
    except (TypeError, ValueError):
        raise InputError(f"{path}: expected {key!r} to be numbers of the same shape in all entries") from None


def read_image_ids(entries: Sequence[Mapping[str, Any]], key: str, path: str | Path) -> tuple[Any, ...]:
    """(N,) the ids under one key of each entry; `InputError` if one is neither a whole number nor a text."""
    for number, entry in enumerate(entries):
        try:
            read_id(entry[key])
        except ValueError as error:
            raise InputError(f"{path}: entry {number} has the {key} {error}") from None
    return tuple(as_written(entry[key]) for entry in entries)


def write_predictions(predictions: Predictions, path: str | Path) -> None:
    """Write what `read_predictions` reads, atomically; a point that was not found is 0, 0."""
    points = np.nan_to_num(predictions.keypoints)
    columns = (
        predictions.ids.tolist(), predictions.image_ids, points.tolist(), predictions.keypoint_scores.tolist(),
        predictions.box_scores.tolist(), predictions.box_scales.tolist(),
    )  # fmt: skip
    people = [dict(zip(KEYS, values, strict=True)) for values in zip(*columns, strict=True)]
    with atomic_write(path, "w") as handle:
        json.dump(people, handle)
