"""Frames of a clip as training data: pictures and COCO annotations that `training/` reads as they are.

OUT/images/NAME_000012.png ..., OUT/annotations/train.json and val.json: the defaults of the recipes for own data, and
of `evaluate.py --benchmark custom`. Several clips, each under its own name, share a folder; a clip that is written
again replaces its earlier frames.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..files import atomic_write, clean_once
from ..folders import FolderKind
from ..images import of_picture, write_png
from ..names import file_inside, path_inside
from ..poses import PoseSequence
from ..sequences.cleaning import drawing_threshold
from ..sequences.doubts import DOUBTFUL
from ..stated import list_in, mapping_in
from ..texts import read_json
from .coco_entries import category, labeled_person, point_rows, xywh

if TYPE_CHECKING:
    from ..video.frames import Frame

HELD_OUT = 10
"""The last frame of so many, in time, goes into val.json, and at least one of two: neighbors are too alike to judge by
each other."""

THRESHOLD = 0.3
"""Minimum score of points that nobody placed, unless the cleaning has decided which are there."""

PARTS = ("train", "val")
_KEY = "sdpose_training_data"
_VERSION = 1
_WORD = "training data of sdpose"


def write_training_data(
    sequence: PoseSequence,
    frames: Sequence[int],
    picture_of: Callable[[int], np.ndarray],
    out: str | Path,
    name: str,
    *,
    threshold: float = THRESHOLD,
    sizes: Sequence[tuple[int, int]] | None = None,
) -> list[Path]:
    """Write frames and the people in them; returns the files, pictures first.

    Points placed by hand are visible (2), deleted ones not labeled (0). Others are visible from `threshold` up, unless
    they are `DOUBTFUL` and nobody found the person right in a review.

    Args:
        frames: positions in the sequence, in any order.
        picture_of: position -> RGB uint8 (h, w, 3) of the frame's size; called in the order of the frames.
        out: a new folder, or one that was written by this function.
        name: of the clip, for the files; no path.
        sizes: (w, h) of the picture of each frame of the sequence, if they differ; None: the sequence's.

    Raises `InputError`: no frames or nobody in them, a picture of another size, another keypoint set than in `out`, the
    same name for another clip, or files in `out/images` or `out/annotations` that are not ours.
    """
    out, chosen = Path(out), sorted(set(frames))
    files = _picture_files(sequence, chosen, out, name)
    right = _found_right(sequence)
    people = {t: _people(sequence, t, threshold, right) for t in chosen}
    if not any(map(_is_labeled, [row for rows in people.values() for row in rows])):
        raise InputError("nobody has labeled points in these frames: correct some, or choose other frames")
    before = _read_before(out)
    _check_same(before, sequence, name, out)
    size_of = {t: sequence.size if sizes is None else sizes[t] for t in chosen}
    for t in chosen:
        write_png(files[t], _checked(picture_of(t), size_of[t], t), {_KEY: name})
    parts = split_frames(chosen)
    written = []
    for part in PARTS:
        new = [(_image(files[t], size_of[t], name, int(sequence.frame_index[t])), people[t]) for t in parts[part]]
        content = _merged(before[part], sequence, name, new)
        written += _write_part(out / "annotations" / f"{part}.json", content)
    _remove_old(before, name, set(files.values()), out)
    return [*files.values(), *written]


def pictures_in_order(frames: Iterable[Frame], sequence: PoseSequence, source: Path) -> Callable[[int], np.ndarray]:
    """A `picture_of` that reads on: positions must rise. `frames` are numbered as `sequence.frame_index`."""
    reading = iter(frames)

    def read(t: int) -> np.ndarray:
        wanted = int(sequence.frame_index[t])
        frame = next((frame for frame in reading if frame.index >= wanted), None)
        if frame is None or frame.index != wanted:
            raise InputError(f"{source} has no frame {wanted}: name the video or folder that the poses were made from")
        return frame.image

    return read


def _picture_files(sequence: PoseSequence, frames: Sequence[int], out: Path, name: str) -> dict[int, Path]:
    """Frame -> its picture. Raises `InputError` for no frames, or a name that is a path."""
    if not frames:
        raise InputError("no frames: correct some by hand, or choose frames")
    if not 0 <= frames[0] <= frames[-1] < len(sequence):
        raise InputError(f"frame {frames[0] if frames[0] < 0 else frames[-1]}: expected 0 to {len(sequence) - 1}")
    file_inside(out, name, "the name of the clip")
    return {t: out / "images" / f"{name}_{int(sequence.frame_index[t]):06d}.png" for t in frames}


def _checked(picture: np.ndarray, size: tuple[int, int], t: int) -> np.ndarray:
    h, w = picture.shape[:2]
    if (w, h) != tuple(size):
        found, expected = f"{w} x {h}", "{} x {}".format(*size)
        raise InputError(f"the picture of frame {t} has {found} pixels, its poses are of {expected}: name their source")
    return picture


def split_frames(frames: Sequence[int]) -> dict[str, Sequence[int]]:
    """The frames of each part: the last ones in time for "val"."""
    held = max(len(frames) // HELD_OUT, 1) if len(frames) > 1 else 0
    return {"train": frames[: len(frames) - held], "val": frames[len(frames) - held :]}


# --- annotations -----------------------------------------------------------------------------------------------------


def _found_right(sequence: PoseSequence) -> set[tuple[int, int]]:
    """(position, track id) of who was found right in a review."""
    listed = list_in(mapping_in(sequence.meta, "review"), "checked", list)
    return {(pair[0], pair[1]) for pair in listed if len(pair) == 2}


def _people(
    sequence: PoseSequence, t: int, threshold: float, right: Collection[tuple[int, int]]
) -> list[dict[str, Any]]:
    """The annotations of a frame, without ids."""
    points, poses = sequence.skeleton, sequence.frame(t)
    seen = sequence.track_ids[t] >= 0
    edited = np.zeros(poses.scores.shape, bool) if sequence.edited is None else sequence.edited[t, seen]
    doubtful = np.zeros(poses.scores.shape, bool)
    if sequence.distrust is not None:
        doubtful = np.nan_to_num(sequence.distrust[t, seen]) >= DOUBTFUL
        doubtful &= [[(t, track) not in right] for track in sequence.track_ids[t, seen].tolist()]
    rows = point_rows(poses)
    there = rows[..., 2] >= drawing_threshold(sequence.meta, threshold)
    labeled = (rows[..., 2] > 0) & (edited | (there & ~doubtful))
    rows = np.where(labeled[..., None], rows, 0)
    rows[..., 2] = 2 * labeled
    return [
        labeled_person(points, person, xywh(_around(box[:4], person)), track)
        for person, box, track in zip(rows, poses.boxes, poses.track_ids.tolist(), strict=True)
    ]


def _is_labeled(annotation: Mapping[str, Any]) -> bool:
    return any(any(values[2::3]) for key, values in annotation.items() if key == "keypoints" or key.endswith("_kpts"))


def _around(box: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The box, extended to hold the labeled points (K, 3): corrected ones may lie outside."""
    seen = points[points[:, 2] > 0, :2]
    if not len(seen):
        return box
    low, high = seen.min(axis=0), seen.max(axis=0)
    if not (box[2:] > box[:2]).all():
        return np.concatenate([low, high])
    return np.concatenate([np.minimum(box[:2], low), np.maximum(box[2:], high)])


