"""The interface of all video sources: upright frames, one at a time, in the order of presentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..origins import file_identity

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".qt", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mpe", ".mpv", ".m1v", ".m2v", ".ts",
     ".m2t", ".m2ts", ".mts", ".wmv", ".flv", ".ogv", ".ogm", ".3gp", ".3g2", ".mxf", ".vob", ".f4v", ".asf", ".divx",
     ".dv", ".rm", ".rmvb", ".y4m", ".mod", ".tod", ".insv", ".h264", ".264", ".hevc", ".265", ".gif", ".webp", ".apng"}
)  # fmt: skip
"""Suffixes of the videos in a folder (lower case). Pictures only count if they are animated, see `is_video`."""

ANIMATED = frozenset({".gif", ".webp", ".apng", ".png"})


@dataclass(frozen=True)
class VideoInfo:
    """What is known before the frames are read.

    Attributes:
        path: file or folder.
        size: (w, h) of the upright frames with square pixels.
        frame_rate: frames per second, by the times of the frames; the average if it varies, without pauses.
        frames: number of frames as stated by the file, which may be wrong, or None.
        duration: seconds, as stated by the file, or None.
        streams: number of video streams in the file.
        notes: which of several streams is read, and a stated frame rate that is wrong.
    """

    path: Path
    size: tuple[int, int]
    frame_rate: Fraction
    frames: int | None = None
    duration: float | None = None
    streams: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes:
        index: number of the frame, from 0; in a damaged file, among those that can be decoded.
        pts: presentation time in seconds, rising; the first may not be 0.
        image: RGB uint8 (H, W, 3).
        name: of the picture's file, for frames of a folder of pictures.
    """

    index: int
    pts: float
    image: np.ndarray
    name: str | None = None


class VideoSource(Protocol):
    """Frames to read once or several times; a context manager, though nothing is held open between readings."""

    info: VideoInfo
    damaged: list[int]
    """After reading: indices of frames that are damaged or follow a gap; the number of frames if the end is missing."""

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The frames from index `start` on, the same as when reading from the first."""
        ...

    def identity(self) -> dict[str, Any]:
        """What tells it apart from every other source: of its content, see `origins.file_identity`."""
        return file_identity(self.info.path)

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *_error: object) -> None:
        return None
