"""`sdpose export`: a pose sequence in the words of another tool. This file prints."""

from __future__ import annotations

import argparse
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, SDPoseError
from ..exports.profile import ExportOptions
from ..exports.targets import TARGETS, export
from ..images import IMAGE_SUFFIXES
from ..poses import PoseSequence
from .arguments import OK, WRONG_USAGE
from .retarget import read_reference

if TYPE_CHECKING:
    from ..exports.profile import ExportProfile
    from ..poses import Poses


def add_parser(commands: Any) -> None:
    """Add `export` to the subcommands of `sdpose`."""
    from .arguments import add_detector_arguments, add_estimator_arguments, size

    lines = [
        f"  {name}: {profile.tool} ({_wants(profile)})\n      {profile.files}" for name, profile in TARGETS.items()
    ]
    sub = commands.add_parser(
        "export",
        help="write a pose sequence for another tool",
        description="Writes what an animation tool reads. Existing files are kept.",
        epilog="targets and what they write:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sub.add_argument("sequence", type=Path, metavar="SEQ", help="a .pose.npz")
    sub.add_argument("--to", choices=TARGETS, required=True, metavar="TARGET", help=f"one of {', '.join(TARGETS)}")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the results")
    sub.add_argument("--overwrite", action="store_true", help="replace files that are there")
    group = sub.add_argument_group("what goes in")
    group.add_argument("--video", type=Path, metavar="SOURCE", help="the source video: for faces and training lists")
    group.add_argument(
        "--reference", type=Path, metavar="FILE", help="the character: .pose.npz or OpenPose JSON, or a picture"
    )
    group.add_argument(
        "--face-poses", type=Path, metavar="SEQ", help="the poses of SOURCE itself, where SEQ was retargeted"
    )
    group.add_argument(
        "--person", metavar="WHO", help="id, largest, best, leftmost, rightmost, point:X,Y, mask:FILE, best-per-frame"
    )
    group = sub.add_argument_group("what comes out (default: what the target wants)")
    group.add_argument("--name", help="NAME in the results (default: that of SEQ)")
    group.add_argument("--size", type=size, metavar="WxH", help="size of the canvas")
    group.add_argument("--fit", choices=("pad", "crop", "stretch"), help="how the canvas is filled")
    group.add_argument("--frames", metavar="RULE", help="all, a number such as 77, or a form such as 4n+1")
    group.add_argument("--frame-rate", type=_rate, metavar="R", help="such as 16 or 30000/1001, or source")
    group.add_argument("--threshold", type=float, metavar="S", help="least score of a point")
    group.add_argument("--codec", metavar="C", help="lossless, h264 for players, or png for a folder of pictures")
    add_estimator_arguments(sub)
    add_detector_arguments(sub)
    sub.set_defaults(run=run)


def _wants(profile: ExportProfile) -> str:
    """The numbers of a profile in words."""
    size = f"{profile.size[0]}x{profile.size[1]}" if profile.size else ""
    wants = {
        "one person": profile.one_person,
        f"style {profile.style}": profile.style,
        size + (" or turned" if profile.turned else ""): profile.size,
        f"short side {profile.short_side}": profile.short_side,
        f"at most {profile.area} pixels": profile.area,
        f"multiples of {profile.multiple}": profile.multiple > 1 and not profile.size,
        f"at 1/{profile.shrink} of the size": profile.shrink > 1,
        f"{profile.frames} frames": profile.frames != "all",
        f"{profile.frame_rate} frames per second": profile.frame_rate,
    }
    return ", ".join(text for text, true in wants.items() if true) or "everybody, as it is"


def run(args: argparse.Namespace) -> int:
    """The command; returns the exit code."""
    from tqdm import tqdm

    options = ExportOptions(
        person=args.person, size=args.size, fit=args.fit, threshold=args.threshold, frames=args.frames,
        frame_rate=args.frame_rate, codec=args.codec, overwrite=args.overwrite,
    )  # fmt: skip
    try:
        sequence = PoseSequence.load(args.sequence)
        faces = PoseSequence.load(args.face_poses) if args.face_poses else None
        reference = _reference(args, TARGETS[args.to].reference)
    except SDPoseError as error:
        print(f"sdpose export: {error}", file=sys.stderr)
        return WRONG_USAGE
    with tqdm(unit="frame", leave=False, file=sys.stderr) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total, bar.n = total, done
            bar.update(0)

        result = export(
            sequence, args.to, args.out, name=args.name or args.sequence.name.removesuffix(".pose.npz"),
            video=args.video, faces=faces, reference=reference, options=options, on_progress=progress,
        )  # fmt: skip
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    for path in result.kept:
        print(f"{path}: kept, it was there", file=sys.stderr)
    for path in result.files:
        print(path)
    return OK


def _reference(args: argparse.Namespace, wanted: str) -> Poses | Path | None:
    """The character as its target wants it: poses are estimated where only a picture is given."""
    path: Path | None = args.reference
    if path is None or (wanted == "picture" and path.suffix.lower() in IMAGE_SUFFIXES):
        return path
    found = read_reference(args, path)
    poses = found.frame(0) if isinstance(found, PoseSequence) else found
    if not len(poses):
        raise InputError(f"{path}: nobody is in it")
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
