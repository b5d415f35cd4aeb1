"""Frames of a driving video, and of animations from several pose sequences, in one picture (figure 8 of the paper)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.video.opening import frame_count, open_video
from sdpose_training.downstream.animation import ControlNetAnimation, animate
from sdpose_training.downstream.pictures import canvas_size
from sdpose_training.downstream.poses import resized
from sdpose_training.downstream.video import fitted
from sdpose_training.figures.pose_sources import chosen_frames, chosen_maps, write_maps
from sdpose_training.figures.sheet import Row, Sheet, cell_size, check_figure_path, write_figure

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnimationFigure:
    """What the figure shows.

    Attributes:
        driving: video, or folder of its frames.
        poses: name -> pose sequence, pose video or folder of maps; frame for frame as the driving video.
        results: name -> video or folder of frames that an animation tool made; with `tool_frames`, frame i of it is
            the i-th of the chosen frames, otherwise the frame of the driving video with the same number.
        first, every, frames: which frames of the driving video are animated.
        columns: number of frames that are shown, evenly spaced among these.
        height: of a cell in pixels.
        short_side: of the maps and generated frames in pixels, multiples of 64.
        style, threshold: of maps drawn from keypoints.
    """

    driving: Path
    poses: Mapping[str, Path]
    results: Mapping[str, Path] = field(default_factory=dict)
    tool_frames: bool = False
    first: int = 0
    every: int = 2
    frames: int = 16
    columns: int = 6
    height: int = 180
    short_side: int = 512
    style: str = "controlnet"
    threshold: float = 0.3
    prompt: str = "a person dancing, detailed"
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.poses:
            raise InputError("expected --poses NAME=FILE, once for each source of poses")
        if unknown := sorted(set(self.results) - set(self.poses)):
            raise InputError(f"--result {unknown[0]}: no --poses of that name; there are {', '.join(self.poses)}")
        if self.results and len(self.results) < len(self.poses):
            absent = next(name for name in self.poses if name not in self.results)
            raise InputError(f"--result is given for some poses, but not for {absent}: give one for each, or none")


def animation_figure(
    path: Path, figure: AnimationFigure, generate: ControlNetAnimation | None = None,
    record: dict[str, Any] | None = None,
) -> list[Path]:  # fmt: skip
    """Write the pose maps for other tools, generate or read the frames, and write the figure; returns its files.

    Beside FIGURE.png, the folder FIGURE_maps/NAME has the pose maps of the chosen frames, and FIGURE_frames/NAME the
    generated frames, which are kept for the next run.

    Args:
        generate: makes the frames; None: they are in `figure.results`, or the figure shows the poses alone.

    Raises `InputError` for files that are missing, damaged or too short.
    """
    check_figure_path(path)
    if generate is not None and figure.results:
        raise InputError("give either --result (frames of another tool) or weights (--base), not both")
    indices = _indices(figure)
    with open_video(figure.driving) as driving:
        size, rate = canvas_size(driving.info.size, figure.short_side), driving.info.frame_rate
    maps = {
        name: chosen_maps(poses, size, indices, style=figure.style, threshold=figure.threshold)
        for name, poses in figure.poses.items()
    }
    for name, images in maps.items():
        write_maps(path.with_name(f"{path.stem}_maps") / name, images)
    shown = sorted({round(i) for i in np.linspace(0, len(indices) - 1, min(figure.columns, len(indices)))})
    cell = cell_size(size, figure.height)
    rows = [_row("driving video", chosen_frames(figure.driving, [indices[i] for i in shown]), cell)]
    for name, images in maps.items():
        rows.append(_row(f"{name}: poses", [images[i] for i in shown], cell))
        if (result := _result(path, figure, name, [resized(each, size) for each in images], generate)) is not None:
            numbers = shown if generate is not None or figure.tool_frames else [indices[i] for i in shown]
            rows.append(_row(f"{name}: result", chosen_frames(result, numbers), cell))
    headings = [f"frame {indices[i]}, {float(indices[i] / rate):.2f} s" for i in shown]
    facts = {**(record or {}), **(generate.facts if generate is not None else {}), "frames": indices}
    title = f"Animations from {len(maps)} sources of poses" if len(maps) > 1 else "Animation from poses"
    return write_figure(path, Sheet(title, headings, rows, _caption(figure, generate)), facts)


def _indices(figure: AnimationFigure) -> list[int]:
    """Numbers of the driving video's frames that are animated."""
    count = frame_count(figure.driving)
    indices = list(range(figure.first, count, figure.every))[: figure.frames]
    if not indices:
        raise InputError(f"{figure.driving} has {count} frames: expected --first below that, got {figure.first}")
    if len(indices) < figure.frames:
        log.warning("%s has %d frames: %d of %d are animated", figure.driving, count, len(indices), figure.frames)
    return indices


def _row(label: str, images: Sequence[np.ndarray], cell: tuple[int, int]) -> Row:
    return Row([fitted(image, cell) for image in images], label)


def _result(
    path: Path, figure: AnimationFigure, name: str, maps: Sequence[np.ndarray], generate: ControlNetAnimation | None
) -> Path | None:
    if generate is None:
        return figure.results.get(name)
    folder = path.with_name(f"{path.stem}_frames") / name
    return animate(generate, maps, figure.prompt, figure.seed, folder, generate.facts)


def _caption(figure: AnimationFigure, generate: ControlNetAnimation | None) -> list[str]:
    if generate is not None:
        facts = generate.facts
        made = (
            f"Generated by AnimateDiff with {facts['base']}, {facts['ControlNet']} and {facts['motion adapter']}, "
            f"\u201c{figure.prompt}\u201d, seed {figure.seed}, {facts['steps']} steps: only the pose maps differ."
        )
    elif figure.results:
        made = "Results: " + ", ".join(f"{name} {path.name}" for name, path in figure.results.items()) + "."
    else:
        made = "No results were given: the pose maps are beside the figure, for an animation tool."
    return [f"Driving video {figure.driving.name}; every frame under the frame it was made for.", made]
