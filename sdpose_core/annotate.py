"""The application: source -> detector -> estimator -> sinks. The command line and the nodes both call this."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, SDPoseError
from .estimator import Estimator, OnBatch, check_image, with_scores
from .poses import Poses, PoseSequence

if TYPE_CHECKING:
    from .box_files import BoxFile
    from .detector import PersonDetector

log = logging.getLogger(__name__)

IF_NOBODY = ("empty", "full-image")
FITS = ("pad", "crop", "stretch")
CHUNK_PIXELS = 64_000_000
"""Pictures are read ahead for common batches up to this many pixels in all."""


def annotate_images(
    images: Sequence[np.ndarray],
    *,
    estimator: Estimator,
    detector: PersonDetector | None = None,
    boxes: Sequence[np.ndarray | None] | None = None,
    masks: Sequence[np.ndarray | None] | None = None,
    if_nobody: str = "empty",
    on_batch: OnBatch | None = None,
) -> list[Poses]:
    """Poses of the people of each picture.

    Args:
        images: RGB uint8 (H, W, 3).
        estimator: `PoseEstimator`, `PreviewEstimator` or alike.
        detector: finds people where `boxes` does not say.
        boxes: for each picture (N, 4) or (N, 5), or None to ask the detector. An empty array means nobody.
        masks: for each picture (N, H, W) that belong to its boxes, see `PoseEstimator.estimate`.
        if_nobody: what a picture gets in which the detector finds nobody: "empty" (no poses) or "full-image" (one box
            of the whole picture). The result's `meta["boxes_from"]` says which it was. Boxes given are never replaced.
        on_batch: called with (crops done, crops in all); may raise to stop.
    """
    if if_nobody not in IF_NOBODY:
        raise InputError(f"if_nobody: expected one of {', '.join(IF_NOBODY)}, got {if_nobody!r}")
    given = [None] * len(images) if boxes is None else list(boxes)
    if len(given) != len(images):
        raise InputError(f"expected one list of boxes per picture, got {len(given)} for {len(images)} pictures")
    pairs = [_boxes_for(image, own, detector, if_nobody) for image, own in zip(images, given, strict=True)]
    found = [found for found, _ in pairs]
    results = estimator.estimate(images, found, masks=masks, on_batch=on_batch)
    how = {"detector": detector.meta()} if detector is not None and hasattr(detector, "meta") else {}
    return [
        poses.with_meta(boxes_from=source, **(how if source != "given" else {}))
        for poses, (_, source) in zip(results, pairs, strict=True)
    ]


def _boxes_for(
    image: np.ndarray, given: np.ndarray | None, detector: PersonDetector | None, if_nobody: str
) -> tuple[np.ndarray, str]:
    """(N, 5) boxes of a picture, and where they come from."""
    check_image(image)
    if given is not None:
        return with_scores(given), "given"
    if detector is None:
        raise InputError("a picture came without boxes and without a detector: give one of them")
    found, scores = detector.detect(image)
    if len(found):
        return np.concatenate([found, scores[:, None]], axis=1), detector.name
    if if_nobody == "empty":
        return np.zeros((0, 5), np.float32), f"{detector.name}: nobody found"
    h, w = image.shape[:2]
    log.info("%s found nobody: using the whole picture", detector.name)
    return np.asarray([[0, 0, w, h, 1]], np.float32), f"{detector.name}: nobody found, whole picture used"


def place(poses: Poses, size: tuple[int, int], fit: str = "pad") -> Poses:
    """The poses moved onto a canvas of `size` (w, h), before drawing.

    Args:
        fit: "pad" keeps the proportions and shows everything, "crop" keeps the proportions and fills the canvas,
            "stretch" does neither.
    """
    if fit not in FITS:
        raise InputError(f"fit: expected one of {', '.join(FITS)}, got {fit!r}")
    old, new = np.asarray(poses.size, np.float64), np.asarray(size, np.float64)
    ratios = new / old
    scale = ratios if fit == "stretch" else np.full(2, ratios.min() if fit == "pad" else ratios.max())
    shift = (new - old * scale) / 2
    boxes = np.array(poses.boxes, np.float64)
    boxes[:, :4] = boxes[:, :4] * np.tile(scale, 2) + np.tile(shift, 2)
    return replace(poses, keypoints=poses.keypoints * scale + shift, boxes=boxes, size=size)


@dataclass(frozen=True)
class PictureOptions:
    """What `annotate_pictures` writes, and how it draws.

    Attributes:
        size: (w, h) of the pose map; None: the picture's own.
        fit: how the picture's frame maps onto another size, see `place`.
        style, parts, threshold: see `drawing.draw_poses`; `threshold` also decides which points the JSON calls present.
        overlay: also write NAME_overlay.png.
        json_scores: write raw scores instead of 1.0 and 0.0.
        overwrite: redo what is there; otherwise existing files are kept.
        max_pixels: pictures larger than this are refused (None: the reader's limit).
        background: RGB on which transparent pictures are laid.
        chunk: at most so many pictures share their batches.
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
    """What became of one input: "done", "kept" (its files were there) or "failed" with the reason."""

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
        return [path for path in self.files() if not path.exists()]


@dataclass(frozen=True)
class _Pending:
    item: _Item
    image: np.ndarray
    boxes: np.ndarray | None


def output_names(sources: Sequence[Path]) -> dict[Path, str]:
    """NAME of each input: the stem, or with the extension where two inputs share a stem.

    Raises `InputError` when two inputs would still write the same files.
    """
    stems: dict[str, set[str]] = {}
    for source in sources:
        stems.setdefault(source.stem.casefold(), set()).add(source.name.casefold())
    names: dict[Path, str] = {}
    owner: dict[str, Path] = {}
    for source in dict.fromkeys(sources):
        name = source.stem if len(stems[source.stem.casefold()]) == 1 else source.name
        other = owner.setdefault(name.casefold(), source)
        if other != source:
            raise InputError(f"{other} and {source} would write the same files: annotate them into two folders")
        names[source] = name
    return names


def annotate_pictures(
    sources: Sequence[Path],
    out: Path,
    *,
    estimator: Callable[[], Estimator],
    detector: Callable[[], PersonDetector],
    options: PictureOptions,
    boxes: BoxFile | None = None,
) -> Iterator[Outcome]:
    """Annotate picture files into the folder `out`; yields an `Outcome` per input, in order.

    One bad input never stops the others. `estimator` and `detector` are called when the first picture needs them, so
    that a run which finds everything done loads no model. Their errors (missing weights, say) are raised.
    """
    items = [_item(source, out, name, options.overlay) for source, name in output_names(sources).items()]
    waiting: list[_Item] = []
    outcomes: dict[Path, Outcome] = {}
    pending: list[_Pending] = []

    def finish() -> Iterator[Outcome]:
        if pending:
            outcomes.update(_estimate(pending, estimator(), detector() if boxes is None else None, options))
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


def _item(source: Path, out: Path, name: str, overlay: bool) -> _Item:
    return _Item(
        source=source,
        pose_map=out / f"{name}_pose.png",
        keypoints=out / f"{name}_keypoints.json",
        sequence=out / f"{name}.pose.npz",
        overlay=out / f"{name}_overlay.png" if overlay else None,
    )


def _prepare(item: _Item, options: PictureOptions, boxes: BoxFile | None, only: bool) -> _Pending | Outcome:
    """Read a picture for the estimator, or finish it where its poses (or all its files) are there already."""
    if not options.overwrite and not item.missing():
        return Outcome(item.source, "kept", "its files are there", files=item.files())
    image = _read(item.source, options)
    if not options.overwrite and item.sequence.exists():
        return _write(item, image, PoseSequence.load(item.sequence).frame(0), options)
    return _Pending(item, image, boxes.boxes_of(item.source, only) if boxes else None)


def _estimate(
    pending: Sequence[_Pending], estimator: Estimator, detector: PersonDetector | None, options: PictureOptions
) -> Iterator[tuple[Path, Outcome]]:
    """Poses of all pictures of a chunk in common batches; a failure is met again picture by picture, to be named."""

    def run(part: Sequence[_Pending]) -> list[Poses]:
        return annotate_images(
            [entry.image for entry in part],
            estimator=estimator,
            detector=detector,
            boxes=[entry.boxes for entry in part],
            if_nobody=options.if_nobody,
        )

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
    from .images import read_image

    settings: dict[str, Any] = {}
    if options.max_pixels is not None:
        settings["max_pixels"] = options.max_pixels
    if options.background is not None:
        settings["background"] = options.background
    return read_image(source, **settings)


def _write(item: _Item, image: np.ndarray, poses: Poses, options: PictureOptions) -> Outcome:
    """Write the files of one picture that are asked for and, unless overwriting, not there yet."""
    from .drawing import draw_poses, overlay
    from .images import write_png
    from .openpose import write_openpose_json
    from .openpose_order import DRAWABLE

    if (image.shape[1], image.shape[0]) != poses.size:
        raise InputError(
            f"{item.sequence} was made from a picture of {poses.size}, {item.source} is "
            f"{(image.shape[1], image.shape[0])}: use --overwrite"
        )
    wanted = item.files() if options.overwrite else item.missing()
    drawing: dict[str, Any] = {"style": options.style, "parts": options.parts, "threshold": options.threshold}
    if item.sequence in wanted:
        poses.save(item.sequence)
    if poses.keypoint_set not in DRAWABLE:
        without = f"; no pose map and no OpenPose JSON: OpenPose has no points of {poses.keypoint_set!r}"
        return Outcome(item.source, "done", describe(poses) + without, len(poses), [item.sequence])
    if item.pose_map in wanted:
        canvas = place(poses, options.size, options.fit) if options.size else poses
        write_png(item.pose_map, draw_poses(canvas, **drawing))
    if item.keypoints in wanted:
        write_openpose_json(item.keypoints, poses, threshold=options.threshold, json_scores=options.json_scores)
    if item.overlay and item.overlay in wanted:
        write_png(item.overlay, overlay(image, poses, **drawing))
    return Outcome(item.source, "done", describe(poses), len(poses), wanted)


def describe(poses: Poses) -> str:
    """One phrase about a result: how many people, by what, and what was out of the ordinary."""
    people = "nobody" if not len(poses) else f"{len(poses)} {'person' if len(poses) == 1 else 'people'}"
    notes = [people, str(poses.meta.get("model", "unknown model"))]
    source = str(poses.meta.get("boxes_from", ""))
    if "nobody found" in source:
        notes.append(source)
    if absent := poses.meta.get("not_there"):
        notes.append(f"{absent} more not believed, scores too low")
    notes += [f"left out: {reason}" for reason in poses.meta.get("dropped_boxes", [])]
    return "; ".join(notes)
