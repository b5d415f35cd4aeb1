"""Progress bars, on stderr: a line that moves in a terminal, and a new line now and then in a log file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from ..annotate.chunks import ChunkResult

LOG_SECONDS = 30.0
"""Between two lines of a bar that is written to a file."""


def progress_bar(total: int | None, unit: str, what: str = "", **settings: Any) -> Any:
    """A tqdm bar called `what`. In a file, each refresh is a line, so there are few."""
    pause = 0.1 if sys.stderr.isatty() else LOG_SECONDS
    timing = {"mininterval": pause, "maxinterval": max(pause, 10)}
    return tqdm(total=total, unit=unit, desc=what or None, file=sys.stderr, **timing, **settings)


class PictureBar:
    """The progress of pictures that are worked on in chunks; says what is being done.

    It moves with the crops of a chunk, not only at its end.
    """

    def __init__(self, total: int) -> None:
        self._bar = progress_bar(total, "picture", disable=total < 2)
        self._finished = 0
        self._live = sys.stderr.isatty()

    def __enter__(self) -> PictureBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def doing(self, what: str) -> None:
        """Show what is done now."""
        self._bar.set_description_str(what, refresh=self._live)

    def crops_done(self, done: int, total: int, pictures: int) -> None:
        """Of the crops of `pictures` pictures, so many are done."""
        self._bar.set_description_str(f"poses, crop {done} of {total}", refresh=False)
        self._move(self._finished + pictures * done // max(total, 1))

    def finish_one(self) -> None:
        """One more picture is finished, whatever came of it."""
        self._finished += 1
        self._move(max(self._bar.n, self._finished))

    def _move(self, to: int) -> None:
        self._bar.update(to - self._bar.n)
        if self._live:
            self._bar.refresh()


class Bar:
    """A progress bar for each stage of the work in turn."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._what = ""

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def shows(self, what: str) -> Callable[[int, int | None], None]:
        """A progress callback whose bar is called `what`."""

        def show(done: int, total: int | None) -> None:
            if self._bar is None or self._what != what or done < self._bar.n:
                self.close()
                self._what = what
                self._bar = progress_bar(total, "frame", what, initial=done, disable=None)
            self._bar.total = total
            self._bar.update(done - self._bar.n)

        return show

    def show_people(self, chunk: ChunkResult) -> None:
        """Show the number of people in the last frame of a chunk next to the bar."""
        if self._bar is not None:
            self._bar.set_postfix(people=int((chunk.sequence.track_ids[-1] >= 0).sum()), refresh=False)

    def close(self) -> None:
        """End the bar; it stays on the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
