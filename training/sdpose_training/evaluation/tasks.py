"""A benchmark with its files: annotations, pictures, and boxes in which to find people."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.coco.annotations import Coco
from sdpose_core.coco.boxes import FORMATS, read_boxes
from sdpose_core.coco.files import picture_paths
from sdpose_core.errors import InputError, restated
from sdpose_core.files import sha256_of
from sdpose_core.resumable import read_settings
from sdpose_core.skeletons import COCO_WHOLEBODY_133, KEYPOINT_SETS, KeypointSet
from sdpose_core.texts import read_json
from sdpose_training.data.annotations import read_annotations, read_people
from sdpose_training.data.keypoint_sets import find_keypoint_set
from sdpose_training.data.pictures import read_picture
from sdpose_training.data.truth import read_truth
from sdpose_training.evaluation.protocols import BODY, WHOLEBODY, Benchmark, scored_set
from sdpose_training.evaluation.scored_points import SCORED_SETS
from sdpose_training.recipe.recipe import FROM_ANNOTATIONS

log = logging.getLogger(__name__)

PAINTED = "make_coco_ood.json"
"""In a folder of pictures, says that make_coco_ood.py made them."""


@dataclass(frozen=True)
class Places:
    """Where the user keeps the files, and which of them to use.

    Attributes:
        annotations, images, boxes: relative to `root`, or absolute; None: the benchmark's.
        ground_truth_boxes: use them even if the benchmark has a file of boxes.
        pictures: evaluate only the first N; None: all.
    """

    root: Path
    annotations: str | None = None
    images: str | None = None
    boxes: str | None = None
    ground_truth_boxes: bool = False
    pictures: int | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """A benchmark with its files read: N boxes in which to find people.

    Attributes:
        keypoint_set: what is scored.
        content: parsed annotations.
        files, sizes: image id -> picture, and (w, h) as annotated, where known.
        boxes_xyxy, box_scores, image_ids: (N, 4) float32 pixels, (N,) float64, (N,).
        annotations, boxes, images: the files (boxes: None for ground truth), and the folder of the pictures.
    """

    benchmark: Benchmark
    keypoint_set: KeypointSet
    content: Mapping[str, Any]
    files: Mapping[Any, Path]
    sizes: Mapping[Any, tuple[int, int]]
    boxes_xyxy: np.ndarray
    box_scores: np.ndarray
    image_ids: tuple[Any, ...]
    annotations: Path
    boxes: Path | None
    images: Path

    def painted(self) -> str:
        """Style in which make_coco_ood.py painted the pictures, "" if nothing says so."""
        made = (read_settings(self.images / PAINTED) or {}).get("settings")
        return str(made.get("style", "an unknown style")) if isinstance(made, Mapping) else ""

    def digests(self) -> dict[str, str | None]:
        """SHA-256 of the annotations and of the file of boxes (None: ground-truth boxes)."""
        boxes = sha256_of(self.boxes) if self.boxes else None
        return {"annotations": sha256_of(self.annotations), "boxes": boxes}

    def picture(self, image_id: Any) -> np.ndarray:
        """RGB uint8 (H, W, 3); `InputError` if it cannot be read, or has another size than annotated."""
        return read_picture(self.files[image_id], self.sizes.get(image_id))

    def origin(self) -> dict[str, Any]:
        """How the pictures were made from the files, as settings of a run; {} if they are the files."""
        return {}


def load_task(benchmark: Benchmark, places: Places, predicted: str, keypoint_set: str | None = None) -> Task:
    """Find and read a benchmark's files.

    Args:
        benchmark: of the table.
        places: where to look.
        predicted: keypoint set of the predictor.
        keypoint_set: for "custom": a known name, a TOML file or "annotations"; None: the set that the annotations name,
            else the predictor's.

    Raises `InputError`: a file is missing, with how to get it, or of another kind.
    """
    scored = scored_set(benchmark, predicted)
    if not places.root.is_dir():
        raise InputError(f"--data.root {places.root}: no such folder")
    inside = places.root / benchmark.folder
    root = inside if inside.is_dir() else places.root
    usual = benchmark.annotations.get(scored) or next(iter(benchmark.annotations.values()))
    annotations = _expected(root, places.annotations or usual, "annotations", benchmark)
    content = _first_pictures(read_annotations(annotations), places.pictures)
    points = _custom_set(content, keypoint_set, scored) if "" in benchmark.annotations else SCORED_SETS[scored]
    content = benchmark.prepared(content, points)
    images = _expected(root, benchmark.images if places.images is None else places.images, "images", benchmark)
    boxes = None if places.ground_truth_boxes else places.boxes or benchmark.boxes
    file = _expected(root, boxes, "boxes", benchmark) if boxes else None
    coco = Coco.of(content)
    files = picture_files(coco, images, annotations, f"{benchmark.folder}/" if benchmark.folder else "")
    with restated(annotations):
        sizes = coco.sizes()
    _check_predicted(predicted, points, annotations)
    read_truth(coco, points)  # raises for what cannot be scored, before the hours of prediction
    columns = _detections(file, coco, sizes, places.pictures) if file else _ground_truth(content, images, points)
    return Task(benchmark, points, content, files, sizes, *columns, annotations, file, images)


def picture_files(coco: Coco, folder: Path, annotations: Path, prefix: str = "") -> dict[Any, Path]:
    """Image id -> picture, also under a name that means the same; `InputError` for an entry without id or file_name."""
    if problems := [*coco.problems, *coco.without_name()]:
        raise InputError(f"{annotations}: {problems[0]}")
    names = [str(image.file_name).removeprefix(prefix) for image in coco.images.values()]
    return dict(zip(coco.images, picture_paths(names, folder), strict=True))


def check_pictures(files: Mapping[Any, Path]) -> None:
    """Raise `InputError` if a picture is missing."""
    if absent := [path for path in files.values() if not path.is_file()]:
        raise InputError(
            f"{len(absent)} of {len(files)} pictures are missing, such as {absent[0]}: give their folder with --images"
        )


def _check_predicted(predicted: str, scored: KeypointSet, annotations: Path) -> None:
    """Raise `InputError` for another keypoint set; the body of a whole body is COCO's 17 points."""
    same = predicted == scored.name or (predicted, scored.name) == (WHOLEBODY, BODY)
    if not same and len(scored) in {len(each) for each in KEYPOINT_SETS.values()}:
        raise InputError(
            f"the model predicts {predicted!r}, but {annotations} has {scored.name!r}: give the right set with "
            "--keypoint-set"
        )


