"""Videos in a child process, so that one that crashes a decoder, or takes all memory, fails alone.

The child holds the model and the detector, and takes one item after another. The parent holds the lock of the item and
writes its record. What the child prints to standard error is shown by the parent, below which there may be a progress
bar.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SDPoseError, failing_alone
from .folder import TRIES, Batch, CannotStart, Run, death, starting
from .inputs import Item

if TYPE_CHECKING:
    from ..annotate.clip import ClipOutcome

MOMENT = "\r"
"""Stands around a text of the child that says what it does now."""

_WAIT = 0.1
"""Seconds between two looks for an answer: so long Ctrl-C may take on Windows."""

_GRACE = 15.0
"""Seconds that a child has to save its finished part before it is killed. Less than the 30 s that SLURM waits."""

_SIGNALS = {signal.SIGINT, signal.SIGTERM}


class ChildRun:
    """A `Run` in a child process; use it in a `with` block. An item during which the child dies is tried again once.

    Args:
        batch: passed to `make_run`.
        make_run: called once in each child; must be picklable. Its `SDPoseError` ends the batch.
        show: called with each text that the child prints.
        on_moment: called with each that stands between two `MOMENT`.
    """

    def __init__(
        self,
        batch: Batch,
        make_run: Callable[[Batch], Run],
        show: Callable[[str], None],
        on_moment: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._batch, self._make_run, self._show, self._on_moment = batch, make_run, show, on_moment
        self._child: Any = None
        self._link: Connection
        self._stopped = False

    def __enter__(self) -> ChildRun:
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()

    def _end(self) -> None:
        """End the child, which first saves what is finished of its item, and leaves the rest to be resumed."""
        if self._child is not None:
            self._child.terminate()
            self._child.join(_GRACE)
            self._child.kill()
            self._child.join()
            self._child = None

    def kill(self) -> None:
        """End the child at once; the block is then left with `KeyboardInterrupt`. For a second Ctrl-C."""
        self._stopped = True
        if self._child is not None:
            self._child.kill()

    def __call__(self, item: Item, folder: Path) -> ClipOutcome:
        """See `Run`. Raises `SDPoseError` if the child dies `TRIES` times."""
        code = None
        for _ in range(TRIES):
            if self._child is None:
                self._start()
            try:
                self._link.send((item, folder))
                return self._answer()
            except (EOFError, OSError):
                self._child.join()
                code, self._child = self._child.exitcode, None
                if self._stopped:
                    raise KeyboardInterrupt from None
            except KeyboardInterrupt:
                self._end()
                raise
        raise SDPoseError(death(code))

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._link, theirs = context.Pipe()
        child = context.Process(target=_work, args=(theirs, self._batch, self._make_run), daemon=True)
        with _signals_held():  # Ctrl-C reaches the child too; it waits until the child can handle it
            child.start()
            self._child = child
        theirs.close()

    def _answer(self) -> ClipOutcome:
        while True:
            while not self._link.poll(_WAIT):
                pass
            kind, answer = self._link.recv()
            if kind == "text":
                self._show(answer)
            elif kind == "moment":
                self._on_moment(answer)
            elif kind == "outcome":
                return answer
            else:
                raise (CannotStart if kind == "cannot start" else SDPoseError)(answer)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """What begins in the block has Ctrl-C and SIGTERM blocked, until it unblocks them. Windows has no such thing."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in the child --------------------------------------------------------------------------------------------------


def _work(link: Connection, batch: Batch, make_run: Callable[[Batch], Run]) -> None:
    """Answer with what becomes of each item, until a signal ends the child."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    texts = _Texts(link)
    sys.stderr = texts
    try:
        _stop_once()
        run: Run | None = None
        while True:
            item, folder = link.recv()
            try:
                with starting():
                    run = run or make_run(batch)
                with failing_alone(item.source):
                    answer: tuple[str, Any] = "outcome", run(item, folder)
            except CannotStart as error:
                answer = "cannot start", str(error)
            except SDPoseError as error:
                answer = "failed", str(error)
            texts.answer(answer)
    except (KeyboardInterrupt, EOFError, OSError):  # stopped; or the parent is gone
        os._exit(0)


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _stop_once() -> None:
    """The first SIGINT or SIGTERM raises `KeyboardInterrupt`, further ones do not disturb the saving."""

    def stop(*_: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in _SIGNALS:
        signal.signal(number, stop)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


class _Texts(io.TextIOBase):
    """A text stream whose texts go to the parent, as soon as they end with a line end, or with `MOMENT`."""

    def __init__(self, link: Connection) -> None:
        self._link, self._text = link, ""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        with self._lock:
            self._text += text
            if self._text.endswith(MOMENT):
                self._text, _, now = self._text.removesuffix(MOMENT).rpartition(MOMENT)
                self._link.send(("moment", now))
            if self._text.endswith("\n"):
                whole, self._text = self._text.rstrip("\n"), ""
                self._link.send(("text", whole))
        return len(text)

    def answer(self, answer: tuple[str, Any]) -> None:
        """Send something else, in its turn."""
        with self._lock:
            self._link.send(answer)
