"""`sdpose video`, `sdpose draw` and `sdpose info`. This file prints; the library logs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..detection.box_files import BoxFile
from ..errors import SDPoseError
from ..estimation.stage_times import StageTimes
from ..poses import PoseSequence
from .arguments import INTERRUPTED, OK, WRONG_USAGE, announce, make_estimator, say
from .clip_arguments import add_clip_arguments, clip_options, make_clip_detector
from .progress import Bar
from .sequence import add_draw_parser, add_info_parser


def add_parser(commands: Any) -> None:
    """Add the three commands."""
    _add_video(commands)
    add_draw_parser(commands)
    add_info_parser(commands)


def _add_video(commands: Any) -> None:
    sub = commands.add_parser(
        "video",
        help="annotate a video",
        description="Writes NAME_kps.mp4 (the poses on black, lossless) and NAME.pose.npz. A run that was stopped goes "
        "on when the same command is run again; finished files are kept.",
    )
    sub.add_argument("input", type=Path, metavar="INPUT", help="video, animated picture, or folder of pictures")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the results")
    add_clip_arguments(sub)
    sub.add_argument(
        "--profile", action="store_true", help="print how long each stage of estimating the poses was busy and idle"
    )
    sub.set_defaults(run=_run_video)


def _run_video(args: argparse.Namespace) -> int:
    from ..annotate.clip import ClipFiles, annotate_clip, clip_name

    try:
        options = clip_options(args)
        boxes = BoxFile(args.boxes) if args.boxes else None
    except SDPoseError as error:
        say(f"sdpose video: {error}")
        return WRONG_USAGE

    times = StageTimes() if args.profile else None

    def estimator() -> Any:
        made = make_estimator(args)
        say(announce(made))
        return made

    with Bar() as bar:
        try:
            outcome = annotate_clip(
                args.input, args.out, estimator=estimator, detector=lambda: make_clip_detector(args), options=options,
                boxes=boxes, on_progress=bar.shows("poses"), on_chunk=bar.show_people, on_draw=bar.shows("drawing"),
                times=times,
            )  # fmt: skip
        except KeyboardInterrupt:
            bar.close()
            partial = ClipFiles(args.out, clip_name(args.input)).partial
            done = len(PoseSequence.load(partial)) if partial.exists() else 0
            so_far = f"the {done} frames so far are in {partial}" if done else "no part of it is finished yet"
            say(f"sdpose video: stopped; {so_far}; run the same command again to go on")
            return INTERRUPTED
    say(f"{outcome.source}: {outcome.status}: {outcome.message}")
    if times is not None:
        print(times.table() if times.wall_seconds else "no profile: nothing had to be estimated")
    return OK
