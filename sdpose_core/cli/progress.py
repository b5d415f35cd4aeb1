"""Progress bars, on stderr: a line that moves in a terminal, and a new line now and then in a log file."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

from ..annotate.chunks import ChunkResult

LOG_SECONDS = 30.0
"""Between two lines of a bar that is written to a file, in the long run."""

SOON = 2.0
"""Seconds between the first two of these lines; each later pause is twice as long, up to `LOG_SECONDS`."""


FIRST_LOG_SECONDS = 30.0
"""Before the first of these lines."""

TICK = 1.0
"""Seconds between two looks at the clock."""

NAME_LENGTH = 40
"""Characters of a name before a bar; of a longer one its end is shown."""

BLINK = 1.0
"""Seconds of work that needs no bar, and of a frame whose people are not counted."""


WITHOUT_TOTAL = "{desc} [{elapsed}]"
"""What is shown before it is known how many people there are."""


class _Lines:
    """A log file to tqdm: each state of a bar is a line of its own, which messages neither erase nor repeat."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        if line := text.strip():
            self._stream.write(f"{line}\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _FewLines(tqdm):
    """A bar in a log file, where each refresh is a line: the first ones come soon, the later ones rarely."""

    mininterval: float

    def display(self, *args: Any, **kwargs: Any) -> Any:
        if self.n > self.initial:
            self.mininterval = min(2 * self.mininterval, LOG_SECONDS)
            self.miniters = 0  # by the number of updates, tqdm would expect the old pause
        return super().display(*args, **kwargs)


def progress_bar(total: float | None, unit: str, what: str = "", **settings: Any) -> Any:
    """A tqdm bar called `what`. In a file, each refresh is a line, so there are few."""
    given = {"total": total, "unit": unit, "desc": what or None, **settings}
    if sys.stderr.isatty():
        return tqdm(file=sys.stderr, **given)
    return _FewLines(file=_Lines(sys.stderr), mininterval=SOON, maxinterval=LOG_SECONDS, **given)


class _Clock:
    """Calls `tick` every `TICK` seconds while the block runs, in a terminal."""

    def __init__(self, tick: Callable[[], object]) -> None:
        self._tick, self._stop = tick, threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock of a progress bar", daemon=True)

    def __enter__(self) -> None:
        if sys.stderr.isatty():
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            self._tick()


class PictureBar:
    """The progress of pictures that are worked on in chunks, or of the people in a single one; says what is being done.

    It moves with the crops of a chunk, not only at its end. Work that ends soon has no bar.
    """

    def __init__(self, total: int) -> None:
        self._pictures, self._finished = total, 0
        self._live = sys.stderr.isatty()
        self._since, self._wait = time.monotonic(), BLINK if self._live else FIRST_LOG_SECONDS
        self._bar: Any = None
        self._what, self._done = "", 0
        self._total = total if total > 1 else None
        self._lock = threading.RLock()
        self._clock = _Clock(self._show)

    def __enter__(self) -> PictureBar:
        self._clock.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._clock.__exit__()
        if self._bar is not None:
            self._bar.close()

    def doing(self, what: str) -> None:
        """Show what is done now."""
        self._what = what
        self._show()

    def crops_done(self, done: int, total: int, pictures: int) -> None:
        """Of the crops of `pictures` pictures, so many are done."""
        self._what = person(done, total)
        if self._pictures > 1:
            self._done = self._finished + pictures * done // max(total, 1)
        else:
            self._done, self._total = done, total
        self._show()

    def finish_one(self) -> None:
        """One more picture is finished, whatever came of it."""
        self._finished += 1
        if self._pictures > 1:
            self._done = max(self._done, self._finished)
        self._show()

    def _show(self) -> None:
        with self._lock:
            if self._bar is None:
                if time.monotonic() - self._since < self._wait:
                    return
                unit, shape = "picture" if self._pictures > 1 else "person", None if self._total else WITHOUT_TOTAL
                begun = 1e-9 if self._done else 0  # otherwise it would begin at 0
                self._bar = progress_bar(self._total, unit, self._what, bar_format=shape, delay=begun)
                if self._pictures > 1:  # those that were done before there was a bar took time, too
                    self._bar.start_t -= time.monotonic() - self._since
                    self._bar.last_print_t = self._bar.start_t
            self._bar.set_description_str(self._what, refresh=False)
            if self._bar.total != self._total:
                self._bar.bar_format = None
                self._bar.reset(self._total)
            if step := self._done - self._bar.n:  # a step of 0 would spoil the time left
                self._bar.update(step)
            if self._live:
                self._bar.refresh()


def person(done: int, total: int) -> str:
    """The person who is worked on, in words."""
    return f"person {min(done + 1, total)} of {total}"


class Moment:
    """What is being done in a clip, in words, at most every `TICK` seconds; where a frame takes long, also in people.

    Args:
        name: of the clip.
        show: called with the words.
    """

    def __init__(self, name: str, show: Callable[[str], None]) -> None:
        self._name = name if len(name) <= NAME_LENGTH else f"...{name[3 - NAME_LENGTH :]}"
        self._show, self._frames = show, self._name
        self._shown, self._moved = 0.0, time.monotonic()

    def frames(self, done: int, total: int | None) -> None:
        """So many frames are done."""
        self._frames = f"{self._name}: frame {done}{f' of {total}' if total else ''}"
        self._moved = time.monotonic()
        self._say(self._frames)

    def crops(self, done: int, total: int) -> None:
        """So many crops of the next frames are done."""
        if time.monotonic() - self._moved > BLINK:
            self._say(f"{self._frames}, {person(done, total)}")

    def _say(self, text: str) -> None:
        if (now := time.monotonic()) - self._shown >= TICK:
            self._shown = now
            self._show(text)


class Bar:
    """A progress bar for each stage of the work in turn. A stage that ends soon has none."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._what = self._note = self._crops = ""
        self._first, self._done = 0, 0
        self._total: int | None = None
        self._since = self._moved = time.time()
        self._lock = threading.RLock()
        self._clock = _Clock(self._show)

    def __enter__(self) -> Bar:
        self._clock.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._clock.__exit__()
        self.close()

    def shows(self, what: str) -> Callable[[int, int | None], None]:
        """A progress callback whose bar is called `what`."""

        def show(done: int, total: int | None) -> None:
            with self._lock:
                if self._what != what or done < self._done:
                    self.close()
                    self._what, self._note, self._first, self._since = what, "", done, time.time()
                if done != self._done:
                    self._moved, self._crops = time.time(), ""
                self._done, self._total = done, total
            self._show()

        return show

    def _show(self) -> None:
        with self._lock:
            if self._bar is None:
                if not self._what or time.time() - self._since < BLINK:
                    return
                self._bar = progress_bar(self._total, "frame", self._what, initial=self._first, disable=None)
                self._bar.start_t = self._bar.last_print_t = self._since
            self._bar.total = self._total
            slow = time.time() - self._moved > BLINK
            self._bar.set_postfix_str(self._crops if slow and self._crops else self._note, refresh=False)
            if step := self._done - self._bar.n:
                self._bar.update(step)
            elif slow and sys.stderr.isatty():
                self._bar.refresh()

    def show_crops(self, done: int, total: int) -> None:
        """Show which person is worked on next to the bar, if a frame takes long."""
        self._crops = person(done, total)
        self._show()

    def show_people(self, chunk: ChunkResult) -> None:
        """Show the number of people in the last frame of a chunk next to the bar."""
        self._note, self._crops = f"people={int((chunk.sequence.track_ids[-1] >= 0).sum())}", ""

    def close(self) -> None:
        """End the bar; it stays on the screen."""
        with self._lock:
            if self._bar is not None:
                self._bar.close()
            self._bar, self._what = None, ""
