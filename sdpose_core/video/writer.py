"""Writing videos frame by frame. The file appears when it is finished, or not at all."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..dependencies import require
from ..errors import InputError
from ..files import atomic_path
from .file import reformat

TIME_BASE = Fraction(1, 90_000)
"""Seconds. What times of frames are rounded to, where they are not multiples of one fraction of a second."""

FINEST, COARSEST = 1_000_000, 10_000
"""Parts of a second: no finer fraction is looked for; and MP4 halves a coarser one until it is as fine as this."""

LONGEST = 2**31 - 1
"""Ticks from one frame to the next, and the largest number in a frame rate, that MP4 can hold."""

MAX_SIDE = 16_384
"""Pixels; x264 encodes no larger pictures."""


@dataclass(frozen=True)
class Codec:
    """How a kind of video is encoded."""

    encoder: str
    pixel_format: str
    even: bool = False
    options: dict[str, str] = field(default_factory=dict)


CODECS = {
    "lossless": Codec("libx264rgb", "rgb24", options={"crf": "0", "preset": "veryfast", "bf": "0", "g": "25"}),
    "h264": Codec("libx264", "yuv420p", even=True, options={"crf": "18", "preset": "medium"}),
    "ffv1": Codec("ffv1", "bgr0", options={"level": "3", "g": "1", "slices": "4"}),
}
"""lossless: every pixel as it was; h264: for players, colors bleed a little; ffv1: lossless without x264."""

SUFFIX = {"lossless": ".mp4", "h264": ".mp4", "ffv1": ".mkv"}


class VideoWriter:
    """A video of RGB frames; use it in a `with` block.

    Args:
        path: of the file, with the suffix that the codec needs.
        size: (w, h) of the frames. "h264" needs even sides: odd ones are widened by repeating the last row or column,
            which `notes` says.
        frame_rate: frames per second, exactly (MKV rounds times to milliseconds).
        codec: a name of `CODECS`.
        pts: times of the frames in seconds, rising from 0 or later, where the rate varies; as many as frames will be
            written. Kept exactly where they are multiples of one fraction of a second, as those of a video are.

    Raises `InputError` for settings that a video cannot have, an encoder that this PyAV lacks, frames of another kind,
    and a folder or disk that cannot be written to; then no file is left behind.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        frame_rate: Fraction,
        *,
        codec: str = "lossless",
        pts: Sequence[float] | np.ndarray | None = None,
    ) -> None:
        if codec not in CODECS:
            raise InputError(f"unknown codec {codec!r}: choose one of {', '.join(CODECS)}")
        self.path, self.size, self.frame_rate, self.codec = Path(path), size, frame_rate, codec
        if self.path.suffix.lower() != SUFFIX[codec]:
            raise InputError(f"{path}: codec {codec!r} writes {SUFFIX[codec]} files")
        _check_rate(frame_rate)
        w, h = size
        if not (1 <= w <= MAX_SIDE and 1 <= h <= MAX_SIDE):
            raise InputError(f"{path}: expected sides of 1 to {MAX_SIDE:,} pixels, got {w} x {h}")
        self._padding = (h % 2, w % 2) if CODECS[codec].even else (0, 0)
        widened = f"{w} x {h} became {w + w % 2} x {h + h % 2}: {codec} needs even sides"
        self.notes = [widened] if any(self._padding) else []
        self._time_base = 1 / frame_rate
        self._ticks: list[int] | None = None
        if pts is not None:
            self._time_base, self._ticks = _ticks(self.path, pts)
        self._frames = 0
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> VideoWriter:
        self._file = self._open_file()
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._file.__exit__(*error)

    @contextlib.contextmanager
    def _open_file(self) -> Iterator[None]:
        av = require("av", "writing videos")
        encoder = CODECS[self.codec].encoder
        if encoder not in av.codecs_available:
            others = [name for name, kind in CODECS.items() if kind.encoder in av.codecs_available]
            raise InputError(f"this PyAV has no encoder {encoder}: use codec {' or '.join(others) or '(it has none)'}")
        with atomic_path(self.path) as temporary:
            with self._as_input_errors():
                self._container = av.open(f"file:{temporary}", "w", container_options=self._container_options())
            try:
                self._add_stream()
                yield
                self._finish()
            finally:
                with contextlib.suppress(av.error.FFmpegError, OSError):  # told by `_finish`, or of no interest
                    self._container.close()
            with open(temporary, "rb") as file:  # some disks say only now that they are full
                os.fsync(file.fileno())

    def _container_options(self) -> dict[str, str]:
        if self._ticks is None or self.path.suffix.lower() != ".mp4":
            return {}
        return {"movie_timescale": str(self._time_base.denominator)}  # else the first time is rounded to milliseconds

    def _add_stream(self) -> None:
        kind = CODECS[self.codec]
        self._stream = self._container.add_stream(kind.encoder, rate=self.frame_rate, options=dict(kind.options))
        self._stream.width, self._stream.height = self.size[0] + self._padding[1], self.size[1] + self._padding[0]
        self._stream.pix_fmt = kind.pixel_format
        if self._ticks is not None:
            self._stream.codec_context.time_base = self._time_base
        if kind.pixel_format.startswith("yuv"):  # limited range, BT.709, as players expect
            self._stream.color_range, self._stream.colorspace = 1, 1
            self._stream.color_primaries, self._stream.color_trc = 1, 1

    def _finish(self) -> None:
        if self._frames == 0:
            raise InputError(f"{self.path}: a video needs at least one frame, none was written")
        if self._ticks is not None and self._frames < len(self._ticks):
            raise InputError(f"{self.path}: {len(self._ticks)} times were given, but {self._frames} frames written")
        with self._as_input_errors():
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def write(self, image: np.ndarray) -> None:
        """Add a frame, RGB uint8 (H, W, 3)."""
        w, h = self.size
        if not isinstance(image, np.ndarray):
            raise InputError(f"{self.path}, frame {self._frames}: expected a NumPy array, got {type(image).__name__}")
        if image.shape != (h, w, 3) or image.dtype != np.uint8:
            raise InputError(
                f"{self.path}, frame {self._frames}: expected RGB uint8 of shape {(h, w, 3)}, got {image.dtype} of "
                f"{image.shape}"
            )
        if any(self._padding):
            image = np.pad(image, ((0, self._padding[0]), (0, self._padding[1]), (0, 0)), mode="edge")
        with self._as_input_errors():
            frame = self._frame_of(np.ascontiguousarray(image))
            frame.pts, frame.time_base = self._next_time()
            self._container.mux(self._stream.encode(frame))
        self._frames += 1

    def _frame_of(self, image: np.ndarray) -> Any:
        """The picture as the encoder takes it, so that PyAV does not convert it in its own way."""
        import av

        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        kind = CODECS[self.codec].pixel_format
        if kind.startswith("yuv"):
            return reformat(frame, format=kind, dst_colorspace="ITU709", dst_color_range="MPEG")
        return reformat(frame, format=kind)

    def _next_time(self) -> tuple[int, Fraction]:
        if self._ticks is None:
            return self._frames, self._time_base
        if self._frames >= len(self._ticks):
            raise InputError(f"{self.path}: {len(self._ticks)} times were given, and more frames than that")
        return self._ticks[self._frames], self._time_base

    @contextlib.contextmanager
    def _as_input_errors(self) -> Iterator[None]:
        import av

        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"cannot write {self.path}: {reason}") from None


