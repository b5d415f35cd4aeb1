"""VIDEO to a file that the library streams from, and back."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sdpose_core.errors import InputError
from ..host.progress import stoppable
from .images import frames_of

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ...sdpose_core.video.frames import Frame


@contextlib.contextmanager
def video_file(video: Any) -> Iterator[Path | None]:
    """The file of a VIDEO, for as long as the context is open; None for None.

    A video that is a whole file is used as it is. If it is trimmed or in memory, its frames are first written to
    ComfyUI's temporary folder, lossless and one at a time.
    """
    if video is None:
        yield None
        return
    if not hasattr(video, "get_components"):
        raise InputError(f"video: expected a VIDEO (for example from Load Video), got {type(video).__name__}")
    source, (start, duration) = _file_of(video), _window_of(video)
    if isinstance(source, str) and not start and not duration:
        yield Path(source)
        return
    folder = temporary_folder()
    try:
        yield _copy(video, source, start, duration, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _file_of(video: Any) -> Any:
    """Path or open bytes of a VIDEO that is a file; None for one made of images."""
    from comfy_api.latest import InputImpl

    return video.get_stream_source() if isinstance(video, InputImpl.VideoFromFile) else None


def _window_of(video: Any) -> tuple[float, float]:
    """(start, duration) in seconds of the part that a trimmed VIDEO keeps; duration 0: to the end."""
    window = getattr(video, "get_active_trim_window", None)
    start, duration = window() if window else (0.0, 0.0)
    return float(start), float(duration)


def temporary_folder() -> Path:
    import folder_paths

    root = Path(folder_paths.get_temp_directory())
    root.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="sdpose_", dir=root))


def _copy(video: Any, source: Any, start: float, duration: float, folder: Path) -> Path:
    """A file in `folder` with only the frames that the video keeps."""
    from ...sdpose_core.times import times_to_write
    from ...sdpose_core.video.opening import open_video

    if source is None:
        parts = video.get_components()
        return _write(folder / "video.mp4", frames_of(parts.images), Fraction(parts.frame_rate))
    if not isinstance(source, str):
        (folder / "memory").write_bytes(source.read())
        source = str(folder / "memory")
    if not start and not duration:
        return Path(source)
    with open_video(source) as whole:
        end = start + duration if duration else float("inf")

        def inside() -> Iterator[Frame]:
            shown = itertools.takewhile(lambda frame: frame.pts < end, stoppable(whole.frames()))
            return (frame for frame in shown if frame.pts >= start)

        rate = whole.info.frame_rate
        times = times_to_write([frame.pts for frame in inside()], rate)
        return _write(folder / f"{Path(source).stem}.mp4", (frame.image for frame in inside()), rate, times)


def _write(
    path: Path, images: Iterable[np.ndarray], frame_rate: Fraction, times: Sequence[float] | None = None
) -> Path:
    from ...sdpose_core.video.writer import VideoWriter

    images = iter(images)
    first = next(images, None)
    if first is None:
        raise InputError("video: expected at least one frame, got none: check how the video is trimmed")
    with VideoWriter(path, (first.shape[1], first.shape[0]), frame_rate, pts=times) as writer:
        writer.write(first)
        for image in images:
            writer.write(image)
    return path


def video_of_file(path: Path) -> Any:
    """A file as a VIDEO."""
    from comfy_api.latest import InputImpl

    return InputImpl.VideoFromFile(str(path))


def video_of_images(images: torch.Tensor, frame_rate: Fraction) -> Any:
    """IMAGE as a VIDEO."""
    from comfy_api.latest import InputImpl, Types

    return InputImpl.VideoFromComponents(Types.VideoComponents(images=images, audio=None, frame_rate=frame_rate))
