"""`sdpose video`: a video in, its pose sequence and pose video out."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping
from typing import Any

from ..annotate.clip import ClipFiles, annotate_clip, clip_name
from ..annotate.clip_options import ClipOptions
from ..batch.inputs import find_items
from ..detection.box_files import BoxFile
from ..errors import InputError, counted
from ..estimation.stage_times import StageTimes
from ..inputs import is_result, pictures_in
from ..names import output_name
from ..poses import PoseSequence
from ..sequences.doubts import in_words
from ..video.writer import CODECS
from . import arguments
from .arguments import (
    INTERRUPTED,
    OK,
    add_out_argument,
    announce,
    check_folder,
    checking_usage,
    make_estimator,
    say,
    say_result,
    say_where,
    say_which_is_which,
)
from .check import summary
from .clip_arguments import add_clip_arguments, asked_clip_models, clip_options, make_clip_detector
from .progress import Bar

WORST = 3
"""Frames that `--check` names."""


def add_parser(commands: Any) -> None:
    """Add `sdpose video` to the commands."""
    sub = commands.add_parser(
        "video",
        help="annotate a video",
        description="Writes NAME_kps.mp4 (the poses on black, lossless, for tools), NAME_kps_play.mp4 (a copy to look "
        "at) and NAME.pose.npz. Run the same command again to resume after a stop. Results of the same video and "
        "settings are kept; with another style or size they are drawn again. Results of another video or other "
        "settings are never replaced without --overwrite.",
    )
    sub.add_argument(
        "input", type=arguments.path, metavar="INPUT", help="video, animated picture, or folder of pictures"
    )
    add_out_argument(sub)
    sub.takes_one = "'sdpose batch' takes several videos"
    add_clip_arguments(sub)
    sub.add_argument("--profile", action="store_true", help="print how long each stage was busy and idle")
    sub.set_defaults(run=_run_video)


def _refuse_others(args: argparse.Namespace) -> None:
    """Raise `InputError` for a picture and for a folder of videos, with the command that takes it."""
    if not os.path.exists(args.input) or (os.path.isdir(args.input) and pictures_in(args.input)):
        return
    found = find_items([str(args.input)], args.out)
    if os.path.isfile(args.input) and found.failed:
        raise InputError(": ".join(found.failed[0]))
    if os.path.isdir(args.input) and found.items:
        command = f"sdpose batch {shlex.quote(str(args.input))} -o {shlex.quote(str(args.out))}"
        what = f"a folder of {counted(len(found.items), 'video')}"
        raise InputError(f"{args.input} is {what}: expected a video or a folder of pictures; run: {command}")


def _run_video(args: argparse.Namespace) -> int:
    with checking_usage():
        options = clip_options(args)
        check_folder(args.out)
        if is_result(args.input):
            raise InputError(f"{args.input} is a result of sdpose: name the video that it was made from")
        _refuse_others(args)
        boxes = BoxFile(args.boxes) if args.boxes else None
    times = StageTimes() if args.profile else None

    def estimator() -> Any:
        loaded = make_estimator(args)
        say(announce(loaded))
        return loaded

    with Bar() as bar:
        try:
            outcome = annotate_clip(
                args.input, args.out, estimator=estimator, detector=lambda: make_clip_detector(args), options=options,
                asked=asked_clip_models(args), boxes=boxes, on_progress=bar.shows("poses"),
                on_crops=bar.show_crops, on_chunk=bar.show_people, on_draw=bar.shows("drawing"), times=times,
            )  # fmt: skip
        except KeyboardInterrupt:
            bar.close()
            partial = ClipFiles(args.out, output_name(clip_name(args.input), args.out)).partial
            done = len(PoseSequence.load(partial)) if os.path.exists(partial) else 0
            so_far = f"finished frames in {partial}: {done}" if done else "no frame is finished"
            say(f"sdpose video: stopped; {so_far}; run the same command again to resume")
            return INTERRUPTED
    say_result(outcome.source, outcome.status, outcome.message)
    if outcome.distrust:
        _say_what_to_check(outcome.distrust, ClipFiles(args.out, outcome.name), args)
    _say_what_is_for_what(ClipFiles(args.out, outcome.name, options.codec), options)
    say_where(args.out)
    if times is not None:
        print(times.table() if times.wall_seconds else "no profile: there was nothing to estimate")
    return OK


def _say_what_to_check(found: Mapping[str, Any], files: ClipFiles, args: argparse.Namespace) -> None:
    say(f"check: {summary(found)}")
    for doubt in found["worst"][:WORST]:
        say(f"  {in_words(doubt)}")
    if found["frames"] > WORST:
        say(f"  and {found['frames'] - WORST} more")
    if found["worst"]:
        words = [files.sequence, "--pictures" if os.path.isdir(args.input) else "--video", args.input]
        say(f"look at them with: sdpose review {' '.join(shlex.quote(str(word)) for word in words)}")


def _say_what_is_for_what(files: ClipFiles, options: ClipOptions) -> None:
    if not CODECS[options.codec].plays:
        to_look_at = [file for file, output in files.drawings(options).items() if output.for_eyes]
        say_which_is_which(files.pose_video, to_look_at)
