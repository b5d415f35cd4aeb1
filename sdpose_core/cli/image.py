"""`sdpose image`: pictures in, pose maps and keypoints out."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..annotate.pictures import Outcome, PictureOptions, annotate_pictures, output_names, same_name
from ..detection.box_files import BoxFile
from ..drawing.styles import check_style
from ..errors import counted, writing
from ..images import IMAGE_SUFFIXES
from ..input_kinds import PICTURES, Elsewhere
from ..inputs import expand
from ..video.frames import VIDEO_SUFFIXES
from ..video.opening import is_video_file
from .arguments import (
    OK,
    SOME_FAILED,
    add_detector_arguments,
    add_drawing_arguments,
    add_estimator_arguments,
    add_out_argument,
    add_presence_arguments,
    announce,
    asked_models,
    check_folder,
    checking_usage,
    color,
    count,
    make_detector,
    make_estimator,
    presence,
    report_inputs,
    say,
    say_result,
    say_where,
)
from .progress import PictureBar
from .sheet import add_sheet_argument, sheet_path, write_picture_sheet

_VIDEOS = Elsewhere("video", VIDEO_SUFFIXES - IMAGE_SUFFIXES, is_video_file, "sdpose video", "sdpose batch")
_PICTURES = replace(PICTURES, elsewhere=_VIDEOS)


def add_parser(commands: Any) -> None:
    """Add `sdpose image` to the commands."""
    sub = commands.add_parser(
        "image",
        help="annotate pictures",
        description="Writes NAME_pose.png, NAME_keypoints.json and NAME.pose.npz. Results of the same picture and "
        "settings are kept; with another style, size or threshold they are drawn again. Results of another picture or "
        "other settings are never replaced without --overwrite.",
    )
    sub.add_argument("inputs", nargs="+", metavar="INPUT", help="picture, folder, glob pattern, or @FILE: a list")
    add_out_argument(sub)
    sub.add_argument("--overlay", action="store_true", help="also write NAME_overlay.png: the pose on the picture")
    sub.add_argument(
        "--compare", action="store_true", help="also write NAME_compare.png: picture, overlay and map side by side"
    )
    add_sheet_argument(sub)
    sub.add_argument("--overwrite", action="store_true", help="replace results, whatever they were made from")
    add_estimator_arguments(sub)
    add_detector_arguments(sub)
    add_presence_arguments(sub)
    add_drawing_arguments(sub)
    group = sub.add_argument_group("reading and writing")
    group.add_argument(
        "--json-scores", action="store_true", help="write raw scores to the OpenPose JSON, not 1.0 and 0.0"
    )
    group.add_argument("--max-pixels", type=count, metavar="N", help="refuse pictures with more pixels")
    group.add_argument(
        "--alpha-color", type=color, metavar="R,G,B", help="color behind transparent pictures (default: white)"
    )
    sub.set_defaults(run=_run_image)


def _run_image(args: argparse.Namespace) -> int:
    with checking_usage():
        check_style(args.style)
        found = expand(args.inputs, _PICTURES, args.out)
        if found.unreadable:
            files = counted(sum(found.unreadable.values()), "file")
            say(f"left out {files} ({', '.join(sorted(found.unreadable))}): convert to JPEG or PNG")
        failed = report_inputs(found.sources, found.failed, found.results, found.left_out, "picture")
        boxes = BoxFile(args.boxes) if args.boxes else None
        _make_folder(args.out)
        sheet = sheet_path(args)
    clashing = same_name([named.source for named in found.sources])
    sources = [named.source for named in found.sources if named.source not in clashing]
    options = PictureOptions(
        size=args.size, fit=args.fit, style=args.style, parts=args.parts, threshold=args.threshold,
        line_width=args.line_width, overlay=args.overlay, compare=args.compare, json_scores=args.json_scores,
        overwrite=args.overwrite, if_nobody=args.if_nobody or "empty", presence=presence(args),
        max_pixels=args.max_pixels, background=args.alpha_color,
    )  # fmt: skip

    bar = PictureBar(len(sources))

    @functools.cache
    def estimator() -> Any:
        bar.doing("loading the model")
        loaded = make_estimator(args)
        say(announce(loaded))
        return loaded

    load_detector_once = functools.cache(lambda: make_detector(args))

    def detector() -> Any:
        bar.doing("finding people")
        return load_detector_once()

    outcomes = [Outcome(source, "failed", _clash(other)) for source, other in clashing.items()]
    for outcome in outcomes:
        say_result(outcome.source, outcome.status, outcome.message)
    with bar:
        for outcome in annotate_pictures(
            sources, args.out, estimator=estimator, detector=detector, options=options, asked=asked_models(args),
            boxes=boxes, on_crops=bar.crops_done,
        ):  # fmt: skip
            outcomes.append(outcome)
            say_result(outcome.source, outcome.status, outcome.message)
            bar.finish_one()
    if sheet:
        write_picture_sheet(sheet, outcomes, output_names(sources, args.out), args)
    code = _summary(outcomes, failed)
    if any(outcome.status != "failed" for outcome in outcomes):
        say_where(args.out)
    return code


def _make_folder(path: Path) -> None:
    with writing(path):
        check_folder(path).mkdir(parents=True, exist_ok=True)


def _clash(other: Path) -> str:
    return f"would write the same files as {other}: annotate them into two folders"


def _summary(outcomes: Sequence[Outcome], no_inputs: int) -> int:
    """Print the numbers; `no_inputs` is the number of arguments that named no input."""
    failed = sum(outcome.status == "failed" for outcome in outcomes) + no_inputs
    if len(outcomes) + no_inputs > 1:
        kept = sum(outcome.status == "kept" for outcome in outcomes)
        say(f"{len(outcomes) + no_inputs - kept - failed} done, {kept} kept, {failed} failed")
    return SOME_FAILED if failed else OK
