"""MimicMotion: the pose maps of its pipeline's `image_pose`, as NAME_pose.npy.

Rules of Tencent/MimicMotion: inference.py takes the size from the reference picture (576 by 1024, or 1024 by 576 for
pictures that are not upright; the picture is cropped to it) and passes float (1 + T, 3, H, W), -1 to 1, the reference's
pose first. `torch.from_numpy(numpy.load(FILE))` gives that tensor.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..files import atomic_write
from .profile import ExportJob, ExportProfile


def write(job: ExportJob) -> None:
    job.add(job.out / f"{job.name}_pose.npy", lambda path: write_tensor(path, job))


def write_tensor(path: Path, job: ExportJob) -> None:
    """float32 (1 + T, 3, h, w), written frame by frame: 7 MB each at the usual size."""
    w, h = job.pose_map_size()
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 + len(job.timeline), 3, h, w)}
    with atomic_write(path) as handle:
        np.lib.format.write_array_header_1_0(handle, header)
        handle.write(_normalized(job.pose_map(job.reference_poses())))
        for pose_map in job.pose_maps():
            handle.write(_normalized(pose_map))


def _normalized(pose_map: np.ndarray) -> bytes:
    return (pose_map.transpose(2, 0, 1) / np.float32(127.5) - 1).astype("<f4").tobytes()


PROFILE = ExportProfile(
    tool="MimicMotion", files="NAME_pose.npy", write=write, style="mimicmotion", one_person=True, size=(576, 1024),
    turned=True, multiple=64, fit="crop", reference="poses",
)  # fmt: skip
