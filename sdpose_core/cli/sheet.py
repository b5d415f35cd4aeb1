"""`--sheet`: the contact sheet of what `sdpose image` and `sdpose batch` made."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..annotate.pictures import Outcome
from ..annotate.sheet import NAME, THUMBNAIL, Row, check_sheet, make_row, write_sheet
from ..batch.folder import Batch, Record
from ..images import MAX_PIXELS, WHITE, read_image
from ..video.opening import open_video
from .arguments import say
from .progress import progress_bar


def add_sheet_argument(parser: Any) -> None:
    parser.add_argument(
        "--sheet", action="store_true",
        help=f"also write {NAME}: thumbnails of all inputs of this run on one page, the worst first",
    )  # fmt: skip


def sheet_path(args: argparse.Namespace, batch: Batch | None = None) -> Path | None:
    """The path of the sheet, None if there is to be none. Raises `InputError` if somebody's own file is there."""
    if not args.sheet:
        return None
    share = f".{batch.shard.number}-of-{batch.shard.of}" if batch and batch.shard else ""
    path = args.out / NAME.replace(".", f"{share}.", 1)
    check_sheet(path, args.overwrite)
    return path


def write_picture_sheet(
    path: Path, outcomes: Sequence[Outcome], names: Mapping[Path, str], args: argparse.Namespace
) -> None:
    """The sheet of pictures, `names` from `output_names`."""

    def read(source: Path) -> np.ndarray:
        limits: dict[str, Any] = {"max_pixels": args.max_pixels or MAX_PIXELS, "background": args.alpha_color or WHITE}
        return read_image(source, at_least=2 * THUMBNAIL, again=True, **limits)

    rows = (
        (Row(names.get(o.source, o.source.name), o.source, o.status, o.message), lambda _, o=o: read(o.source))
        for o in outcomes
    )
    _write(path, rows, len(outcomes), args)


def write_clip_sheet(path: Path, records: Sequence[Record], args: argparse.Namespace) -> None:
    """The sheet of videos."""

    def read(source: Path, number: int) -> np.ndarray:
        with open_video(source, frame_rate=args.frame_rate, background=args.alpha_color or WHITE) as video:
            return next(video.frames(number)).image

    rows = (
        (Row(r.name, Path(r.source), r.status, r.message), lambda number, r=r: read(Path(r.source), number))
        for r in records
    )
    _write(path, rows, len(records), args)


def _write(path: Path, rows: Iterable[tuple[Row, Any]], count: int, args: argparse.Namespace) -> None:
    look = {"style": args.style, "parts": args.parts, "threshold": args.threshold}
    with progress_bar(count, "row", "contact sheet", disable=None, leave=False) as bar:

        def made() -> Iterable[Row]:
            for row, read in rows:
                yield make_row(row, args.out / f"{row.name}.pose.npz", read, **look)
                bar.update()

        write_sheet(path, made())
    say(f"contact sheet: {path}")
