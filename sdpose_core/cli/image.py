"""`sdpose image`: pictures in, pose maps and keypoints out."""

from __future__ import annotations

import argparse
import functools
import glob
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..annotate.pictures import Outcome, PictureOptions, annotate_pictures, output_names
from ..detection.box_files import BoxFile
from ..drawing.styles import check_style
from ..errors import InputError, SDPoseError
from ..images import IMAGE_SUFFIXES
from .arguments import (
    OK,
    SOME_FAILED,
    WRONG_USAGE,
    add_detector_arguments,
    add_drawing_arguments,
    add_estimator_arguments,
    announce,
    color,
    count,
    make_detector,
    make_estimator,
    say,
)


def add_image_parser(commands: Any) -> None:
    sub = commands.add_parser(
        "image",
        help="annotate pictures",
        description="Writes NAME_pose.png, NAME_keypoints.json and NAME.pose.npz per picture. Existing files are kept.",
    )
    sub.add_argument("inputs", nargs="+", metavar="INPUT", help="picture, folder of pictures, or glob pattern")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the results")
    sub.add_argument("--overlay", action="store_true", help="also write NAME_overlay.png: the pose on the picture")
    sub.add_argument("--overwrite", action="store_true", help="redo pictures whose files are there")
    add_estimator_arguments(sub)
    add_detector_arguments(sub)
    add_drawing_arguments(sub)
    group = sub.add_argument_group("reading and writing")
    group.add_argument("--json-scores", action="store_true", help="raw scores in the JSON instead of 1.0 and 0.0")
    group.add_argument("--max-pixels", type=count, metavar="N", help="refuse pictures of more pixels than this")
    group.add_argument(
        "--alpha-color", type=color, metavar="R,G,B", help="colour under transparent pictures (default: white)"
    )
    sub.set_defaults(run=_run_image)


def _run_image(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    try:
        check_style(args.style)
        sources = expand_inputs(args.inputs)
        output_names(sources)
        boxes = BoxFile(args.boxes) if args.boxes else None
        args.out.mkdir(parents=True, exist_ok=True)
    except (SDPoseError, OSError) as error:
        say(f"sdpose image: {error}")
        return WRONG_USAGE
    options = PictureOptions(
        size=args.size, fit=args.fit, style=args.style, parts=args.parts, threshold=args.threshold,
        overlay=args.overlay, json_scores=args.json_scores, overwrite=args.overwrite,
        if_nobody=args.if_nobody or ("full-image" if len(sources) == 1 else "empty"),
        max_pixels=args.max_pixels, background=args.alpha_color,
    )  # fmt: skip

    @functools.cache
    def estimator() -> Any:
        made = make_estimator(args)
        bar.write(announce(made), file=sys.stderr)
        return made

    @functools.cache
    def detector() -> Any:
        return make_detector(args)

    outcomes: list[Outcome] = []
    with tqdm(total=len(sources), unit="picture", disable=len(sources) < 2, file=sys.stderr) as bar:
        for outcome in annotate_pictures(
            sources, args.out, estimator=estimator, detector=detector, options=options, boxes=boxes
        ):
            outcomes.append(outcome)
            bar.write(f"{outcome.source}: {outcome.status}: {outcome.message}", file=sys.stderr)
            bar.update()
    return _summary(outcomes)


def _summary(outcomes: Sequence[Any]) -> int:
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if len(outcomes) > 1:
        kept = sum(outcome.status == "kept" for outcome in outcomes)
        say(f"{len(outcomes) - kept - len(failed)} done, {kept} kept, {len(failed)} failed")
    return SOME_FAILED if failed else OK


def expand_inputs(inputs: Sequence[str]) -> list[Path]:
    """Files for the arguments: a folder stands for the pictures in it, a pattern for what it matches.

    Raises `InputError` for a folder without pictures or a pattern without a match; a missing file is met later.
    """
    found: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            if not pictures:
                raise InputError(f"{path}: no picture in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
            found += pictures
        elif not path.exists() and glob.has_magic(text):
            matches = sorted(Path(match) for match in glob.glob(text, recursive=True))
            if not matches:
                raise InputError(f"{text}: nothing matches this pattern")
            found += [match for match in matches if match.is_file()]
        else:
            found.append(path)
    return list(dict.fromkeys(found))
