"""Opens video files, animated pictures and folders of pictures as frames."""

from __future__ import annotations

import logging
import os
from fractions import Fraction
from pathlib import Path

from ..errors import InputError
from ..files import kind_of, why_missing
from ..images import WHITE, of_picture
from ..poses import USUAL_RATE
from .file import VideoFile
from .frames import ANIMATED, VIDEO_SUFFIXES, VideoSource
from .pictures import AnimatedPicture, PictureFolder

log = logging.getLogger(__name__)


def open_video(
    path: str | Path, *, frame_rate: Fraction | None = None, background: tuple[int, int, int] = WHITE
) -> VideoSource:
    """A video file, an animated picture, or a folder of pictures in natural order of their names.

    Args:
        frame_rate: of a folder of pictures (default 25); files have their own.
        background: RGB color behind transparent pixels.

    Raises `InputError` if it is missing, not a video, or no frame can be decoded.
    """
    path = Path(path)
    if frame_rate is not None and (not isinstance(frame_rate, Fraction) or frame_rate <= 0):
        raise InputError(f"frame rate: expected a positive Fraction, got {frame_rate!r}")
    if reason := why_missing(path):
        raise InputError(f"{path}: {reason}")
    if os.path.isdir(path):
        return PictureFolder(path, frame_rate or USUAL_RATE, background)
    if not os.path.isfile(path):  # a pipe or a device would block, or never end
        raise InputError(f"{path} is not a regular file: expected a video file or a folder of pictures")
    if frame_rate is not None:
        log.warning("%s: it has its own times: the given frame rate is not used", path)
    return AnimatedPicture(path, background) if _is_picture(path) else VideoFile(path, background)


def _is_picture(path: Path) -> bool:
    """Whether Pillow reads this file: pictures by their content, whatever their suffix, and no video that is called
    .gif, as those of many websites are."""
    kind = kind_of(path)
    if kind in ("a GIF picture", "a PNG picture", "a WebP picture"):
        return True
    return path.suffix.lower() in ANIMATED and "video" not in kind and "MP4" not in kind


def is_video(path: str | Path) -> bool:
    """Whether a file is a video by its suffix; GIF, WebP, APNG and PNG must have more than one frame."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in VIDEO_SUFFIXES | ANIMATED or not os.path.isfile(path):
        return False
    if suffix not in ANIMATED or not _is_picture(path):
        return True
    return of_picture(path, lambda image: getattr(image, "n_frames", 1) > 1, False)


def is_video_file(path: Path) -> bool:
    """Whether a file is a video and no picture: by its content, and by its suffix where that does not tell."""
    kind = kind_of(path)
    if "MP4" in kind:  # or AVIF
        return not of_picture(path, lambda _: True, False)
    return "video" in kind or (not kind and path.suffix.lower() in VIDEO_SUFFIXES - ANIMATED and os.path.isfile(path))


def is_still_picture(path: Path) -> bool:
    """Whether a file is a picture without motion, by its content."""
    return os.path.isfile(path) and of_picture(path, lambda image: getattr(image, "n_frames", 1) == 1, False)


def frame_count(path: str | Path) -> int:
    """The number of frames, counted by decoding. Raises as `open_video`."""
    with open_video(path) as source:
        return source.count() if isinstance(source, VideoFile) else sum(1 for _ in source.frames())