def _check_rate(frame_rate: Fraction) -> None:
    if not isinstance(frame_rate, Fraction) or frame_rate <= 0:
        raise InputError(f"frame rate: expected a positive Fraction, got {frame_rate!r}")
    if max(frame_rate.numerator, frame_rate.denominator) > LONGEST:
        raise InputError(f"frame rate {frame_rate}: its numbers are too large for a video: round it")


def _ticks(path: Path, pts: Sequence[float] | np.ndarray) -> tuple[Fraction, list[int]]:
    """The unit of time (seconds) in which times can be kept, and the times in it. Raises `InputError`."""
    times = [float(time) for time in pts]
    if not all(math.isfinite(time) and time >= 0 for time in times):
        raise InputError(
            f"{path}: the times of frames must be 0 or later, as players show nothing before; subtract the first"
        )
    unit = _common_unit(times)
    ticks = [round(Fraction(time) / unit) for time in times]
    gaps = [after - before for before, after in zip(ticks, ticks[1:], strict=False)]
    if any(gap <= 0 for gap in gaps):
        raise InputError(f"{path}: the times of the frames do not rise")
    if max([*gaps, *ticks[:1]], default=0) > LONGEST:
        hours = float(LONGEST * unit / 3600)
        raise InputError(f"{path}: more than {hours:.1f} hours from one frame to the next, which no video can hold")
    return unit, ticks


def _common_unit(times: Sequence[float]) -> Fraction:
    """A fraction of a second of which all times are multiples, between `COARSEST` and `FINEST`; else `TIME_BASE`."""
    parts = 1
    for time in times:
        near = Fraction(time).limit_denominator(round(1 / TIME_BASE))
        parts = math.lcm(parts, near.denominator)
        if parts > FINEST or abs(float(near) - time) > 1e-9:
            return TIME_BASE
    while parts < COARSEST:
        parts *= 2
    return Fraction(1, parts)
