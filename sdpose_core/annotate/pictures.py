"""Annotating picture files: picture -> detector -> estimator -> files.

The poses of a picture are kept if they are of its origin; what is drawn from them, if its mark says so (`origins.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..drawing.canvas import place
from ..drawing.pose_maps import comparison, draw_poses, overlay
from ..drawing.styles import check_style_of
from ..errors import InputError, SDPoseError, failing_alone
from ..estimation.crop_jobs import Estimator
from ..exports.coco_picture import write_coco_picture
from ..images import MAX_PIXELS, WHITE, read_image, write_png
from ..names import distinct_names, output_name
from ..openpose.order import DRAWABLE
from ..openpose.writer import write_openpose_json
from ..origins import (
    MARK,
    Origin,
    file_identity,
    is_drawn,
    kept_poses,
    mark_of,
    mark_text,
    refuse_orphans,
    remove_stale,
)
from ..poses import Poses, count_people
from .images import CHUNK_PIXELS, FramePeople, annotate_images, unsure
from .outputs import KEYPOINTS, Output, look, picture_outputs
from .presence import DEFAULT_PRESENCE, Presence

if TYPE_CHECKING:
    from ..detection.box_files import BoxFile
    from ..detection.people import PersonDetector


TRY = "--min-person-score 0.2, another --detector, or --boxes"
"""What may help if nobody is found."""


@dataclass(frozen=True)
class PictureOptions:
    """What `annotate_pictures` writes, and how it draws.

    Attributes:
        size: (w, h) of the pose map; None: the picture's own.
        fit: how the picture is fitted to another size, see `place`.
        style, parts, threshold: see `draw_poses`; `threshold` also decides which points are present in the JSON.
        line_width: see `draw_poses`.
        overlay: also write NAME_overlay.png.
        compare: also write NAME_compare.png: picture, overlay and pose map side by side.
        json_scores: write raw scores to the OpenPose JSON instead of 1.0 and 0.0. (That of a custom keypoint set, in
            COCO's format, always has them.)
        overwrite: replace existing files.
        if_nobody, presence: see `annotate_images`.
        max_pixels: pictures with more pixels are refused (None: the reader's limit).
        background: RGB behind transparent pictures (None: the reader's default).
        chunk: maximum number of pictures that share batches.
    """

    size: tuple[int, int] | None = None
    fit: str = "pad"
    style: str = "controlnet"
    parts: tuple[str, ...] | None = None
    threshold: float = 0.3
    line_width: float | None = None
    overlay: bool = False
    compare: bool = False
    json_scores: bool = False
    overwrite: bool = False
    if_nobody: str = "empty"
    presence: Presence = DEFAULT_PRESENCE
    max_pixels: int | None = None
    background: tuple[int, int, int] | None = None
    chunk: int = 8


@dataclass
class Outcome:
    """The result for one input: "done", "kept" (its files were already there) or "failed", with the reason."""

    source: Path
    status: str
    message: str = ""
    people: int = 0
    files: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Item:
    source: Path
    sequence: Path
    drawings: Mapping[Path, Output]
    """The files that are made from the poses."""

    @property
    def name(self) -> str:
        return self.sequence.name.removesuffix(".pose.npz")


def _item(source: Path, out: Path, name: str, options: PictureOptions) -> _Item:
    drawings = {out / f"{name}{end}": output for end, output in picture_outputs(options).items()}
    return _Item(source, out / f"{name}.pose.npz", drawings)


@dataclass(frozen=True)
class _Pending:
    item: _Item
    image: np.ndarray
    people: FramePeople | None
    origin: Origin


@dataclass(frozen=True)
class _Request:
    """What is asked of every picture."""

    options: PictureOptions
    boxes: BoxFile | None
    asked: Mapping[str, Any]
    only: bool
    """Whether there is one picture only."""

    def origin(self, source: Path) -> Origin:
        own = {"background": self.options.background, "if_nobody": None, "presence": asdict(self.options.presence)}
        return Origin(file_identity(source), {**self.asked, **own})


def _final(origin: Origin, meta: Mapping[str, Any], options: PictureOptions) -> Origin:
    """The origin of poses with this `meta`: `if_nobody` counts only where the detector found nobody."""
    counts = "nobody found" in str(meta.get("boxes_from", ""))
    return replace(origin, settings={**origin.settings, "if_nobody": options.if_nobody if counts else None})


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
    asked: Mapping[str, Any],
    boxes: BoxFile | None = None,
    on_crops: Callable[[int, int, int], None] | None = None,
) -> Iterator[Outcome]:
    """Annotate picture files into the folder `out`; yields an `Outcome` per input, in order.

    Poses of the same picture and settings are kept, and drawn again if the drawing differs. Files of another picture,
    or made with other settings, are never replaced without `options.overwrite`: that input fails.

    One bad input never stops the others. `estimator` and `detector` are called when the first picture needs them; no
    model is loaded if everything is done. Their errors (such as missing weights) are raised. `asked` says what they
    make, see `models_asked`. `on_crops` is called with (crops done, total crops, pictures) of the pictures that share
    batches, first with none done; it may raise to stop.
    """
    items = [_item(source, out, name, options) for source, name in output_names(sources, out).items()]
    request = _Request(options, boxes, asked, len(items) == 1)
    waiting: list[_Item] = []
    outcomes: dict[Path, Outcome] = {}
    pending: list[_Pending] = []
    if boxes is not None:
        boxes.expect(sources)

    def finish() -> Iterator[Outcome]:
        if pending:
            model = estimator()
            check_style_of(options.style, model.keypoint_set)
            outcomes.update(_estimate(pending, model, detector() if boxes is None else None, options, on_crops))
        yield from (outcomes.pop(item.source) for item in waiting)
        waiting.clear()
        pending.clear()

    for item in items:
        waiting.append(item)
        try:
            with failing_alone(item.source):
                result = _prepare(item, request)
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


def _prepare(item: _Item, request: _Request) -> _Pending | Outcome:
    """Read a picture for the estimator, or finish it with the poses that are there."""
    options, boxes = request.options, request.boxes
    origin = request.origin(item.source)
    sequence = None if options.overwrite else kept_poses(item.sequence)
    if sequence is not None:
        _final(origin, sequence.meta, options).refuse_other(sequence.meta, item.sequence)
        return _redraw(item, sequence.frame(0), options)
    if not options.overwrite:
        refuse_orphans(item.sequence, list(item.drawings))
    image = _read(item.source, options)
    return _Pending(item, image, _given(boxes, item.source, request.only, image), origin)


def _given(boxes: BoxFile | None, source: Path, only: bool, image: np.ndarray) -> FramePeople | None:
    return None if boxes is None else FramePeople(boxes.boxes_of(source, only, (image.shape[1], image.shape[0])))


def _redraw(item: _Item, poses: Poses, options: PictureOptions) -> Outcome:
    """Draw what is missing or differs from kept poses."""
    marks = _marks(item, options)
    todo = [file for file in item.drawings if not is_drawn(file, marks[file])]
    if not todo:
        return Outcome(item.source, "kept", "its files already exist", len(poses), [item.sequence, *marks])
    image = _read(item.source, options) if any(item.drawings[file].for_eyes for file in todo) else None
    _draw(item, todo, image, poses, options)
    again = ", ".join(file.name for file in todo)
    message = f"{describe(poses, options.threshold)}; drawn again from the keypoints: {again}"
    return Outcome(item.source, "done", message, len(poses), todo)


def _marks(item: _Item, options: PictureOptions) -> dict[Path, dict[str, Any]]:
    """The mark of each file that is made from the poses."""
    written = {"threshold": options.threshold, "scores": options.json_scores}
    return {
        file: mark_of(item.sequence, written if output == KEYPOINTS else output.asked(options, options.threshold))
        for file, output in item.drawings.items()
    }


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
            detector=detector, if_nobody=options.if_nobody, presence=options.presence,
            on_batch=None if on_crops is None else lambda done, total: on_crops(done, total, len(part)),
        )  # fmt: skip

    try:
        results: list[Poses | SDPoseError] = list(run(pending))
    except Exception:  # noqa: BLE001 - whatever it is, it is raised again for the picture that causes it
        results = [_or_error(run, entry) for entry in pending]
    for entry, result in zip(pending, results, strict=True):
        source = entry.item.source
        try:
            if isinstance(result, SDPoseError):
                raise result
            with failing_alone(source):
                outcome = _write(entry, result, options)
        except SDPoseError as error:
            outcome = Outcome(source, "failed", str(error))
        yield source, outcome


def _or_error(run: Callable[[Sequence[_Pending]], list[Poses]], entry: _Pending) -> Poses | SDPoseError:
    try:
        with failing_alone(entry.item.source):
            return run([entry])[0]
    except SDPoseError as error:
        return error


def _read(source: Path, options: PictureOptions) -> np.ndarray:
    return read_image(source, max_pixels=options.max_pixels or MAX_PIXELS, background=options.background or WHITE)


def _write(entry: _Pending, poses: Poses, options: PictureOptions) -> Outcome:
    """Write the files of one picture that was estimated."""
    item = entry.item
    if not entry.origin.is_of_source(file_identity(item.source)):
        raise InputError(f"{item.source} was replaced while it was annotated: annotate it again")
    origin = _final(entry.origin, poses.meta, options)
    if not options.overwrite and (meanwhile := kept_poses(item.sequence)) is not None:  # by another process
        origin.refuse_other(meanwhile.meta, item.sequence)
    poses = poses.with_meta(source=item.source.name, origin=origin.as_meta())
    poses.save(item.sequence)
    _draw(item, list(item.drawings), entry.image, poses, options)
    if options.overwrite:
        remove_stale(item.sequence, item.name)
    message = describe(poses, options.threshold)
    return Outcome(item.source, "done", message, len(poses), [item.sequence, *item.drawings])


def _draw(item: _Item, files: Sequence[Path], image: np.ndarray | None, poses: Poses, options: PictureOptions) -> None:
    """Write some of the files that are made from the saved poses; `image` is for those for eyes."""
    marks = {file: mark_text(mark) for file, mark in _marks(item, options).items()} if files else {}
    for file in files:
        if item.drawings[file] != KEYPOINTS:
            write_png(file, _picture(item.drawings[file], image, poses, options), {MARK: marks[file]})
        elif poses.keypoint_set in DRAWABLE:
            write_openpose_json(file, poses, options.threshold, options.json_scores, mark=marks[file])
        else:
            write_coco_picture(file, poses, item.source.name, options.threshold, mark=marks[file])


def _picture(output: Output, image: np.ndarray | None, poses: Poses, options: PictureOptions) -> np.ndarray:
    drawn = look(options, options.threshold)
    if image is None or output.view == "map":
        return draw_poses(place(poses, options.size, options.fit) if options.size else poses, **drawn)
    return (overlay if output.view == "overlay" else comparison)(image, poses, **drawn)


def describe(poses: Poses, threshold: float | None = None) -> str:
    """One phrase about a result: the number of people, the model, and unusual events.

    Args:
        threshold: minimum score of the points that were drawn, to say of how many people nothing is; None if nothing
            was to be drawn.
    """
    notes = [count_people(len(poses)), str(poses.meta.get("model", "unknown model"))]
    source = str(poses.meta.get("boxes_from", ""))
    if "nobody found" in source:
        notes.append(f"{source}; try {TRY}")
    notes += [f"one in {'the' if how.startswith('whole') else 'a'} {how}" for how in unsure(poses.meta)]
    if absent := poses.meta.get("not_there"):
        notes.append(f"{absent} more rejected: {'its pose shows' if absent == 1 else 'their poses show'} nobody")
    if threshold is not None and (faint := int((poses.scores < threshold).all(axis=1).sum())):
        notes.append(f"nothing drawn of {count_people(faint)}: all points are below --threshold {threshold:g}")
    notes += [f"left out: {reason}" for reason in poses.meta.get("dropped_boxes", [])]
    return "; ".join(notes)
