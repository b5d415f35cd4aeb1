"""The `sdpose` command: its parser and exit codes. The command prints; the library logs."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..checkpoints.download import download
from ..errors import SDPoseError
from ..streams import lasting_streams
from ..version import __version__
from . import batch, bench, convert, doctor, export, image, import_poses, retarget, review, sequence, video
from .arguments import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    WRONG_USAGE,
    WrongUsage,
    checking_usage,
    say,
    say_as_it_is,
    show_path,
    start_output,
)
from .parser import CommandParser
from .progress import progress_bar
from .settings import add_settings_arguments, apply_settings, as_toml, named_config

COMPLETING = "_ARGCOMPLETE"
"""An environment variable that a shell sets while it completes a command line, for argcomplete."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code. Without arguments, it shows examples: 0, as nothing failed.

    0 done, 1 some inputs failed, 2 wrong usage, 130 stopped, 141 done, but nobody read its output to the end.
    """
    with lasting_streams() as streams:
        try:
            code = _run(sys.argv[1:] if argv is None else argv)
            code = streams.status(code)
            if code == INTERRUPTED and argv is None:
                os._exit(code)  # a thread may still be decoding, and a second Ctrl-C may come: neither matters now
            return code
        except SystemExit as stop:  # of argparse: --help, --version, wrong usage
            if stop.code or not (lost := streams.status(OK)):
                raise
            return lost


def _run(argv: Sequence[str]) -> int:
    parser = build_parser()
    if COMPLETING in os.environ:
        from .completion import complete

        return complete(parser)
    if not argv:
        print(parser.format_help(), end="")
        return OK
    command = next((text for text in argv if text in parser.commands), "")
    options = parser.commands[command]._option_string_actions if command else ()
    argv = list(_names_as_paths(argv, options))
    try:
        args = _parsed(parser, command, argv)
        if args.print_config:
            print(as_toml(parser.commands[command], args), end="")
            return OK
        start_output(verbose=args.verbose)
        return args.run(args)
    except SDPoseError as error:
        say(f"sdpose {command}: {error}")
        return WRONG_USAGE if isinstance(error, WrongUsage) else SOME_FAILED
    except OSError as error:
        if error.filename is None:  # not about a path that was given
            raise
        say(f"sdpose {command}: {error.filename}: {error.strerror}")
        return SOME_FAILED
    except KeyboardInterrupt:
        say(f"sdpose {command}: stopped; finished results are kept: run the same command again to resume")
        return INTERRUPTED


def _parsed(parser: CommandParser, command: str, argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, with those of a settings file that is named."""
    config = named_config(argv) if command else None
    with checking_usage():
        if config is not None:
            apply_settings(config, parser.commands, command)
        args = parser.parse_args(argv)
        if args.config != config:
            raise WrongUsage("--config: write it in full")
    return args


def _names_as_paths(argv: Sequence[str], options: Collection[str]) -> Iterator[str]:
    """The arguments, where -NAME becomes ./-NAME if such a file exists, as among the names that a shell's * gives."""
    for number, text in enumerate(argv):
        if text == "--":
            yield from argv[number:]
            return
        is_name = text.startswith("-") and text not in options and os.path.lexists(text)
        yield os.path.join(os.curdir, text) if is_name else text


def build_parser() -> CommandParser:
    """The whole command line."""
    parser = CommandParser(prog="sdpose")
    parser.add_argument("--version", action="version", version=f"sdpose {__version__}")
    parser.set_defaults(verbose=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (image, video, batch, sequence, review, retarget, export, import_poses, convert, bench, doctor):
        module.add_parser(commands)
    _add_download(commands)
    for sub in commands.choices.values():
        add_settings_arguments(sub)
        sub.add_argument("-v", "--verbose", action="store_true", help="show the library's log")
    return parser


def _add_download(commands: Any) -> None:
    sub = commands.add_parser("download", help="download weights; shows size and license first")
    sub.add_argument("name", metavar="NAME", help="body, wholebody, wholebody-comfy, sd2-base or art-detector")
    sub.add_argument("--to", type=Path, metavar="DIR", help="folder (default: SDPOSE_HOME or the user cache)")
    sub.set_defaults(run=_run_download)


def _run_download(args: argparse.Namespace) -> int:
    with contextlib.ExitStack() as stack:
        bars: list[Any] = []

        def show(done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(progress_bar(total, "B", initial=done, unit_scale=True)))
            bars[0].update(done - bars[0].n)

        path = download(args.name, args.to, on_plan=lambda plan: say_as_it_is(plan.describe()), on_bytes=show)
    show_path(path)
    return OK
