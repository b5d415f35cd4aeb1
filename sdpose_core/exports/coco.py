"""COCO: results for its evaluation, and annotations for training or manual correction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..drawing.backgrounds import open_background
from ..errors import InputError, counted
from ..files import atomic_write
from ..images import IMAGE_SUFFIXES
from ..poses import Poses
from .coco_entries import category, labeled_people, part_fields, point_rows, xywh
from .profile import ExportJob, ExportProfile
from .streams import write_list


def write(job: ExportJob) -> None:
    job.add(job.out / f"{job.name}_results.json", lambda path: write_results(path, job))
    job.add(job.out / f"{job.name}_annotations.json", lambda path: write_annotations(path, job))
    if job.video is not None:
        _write_training_data(job, job.video)


def _write_training_data(job: ExportJob, video: Path) -> None:
    """The pictures of the frames, and annotations for `training/`, see `training_data`."""
    # nodes import the targets when they register: what only this needs is imported here
    from .training_data import THRESHOLD, pictures_in_order, split_frames, write_training_data

    if "retarget" in job.sequence.meta or job.size != job.sequence.size:
        raise InputError(f"the poses were fitted to another canvas than that of {video}: leave out the video")
    frames = sorted(set(job.timeline.nearest.tolist()))
    pictures, notes = open_background(video, job.sequence)
    threshold = THRESHOLD if job.threshold is None else job.threshold
    read = _reporting(pictures_in_order(pictures, job.sequence, video), job, len(frames))
    files = write_training_data(job.sequence, frames, read, job.out, job.name, threshold=threshold)
    job.result.files += [file for file in files if file.suffix != ".png"]
    held = len(split_frames(frames)["val"])
    where = f"{held} of them for val.json" if held else "no val.json, which takes at least two: leave out --data.val-*"
    job.result.note(f"{counted(len(frames), 'picture')} in {job.out / 'images'}; {where}")
    for note in notes:
        job.result.note(note)


def _reporting(read: Callable[[int], np.ndarray], job: ExportJob, count: int) -> Callable[[int], np.ndarray]:
    """The same, which reports progress."""
    done = iter(range(1, count + 1))

    def read_next(t: int) -> np.ndarray:
        picture = read(t)
        if job.on_progress:
            job.on_progress(next(done), count)
        return picture

    return read_next


def write_results(path: Path, job: ExportJob) -> None:
    """A list of {image_id, category_id, keypoints, score, ...} with raw scores."""
    points = job.sequence.skeleton
    entries = (
        {"image_id": image, "category_id": 1, "score": score, "bbox": xywh(box), **part_fields(points, rows)}
        for image, poses in _frames(job)
        for rows, score, box in zip(point_rows(poses), poses.mean_scores().tolist(), poses.boxes, strict=True)
    )
    with atomic_write(path, "w") as handle:
        write_list(handle, entries)


def write_annotations(path: Path, job: ExportJob) -> None:
    """{images, categories, annotations}; points from the threshold up are visible (2), others not labeled (0).

    Pictures have their names if the sequence knows them, see `_file_names`.
    """
    names = zip(_image_ids(job).tolist(), _file_names(job), strict=True)
    with atomic_write(path, "w") as handle:
        handle.write('{"categories": ' + json.dumps([category(job.sequence.skeleton)]) + ', "images": ')
        write_list(handle, (_image(image, name, job.size) for image, name in names))
        handle.write(', "annotations": ')
        write_list(handle, _annotations(job))
        handle.write("}\n")


def _image(image: int, name: str, size: tuple[int, int]) -> dict[str, Any]:
    return {"id": image, "file_name": name, "width": size[0], "height": size[1], "frame_index": image}


def _annotations(job: ExportJob) -> Iterator[dict[str, Any]]:
    number = 0
    for image, poses in _frames(job):
        for person in labeled_people(poses, job.min_score(poses)):
            number += 1  # COCO's evaluation ignores the id 0
            yield {"id": number, "image_id": image, **person}


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


PROFILE = ExportProfile(
    tool="COCO",
    files="NAME_results.json, NAME_annotations.json; with --video images/ and annotations/, for training",
    write=write,
    any_points=True,
)
