"""Open-AnimateAnyone: `NAME_dwpose.mp4` at full size, all people, red and blue exchanged.

Rules of guoqincode/Open-AnimateAnyone: data/dataset.py looks for FOLDER_dwpose.mp4 beside FOLDER.mp4 and wants as many
frames of both; DWPose/prepare_tiktok.py draws at the size of the picture and writes the RGB colours as BGR.
"""

from __future__ import annotations

from .profile import ExportProfile, Job
from .streams import write_pose_video


def write(job: Job) -> None:
    job.add(job.out / f"{job.name}_dwpose.mp4", lambda path: write_pose_video(path, job))


PROFILE = ExportProfile(tool="Open-AnimateAnyone", files="NAME_dwpose.mp4", write=write, style="open_animate_anyone")
