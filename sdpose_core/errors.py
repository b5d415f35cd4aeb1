"""Errors that a user can act on. Every message says what was found, what was expected and what to do.

The command line and the nodes show the message without a traceback. Any other exception is a bug and keeps it.
"""

from __future__ import annotations

import contextlib
import difflib
import logging
from collections.abc import Iterable, Iterator

log = logging.getLogger(__name__)

_CONTROLS = {
    code: repr(chr(code))[1:-1]
    for code in (*range(32), *range(127, 160), *range(0x2028, 0x202F), *range(0x2066, 0x206A), *range(0xDC80, 0xDCA0))
}
"""Line ends, what a terminal obeys (also as a byte that is not UTF-8), and what reverses text -> escapes."""


def did_you_mean(name: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """ "did you mean 'x'?" for the known name nearest to an unknown one; "" if none is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=cutoff)
    return f"did you mean {near[0]!r}?" if near else ""


def on_one_line(text: str) -> str:
    """The text on one line, with escapes for what a terminal obeys: names come from files of unknown origin."""
    return text.translate(_CONTROLS)


def one_line(error: Exception) -> str:
    """The error's message as one line of at most 200 characters, or its class if it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def counted(number: int, one: str, many: str = "") -> str:
    """ "1 frame", "2 frames"; `many` where it is not `one` with an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def reason_of(error: Exception) -> str:
    """What the system says, without the name of the file: "Permission denied"."""
    return getattr(error, "strerror", None) or str(error)


class SDPoseError(Exception):
    """A mistake in the input, or something that is missing. Its message is one line, whatever names it quotes."""

    def __str__(self) -> str:
        return on_one_line(super().__str__())


class InputError(SDPoseError, ValueError):
    """A picture, box, keypoint array or setting that cannot be used."""


class CheckpointError(SDPoseError):
    """A weights file that is missing, damaged or of another kind."""


class NotFiniteError(SDPoseError):
    """A network gave values that are not numbers: NaN or infinity.

    Args:
        problem: what was found, and what to do.
        picture: number of the picture in the call, if it is known.
        pictures: how many pictures the call had; the message names the picture if there were several.
    """

    def __init__(self, problem: str, picture: int | None = None, pictures: int = 1) -> None:
        super().__init__(f"picture {picture}: {problem}" if picture is not None and pictures > 1 else problem)
        self.problem, self.picture = problem, picture


class MissingDependency(SDPoseError, ImportError):
    """An optional package is missing; the message names the extra to install."""


class DownloadError(SDPoseError):
    """A download was refused or failed, or its bytes do not match the hub's checksum."""


@contextlib.contextmanager
def reading(path: object, kind: type[SDPoseError] = InputError) -> Iterator[None]:
    """What the system raises while `path`, which may be any text, is read, as our error."""
    try:
        yield
    except SDPoseError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise kind(f"cannot read {path}: {reason_of(error)}") from None


@contextlib.contextmanager
def writing(path: object) -> Iterator[None]:
    """What the system raises while `path` is written, as our error."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason_of(error)}") from None


@contextlib.contextmanager
def restated(where: object, kind: type[SDPoseError] = InputError, of: type[SDPoseError] = InputError) -> Iterator[None]:
    """An error `of` a class in the block becomes a `kind` that begins with `where` (None: with nothing)."""
    try:
        yield
    except of as error:
        raise kind(str(error) if where is None else f"{where}: {error}") from None


@contextlib.contextmanager
def failing_alone(source: object) -> Iterator[None]:
    """Whatever goes wrong in the block becomes the `SDPoseError` of one of many inputs, so that the others go on.

    Too little memory and errors of the system are one line. Anything else is a bug, here or in a
    decoder. It must not end a night's work, so this one place catches it; its traceback goes to the log.
    """
    try:
        yield
    except SDPoseError:
        raise
    except MemoryError:
        raise InputError(f"{source}: too little memory: make it smaller, or stop other programs") from None
    except OSError as error:
        raise InputError(f"{source}: {one_line(error)}") from None
    except Exception as error:
        log.exception("%s: unexpected error", source)
        raise SDPoseError(f"{type(error).__name__}: {error}") from error
