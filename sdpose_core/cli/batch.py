"""`sdpose batch`: many videos into one folder, on one or several machines."""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..annotate.clip import ClipOutcome, annotate_clip
from ..batch.by_distrust import write_by_distrust
from ..batch.folder import Attempts, Batch, CannotStart, Record, annotate_videos, one_after_another, starting
from ..batch.inputs import Item, find_items
from ..batch.ray import on_ray
from ..batch.shards import Shard
from ..batch.worker import MOMENT, ChildRun
from ..errors import InputError, on_one_line
from ..resumable import plain
from . import arguments
from .arguments import (
    OK,
    SOME_FAILED,
    add_out_argument,
    announce,
    check_folder,
    checking_usage,
    count,
    make_estimator,
    report_inputs,
    say,
    say_as_it_is,
    say_result,
    show_path,
    start_output,
)
from .check import check_path, write_batch_check
from .clip_arguments import add_clip_arguments, asked_clip_models, clip_options, make_clip_detector
from .progress import Moment, progress_bar
from .sheet import add_sheet_argument, sheet_path, write_clip_sheet

_NOT_SETTINGS = (
    "actors", "batch_size", "check", "command", "config", "device", "download", "inputs", "lists", "out", "overwrite",
    "print_config", "ray", "recursive", "run", "shard", "sheet", "verbose",
)  # fmt: skip
"""Options that do not change a result, and those that `ClipRun` compares itself."""


def add_parser(commands: Any) -> None:
    """Add `sdpose batch` to the commands."""
    sub = commands.add_parser(
        "batch",
        help="annotate many videos",
        description="Writes the files of 'sdpose video' for each video, and manifest.jsonl. Finished videos are kept; "
        "run the same command again for failed and unfinished ones. A video fails if OUT holds results of another "
        "video of its name, or made with other settings, unless --overwrite is set.",
    )
    sub.add_argument("inputs", nargs="*", metavar="INPUT", help="video, folder, glob pattern, or @FILE (see --list)")
    add_out_argument(sub)
    sub.add_argument(
        "--list", dest="lists", type=arguments.path, action="append", default=[], metavar="FILE",
        help="text file with one video or folder of pictures per line; lines that begin with # are comments",
    )  # fmt: skip
    sub.add_argument("-r", "--recursive", action="store_true", help="also search the subfolders of folders")
    group = sub.add_argument_group("several processes and machines")
    group.add_argument(
        "--shard", metavar="i/n", help="share i of n (from 1) of the list; auto: by the task of a SLURM array"
    )
    group.add_argument("--ray", action="store_true", help="distribute the videos over GPUs with Ray Data")
    group.add_argument("--actors", type=count, metavar="N", help="number of Ray workers (default: one per GPU, or one)")
    add_sheet_argument(sub)
    add_clip_arguments(sub)
    sub.set_defaults(run=_run_batch)


def _run_batch(args: argparse.Namespace) -> int:
    with checking_usage():
        found = find_items(args.inputs, args.out, lists=args.lists, recursive=args.recursive)
        no_items = report_inputs(found.items, found.failed, found.results, found.left_out, "video")
        shard = Shard.parse(args.shard) if args.shard else None
        clip_options(args)
        if args.boxes:
            raise InputError("--boxes holds the boxes of one video: use 'sdpose video' for it")
        batch = Batch.begin(check_folder(args.out).absolute(), settings_hash(args), shard)
        sheet = sheet_path(args, batch)
        check = check_path(args, batch)
    count = len(shard.choose(found.items) if shard else found.items)
    done: list[Record] = []
    with (
        progress_bar(count, "video", disable=None) as bar,
        _attempts(args, batch, bar.set_description_str) as attempts,
        contextlib.closing(annotate_videos(batch, found.items, attempts, on_wait=_say_waiting)) as records,
    ):
        failed = _report(_kept_in(done, records), bar, no_items)
    if sheet:
        write_clip_sheet(sheet, done, args)
    if check:
        write_batch_check(check, done, args)
        for path in write_by_distrust(batch, found.items):
            say(f"sorted by distrust: {path}")
    show_path(batch.manifest())
    return SOME_FAILED if failed else OK


@contextlib.contextmanager
def _attempts(args: argparse.Namespace, batch: Batch, on_moment: Callable[[str], None]) -> Iterator[Attempts]:
    make_run = functools.partial(ClipRun, args)
    if args.ray:
        with _stoppable():
            yield on_ray(batch, make_run, actors=args.actors)
        return
    show = say_as_it_is if args.verbose else functools.cache(say_as_it_is)  # each child announces the model
    child = ChildRun(batch, functools.partial(_run_in_child, args), show, on_moment)
    with child as run, _stoppable(run.kill):
        yield one_after_another(batch, run)


