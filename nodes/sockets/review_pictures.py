"""The pictures behind the poses on a wire, as a file or folder that the review page can look into at any frame."""

from __future__ import annotations

import contextlib
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...sdpose_core.errors import InputError, counted
from .images import count_and_size, frames_of
from .video import temporary_folder, video_file

if TYPE_CHECKING:
    import torch

    from ...sdpose_core.poses import PoseSequence
    from ...sdpose_core.review.pictures import Pictures

JPEG_QUALITY = 95


class ReviewPictures:
    """A video, or a folder of JPEG files. What was written for it is removed when nothing refers to this object.

    Attributes:
        video: the file of a VIDEO, or None.
        folder: pictures in order of the sequence's frames, one each, or None.
    """

    def __init__(self, sequence: PoseSequence, image: torch.Tensor | None, video: Any) -> None:
        """Writes what is in memory to ComfyUI's temporary folder.

        Raises `InputError` for both at once, and for frames that are not those of the sequence.
        """
        if image is not None and video is not None:
            raise InputError("two sources of pictures: disconnect image or video")
        self._made_of = _reference(image), _reference(video)
        self._frames = sequence.frame_index.tobytes()
        written = contextlib.ExitStack()
        weakref.finalize(self, written.close)
        self.video = written.enter_context(video_file(video))
        self.folder = None if image is None else _write(sequence, image, written)

    def are_of(self, sequence: PoseSequence, image: torch.Tensor | None, video: Any) -> bool:
        """Whether making them again would give the same: the very same value is on the wire."""
        same = all(made_of() is value for made_of, value in zip(self._made_of, (image, video), strict=True))
        there = all(path is None or path.exists() for path in (self.folder, self.video))
        return same and there and self._frames == sequence.frame_index.tobytes()

    def open(self, sequence: PoseSequence) -> Pictures | None:
        """The pictures of the sequence, for its page. Raises `InputError` for a video of another size."""
        from ...sdpose_core.review.pictures import pictures_of_files, pictures_of_video

        if self.folder is not None:
            return pictures_of_files(sorted(self.folder.iterdir()))
        return None if self.video is None else pictures_of_video(sequence, self.video)


def _write(sequence: PoseSequence, image: torch.Tensor, written: contextlib.ExitStack) -> Path:
    """A folder with a JPEG for each frame of the sequence, removed by `written`."""
    numbers = {position: number for number, position in enumerate(_positions(sequence, image))}
    folder = temporary_folder()
    written.callback(shutil.rmtree, folder, ignore_errors=True)
    for position, picture in enumerate(frames_of(image)):
        if position in numbers:
            _write_jpeg(folder / f"{numbers[position]:08}.jpg", picture)
    return folder


def _reference(value: Any) -> Callable[[], Any]:
    """The value for as long as ComfyUI keeps it: a clip in memory must not be held here."""
    return (lambda: None) if value is None else weakref.ref(value)


def _positions(sequence: PoseSequence, image: torch.Tensor) -> list[int]:
    """Which picture of the batch belongs to each frame of the sequence."""
    count, size = count_and_size(image)
    if size != tuple(sequence.size):
        raise InputError(
            f"image: {size[0]} x {size[1]} pixels, the poses are of {sequence.size[0]} x {sequence.size[1]}: connect "
            "the frames that the poses were estimated on"
        )
    if count == len(sequence):
        return list(range(count))
    if count > int(sequence.frame_index.max()):
        return [int(index) for index in sequence.frame_index]
    raise InputError(
        f"image: {counted(count, 'frame')}, the poses have {len(sequence)}: connect the frames that the poses were "
        "estimated on"
    )


def _write_jpeg(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(picture).save(path, quality=JPEG_QUALITY)
