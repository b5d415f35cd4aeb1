"""Which sample is seen when: a pure function of the seed, so that a run can go on from any step on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sdpose_core.errors import InputError


@dataclass(frozen=True)
class BatchPlan:
    """How a step's samples are shared out.

    Attributes:
        total: samples per optimizer step.
        processes: how many share them.
        micro: samples of one forward pass of one process.
    """

    total: int
    processes: int
    micro: int

    @property
    def accumulation(self) -> int:
        """Forward passes of each process per step."""
        return self.total // (self.processes * self.micro)


def plan_batches(total: int, processes: int, largest_micro: int) -> BatchPlan:
    """Keep the total batch, whatever the number of processes; `InputError` if they cannot share it evenly."""
    if total % processes:
        raise InputError(
            f"a total batch of {total} cannot be shared by {processes} processes: choose a multiple (the stage's "
            "total_batch), or another number of processes"
        )
    each = total // processes
    micro = next(size for size in range(min(max(largest_micro, 1), each), 0, -1) if each % size == 0)
    return BatchPlan(total, processes, micro)


def micro_batches(
    people: int, seed: int, first_sample: int, steps: range, plan: BatchPlan, process: int
) -> Iterator[list[tuple[int, int]]]:
    """The (epoch, index) of every sample of this process, one list per forward pass.

    Args:
        people: how many there are; each epoch goes through all of them in an order of its own.
        seed: of the orders.
        first_sample: how many samples were seen before step 0.
        steps: which steps to give.
        plan: how a step is shared out.
        process: which of `plan.processes`.
    """
    order = _Order(people, seed)
    share = plan.total // plan.processes
    for step in steps:
        begin = first_sample + step * plan.total + process * share
        for start in range(begin, begin + share, plan.micro):
            yield [order.at(position) for position in range(start, start + plan.micro)]


class _Order:
    """Keys by position; remembers the epochs in use."""

    def __init__(self, people: int, seed: int) -> None:
        self.people, self.seed = people, seed
        self._permutations: dict[int, np.ndarray] = {}

    def at(self, position: int) -> tuple[int, int]:
        epoch, place = divmod(position, self.people)
        if epoch not in self._permutations:
            self._permutations.pop(epoch - 2, None)
            self._permutations[epoch] = np.random.default_rng((self.seed, epoch)).permutation(self.people)
        return epoch, int(self._permutations[epoch][place])
