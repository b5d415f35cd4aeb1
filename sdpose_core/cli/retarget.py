"""`sdpose retarget`: a pose sequence fitted to a character. This file prints; the library logs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..annotate.images import FramePeople, annotate_images
from ..detection.box_files import BoxFile
from ..errors import InputError, SDPoseError
from ..images import IMAGE_SUFFIXES, read_image
from ..openpose.reader import read_openpose_json
from ..openpose.writer import to_poses
from ..poses import PoseSequence
from ..retarget.fitting import FRAMES, MATCHES, METHODS, retarget
from .arguments import (
    OK,
    WRONG_USAGE,
    add_detector_arguments,
    add_estimator_arguments,
    make_detector,
    make_estimator,
    size,
)

if TYPE_CHECKING:
    from ..poses import Poses, PoseSequence

SUFFIX = ".pose.npz"


def add_parser(commands: Any) -> None:
    """Add `retarget` to the subcommands of `sdpose`."""
    sub = commands.add_parser(
        "retarget",
        help="fit a pose sequence to a character",
        description="Writes the sequence in the place, size and proportions of the reference's person, on its canvas.",
    )
    sub.add_argument("sequence", type=Path, metavar="SEQ", help="a .pose.npz")
    sub.add_argument(
        "--to", type=Path, required=True, metavar="REFERENCE",
        help="the character: a picture (estimated as by sdpose image), a .pose.npz or OpenPose JSON",
    )  # fmt: skip
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="OUT.pose.npz", help="the result")
    sub.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    group = sub.add_argument_group("fitting")
    group.add_argument(
        "--method", choices=METHODS, default="limbs",
        help="limbs: each limb as long as the reference's; affine: the whole figure moved and scaled; none: only the "
        "canvas (default: limbs)",
    )  # fmt: skip
    who = "an id, largest, best, leftmost, rightmost, point:X,Y or mask:FILE"
    group.add_argument("--person", metavar="WHO", help=f"keep one of SEQ: {who} (default: everybody)")
    group.add_argument("--reference-person", metavar="WHO", help="the same for the reference (default: see --match)")
    group.add_argument(
        "--match", choices=MATCHES,
        help="order: people from left to right; same: all become the largest of the reference (default: order, if both "
        "show several people)",
    )  # fmt: skip
    group.add_argument(
        "--at", choices=FRAMES, default="typical",
        help="frame of SEQ that has the reference's place and size (default: typical)",
    )  # fmt: skip
    group.add_argument("--no-feet", action="store_true", help="hold the hips, not the feet, at the reference's height")
    group.add_argument("--size", type=size, metavar="WxH", help="canvas, with the reference centred on it")
    group.add_argument("--threshold", type=float, default=0.3, metavar="S", help="least score of a measured point")
    add_estimator_arguments(sub)
    add_detector_arguments(sub)
    sub.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The command; returns the exit code."""
    if not args.out.name.endswith(SUFFIX):
        _say(f"OUT: expected a name that ends in {SUFFIX}, got {str(args.out)!r}")
        return WRONG_USAGE
    if args.out.exists() and not args.overwrite:
        _say(f"{args.out}: kept, it was there (--overwrite replaces it)")
        return OK
    try:
        sequence = PoseSequence.load(args.sequence)
        reference = read_reference(args, args.to)
    except SDPoseError as error:
        _say(str(error))
        return WRONG_USAGE
    result = retarget(
        sequence, reference, args.method, person=args.person, reference_person=args.reference_person,
        match=args.match, at=args.at, feet=not args.no_feet, canvas=args.size, threshold=args.threshold,
    )  # fmt: skip
    result.save(args.out)
    for line in describe(result):
        print(line, file=sys.stderr)
    print(args.out)
    return OK


def _say(text: str) -> None:
    print(f"sdpose retarget: {text}", file=sys.stderr)


def read_reference(args: argparse.Namespace, path: Path) -> Poses | PoseSequence:
    """The poses of a character: of a `.pose.npz`, an OpenPose JSON, or a picture, which is estimated.

    Args:
        args: with the options of `cli.add_estimator_arguments` and `cli.add_detector_arguments`, for a picture.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return PoseSequence.load(path)
    if suffix == ".json":
        return to_poses(read_openpose_json(path)[0])
    if suffix in IMAGE_SUFFIXES:
        return _estimated(args, path)
    raise InputError(f"{path}: expected a picture, a {SUFFIX} or an OpenPose .json as reference")


def _estimated(args: argparse.Namespace, picture: Path) -> Poses:
    from ..annotate.pictures import describe

    image = read_image(picture)
    people = FramePeople(BoxFile(args.boxes).boxes_of(picture, True)) if args.boxes else None
    [poses] = annotate_images(
        [image],
        estimator=make_estimator(args),
        detector=None if args.boxes else make_detector(args),
        people=[people],
        if_nobody=args.if_nobody or "full-image",
    )
    print(f"{picture}: {describe(poses)}", file=sys.stderr)
    return poses.with_meta(source=picture.name)


def describe(result: PoseSequence) -> list[str]:
    """What was done to whom, a line each."""
    lines = []
    for track, note in result.meta["retarget"].get("people", {}).items():
        words = [f"scale {note['scale']:.3g}"]
        if note.get("unseen"):
            words.append(f"not measured, from the others: {', '.join(note['unseen'])}")
        if "note" in note:
            words.append(note["note"])
        lines.append(f"person {track}: {'; '.join(words)}")
    return lines
