"""`sdpose import`: annotations of other tools as a pose sequence."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, counted
from ..files import same_again
from ..images import IMAGE_SUFFIXES
from ..imports.reading import EXPECTED, import_poses
from ..origins import INSTEAD, OtherOrigin
from ..poses import PoseSequence, count_people
from ..video.frames import VIDEO_SUFFIXES
from ..video.opening import open_video
from ..video.pictures import PictureFolder
from . import arguments
from .arguments import OK, checking_usage, say, show_path, size
from .clip_arguments import rate
from .pose_files import SUFFIX, read_sequence, sequence_name, size_of


def add_parser(commands: Any) -> None:
    """Add `sdpose import` to the commands."""
    sub = commands.add_parser(
        "import",
        help="read annotations of other tools as a pose sequence",
        description=f"Reads {EXPECTED}, also a folder of it, and writes a .pose.npz. Points of COCO's 17 or "
        "COCO-WholeBody's 133 are found by their names; labeled points have score 1.",
    )
    sub.add_argument("file", type=arguments.path, metavar="FILE", help="the annotations")
    sub.add_argument(
        "-o", "--out", type=arguments.path, metavar="OUT", help=f"(default: beside FILE, with the suffix {SUFFIX})"
    )
    sub.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    sub.add_argument(
        "--video", type=arguments.path, metavar="SOURCE",
        help="the video or the folder of pictures: for the size and the frame rate, and for the numbers of pictures",
    )  # fmt: skip
    sub.add_argument(
        "--canvas", type=size, metavar="WxH",
        help="size of the pictures, for files that do not state it; of pictures of several sizes, only these are read",
    )  # fmt: skip
    sub.add_argument("--frame-rate", type=rate, metavar="R", help="frames per second (default: SOURCE's, or 25)")
    sub.set_defaults(run=_run_import)


def _run_import(args: argparse.Namespace) -> int:
    if args.file.name.endswith(SUFFIX):
        raise InputError(f"{args.file} is a pose sequence already: there is nothing to import")
    out = args.out or args.file.parent / f"{sequence_name(args.file)}{SUFFIX}"
    with checking_usage():
        if not out.name.endswith(SUFFIX):
            raise InputError(f"OUT: expected a name that ends in {SUFFIX}, got {str(out)!r}")
        if os.path.isdir(args.file) and (args.file / "annotations.xml").is_file():
            args.file = args.file / "annotations.xml"  # an archive of CVAT that was unpacked
        sequence = _imported(args)
    if args.overwrite or not os.path.exists(out):
        sequence.save(out)
    elif same_again(out, sequence.save):
        say(f"{out}: kept, it has these poses already")
    else:
        raise OtherOrigin(f"{out} exists, but it is of other poses: {INSTEAD}")
    people = len(np.unique(sequence.track_ids[sequence.track_ids >= 0]))
    say(f"{args.file}: {counted(len(sequence), 'frame')}, {count_people(people)}, {sequence.keypoint_set}")
    show_path(out)
    return OK


def _imported(args: argparse.Namespace) -> PoseSequence:
    known = args.canvas or (size_of(args.video) if args.video else None)
    frame_rate = args.frame_rate or (_rate_of(args.video) if args.video else None)
    if not os.path.isfile(args.file):
        return read_sequence(args.file, args.canvas, frame_rate, beside=args.video)
    sequence = import_poses(args.file, size=known, frame_rate=frame_rate)
    if sequence is None:
        return read_sequence(args.file, args.canvas, frame_rate, beside=args.video)
    if args.video:
        sequence = _of_source(sequence, args.video)
    for note in sequence.meta["notes"]:
        say(f"{args.file}: {note}")
    return sequence


def _rate_of(source: Path) -> Fraction | None:
    """The frame rate of a video; of a folder of pictures the usual one, of a picture none."""
    if _is_picture(source):
        return None
    with open_video(source) as video:
        return video.info.frame_rate


def _is_picture(source: Path) -> bool:
    return source.suffix.lower() in IMAGE_SUFFIXES - VIDEO_SUFFIXES


def _of_source(sequence: PoseSequence, source: Path) -> PoseSequence:
    """The sequence with the frame numbers of its source. Raises `InputError` if both do not go together."""
    w, h = size_of(source)
    if (w, h) != sequence.size:
        found = "{} x {}".format(*sequence.size)
        raise InputError(f"{source} has {w} x {h} pixels, the annotations are of {found}: name their own source")
    if not os.path.isdir(source):
        return sequence if _is_picture(source) else replace(sequence, meta=_with_source(sequence, source))
    with open_video(source) as folder:
        assert isinstance(folder, PictureFolder)
        places = {file.name: place for place, file in enumerate(folder.files)}
    names = [Path(name).name for name in sequence.meta.get("frame_names") or [sequence.meta["source"]]]
    if missing := [name for name in names if name not in places]:
        raise InputError(f"{source} has no picture {missing[0]!r} ({len(missing)} are missing): name the right folder")
    index = np.asarray([places[name] for name in names])
    if (np.diff(index) <= 0).any():
        raise InputError(f"{source}: its pictures are in another order than the annotations: rename them")
    pts = sequence.pts if sequence.frame_rate is None else index / float(sequence.frame_rate)
    return replace(sequence, frame_index=index, pts=pts, meta=_with_source(sequence, source))


def _with_source(sequence: PoseSequence, source: Path) -> dict[str, Any]:
    """Its meta with the source; the frames of a video have no file names."""
    meta = {**sequence.meta, "source": source.name}
    return meta if os.path.isdir(source) else {key: value for key, value in meta.items() if key != "frame_names"}