def _image(file: Path, size: tuple[int, int], name: str, frame: int) -> dict[str, Any]:
    """The entry of a picture, without its id."""
    return {"file_name": file.name, "width": size[0], "height": size[1], "clip": name, "frame_index": frame}


def _merged(
    before: Mapping[str, Any],
    sequence: PoseSequence,
    name: str,
    new: Sequence[tuple[dict[str, Any], list[dict[str, Any]]]],
) -> dict[str, Any]:
    """The content of a part with the clip's new frames, pictures and people, in place of its old ones; ids count from
    1."""
    kept = [image for image in before.get("images", ()) if image["clip"] != name]
    people: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in kept}
    for annotation in before.get("annotations", ()):
        people.get(annotation["image_id"], []).append(annotation)
    pairs = [*((image, people[image["id"]]) for image in kept), *new]
    pairs.sort(key=lambda pair: (pair[0]["clip"], pair[0]["frame_index"]))
    images = [{**image, "id": number} for number, (image, _) in enumerate(pairs, start=1)]
    rows = [(number, row) for number, (_, found) in enumerate(pairs, start=1) for row in found]
    annotations = [{**row, "id": i, "image_id": number} for i, (number, row) in enumerate(rows, start=1)]
    clips = {clip: source for clip, source in before.get("info", {}).get("clips", {}).items() if clip != name}
    info = {"description": _WORD, _KEY: _VERSION, "keypoint_set": sequence.keypoint_set}
    info["clips"] = dict(sorted({**clips, name: _source_of(sequence)}.items()))
    return {"info": info, "categories": [category(sequence.skeleton)], "images": images, "annotations": annotations}


