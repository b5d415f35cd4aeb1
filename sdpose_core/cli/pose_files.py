"""Pose sequences from the files that commands take: `.pose.npz`, OpenPose JSON, and folders of JSON."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..files import ZIP, kind_of
from ..images import IMAGE_SUFFIXES, read_image
from ..imports.coco import is_coco
from ..names import is_hidden
from ..openpose.reader import JSON_SUFFIX, read_openpose_json
from ..openpose.writer import clip_poses
from ..origins import read_mark
from ..poses import USUAL_RATE, PoseSequence
from ..texts import read_json
from ..tracking.frames import track_frames
from ..video.frames import VIDEO_SUFFIXES
from ..video.opening import open_video
from .arguments import say, size
from .clip_arguments import rate

if TYPE_CHECKING:
    from ..openpose.reader import PoseKeypointFrame

SUFFIX = ".pose.npz"
SEQUENCE = "a .pose.npz, OpenPose JSON, or a folder of JSON files"
SHOWN_NOTES = 5


def add_canvas_argument(parser: argparse._ActionsContainer) -> None:
    """The option for JSON that states no canvas."""
    parser.add_argument(
        "--canvas", type=size, metavar="WxH", help="size of the picture, for JSON that does not state it"
    )


def add_json_arguments(parser: argparse._ActionsContainer) -> None:
    """Options for JSON as the sequence."""
    add_canvas_argument(parser)
    parser.add_argument(
        "--frame-rate", type=rate, metavar="R", help=f"of JSON with several frames (default: {USUAL_RATE})"
    )


def is_pose_json(path: Path) -> bool:
    """Whether this is a JSON file, or a folder with some and no pictures."""
    if not os.path.isdir(path):
        return path.suffix.lower() == JSON_SUFFIX
    suffixes = {file.suffix.lower() for file in path.iterdir() if not is_hidden(file)}
    return JSON_SUFFIX in suffixes and not suffixes & IMAGE_SUFFIXES


def sequence_name(path: Path) -> str:
    """NAME of a sequence's file or folder: without .pose.npz, .json and _keypoints."""
    if os.path.isdir(path):
        return path.resolve().name
    name = path.stem if path.suffix.lower() in (".npz", JSON_SUFFIX) else path.name
    return name.removesuffix(".pose").removesuffix("_keypoints") or name


def read_sequence(
    path: Path,
    canvas: tuple[int, int] | None = None,
    frame_rate: Fraction | None = None,
    *,
    beside: Path | None = None,
) -> PoseSequence:
    """A pose sequence from a `.pose.npz`, OpenPose JSON of one or many frames, or a folder of JSON files.

    Args:
        canvas, frame_rate: for JSON, which may not state them. A single frame has no rate.
        beside: the picture or video of these poses, if it is given: its size counts for JSON without a canvas.

    People of JSON are tracked unless they all have ids. What was guessed is printed, and kept as `meta["notes"]`.

    Raises `InputError` for other files; it says what was found.
    """
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file or folder")
    if os.path.isdir(path) or path.suffix.lower() == JSON_SUFFIX:
        sequence = _from_json(path, canvas, frame_rate, beside)
    else:
        _refuse_other_kinds(path)
        sequence = PoseSequence.load(path)
        if frame_rate is not None and frame_rate != sequence.frame_rate:
            say(f"{path}: it has its own times: --frame-rate was not used")
    if not (sequence.track_ids >= 0).any():
        say(f"{path}: nobody is in it")
    return sequence


def _refuse_other_kinds(path: Path) -> None:
    suffix = path.suffix.lower()
    kind = "" if suffix == ".npz" else kind_of(path)
    if read_mark(path) is not None:
        raise InputError(f"{path} is a drawing of poses: expected {SEQUENCE}; name the file that it was drawn from")
    if "picture" in kind or suffix in IMAGE_SUFFIXES - VIDEO_SUFFIXES:
        raise InputError(f"{path} is a picture: expected {SEQUENCE}; `sdpose image` estimates its poses")
    if "video" in kind or suffix in VIDEO_SUFFIXES:
        raise InputError(f"{path} is a video: expected {SEQUENCE}; `sdpose video` estimates its poses")
    if kind == "JSON":
        raise InputError(f"{path} is JSON under another suffix: rename it to {path.stem}{JSON_SUFFIX}")
    if kind != ZIP and suffix != ".npz":
        raise InputError(f"{path} is {kind or 'of an unknown kind'}: expected {SEQUENCE}")


def _from_json(
    path: Path, canvas: tuple[int, int] | None, frame_rate: Fraction | None, beside: Path | None
) -> PoseSequence:
    given = canvas or (size_of(beside) if beside is not None else None)
    frames = _frames(path, given)
    if not frames:
        raise InputError(f"{path} has no frames: expected OpenPose JSON of at least one")
    sizes = list(dict.fromkeys(frame.size for frame in frames))
    if len(sizes) > 1:
        found = " and ".join(f"{w} x {h}" for w, h in sizes[:2])
        raise InputError(f"{path}: its frames have canvases of {found}: all frames of a clip must have the same size")
    read = list(dict.fromkeys(note for frame in frames for note in frame.notes))
    notes = []
    w, h = sizes[0]
    if canvas not in (None, (w, h)):
        notes.append(f"it states its canvas, {w} x {h}: --canvas was not used for it")
    if len(frames) > 1 and frame_rate is None:
        notes.append(f"JSON has no times: taken as {USUAL_RATE} frames per second (--frame-rate)")
    sequence = _sequence_of(frames, frame_rate, notes)
    notes += read
    if len(notes) > SHOWN_NOTES:
        notes = [*notes[:SHOWN_NOTES], f"and {len(notes) - SHOWN_NOTES} more such notes"]
    for note in notes:
        say(note if note.startswith(str(path)) else f"{path}: {note}")
    meta = {name: value for name, value in sequence.meta.items() if name != "notes"}
    return replace(sequence, meta={**meta, "source": path.name, "notes": notes})


def _frames(path: Path, size: tuple[int, int] | None) -> list[PoseKeypointFrame]:
    """The frames of JSON. Raises `InputError`; for COCO annotations it names the command that reads them."""
    try:
        return read_openpose_json(path, size=size, ask="give the size of the picture with --canvas WxH")
    except InputError:
        if os.path.isfile(path) and is_coco(read_json(path)):
            raise InputError(f"{path} has COCO annotations: `sdpose import` reads them as a {SUFFIX}") from None
        raise


def _sequence_of(frames: Sequence[PoseKeypointFrame], frame_rate: Fraction | None, notes: list[str]) -> PoseSequence:
    poses = clip_poses(frames)
    if len(poses) == 1:
        return PoseSequence.from_poses(poses)
    if all(_has_ids(frame) for frame in frames):
        return PoseSequence.from_poses(poses, frame_rate=frame_rate or USUAL_RATE)
    notes.append("people have no ids: they were tracked without pictures")
    return track_frames(poses, frame_rate or USUAL_RATE)


def _has_ids(frame: PoseKeypointFrame) -> bool:
    ids = [person.person_id for person in frame.people]
    return None not in ids and len(set(ids)) == len(ids)


def size_of(path: Path) -> tuple[int, int]:
    """(w, h) of a picture, a video or a folder of pictures."""
    if path.suffix.lower() in IMAGE_SUFFIXES - VIDEO_SUFFIXES:
        h, w = read_image(path).shape[:2]
        return w, h
    with open_video(path) as video:
        return video.info.size
