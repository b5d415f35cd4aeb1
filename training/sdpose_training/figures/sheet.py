"""A figure as one picture: rows of cells under headings, with a title and a caption that says how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.files import atomic_path, atomic_write
from sdpose_training.downstream.poses import resized

SUFFIXES = (".png", ".jpg", ".jpeg")
"""Formats of a figure."""

QUALITY = 90
WIDEST = 1.8
"""Width of a cell, at most, as a multiple of the height."""

_GAP, _MARGIN = 6, 12
_HEADING, _LABEL, _SMALL = 16, 12, 13
_INK, _PALE = (28, 30, 33), (101, 103, 107)


@dataclass(frozen=True)
class Row:
    """Cells RGB uint8 (h, w, 3) of any sizes, None for an empty one; `label` is small text above them."""

    cells: Sequence[np.ndarray | None]
    label: str = ""


@dataclass(frozen=True)
class Sheet:
    """What a figure shows.

    Attributes:
        columns: headings; empty for none.
        rows: each with a cell for every column.
        caption: sentences below: what is compared, the rule of every mark, where pictures and weights came from.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    caption: Sequence[str]


def check_figure_path(path: Path) -> None:
    """`InputError` unless the name ends as a picture that can be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out {path}: expected a name that ends in {', '.join(SUFFIXES)}")


def cell_size(size: tuple[int, int], height: int) -> tuple[int, int]:
    """(w, h) at which a picture of `size` (w, h) is shown: `height`, less for a very wide one."""
    scale = min(height / size[1], WIDEST * height / size[0])
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def shown(image: np.ndarray, height: int) -> np.ndarray:
    """The picture at `cell_size`."""
    return resized(image, cell_size(image.shape[1::-1], height))


def write_figure(path: Path, sheet: Sheet, record: Mapping[str, Any]) -> list[Path]:
    """Write the picture and, beside it, FIGURE.json with the title, the caption and `record`; returns both paths.

    Raises `InputError` for a name that is no picture's, or a folder that cannot be written to.
    """
    from PIL import Image

    check_figure_path(path)
    picture = Image.fromarray(render(sheet))
    with atomic_path(path) as temporary:
        picture.save(temporary, **({} if path.suffix.lower() == ".png" else {"quality": QUALITY}))
    notes = path.with_suffix(".json")
    with atomic_write(notes, "w") as file:
        json.dump({"title": sheet.title, "caption": list(sheet.caption), **record}, file, indent=1, default=str)
    return [path, notes]


def render(sheet: Sheet) -> np.ndarray:
    """The sheet, RGB uint8 (H, W, 3)."""
    from PIL import Image, ImageDraw

    widths, heights = _sizes(sheet)
    width = max(sum(widths) + _GAP * (len(widths) - 1), 320) + 2 * _MARGIN
    caption = wrapped(sheet.caption, width - 2 * _MARGIN)
    labels = [_LABEL + 10 if row.label else 0 for row in sheet.rows]
    top = _MARGIN + 26 + (_HEADING + 10 if sheet.columns else 0)
    height = top + sum(heights) + sum(labels) + _GAP * len(heights) + len(caption) * (_SMALL + 5) + _MARGIN
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((width / 2, _MARGIN), sheet.title, fill=_INK, font=_font(18), anchor="mt")
    lefts = [_MARGIN + sum(widths[:i]) + _GAP * i for i in range(len(widths))]
    for left, cell, name in zip(lefts, widths, sheet.columns, strict=False):
        text = clipped(name, cell, _HEADING)
        draw.text((left + cell / 2, top - _HEADING / 2 - 4), text, fill=_INK, font=_font(_HEADING), anchor="mm")
    y = top
    for row, row_height, label in zip(sheet.rows, heights, labels, strict=True):
        if row.label:
            text = clipped(row.label, width - 2 * _MARGIN, _LABEL)
            draw.text((_MARGIN, y + label / 2), text, fill=_PALE, font=_font(_LABEL), anchor="lm")
        y += label
        for left, cell, image in zip(lefts, widths, row.cells, strict=True):
            if image is not None:
                canvas.paste(Image.fromarray(image), (left + (cell - image.shape[1]) // 2, y))
        y += row_height + _GAP
    for number, line in enumerate(caption):
        draw.text((_MARGIN, y + number * (_SMALL + 5)), line, fill=_PALE, font=_font(_SMALL))
    return np.asarray(canvas)


def _sizes(sheet: Sheet) -> tuple[list[int], list[int]]:
    """Widths of the columns and heights of the rows in pixels."""
    count = len(sheet.rows[0].cells) if sheet.rows else 0
    if not count:
        raise InputError(f"{sheet.title}: nothing to show: expected at least one picture")
    if any(len(row.cells) != count for row in sheet.rows) or len(sheet.columns) not in (0, count):
        raise InputError(f"{sheet.title}: expected {count} cells in every row and a heading for each")
    columns = zip(*(row.cells for row in sheet.rows), strict=True)
    widths = [max((cell.shape[1] for cell in column if cell is not None), default=60) for column in columns]
    heights = [max((cell.shape[0] for cell in row.cells if cell is not None), default=20) for row in sheet.rows]
    return widths, heights


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def clipped(text: str, width: float, size: int) -> str:
    """The text, shortened with "..." if it is wider than `width` pixels in a font of `size`."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."


def wrapped(sentences: Sequence[str], width: float) -> list[str]:
    """Lines of at most `width` pixels; every sentence begins a new one."""
    font, lines = _font(_SMALL), []
    for sentence in sentences:
        line = ""
        for word in sentence.split():
            if line and font.getlength(f"{line} {word}") > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        lines.append(line)
    return lines
