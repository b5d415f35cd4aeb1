"""How long a run takes, from its first steps."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import torch

from sdpose_training.fit.setup import StagePlan
from sdpose_training.templates import hours_text

COUNTED = 4
"""Steps that are measured; the one before them, which warms up, is not."""


def hours_left(stages: Sequence[StagePlan], step: int, plan: StagePlan, samples_per_second: float) -> float:
    """Hours from a step of the run to its end, if the time of a sample grows with its pixels.

    `samples_per_second` was measured in the stage `plan`. Validation and checkpoints are not in it.
    """
    seconds = 0.0
    for each in stages:
        steps = each.end - max(step, each.first_step)
        if steps > 0:
            seconds += steps * each.batch.total * _pixels(each) / _pixels(plan) / samples_per_second
    return seconds / 3600


def _pixels(plan: StagePlan) -> int:
    w, h = plan.stage.input_size
    return w * h


def hours_of(stages: Sequence[StagePlan], rates: Sequence[float]) -> float:
    """Hours of all stages at a rate of each, in samples per second."""
    return sum(plan.steps * plan.batch.total / rate for plan, rate in zip(stages, rates, strict=True)) / 3600


def speed_text(stages: Sequence[StagePlan], rates: Sequence[float], device: torch.device) -> str:
    """The measured speed of each stage, the hours of all, and the peak memory, which only a GPU measures."""
    lines = [f"stage {number}: {rate_text(rate)}" for number, rate in enumerate(rates)]
    lines.append(f"{hours_text(hours_of(stages, rates))} in all, without validation and checkpoints")
    if device.type == "cuda":
        lines.append(f"peak memory: {torch.cuda.max_memory_allocated(device) / (1 << 30):.2f} GiB")
    return "\n".join(lines)


class Pace:
    """Times the first steps after a start; says once how long the rest takes."""

    def __init__(self, stages: Sequence[StagePlan]) -> None:
        self._stages = stages
        self._seconds: list[float] = []

    def add(self, step: int, plan: StagePlan, seconds: float) -> str | None:
        """A sentence after the last measured step; `step` counts the steps done, `plan` is their stage."""
        self._seconds.append(seconds)
        if len(self._seconds) != COUNTED + 1 or step == self._stages[-1].end:
            return None
        rate = plan.batch.total / statistics.median(self._seconds[1:])
        return f"{rate_text(rate)}: {hours_text(hours_left(self._stages, step, plan, rate))} to the end"


def rate_text(samples_per_second: float) -> str:
    """ "12.3 samples per second", or, of a slow one, seconds per sample."""
    if samples_per_second < 1:
        return f"{1 / samples_per_second:.1f} seconds per sample"
    return f"{samples_per_second:.1f} samples per second"
