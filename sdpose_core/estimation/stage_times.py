"""How long each stage of a run was busy and idle."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

MODEL = "model"


@dataclass(frozen=True)
class StageShare:
    """Busy seconds of a stage, and their share of the wall time."""

    name: str
    seconds: float
    share: float


class StageTimes:
    """Busy seconds per stage; stages may run in several threads. Measures nothing before `begin`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._spans: list[tuple[str, Any, Any]] = []
        self._began: float | None = None
        self._wall: float | None = None

    def begin(self) -> None:
        """Start measuring, from zero."""
        self._seconds, self._spans, self._wall = {}, [], None
        self._began = time.perf_counter()

    def end(self) -> None:
        """Stop measuring."""
        if self._began is not None and self._wall is None:
            self._wall = time.perf_counter() - self._began

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure during the block."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    @contextlib.contextmanager
    def busy(self, stage: str) -> Iterator[None]:
        """Count the block as work of `stage`."""
        if self._began is None or self._wall is not None:
            yield
            return
        began = time.perf_counter()
        try:
            yield
        finally:
            self._add(stage, time.perf_counter() - began)

    @contextlib.contextmanager
    def busy_on(self, stage: str, device: torch.device) -> Iterator[None]:
        """As `busy`; on CUDA, the time that the device spends on the work queued in the block."""
        if device.type != "cuda" or self._began is None or self._wall is not None:
            with self.busy(stage):
                yield
            return
        import torch

        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stream = torch.cuda.current_stream(device)
        first.record(stream)
        yield
        last.record(stream)
        with self._lock:
            self._spans.append((stage, first, last))
        self._take_spans(wait=False)  # otherwise a long clip would keep all events

    def _take_spans(self, *, wait: bool) -> None:
        """Add up the work that the device has finished; with `wait`, wait for the rest."""
        with self._lock:
            spans, self._spans = self._spans, []
        for place, (stage, first, last) in enumerate(spans):
            if wait:
                last.synchronize()
            elif not last.query():
                with self._lock:
                    self._spans[:0] = spans[place:]
                return
            self._add(stage, first.elapsed_time(last) / 1000)

    def _add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    @property
    def wall_seconds(self) -> float:
        """From `begin` to `end`, or until now."""
        if self._began is None:
            return 0.0
        return time.perf_counter() - self._began if self._wall is None else self._wall

    def shares(self) -> list[StageShare]:
        """All stages, the busiest first."""
        self._take_spans(wait=True)
        wall = max(self.wall_seconds, 1e-9)
        ordered = sorted(self._seconds.items(), key=lambda item: -item[1])
        return [StageShare(name, seconds, seconds / wall) for name, seconds in ordered]

    def table(self) -> str:
        """Busy and idle seconds of each stage as lines of text."""
        wall = self.wall_seconds
        lines = [f"{'stage':<10} {'busy s':>9} {'idle s':>9} {'share':>7}"]
        for stage in self.shares():
            lines.append(f"{stage.name:<10} {stage.seconds:9.2f} {wall - stage.seconds:9.2f} {stage.share:7.1%}")
        return "\n".join([*lines, f"{'total':<10} {wall:9.2f}"])
