"""UniAnimate: a folder of pose maps 0000.jpg ... and ref_pose.jpg.

Rules of ali-vilab/UniAnimate: run_align_pose.py draws 512 by 768, without face, with toes, and writes RGB colors as
BGR; tools/inferences/inference_unianimate_entrance.py reads every file but ref_pose.jpg as a frame, sorted by name, and
stretches pictures and pose maps alike.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..folders import atomic_folder
from ..origins import marked_files
from .profile import ExportJob, ExportProfile


def write(job: ExportJob) -> None:
    job.add(job.out / job.name, lambda path: write_folder(path, job))


def write_folder(path: Path, job: ExportJob) -> None:
    digits = max(4, len(str(len(job.timeline) - 1)))  # names sort as numbers do
    with atomic_folder(path, marked_files("*.jpg")) as folder:
        for number, pose_map in enumerate(job.pose_maps()):
            _write_jpg(folder / f"{number:0{digits}d}.jpg", pose_map, job.mark())
        _write_jpg(folder / "ref_pose.jpg", job.pose_map(job.reference_poses()), job.mark())


def _write_jpg(path: Path, rgb: np.ndarray, mark: str) -> None:
    from PIL import Image

    Image.fromarray(rgb).save(path, quality=95, subsampling=0, comment=mark)


PROFILE = ExportProfile(
    tool="UniAnimate", files="NAME/0000.jpg ..., NAME/ref_pose.jpg", write=write, style="unianimate", one_person=True,
    size=(512, 768), reference="poses",
)  # fmt: skip
