"""AnimateAnyone's two open implementations.

Moore-AnimateAnyone (MooreThreads/Moore-AnimateAnyone): scripts/pose2vid.py reads all frames and the average rate
through PyAV and strips `_kps` from the name; src/dwpose/__init__.py draws the person with the best body at a short side
of 512 with sides rounded to multiples of 64; src/dataset/dance_video.py needs one pose frame per video frame.

Open-AnimateAnyone (guoqincode/Open-AnimateAnyone): data/dataset.py expects FOLDER_dwpose.mp4 beside FOLDER.mp4, with
equal numbers of frames; DWPose/prepare_tiktok.py draws all people at the picture's size and writes RGB colors as BGR.
"""

from __future__ import annotations

from .profile import ExportJob, ExportProfile
from .streams import write_pose_video, write_with_training_pair


def write(job: ExportJob) -> None:
    write_with_training_pair(job, job.out / f"{job.name}_kps.mp4")


def write_open(job: ExportJob) -> None:
    job.add(job.out / f"{job.name}_dwpose.mp4", lambda path: write_pose_video(path, job))


PROFILE = ExportProfile(
    tool="Moore-AnimateAnyone", files="NAME_kps.mp4; with --video NAME_meta.json", write=write,
    style="animate_anyone", one_person=True, short_side=512, multiple=64,
)  # fmt: skip

OPEN_PROFILE = ExportProfile(
    tool="Open-AnimateAnyone", files="NAME_dwpose.mp4", write=write_open, style="open_animate_anyone"
)
