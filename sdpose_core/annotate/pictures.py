"""Annotating picture files: picture -> detector -> estimator -> files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..drawing.canvas import place
from ..drawing.pose_maps import draw_poses, overlay
from ..errors import InputError, SDPoseError
from ..estimation.crop_jobs import Estimator
from ..images import read_image, write_png
from ..names import distinct_names, output_name
from ..openpose.order import DRAWABLE
from ..openpose.writer import write_openpose_json
from ..poses import Poses, PoseSequence, count_people
from .images import CHUNK_PIXELS, FramePeople, annotate_images

if TYPE_CHECKING:
    from ..detection.box_files import BoxFile
    from ..detection.people import PersonDetector


@dataclass(frozen=True)
class PictureOptions:
    """What `annotate_pictures` writes, and how it draws.

    Attributes:
        size: (w, h) of the pose map; None: the picture's own.
        fit: how the picture is fitted to another size, see `place`.
        style, parts, threshold: see `draw_poses`; `threshold` also decides which points are present in the JSON.
        overlay: also write NAME_overlay.png.
        json_scores: write raw scores to the JSON instead of 1.0 and 0.0.
        overwrite: replace existing files; otherwise they are kept.
        if_nobody: see `annotate_images`.
        max_pixels: pictures with more pixels are refused (None: the reader's limit).
        background: RGB behind transparent pictures (None: the reader's default).
        chunk: maximum number of pictures that share batches.
    """

    size: tuple[int, int] | None = None
    fit: str = "pad"
    style: str = "controlnet"
    parts: tuple[str, ...] | None = None
    threshold: float = 0.3
    overlay: bool = False
    json_scores: bool = False
    overwrite: bool = False
    if_nobody: str = "empty"
    max_pixels: int | None = None
    background: tuple[int, int, int] | None = None
    chunk: int = 8


@dataclass
class Outcome:
    """The result for one input: "done", "kept" (its files already existed) or "failed", with the reason."""

    source: Path
    status: str
    message: str = ""
    people: int = 0
    files: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Item:
    source: Path
    pose_map: Path
    keypoints: Path
    sequence: Path
    overlay: Path | None

    def files(self) -> list[Path]:
        return [path for path in (self.pose_map, self.keypoints, self.sequence, self.overlay) if path]

    def missing(self) -> list[Path]:
        return [path for path in self.files() if not os.path.exists(path)]


def _item(source: Path, out: Path, name: str, options: PictureOptions) -> _Item:
    pose_map, keypoints, sequence = (out / f"{name}{end}" for end in ("_pose.png", "_keypoints.json", ".pose.npz"))
    return _Item(source, pose_map, keypoints, sequence, out / f"{name}_overlay.png" if options.overlay else None)


@dataclass(frozen=True)
class _Pending:
    item: _Item
    image: np.ndarray
    people: FramePeople | None


def output_names(sources: Sequence[Path], out: Path) -> dict[Path, str]:
    """NAME of each input in `out`: the stem, or the full file name if two inputs share a stem; shortened if too long.

    Raises `InputError` if two inputs would still write the same files, see `same_name`.
    """
    sources = list(dict.fromkeys(sources))
    if clash := next(iter(same_name(sources).items()), None):
        raise InputError(f"{clash[1]} and {clash[0]} would write the same files: annotate them into two folders")
    names = distinct_names([(source.stem, source.name) for source in sources])
    return {source: output_name(name, out) for source, name in zip(sources, names, strict=True)}


def same_name(sources: Sequence[Path]) -> dict[Path, Path]:
    """The inputs that would write the files of an earlier one, as they have its file name, and that one."""
    first: dict[str, Path] = {}
    owners = {source: first.setdefault(source.name, source) for source in sources}
    return {source: owner for source, owner in owners.items() if owner != source}


def annotate_pictures(
    sources: Sequence[Path],
    out: Path,
    *,
    estimator: Callable[[], Estimator],
    detector: Callable[[], PersonDetector],
    options: PictureOptions,
    boxes: BoxFile | None = None,
    on_crops: Callable[[int, int, int], None] | None = None,
) -> Iterator[Outcome]:
    """Annotate picture files into the folder `out`; yields an `Outcome` per input, in order.

    One bad input never stops the others. `estimator` and `detector` are called when the first picture needs them; no
    model is loaded if everything is done. Their errors (such as missing weights) are raised. `on_crops` is called with
    (crops done, total crops, pictures) of the pictures that share batches; it may raise to stop.
    """
    items = [_item(source, out, name, options) for source, name in output_names(sources, out).items()]
    waiting: list[_Item] = []
    outcomes: dict[Path, Outcome] = {}
    pending: list[_Pending] = []
    if boxes is not None:
        boxes.expect(sources)

    def finish() -> Iterator[Outcome]:
        if pending:
            outcomes.update(_estimate(pending, estimator(), detector() if boxes is None else None, options, on_crops))
        yield from (outcomes.pop(item.source) for item in waiting)
        waiting.clear()
        pending.clear()

    for item in items:
        waiting.append(item)
        try:
            result = _prepare(item, options, boxes, len(items) == 1)
        except SDPoseError as error:
            result = Outcome(item.source, "failed", str(error))
        if isinstance(result, Outcome):
            outcomes[item.source] = result
        else:
            pending.append(result)
        pixels = sum(entry.image.shape[0] * entry.image.shape[1] for entry in pending)
        if len(pending) >= options.chunk or pixels > CHUNK_PIXELS or not pending:
            yield from finish()
    yield from finish()


def _prepare(item: _Item, options: PictureOptions, boxes: BoxFile | None, only: bool) -> _Pending | Outcome:
    """Read a picture for the estimator, or finish it if its poses or all its files already exist."""
    if not options.overwrite and not item.missing():
        return Outcome(item.source, "kept", "its files already exist", files=item.files())
    image = _read(item.source, options)
    if not options.overwrite and item.sequence.exists():
        return _write(item, image, PoseSequence.load(item.sequence).frame(0), options)
    return _Pending(item, image, _given(boxes, item.source, only, image))


def _given(boxes: BoxFile | None, source: Path, only: bool, image: np.ndarray) -> FramePeople | None:
    return None if boxes is None else FramePeople(boxes.boxes_of(source, only, (image.shape[1], image.shape[0])))


def _estimate(
    pending: Sequence[_Pending],
    estimator: Estimator,
    detector: PersonDetector | None,
    options: PictureOptions,
    on_crops: Callable[[int, int, int], None] | None = None,
) -> Iterator[tuple[Path, Outcome]]:
    """Estimate the pictures of a chunk together; after an error one by one, to find the picture that causes it."""

    def run(part: Sequence[_Pending]) -> list[Poses]:
        return annotate_images(
            [entry.image for entry in part], people=[entry.people for entry in part], estimator=estimator,
            detector=detector, if_nobody=options.if_nobody,
            on_batch=None if on_crops is None else lambda done, total: on_crops(done, total, len(part)),
        )  # fmt: skip

    try:
        results: list[Poses | SDPoseError] = list(run(pending))
    except SDPoseError:
        results = [_or_error(run, entry) for entry in pending]
    for entry, result in zip(pending, results, strict=True):
        source = entry.item.source
        try:
            if isinstance(result, SDPoseError):
                raise result
            yield source, _write(entry.item, entry.image, result.with_meta(source=source.name), options)
        except SDPoseError as error:
            yield source, Outcome(source, "failed", str(error))


def _or_error(run: Callable[[Sequence[_Pending]], list[Poses]], entry: _Pending) -> Poses | SDPoseError:
    try:
        return run([entry])[0]
    except SDPoseError as error:
        return error


def _read(source: Path, options: PictureOptions) -> np.ndarray:
    settings: dict[str, Any] = {}
    if options.max_pixels is not None:
        settings["max_pixels"] = options.max_pixels
    if options.background is not None:
        settings["background"] = options.background
    return read_image(source, **settings)


def _write(item: _Item, image: np.ndarray, poses: Poses, options: PictureOptions) -> Outcome:
    """Write the files of one picture; without `overwrite`, those that are missing."""
    if (image.shape[1], image.shape[0]) != poses.size:
        raise InputError(
            f"{item.sequence} was made from a picture of {poses.size}, but {item.source} is "
            f"{(image.shape[1], image.shape[0])}: use --overwrite"
        )
    wanted = item.files() if options.overwrite else item.missing()
    drawing: dict[str, Any] = {"style": options.style, "parts": options.parts, "threshold": options.threshold}
    if item.sequence in wanted:
        poses.save(item.sequence)
    if poses.keypoint_set not in DRAWABLE:
        note = f"; no pose map and no OpenPose JSON: OpenPose has no points for {poses.keypoint_set!r}"
        return Outcome(item.source, "done", describe(poses) + note, len(poses), [item.sequence])
    if item.pose_map in wanted:
        canvas = place(poses, options.size, options.fit) if options.size else poses
        write_png(item.pose_map, draw_poses(canvas, **drawing))
    if item.keypoints in wanted:
        write_openpose_json(item.keypoints, poses, threshold=options.threshold, json_scores=options.json_scores)
    if item.overlay and item.overlay in wanted:
        write_png(item.overlay, overlay(image, poses, **drawing))
    return Outcome(item.source, "done", describe(poses), len(poses), wanted)


def describe(poses: Poses) -> str:
    """One phrase about a result: the number of people, the model, and unusual events."""
    notes = [count_people(len(poses)), str(poses.meta.get("model", "unknown model"))]
    source = str(poses.meta.get("boxes_from", ""))
    if "nobody found" in source:
        notes.append(source)
    if absent := poses.meta.get("not_there"):
        notes.append(f"{absent} more rejected: scores too low")
    notes += [f"left out: {reason}" for reason in poses.meta.get("dropped_boxes", [])]
    return "; ".join(notes)
