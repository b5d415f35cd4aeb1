"""`sdpose bench`: how long one crop takes here, beside the released code and ComfyUI's own nodes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..bench.modes import MODES, parse_counts, parse_modes
from ..bench.report import format_table, plot
from ..bench.run import CONFIGS, Settings, run_bench
from ..dependencies import require
from ..errors import InputError
from ..files import atomic_write


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `sdpose bench`."""
    parser.add_argument("--model", choices=tuple(CONFIGS), default="wholebody", help="default: wholebody")
    parser.add_argument("--device", help="cuda, cuda:1, mps, cpu (default: the best there is)")
    parser.add_argument("--dtype", choices=("auto", "fp32", "bf16", "fp16"), default="auto", help="default: by device")
    parser.add_argument("--modes", metavar="A,B", help=f"ours in these too, of {', '.join(MODES)}")
    parser.add_argument("--people", default="1", metavar="1,2,4", help="people per batch, for the curve of cost")
    parser.add_argument(
        "--frames", type=int, default=1, metavar="N", help="frames of one person, for the curve of cost"
    )
    parser.add_argument(
        "--runs", type=int, metavar="N", help="passes per way, of which the fastest counts (default: 1, on a GPU 10)"
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="a trained checkpoint, for meaningful differences")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="of one person who fills it (default: noise)")
    parser.add_argument("--tiny", action="store_true", help="a tiny model: shows that it runs, measures nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw cost and memory against people and frames")


def main(args: argparse.Namespace) -> int:
    """Run `sdpose bench`: print the table, write the JSON and the plot."""
    if args.plot:
        require("matplotlib", "a plot")  # before the minutes of measuring
    for target in filter(None, (args.json, args.plot)):
        if target.is_dir():
            raise InputError(f"cannot write {target}: it is a folder; give the name of a file")
    settings = Settings(
        model=args.model,
        device=args.device,
        dtype=args.dtype,
        runs=args.runs,
        tiny=args.tiny,
        modes=parse_modes(args.modes) if args.modes else None,
        people=parse_counts(args.people),
        frames=args.frames,
        weights=args.weights,
        picture=args.picture,
    )
    result = run_bench(settings)
    print(format_table(result))
    if args.json:
        with atomic_write(args.json, "w") as file:
            json.dump(result, file, indent=1)
    if args.plot:
        plot(result, args.plot)
    return 0
