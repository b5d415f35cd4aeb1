"""Pose videos, drawn and written frame by frame."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, counted
from ..folders import atomic_folder
from ..images import check_pixels, write_png
from ..origins import MARK, mark_text, marked_files
from ..poses import USUAL_RATE, Poses, PoseSequence
from ..sequences.cleaning import drawing_threshold
from ..times import ROUNDING, rate_of
from ..video.writer import TIME_BASE, VideoWriter
from .canvas import place, place_picture, same_shape
from .pose_maps import compared_size, comparison, draw_poses, overlay

if TYPE_CHECKING:
    from ..video.frames import Frame

log = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]

VIEWS = ("map", "overlay", "compare")
"""The poses on black or on a background; blended over the picture, see `overlay`; side by side, see `comparison`."""


def draw_sequence(
    sequence: PoseSequence,
    path: str | Path,
    *,
    style: str = "controlnet",
    parts: Collection[str] | None = None,
    threshold: float = 0.3,
    size: tuple[int, int] | None = None,
    fit: str = "pad",
    codec: str = "lossless",
    background: Iterable[Frame] | None = None,
    view: str = "map",
    mark: str = "",
    line_width: float | None = None,
    on_progress: Progress | None = None,
) -> list[str]:
    """Write the pose video of a sequence, one frame for each of its frames, black if nobody is seen.

    Args:
        path: a video file, a `.png` (for a sequence of one frame), or a folder of PNGs named by frame number in the
            source; written atomically. A folder that holds anything but our drawings is not replaced.
        style, parts, threshold, line_width: see `draw_poses`. The threshold is 0 for a cleaned sequence, see
            `drawing_threshold`.
        size, fit: (w, h) of the result and how the source maps onto it, see `place`; None: the source's size.
        codec: see `VideoWriter`.
        background: frames to draw on, matched by number (see `open_background`); None: black.
        view: one of `VIEWS`; "overlay" has the source's size, "compare" the one of `comparison`.
        mark: text for the metadata of each file, see `origins.mark_text`.
        on_progress: called with (frames done, all); may raise to stop.

    Returns notes about what does not fit: the background, or sides that the codec extends. Raises `InputError` for
    incompatible settings and files that cannot be written.
    """
    path = Path(path)
    threshold = drawing_threshold(sequence.meta, threshold)
    size = _canvas_size(sequence, size, view)
    notes: list[str] = []
    look = {"style": style, "parts": parts, "threshold": threshold, "line_width": line_width}

    def pictures() -> Iterator[np.ndarray]:
        for number, (poses, image) in enumerate(_with_background(sequence, background, fit, notes), start=1):
            yield _drawn(poses, image, size, fit, view, look)
            if on_progress:
                on_progress(number, len(sequence))

    texts = {MARK: mark or mark_text({})}
    if path.suffix.lower() == ".png":
        _write_picture(path, sequence, pictures(), texts)
    elif path.suffix == "":
        _write_folder(path, sequence, pictures(), texts)
    else:
        w, h = compared_size(size)
        frames = (3 * w, h) if view == "compare" else size
        notes += _write_video(path, sequence, pictures(), frames, codec, mark)
    for note in notes:
        log.info("%s: %s", path.name, note)
    return notes


def _canvas_size(sequence: PoseSequence, size: tuple[int, int] | None, view: str) -> tuple[int, int]:
    """(w, h) on which the poses are drawn. Raises `InputError` for a size or a view that cannot be used."""
    if view not in VIEWS:
        raise InputError(f"view: expected one of {', '.join(VIEWS)}, got {view!r}")
    if view != "map" and size not in (None, sequence.size):
        raise InputError(f"view {view!r} has the size of the video, {sequence.size}: leave out the size {size}")
    check_pixels(size or sequence.size, "the pose map")
    return size or sequence.size


def _drawn(
    poses: Poses, image: np.ndarray | None, size: tuple[int, int], fit: str, view: str, look: Mapping[str, Any]
) -> np.ndarray:
    """One frame of a view, with the picture behind it if there is one."""
    behind = place_picture(image, size, fit) if image is not None else None
    if view == "compare":
        return comparison(behind if behind is not None else np.zeros((size[1], size[0], 3), np.uint8), poses, **look)
    if view == "overlay" and behind is not None:
        return overlay(behind, poses, **look)
    return draw_poses(place(poses, size, fit) if size != poses.size else poses, background=behind, **look)


def _with_background(
    sequence: PoseSequence, background: Iterable[Frame] | None, fit: str, notes: list[str]
) -> Iterator[tuple[Poses, np.ndarray | None]]:
    """Each frame's poses with the picture of the same number, or None."""
    frames = iter(background or ())
    frame = next(frames, None)
    bare, last = 0, -1
    for t, index in enumerate(sequence.frame_index.tolist()):
        while frame is not None and frame.index < index:
            frame = next(frames, None)
        image = frame.image if frame is not None and frame.index == index else None
        if image is None:
            bare += 1
        else:
            notes += _other_shape(image, sequence.size, fit) if last < 0 else []
            last = index
        yield sequence.frame(t), image
    next(frames, None)  # it may have something to say at its end
    if background is not None and bare:
        rest = f"{counted(bare, 'frame is', 'frames are')} drawn on black"
        ends = f"the background ends after frame {last}" if last >= 0 else "the background has none of the frames"
        ended = last < sequence.frame_index[-1]
        notes.append(f"{ends}: the other {rest}" if ended else f"the background lacks some frames: {rest}")


