"""Frames of videos, animated pictures and folders of pictures, one at a time: memory does not grow with the length.

Every source gives each of its frames once, upright, in the order of presentation, with its number and its time. Times
are those of the file; frame rates are fractions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".ogv",
     ".3gp", ".mxf", ".vob", ".f4v", ".asf", ".divx", ".gif", ".webp", ".apng"}
)  # fmt: skip
"""What a folder of videos is searched for (lower case). Of pictures only animated ones are videos, see `is_video`."""

ANIMATED = frozenset({".gif", ".webp", ".apng", ".png"})


@dataclass(frozen=True)
class VideoInfo:
    """What is known before the frames are read.

    Attributes:
        path: of the file or folder.
        size: (w, h) of the frames as they are shown: turned upright, with square pixels.
        frame_rate: frames per second, the average one where it varies.
        frames: their number as the file states it; None if it does not, and it may be wrong.
        duration: seconds, as the file states it.
    """

    path: Path
    size: tuple[int, int]
    frame_rate: Fraction
    frames: int | None = None
    duration: float | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes:
        index: number of the frame in the source, from 0; of a damaged file among those that can be decoded.
        pts: seconds, as the file states them; the first may be other than 0. They rise from frame to frame.
        image: RGB uint8 (H, W, 3).
    """

    index: int
    pts: float
    image: np.ndarray


class VideoSource(Protocol):
    """Frames to read once or several times; a context manager."""

    info: VideoInfo
    damaged: list[int]
    """After reading: numbers of the frames that are damaged, or before which something could not be decoded. The number
    of frames stands for what is missing at the end."""

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The frames from number `start` on: the same ones as in a reading from the first."""
        ...

    def __enter__(self) -> VideoSource: ...

    def __exit__(self, *_error: object) -> None: ...
