"""A settings file (`--config`): options in TOML, for all commands at the top and for one command in its table.

    threshold = 0.4
    [video]
    person = "largest"

Names are the long options without dashes. The command line wins. Values are checked as those of the command line are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, counted, did_you_mean, restated
from ..texts import read_toml
from . import arguments
from .parser import CommandParser

_OURS = ("help", "help-all", "config", "print-config", "version")
"""Options that are no settings."""


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """`--config`, `--print-config`."""
    parser.add_argument(
        "--config", type=arguments.path, metavar="FILE.toml", help="take options from this file; the command line wins"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print the options in force as a settings file, and do nothing else"
    )


def named_config(argv: Sequence[str]) -> Path | None:
    """The file after the last `--config` of a command line."""
    found = None
    for number, text in enumerate(argv):
        if text == "--":
            break
        if text == "--config" and number + 1 < len(argv):
            found = argv[number + 1]
        elif text.startswith("--config="):
            found = text.partition("=")[2]
    return Path(found) if found else None


def apply_settings(file: Path, commands: Mapping[str, CommandParser], command: str) -> None:
    """Make the values of a settings file the defaults of the commands' options.

    Values at the top count for `command`; those of all tables are checked. Raises `InputError`, which names the file
    and the option, for unknown names and wrong values.
    """
    content = read_toml(file, "options of sdpose")
    with restated(file):
        top = {name: value for name, value in content.items() if not isinstance(value, Mapping)}
        known = {name for parser in commands.values() for name in _options(parser)}
        for name in top:
            _check_name(name, known, "an option")
        for name in content.keys() - top.keys():
            _check_name(name, commands, "a command")
        mine = _options(commands[command])
        _set_defaults(commands[command], {name: value for name, value in top.items() if _plain(name) in mine})
        for name, values in content.items():
            if name not in top:
                with restated(f"[{name}]"):
                    _set_defaults(commands[name], values)


def _plain(name: str) -> str:
    return name.replace("_", "-")


def _options(parser: CommandParser) -> dict[str, argparse.Action]:
    """The options of a command that are settings, by their names in a file."""
    found = {
        text.removeprefix("--"): action
        for text, action in parser._option_string_actions.items()
        if text.startswith("--")
    }
    return {name: action for name, action in found.items() if name not in _OURS}


def _check_name(name: str, known: Mapping[str, Any] | set[str], what: str) -> None:
    if _plain(name) not in known:
        hint = did_you_mean(_plain(name), known) or "'sdpose COMMAND --help-all' lists the options"
        raise InputError(f"{name!r} is not {what}: {hint}")


def _set_defaults(parser: CommandParser, values: Mapping[str, Any]) -> None:
    options = _options(parser)
    for name, value in values.items():
        _check_name(name, options, f"an option of {parser.prog}")
        action = options[_plain(name)]
        with restated(name):
            action.default = _converted(parser, action, value)
        action.required = False
        parser.given[action.dest] = value


def _converted(parser: CommandParser, action: argparse.Action, value: Any) -> Any:
    """What the command line would make of a value of TOML."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise InputError(f"expected true or false, got {value!r}")
        return value
    if action.nargs == "?" and isinstance(value, bool):  # --compile, with or without a mode
        return action.const if value else False
    if isinstance(action, argparse._AppendAction):
        return [_read(parser, action, one) for one in (value if isinstance(value, list) else [value])]
    return _read(parser, action, ",".join(map(str, value)) if isinstance(value, list) else value)


def _read(parser: CommandParser, action: argparse.Action, value: Any) -> Any:
    if isinstance(value, (bool, Mapping, list)):
        raise InputError(f"expected a value such as that of --{action.dest.replace('_', '-')}, got {value!r:.60}")
    try:
        read = parser._get_value(action, str(value))
        parser._check_value(action, read)
    except argparse.ArgumentError as error:
        raise InputError(error.message) from None
    return read


def as_toml(parser: CommandParser, args: argparse.Namespace) -> str:
    """The options in force as a settings file: those that were given, and the defaults that have a value."""
    lines = [f"[{args.command}]"]
    unset = []
    for name, action in _options(parser).items():
        if action.nargs == 0:
            lines.append(f"{name} = {str(bool(getattr(args, action.dest))).lower()}")
        elif (value := parser.given.get(action.dest, action.default)) in (None, []):
            unset.append(name)
        else:
            lines.append(f"{name} = {_toml(value)}")
    if unset:
        lines.append(f"# {counted(len(unset), 'option')} without a value: {', '.join(unset)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, (int, float)):
        return str(value).lower()
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
