"""Tools that read only a pose video."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from .profile import ExportJob, ExportProfile
from .streams import write_pose_maps


def write(job: ExportJob) -> None:
    write_pose_maps(job, f"{job.name}_pose")


CONTROLNET = ExportProfile(
    tool="ControlNet on video, VACE",
    files="NAME_pose.mp4, or with --codec png NAME_pose/00000.png ...",
    write=write,
    style="controlnet",
)

SCAIL2 = replace(CONTROLNET, tool="SCAIL-2, pose-driven mode", multiple=32, shrink=2, frames="81")
"""`size` is the result's; the pose video has half of it."""

MINIMAX_H3 = replace(CONTROLNET, tool="MiniMax-H3 Fun ControlNet", frames="124", frame_rate=Fraction(24))

LTX = replace(CONTROLNET, tool="LTX IC-LoRA, pose", style="dwpose")
