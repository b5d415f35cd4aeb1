"""`sdpose bench`: speed and memory, compared with the released code and ComfyUI's nodes."""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path
from typing import Any

from ..bench.modes import MODES, parse_counts, parse_modes
from ..bench.report import format_table, plot
from ..bench.run import run_bench
from ..bench.settings import CONFIGS, Settings
from ..dependencies import require
from ..errors import InputError
from ..files import atomic_write
from .arguments import OK


def add_parser(commands: Any) -> None:
    """Add `sdpose bench` to the commands."""
    parser = commands.add_parser("bench", help="measure speed and memory, compared with the released code")
    parser.add_argument("--model", choices=tuple(CONFIGS), default="wholebody", help="default: wholebody")
    parser.add_argument("--device", help="cuda, cuda:1, mps or cpu (default: the best)")
    parser.add_argument("--dtype", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help="default: by device")
    parser.add_argument("--modes", metavar="A,B", help=f"also run our code in these modes: {', '.join(MODES)}")
    parser.add_argument("--people", default="1", metavar="1,2,4", help="numbers of people per batch to measure")
    parser.add_argument("--frames", type=int, default=1, metavar="N", help="number of frames of one person to measure")
    parser.add_argument(
        "--runs", type=int, metavar="N", help="passes in a round, of which the fastest counts (default: 1; on a GPU 10)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N",
        help="rounds in which all ways take turns, of which the quietest counts (default: 3)",
    )  # fmt: skip
    parser.add_argument("--weights", type=Path, metavar="FILE", help="trained checkpoint, for meaningful differences")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="picture filled by one person (default: noise)")
    parser.add_argument("--tiny", action="store_true", help="use a tiny model, only to check that the command runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="plot time and memory against people and frames")
    parser.set_defaults(run=_run_bench)


def _run_bench(args: argparse.Namespace) -> int:
    if args.plot:
        require("matplotlib", "a plot")  # before measuring for minutes
    for target in filter(None, (args.json, args.plot)):
        if os.path.isdir(target):
            raise InputError(f"cannot write {target}: it is a folder: give the name of a file")
    settings = Settings(
        model=args.model, device=args.device, dtype=args.dtype, runs=args.runs, rounds=args.rounds,
        tiny=args.tiny, modes=parse_modes(args.modes) if args.modes else None, people=parse_counts(args.people),
        frames=args.frames, weights=args.weights, picture=args.picture,
    )  # fmt: skip
    logging.getLogger(run_bench.__module__.rpartition(".")[0]).setLevel(
        logging.INFO
    )  # a line for each of the long measurements
    result = run_bench(settings)
    print(format_table(result))
    if args.json:
        with atomic_write(args.json, "w") as file:
            json.dump(result, file, indent=1)
    if args.plot:
        plot(result, args.plot)
    return OK
