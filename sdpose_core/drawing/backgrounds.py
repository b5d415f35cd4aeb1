"""What a pose sequence is drawn on: a still picture, a video, or a folder of pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..images import IMAGE_SUFFIXES, read_image
from ..poses import PoseSequence
from ..times import rate_of
from ..video.frames import Frame, VideoSource
from ..video.opening import is_video, open_video
from ..video.pictures import PictureFolder

OTHER_RATE = 0.01
"""Rates that differ by a larger share are those of different frames; 24 and 23.976 are the same ones."""


def open_background(path: str | Path, sequence: PoseSequence) -> tuple[Iterator[Frame], list[str]]:
    """The pictures of a background, numbered as the frames of a sequence, and notes (one more at its end).

    A still picture is behind every frame. Pictures of a folder are matched by their file names if the sequence has
    these names, a video of another rate by the times of its frames, everything else by frame number. Raises
    `InputError` as `open_video` and `read_image`.
    """
    path = Path(path)
    if path.suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(path) and not is_video(path):
        image = read_image(path)
        return (Frame(int(index), 0.0, image) for index in sequence.frame_index), []
    source = open_video(path)
    notes = [f"the background {note}" for note in source.info.notes]
    names = dict(zip(sequence.meta.get("frame_names", ()), sequence.frame_index.tolist(), strict=False))
    if isinstance(source, PictureFolder) and any(file.name in names for file in source.files):
        return (Frame(names[f.name], f.pts, f.image) for f in source.frames() if f.name in names), notes
    rate = rate_of(sequence)
    if rate is not None and abs(float(source.info.frame_rate / rate) - 1) > OTHER_RATE:
        rates = f"{float(source.info.frame_rate):.6g} frames per second, the poses {float(rate):.6g}"
        notes.append(f"the background has {rates}: they are matched by time")
        return _by_time(source, sequence, float(rate), notes), notes
    return _by_number(source, sequence, notes), notes


def _by_number(source: VideoSource, sequence: PoseSequence, notes: list[str]) -> Iterator[Frame]:
    last = int(sequence.frame_index[-1]) if len(sequence) else -1
    for frame in source.frames():
        if frame.index > last:
            notes.append(_goes_on(last))
            return
        yield frame


def _goes_on(last: int) -> str:
    return f"the background goes on after frame {last}: the rest of it is not used"


def _by_time(source: VideoSource, sequence: PoseSequence, rate: float, notes: list[str]) -> Iterator[Frame]:
    """The picture that a player shows at the time of each frame, both counted from the start of their videos."""
    start = sequence.pts[0] - sequence.frame_index[0] / rate
    frames = source.frames()
    shown = next(frames)
    following: Frame | None = shown
    first, end = shown.pts, 0.0
    for index, time in zip(sequence.frame_index.tolist(), (sequence.pts - start).tolist(), strict=True):
        while following is not None and following.pts - first <= time + 1e-3:
            shown, end = following, following.pts - first + float(1 / source.info.frame_rate)
            following = next(frames, None)
        if following is None and time >= end:
            return
        yield Frame(index, time, shown.image)
    last = first + sequence.pts[-1] - start + 1 / rate - 1e-3
    while following is not None and following.pts < last:
        following = next(frames, None)
    if following is not None:
        notes.append(_goes_on(int(sequence.frame_index[-1])))
