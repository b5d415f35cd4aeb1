"""The folder of one style beside COCO's: its pictures, how they were made, and its annotations."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.files import atomic_path, clean_once, sha256_of
from sdpose_core.names import path_inside
from sdpose_core.resumable import begin, one_at_a_time, refuse_other
from sdpose_training.data.annotations import read_annotations

log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png")
"""Supported picture formats."""

SETTINGS = "make_coco_ood.json"

SOURCES = (
    ("annotations/person_keypoints_val2017.json", "val2017"),
    ("annotations/coco_wholebody_val_v1.0.json", "val2017"),
    ("annotations/val.json", "images"),
)
"""Annotations and pictures under the root, of COCO and of make_synthetic_people.py."""

_COMPANIONS = (
    "annotations/person_keypoints_val2017.json",
    "annotations/coco_wholebody_val_v1.0.json",
    "person_detection_results/COCO_val2017_detections_AP_H_70_person.json",
)
"""Files that evaluate.py reads besides the pictures; copied if they exist."""

_SUFFIX_OF = {"monet": "oil", "ukiyoe": "ukiyoe", "corruption": "corruption"}


@dataclass(frozen=True)
class PaintedData:
    """The data set to paint; `images` is a folder relative to `root`, `annotations` the COCO file that names them."""

    root: Path
    images: str
    annotations: Path

    @property
    def pictures(self) -> Path:
        return self.root / self.images


def find_data(root: Path, images: str | None, annotations: str | None) -> PaintedData:
    """The pictures and annotations under `root`, as given (relative to it) or in the usual places.

    Raises `InputError` if they are missing.
    """
    if not root.is_dir():
        raise InputError(f"--data.root {root}: no such folder")
    usual = next((pair for pair in SOURCES if (root / pair[0]).is_file()), None)
    if annotations is None and usual is None:
        places = " or ".join(pair[0] for pair in SOURCES)
        raise InputError(f"no {places} in {root}: give --data.annotations FILE")
    file = root / (annotations or usual[0])
    folder = images or (usual[1] if usual else "images")
    if not file.is_file():
        raise InputError(f"--data.annotations {file}: no such file")
    if not (root / folder).is_dir():
        raise InputError(f"no folder {root / folder}: give --data.images FOLDER")
    return PaintedData(root, folder, file)


def picture_names(data: PaintedData) -> list[str]:
    """File names of the annotated pictures, each once, sorted by code points: shards are counted in this order.

    Raises `InputError`: not a COCO file, a name that leads out of the folder, or an unsupported format.
    """
    images = read_annotations(data.annotations)["images"]
    if not all(isinstance(image, dict) and "file_name" in image for image in images):
        raise InputError(f"{data.annotations}: an image has no file_name")
    names = sorted({str(image["file_name"]) for image in images})
    if not names:
        raise InputError(f"{data.annotations} names no pictures")
    for name in names:
        path_inside(data.pictures, name, f"{data.annotations}: the file name")
        if Path(name).suffix.lower() not in SUFFIXES:
            raise InputError(f"{data.annotations}: {name!r} is not one of {', '.join(SUFFIXES)}: convert it first")
    return names


def folder_name(images: str, style: str) -> str:
    """The style's folder: val2017oil (Monet) and val2017ukiyoe, as released; val2017corruption; val2017filter_oil
    for a filter."""
    return f"{images.rstrip('/')}{_SUFFIX_OF.get(style, f'filter_{style}')}"


def agree(folder: Path, settings: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
    """Record in the folder how its pictures are made, or compare with the record; one process at a time.

    Other `settings` are an error, other `notes` only a warning.

    Raises `InputError` if the folder holds pictures made with other settings, or of unknown origin.
    """
    file = folder / SETTINGS
    with one_at_a_time(file):
        if not file.exists():
            _check_empty(folder)
        found = begin(file, {"settings": settings, "notes": notes})
    refuse_other(found.get("settings", {}), settings, folder, "pictures", "choose another --out")
    noted = found.get("notes", {})
    changed = [key for key in notes if noted.get(key) != notes[key]]
    if changed:
        log.warning(
            "%s was begun with other values of %s: its pictures may differ slightly", folder, ", ".join(changed)
        )


def _check_empty(folder: Path) -> None:
    unknown = next((path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES), None)
    if unknown:
        raise InputError(
            f"{folder} holds pictures of unknown origin ({unknown.name}, without {SETTINGS}): choose another --out, or "
            "move them away"
        )


def copy_annotations(data: PaintedData, out: Path) -> dict[str, str]:
    """Copy annotations and boxes, byte for byte, to another root, unless `out` is the root itself.

    Returns relative path -> SHA-256. Raises `InputError` if `out` has a different file of the same name.
    """
    files = {place: data.root / place for place in _COMPANIONS if (data.root / place).is_file()}
    inside = data.annotations.resolve().is_relative_to(data.root.resolve())
    place = data.annotations.resolve().relative_to(data.root.resolve()) if inside else None
    files[place.as_posix() if place else f"annotations/{data.annotations.name}"] = data.annotations
    digests = {place: sha256_of(file) for place, file in sorted(files.items())}
    if out.resolve() == data.root.resolve():
        return digests
    for place, digest in digests.items():
        target = out / place
        clean_once(target.parent)
        if not target.exists():
            with atomic_path(target) as temporary:
                shutil.copyfile(files[place], temporary)
        if sha256_of(target) != digest:
            raise InputError(f"{target} differs from {files[place]}: choose another --out")
    return digests


def write_picture(path: Path, rgb: np.ndarray, quality: int) -> int:
    """Write RGB uint8 (H, W, 3) as JPEG or PNG, by the suffix, atomically. Returns the size of the file in bytes."""
    values = [cv2.IMWRITE_PNG_COMPRESSION, 6] if path.suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, code = cv2.imencode(path.suffix.lower(), rgb[..., ::-1], values)
    with atomic_path(path) as temporary:
        temporary.write_bytes(code.tobytes())
    return len(code)
