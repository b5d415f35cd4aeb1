"""The picture files of a COCO file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..images import of_picture
from ..names import path_inside
from .names import BARE, NameTable, plain_path

_ORIENTATION = 0x0112
"""EXIF tag; from 5 on width and height are exchanged."""


def picture_paths(names: Sequence[str], folder: Path) -> list[Path]:
    """The file of each name in a folder: as named, or under a name that means the same; else the path as named.

    Names may have other folders, backslashes, another suffix, case or Unicode form. Raises `InputError` if two files
    may be meant, or one by two names, or if a name that is not found leads out of the folder.
    """
    present = _names_in(folder)
    missing = [name for name in dict.fromkeys(names) if name not in present and not _is_below(name, folder)]
    taken = set(names) & present
    found = NameTable(sorted(present - taken) if missing else ()).assign(missing, BARE)
    left = [name for name in missing if name not in found]
    if left and (not found or any("/" in plain_path(name) for name in left)):
        below = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if os.path.isfile(path))
        found |= NameTable(below).assign(left, BARE)
    for name in missing:
        if name not in found:
            path_inside(folder, name, "the picture")
    paths = {name: folder / found.get(name, name) for name in dict.fromkeys(names)}
    return [paths[name] for name in names]


def _is_below(name: str, folder: Path) -> bool:
    """Whether a name as it is belongs to a file below a folder."""
    try:
        return os.path.isfile(path_inside(folder, name, "the picture"))
    except InputError:
        return False


def _names_in(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if not entry.name.startswith(".")}
    except OSError:
        return set()


def picture_size(path: Path) -> tuple[int, int]:
    """(w, h) of an upright picture, from its header. Raises `ValueError` if it cannot be read."""
    found = of_picture(path, lambda image: (*image.size, image.getexif().get(_ORIENTATION, 1) >= 5), None)
    if found is None:
        raise ValueError(f"the picture has no width and height, and {path} cannot be read")
    w, h, turned = found
    return (h, w) if turned else (w, h)
