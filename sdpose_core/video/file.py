"""Frames of video files, decoded by PyAV (FFmpeg)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..images import WHITE, check_pixels, laid_on
from .frames import Frame, VideoInfo, VideoSource
from .streams import choose_stream, opened, square_pixels, turn_of

log = logging.getLogger(__name__)

NEW_START = 5
"""Frames. If times go back by more, a new recording begins; by less, they are badly rounded or reordered."""

UNSPECIFIED = 2
"""FFmpeg's number for an unspecified color matrix."""


class VideoFile(VideoSource):
    """A video file, decoded by PyAV."""

    def __init__(self, path: Path, background: tuple[int, int, int] = WHITE) -> None:
        self.path, self.background = path, background
        self.damaged: list[int] = []
        self._warned_of_colors = False
        facts = choose_stream(path)
        self.stream_index = facts.index
        for note in facts.notes:
            log.info("%s: %s", path, note)
        with opened(path) as container:
            stream = container.streams[self.stream_index]
            first = next(iter(Decoding(container, stream)), None)
            if first is None:
                raise InputError(f"{path}: none of its frames can be decoded: it is empty or damaged, get it again")
            self._turn = turn_of(first, stream.time_base)
            self._coded_size = w, h = square_pixels(first, stream)
            self._check_pixels(first)
            check_pixels(self._coded_size, f"{path} with square pixels")
            self.info = VideoInfo(
                path=path,
                size=(h, w) if self._turn[0] else (w, h),
                frame_rate=facts.frame_rate,
                frames=stream.frames if stream.frames > 0 else None,
                duration=_duration(container, stream),
                streams=facts.count,
                notes=facts.notes,
            )

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `VideoSource`. Always decodes from the first frame, as seeking is not exact in every file."""
        with opened(self.path) as container:
            stream = container.streams[self.stream_index]
            decoding = Decoding(container, stream)
            self.damaged = decoding.damaged
            clock = _Clock(stream.time_base, self.info.frame_rate)
            resized = ""
            for index, frame in enumerate(decoding):
                pts = clock.seconds(frame.pts)
                if not resized and square_pixels(frame, stream) != self._coded_size:
                    resized = f"frame {index} is {frame.width} x {frame.height}"
                self._check_pixels(frame)
                if index >= start:
                    yield Frame(index, pts, self.pixels(frame))
            if resized:
                w, h = self._coded_size
                log.warning("%s: its size changes (%s): all frames are scaled to %d x %d", self.path, resized, w, h)
            self._log_faults(clock, only_pictures=len(container.streams) == 1)

    def _check_pixels(self, frame: Any) -> None:
        check_pixels((frame.width, frame.height), f"{self.path}: a frame")

    def _log_faults(self, clock: _Clock, only_pictures: bool) -> None:
        if self.damaged:
            log.warning("%s: damaged at frames %s", self.path, ", ".join(map(str, self.damaged[:10])))
        if clock.faults:
            log.warning("%s: timestamps do not rise (%d corrected)", self.path, clock.faults)
        stated, end = self.info.duration or 0, clock.end
        if only_pictures and not self.damaged and stated - end > max(1, stated / 10):
            log.warning("%s: ends after %.1f of %.1f s: it may be cut off", self.path, end, stated)

    def count(self) -> int:
        """The number of frames, by decoding them."""
        with opened(self.path) as container:
            stream = container.streams[self.stream_index]
            return sum(1 for _ in Decoding(container, stream))

    def pixels(self, frame: Any) -> np.ndarray:
        """PyAV's frame as upright RGB uint8 (H, W, 3), in the size of the first frame."""
        transparent = any(part.is_alpha for part in frame.format.components) or frame.format.name == "pal8"
        pixels = self._converted(frame, "rgba" if transparent else "rgb24")
        if transparent:
            pixels = laid_on(pixels, self.background)
        transposed, left_right, upside_down = self._turn
        pixels = pixels.transpose(1, 0, 2) if transposed else pixels
        pixels = pixels[:, ::-1] if left_right else pixels
        pixels = pixels[::-1] if upside_down else pixels
        return np.ascontiguousarray(pixels)

    def _converted(self, frame: Any, kind: str) -> np.ndarray:
        import av

        w, h = self._coded_size
        kernel = "BILINEAR" if (frame.width, frame.height) == (w, h) else "BICUBIC"
        try:
            return reformat(frame, width=w, height=h, format=kind, interpolation=kernel).to_ndarray()
        except av.error.FFmpegError as error:
            if frame.colorspace == UNSPECIFIED:
                name = frame.format.name
                raise InputError(f"{self.path}: its pixels ({name}) cannot be converted: {error}") from None
        if not self._warned_of_colors:
            log.warning("%s: unknown color matrix %d: the default one is used", self.path, frame.colorspace)
            self._warned_of_colors = True
        frame.colorspace = UNSPECIFIED
        return self._converted(frame, kind)


