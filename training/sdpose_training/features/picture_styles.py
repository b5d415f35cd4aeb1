"""The same people in several styles: folders of pictures with the same file names, or filters run on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sdpose_core.errors import InputError
from sdpose_training.data.annotations import People
from sdpose_training.data.pictures import read_picture

ORIGINAL = "original"
DEFAULT_FILTERS = ("oil", "sketch", "posterise")
"""With the original pictures, the four styles that need no download."""


@dataclass(frozen=True)
class PictureStyle:
    """One style of all pictures.

    Attributes:
        name: on the picture.
        folder: where its pictures are.
        paint: what is done to each picture, RGB uint8 (h, w, 3); None: nothing.
    """

    name: str
    folder: Path
    paint: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def origin(self) -> str:
        """For the settings: where its pictures come from."""
        return f"filter {self.name!r} on {self.folder.name}/" if self.paint else f"{self.folder}"

    def picture(self, file: Path, size: tuple[int, int]) -> np.ndarray:
        """The picture of that name, RGB uint8 (h, w, 3). `InputError`: missing, damaged, or not `size` (w, h)."""
        image = read_picture(self.folder / file.name, size)
        return self.paint(image) if self.paint else image


def parse_styles(values: Sequence[str], root: Path, images: Path) -> list[PictureStyle]:
    """Styles from "NAME=FOLDER" (beside `root`, if relative) and "NAME" (a filter of `styles.filters` on `images`).

    Raises `InputError`: a folder that is not there, an unknown filter, a name given twice, fewer than two styles.
    """
    styles = [_style(value, root, images) for value in values or (ORIGINAL, *DEFAULT_FILTERS)]
    names = [style.name for style in styles]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"--style {sorted(twice)[0]!r} is given twice: every style needs a name of its own")
    if len(styles) < 2:
        raise InputError("styles are compared, so give at least two: --style NAME=FOLDER --style NAME=FOLDER")
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
        raise InputError(
            f"no style filter {name!r}: choose one of {', '.join(FILTERS)}, or give a folder, {name}=FOLDER"
        )
    return FILTERS[name]


def check_pictures(styles: Sequence[PictureStyle], people: People) -> None:
    """`InputError` with the numbers, if a style lacks pictures of these people: found out before anything is run."""
    names = sorted({file.name for file in people.files})
    for style in styles:
        if missing := [name for name in names if not (style.folder / name).is_file()]:
            raise InputError(
                f"style {style.name!r}: {len(missing)} of {len(names)} pictures are not in {style.folder}, the first "
                f"{missing[0]!r}: every style needs the same file names"
            )
