"""`sdpose draw` and `sdpose info`."""

from __future__ import annotations

import argparse
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..annotate.requests import drawing_asked
from ..drawing.backgrounds import open_background
from ..drawing.sequence import draw_sequence
from ..drawing.styles import check_style
from ..errors import InputError, counted, on_one_line
from ..files import unchanged
from ..origins import mark_of, mark_text
from ..poses import PoseSequence
from ..sequences.cleaning import drawing_threshold
from ..sequences.tracks import split_tracks
from ..video.opening import open_video
from ..video.writer import SUFFIX
from . import arguments
from .arguments import OK, add_drawing_arguments, say, show_path
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
        help=".mp4, .png, or a folder (default: beside SEQ, NAME_kps.mp4, or NAME_pose.png for a "
        "picture; NAME_STYLE for another style than controlnet)",
    )
    sub.add_argument(
        "--background",
        default="black",
        metavar="FILE",
        help="draw on this video, folder of pictures, or still picture (default: black)",
    )
    add_codec_argument(sub)
    sub.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    add_drawing_arguments(sub)
    sub.set_defaults(run=_run_draw)


def _run_draw(args: argparse.Namespace) -> int:
    check_style(args.style)
    beside = None if args.background == "black" else Path(args.background)
    sequence = read_sequence(args.sequence, args.canvas, args.frame_rate, beside=beside)
    out = args.out or _beside(args, sequence)
    if os.path.exists(out) and not args.overwrite and not (os.path.isdir(out) and not any(out.iterdir())):
        raise InputError(f"{out} already exists: use --overwrite, or another name")
    frames, notes = (None, []) if args.background == "black" else open_background(args.background, sequence)
    with unchanged(args.sequence, beside), Bar() as bar:
        others = draw_sequence(
            sequence, out, style=args.style, parts=args.parts, threshold=args.threshold, size=args.size, fit=args.fit,
            codec=args.codec, background=frames, mark=_mark(args, sequence, out), on_progress=bar.shows("drawing"),
        )  # fmt: skip
    for note in notes + others:
        say(f"note: {note}")
    show_path(out)
    return OK


def _beside(args: argparse.Namespace, sequence: PoseSequence) -> Path:
    """Where the drawing goes if no name is given."""
    word, suffix = ("pose", ".png") if sequence.frame_rate is None else ("kps", SUFFIX[args.codec])
    word = word if args.style == "controlnet" else args.style
    return args.sequence.parent / f"{sequence_name(args.sequence)}_{word}{suffix}"


def _mark(args: argparse.Namespace, sequence: PoseSequence, out: Path) -> str:
    threshold = drawing_threshold(sequence.meta, args.threshold)
    drawing = drawing_asked(args.style, args.parts, threshold, args.size, args.fit)
    if out.suffix.lower() in SUFFIX.values():
        drawing["codec"] = args.codec
    if args.background != "black":
        drawing["background"] = Path(args.background).name
    return mark_text(mark_of(args.sequence if os.path.isfile(args.sequence) else None, drawing))


def _add_info(commands: Any) -> None:
    sub = commands.add_parser("info", help="show what is in a .pose.npz, OpenPose JSON or a video")
    sub.add_argument("file", type=arguments.path, metavar="FILE", help="a .pose.npz, OpenPose JSON or a video")
    add_json_arguments(sub)
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub.set_defaults(run=_run_info)


def _run_info(args: argparse.Namespace) -> int:
    found = describe_file(args.file, args.canvas, args.frame_rate)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            for line in _lines(name, value):
                print(on_one_line(line))
    return OK


def describe_file(
    path: Path, canvas: tuple[int, int] | None = None, frame_rate: Fraction | None = None
) -> dict[str, Any]:
    """The contents of a pose file (see `read_sequence`) or a video as JSON-able values. Raises `InputError`."""
    if path.suffix.lower() == ".npz" or is_pose_json(path):
        return {"file": str(path)} | describe_sequence(read_sequence(path, canvas, frame_rate))
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
