"""`sdpose batch`: many videos into one folder, on one machine or many. This file prints; the library logs."""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..batch.inputs import find_items
from ..batch.shards import Shard
from ..errors import InputError, SDPoseError
from .arguments import OK, SOME_FAILED, WRONG_USAGE, announce, make_estimator
from .clip_arguments import add_clip_arguments, clip_options, make_clip_detector

if TYPE_CHECKING:
    from ..annotate.clip import ClipOutcome
    from ..batch.folder import Attempts, Batch, Record
    from ..batch.inputs import Item

_NOT_SETTINGS = (
    "actors", "batch_size", "command", "device", "inputs", "lists", "out", "overwrite", "ray", "recursive", "run",
    "shard", "verbose",
)  # fmt: skip
"""Options that change no byte of a result, and those that `_ClipRun` compares on its own."""


def add_parser(commands: Any) -> None:
    """Add `sdpose batch` to the commands."""
    from .arguments import count

    sub = commands.add_parser(
        "batch",
        help="annotate many videos",
        description="Writes for each video what 'sdpose video' writes, and manifest.jsonl. What is finished is kept; "
        "failed and unfinished videos are done by running the same command again.",
    )
    sub.add_argument("inputs", nargs="*", metavar="INPUT", help="video, folder, glob pattern, or @FILE (see --list)")
    sub.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the results")
    sub.add_argument(
        "--list", dest="lists", type=Path, action="append", default=[], metavar="FILE",
        help="text file with a video, or a folder of pictures, per line; # begins a comment line",
    )  # fmt: skip
    sub.add_argument("-r", "--recursive", action="store_true", help="look into the subfolders of folders")
    group = sub.add_argument_group("many processes and machines")
    group.add_argument(
        "--shard", metavar="i/n", help="do share i of n (from 1) of the list; auto: by the SLURM job array's task"
    )
    group.add_argument("--ray", action="store_true", help="spread over GPUs with Ray Data")
    group.add_argument("--actors", type=count, metavar="N", help="Ray workers (default: one per GPU, else one)")
    add_clip_arguments(sub)
    sub.set_defaults(run=_run_batch)


def _run_batch(args: argparse.Namespace) -> int:
    from ..batch.folder import Batch, CannotStart, annotate_videos, one_after_another

    try:
        items = find_items(args.inputs, args.out, lists=args.lists, recursive=args.recursive)
        if not items:
            raise InputError("nothing to do: name videos, folders, patterns or lists")
        shard = Shard.parse(args.shard) if args.shard else None
        _check_options(args)
        batch = Batch.begin(args.out.absolute(), settings_hash(args), shard)
    except SDPoseError as error:
        _say(f"sdpose batch: {error}")
        return WRONG_USAGE
    attempts = _on_ray(args, batch) if args.ray else one_after_another(batch, ClipRun(args, batch))
    count = len(shard.choose(items)) if shard else len(items)
    records = annotate_videos(batch, items, attempts, on_wait=_waiting)
    try:
        with _stopped_by_sigterm(), contextlib.closing(records):
            failed = _report(records, count)
    except CannotStart as error:
        _say(f"sdpose batch: {error}")
        return SOME_FAILED
    print(batch.manifest())
    return SOME_FAILED if failed else OK


def _check_options(args: argparse.Namespace) -> None:
    clip_options(args)
    if args.boxes:
        raise InputError("--boxes are those of one video: annotate it with 'sdpose video'")


def _on_ray(args: argparse.Namespace, batch: Batch) -> Attempts:
    from ..batch.ray import on_ray

    return on_ray(batch, functools.partial(ClipRun, args), actors=args.actors)


def settings_hash(args: argparse.Namespace) -> str:
    """A name for the settings that change a result, the same in every process that was given the same options."""
    settings = {name: value for name, value in vars(args).items() if name not in _NOT_SETTINGS}
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


class ClipRun:
    """`annotate_clip` with the options of the command: one model and one detector for all videos of this process.

    The first process of a batch decides on the batch size and the model; the others take that size, and do not start
    with another model, so that results do not depend on who made them.
    """

    def __init__(self, args: argparse.Namespace, batch: Batch) -> None:
        self._args, self._batch = args, batch
        self._options = clip_options(args)

    def __call__(self, item: Item, folder: Path) -> ClipOutcome:
        from ..annotate.clip import annotate_clip

        return annotate_clip(
            item.source, folder, estimator=lambda: self._estimator, detector=lambda: self._detector,
            options=self._options, name=item.stem,
        )  # fmt: skip

    @functools.cached_property
    def _estimator(self) -> Any:
        from ..batch.folder import CannotStart

        with _cannot_start():
            made = make_estimator(self._args)
            mine = _what_must_agree(made.meta())
            agreed = self._batch.agree(mine)
        _say(announce(made))
        if self._args.batch_size is None:
            mine["batch_size"] = agreed["batch_size"]
        for key, value in agreed.items():
            if mine[key] != value:
                raise CannotStart(
                    f"{self._batch.out} was begun with {key.replace('_', ' ')} {value}, this is {mine[key]}: use what "
                    f"it was begun with, another OUT, or, to mix them, delete {self._batch.agreement}"
                )
        made.batch_size = agreed["batch_size"]
        return made

    @functools.cached_property
    def _detector(self) -> Any:
        with _cannot_start():
            return make_clip_detector(self._args)


def _what_must_agree(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What the processes of a batch have to have in common, of an estimator's `meta()`; in JSON's own types."""
    settings = {name: value for name, value in meta["settings"].items() if name not in ("batch_size", "device")}
    mine = {"batch_size": meta["settings"]["batch_size"], "model": meta["model"], "settings": settings}
    return json.loads(json.dumps(mine | {"weights": meta["weights"].get("sha256", {})}))


@contextlib.contextmanager
def _cannot_start() -> Iterator[None]:
    """What is missing for one video is missing for all: end the batch instead of failing each."""
    from ..batch.folder import CannotStart

    try:
        yield
    except SDPoseError as error:
        raise CannotStart(str(error)) from error


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """A job that is cancelled or out of time (SIGTERM) stops like Ctrl-C: its manifest is still written."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(records: Iterable[Record], count: int) -> int:
    """Print a line per item and a last one; returns how many failed."""
    from tqdm import tqdm

    statuses: Counter[str] = Counter()
    with tqdm(total=count, unit="video", disable=None, file=sys.stderr) as bar:
        for record in records:
            statuses[record.status] += 1
            _say(f"{record.source}: {record.status}: {record.message}")
            bar.update()
    _say(", ".join(f"{statuses[status]} {status}" for status in ("done", "kept", "failed")))
    return statuses["failed"]


@functools.cache
def _waiting(item: Item) -> None:
    """Say it once."""
    _say(f"waiting for {item.relative}: another process is at it")


def _say(text: str) -> None:
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)  # above the bar, if there is one
