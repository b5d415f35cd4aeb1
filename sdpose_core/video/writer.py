"""Writes videos frame by frame, atomically."""

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
from ..errors import InputError, reason_of
from ..files import atomic_path, seal
from .file import reformat
from .gif import GIF_SHORTEST, GIF_TIME_BASE, Palettes, insert_comment

TIME_BASE = Fraction(1, 90_000)
"""Seconds. Frame times are rounded to it if they have no common fraction of a second."""

FINEST, COARSEST = 1_000_000, 10_000
"""Range of that fraction, in parts of a second; MP4 itself would refine coarser ones."""

MAX_TICKS = 2**31 - 1
"""MP4's limit for the ticks between frames and for the numbers in a frame rate."""

MAX_SIDE = 16_384
"""Pixels; x264 encodes no larger pictures."""


@dataclass(frozen=True)
class Codec:
    """Encoder settings.

    Attributes:
        plays: browsers and usual players show it as it is: it is for looking, not for tools.
        even: needs even sides.
    """

    encoder: str
    pixel_format: str
    suffix: str
    plays: bool = False
    even: bool = False
    options: dict[str, str] = field(default_factory=dict)


_X264 = {"preset": "veryfast", "bf": "0"}
_VP9 = {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"}
CODECS = {
    "lossless": Codec("libx264rgb", "rgb24", ".mp4", options=_X264 | {"crf": "0", "g": "25"}),
    "h264": Codec("libx264", "yuv420p", ".mp4", plays=True, even=True, options=_X264 | {"crf": "18"}),
    "ffv1": Codec("ffv1", "bgr0", ".mkv", options={"level": "3", "g": "1", "slices": "4"}),
    "gif": Codec("gif", "pal8", ".gif", plays=True, options={"gifflags": "-transdiff"}),
    "webm": Codec("libvpx-vp9", "yuv420p", ".webm", plays=True, even=True, options=_VP9),
}
"""lossless: bit-exact RGB; h264: plays everywhere, slight color bleeding; ffv1: lossless without x264; gif: 256 colors
per frame, at most 50 frames per second; webm: VP9, for web pages.

Without B-frames x264 gives small videos the same bytes every time; a slower preset takes longer for files and errors
of nearly the same size. GIF's own default, transdiff, damages frames of changing palettes.
"""

SUFFIX = {name: codec.suffix for name, codec in CODECS.items()}


def playable(codec: str) -> str:
    """The codec of a video for looking, beside others of this codec: the same one if it plays, otherwise h264."""
    return codec if CODECS[codec].plays else "h264"


def codec_of(suffix: str, *, for_eyes: bool = False) -> str:
    """The usual codec of files with this suffix; of several, the first one, or the first that plays.

    Raises `InputError` for a suffix that no codec has.
    """
    fitting = [name for name, kind in CODECS.items() if kind.suffix == suffix.lower()]
    if not fitting:
        raise InputError(f"a video cannot end in {suffix!r}: choose one of {', '.join(sorted(set(SUFFIX.values())))}")
    return next((name for name in fitting if CODECS[name].plays), fitting[0]) if for_eyes else fitting[0]


class VideoWriter:
    """A video of RGB frames; use it in a `with` block.

    Args:
        path: file with the codec's suffix.
        size: (w, h) of the frames. "h264" and "webm" need even sides: odd ones are extended by repeating the last row
            or column, and `notes` says so.
        frame_rate: frames per second, exact (MKV rounds times to milliseconds).
        codec: a name in `CODECS`.
        pts: for variable rates, the time in seconds of each frame to write, rising, not negative. Exact if all are
            multiples of a common fraction of a second, as in videos.
        comment: text for the file's metadata; the file then also ends with a seal, see `files.seal`.

    Raises `InputError` for invalid settings, a missing encoder, wrong frames, and a folder or disk that cannot be
    written to; then no file is left.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        frame_rate: Fraction,
        *,
        codec: str = "lossless",
        pts: Sequence[float] | np.ndarray | None = None,
        comment: str = "",
    ) -> None:
        if codec not in CODECS:
            raise InputError(f"unknown codec {codec!r}: choose one of {', '.join(CODECS)}")
        self.path, self.size, self.frame_rate, self.codec = Path(path), size, frame_rate, codec
        if self.path.suffix.lower() != SUFFIX[codec]:
            raise InputError(f"{path}: expected a name that ends in {SUFFIX[codec]}, as codec {codec!r} writes")
        _check_rate(frame_rate)
        w, h = size
        if not (1 <= w <= MAX_SIDE and 1 <= h <= MAX_SIDE):
            raise InputError(
                f"{path}: expected sides of 1 to {MAX_SIDE:,} pixels, got {w} x {h}: choose a smaller size"
            )
        self._padding = (h % 2, w % 2) if CODECS[codec].even else (0, 0)
        widened = f"{w} x {h} became {w + w % 2} x {h + h % 2}: {codec} needs even sides"
        self.notes = [widened] if any(self._padding) else []
        self._comment = comment
        self._time_base = 1 / frame_rate
        self._ticks: list[int] | None = None
        if pts is not None:
            self._time_base, self._ticks = _ticks(self.path, pts)
        self._frames = self._left_out = 0
        self._last_tick = -GIF_SHORTEST
        self._container: Any = None
        self._stream: Any = None
        self._palettes: Palettes | None = None

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
            scaled = self._ticks is not None and self.path.suffix.lower() == ".mp4"  # else the first time is rounded
            options = {"movie_timescale": str(self._time_base.denominator)} if scaled else {}
            with self._as_input_errors():
                self._container = av.open(f"file:{temporary}", "w", container_options=options)
            if self._comment:
                self._container.metadata["comment"] = self._comment  # GIF has no metadata: see `insert_comment`
            try:
                self._add_stream()
                yield
                self._finish()
            finally:
                with contextlib.suppress(av.error.FFmpegError, OSError):  # `_finish` has reported them
                    self._container.close()
            if self._comment:
                if self.codec == "gif":
                    insert_comment(temporary, self._comment)
                seal(temporary, self.path.suffix)
            with open(temporary, "rb") as file:  # some disks only now report that they are full
                os.fsync(file.fileno())

    def _add_stream(self) -> None:
        kind = CODECS[self.codec]
        self._stream = self._container.add_stream(kind.encoder, rate=self.frame_rate, options=dict(kind.options))
        self._stream.width, self._stream.height = self.size[0] + self._padding[1], self.size[1] + self._padding[0]
        self._stream.pix_fmt = kind.pixel_format
        if self.codec == "gif":
            self._stream.codec_context.time_base = GIF_TIME_BASE
        elif self._ticks is not None:
            self._stream.codec_context.time_base = self._time_base
        if kind.pixel_format.startswith("yuv"):  # limited range, BT.709, as players expect
            self._stream.color_range, self._stream.colorspace = 1, 1
            self._stream.color_primaries, self._stream.color_trc = 1, 1

    def _finish(self) -> None:
        if self._frames == 0:
            raise InputError(f"{self.path}: a video needs at least one frame, none was written")
        if self._ticks is not None and self._frames < len(self._ticks):
            raise InputError(f"{self.path}: expected one frame per time ({len(self._ticks)}), got {self._frames}")
        with self._as_input_errors():
            self._container.mux(self._stream.encode(None))
            self._container.close()
        if self._left_out:
            frames = f"{self._left_out} of {self._frames} frames are left out"
            self.notes.append(f"a GIF has at most 50 frames per second: {frames}")

    def write(self, image: np.ndarray) -> None:
        """Add a frame, RGB uint8 (H, W, 3)."""
        shape, name = (self.size[1], self.size[0], 3), f"{self.path}, frame {self._frames}"
        if not isinstance(image, np.ndarray):
            raise InputError(f"{name}: expected a NumPy array, got {type(image).__name__}")
        if image.shape != shape or image.dtype != np.uint8:
            raise InputError(f"{name}: expected RGB uint8 of shape {shape}, got {image.dtype} of {image.shape}")
        if any(self._padding):
            image = np.pad(image, ((0, self._padding[0]), (0, self._padding[1]), (0, 0)), mode="edge")
        with self._as_input_errors():
            ticks, time_base = self._next_time()
            self._frames += 1
            if self.codec == "gif":
                ticks, time_base = round(ticks * time_base / GIF_TIME_BASE), GIF_TIME_BASE
                if ticks - self._last_tick < GIF_SHORTEST:
                    self._left_out += 1
                    return
                self._last_tick = ticks
            frame = self._frame_of(np.ascontiguousarray(image))
            frame.pts, frame.time_base = ticks, time_base
            self._container.mux(self._stream.encode(frame))

    def _frame_of(self, image: np.ndarray) -> Any:
        """The picture in the encoder's format; PyAV itself would convert it differently."""
        import av

        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        kind = CODECS[self.codec].pixel_format
        if kind == "pal8":
            self._palettes = self._palettes or Palettes(self.size)
            return self._palettes.reduce(frame)
        if kind.startswith("yuv"):
            return reformat(frame, format=kind, dst_colorspace="ITU709", dst_color_range="MPEG")
        return reformat(frame, format=kind)

    def _next_time(self) -> tuple[int, Fraction]:
        if self._ticks is None:
            return self._frames, self._time_base
        if self._frames >= len(self._ticks):
            raise InputError(f"{self.path}: expected one frame per time ({len(self._ticks)}), got more")
        return self._ticks[self._frames], self._time_base

    @contextlib.contextmanager
    def _as_input_errors(self) -> Iterator[None]:
        import av

        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"cannot write {self.path}: {reason_of(error)}") from None


