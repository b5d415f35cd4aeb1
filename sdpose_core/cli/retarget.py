"""`sdpose retarget`: a pose sequence fitted to a character."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from ..annotate.images import FramePeople, annotate_images
from ..annotate.pictures import describe
from ..detection.box_files import BoxFile
from ..errors import InputError
from ..files import same_again
from ..images import IMAGE_SUFFIXES, read_image
from ..origins import INSTEAD, OtherOrigin
from ..poses import Poses, PoseSequence
from ..retarget.fitting import AUTO, FRAMES, MATCHES, METHODS, describe_canvas, retarget
from . import arguments
from .arguments import (
    OK,
    WrongUsage,
    add_detector_arguments,
    add_estimator_arguments,
    checking_usage,
    make_detector,
    make_estimator,
    say,
    score,
    show_path,
    size,
)
from .pose_files import SEQUENCE, SUFFIX, add_json_arguments, is_pose_json, read_sequence, sequence_name


def add_parser(commands: Any) -> None:
    """Add `sdpose retarget` to the commands."""
    sub = commands.add_parser(
        "retarget",
        help="fit a pose sequence to a character",
        description="Fits the sequence to the position, size and proportions of the person in the reference.",
    )
    sub.add_argument("sequence", type=arguments.path, metavar="SEQ", help=SEQUENCE)
    sub.add_argument(
        "--to", type=arguments.path, required=True, metavar="REFERENCE",
        help="the character: a picture, a .pose.npz or OpenPose JSON",
    )  # fmt: skip
    sub.add_argument(
        "-o", "--out", type=arguments.path, metavar="OUT.pose.npz",
        help="file to write (default: NAME_retargeted.pose.npz beside SEQ)",
    )  # fmt: skip
    sub.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    add_json_arguments(sub.add_argument_group("OpenPose JSON, as SEQ or REFERENCE"))
    group = sub.add_argument_group("fitting")
    group.add_argument(
        "--method", choices=METHODS, default="limbs",
        help="limbs: give each limb the reference's length; affine: move and scale the whole figure; none: change only "
        "the canvas (default: limbs)",
    )  # fmt: skip
    who = "an id, largest, best, leftmost, rightmost, point:X,Y or mask:FILE"
    group.add_argument("--person", metavar="WHO", help=f"keep one person of SEQ: {who} (default: everybody)")
    group.add_argument("--reference-person", metavar="WHO", help="the same for the reference (default: see --match)")
    group.add_argument(
        "--match", choices=MATCHES,
        help="order: match people from left to right; same: fit everybody to the reference's largest person (default: "
        "order if both show several people)",
    )  # fmt: skip
    group.add_argument(
        "--at", choices=FRAMES, default="typical",
        help="frame of SEQ that gets the reference's place and size (default: typical)",
    )  # fmt: skip
    group.add_argument("--no-feet", action="store_true", help="align the hips with the reference, not the feet")
    group.add_argument(
        "--size", type=_canvas, metavar="WxH",
        help="canvas size; the reference is centered on it. auto: the reference's, extended on the sides where the "
        "motion would leave it (default: the reference's)",
    )  # fmt: skip
    group.add_argument(
        "--threshold", type=score, default=0.3, metavar="S", help="minimum score of a measured point (default: 0.3)"
    )
    add_estimator_arguments(sub)
    add_detector_arguments(sub)
    sub.set_defaults(run=_run_retarget)


def _canvas(text: str) -> tuple[int, int] | str:
    return AUTO if text == AUTO else size(text)


def _run_retarget(args: argparse.Namespace) -> int:
    out = args.out or args.sequence.parent / f"{sequence_name(args.sequence)}_retargeted{SUFFIX}"
    if not out.name.endswith(SUFFIX):
        raise WrongUsage(f"OUT: expected a name that ends in {SUFFIX}, got {str(out)!r}")
    with checking_usage():
        sequence = read_sequence(args.sequence, args.canvas, args.frame_rate)
        reference = read_reference(args, args.to)
    result = retarget(
        sequence, reference, args.method, person=args.person, reference_person=args.reference_person,
        match=args.match, at=args.at, feet=not args.no_feet, canvas=args.size, threshold=args.threshold,
    )  # fmt: skip
    if args.overwrite or not os.path.exists(out):
        result.save(out)
    elif same_again(out, result.save):
        say(f"{out}: kept, it already exists")
    else:
        raise OtherOrigin(f"{out} exists, but it is of other poses or settings: {INSTEAD}")
    for line in _describe_fit(result):
        say(line)
    show_path(out)
    return OK


def read_reference(args: argparse.Namespace, path: Path) -> Poses | PoseSequence:
    """The poses of a character from a `.pose.npz`, OpenPose JSON, or a picture, which is estimated.

    `args` has the options of `add_canvas_argument`, and of `add_estimator_arguments` and `add_detector_arguments` for a
    picture.
    """
    if path.suffix.lower() == ".npz" or is_pose_json(path):
        return read_sequence(path, args.canvas)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return _estimated(args, path)
    raise InputError(f"{path}: expected a picture, a {SUFFIX} or an OpenPose .json as the reference")


def _estimated(args: argparse.Namespace, picture: Path) -> Poses:
    image = read_image(picture)
    size = (image.shape[1], image.shape[0])
    people = FramePeople(BoxFile(args.boxes).boxes_of(picture, True, size)) if args.boxes else None
    [poses] = annotate_images(
        [image],
        estimator=make_estimator(args),
        detector=None if args.boxes else make_detector(args),
        people=[people],
        if_nobody=args.if_nobody or "full-image",
    )
    say(f"{picture}: {describe(poses)}")
    return poses.with_meta(source=picture.name)


def _describe_fit(result: PoseSequence) -> list[str]:
    lines = []
    for track, note in result.meta["retarget"].get("people", {}).items():
        words = [f"scale {note['scale']:.3g}"]
        if note.get("unseen"):
            words.append(f"not measured, taken from other limbs: {', '.join(note['unseen'])}")
        if "note" in note:
            words.append(note["note"])
        lines.append(f"person {track}: {'; '.join(words)}")
    if note := describe_canvas(result):
        lines.append(f"{note}: --size auto makes room" if "outside" in result.meta["retarget"] else note)
    return lines
