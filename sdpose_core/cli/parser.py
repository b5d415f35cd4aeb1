"""The parser of a command: short errors that name the nearest option, and inputs wherever they are typed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from ..errors import did_you_mean
from .help import add_help, command_page, front_page, usage


class CommandParser(argparse.ArgumentParser):
    """The parser of `sdpose`, or of one of its commands.

    Attributes:
        given: the text of each option on the command line, or the value in a settings file, by its `dest`.
        takes_one: what to do with several inputs, for a command that takes one.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "add_help": False})
        self.given: dict[str, Any] = {}
        self.takes_one = ""
        add_help(self)

    @property
    def commands(self) -> dict[str, CommandParser]:
        """The parsers of the commands, by name."""
        found = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        return dict(found[0].choices) if found else {}

    def format_help(self) -> str:
        """The page of `--help`."""
        if not self.commands:
            return command_page(self)
        [action] = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        return front_page({choice.dest: str(choice.help) for choice in action._choices_actions})

    def format_usage(self) -> str:
        """The first line of a page, and of an error."""
        return usage(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        """As in argparse, but inputs may also stand between options, and what is unknown is an error of its command."""
        words = list(sys.argv[1:] if args is None else args)
        found, rest = super().parse_known_args(list(self._with_values(words)), namespace)
        if rest:
            self._add_inputs(found, rest)
        return found, []

    def _with_values(self, words: Sequence[str]) -> Iterator[str]:
        """The arguments, where an option that was given without its optional value has it: the next one is an input.

        A misspelled value stays, for the error that names the nearest one.
        """
        for number, text in enumerate(words):
            if text == "--":
                yield from words[number:]
                return
            action = self._option_named(text)
            if action is None or action.nargs != "?":
                yield text
                continue
            choices = [str(choice) for choice in action.choices or ()]
            [following] = words[number + 1 : number + 2] or [""]
            meant = did_you_mean(following.lower(), choices) and not os.path.lexists(following)
            is_value = following in choices or meant
            yield text if is_value else f"{text}={action.const}"

    def _option_named(self, text: str) -> argparse.Action | None:
        """The option of this name, or of the only name that begins so."""
        names = self._option_string_actions
        near = [name for name in names if text.startswith("--") and name.startswith(text)]
        return names.get(text) or (names[near[0]] if len(near) == 1 else None)

    def _add_inputs(self, found: argparse.Namespace, rest: Sequence[str]) -> None:
        several = [action for action in self._actions if not action.option_strings and action.nargs in ("+", "*")]
        options = [text for text in rest if text.startswith("-")]
        if several and not options:
            getattr(found, several[0].dest).extend(rest)
            return
        if options:
            known = [name[2:] for name in self._option_string_actions if name.startswith("--")]  # dashes are not alike
            hint = did_you_mean(options[0].partition("=")[0].lstrip("-"), known).replace("'", "'--", 1)
            hint = hint or f"'{self.prog} --help-all' lists the options"
            self.error(f"unknown option {options[0]!r}: {hint}")
        self.error(f"one more argument than expected: {rest[0]!r}{self.takes_one and ': ' + self.takes_one}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        hint = did_you_mean(value, choices) or f"choose from {', '.join(choices)}"
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"unknown command {value!r}: {hint}")
        raise argparse.ArgumentError(action, f"unknown value {value!r}: {hint}")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        if action.option_strings and arg_strings:
            several = isinstance(action, argparse._AppendAction)
            self.given[action.dest] = [*self.given.get(action.dest, []), *arg_strings] if several else arg_strings[0]
        return super()._get_values(action, arg_strings)

    def error(self, message: str) -> NoReturn:
        """Print how the command is called, and one line; exit code 2."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {message}\n")
