"""Base classes for stand-ins of estimators and detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sdpose_core.estimation.stage_times import StageTimes


class StandInEstimator:
    """The `Estimator` protocol without `estimate`."""

    name = "a stand-in"
    keypoint_set = "coco_17"
    batch_size = 8
    notes: Sequence[str] = ()
    times = StageTimes()

    def to(self, device: Any) -> StandInEstimator:
        return self

    def meta(self) -> dict[str, Any]:
        return {"model": self.name, "weights": {}, "settings": {"batch_size": self.batch_size}}


class StandInDetector:
    """The `PersonDetector` protocol without `detect`."""

    name = "a stand-in"

    def meta(self) -> dict[str, Any]:
        return {"name": self.name}


class RunHere:
    """The `ChildRun` of `sdpose batch` without a child, for tests of something else: a new process takes a second."""

    def __init__(self, batch: Any, make_run: Any, *_shows: Any) -> None:
        self._run = make_run(batch)

    def __enter__(self) -> RunHere:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def __call__(self, item: Any, folder: Any) -> Any:
        return self._run(item, folder)

    def kill(self) -> None:
        """Nothing is there to be killed."""
