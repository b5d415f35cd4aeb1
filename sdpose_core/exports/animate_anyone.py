"""AnimateAnyone's two open implementations, which read pose videos of different looks.

Moore-AnimateAnyone (MooreThreads/Moore-AnimateAnyone): scripts/pose2vid.py reads all frames and the average rate
through PyAV and cuts `_kps` from the name; src/dwpose/__init__.py draws the person with the best body at a short side
of 512 with sides rounded to multiples of 64; src/dataset/dance_video.py wants as many pose frames as video frames.

Open-AnimateAnyone (guoqincode/Open-AnimateAnyone): data/dataset.py looks for FOLDER_dwpose.mp4 beside FOLDER.mp4 and
wants as many frames of both; DWPose/prepare_tiktok.py draws all people at the size of the picture and writes the RGB
colors as BGR.
"""

from __future__ import annotations

from .profile import ExportJob, ExportProfile
from .streams import write_pose_video, write_with_training_pair


def write(job: ExportJob) -> None:
    write_with_training_pair(job, job.out / f"{job.name}_kps.mp4")


def write_open(job: ExportJob) -> None:
    job.add(job.out / f"{job.name}_dwpose.mp4", lambda path: write_pose_video(path, job))


PROFILE = ExportProfile(
    tool="Moore-AnimateAnyone",
    files="NAME_kps.mp4; with --video NAME_meta.json",
    write=write,
    style="animate_anyone",
    one_person=True,
    short_side=512,
    multiple=64,
)

OPEN_PROFILE = ExportProfile(
    tool="Open-AnimateAnyone", files="NAME_dwpose.mp4", write=write_open, style="open_animate_anyone"
)
