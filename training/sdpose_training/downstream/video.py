"""Animations from the pose sequences of several estimators, beside the driving video (paper, 6.2)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.cli.progress import progress_bar
from sdpose_core.errors import InputError
from sdpose_core.images import write_png
from sdpose_core.openpose.reader import read_openpose_json
from sdpose_core.poses import PoseSequence
from sdpose_core.video.opening import frame_count, open_video
from sdpose_core.video.writer import VideoWriter
from sdpose_training.downstream.poses import is_json, pose_frames, resized
from sdpose_training.pages import Picture, Row, write_page

log = logging.getLogger(__name__)

PAGE, VIDEO, STILLS = "index.html", "comparison.mp4", "stills"
_LABEL = 26
"""Pixels above each panel for its name."""
_GAP = 4


@dataclass(frozen=True)
class VideoCheck:
    """The videos to compare.

    Attributes:
        driving: video, or a folder of its frames.
        poses: name -> pose sequence (`.pose.npz`, OpenPose JSON), pose video or folder of pose maps.
        results: name -> video, or folder of frames, that the animation tool made from these poses.
        height: of each panel in pixels.
        stills: number of frames on the page, evenly spaced.
        style, threshold: of maps drawn from keypoints.
    """

    driving: Path
    poses: Mapping[str, Path]
    results: Mapping[str, Path]
    height: int = 320
    stills: int = 6
    style: str = "controlnet"
    threshold: float = 0.3

    def __post_init__(self) -> None:
        if set(self.poses) != set(self.results) or len(self.results) < 2:
            raise InputError(
                "expected --poses NAME=FILE and --result NAME=FILE for the same two names or more, found poses of "
                f"{', '.join(self.poses) or 'none'} and results of {', '.join(self.results) or 'none'}"
            )
        if self.height < 16 or self.stills < 1:
            raise InputError(
                f"expected a height of at least 16 and at least one still, found {self.height} and {self.stills}"
            )


@dataclass(frozen=True)
class _Panel:
    name: str
    path: Path
    count: int
    is_pose: bool


def compare_videos(check: VideoCheck, out: Path) -> Path:
    """Write out/comparison.mp4, stills and the page; return the page's path.

    Frames of the same number are side by side, in panels of the driving video's shape and at its frame rate. The
    comparison ends with the shortest source, as the page says. One frame of each source is in memory at a time.

    Raises `InputError` for files that are missing, damaged or of another kind.
    """
    with open_video(check.driving) as driving:
        info = driving.info
    panels = _panels(check, info.size)
    total = min(panel.count for panel in panels)
    if total == 0:
        raise InputError(
            f"{next(panel.path for panel in panels if not panel.count)} has no frames: expected at least one"
        )
    size = (max(round(info.size[0] * check.height / info.size[1]), 16), check.height)
    stills = sorted({round(i) for i in np.linspace(0, total - 1, min(check.stills, total))})
    frame_size = (len(panels) * (size[0] + _GAP) - _GAP, size[1] + _LABEL)
    gap = np.full((size[1], _GAP, 3), 255, np.uint8)
    header = _header([panel.name for panel in panels], size[0], frame_size[0])
    rows = []
    with (
        VideoWriter(out / VIDEO, frame_size, info.frame_rate, codec="h264") as writer,
        progress_bar(total, "frame", "drawing") as bar,
    ):
        for index, images in zip(range(total), _together(check, panels, info.size), strict=False):
            panes: list[Any] = [part for image in images for part in (gap, fitted(image, size))]
            frame = np.concatenate([header, np.concatenate(panes[1:], axis=1)])
            writer.write(frame)
            bar.update()
            if index in stills:
                still = out / STILLS / f"{index:06d}.png"
                write_png(still, frame)
                rows.append(Row("", [f"{index}, {float(index / info.frame_rate):.2f} s", Picture(still, row=True)]))
    _write(check, out, panels, total, rows)
    return out / PAGE


def _panels(check: VideoCheck, size: tuple[int, int]) -> list[_Panel]:
    panels = [_Panel("driving video", check.driving, frame_count(check.driving), False)]
    for name, poses in check.poses.items():
        result = check.results[name]
        panels.append(_Panel(f"{name}: poses", poses, _count_of_poses(poses, size), True))
        panels.append(_Panel(f"{name}: result", result, frame_count(result), False))
    return panels


def _count_of_poses(path: Path, size: tuple[int, int]) -> int:
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.name.endswith(".pose.npz"):
        return int(max(PoseSequence.load(path).frame_index, default=-1)) + 1
    return len(read_openpose_json(path, size=size)) if is_json(path) else frame_count(path)


def _together(check: VideoCheck, panels: Sequence[_Panel], size: tuple[int, int]) -> Iterator[tuple[np.ndarray, ...]]:
    """The pictures of all panels frame by frame, until the shortest source ends."""

    def frames(panel: _Panel) -> Iterator[np.ndarray]:
        if panel.is_pose:
            yield from pose_frames(panel.path, size, style=check.style, threshold=check.threshold)
            return
        with open_video(panel.path) as source:
            yield from (frame.image for frame in source.frames())

    yield from zip(*map(frames, panels), strict=False)


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, 3) scaled to fit, in the middle of a black canvas of `size` (w, h)."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    w, h = (max(min(round(side * scale), limit), 1) for side, limit in zip(image.shape[1::-1], size, strict=True))
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    x, y = (size[0] - w) // 2, (size[1] - h) // 2
    canvas[y : y + h, x : x + w] = resized(image, (w, h))
    return canvas


def _header(names: Sequence[str], panel_width: int, width: int) -> np.ndarray:
    """White, with the name above the middle of each panel, cut if too long."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, _LABEL), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(15)
    for number, name in enumerate(names):
        while len(name) > 1 and draw.textlength(name, font) > panel_width:
            name = name[:-1]
        middle = number * (panel_width + _GAP) + panel_width / 2
        draw.text((middle, _LABEL / 2), name, fill="black", font=font, anchor="mm")
    return np.asarray(image)


def _write(check: VideoCheck, out: Path, panels: Sequence[_Panel], total: int, rows: Sequence[Row]) -> None:
    notes = ["Frames are matched by number; every panel has the shape of the driving video."]
    if any(panel.count != total for panel in panels):
        counts = ", ".join(f"{panel.name} {panel.count}" for panel in panels)
        notes.append(f"The sources differ in length (frames: {counts}): the first {total} are compared.")
        log.warning("%s", notes[-1])
    facts = {panel.name: panel.path.name for panel in panels} | {"frames": str(total)}
    title, columns = "Animations from pose sequences", ["frame", "side by side"]
    write_page(out / PAGE, title, facts, columns, rows, notes=notes, video=out / VIDEO)
