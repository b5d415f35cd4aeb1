"""`sdpose draw` and `sdpose info`."""

from __future__ import annotations

import argparse
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..annotate.requests import drawing_asked
from ..checkpoints.description import are_weights, describe_weights
from ..drawing.backgrounds import open_background
from ..drawing.sequence import draw_sequence
from ..drawing.styles import check_style
from ..errors import InputError, counted, on_one_line
from ..files import unchanged
from ..origins import is_drawn, mark_of, mark_text
from ..poses import PoseSequence
from ..sequences.cleaning import drawing_threshold
from ..sequences.tracks import split_tracks
from ..video.opening import open_video
from ..video.writer import CODECS, SUFFIX, codec_of
from . import arguments
from .arguments import OK, add_drawing_arguments, say, say_which_is_which, show_path
from .check import check_lines, checked
from .clip_arguments import add_codec_argument
from .pose_files import SEQUENCE, add_json_arguments, is_pose_json, read_sequence, sequence_name
from .progress import Bar

MOST_ITEMS = 20
"""Entries of a list that `info` prints; `--json` prints all."""


def add_parser(commands: Any) -> None:
    """Add `sdpose draw` and `sdpose info` to the commands."""
    _add_draw(commands)
    _add_info(commands)


def _add_draw(commands: Any) -> None:
    sub = commands.add_parser(
        "draw",
        help="draw a pose sequence",
        description="Draws a .pose.npz or OpenPose JSON as a video, a picture (one frame), or a folder of pictures.",
    )
    sub.add_argument("sequence", type=arguments.path, metavar="SEQ", help=SEQUENCE)
    add_json_arguments(sub.add_argument_group("OpenPose JSON"))
    sub.add_argument(
        "-o",
        "--out",
        type=arguments.path,
        metavar="OUT",
        help=".mp4, .mkv, .gif, .webm, .png, or a folder (default: beside SEQ, NAME_kps.mp4, or NAME_pose.png for a "
        "picture; NAME_STYLE for another style than controlnet; NAME_compare with --compare)",
    )
    sub.add_argument(
        "--background",
        default="black",
        metavar="FILE",
        help="draw on this video, folder of pictures, or still picture (default: black)",
    )
    sub.add_argument(
        "--compare", action="store_true", help="draw --background, the poses on it, and the poses side by side"
    )
    add_codec_argument(sub, "by OUT; a video on a background or --compare: for looking")
    sub.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    add_drawing_arguments(sub)
    sub.set_defaults(run=_run_draw)


def _run_draw(args: argparse.Namespace) -> int:
    check_style(args.style)
    beside = None if args.background == "black" else Path(args.background)
    if args.compare and beside is None:
        raise InputError("--compare shows the poses beside their picture: name it with --background")
    sequence = read_sequence(args.sequence, args.canvas, args.frame_rate, beside=beside)
    files = _files_to_draw(args, sequence, beside is not None)
    marks = {out: mark_of(_poses_file(args), _drawing(args, sequence, codec)) for out, codec in files.items()}
    copies = list(files)[1:]
    for copy in copies:  # it may be there already, beside a pose video of another codec
        if not args.overwrite and is_drawn(copy, marks[copy]):
            del files[copy]
    for out in files:
        if os.path.exists(out) and not args.overwrite and not (os.path.isdir(out) and not any(out.iterdir())):
            raise InputError(f"{out} already exists: use --overwrite, or another name")
    frames, notes = (None, []) if beside is None else open_background(beside, sequence)
    with unchanged(args.sequence, beside), Bar() as bar:
        for out, codec in files.items():
            notes += draw_sequence(
                sequence, out, style=args.style, parts=args.parts, threshold=args.threshold, size=args.size,
                fit=args.fit, line_width=args.line_width, codec=codec, background=frames,
                view="compare" if args.compare else "map", mark=mark_text(marks[out]),
                on_progress=bar.shows("drawing"),
            )  # fmt: skip
    for note in dict.fromkeys(notes):
        say(f"note: {note}")
    say_which_is_which(next(iter(files)), copies)
    show_path(next(iter(files)))
    return OK


def _files_to_draw(args: argparse.Namespace, sequence: PoseSequence, with_picture: bool) -> dict[Path, str]:
    """OUT, and the playable copy of a pose video for tools, with their codecs ("" of pictures)."""
    codec = args.codec or ("h264" if with_picture else "lossless")
    out = args.out or _beside(args, sequence, SUFFIX[codec])
    if out.suffix.lower() in ("", ".png"):
        return {out: ""}
    codec = args.codec or codec_of(out.suffix, for_eyes=with_picture)
    copy = {} if with_picture or not args.playable else {out.with_name(f"{out.stem}_play.mp4"): "h264"}
    return {out: codec} | ({} if CODECS[codec].plays else copy)


def _beside(args: argparse.Namespace, sequence: PoseSequence, suffix: str) -> Path:
    """Where the drawing goes if no name is given."""
    word, suffix = ("pose", ".png") if sequence.frame_rate is None and args.codec is None else ("kps", suffix)
    if args.compare or args.style != "controlnet":
        word = "compare" if args.compare else args.style
    return args.sequence.parent / f"{sequence_name(args.sequence)}_{word}{suffix}"


