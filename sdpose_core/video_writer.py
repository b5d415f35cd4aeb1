"""Writing videos frame by frame. The file appears when it is finished, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .dependencies import require
from .errors import InputError
from .files import atomic_path

TIME_BASE = Fraction(1, 90_000)
"""Of videos whose frames come with their own times; a multiple of the usual rates."""


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
"""lossless: every pixel as it was; h264: for players, colours bleed a little; ffv1: lossless without x264."""

SUFFIX = {"lossless": ".mp4", "h264": ".mp4", "ffv1": ".mkv"}


class VideoWriter:
    """A video of RGB frames; use it in a `with` block.

    Args:
        path: of the file, with the suffix that the codec needs.
        size: (w, h) of the frames. "h264" needs even sides: odd ones are widened by repeating the last row or column,
            which `notes` says.
        frame_rate: frames per second, exactly.
        codec: a name of `CODECS`.
        pts: times of the frames in seconds, rising, where the rate varies; as many as frames will be written.

    Raises `InputError` for an unknown codec, an encoder that this PyAV lacks, and a folder or disk that cannot be
    written to; then no file is left behind.
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
        if not isinstance(frame_rate, Fraction) or frame_rate <= 0:
            raise InputError(f"frame rate: expected a positive Fraction, got {frame_rate!r}")
        self.path, self.size, self.frame_rate, self.codec = Path(path), size, frame_rate, codec
        if self.path.suffix.lower() != SUFFIX[codec]:
            raise InputError(f"{path}: codec {codec!r} writes {SUFFIX[codec]} files")
        w, h = size
        self._padding = (h % 2, w % 2) if CODECS[codec].even else (0, 0)
        widened = f"{w} x {h} became {w + w % 2} x {h + h % 2}: {codec} needs even sides"
        self.notes = [widened] if any(self._padding) else []
        self._ticks = None if pts is None else [round(float(time) / TIME_BASE) for time in pts]
        if self._ticks and any(a >= b for a, b in zip(self._ticks, self._ticks[1:], strict=False)):
            raise InputError(f"{self.path}: the times of the frames do not rise")
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
                self._container = av.open(str(temporary), "w")
            try:
                self._add_stream()
                yield
                self._finish()
            finally:
                with contextlib.suppress(av.error.FFmpegError, OSError):  # told by `_finish`, or of no interest
                    self._container.close()

    def _add_stream(self) -> None:
        kind = CODECS[self.codec]
        self._stream = self._container.add_stream(kind.encoder, rate=self.frame_rate, options=dict(kind.options))
        self._stream.width, self._stream.height = self.size[0] + self._padding[1], self.size[1] + self._padding[0]
        self._stream.pix_fmt = kind.pixel_format
        if self._ticks is not None:
            self._stream.codec_context.time_base = TIME_BASE
        if kind.pixel_format.startswith("yuv"):  # limited range, BT.709, as players expect
            self._stream.color_range, self._stream.colorspace = 1, 1
            self._stream.color_primaries, self._stream.color_trc = 1, 1

    def _finish(self) -> None:
        if self._frames == 0:
            raise InputError(f"{self.path}: a video needs at least one frame, none was written")
        with self._as_input_errors():
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def write(self, image: np.ndarray) -> None:
        """Add a frame, RGB uint8 (H, W, 3)."""
        w, h = self.size
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
        import av

        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        kind = CODECS[self.codec].pixel_format
        if kind.startswith("yuv"):
            return frame.reformat(format=kind, dst_colorspace="ITU709", dst_color_range="MPEG")
        return frame

    def _next_time(self) -> tuple[int, Fraction]:
        if self._ticks is None:
            return self._frames, 1 / self.frame_rate
        if self._frames >= len(self._ticks):
            raise InputError(f"{self.path}: {len(self._ticks)} times were given, and more frames than that")
        return self._ticks[self._frames], TIME_BASE

    @contextlib.contextmanager
    def _as_input_errors(self) -> Iterator[None]:
        import av

        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"cannot write {self.path}: {reason}") from None
