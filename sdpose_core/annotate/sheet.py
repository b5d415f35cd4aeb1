"""The contact sheet of a run: one HTML file to look through its results, the worst first.

Thumbnails are in the file itself, so that it survives a move: about 10 KB for each input, 50 MB for 5,000. Links
lead to the files beside it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..dependencies import opencv
from ..drawing.canvas import place
from ..drawing.pose_maps import overlay
from ..errors import InputError, SDPoseError
from ..files import atomic_write
from ..origins import DRAWINGS, INSTEAD, MARK, OtherOrigin
from ..poses import Poses, PoseSequence
from ..sequences.cleaning import drawing_threshold
from ..texts import read_text
from ..version import __version__
from .sheet_page import page

NAME = "sheet.html"
THUMBNAIL = 176
"""Pixels: the longer side of a thumbnail."""
_QUALITY, _LINE_WIDTH = 55, 2
_BODY = slice(17)
"""The points of the body, which every drawable keypoint set begins with."""

Reader = Callable[[int], np.ndarray]
"""read(frame index) -> the picture of a frame, RGB uint8 (h, w, 3), of any size."""


@dataclass(frozen=True)
class Row:
    """One input on the sheet.

    Attributes:
        name: NAME of its files.
        source: the input, for a link.
        status, message: what became of it.
        scores: of each person: the mean score of the body points that are there, over all frames.
        found: how the people were found, for each person or for all.
        files: what lies in OUT of it.
        shown: the frame of the thumbnails, of a clip: the worst one with people.
        picture, overlay: thumbnails as WebP; empty if there are none.
        doubt: who is doubtful in the frame, and why, on the page of doubtful frames.
    """

    name: str
    source: Path
    status: str
    message: str = ""
    scores: tuple[float, ...] = ()
    found: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    shown: str = ""
    picture: bytes = b""
    overlay: bytes = b""
    doubt: str = ""

    @property
    def score(self) -> float | None:
        """The mean of all people; None if there are none."""
        return float(np.mean(self.scores)) if self.scores else None

    def order(self) -> tuple[int, float, str]:
        """Failed ones come first, then those with nobody, then by score."""
        return (0 if self.status == "failed" else 1 if not self.scores else 2), self.score or 0.0, self.name


def make_row(row: Row, poses: Path, read: Reader, threshold: float, **look: Any) -> Row:
    """The row with what is found in its `.pose.npz`, and its thumbnails.

    Args:
        read: reads a frame of the source.
        threshold, look: see `draw_poses`.

    What cannot be read is left out, and the message says so.
    """
    if row.status == "failed":
        return row
    row = replace(row, files=_files_of(poses, row.name))
    try:
        sequence = PoseSequence.load(poses)
        threshold = drawing_threshold(sequence.meta, threshold)
        scores = _body_scores(sequence, threshold)
        frame = _worst_frame(scores)
        row = replace(
            row, scores=_of_people(sequence, scores), found=_found(sequence.meta),
            shown=f"frame {sequence.frame_index[frame]}" if len(sequence) > 1 else "",
        )  # fmt: skip
        image = read(int(sequence.frame_index[frame]))
        picture, drawn = thumbnails(image, sequence.frame(frame), threshold=threshold, **look)
        return replace(row, picture=picture, overlay=drawn)
    except SDPoseError as error:
        return replace(row, message=f"{row.message}; {error}" if row.message else str(error))


def _files_of(poses: Path, name: str) -> tuple[Path, ...]:
    stem = name.rpartition("/")[2]
    found = [poses, *(poses.with_name(f"{stem}{end}") for end in DRAWINGS)]
    return tuple(file for file in found if os.path.exists(file))


def _body_scores(sequence: PoseSequence, threshold: float) -> np.ndarray:
    """(T, P) mean score of the body points that are there; NaN in empty slots, 0 for people without such points."""
    points, scores = sequence.keypoints[:, :, _BODY], sequence.scores[:, :, _BODY]
    there = np.isfinite(points).all(axis=3) & (scores >= threshold)
    means = np.where(there, scores, 0).sum(axis=2) / np.maximum(there.sum(axis=2), 1)
    return np.where(sequence.track_ids >= 0, means, np.nan)


def _worst_frame(scores: np.ndarray) -> int:
    """The position of the frame with the lowest mean of those with people; the middle one if there are none."""
    seen = np.isfinite(scores)
    count = seen.sum(axis=1)
    if not count.any():
        return len(scores) // 2
    means = np.where(seen, scores, 0).sum(axis=1) / np.maximum(count, 1)
    return int(np.argmin(np.where(count > 0, means, np.inf)))


def _of_people(sequence: PoseSequence, scores: np.ndarray) -> tuple[float, ...]:
    """The mean over the frames of each person."""
    ids = np.unique(sequence.track_ids[sequence.track_ids >= 0])
    return tuple(round(float(scores[sequence.track_ids == number].mean()), 3) for number in ids)


def _found(meta: Any) -> tuple[str, ...]:
    each = meta.get("boxes_found")
    if isinstance(each, list) and each:
        return tuple(map(str, each))
    return (str(meta["boxes_from"]),) if meta.get("boxes_from") else ()


def thumbnails(image: np.ndarray, poses: Poses, side: int = THUMBNAIL, **look: Any) -> tuple[bytes, bytes]:
    """The picture, RGB uint8 (h, w, 3), and its overlay as WebP.

    Args:
        side: pixels of the longer side.
        look: see `draw_poses`.
    """
    cv2 = opencv()

    w, h = poses.size
    scale = side / max(w, h)
    size = max(round(w * scale), 1), max(round(h * scale), 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return _webp(small), _webp(overlay(small, place(poses, size, "stretch"), line_width=_LINE_WIDTH, **look))


def _webp(rgb: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "WEBP", quality=_QUALITY)
    return file.getvalue()


def check_sheet(path: Path, overwrite: bool) -> None:
    """Raise `OtherOrigin` if there is a file in place of the sheet that is none of ours."""
    if overwrite or not os.path.lexists(path):
        return
    try:
        ours = _MARK in read_text(path)[:2000]
    except InputError:
        ours = False
    if not ours:
        raise OtherOrigin(f"{path} exists, but it is no contact sheet of sdpose: {INSTEAD}")


_MARK = f'<meta name="generator" content="{MARK}'
GENERATOR = f'{_MARK} {__version__}">'
"""The line of a page's head which shows that it is ours."""


def write_sheet(path: Path, rows: Iterable[Row]) -> None:
    """Write the sheet, atomically. Raises `InputError` if it cannot be written."""
    ordered = sorted(rows, key=Row.order)
    with atomic_write(path) as file:
        for part in page(ordered, path.parent, GENERATOR):
            file.write(part.encode("utf-8", "replace"))
