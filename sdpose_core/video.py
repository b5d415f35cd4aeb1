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

from .errors import InputError
from .images import DAMAGE, WHITE

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".ogv",
     ".3gp", ".mxf", ".vob", ".f4v", ".asf", ".divx", ".gif", ".webp", ".apng"}
)  # fmt: skip
"""What a folder of videos is searched for (lower case). Of pictures only animated ones are videos, see `is_video`."""

ANIMATED = frozenset({".gif", ".webp", ".apng", ".png"})
USUAL_RATE = Fraction(25)
"""Frames per second of a folder of pictures, and of files that do not say."""


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


def open_video(
    path: str | Path, *, frame_rate: Fraction | None = None, background: tuple[int, int, int] = WHITE
) -> VideoSource:
    """A video file, an animated picture, or a folder of pictures in the natural order of their names.

    Args:
        frame_rate: of a folder of pictures (25 if not given); files state their own.
        background: RGB on which transparent frames are laid.

    Raises `InputError` for what is missing, no video, or so damaged that no frame can be decoded.
    """
    path = Path(path)
    if frame_rate is not None and (not isinstance(frame_rate, Fraction) or frame_rate <= 0):
        raise InputError(f"frame rate: expected a positive Fraction, got {frame_rate!r}")
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        from .video_pictures import PictureFolder

        return PictureFolder(path, frame_rate or USUAL_RATE, background)
    if not path.is_file():  # a pipe or a device would block, or never end
        raise InputError(f"{path} is no regular file: expected a video file or a folder of pictures")
    if path.suffix.lower() in ANIMATED:
        from .video_pictures import AnimatedPicture

        return AnimatedPicture(path, background)
    from .video_file import VideoFile

    return VideoFile(path, background)


def is_video(path: str | Path) -> bool:
    """Whether a file is a video by its name; GIF, WebP and APNG count if they have more than one frame."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in VIDEO_SUFFIXES or not path.is_file():
        return False
    if suffix not in ANIMATED:
        return True
    from PIL import Image

    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except (*DAMAGE, Image.DecompressionBombError):
        return False


def frame_count(path: str | Path) -> int:
    """The number of frames that a reader gets, counted by decoding, not as stated. Raises as `open_video`."""
    from .video_file import VideoFile

    with open_video(path) as source:
        return source.count() if isinstance(source, VideoFile) else sum(1 for _ in source.frames())
