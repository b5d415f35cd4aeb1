"""Compare pictures and animations made from poses of different estimators (paper, section 6).

    python training/downstream_check.py pictures --pictures DIR --poses SDPose=out_ours --poses DWPose=out_theirs \\
        --base SD15 --controlnet CONTROLNET_OPENPOSE --prompt "a knight in armor" --seeds 0,1 --out CHECK

    python training/downstream_check.py video --driving dance.mp4 --poses SDPose=dance.pose.npz \\
        --poses DWPose=dwpose.mp4 --result SDPose=animated_a.mp4 --result DWPose=animated_b.mp4 --out CHECK

Weights are folders on this machine in diffusers' layout; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sdpose_core.drawing.styles import STYLES
from sdpose_training.downstream.controlnet import ControlNetPictures
from sdpose_training.downstream.options import (
    add_checker,
    add_generation,
    generation_settings,
    load_checker,
    read_prompts,
)
from sdpose_training.downstream.pictures import PictureCheck, compare_pictures, find_pictures
from sdpose_training.downstream.video import VideoCheck, compare_videos
from sdpose_training.options import add_device, check_seeds, exit_status, named_paths, start_log


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error, 2 wrong usage."""
    options = build_parser().parse_args(argv)
    start_log()
    return exit_status("downstream_check", lambda: print(options.run(options)))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="downstream_check.py", description=__doc__.split("\n", 1)[0])
    checks = parser.add_subparsers(required=True, metavar="pictures | video")
    _add_pictures(checks.add_parser("pictures", help="ControlNet pictures with the same prompts and noise"))
    _add_video(checks.add_parser("video", help="animations that a tool made from each pose sequence"))
    return parser


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run_pictures)
    add = parser.add_argument
    add("--pictures", type=Path, required=True, metavar="FOLDER", help="folder of source pictures, or one picture")
    add_generation(parser, required=True)
    add("--as-given", action="store_true", help="use the maps that the estimators drew, even if there are keypoints")
    add_checker(parser, "preview")
    add_device(parser)
    _add_common(parser, "an estimator's folder of NAME.pose.npz, NAME_keypoints.json or NAME.json, or else maps "
        "(NAME_pose.png or NAME.png)")  # fmt: skip


def _add_video(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run_video)
    add = parser.add_argument
    add("--driving", type=Path, required=True, metavar="VIDEO", help="a video, or a folder of frames")
    add("--result", action="append", default=[], metavar="NAME=PATH", help="the video or folder of frames that the "
        "animation tool made from the poses of that name")  # fmt: skip
    add("--height", type=int, default=320, help="panel height in pixels (default: 320)")
    add("--stills", type=int, default=6, help="number of stills on the page (default: 6)")
    _add_common(parser, "a .pose.npz, OpenPose JSON (file or folder), pose video or folder of pose maps")


def _add_common(parser: argparse.ArgumentParser, poses: str) -> None:
    add = parser.add_argument
    add("--poses", action="append", default=[], metavar="NAME=PATH", help=f"{poses}; once per estimator")
    add("--style", choices=list(STYLES), default="controlnet", help="style of maps drawn from keypoints")
    add("--threshold", type=float, default=0.3, help="minimum score of drawn keypoints (default: 0.3)")
    add("--out", type=Path, required=True, metavar="DIR")


def run_pictures(options: argparse.Namespace) -> Path:
    """Compare generated pictures; returns the page."""
    check = PictureCheck(
        find_pictures(options.pictures), named_paths("--poses", options.poses), options.prompt,
        read_prompts(options.prompts), check_seeds(options.seeds, "--seeds"), options.short_side, options.style,
        options.threshold, options.as_given,
    )  # fmt: skip
    settings = generation_settings(options)
    estimator, where = load_checker(options), {"device": options.device, "dtype": options.dtype}
    generate = ControlNetPictures(options.base, options.controlnet, settings, **where)
    return compare_pictures(check, generate, options.out, settings=generate.facts, estimator=estimator)


def run_video(options: argparse.Namespace) -> Path:
    """Compare animations; returns the page."""
    check = VideoCheck(
        options.driving, named_paths("--poses", options.poses), named_paths("--result", options.result),
        options.height, options.stills, options.style, options.threshold,
    )  # fmt: skip
    return compare_videos(check, options.out)


if __name__ == "__main__":
    sys.exit(main())
