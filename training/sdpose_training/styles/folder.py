"""The folder of one style beside COCO's own: which pictures, made how, and the annotations that go with them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from sdpose_core.errors import InputError
from sdpose_core.files import atomic_path, sha256_of
from sdpose_core.resumable import begin, one_at_a_time, refuse_other
from sdpose_training.data.annotations import read_annotations

log = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png")
"""Of pictures that can be written."""

SETTINGS = "make_coco_ood.json"

SOURCES = (
    ("annotations/person_keypoints_val2017.json", "val2017"),
    ("annotations/coco_wholebody_val_v1.0.json", "val2017"),
    ("annotations/val.json", "images"),
)
"""Annotations and pictures under the root: COCO's, and those of make_synthetic_people.py."""

_COMPANIONS = (
    "annotations/person_keypoints_val2017.json",
    "annotations/coco_wholebody_val_v1.0.json",
    "person_detection_results/COCO_val2017_detections_AP_H_70_person.json",
)
"""What evaluate.py reads besides the pictures; copied unchanged, where it is there."""

_SUFFIX_OF = {"monet": "oil", "ukiyoe": "ukiyoe"}


@dataclass(frozen=True)
class Source:
    """What is painted.

    Attributes:
        root: folder of the data set.
        images: folder of the pictures, relative to the root.
        annotations: file that names the pictures.
    """

    root: Path
    images: str
    annotations: Path

    @property
    def pictures(self) -> Path:
        return self.root / self.images


def find_source(root: Path, images: str | None, annotations: str | None) -> Source:
    """The pictures and annotations under `root`: as given (relative to the root), or in the usual places.

    Raises `InputError` if they are not there.
    """
    if not root.is_dir():
        raise InputError(f"--data.root {root}: no such folder")
    usual = next((pair for pair in SOURCES if (root / pair[0]).is_file()), None)
    if annotations is None and usual is None:
        places = " or ".join(pair[0] for pair in SOURCES)
        raise InputError(f"no {places} in {root}: give --data.annotations FILE, which names the pictures")
    file = root / (annotations or usual[0])
    folder = images or (usual[1] if usual else "images")
    if not file.is_file():
        raise InputError(f"--data.annotations {file}: no such file")
    if not (root / folder).is_dir():
        raise InputError(f"no folder {root / folder}: give --data.images FOLDER, where the pictures are")
    return Source(root, folder, file)


def picture_names(source: Source) -> list[str]:
    """File names of the annotated pictures, sorted, each once.

    Raises `InputError`: no COCO file, a name that leads out of the folder, or of a kind that cannot be written.
    """
    try:
        names = sorted({str(image["file_name"]) for image in read_annotations(source.annotations)["images"]})
    except (KeyError, TypeError):
        raise InputError(f"{source.annotations}: an image has no file_name") from None
    if not names:
        raise InputError(f"{source.annotations} names no pictures")
    for name in names:
        absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive
        if absolute or ".." in name.replace("\\", "/").split("/"):
            raise InputError(f"{source.annotations}: the file name {name!r} leads out of the folder: refused")
        if Path(name).suffix.lower() not in SUFFIXES:
            raise InputError(f"{source.annotations}: {name!r} is none of {', '.join(SUFFIXES)}: convert it first")
    return names


def folder_name(images: str, style: str) -> str:
    """The style's folder: val2017oil as released, for Monet; val2017ukiyoe; filters say so (val2017filter_oil)."""
    return f"{images.rstrip('/')}{_SUFFIX_OF.get(style, f'filter_{style}')}"


def agree(folder: Path, settings: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
    """Write down how the pictures of a folder are made, or compare with what is written there: one style per folder.

    Processes that start together see the same file. `notes` are written and compared, but may differ with a warning.

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
        log.warning("%s was begun with another %s: its pictures may differ a little", folder, ", ".join(changed))


def _check_empty(folder: Path) -> None:
    stranger = next((p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES), None)
    if stranger:
        raise InputError(
            f"{folder} holds pictures of unknown origin ({stranger.name}; there is no {SETTINGS}): choose another "
            "--out, or move them away"
        )


def copy_annotations(source: Source, out: Path) -> dict[str, str]:
    """Annotations and boxes, byte for byte, under another root; nothing is done where `out` is the root itself.

    Returns the SHA-256 of each by its place. Raises `InputError` if another file is there under the same name.
    """
    files = {place: source.root / place for place in _COMPANIONS if (source.root / place).is_file()}
    inside = source.annotations.resolve().is_relative_to(source.root.resolve())
    place = source.annotations.resolve().relative_to(source.root.resolve()) if inside else None
    files[place.as_posix() if place else f"annotations/{source.annotations.name}"] = source.annotations
    digests = {place: sha256_of(file) for place, file in sorted(files.items())}
    if out.resolve() == source.root.resolve():
        return digests
    for place, digest in digests.items():
        target = out / place
        if not target.exists():
            with atomic_path(target) as temporary:
                shutil.copyfile(files[place], temporary)
        if sha256_of(target) != digest:
            raise InputError(f"{target} differs from {files[place]}: choose another --out")
    return digests
