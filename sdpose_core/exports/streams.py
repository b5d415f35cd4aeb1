"""Writers shared by several targets: pose videos, folders of pictures, JSON lists."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import InputError
from ..files import atomic_write
from ..folders import atomic_folder
from ..images import write_png
from ..origins import MARK, marked_files
from ..video.opening import frame_count
from ..video.writer import SUFFIX, VideoWriter
from .profile import ExportJob


def write_frames(path: Path, frames: Iterable[np.ndarray], size: tuple[int, int], job: ExportJob, codec: str) -> None:
    """A video of RGB frames of `size` (w, h) at the job's rate, one at a time."""
    with VideoWriter(path, size, job.frame_rate, codec=codec, comment=job.mark()) as writer:
        for frame in frames:
            writer.write(frame)
    for note in writer.notes:
        job.result.note(note)


def write_pose_video(path: Path, job: ExportJob) -> None:
    """The pose video of a job, in its codec."""
    if job.codec == "png":
        raise InputError(f"codec png: {job.profile.tool} reads a video; choose lossless or h264")
    write_frames(path, job.pose_maps(), job.pose_map_size(), job, job.codec)


def write_pose_maps(job: ExportJob, stem: str) -> None:
    """OUT/STEM.mp4 (.mkv for ffv1), or with the codec "png" the folder OUT/STEM of 00000.png, 00001.png, ..."""

    def write_pngs(path: Path) -> None:
        with atomic_folder(path, marked_files("*.png")) as folder:
            for number, pose_map in enumerate(job.pose_maps()):
                write_png(folder / f"{number:05d}.png", pose_map, {MARK: job.mark()})

    if job.codec == "png":
        job.add(job.out / stem, write_pngs)
    else:
        job.add(job.out / f"{stem}{SUFFIX.get(job.codec, '.mp4')}", lambda path: write_pose_video(path, job))


def write_with_training_pair(job: ExportJob, pose_video: Path) -> None:
    """The pose video and, if the source video is given, OUT/NAME_meta.json: `[{"video_path", "kps_path"}]`.

    Raises `InputError` before writing unless both videos have the same number of frames, which training requires.
    """
    video = job.video
    if video is not None and (frames := frame_count(video)) != len(job.timeline):
        raise InputError(
            f"{video} has {frames} frames and the pose video {len(job.timeline)}, but training needs equal numbers: "
            "export poses of every frame with their own number of frames and frame rate, or leave out the video"
        )
    job.add(pose_video, lambda path: write_pose_video(path, job))
    if video is not None:
        pair = {"video_path": str(video.resolve()), "kps_path": str(pose_video.resolve())}
        job.add(job.out / f"{job.name}_meta.json", lambda path: _write_json(path, [pair]))


def _write_json(path: Path, value: Any) -> None:
    with atomic_write(path, "w") as handle:
        handle.write(json.dumps(value) + "\n")


def write_list(handle: IO[str], entries: Iterable[Any]) -> None:
    """A JSON list, one entry at a time."""
    handle.write("[")
    for number, entry in enumerate(entries):
        handle.write(",\n" if number else "\n")
        json.dump(entry, handle, allow_nan=False)
    handle.write("\n]")
