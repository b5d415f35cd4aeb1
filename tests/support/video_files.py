"""Videos for the tests of reading and writing."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from sdpose_core.video.file import reformat
from sdpose_core.video.frames import Frame
from sdpose_core.video.opening import open_video
from sdpose_core.video.writer import VideoWriter


def pictures(count: int, size: tuple[int, int] = (64, 48), seed: int = 0) -> list[np.ndarray]:
    """Frames of noise, each with a bright block at another place."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 200, (count, size[1], size[0], 3), dtype=np.uint8)
    for number, frame in enumerate(frames):
        frame[:8, number % (size[0] - 8) : number % (size[0] - 8) + 8] = 255
    return list(frames)


def levels(count: int, size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    """Plain gray frames; the level encodes the number, see `numbers`."""
    return [np.full((size[1], size[0], 3), 20 * number, np.uint8) for number in range(count)]


def numbers(frames: Sequence[Frame]) -> list[int]:
    """The numbers of frames from `levels`, after any encoding."""
    return [round(frame.image.mean() / 20) for frame in frames]


def write(
    path: Path, frames: Sequence[np.ndarray], rate: Fraction = Fraction(25), codec: str = "lossless", **settings: Any
) -> Path:
    """Write a file with our writer."""
    h, w = frames[0].shape[:2]
    with VideoWriter(path, (w, h), rate, codec=codec, **settings) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def read(path: Path, start: int = 0) -> list[Frame]:
    """Read the frames of a file with our reader."""
    with open_video(path) as source:
        return list(source.frames(start))


def encode(
    path: Path,
    codec: str,
    pixel_format: str,
    frames: Sequence[np.ndarray],
    *,
    kind: str = "rgb24",
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    title: str = "",
    **attributes: Any,
) -> Path:
    """Write a file with PyAV, for kinds that our writer does not support. `attributes` are those of the stream."""
    with av.open(str(path), "w", options=container or {}) as file:
        if title:
            file.metadata["title"] = title
        stream = file.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], pixel_format
        if time_base:
            stream.codec_context.time_base = time_base
        for name, value in attributes.items():
            setattr(stream.codec_context, name, value)
        for number, image in enumerate(frames):
            frame = reformat(av.VideoFrame.from_ndarray(image, format=kind), format=pixel_format)
            if pts is not None:
                frame.pts, frame.time_base = pts[number], time_base
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def set_display_matrix(path: Path, matrix: tuple[int, ...]) -> None:
    """Write the matrix (a, b, c, d) to the track header of an MP4, as phones do."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 65536 for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def spoil(path: Path, seed: int, places: int = 2) -> Path:
    """A copy of the MP4 with random bytes in the middle of its pictures."""
    rng = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    first = content.index(b"mdat") + 400
    last = content.rindex(b"moov") - 300
    for start in rng.integers(first, last, places):
        content[start : start + 100] = rng.integers(0, 255, 100, np.uint8).tobytes()
    spoiled = path.with_name(f"spoiled{seed}{path.suffix}")
    spoiled.write_bytes(content)
    return spoiled
