"""Stand-in for `comfy.utils`: remembers progress, and can call back on it."""

from __future__ import annotations

from collections.abc import Callable

updates: list[tuple[int, int]] = []
on_update: list[Callable[[int, int], None]] = []


class ProgressBar:
    def __init__(self, total: int) -> None:
        self.total = total

    def update_absolute(self, value: int, total: int | None = None) -> None:
        updates.append((value, total or self.total))
        for call in on_update:
            call(value, total or self.total)