def _other_shape(image: np.ndarray, size: tuple[int, int], fit: str) -> list[str]:
    """A note if a background has not the proportions of the source; another size alone is scaled."""
    h, w = image.shape[:2]
    if same_shape((w, h), size):
        return []
    how = {"pad": "shown whole, with black borders", "crop": "cropped", "stretch": "stretched"}[fit]
    return [f"the background is {w} x {h}, the poses are of {size[0]} x {size[1]}, another shape: it is {how}"]


def _write_picture(
    path: Path, sequence: PoseSequence, pictures: Iterator[np.ndarray], texts: Mapping[str, str]
) -> None:
    if len(sequence) != 1:
        raise InputError(f"{path} is one picture, the sequence has {len(sequence)} frames: name a video or a folder")
    write_png(path, next(pictures), texts)


def _write_folder(path: Path, sequence: PoseSequence, pictures: Iterator[np.ndarray], texts: Mapping[str, str]) -> None:
    place = path.resolve() if path.is_dir() else path  # a link to a folder is where the user wants the pictures
    with atomic_folder(place, marked_files("*.png")) as folder:
        for index, picture in zip(sequence.frame_index, pictures, strict=True):
            write_png(folder / f"{index:06d}.png", picture, texts)


def _write_video(
    path: Path, sequence: PoseSequence, pictures: Iterator[np.ndarray], size: tuple[int, int], codec: str, mark: str
) -> list[str]:
    """Returns notes about what the codec changed."""
    rate = rate_of(sequence) or USUAL_RATE
    with VideoWriter(path, size, rate, codec=codec, pts=_times(sequence), comment=mark) as writer:
        for picture in pictures:
            writer.write(picture)
    return writer.notes


def _times(sequence: PoseSequence) -> np.ndarray | None:
    """(T,) seconds from the first frame, or None for a constant rate."""
    if has_steady_rate(sequence):
        return None
    if (np.diff(sequence.pts) * float(1 / TIME_BASE) > 2).all():
        return sequence.pts - sequence.pts[0]
    log.warning("the frame times do not rise: the video gets a constant rate")
    return None


def has_steady_rate(sequence: PoseSequence) -> bool:
    """Whether the frame times fit a constant rate to within a fifth of a frame, or milliseconds."""
    rate = rate_of(sequence)
    if rate is None or len(sequence) < 2:
        return True
    times = (sequence.pts - sequence.pts[0]) * float(rate)
    return bool(np.abs(times - np.arange(len(sequence))).max() < min(max(0.2, ROUNDING * float(rate)), 0.5))
