"""Standard output and error that never end the work: with any encoding, and when nobody reads them any more."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from .errors import on_one_line, reason_of

CLOSED_EARLY = 141
"""Exit code of a program whose reader ended first (128 + SIGPIPE), as in `sdpose info FILE | head -1`."""

_NO_READER = {errno.EPIPE, errno.ESHUTDOWN, *([errno.EINVAL] if os.name == "nt" else [])}


class Output:
    """A text stream that goes on when it cannot be written to: the rest of the text is dropped.

    Attributes:
        error: the first error of the stream; None if all was written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """See `TextIO.write`."""
        if self.error is None:
            with self._dropping():
                self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """See `TextIO.writelines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """See `TextIO.flush`."""
        if self.error is None:
            with self._dropping():
                self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.error = error
            # What is still buffered would fail again when the interpreter ends.
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


class Streams:
    """The two streams of a command, see `lasting_streams`."""

    def __init__(self, out: Output, err: Output) -> None:
        self.out, self.err = out, err

    def status(self, code: int) -> int:
        """The exit code of work that ended with `code`: another one only if it was 0 and its output was lost."""
        self.out.flush()
        self.err.flush()
        errors = [stream.error for stream in (self.out, self.err) if stream.error is not None]
        if code or not errors:
            return code
        if all(error.errno in _NO_READER for error in errors):
            return CLOSED_EARLY
        self.err.write(f"the output could not be written: {reason_of(errors[0])}\n")
        return 1


@contextlib.contextmanager
def lasting_streams() -> Iterator[Streams]:
    """Within the block, `sys.stdout` and `sys.stderr` take any text and no write to them raises `OSError`.

    Characters that their encoding lacks are written as escapes. A stream that is closed counts as one nobody reads.
    """
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        streams = Streams(*(Output(_escaping(stream) if stream else nowhere) for stream in before))
        sys.stdout, sys.stderr = streams.out, streams.err  # type: ignore[assignment]
        try:
            yield streams
        finally:
            streams.out.flush()
            streams.err.flush()
            sys.stdout, sys.stderr = before


def _escaping(stream: TextIO) -> TextIO:
    """The stream, which then escapes what it cannot encode, if it is of a kind that can."""
    keeps_bytes = stream.errors == "surrogateescape" and (stream.encoding or "").lower().startswith("utf")
    if stream.errors in ("strict", "surrogateescape") and not keeps_bytes:
        with contextlib.suppress(AttributeError, ValueError):  # not a text file; already closed
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]
    return stream


def log_to_stderr(level: int, handler: logging.Handler | None = None) -> None:
    """Print the log, a message a line, whatever names of files it quotes: by `handler`, or to stderr."""
    handler = handler or logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


class _OneLine(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return on_one_line(super().formatMessage(record))
