"""Single frames of a clip in any order, without decoding it from the start where the file allows that."""

from __future__ import annotations

import bisect
import logging
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import InputError
from .file import Decoding, VideoFile
from .frames import VideoSource
from .pictures import PictureFolder
from .streams import opened

log = logging.getLogger(__name__)

NEAR = 48
"""Frames ahead that are decoded rather than jumped over."""


class FrameSeeker:
    """The frames of a source by their index: the same pixels as `VideoSource.frames`, except after damage, as decoders
    repair it by the frames before. Not for several threads at once, except for `stop`.

    Args:
        source: an open video source.
        times: seconds of each frame that will be asked for, by index, if they are known. A file whose packets do not
            have these times is read from its start, as jumps might miss.
    """

    def __init__(self, source: VideoSource, times: Sequence[tuple[int, float]] = ()) -> None:
        self._source = source
        self._reader: Iterator[tuple[int, np.ndarray]] = iter(())
        self._next: int | None = None
        self._stopped = False
        self._jumps = _Jumps.of(source, times) if isinstance(source, VideoFile) else None
        if isinstance(source, VideoFile) and self._jumps is None:
            log.info("%s: its frames cannot be jumped to: going back decodes it from the start", source.info.path)

    @property
    def jumps(self) -> bool:
        """Whether any frame is near."""
        return self._jumps is not None or isinstance(self._source, PictureFolder)

    def frame(self, index: int) -> np.ndarray:
        """RGB uint8 (H, W, 3). Raises `InputError` if the source has no such frame, or `stop` was called."""
        if isinstance(self._source, PictureFolder):
            self._reader = ((frame.index, frame.image) for frame in self._source.frames(index))
        elif self._next is None or not self._is_near(index):
            self._start(index)
        for number, pixels in self._reader:
            self._next = number + 1
            if number == index:
                return pixels
            if self._stopped:
                raise InputError(f"{self._source.info.path}: reading was stopped")
        self._next = None
        raise InputError(f"{self._source.info.path} has no frame {index}: the poses are of a longer clip")

    def stop(self) -> None:
        """Make `frame`, which another thread may be in, give up at the next frame that it decodes."""
        self._stopped = True

    def _is_near(self, index: int) -> bool:
        assert self._next is not None
        return self._next <= index and (self._jumps is None or index < self._next + NEAR)

    def _start(self, index: int) -> None:
        self.close()
        if self._jumps is None:
            self._reader = ((frame.index, frame.image) for frame in self._source.frames())
        else:
            self._reader = self._jumps.frames(index)

    def close(self) -> None:
        """Close the file."""
        if isinstance(self._reader, Generator):
            self._reader.close()
        self._reader, self._next = iter(()), None


class _Jumps:
    """The packets of a file whose frames can be told by their time stamps."""

    def __init__(self, source: VideoFile, stamps: list[int], keys: list[int]) -> None:
        self.source, self.stamps, self.keys = source, stamps, keys
        self._back = 0
        """How many key frames before the nearest one the last jump went: some containers lead too far."""

    @classmethod
    def of(cls, source: VideoFile, times: Sequence[tuple[int, float]]) -> _Jumps | None:
        """None for a file in which they cannot be told, or are not those of `times`."""
        import av

        with opened(source.path) as container:
            if container.format.name == "avi":
                return None
            stream = container.streams[source.stream_index]
            stamps, keys = [], []
            try:
                for packet in container.demux(stream):  # one at a time: together they are the whole file
                    if packet.size and (packet.pts is None or packet.is_corrupt or packet.is_discard):
                        return None
                    stamps += [packet.pts] * (packet.size > 0)
                    keys += [packet.pts] * (packet.size > 0 and packet.is_keyframe)
            except av.error.FFmpegError:
                return None
            stamps.sort()
            keys.sort()
            if len(set(stamps)) != len(stamps) or not keys or keys[0] != stamps[0]:
                return None
            seconds = [float(stamp * stream.time_base) for stamp in stamps]
        same = all(index < len(seconds) and abs(seconds[index] - time) < 1e-3 for index, time in times)
        return cls(source, stamps, keys) if same else None

    def frames(self, index: int) -> Iterator[tuple[int, np.ndarray]]:
        """(index, pixels) of the frames from `index` on, or from the first one if no jump leads there."""
        if index >= len(self.stamps):
            return
        nearest = bisect.bisect_right(self.keys, self.stamps[index]) - 1
        while self._back <= nearest:
            with opened(self.source.path) as container:
                frames = self._from(container, self.keys[nearest - self._back], index)
                first = next(frames, None)
                if first is not None and first[0] == index:
                    yield first
                    yield from frames
                    return
            self._back = 2 * self._back + 1
        self._back = 0
        yield from ((frame.index, frame.image) for frame in self.source.frames())

    def _from(self, container: Any, key: int, index: int) -> Iterator[tuple[int, np.ndarray]]:
        """The frames from `index` on, decoded from the key frame with a time stamp; none if the jump leads past it."""
        import av

        stream = container.streams[self.source.stream_index]
        try:
            container.seek(key, stream=stream, backward=True)
        except av.error.FFmpegError:
            return
        decoding = Decoding(container, stream)
        for frame in decoding:
            begin = decoding.first
            if not begin.is_keyframe or begin.pts is None or begin.pts > key:
                return
            if frame.pts is None or frame.pts < self.stamps[index]:
                continue
            place = bisect.bisect_left(self.stamps, frame.pts)
            if place < len(self.stamps) and self.stamps[place] == frame.pts:
                yield place, self.source.pixels(frame)
