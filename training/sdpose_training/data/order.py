"""The order of samples: a pure function of the seed, so that a run can resume from any step on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sdpose_core.errors import InputError


@dataclass(frozen=True)
class BatchPlan:
    """How the samples of a step are split.

    Attributes:
        total: samples per optimizer step.
        processes: number of processes.
        micro: samples per forward pass of one process.
    """

    total: int
    processes: int
    micro: int

    @property
    def accumulation(self) -> int:
        """Forward passes of each process per step."""
        return self.total // (self.processes * self.micro)


def plan_batches(total: int, processes: int, largest_micro: int) -> BatchPlan:
    """Split the total batch over the processes; `InputError` if they cannot share it evenly."""
    if total % processes:
        advice = "change total_batch of the stage to a multiple, or the number of processes"
        raise InputError(f"a total batch of {total} cannot be shared by {processes} processes: {advice}")
    each = total // processes
    micro = next(size for size in range(min(max(largest_micro, 1), each), 0, -1) if each % size == 0)
    return BatchPlan(total, processes, micro)


def micro_batches(
    people: int, seed: int, first_sample: int, steps: range, plan: BatchPlan, process: int
) -> Iterator[list[tuple[int, int]]]:
    """The (epoch, index) of every sample of this process in `steps`, one list per forward pass.

    Each epoch visits all people in another order, from the seed; `first_sample` samples were seen before step 0.
    """

    @lru_cache(maxsize=2)  # a step can span two epochs
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch)).permutation(people)

    share = plan.total // plan.processes
    for step in steps:
        begin = first_sample + step * plan.total + process * share
        for start in range(begin, begin + share, plan.micro):
            places = (divmod(position, people) for position in range(start, start + plan.micro))
            yield [(epoch, int(order(epoch)[place])) for epoch, place in places]