def _source_of(sequence: PoseSequence) -> dict[str, Any]:
    """What tells clips of one name apart."""
    known = mapping_in(mapping_in(sequence.meta, "origin"), "source").get("sha256")
    name, frames = str(sequence.meta.get("source") or ""), len(sequence)
    return {"source": name, "frames": frames, "size": list(sequence.size), "sha256": known}


# --- the folder ------------------------------------------------------------------------------------------------------


def _read_before(out: Path) -> dict[str, Mapping[str, Any]]:
    """What is in the folder, by part. Raises `InputError` if something in it is not ours."""
    for kind in (
        FolderKind(_WORD, ("*.png",), is_ours=_is_our_picture),
        FolderKind(_WORD, ("train.json", "val.json"), is_ours=lambda file: _content(file) is not None),
    ):
        folder = out / ("images" if kind.patterns[0] == "*.png" else "annotations")
        clean_once(folder)
        if reason := kind.why_not(folder):
            raise InputError(f"{folder} {reason}: nothing was written; choose another folder")
    return {part: _content(out / "annotations" / f"{part}.json") or {} for part in PARTS}


def _is_our_picture(file: Path) -> bool:
    return bool(of_picture(file, lambda image: _KEY in image.info, False))


def _content(file: Path) -> dict[str, Any] | None:
    """The annotations of a part; None if there are none, or they are not ours."""
    if not os.path.isfile(file):
        return None
    found = read_json(file, _WORD)
    info = found.get("info") if isinstance(found, dict) else None
    ours = isinstance(info, dict) and info.get(_KEY) == _VERSION and isinstance(info.get("clips"), dict)
    lists = (found.get(key) for key in ("images", "annotations")) if ours else ()
    whole = ours and all(isinstance(entries, list) and all(map(_is_entry, entries)) for entries in lists)
    return found if whole else None


def _is_entry(entry: Any) -> bool:
    """Whether it is a picture or an annotation as written here; an editor may have added others."""
    if not isinstance(entry, dict):
        return False
    named = isinstance(entry.get("clip"), str) and isinstance(entry.get("file_name"), str)
    return "image_id" in entry or (named and type(entry.get("frame_index")) is int and "id" in entry)


def _check_same(before: Mapping[str, Mapping[str, Any]], sequence: PoseSequence, name: str, out: Path) -> None:
    """Raise `InputError` if the folder has another keypoint set, or another clip of this name."""
    for content in before.values():
        info = content.get("info") or {}
        if info.get("keypoint_set", sequence.keypoint_set) != sequence.keypoint_set:
            found = info["keypoint_set"]
            raise InputError(f"{out} has poses of {found!r}, these are of {sequence.keypoint_set!r}: choose another")
        known = info.get("clips", {}).get(name)
        if known not in (None, _source_of(sequence)):
            what = f"frames of another clip called {name!r} (made from {known.get('source')!r})"
            raise InputError(f"{out} has {what}: choose another name")


def _write_part(file: Path, content: Mapping[str, Any]) -> list[Path]:
    """Write a part, or remove it if it has no pictures."""
    if not content["images"]:
        file.unlink(missing_ok=True)
        return []
    with atomic_write(file, "w") as handle:
        json.dump(content, handle, allow_nan=False)
    return [file]


def _remove_old(before: Mapping[str, Mapping[str, Any]], name: str, new: set[Path], out: Path) -> None:
    """Remove the clip's earlier pictures that are no longer among them."""
    for content in before.values():
        for image in content.get("images", ()):
            file = path_inside(out / "images", image["file_name"], "the picture")
            if image["clip"] == name and file not in new and os.path.isfile(file) and _is_our_picture(file):
                file.unlink()
