"""Frames of animated pictures and of folders of pictures, read by Pillow."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..images import DAMAGE, IMAGE_SUFFIXES, WHITE, check_pixels, open_picture, pixel_limit, read_image, to_rgb
from ..inputs import pictures_in
from ..origins import folder_identity
from ..poses import USUAL_RATE
from ..times import agreed_rate
from .frames import Frame, VideoInfo, VideoSource

log = logging.getLogger(__name__)

SHORTEST = 10
"""Milliseconds. As in browsers, frames of this duration or less, or without one, last `DEFAULT_DURATION`."""
DEFAULT_DURATION = 100


class AnimatedPicture(VideoSource):
    """A GIF, WebP or APNG."""

    def __init__(self, path: Path, background: tuple[int, int, int] = WHITE) -> None:
        self.path, self.background = path, background
        self.damaged: list[int] = []
        self._times: list[Fraction] = []
        size, end = (0, 0), Fraction(0)
        for milliseconds, image in self._images():
            size = size if self._times else image.size
            self._times.append(end / 1000)
            end += milliseconds
        count = len(self._times)
        mean = (1000 * count / end if end else USUAL_RATE).limit_denominator(1001)
        steps = np.diff([float(time) for time in (*self._times, end / 1000)])
        rate = agreed_rate(mean, steps) or USUAL_RATE  # a last picture that is shown for long counts as a pause
        self.info = VideoInfo(path, size, rate, count, float(end / 1000))

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `VideoSource`."""
        for index, (_, image) in enumerate(self._images()):
            if index >= start:
                w, h = self.info.size  # a frame may be larger than the first
                pixels = np.ascontiguousarray(to_rgb(image, self.background)[:h, :w])
                yield Frame(index, float(self._times[index]), pixels)

    def _images(self) -> Iterator[tuple[Fraction, Any]]:
        """Duration of each frame in milliseconds, and the frame."""
        for image in self._decoded():
            milliseconds = Fraction(image.info.get("duration") or 0).limit_denominator(1000)
            yield (milliseconds if milliseconds > SHORTEST else Fraction(DEFAULT_DURATION)), image

    def _decoded(self) -> Iterator[Any]:
        """The frames before the first damaged one. Raises `InputError` for one that is too large."""
        from PIL import UnidentifiedImageError

        shown = 0
        try:
            with contextlib.ExitStack() as stack:
                image: Any = None
                while True:
                    with pixel_limit(str(self.path)):
                        image = image or stack.enter_context(open_picture(self.path))
                        image.seek(shown)
                        check_pixels(image.size, str(self.path))
                        image.load()
                    yield image
                    shown += 1
        except InputError:
            raise
        except DAMAGE as error:
            if shown == 0:
                reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
                raise InputError(
                    f"{self.path} cannot be read as an animated picture ({reason}): expected a GIF, WebP or APNG; it "
                    "is damaged or of another kind, get it again"
                ) from None
            if not isinstance(error, EOFError) and not self.damaged:
                self.damaged.append(shown)
                log.warning("%s: damaged from frame %d on (%s)", self.path, shown, error)


class PictureFolder(VideoSource):
    """The pictures of a folder, see `pictures_in`: in natural order of their names, without results of ours."""

    def __init__(self, path: Path, frame_rate: Fraction, background: tuple[int, int, int] = WHITE) -> None:
        self.damaged: list[int] = []
        self.background = background
        self.files = pictures_in(path)
        if not self.files:
            raise InputError(
                f"{path}: no picture in this folder: expected {', '.join(sorted(IMAGE_SUFFIXES))} files; for a folder "
                "of videos, pass the videos"
            )
        h, w = read_image(self.files[0], background=background).shape[:2]
        count = len(self.files)
        self.info = VideoInfo(path, (w, h), frame_rate, count, float(count / frame_rate))

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `VideoSource`. Raises `InputError` for a damaged picture, or one of another size than the first."""
        for index, file in enumerate(self.files[start:], start):
            image = read_image(file, background=self.background)
            size = (image.shape[1], image.shape[0])
            if size != self.info.size:
                raise InputError(
                    f"{file}: {size[0]} x {size[1]} pixels, the first picture of the folder has "
                    f"{self.info.size[0]} x {self.info.size[1]}: all frames of a clip must have the same size"
                )
            yield Frame(index, float(index / self.info.frame_rate), image, file.name)

    def identity(self) -> dict[str, Any]:
        """See `VideoSource`."""
        return folder_identity(self.files)
