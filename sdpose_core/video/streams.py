"""The video stream of a file: which one is read, its frame rate, and how its frames are made upright."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..containers import open_container
from ..dependencies import require
from ..errors import InputError, reason_of
from ..files import HEIC, LIST, kind_of
from ..images import check_pixels
from ..poses import USUAL_RATE
from ..times import agreed_rate

SAMPLE_PACKETS, SAMPLE_BYTES = 240, 32 << 20
"""Largest part of a file that is read to count the frames of its streams and to compare their times with the rate."""

NOT_MUCH_SHORTER = 0.9
"""A stream with this share of the frames of the longest one counts as just as long."""

LOWEST_RATE, HIGHEST_RATE = Fraction(1, 100_000), 100_000
"""Frames per second. What states another rate states none: from one frame a day to the fastest cameras."""

MAX_PIXEL_ASPECT = 10
"""Wider or higher pixels are an error of the file and count as square."""

FEW = 0.1
"""A stream with this share of the frames of the longest one, or less, is a row of thumbnails, not a video."""

_PICTURES = ("mjpeg", "png", "bmp", "gif", "webp", "tiff", "jpeg2000")
"""Codecs of thumbnails: a stream of them is one if another stream is longer."""

_NOT_THE_VIDEO = ("attached_pic", "timed_thumbnails", "still_image", "dependent")
"""Dispositions of streams that accompany the video."""

_DISPLAY_MATRIX = 6
"""FFmpeg's number for this type of a frame's side data."""

_KINDS_OF_SIDE_DATA = 64
"""More than FFmpeg has."""


@dataclass(frozen=True)
class StreamFacts:
    """The stream that is read.

    Attributes:
        index: in the container.
        count: of the video streams in the file, without covers and thumbnails that are marked as such.
        frame_rate: frames per second, which the times of the frames agree with.
        notes: which of several streams is used, and a stated rate that is wrong.
    """

    index: int
    count: int
    frame_rate: Fraction
    notes: tuple[str, ...]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The container of a file. Raises `InputError` if it is not a video."""
    av = require("av", "reading videos")
    if (kind := kind_of(path)) == HEIC:  # FFmpeg would take the first of its tiles for the picture
        raise InputError(f"{path} is {HEIC}: convert it to PNG or JPEG")
    if kind == LIST:
        raise InputError(f"{path} is {LIST}: pass the videos themselves")
    try:
        container = open_container(path)
    except PermissionError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        found = ", ".join(filter(None, (kind, reason_of(error))))
        raise InputError(
            f"{path} cannot be read as a video ({found}): expected MP4, MOV, MKV, WebM, AVI or similar; it is cut "
            "off, damaged or of another kind, get it again or convert it"
        ) from None
    with container:
        yield container


def choose_stream(path: Path) -> StreamFacts:
    """The stream that a player shows: no cover or thumbnail, the default one, the longest, the largest.

    A short stream beside a longer one counts as thumbnails, whatever it is marked as, see `FEW`. Raises `InputError` if
    there is none that can be decoded.
    """
    with opened(path) as container:
        streams = [stream for stream in container.streams.video if not _has(stream, "attached_pic")]
        streams = [stream for stream in streams if not _has(stream, *_NOT_THE_VIDEO)] or streams
        if not streams:
            raise InputError(f"{path} has no pictures, only sound or text: expected a video that is not cut off")
        known = [stream for stream in streams if stream.codec_context is not None]
        if not known:
            raise InputError(
                f"{path}: this PyAV has no decoder for this kind of video: convert it, for example to H.264"
            )
        times = _first_times(container, known)
        frames = {stream.index: max(stream.frames, len(times[stream.index])) for stream in known}
        best = max(known, key=lambda stream: _rank(stream, frames[stream.index], max(frames.values())))
        rate, note = _rate(best, times[best.index])
        codec = best.codec_context
        check_pixels((codec.width, codec.height), str(path))
        name = codec.codec.canonical_name
        which = (
            f"has {len(streams)} video streams: number {best.index} ({name}, {codec.width} x {codec.height}) is used"
        )
        notes = (which if len(streams) > 1 else "", note)
        return StreamFacts(best.index, len(streams), rate, tuple(filter(None, notes)))


def _has(stream: Any, *names: str) -> bool:
    """Whether a stream has one of these dispositions. Older PyAVs do not know all of them."""
    known = type(stream.disposition)
    return any(stream.disposition & getattr(known, name) for name in names if hasattr(known, name))


