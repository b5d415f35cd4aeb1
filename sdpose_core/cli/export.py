"""`sdpose export`: a pose sequence in the files of another tool."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..exports.profile import ExportOptions
from ..exports.targets import TARGETS, export
from ..files import unchanged
from ..images import IMAGE_SUFFIXES
from ..poses import PoseSequence
from . import arguments
from .arguments import (
    OK,
    add_detector_arguments,
    add_estimator_arguments,
    check_folder,
    checking_usage,
    say,
    score,
    show_path,
    size,
)
from .pose_files import SEQUENCE, add_canvas_argument, is_pose_json, read_sequence, sequence_name
from .progress import Bar
from .retarget import read_reference

if TYPE_CHECKING:
    from ..exports.profile import ExportProfile
    from ..poses import Poses


def add_parser(commands: Any) -> None:
    """Add `sdpose export` to the commands."""
    lines = [
        f"  {name}: {profile.tool} ({_needs(profile)})\n      {profile.files}" for name, profile in TARGETS.items()
    ]
    sub = commands.add_parser(
        "export",
        help="write a pose sequence for another tool",
        description="Writes the files that an animation tool reads. Existing files are kept if they would be the same; "
        "others are never replaced without --overwrite.",
        epilog="targets and the files they write:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("sequence", type=arguments.path, metavar="SEQ", help=SEQUENCE)
    sub.add_argument("--to", choices=TARGETS, required=True, metavar="TARGET", help=f"one of {', '.join(TARGETS)}")
    sub.add_argument(
        "-o", "--out", type=arguments.path, metavar="OUT",
        help="folder for the results (default: a folder called TARGET beside SEQ)",
    )  # fmt: skip
    sub.add_argument("--overwrite", action="store_true", help="replace existing files")
    group = sub.add_argument_group("input")
    group.add_argument(
        "--video", "--pictures", type=arguments.path, metavar="SOURCE",
        help="the source, a video or a folder of pictures: for faces, training lists, and with coco for training data",
    )  # fmt: skip
    group.add_argument(
        "--reference", type=arguments.path, metavar="FILE", help="the character: a .pose.npz, OpenPose JSON or picture"
    )
    add_canvas_argument(group)
    group.add_argument(
        "--face-poses", type=arguments.path, metavar="SEQ", help="the poses of SOURCE itself, if SEQ was retargeted"
    )
    group.add_argument(
        "--person",
        metavar="WHO",
        help="an id, largest, best, leftmost, rightmost, point:X,Y, mask:FILE or best-per-frame",
    )
    group = sub.add_argument_group("output (default: as the target needs it)")
    group.add_argument("--name", help="NAME of the results (default: as SEQ)")
    group.add_argument("--size", type=size, metavar="WxH", help="size of the canvas")
    group.add_argument("--fit", choices=("pad", "crop", "stretch"), help="how to fit the poses to the canvas")
    group.add_argument(
        "--frames", metavar="RULE", help="all, a number such as 77, a rule such as 4n+1, or (coco) edited"
    )
    group.add_argument(
        "--frame-rate", type=_rate, metavar="R",
        help="such as 16 or 30000/1001, or source; of JSON, which has no times, it is also the source's",
    )  # fmt: skip
    group.add_argument("--threshold", type=score, metavar="S", help="minimum score of a point")
    group.add_argument("--codec", metavar="C", help="lossless, h264 for players, or png for a folder of pictures")
    add_estimator_arguments(sub)
    add_detector_arguments(sub)
    sub.set_defaults(run=_run_export)


def _needs(profile: ExportProfile) -> str:
    canvas = f"{profile.size[0]}x{profile.size[1]}" if profile.size else ""
    needs = {
        "one person": profile.one_person,
        f"style {profile.style}": profile.style,
        canvas + (" or rotated" if profile.turned else ""): profile.size,
        f"short side {profile.short_side}": profile.short_side,
        f"at most {profile.area} pixels": profile.area,
        f"multiples of {profile.multiple}": profile.multiple > 1 and not profile.size,
        f"at 1/{profile.shrink} of the size": profile.shrink > 1,
        f"{profile.frames} frames": profile.frames != "all",
        f"{profile.frame_rate} frames per second": profile.frame_rate,
    }
    return ", ".join(text for text, true in needs.items() if true) or "everybody, unchanged"


def _run_export(args: argparse.Namespace) -> int:
    options = ExportOptions(
        person=args.person, size=args.size, fit=args.fit, threshold=args.threshold, frames=args.frames,
        frame_rate=args.frame_rate, codec=args.codec, overwrite=args.overwrite,
    )  # fmt: skip
    out = args.out or args.sequence.parent / args.to
    with checking_usage():
        check_folder(out)
        sequence = _sequence(args, args.sequence)
        faces = _sequence(args, args.face_poses) if args.face_poses else None
        reference = _reference(args, TARGETS[args.to].reference)
    with unchanged(args.video), Bar() as bar:
        result = export(
            sequence, args.to, out, name=args.name or sequence_name(args.sequence),
            video=args.video, faces=faces, reference=reference, options=options, on_progress=bar.shows("writing"),
        )  # fmt: skip
    for note in result.notes:
        say(f"note: {note}")
    for path in result.kept:
        say(f"{path}: kept, it already exists")
    for path in result.files:
        show_path(path)
    return OK


def _sequence(args: argparse.Namespace, path: Path) -> PoseSequence:
    """Poses in pixels of the video. The frame rate of the result is also that of JSON, so that no frame is lost."""
    known = args.frame_rate in (None, "source") or not is_pose_json(path)
    return read_sequence(path, args.canvas, None if known else args.frame_rate, beside=args.video)


def _reference(args: argparse.Namespace, wanted: str) -> Poses | Path | None:
    """The character as the target reads it: a picture's path, or poses, which are estimated if a picture is given."""
    path: Path | None = args.reference
    if path is None or (wanted == "picture" and path.suffix.lower() in IMAGE_SUFFIXES):
        return path
    found = read_reference(args, path)
    poses = found.frame(0) if isinstance(found, PoseSequence) else found
    if not len(poses):
        raise InputError(f"{path}: nobody was found in it: choose another reference")
    return poses


def _rate(text: str) -> Fraction | str:
    if text == "source":
        return text
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"expected a rate such as 16 or 30000/1001, or source, got {text!r}")
    return rate