def _poses_file(args: argparse.Namespace) -> Path | None:
    return args.sequence if os.path.isfile(args.sequence) else None


def _drawing(args: argparse.Namespace, sequence: PoseSequence, codec: str) -> dict[str, Any]:
    """The settings of a drawing, for its mark."""
    threshold = drawing_threshold(sequence.meta, args.threshold)
    drawing = drawing_asked(args.style, args.parts, threshold, args.size, args.fit, args.line_width)
    drawing |= {"codec": codec} if codec else {}
    if args.background != "black":
        drawing |= {"background": Path(args.background).name, "compare": args.compare}
    return drawing


def _add_info(commands: Any) -> None:
    sub = commands.add_parser("info", help="show what is in a .pose.npz, OpenPose JSON, a video or weights")
    sub.add_argument("file", type=arguments.path, metavar="FILE", help="a .pose.npz, OpenPose JSON, a video or weights")
    add_json_arguments(sub)
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub.add_argument(
        "--check",
        action="store_true",
        help="show the frames of each person to distrust, the worst first, and why; of weights: read all values",
    )
    sub.set_defaults(run=_run_info)


def _run_info(args: argparse.Namespace) -> int:
    found = describe_file(args.file, args.canvas, args.frame_rate, check=args.check)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        everything = (line for pair in found.items() for line in _lines(*pair))
        for line in check_lines(found["check"]) if "check" in found else everything:
            print(on_one_line(line))
    return OK


def describe_file(
    path: Path, canvas: tuple[int, int] | None = None, frame_rate: Fraction | None = None, *, check: bool = False
) -> dict[str, Any]:
    """The contents of a pose file (see `read_sequence`), a video or weights as JSON-able values, with `check` also what
    to distrust, or what `describe_weights` finds. Raises `InputError`, and for weights `CheckpointError`."""
    if are_weights(path):
        return {"file": str(path)} | describe_weights(path, check=check)
    if path.suffix.lower() == ".onnx" and path.is_file():
        raise InputError(
            f"{path} is an ONNX file: info reads poses, videos and weights in safetensors files; `sdpose image --model "
            f"{path}` runs an exported SDPose"
        )
    if path.suffix.lower() == ".npz" or is_pose_json(path):
        sequence = read_sequence(path, canvas, frame_rate)
        found = {"file": str(path)} | describe_sequence(sequence)
        return found | ({"check": checked(sequence)} if check else {})
    if check:
        raise InputError(f"{path}: --check looks at poses: `sdpose video --check` estimates them, and names the worst")
    with open_video(path, frame_rate=frame_rate) as video:
        info = video.info
        rate = str(info.frame_rate) if info.frame_rate else None
        return {
            "file": str(path), "kind": "video", "frames_stated": info.frames, "size": list(info.size),
            "frame_rate": rate, "seconds": info.duration, "video_streams": info.streams, "notes": list(info.notes),
        }  # fmt: skip


def describe_sequence(sequence: PoseSequence) -> dict[str, Any]:
    """The contents of a pose sequence as JSON-able values."""
    rate = sequence.frame_rate
    people = [
        {
            "id": track.id,
            "frames": int(track.present.sum()),
            "first_frame": int(track.times[0]),
            "last_frame": int(track.times[-1]),
            "mean_score": round(float(track.scores[track.present].mean()), 3),
        }
        for track in split_tracks(sequence)
    ]
    return {
        "kind": "pose sequence",
        "frames": len(sequence),
        "seconds": round(float(sequence.pts[-1] - sequence.pts[0]) + (float(1 / rate) if rate else 0), 3),
        "size": list(sequence.size),
        "frame_rate": None if rate is None else str(rate),
        "keypoint_set": sequence.keypoint_set,
        "points": sequence.keypoints.shape[2],
        "people": people,
        "meta": dict(sequence.meta),
    }


def _lines(name: str, value: Any, indent: str = "") -> list[str]:
    """A value of `describe_file` as lines of text."""
    label = f"{indent}{name.replace('_', ' ')}: "
    if isinstance(value, dict) and value:
        return [label.rstrip(), *(line for key, inner in value.items() for line in _lines(key, inner, indent + "  "))]
    if name == "people" and isinstance(value, list):
        rows = [
            f"  id {person['id']}: {counted(person['frames'], 'frame')} "
            f"({person['first_frame']} to {person['last_frame']}), mean score {person['mean_score']}"
            for person in value
        ]
        return [label + str(len(value)), *rows]
    if name == "size":
        return [f"{label}{value[0]} x {value[1]}"]
    if isinstance(value, list):
        more = f", ... ({len(value)})" if len(value) > MOST_ITEMS else ""
        value = ", ".join(str(item) for item in value[:MOST_ITEMS]) + more
    return [f"{label}{'-' if value in (None, '', {}) else value}"]