class Decoding:
    """One pass over a stream: PyAV's frames in the order of presentation. Skips what cannot be decoded."""

    def __init__(self, container: Any, stream: Any) -> None:
        self.container, self.stream = container, stream
        self.damaged: list[int] = []  # see `VideoSource`
        self.first: Any = None
        """The first packet, once there is a frame."""
        self._index = 0

    def __iter__(self) -> Iterator[Any]:
        import av

        decoder = _decoder_of(self.stream)
        # AVI stores decoding times; in order of presentation they are the same times
        reordered: deque[int] | None = deque() if self.container.format.name == "avi" else None
        for packet in self._packets():
            if reordered is not None and packet is not None:
                reordered.append(packet.dts)
            try:
                frames = decoder.decode(packet)
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self._note()
                if reordered:
                    reordered.pop()
                continue
            for frame in frames:
                if reordered is not None:
                    frame.pts = reordered.popleft() if reordered else None
                if frame.is_corrupt:
                    self._note()
                yield frame
                self._index += 1

    def _packets(self) -> Iterator[Any]:
        """The packets with content, then None, which flushes the decoder."""
        import av

        stated = len(getattr(self.stream, "index_entries", ()))  # exact for MP4 and AVI, else never too many
        read = 0
        try:
            for packet in self.container.demux(self.stream):
                read += packet.size > 0 or packet.dts is not None
                if packet.is_corrupt:
                    self._note()
                if packet.size:  # an empty packet would end the decoding
                    self.first = self.first or packet
                    yield packet
        except av.error.FFmpegError:
            self._note()
        if read < stated:
            self._note()
        yield None

    def _note(self) -> None:
        if self._index not in self.damaged[-1:]:
            self.damaged.append(self._index)


class _Clock:
    """Times of frames in seconds: as in the file, if it has them, and always rising."""

    def __init__(self, time_base: Fraction, frame_rate: Fraction) -> None:
        self.time_base, self.step = time_base, 1 / frame_rate
        self.faults = 0
        self._last: Fraction | None = None
        self._offset = Fraction(0)

    def seconds(self, pts: int | None) -> float:
        """The time of the next frame; one frame after the last if the file has none."""
        last = self._last
        if pts is None:
            time = Fraction(0) if last is None else last + self.step
        else:
            time = pts * self.time_base + self._offset
            if last is not None and time <= last:
                self.faults += 1
                time = self._after(last, time)
        self._last = time
        return float(time)

    @property
    def end(self) -> float:
        """End of the last frame in seconds."""
        return 0.0 if self._last is None else float(self._last + self.step)

    def _after(self, last: Fraction, time: Fraction) -> Fraction:
        if last - time > NEW_START * self.step:
            self._offset += last + self.step - time
            return last + self.step
        return last + min(Fraction(1, 1000), self.step)


def reformat(frame: Any, **settings: Any) -> Any:
    """PyAV's `frame.reformat` with one thread: with several, FFmpeg 8.1 sometimes returns different pixels."""
    try:
        return frame.reformat(**settings, threads=1)
    except TypeError:  # older PyAV always uses one thread
        return frame.reformat(**settings)


def _decoder_of(stream: Any) -> Any:
    """The stream's decoder with one thread, as the result for a damaged file depends on the number of threads.

    libvpx for VP8 and VP9 with an alpha channel, which FFmpeg's own decoder ignores.
    """
    import av

    decoder = stream.codec_context
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(decoder.name)
    if name and stream.metadata.get("alpha_mode") == "1" and name in av.codecs_available:
        decoder = av.CodecContext.create(name, "r")
    decoder.thread_count = 1
    return decoder


def _duration(container: Any, stream: Any) -> float | None:
    """In seconds, as stated; None without one that can be true."""
    own = stream.duration * stream.time_base if stream.duration and stream.time_base else 0
    stated = float(own or (container.duration or 0) / 1e6)
    return stated if stated > 0 else None
