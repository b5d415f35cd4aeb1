"""COCO: results for its evaluation, and annotations for training or manual correction.

Whole bodies follow COCO-WholeBody: the first 17 points are `keypoints`, the others `foot_kpts`, `face_kpts`,
`lefthand_kpts` and `righthand_kpts`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import atomic_write
from ..images import IMAGE_SUFFIXES
from ..poses import Poses
from ..skeletons import KEYPOINT_SETS, KeypointSet
from .profile import ExportJob, ExportProfile
from .streams import write_list

_NAME_OF = {"feet": "foot", "face": "face", "left_hand": "lefthand", "right_hand": "righthand"}


def write(job: ExportJob) -> None:
    if job.sequence.keypoint_set not in KEYPOINT_SETS:
        raise InputError(f"coco: expected coco_17 or coco_wholebody_133, got {job.sequence.keypoint_set!r}")
    job.add(job.out / f"{job.name}_results.json", lambda path: write_results(path, job))
    job.add(job.out / f"{job.name}_annotations.json", lambda path: write_annotations(path, job))


def write_results(path: Path, job: ExportJob) -> None:
    """A list of {image_id, category_id, keypoints, score, ...} with raw scores."""
    points = KEYPOINT_SETS[job.sequence.keypoint_set]
    entries = (
        {"image_id": image, "category_id": 1, "score": score, "bbox": _xywh(box), **_parts(points, rows)}
        for image, poses in _frames(job)
        for rows, score, box in zip(_rows(poses), poses.mean_scores().tolist(), poses.boxes, strict=True)
    )
    with atomic_write(path, "w") as handle:
        write_list(handle, entries)


def write_annotations(path: Path, job: ExportJob) -> None:
    """{images, categories, annotations}; points from the threshold up are visible (2), others not labeled (0).

    Pictures have their names if the sequence knows them, see `_file_names`.
    """
    points = KEYPOINT_SETS[job.sequence.keypoint_set]
    links = [[a + 1, b + 1] for a, b in points.links if a < 17 and b < 17]
    category = {"id": 1, "name": "person", "keypoints": list(points.names[:17]), "skeleton": links}
    names = zip(_image_ids(job).tolist(), _file_names(job), strict=True)
    with atomic_write(path, "w") as handle:
        handle.write('{"categories": ' + json.dumps([category]) + ', "images": ')
        write_list(handle, (_image(image, name, job.size) for image, name in names))
        handle.write(', "annotations": ')
        write_list(handle, _annotations(job, points))
        handle.write("}\n")


def _image(image: int, name: str, size: tuple[int, int]) -> dict[str, Any]:
    return {"id": image, "file_name": name, "width": size[0], "height": size[1], "frame_index": image}


def _annotations(job: ExportJob, points: KeypointSet) -> Iterator[dict[str, Any]]:
    number = 0
    for image, poses in _frames(job):
        assert poses.track_ids is not None
        for rows, box, track in zip(_rows(poses), poses.boxes, poses.track_ids, strict=True):
            number += 1  # COCO's evaluation ignores the id 0
            rows = np.where(rows[:, 2:] >= job.min_score(poses), rows, 0)
            rows[:, 2] = np.where(rows[:, 2] > 0, 2, 0)
            x, y, w, h = _xywh(box)
            yield {
                "id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "bbox": [x, y, w, h], "area": w * h,
                "num_keypoints": int((rows[:17, 2] > 0).sum()), "track_id": int(track),
                **_parts(points, rows, valid=True),
            }  # fmt: skip


def _image_ids(job: ExportJob) -> np.ndarray:
    """(T,) frame numbers in the source; numbers in the export if a frame is repeated, since ids are unique."""
    ids = job.sequence.frame_index[job.timeline.nearest]
    return ids if len(np.unique(ids)) == len(ids) else np.arange(len(ids))


def _file_names(job: ExportJob) -> list[str]:
    """The picture of each frame: its own name for pictures, otherwise NAME_000000.png by image id, with a note."""
    sequence, frames = job.sequence, job.timeline.nearest.tolist()
    known = sequence.meta.get("frame_names")
    if known is None and len(sequence) == 1 and Path(str(sequence.meta.get("source"))).suffix.lower() in IMAGE_SUFFIXES:
        known = [sequence.meta["source"]]
    fitted = "retarget" in sequence.meta or job.size != sequence.size
    if known is not None and len(known) == len(sequence) and not fitted:
        return [str(known[frame]) for frame in frames]
    names = [f"{job.name}_{image:06d}.png" for image in _image_ids(job).tolist()]
    why = "the poses were fitted to another canvas" if fitted else "the sequence does not state file names"
    which = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    job.result.note(f"pictures are named by frame number, {which}: {why}")
    return names


def _frames(job: ExportJob) -> Iterator[tuple[int, Poses]]:
    return zip(_image_ids(job).tolist(), job.poses(), strict=True)


def _rows(poses: Poses) -> np.ndarray:
    """(P, K, 3) x, y, raw score; absent points are 0."""
    rows = np.concatenate([poses.keypoints, poses.scores[..., None]], axis=-1)
    return np.where(np.isfinite(poses.keypoints).all(-1, keepdims=True), rows, 0)


def _parts(points: KeypointSet, rows: np.ndarray, valid: bool = False) -> dict[str, Any]:
    """`keypoints` and the other parts; with `valid` also whether a part has any point."""
    entry: dict[str, Any] = {"keypoints": _floats(rows[:17])}
    for part, name in _NAME_OF.items():
        if part in points.parts:
            entry[f"{name}_kpts"] = _floats(rows[list(points.parts[part])])
            if valid:
                entry[f"{name}_valid"] = bool((rows[list(points.parts[part]), 2] > 0).any())
    return entry


def _floats(rows: np.ndarray) -> list[float]:
    return [round(value, 3) for value in rows.ravel().tolist()]


def _xywh(box: np.ndarray) -> list[float]:
    x1, y1, x2, y2 = np.nan_to_num(box[:4]).tolist()
    return [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]


PROFILE = ExportProfile(tool="COCO", files="NAME_results.json, NAME_annotations.json", write=write)
