"""The progress bar of a video."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from ..annotate.chunks import ChunkResult


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
                self._bar = tqdm(desc=what, total=total, initial=done, unit="frame", disable=None, file=sys.stderr)
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
