"""Progress bars and canceling."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")


def stop_if_interrupted() -> None:
    """Raise ComfyUI's exception if the user has canceled the run."""
    import comfy.model_management

    comfy.model_management.throw_exception_if_processing_interrupted()


def stoppable(items: Iterable[Item]) -> Iterator[Item]:
    """The items one by one. Stops between two of them if the user cancels."""
    for item in items:
        stop_if_interrupted()
        yield item


class Progress:
    """The node's progress bar, as a callback `(done, total)` that also stops the run if the user cancels.

    A `total` of None means the one passed to the constructor.
    """

    def __init__(self, total: int) -> None:
        import comfy.utils

        stop_if_interrupted()
        self._total = total
        self._bar = comfy.utils.ProgressBar(max(total, 1))

    def __call__(self, done: int, total: int | None = None) -> None:
        self._bar.update_absolute(done, max(self._total if total is None else total, done, 1))
        stop_if_interrupted()


def each_frame(items: Iterable[Any], total: int | None = None) -> Iterator[Any]:
    """The items one by one, with a progress bar. Stops between two of them if the user cancels.

    `total` is their number, for items whose number is not known yet.
    """
    total = len(items) if total is None and isinstance(items, Sequence) else total or 1
    progress = Progress(total)
    for number, item in enumerate(items):
        yield item
        progress(number + 1, total)
