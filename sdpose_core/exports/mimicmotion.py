"""MimicMotion: the tensor of pose maps that its pipeline takes as `image_pose`, as NAME_pose.npy.

Rules of Tencent/MimicMotion: inference.py sets the size by the reference picture (576 by 1024, turned for pictures that
are not upright; the picture is cut to it) and passes float (1 + T, 3, H, W), -1 to 1, the reference's pose first.
`torch.from_numpy(numpy.load(FILE))` gives that tensor; no package beyond numpy is needed to read it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..files import atomic_path
from .profile import ExportProfile, Job


def write(job: Job) -> None:
    job.add(job.out / f"{job.name}_pose.npy", lambda path: write_tensor(path, job))


def write_tensor(path: Path, job: Job) -> None:
    """float32 (1 + T, 3, h, w), filled frame by frame on disk."""
    w, h = job.pose_map_size()
    with atomic_path(path) as temporary:
        shape = (1 + len(job.timeline), 3, h, w)
        tensor = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        tensor[0] = _normalised(job.pose_map(job.reference_poses()))
        for number, pose_map in enumerate(job.pose_maps(), start=1):
            tensor[number] = _normalised(pose_map)
        tensor.flush()
        del tensor  # a file that is mapped cannot be renamed on Windows


def _normalised(pose_map: np.ndarray) -> np.ndarray:
    return pose_map.transpose(2, 0, 1) / np.float32(127.5) - 1


PROFILE = ExportProfile(
    tool="MimicMotion",
    files="NAME_pose.npy",
    write=write,
    style="mimicmotion",
    one_person=True,
    size=(576, 1024),
    turned=True,
    multiple=64,
    fit="crop",
    reference="poses",
)
