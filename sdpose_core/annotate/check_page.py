"""The page of the most distrusted frames of many clips: each with its person, large enough to judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, SDPoseError, counted
from ..files import atomic_write
from ..poses import Poses, PoseSequence
from ..sequences.cleaning import drawing_threshold
from ..sequences.doubts import in_words
from .sheet import GENERATOR, Reader, Row, thumbnails
from .sheet_page import page

NAME = "check.html"
MOST = 60
"""Frames on the page."""
_SIDE = 320
"""Pixels: the longer side of a thumbnail."""
_MARGIN = 0.35
"""Around the person, as a share of the longer side of the box."""


@dataclass(frozen=True)
class WorstFrame:
    """A doubtful person in a frame of a clip.

    Attributes:
        name: NAME of the clip's files.
        source: the video.
        poses: its `.pose.npz`.
        doubt: an entry of `doubts.figures`.
    """

    name: str
    source: Path
    poses: Path
    doubt: Mapping[str, Any]


def worst_of_all(clips: Iterable[tuple[str, Path, Path, Mapping[str, Any]]], most: int = MOST) -> list[WorstFrame]:
    """The most distrusted frames of all clips (name, source, poses, figures), the worst first."""
    found = [
        WorstFrame(name, source, poses, doubt)
        for name, source, poses, figures in clips
        for doubt in figures.get("worst", ())
    ]
    return sorted(found, key=lambda worst: (-worst.doubt["distrust"], worst.name, worst.doubt["frame"]))[:most]


def check_row(worst: WorstFrame, read: Reader, threshold: float, **look: Any) -> Row:
    """A row with the person of a doubtful frame. What cannot be read is left out, and the message says so.

    Args:
        read, threshold, look: as for `sheet.make_row`.
    """
    shown = f"frame {worst.doubt['frame']}"
    words = in_words(worst.doubt)
    row = Row(worst.name, worst.source, "done", files=(worst.poses,), shown=shown, doubt=words)
    try:
        sequence = PoseSequence.load(worst.poses)
        places = np.flatnonzero(sequence.frame_index == worst.doubt["frame"])
        if not len(places):
            raise InputError(f"{worst.poses} has no {shown}")
        image, poses = _around(read(worst.doubt["frame"]), sequence.frame(int(places[0])), worst.doubt["id"])
        threshold = drawing_threshold(sequence.meta, threshold)
        picture, drawn = thumbnails(image, poses, _SIDE, threshold=threshold, **look)
        return replace(row, picture=picture, overlay=drawn)
    except SDPoseError as error:
        return replace(row, message=str(error))


def _around(image: np.ndarray, poses: Poses, track_id: int) -> tuple[np.ndarray, Poses]:
    """The part of a picture with one person, and everybody's poses in it; the whole one if the person has no box."""
    h, w = image.shape[:2]
    boxes = poses.boxes[poses.track_ids == track_id, :4]
    if (w, h) != poses.size or not len(boxes) or not (boxes[0, 2:] > boxes[0, :2]).all():
        return image, poses
    margin = _MARGIN * float((boxes[0, 2:] - boxes[0, :2]).max())
    x1, y1 = np.maximum(boxes[0, :2] - margin, 0).astype(int)
    x2, y2 = np.minimum(np.ceil(boxes[0, 2:] + margin), (w, h)).astype(int)
    if x2 <= x1 or y2 <= y1:
        return image, poses
    shift = np.asarray([x1, y1], np.float32)
    boxes = poses.boxes - np.asarray([*shift, *shift, 0], np.float32)
    part = np.ascontiguousarray(image[y1:y2, x1:x2])
    moved = replace(poses, keypoints=poses.keypoints - shift, boxes=boxes, size=(int(x2 - x1), int(y2 - y1)))
    return part, moved


def write_check_page(path: Path, rows: Sequence[Row], clips: int) -> None:
    """Write the page, atomically. Raises `InputError` if it cannot be written."""
    frames = f"{counted(len(rows), 'frame')} to look at" if rows else "No doubtful frame"
    order = "The most distrusted come first, at most one of a person a second."
    summary = f"{frames}, of {counted(clips, 'clip')}. {order}"
    with atomic_write(path) as file:
        for part in page(rows, path.parent, GENERATOR, title="Frames to check", summary=summary):
            file.write(part.encode("utf-8", "replace"))