def _expected(root: Path, place: str, what: str, benchmark: Benchmark) -> Path:
    path = root / place
    if path.is_dir() if what == "images" else path.is_file():
        return path
    where = "".join(f"; {line}" for line in benchmark.where)
    raise InputError(f"{benchmark.name}: no {what} at {path}: put them there, or give their place with --{what}{where}")


def _first_pictures(content: dict[str, Any], count: int | None) -> dict[str, Any]:
    if count is None:
        return content
    first = {**content, "images": content["images"][:count]}
    return {**first, "annotations": [each.entry for each in Coco.of(first).annotations]}


def _custom_set(content: Mapping[str, Any], name: str | None, predicted: str) -> KeypointSet:
    categories: Sequence[Mapping[str, Any]] = content.get("categories", ())
    named = any(category.get("keypoints") for category in categories)
    if name is None and predicted == WHOLEBODY and "foot_kpts" in next(iter(content["annotations"]), ()):
        return COCO_WHOLEBODY_133  # its files name only the 17 points of the body
    if name is None and not named:
        return find_keypoint_set(predicted, categories)
    return find_keypoint_set(name or FROM_ANNOTATIONS, categories)


def _ground_truth(
    content: Mapping[str, Any], images: Path, keypoint_set: KeypointSet
) -> tuple[np.ndarray, np.ndarray, tuple]:
    """Boxes of the labeled people, clipped to the picture, with score 1."""
    people, problems = read_people(content, images, keypoint_set)
    for problem in problems:
        log.warning("left out: %s", problem)
    return people.boxes_xyxy, np.ones(len(people)), tuple(people.image_ids.tolist())


def _detections(
    path: Path, coco: Coco, sizes: Mapping[Any, tuple[int, int]], pictures: int | None
) -> tuple[np.ndarray, np.ndarray, tuple]:
    """All people of a file of boxes, without a threshold."""
    found = read_boxes(read_json(path, FORMATS), str(path))
    for note in found.notes:
        log.warning("%s: %s", path, note)
    if found.single:
        raise InputError(f"{path} lists boxes for one picture: expected boxes with the ids or names of the pictures")
    ids = coco.ids_of(found.names)
    inside = [row for row in found.rows if row.picture in ids]
    if len(inside) < len(found.rows) and pictures is None:
        left = len(found.rows) - len(inside)
        log.warning("%d of %d boxes are left out: their pictures are not annotated", left, len(found.rows))
    if not inside:
        raise InputError(
            f"{path}: none of its {len(found.rows)} boxes is in an annotated picture: expected boxes for these "
            "annotations"
        )
    image_ids = tuple(ids[row.picture] for row in inside)
    boxes = np.stack([row.box_xyxy for row in inside])
    if found.are_shares:
        log.warning("%s: the boxes are from 0 to 1: taken as shares of the width and height of the picture", path)
        if unknown := [i for i in image_ids if i not in sizes]:
            raise InputError(f"{path}: the boxes are from 0 to 1, and picture {unknown[0]!r} has no width and height")
        boxes = boxes * np.asarray([[*sizes[i], *sizes[i]] for i in image_ids], np.float32)
    return boxes, np.asarray([row.score for row in inside]), image_ids