def _rank(stream: Any, frames: int, most: int) -> tuple[Any, ...]:
    """The higher the better; of equals the first one is used."""
    codec = stream.codec_context
    long = frames >= NOT_MUCH_SHORTER * most
    thumbnails = frames <= max(1, FEW * most) or (codec.codec.canonical_name in _PICTURES and not long)
    return not thumbnails, _has(stream, "default"), long, frames if not long else 0, codec.width * codec.height


def _first_times(container: Any, streams: list[Any]) -> dict[int, np.ndarray]:
    """Decoding and presentation times (N, 2) in seconds of the first frames of each stream, as they are stored; NaN if
    the file has none."""
    import av

    stamps: dict[int, list[tuple[float, float]]] = {stream.index: [] for stream in streams}
    size = 0
    with contextlib.suppress(av.error.FFmpegError):  # damage is noted when the frames are read
        for number, packet in enumerate(container.demux(streams)):
            if packet.size:
                stamp = (_seconds(packet.dts, packet.time_base), _seconds(packet.pts, packet.time_base))
                stamps[packet.stream.index].append(stamp)
            size += packet.size
            if number >= SAMPLE_PACKETS or size > SAMPLE_BYTES:
                break
    return {index: np.asarray(pairs).reshape(-1, 2) for index, pairs in stamps.items()}


def _seconds(stamp: int | None, time_base: Fraction) -> float:
    return float("nan") if stamp is None else float(stamp * time_base)


def _rate(stream: Any, stamps: np.ndarray) -> tuple[Fraction, str]:
    """Frames per second, and a note if the times of the frames contradict what the file states.

    Presentation times lack some at the end of what was read, decoding times are approximate where the rate varies: the
    stated rate counts if either agrees. Where a new recording begins, presentation times cannot be put in order.
    """
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    stated = next((Fraction(rate) for rate in rates if rate and LOWEST_RATE <= rate <= HIGHEST_RATE), None)
    decoding, presentation = stamps.T
    joined = (np.diff(decoding[np.isfinite(decoding)]) < 0).any()
    steps = [np.diff(times) for times in ([decoding] if joined else [np.sort(presentation), decoding])]
    agreed = [agreed_rate(stated, known) for known in steps if (known > 0).any()] or [stated]
    rate = (stated if stated in agreed else agreed[0]) or USUAL_RATE
    if stated is None or rate == stated:
        return rate, ""
    apart = f"{float(1000 / rate):.5g} ms"
    return rate, (
        f"states {float(stated):.6g} frames per second, but its frames are {apart} apart: {float(rate):.6g} used"
    )


def square_pixels(frame: Any, stream: Any) -> tuple[int, int]:
    """(w, h) of a frame with square pixels, before it is rotated."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, MAX_PIXEL_ASPECT) <= aspect <= MAX_PIXEL_ASPECT:
        aspect = Fraction(1)
    return max(round(frame.width * aspect), 1), frame.height


def turn_of(frame: Any, time_base: Fraction) -> tuple[bool, bool, bool]:
    """How to make a frame upright, by its display matrix: transpose, then mirror left-right, then upside down."""
    import struct

    matrix = _display_matrix(frame, time_base)
    if matrix is None:
        return False, False, False
    a, b, _, c, d = (value / 65536 for value in struct.unpack("<5i", matrix[:20]))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def _display_matrix(frame: Any, time_base: Fraction) -> bytes | None:
    """The display matrix of a frame.

    PyAV reads all side data of a frame at once, which fails for types that it does not know (EXIF) and crashes for some
    that it knows (color profiles). FFmpeg's filter first removes whatever else there is.
    """
    with_matrix = _filtered(frame, time_base, [f"mode=select:type={_DISPLAY_MATRIX}"])
    if with_matrix is None:
        return None
    others = [f"mode=delete:type={kind}" for kind in range(_KINDS_OF_SIDE_DATA) if kind != _DISPLAY_MATRIX]
    only = _filtered(with_matrix, time_base, others)
    return None if only is None else bytes(next(iter(only.side_data)))


def _filtered(frame: Any, time_base: Fraction, settings: list[str]) -> Any:
    """The frame after one "sidedata" filter for each of the settings; None if they drop it."""
    import av

    graph = av.filter.Graph()
    end = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)
    for text in settings:
        following = graph.add("sidedata", text)
        end.link_to(following)
        end = following
    end.link_to(graph.add("buffersink"))
    graph.configure()
    graph.push(frame)
    try:
        return graph.pull()
    except (av.error.BlockingIOError, av.error.EOFError):
        return None