def _check_rate(frame_rate: Fraction) -> None:
    if not isinstance(frame_rate, Fraction) or frame_rate <= 0:
        raise InputError(f"frame rate: expected a positive Fraction, got {frame_rate!r}")
    if max(frame_rate.numerator, frame_rate.denominator) > MAX_TICKS:
        raise InputError(f"frame rate {frame_rate}: its numbers are too large for a video: round it")


def _ticks(path: Path, pts: Sequence[float] | np.ndarray) -> tuple[Fraction, list[int]]:
    """Unit of time in seconds, and the times in this unit. Raises `InputError`."""
    times = [float(time) for time in pts]
    if not all(math.isfinite(time) and time >= 0 for time in times):
        raise InputError(f"{path}: frame times must be finite and not negative: subtract the first time")
    unit = _common_unit(times)
    ticks = [round(Fraction(time) / unit) for time in times]
    gaps = [after - before for before, after in zip(ticks, ticks[1:], strict=False)]
    if any(gap <= 0 for gap in gaps):
        raise InputError(f"{path}: the frame times do not rise")
    if max([*gaps, *ticks[:1]], default=0) > MAX_TICKS:
        hours = float(MAX_TICKS * unit / 3600)
        raise InputError(f"{path}: two frames are more than {hours:.1f} hours apart, which a video cannot store")
    return unit, ticks


def _common_unit(times: Sequence[float]) -> Fraction:
    """The common fraction of a second of all times, from `COARSEST` to `FINEST`; else `TIME_BASE`."""
    parts = 1
    for time in times:
        near = Fraction(time).limit_denominator(round(1 / TIME_BASE))
        parts = math.lcm(parts, near.denominator)
        if parts > FINEST or abs(float(near) - time) > 1e-9:
            return TIME_BASE
    while parts < COARSEST:
        parts *= 2
    return Fraction(1, parts)
