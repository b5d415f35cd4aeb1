"""Pose sequences and pose maps of several estimators, prepared for ControlNet and for animation tools."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from sdpose_core.annotate.clip import annotate_frames
from sdpose_core.annotate.clip_options import ClipOptions
from sdpose_core.cli.progress import progress_bar
from sdpose_core.detection.loading import load_detector
from sdpose_core.errors import InputError
from sdpose_core.images import write_png
from sdpose_core.video.opening import open_video
from sdpose_training.downstream.poses import pose_frames
from sdpose_training.figures.estimators import Column, estimate
from sdpose_training.figures.scenes import Scenes

log = logging.getLogger(__name__)


def prepare_pictures(out: Path, scenes: Scenes, columns: Sequence[Column]) -> dict[str, Path]:
    """OUT/NAME/STEM.pose.npz for every estimator and picture; returns name -> folder, for --poses NAME=FOLDER.

    Raises `InputError` for two estimators or two pictures of one name.
    """
    stems = [scene.file.stem for scene in scenes.scenes]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise InputError(f"two pictures are named {twice}: give them different names")
    folders: dict[str, Path] = {}
    for column in columns:
        estimator = column.load()
        folder = out / _free(column.heading or estimator.name, folders)
        for stem, poses in zip(stems, estimate(estimator, scenes.scenes), strict=True):
            poses.with_meta(**estimator.meta()).save(folder / f"{stem}.pose.npz")
        folders[folder.name] = folder
    return folders


def prepare_video(out: Path, video: Path, columns: Sequence[Column], detector: str = "yolox") -> dict[str, Path]:
    """OUT/NAME.pose.npz for every estimator: tracked and smoothed as by `sdpose video`; returns name -> file."""
    files: dict[str, Path] = {}
    for column in columns:
        estimator = column.load()
        name = _free(column.heading or estimator.name, files)
        with open_video(video) as source, progress_bar(None, "frame", name) as bar:
            sequence = annotate_frames(
                source.frames(), estimator=estimator, detector=load_detector(detector), options=ClipOptions(),
                frame_rate=source.info.frame_rate, on_progress=lambda done, _, bar=bar: bar.update(done - bar.n),
            )  # fmt: skip
        files[name] = out / f"{name}.pose.npz"
        sequence.save(files[name])
    return files


def _free(name: str, taken: Mapping[str, Path]) -> str:
    """The name as a file's name; `InputError` if another estimator has it."""
    plain = re.sub(r"[^\w.-]+", "_", name).strip("_.") or "estimator"
    if plain in taken:
        raise InputError(f"two estimators are named {plain!r}: give --checkpoint NAME=PATH or --peer NAME=SPEC")
    return plain


def chosen_maps(
    poses: Path, size: tuple[int, int], indices: Sequence[int], *, style: str, threshold: float
) -> list[np.ndarray]:
    """The pose maps of these frames (rising), RGB uint8; drawn ones have `size` (w, h).

    Raises `InputError` if the sequence is shorter.
    """
    wanted, found, count = set(indices), [], 0
    for count, pose_map in enumerate(pose_frames(poses, size, style=style, threshold=threshold), 1):
        if count - 1 in wanted:
            found.append(pose_map)
        if len(found) == len(wanted):
            return found
    raise InputError(f"{poses} has {count} frames, expected at least {max(wanted) + 1}: give fewer --frames")


def chosen_frames(video: Path, indices: Sequence[int]) -> list[np.ndarray]:
    """These frames (rising) of a video or folder. `InputError` if it is shorter."""
    wanted = set(indices)
    with open_video(video) as source:
        first = islice(enumerate(source.frames()), max(wanted) + 1)
        found = [frame.image for number, frame in first if number in wanted]
    if len(found) < len(wanted):
        raise InputError(f"{video} ends before frame {max(wanted)}: give fewer --frames, or another --first")
    return found


def write_maps(folder: Path, maps: Sequence[np.ndarray]) -> Path:
    """FOLDER/000000.png, ... for another tool, and no other maps there; returns the folder."""
    names = [f"{number:06d}.png" for number in range(len(maps))]
    for name, pose_map in zip(names, maps, strict=True):
        write_png(folder / name, pose_map)
    for old in folder.glob("[0-9]*.png"):
        if old.name not in names:
            old.unlink()
    return folder
