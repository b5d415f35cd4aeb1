"""The pictures of a figure and the people in them: free pictures with a detector, or annotated ones with truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.detection.loading import load_detector
from sdpose_core.detection.people import find_people
from sdpose_core.errors import InputError
from sdpose_core.images import read_image
from sdpose_training.data.annotations import only_pictures
from sdpose_training.data.pictures import read_picture
from sdpose_training.data.truth import Truth, read_truth
from sdpose_training.downstream.pictures import find_pictures
from sdpose_training.evaluation.protocols import find_benchmark
from sdpose_training.evaluation.tasks import Places, Task, check_pictures, load_task


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and the boxes in which every estimator looks.

    Attributes:
        image_id: of the annotations; the file's name for a free picture.
        size: (w, h) as annotated, None if not known.
        boxes: (N, 5) x1, y1, x2, y2 in pixels, score.
        box_ids: (N,) number of each box among all boxes.
    """

    file: Path
    image_id: Any
    size: tuple[int, int] | None
    boxes: np.ndarray
    box_ids: np.ndarray

    def read(self) -> np.ndarray:
        """RGB uint8 (H, W, 3). `InputError` if it cannot be read."""
        return read_image(self.file) if self.size is None else read_picture(self.file, self.size)


@dataclass(frozen=True, eq=False)
class Scenes:
    """The scenes of a figure, where they are from in words, and if annotated `task` and `truth` (of these alone)."""

    scenes: Sequence[Scene]
    origin: tuple[str, ...]
    task: Task | None = None
    truth: Truth | None = None


def free_scenes(places: Sequence[Path], detector: str = "yolox") -> Scenes:
    """Pictures (files or folders) with the people that a detector finds. `InputError` if there is no picture."""
    files = [file for place in places for file in find_pictures(place)]
    finder = load_detector(detector)
    scenes, first = [], 0
    for file in files:
        boxes = find_people(finder, read_image(file)).boxes
        scenes.append(Scene(file, file.name, None, boxes, np.arange(first, first + len(boxes))))
        first += len(boxes)
    found = sum(len(scene.boxes) for scene in scenes)
    who = f"{found} {'person' if found == 1 else 'people'} found by {finder.name}; no annotations, so no marks"
    return Scenes(scenes, (f"{len(files)} pictures as given. Boxes: {who}.",))


def annotated_scenes(places: Places, *, count: int, seed: int = 0, keypoint_set: str | None = None) -> Scenes:
    """`count` annotated pictures with boxes, drawn at random by `seed`, in the order of the file.

    Args:
        places: as for the benchmark "custom": annotations, pictures, boxes (None: those of the annotations).
        keypoint_set: of the annotations; None: the one that they name.

    Raises `InputError` as `load_task`, and for missing pictures.
    """
    task = load_task(find_benchmark("custom"), places, keypoint_set or "coco_17", keypoint_set)
    ids = list(dict.fromkeys(task.image_ids))
    chosen = np.random.default_rng(seed).choice(len(ids), min(count, len(ids)), replace=False)
    wanted = [ids[i] for i in sorted(chosen.tolist())]
    check_pictures({key: task.files[key] for key in wanted})
    scenes = [_scene(task, image_id) for image_id in wanted]
    names = {str(image["file_name"]) for image in task.content["images"] if image["id"] in set(wanted)}
    truth = read_truth(only_pictures(task.content, names), task.keypoint_set)
    boxes = f"of {task.boxes.name}" if task.boxes else "annotated"
    how = "all" if len(wanted) == len(ids) else f"drawn at random (seed {seed}) from"
    origin = f"{len(wanted)} pictures, {how} {len(ids)} with boxes in {task.annotations.name}. Boxes: {boxes}."
    return Scenes(scenes, (origin,), task, truth)


def _scene(task: Task, image_id: Any) -> Scene:
    rows = np.array([row for row, each in enumerate(task.image_ids) if each == image_id])
    boxes = np.concatenate([task.boxes_xyxy[rows], task.box_scores[rows, None]], axis=1).astype(np.float32)
    return Scene(task.files[image_id], image_id, task.sizes.get(image_id), boxes, rows)


def need_scenes(pictures: Sequence[Path], root: Path | None) -> None:
    """`InputError` unless exactly one kind of pictures is given."""
    if bool(pictures) == (root is not None):
        raise InputError("expected either --pictures PLACE... (free pictures) or --data.root DIR (annotated ones)")
