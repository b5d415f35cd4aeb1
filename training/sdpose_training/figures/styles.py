"""The same pictures in several styles side by side, with their names (figures 5 and 9 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.cli.progress import progress_bar
from sdpose_core.errors import InputError
from sdpose_training.data.pictures import pictures_in, read_picture
from sdpose_training.features.picture_styles import PictureStyle, check_pictures
from sdpose_training.figures.sheet import Row, Sheet, shown, write_figure


def chosen_pictures(folder: Path, count: int, seed: int, names: Sequence[str] = ()) -> tuple[list[Path], str]:
    """The pictures of a style sheet, and in words how they were chosen: by name, or `count` at random by `seed`.

    Raises `InputError` for a name that is not there, or a folder without pictures.
    """
    files = pictures_in(folder, "--data.images")
    if names:
        known = {file.name: file for file in files}
        if absent := [name for name in names if name not in known]:
            raise InputError(f"--picture {absent[0]!r}: not in {folder}, which has {len(files)} pictures")
        return [known[name] for name in names], "chosen by name"
    if count >= len(files):
        return files, f"all {len(files)} of the folder"
    at = np.random.default_rng(seed).choice(len(files), count, replace=False)
    return [files[i] for i in sorted(at.tolist())], f"{count} of {len(files)}, drawn at random (seed {seed})"


def style_sheet(
    path: Path, files: Sequence[Path], how_chosen: str, styles: Sequence[PictureStyle], *, height: int = 240,
    title: str = "", record: dict[str, Any] | None = None,
) -> list[Path]:  # fmt: skip
    """Write the sheet, a row for every picture and a column for every style; returns its files.

    Args:
        files: of the original pictures; every style has pictures of the same names and sizes.
        height: of a cell in pixels.

    Raises `InputError` for pictures that are missing, damaged, or of another size than the original.
    """
    check_pictures(styles, files)
    rows = []
    with progress_bar(len(files) * len(styles), "picture", "painting") as bar:
        for file in files:
            size = tuple(read_picture(file).shape[1::-1])
            cells = []
            for style in styles:
                cells.append(shown(style.picture(file, size), height))
                bar.update()
            rows.append(Row(cells, file.name))
    origins = {style.name: style.origin for style in styles}
    sources = [f"{style.name} ({'a filter' if style.paint else style.folder.name})" for style in styles]
    caption = [f"The same pictures in {len(styles)} styles; {how_chosen}.", f"Styles: {', '.join(sources)}."]
    sheet = Sheet(title or "One set of pictures in several styles", list(origins), rows, caption)
    pictures = [file.name for file in files]
    return write_figure(path, sheet, {**(record or {}), "styles": origins, "pictures": pictures})
