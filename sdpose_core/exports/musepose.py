"""MusePose: keypoints as .npy, and a pose video without face.

Rules of TMElyralab/MusePose: draw_dwpose.py reads NAME.npy in the keypoint folder with allow_pickle=True, a list of
dicts `bodies` {candidate (18, 2), subset (1, 18)}, `hands` (2, 21, 2), `faces` (1, 68, 2), and draws the first person
at a short side of 1024, downscaled to 768; test_stage_2.py reads the video through PyAV. Coordinates are fractions of
the picture, -1 if unseen; a subset holds the row of each point in candidate, or -1.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_write
from ..openpose.order import PART_SIZES, people
from ..poses import Poses
from .profile import ExportJob, ExportProfile
from .streams import write_with_training_pair


def write(job: ExportJob) -> None:
    write_with_training_pair(job, job.out / "dwpose_without_face" / f"{job.name}.mp4")
    job.add(job.out / "dwpose_keypoints" / f"{job.name}.npy", lambda path: write_keypoints(path, job))


def write_keypoints(path: Path, job: ExportJob) -> None:
    """The object array of dicts that MusePose unpickles; this library never reads such a file."""
    frames = np.empty(len(job.timeline), object)
    for number, poses in enumerate(job.poses()):
        frames[number] = frame_dict(poses, job.min_score(poses))
    with atomic_write(path) as handle:
        handle.write(_npy(frames))


def frame_dict(poses: Poses, threshold: float) -> dict[str, Any]:
    """The first person of a frame as MusePose's dict; all points are -1 if there is nobody."""
    found = people(poses, threshold)[:1]
    parts = found[0].parts() if found else {name: np.zeros((count, 3)) for name, count in PART_SIZES.items()}
    scale = np.asarray(poses.size, np.float64)
    normal = {name: np.where(points[:, 2:] > 0, points[:, :2] / scale, -1.0) for name, points in parts.items()}
    subset = np.where(parts["body"][:, 2] > 0, np.arange(18), -1).astype(np.float64)
    return {
        "bodies": {"candidate": normal["body"].tolist(), "subset": [subset.tolist()]},
        "hands": [normal["left_hand"].tolist(), normal["right_hand"].tolist()],
        "faces": [normal["face"][:68].tolist()],
    }


def _npy(array: np.ndarray) -> bytes:
    """An object array as numpy 1's `numpy.save` writes it.

    The pickle of numpy 2 refers to `numpy._core`, which MusePose's numpy 1 does not have; both know `numpy.core`. The
    dicts hold plain lists, so the replaced bytes cannot be data.
    """
    header = {"descr": "|O", "fortran_order": False, "shape": array.shape}
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + pickle.dumps(array, protocol=2).replace(b"cnumpy._core.", b"cnumpy.core.")


PROFILE = ExportProfile(
    tool="MusePose", files="dwpose_keypoints/NAME.npy, dwpose_without_face/NAME.mp4; with --video NAME_meta.json",
    write=write, style="musepose", one_person=True, short_side=768, multiple=2, drawn_short_side=1024,
)  # fmt: skip
