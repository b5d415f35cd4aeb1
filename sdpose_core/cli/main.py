"""The `sdpose` command. This file prints; the library logs."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..checkpoints.download import download
from ..errors import SDPoseError
from ..version import __version__
from . import batch as cli_batch
from . import convert as cli_convert
from . import export as cli_export
from . import retarget as cli_sequence
from .arguments import INTERRUPTED, OK, SOME_FAILED, say
from .doctor import report
from .image import add_image_parser
from .video import add_parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 some inputs failed, 2 wrong usage."""
    args = build_parser().parse_args(argv)
    level = logging.DEBUG if args.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        return args.run(args)
    except SDPoseError as error:
        say(f"sdpose {args.command}: {error}")
        return SOME_FAILED
    except KeyboardInterrupt:
        say(f"sdpose {args.command}: stopped; what is finished is kept, run the same command again to go on")
        return INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="sdpose", description="Human poses with SDPose, as OpenPose-compatible maps.")
    parser.add_argument("--version", action="version", version=f"sdpose {__version__}")
    parser.set_defaults(verbose=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_image_parser(commands)
    cli_convert.add_parser(commands)
    _download_parser(commands)
    _bench_parser(commands)
    cli_sequence.add_parser(commands)
    cli_export.add_parser(commands)
    add_parser(commands)
    cli_batch.add_parser(commands)
    doctor = commands.add_parser("doctor", help="what is installed, which weights are here, what is missing")
    doctor.set_defaults(run=_run_doctor)
    for sub in commands.choices.values():
        sub.add_argument("-v", "--verbose", action="store_true", help="show the library's log")
    return parser


def _download_parser(commands: Any) -> None:
    sub = commands.add_parser("download", help="fetch SDPose weights; shows size and licence first")
    sub.add_argument("name", help="body, wholebody, wholebody-comfy or sd2-base")
    sub.add_argument("--to", type=Path, metavar="DIR", help="default: SDPOSE_HOME or the user cache")
    sub.set_defaults(run=_run_download)


def _bench_parser(commands: Any) -> None:
    from .bench import add_arguments, main

    sub = commands.add_parser("bench", help="measure speed and memory beside the released way")
    add_arguments(sub)
    sub.set_defaults(run=main)


def _run_download(args: argparse.Namespace) -> int:
    print(download(args.name, args.to, on_plan=lambda plan: say(plan.describe())))
    return OK


def _run_doctor(args: argparse.Namespace) -> int:
    for line in report():
        print(line)
    return OK


if __name__ == "__main__":
    sys.exit(main())
