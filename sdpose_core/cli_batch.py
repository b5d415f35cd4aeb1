"""`sdpose batch`: many videos into one folder, on one machine or many. This file prints; the library logs."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError, SDPoseError

if TYPE_CHECKING:
    from .batch import Batch, Record
    from .batch_inputs import Item

_NOT_SETTINGS = (
    "actors", "batch_size", "command", "device", "inputs", "lists", "out", "overwrite", "ray", "recursive", "run",
    "shard", "verbose",
)  # fmt: skip
"""Options that change no byte of a result, and those that `_ClipRun` compares on its own."""


def add_parser(commands: Any) -> None:
    """Add `sdpose batch` to the commands."""
    from . import cli, cli_video

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
    group.add_argument("--actors", type=cli.count, metavar="N", help="Ray workers (default: one per GPU, else one)")
    cli_video.add_clip_arguments(sub)
    sub.set_defaults(run=_run_batch)


def _run_batch(args: argparse.Namespace) -> int:
    from .batch import Batch, CannotStart, annotate_videos, one_after_another
    from .batch_inputs import find_items
    from .cli import OK, SOME_FAILED, WRONG_USAGE
    from .shards import Shard

    try:
        items = find_items(args.inputs, args.out, lists=args.lists, recursive=args.recursive)
        if not items:
            raise InputError("no input: name videos, folders, patterns or lists")
        shard = Shard.parse(args.shard) if args.shard else None
        batch = Batch.begin(args.out.absolute() if args.ray else args.out, settings_hash(args), shard)
    except SDPoseError as error:
        _say(f"sdpose batch: {error}")
        return WRONG_USAGE
    try:
        with _ended_by_sigterm():
            if args.ray:
                from .batch_ray import on_ray

                attempts = on_ray(batch, _RunFactory(args), actors=args.actors)
            else:
                attempts = one_after_another(batch, ClipRun(args, batch))
            with contextlib.closing(annotate_videos(batch, items, attempts, on_wait=_waiting)) as records:
                failed = _report(records, len(shard.choose(items)) if shard else len(items))
    except CannotStart as error:
        _say(f"sdpose batch: {error}")
        return SOME_FAILED
    return SOME_FAILED if failed else OK
