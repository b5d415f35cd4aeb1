"""`--check`: what to distrust in poses, in words, and the page of the worst frames of a batch."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..annotate.check_page import NAME, check_row, worst_of_all, write_check_page
from ..annotate.sheet import check_sheet
from ..batch.folder import Batch, Record
from ..errors import counted
from ..images import WHITE
from ..poses import PoseSequence
from ..sequences.distrust import with_distrust
from ..sequences.doubts import described, doubtful_share, doubts_of, in_words, is_calibrated
from ..video.opening import open_video
from .arguments import say
from .progress import progress_bar

ROUGH = "; not calibrated for this model: the order counts, the percentages are rough"
MOST = 5
"""Frames of a person that `sdpose info --check` prints, and videos that `sdpose batch --check` names."""


def checked(sequence: PoseSequence) -> dict[str, Any]:
    """What to distrust in a sequence, as JSON-able values: figures of everybody and each person, and the worst frames.

    A sequence without distrust gets it here.
    """
    sequence = sequence if sequence.distrust is not None else with_distrust(sequence)
    worst = doubts_of(sequence)
    ids = np.unique(sequence.track_ids[sequence.track_ids >= 0]).tolist()
    people = [
        {
            "id": track_id,
            "doubtful": round(doubtful_share(sequence, track_id), 5),
            "worst": [described(sequence, doubt) for doubt in worst if doubt.id == track_id],
        }
        for track_id in ids
    ]
    note = sequence.meta.get("distrust") or {}
    return {
        "calibration": note.get("calibration"), "calibrated": is_calibrated(sequence),
        "doubtful": round(doubtful_share(sequence), 5), "people": people,
    }  # fmt: skip


def check_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The result of `checked` as lines of text."""
    rough = "" if found["calibrated"] else ROUGH
    yield f"check: {_percent(found['doubtful'])} of the points are doubtful (distrust of .5 or more){rough}"
    for person in found["people"]:
        worst = person["worst"]
        yield f"  id {person['id']}: {_percent(person['doubtful'])} doubtful" + ("; look first at" if worst else "")
        yield from (f"    {in_words(doubt)}" for doubt in worst[:MOST])
        if len(worst) > MOST:
            yield f"    ... and {len(worst) - MOST} more (--json shows all)"


def check_path(args: argparse.Namespace, batch: Batch) -> Path | None:
    """The page of the frames to check; None without --check. Raises `InputError` if somebody's own file is there."""
    if not args.check:
        return None
    share = f".{batch.shard.number}-of-{batch.shard.of}" if batch.shard else ""
    path = args.out / NAME.replace(".", f"{share}.", 1)
    check_sheet(path, args.overwrite)
    return path


def write_batch_check(path: Path, records: Sequence[Record], args: argparse.Namespace) -> None:
    """The page of the most distrusted frames of all videos, and a line about each of the worst videos."""

    def read(source: Path, number: int) -> np.ndarray:
        with open_video(source, frame_rate=args.frame_rate, background=args.alpha_color or WHITE) as video:
            return next(video.frames(number)).image

    ordered = sorted((r for r in records if r.distrust), key=lambda r: (-r.distrust["doubtful"], r.name))
    worst = worst_of_all((r.name, Path(r.source), args.out / f"{r.name}.pose.npz", r.distrust) for r in ordered)
    look = {"style": args.style, "parts": args.parts, "threshold": args.threshold}
    with progress_bar(len(worst), "row", "frames to check", disable=None, leave=False) as bar:
        rows = []
        for frame in worst:
            rows.append(check_row(frame, functools.partial(read, frame.source), **look))
            bar.update()
    write_check_page(path, rows, len(ordered))
    for record in ordered[:MOST]:
        say(f"check: {record.name}: {summary(record.distrust)}")
    say(f"frames to check: {path}")


def summary(found: Mapping[str, Any]) -> str:
    """`doubts.figures` as a phrase."""
    places = counted(found["frames"], "place")
    rough = "" if found.get("calibrated", True) else ROUGH
    return f"{_percent(found['doubtful'])} of the points are doubtful, {places} to look at{rough}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
