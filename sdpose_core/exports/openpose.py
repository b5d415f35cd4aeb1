"""OpenPose: one JSON file per frame, named as OpenPose names them, see `openpose.writer.write_openpose_json`."""

from __future__ import annotations

from pathlib import Path

from ..folders import atomic_folder
from ..openpose.writer import write_openpose_json
from ..origins import marked_files
from .profile import ExportJob, ExportProfile


def write(job: ExportJob) -> None:
    job.add(job.out / f"{job.name}_openpose", lambda path: write_folder(path, job))


def write_folder(path: Path, job: ExportJob) -> None:
    with atomic_folder(path, marked_files("*_keypoints.json")) as folder:
        for number, poses in enumerate(job.poses()):
            file = folder / f"{job.name}_{number:012d}_keypoints.json"
            write_openpose_json(file, poses, threshold=job.min_score(poses), mark=job.mark())


PROFILE = ExportProfile(tool="OpenPose JSON", files="NAME_openpose/NAME_000000000000_keypoints.json ...", write=write)