def _run_in_child(args: argparse.Namespace, batch: Batch) -> ClipRun:
    start_output(verbose=args.verbose)
    return ClipRun(args, batch, _say_moment)


def _say_moment(text: str) -> None:
    """Words for the parent, which replace the last ones."""
    sys.stderr.write(f"{MOMENT}{on_one_line(text)}{MOMENT}")


def settings_hash(args: argparse.Namespace) -> str:
    """A hash of the settings that change a result; the same options give the same hash in every process."""
    settings = {name: value for name, value in vars(args).items() if name not in _NOT_SETTINGS}
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


class ClipRun:
    """`annotate_clip` with the command's options: one model and one detector for all videos of this process.

    The first process of a batch sets the batch size and the model. The others use the same size and refuse to start
    with another model, so that results do not depend on the process.
    """

    def __init__(self, args: argparse.Namespace, batch: Batch, on_moment: Callable[[str], None] | None = None) -> None:
        self._args, self._batch, self._on_moment = args, batch, on_moment
        self._options = clip_options(args)

    def __call__(self, item: Item, folder: Path) -> ClipOutcome:
        moment = Moment(item.relative, self._on_moment) if self._on_moment else None
        return annotate_clip(
            item.source, folder, estimator=lambda: self._estimator, detector=lambda: self._detector,
            options=self._options, asked=self._asked, name=item.stem, on_progress=moment.frames if moment else None,
            on_crops=moment.crops if moment else None,
        )  # fmt: skip

    @functools.cached_property
    def _asked(self) -> dict[str, Any]:
        with starting():
            return asked_clip_models(self._args)

    @functools.cached_property
    def _estimator(self) -> Any:
        with starting():
            estimator = make_estimator(self._args)
            mine = _what_must_agree(estimator.meta())
            agreed = self._batch.agree(mine)
            if agreed["batch_size"] < 1:
                raise InputError(f"{self._batch.agreement} is damaged: delete it")
        say(announce(estimator))
        if self._args.batch_size is None:
            mine["batch_size"] = agreed["batch_size"]
        for key, value in agreed.items():
            if mine[key] != value:
                raise CannotStart(
                    f"{self._batch.out} was begun with {key.replace('_', ' ')} {value}, this is {mine[key]}: use the "
                    f"first value, another OUT, or, to mix them, delete {self._batch.agreement}"
                )
        estimator.batch_size = agreed["batch_size"]
        return estimator

    @functools.cached_property
    def _detector(self) -> Any:
        with starting():
            return make_clip_detector(self._args)


_MAY_DIFFER = ("batch_size", "device", "dtype_reason")
"""Settings that processes of a batch need not share; the batch size is agreed upon."""


def _what_must_agree(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an estimator's `meta()` that must be the same in all processes of a batch, as read from JSON."""
    settings = {name: value for name, value in meta["settings"].items() if name not in _MAY_DIFFER}
    mine = {"batch_size": meta["settings"]["batch_size"], "model": meta["model"], "settings": settings}
    return plain(mine | {"weights": meta["weights"].get("sha256", {})})


@contextlib.contextmanager
def _stoppable(again: Callable[[], object] | None = None) -> Iterator[None]:
    """A job that is canceled or out of time (SIGTERM) stops as after Ctrl-C: its manifest is still written.

    What comes after the first of these signals calls `again`, if it is given, and lets the stopping go on.
    """
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        if stopping and again is not None:
            again()
            return
        stopping = True
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _kept_in(done: list[Record], records: Iterable[Record]) -> Iterator[Record]:
    """The records, which are also added to `done` as they come."""
    for record in records:
        done.append(record)
        yield record


def _report(records: Iterable[Record], bar: Any, no_items: int) -> int:
    """Print a line per item and a summary; returns the number that failed, with arguments that named no item."""
    statuses = Counter(failed=no_items)
    for record in records:
        statuses[record.status] += 1
        say_result(record.source, record.status, record.message)
        bar.set_description_str("", refresh=False)  # it was about this one
        bar.update()
    bar.close()
    say(", ".join(f"{statuses[status]} {status}" for status in ("done", "kept", "failed")))
    return statuses["failed"]


@functools.cache  # once for each item
def _say_waiting(item: Item) -> None:
    say(f"waiting for {item.relative}: another process is working on it")
