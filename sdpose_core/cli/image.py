"""`sdpose image`: pictures in, pose maps and keypoints out."""

from __future__ import annotations

import argparse
import functools
import glob
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..annotate.pictures import Outcome, PictureOptions, annotate_pictures, output_names
from ..detection.box_files import BoxFile
from ..drawing.styles import check_style
from ..errors import InputError
from ..images import IMAGE_SUFFIXES
from .arguments import (
    OK,
    SOME_FAILED,
    add_detector_arguments,
    add_drawing_arguments,
    add_estimator_arguments,
    announce,
    asked_models,
    checking_usage,
    color,
    count,
    make_detector,
    make_estimator,
    say,
)


def add_parser(commands: Any) -> None:
    """Add `sdpose image` to the commands."""
    sub = commands.add_parser(
        "image",
        help="annotate pictures",
        description="Writes NAME_pose.png, NAME_keypoints.json and NAME.pose.npz. Results of the same picture and "
        "settings are kept; with another style, size or threshold they are drawn again. Results of another picture or "
        "other settings are never replaced without --overwrite.",
    )
    sub.add_argument("inputs", nargs="+", metavar="INPUT", help="picture, folder of pictures, or glob pattern")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the results")
    sub.add_argument("--overlay", action="store_true", help="also write NAME_overlay.png: the pose on the picture")
    sub.add_argument("--overwrite", action="store_true", help="replace results, whatever they were made from")
    add_estimator_arguments(sub)
    add_detector_arguments(sub)
    add_drawing_arguments(sub)
    group = sub.add_argument_group("reading and writing")
    group.add_argument("--json-scores", action="store_true", help="write raw scores to the JSON, not 1.0 and 0.0")
    group.add_argument("--max-pixels", type=count, metavar="N", help="refuse pictures with more pixels")
    group.add_argument(
        "--alpha-color", type=color, metavar="R,G,B", help="color behind transparent pictures (default: white)"
    )
    sub.set_defaults(run=_run_image)


def _run_image(args: argparse.Namespace) -> int:
    with checking_usage():
        check_style(args.style)
        sources = expand_inputs(args.inputs)
        output_names(sources)
        boxes = BoxFile(args.boxes) if args.boxes else None
        _make_folder(args.out)
    options = PictureOptions(
        size=args.size, fit=args.fit, style=args.style, parts=args.parts, threshold=args.threshold,
        overlay=args.overlay, json_scores=args.json_scores, overwrite=args.overwrite,
        if_nobody=args.if_nobody or ("full-image" if len(sources) == 1 else "empty"),
        max_pixels=args.max_pixels, background=args.alpha_color,
    )  # fmt: skip

    @functools.cache
    def estimator() -> Any:
        loaded = make_estimator(args)
        say(announce(loaded))
        return loaded

    @functools.cache
    def detector() -> Any:
        return make_detector(args)

    outcomes: list[Outcome] = []
    with tqdm(total=len(sources), unit="picture", disable=len(sources) < 2, file=sys.stderr) as bar:
        for outcome in annotate_pictures(
            sources, args.out, estimator=estimator, detector=detector, options=options, asked=asked_models(args),
            boxes=boxes,
        ):  # fmt: skip
            outcomes.append(outcome)
            say(f"{outcome.source}: {outcome.status}: {outcome.message}")
            bar.update()
    return _summary(outcomes)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {path}: {error.strerror or error}") from None


def _summary(outcomes: Sequence[Outcome]) -> int:
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if len(outcomes) > 1:
        kept = sum(outcome.status == "kept" for outcome in outcomes)
        say(f"{len(outcomes) - kept - len(failed)} done, {kept} kept, {len(failed)} failed")
    return SOME_FAILED if failed else OK


def expand_inputs(inputs: Sequence[str]) -> list[Path]:
    """The files named by the arguments: pictures, all pictures of a folder, or all matches of a pattern.

    Raises `InputError` for a folder without pictures and for a pattern without matches. Files are not checked.
    """
    found: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            pictures = _pictures_in(path)
            if not pictures:
                raise InputError(f"{path}: no pictures in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
            found += pictures
        elif not path.exists() and glob.has_magic(text):
            matches = sorted(Path(match) for match in glob.glob(text, recursive=True))
            if not matches:
                raise InputError(f"{text}: nothing matches this pattern")
            found += [match for match in matches if match.is_file()]
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def _pictures_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}: {error.strerror or error}") from None
