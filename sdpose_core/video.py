"""Frames of videos, animated pictures and folders of pictures, one at a time: memory does not grow with the length.

Every source gives each of its frames once, upright, in the order of presentation, with its number and its time. Times
are those of the file; frame rates are fractions.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .dependencies import require
from .errors import InputError
from .images import IMAGE_SUFFIXES, WHITE, read_image

log = logging.getLogger(__name__)

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
        index: number of the frame in the source, from 0.
        pts: seconds.
        image: RGB uint8 (H, W, 3).
    """

    index: int
    pts: float
    image: np.ndarray


class VideoSource(Protocol):
    """Frames to read once or several times; a context manager."""

    info: VideoInfo
    damaged: list[int]
    """Numbers of the frames before which something could not be decoded, after reading."""

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

    Raises `InputError` for what is missing, damaged beyond the first frame, or no video.
    """
    path = Path(path)
    if frame_rate is not None and (not isinstance(frame_rate, Fraction) or frame_rate <= 0):
        raise InputError(f"frame rate: expected a positive Fraction, got {frame_rate!r}")
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        return PictureFolder(path, frame_rate or USUAL_RATE, background)
    if path.suffix.lower() in ANIMATED:
        return AnimatedPicture(path, background)
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
    except (OSError, SyntaxError, ValueError):
        return False


def frame_count(path: str | Path) -> int:
    """The number of frames that a reader gets, counted by decoding. Raises as `open_video`."""
    with open_video(path) as source:
        return sum(1 for _ in source.frames())


# --- video files ---------------------------------------------------------------------------------------------------


class VideoFile:
    """A file that PyAV (FFmpeg) decodes."""

    def __init__(self, path: Path, background: tuple[int, int, int] = WHITE) -> None:
        self.path, self.background = path, background
        self.damaged: list[int] = []
        with self._opened() as (container, stream):
            first = next((frame for _, frame in self._decoded(container, stream)), None)
            if first is None:
                raise InputError(f"{path}: no frame of this video can be decoded; it is damaged or empty")
            self._turn = _turn_of(first)
            self._coded_size = _square_pixels(first, stream)
            rate = stream.average_rate or stream.guessed_rate or stream.base_rate or USUAL_RATE
            w, h = self._coded_size
            self.info = VideoInfo(
                path=path,
                size=(h, w) if self._turn[0] else (w, h),
                frame_rate=Fraction(rate),
                frames=stream.frames or None,
                duration=_duration(container, stream),
            )
        self.damaged = []

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is held open between readings."""

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `VideoSource`. What cannot be decoded is left out and counted in `damaged`."""
        self.damaged = []
        last: float | None = None
        with self._opened() as (container, stream):
            for index, frame in self._decoded(container, stream):
                pts = last = _seconds(frame, last, self.info.frame_rate)
                if index >= start:
                    yield Frame(index, pts, self._pixels(frame))
        if self.damaged:
            log.warning("%s: damaged at frames %s", self.path, ", ".join(map(str, self.damaged[:10])))

    def _opened(self) -> Any:
        return _Opened(self.path)

    def _decoded(self, container: Any, stream: Any) -> Iterator[tuple[int, Any]]:
        """Numbered frames; goes on after what cannot be decoded."""
        import av

        decoder = _decoder_of(stream)
        index = 0
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                self._note(index)
                packet = None  # the file ends here: what the decoder holds still comes
            try:
                decoded = decoder.decode(packet) if packet is None or packet.size or packet.dts is None else []
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self._note(index)
                decoded = []
            for frame in decoded:
                yield index, frame
                index += 1
            if packet is None or (not packet.size and packet.dts is None):
                return

    def _note(self, index: int) -> None:
        if index not in self.damaged:
            self.damaged.append(index)

    def _pixels(self, frame: Any) -> np.ndarray:
        w, h = self._coded_size
        transparent = any(part.is_alpha for part in frame.format.components) or frame.format.name == "pal8"
        kind = "rgba" if transparent else "rgb24"
        if (frame.width, frame.height) != (w, h):
            frame = frame.reformat(width=w, height=h, format=kind, interpolation="BICUBIC")
        pixels = frame.to_ndarray(format=kind)
        if transparent:
            pixels = _laid_on(pixels, self.background)
        transposed, left_right, upside_down = self._turn
        pixels = pixels.transpose(1, 0, 2) if transposed else pixels
        pixels = pixels[:, ::-1] if left_right else pixels
        pixels = pixels[::-1] if upside_down else pixels
        return np.ascontiguousarray(pixels)


class _Opened:
    """Container and video stream of a file, as a context manager. Raises `InputError` for what is no video."""

    def __init__(self, path: Path) -> None:
        av = require("av", "reading videos")
        self.path = path
        try:
            self.container = av.open(str(path))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{path} cannot be read as a video ({reason}): it is damaged or of another kind") from None

    def __enter__(self) -> tuple[Any, Any]:
        import av

        streams = [s for s in self.container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams:
            self.container.close()
            raise InputError(f"{self.path} has no pictures: expected a video")
        streams[0].thread_type = "AUTO"
        return self.container, streams[0]

    def __exit__(self, *_error: object) -> None:
        self.container.close()


def _decoder_of(stream: Any) -> Any:
    """The stream's decoder. For VP8 and VP9 with an alpha channel libvpx, as FFmpeg's own leaves the channel out."""
    import av

    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    if name and stream.metadata.get("alpha_mode") == "1" and name in av.codecs_available:
        return av.CodecContext.create(name, "r")
    return stream


def _seconds(frame: Any, last: float | None, frame_rate: Fraction) -> float:
    """Time of a frame; one frame after the `last` one where the file does not say."""
    if frame.pts is not None and frame.time_base is not None:
        return float(frame.pts * frame.time_base)
    return 0.0 if last is None else last + float(1 / frame_rate)


def _duration(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / 1e6


def _square_pixels(frame: Any, stream: Any) -> tuple[int, int]:
    """(w, h) of a frame before it is turned, with pixels made square."""
    shape = stream.sample_aspect_ratio or Fraction(1)
    return max(round(frame.width * shape), 1), frame.height


def _turn_of(frame: Any) -> tuple[bool, bool, bool]:
    """What makes a frame upright, by its display matrix: transpose, then mirror left-right, then upside down."""
    import struct

    try:
        matrix = next(data for data in frame.side_data if data.type.name == "DISPLAYMATRIX")
    except (StopIteration, AttributeError):
        return False, False, False
    a, b, _, c, d = (value / 65536 for value in struct.unpack("<5i", bytes(matrix)[:20]))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def _laid_on(rgba: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """(H, W, 4) uint8 with alpha -> (H, W, 3) over a colour."""
    alpha = rgba[..., 3:].astype(np.uint32)
    mixed = rgba[..., :3] * alpha + np.asarray(background, np.uint32) * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


# --- pictures ------------------------------------------------------------------------------------------------------


class AnimatedPicture:
    """A GIF, WebP or APNG that Pillow decodes."""

    def __init__(self, path: Path, background: tuple[int, int, int] = WHITE) -> None:
        self.path, self.background = path, background
        self.damaged: list[int] = []
        w, h, times, total = 0, 0, [], 0.0
        for seconds, image in self._images():
            (w, h), total = image.size, total + seconds
            times.append(total - seconds)
        if not times:
            raise InputError(f"{path} cannot be read as an animated picture: it is damaged or of another kind")
        self._times = times
        rate = Fraction(len(times), 1) / Fraction(total).limit_denominator(1000) if total else USUAL_RATE
        self.info = VideoInfo(path, (w, h), rate.limit_denominator(1001), len(times), total or None)

    def __enter__(self) -> AnimatedPicture:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is held open between readings."""

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `VideoSource`."""
        for index, (_, image) in enumerate(self._images()):
            if index >= start:
                yield Frame(index, self._times[index], _laid_on(np.asarray(image.convert("RGBA")), self.background))

    def _images(self) -> Iterator[tuple[float, Any]]:
        """Seconds that each frame is shown, and the frame."""
        from PIL import Image, ImageSequence

        shown = 0
        try:
            with Image.open(self.path) as image:
                for frame in ImageSequence.Iterator(image):
                    frame.load()
                    # Browsers show a frame without a duration, or of 10 ms and less, for a tenth of a second.
                    milliseconds = float(frame.info.get("duration") or 0)
                    yield (milliseconds if milliseconds > 10 else 100.0) / 1000, frame
                    shown += 1
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            if shown == 0:
                raise InputError(
                    f"{self.path} cannot be read as an animated picture ({error}): it is damaged or of another kind"
                ) from None
            if shown not in self.damaged:
                self.damaged.append(shown)
                log.warning("%s: damaged after frame %d (%s)", self.path, shown - 1, error)


class PictureFolder:
    """The pictures of a folder, in the natural order of their names: frame2 before frame10."""

    def __init__(self, path: Path, frame_rate: Fraction, background: tuple[int, int, int] = WHITE) -> None:
        self.damaged: list[int] = []
        self.background = background
        files = [entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()]
        self.files = sorted(files, key=lambda file: _natural(file.name))
        if not self.files:
            raise InputError(f"{path}: no picture in this folder ({', '.join(sorted(IMAGE_SUFFIXES))})")
        h, w = read_image(self.files[0], background=background).shape[:2]
        count = len(self.files)
        self.info = VideoInfo(path, (w, h), frame_rate, count, float(count / frame_rate))

    def __enter__(self) -> PictureFolder:
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is held open between readings."""

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `VideoSource`. Raises `InputError` for a picture of another size than the first, or a damaged one."""
        for index, file in enumerate(self.files[start:], start):
            image = read_image(file, background=self.background)
            size = (image.shape[1], image.shape[0])
            if size != self.info.size:
                raise InputError(
                    f"{file}: {size[0]} x {size[1]} pixels, the first picture of the folder has "
                    f"{self.info.size[0]} x {self.info.size[1]}: frames of one clip must have one size"
                )
            yield Frame(index, float(index / self.info.frame_rate), image)


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key in which numbers count as numbers."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]
