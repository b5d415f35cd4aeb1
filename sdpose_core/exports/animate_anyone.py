"""Moore-AnimateAnyone: `NAME_kps.mp4`, and with the source video the list that its training reads.

Rules of MooreThreads/Moore-AnimateAnyone: scripts/pose2vid.py reads all frames and the average rate through PyAV and
cuts `_kps` from the name; src/dwpose/__init__.py draws the person with the best body at a short side of 512 with sides
rounded to multiples of 64; src/dataset/dance_video.py wants as many pose frames as video frames.
"""

from __future__ import annotations

from .profile import ExportProfile, Job
from .streams import write_with_training_pair


def write(job: Job) -> None:
    write_with_training_pair(job, job.out / f"{job.name}_kps.mp4")


PROFILE = ExportProfile(
    tool="Moore-AnimateAnyone",
    files="NAME_kps.mp4; with --video NAME_meta.json",
    write=write,
    style="animate_anyone",
    one_person=True,
    short_side=512,
    multiple=64,
)
