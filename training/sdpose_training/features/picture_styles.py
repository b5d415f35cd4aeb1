"""The same people in several styles: folders of pictures with the same file names, or filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sdpose_core.errors import InputError
from sdpose_training.data.pictures import read_picture

ORIGINAL = "original"
DEFAULT_FILTERS = ("oil", "sketch", "posterise")
"""These and the original pictures are the four styles without any download."""


@dataclass(frozen=True)
class PictureStyle:
    """One style of all pictures.

    Attributes:
        name: in the figure.
        folder: of its pictures.
        paint: filter for each picture, RGB uint8 (h, w, 3); None for no filter.
    """

    name: str
    folder: Path
    paint: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def origin(self) -> str:
        """The source of its pictures, for the settings."""
        return f"filter {self.name!r} on {self.folder.name}/" if self.paint else f"{self.folder}"

    def picture(self, file: Path, size: tuple[int, int]) -> np.ndarray:
        """The picture of that name, RGB uint8 (h, w, 3). `InputError`: missing, damaged, or not `size` (w, h)."""
        image = read_picture(self.folder / file.name, size)
        return self.paint(image) if self.paint else image


def parse_styles(values: Sequence[str], root: Path, images: Path) -> list[PictureStyle]:
    """Styles from "NAME=FOLDER" (relative to `root`) and "NAME" (a filter of `styles.filters` on `images`).

    Raises `InputError`: a missing folder, an unknown filter, a duplicate name, or fewer than two styles.
    """
    styles = [_style(value, root, images) for value in values or (ORIGINAL, *DEFAULT_FILTERS)]
    names = [style.name for style in styles]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"--style {sorted(twice)[0]!r} is given twice: give each style a different name")
    if len(styles) < 2:
        raise InputError("expected at least two styles to compare: --style NAME=FOLDER --style NAME=FOLDER")
    return styles


def _style(value: str, root: Path, images: Path) -> PictureStyle:
    name, given, folder = value.partition("=")
    if not name or (given and not folder):
        raise InputError(f"--style {value!r}: expected NAME=FOLDER, or the NAME of a filter")
    path = root / folder if given else images
    if not path.is_dir():
        raise InputError(f"style {name!r}: no folder {path}")
    return PictureStyle(name, path, None if given or name == ORIGINAL else _filter(name))


def _filter(name: str) -> Callable[[np.ndarray], np.ndarray]:
    from sdpose_training.styles.filters import FILTERS

    if name not in FILTERS:
        raise InputError(f"no style filter {name!r}: choose one of {', '.join(FILTERS)}, or a folder: {name}=FOLDER")
    return FILTERS[name]


def check_pictures(styles: Sequence[PictureStyle], files: Iterable[Path]) -> None:
    """Raise `InputError` if a style lacks pictures of these names, before any network runs."""
    names = sorted({file.name for file in files})
    for style in styles:
        if missing := [name for name in names if not (style.folder / name).is_file()]:
            absent = f"{len(missing)} of {len(names)} pictures are not in {style.folder}, the first {missing[0]!r}"
            raise InputError(f"style {style.name!r}: {absent}: every style needs the same file names")
