"""The order of samples: a pure function of the seed, so that a run can resume from any step on any machine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from sdpose_core.errors import InputError
from sdpose_training.recipe.recipe import SMALLEST_SHARE


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


@dataclass(frozen=True)
class SampleOrder:
    """Which person is seen at each position of a run: a pure function of seed and position.

    Attributes:
        sizes: people of each data set, the main one first. They are numbered through, from the first of the main set.
        shares: of the samples, of each data set but the main one, which has the rest.
    """

    seed: int
    sizes: tuple[int, ...]
    shares: tuple[float, ...] = ()

    @property
    def epoch(self) -> float:
        """Samples in which each person of the main data set is seen once; the other sets have their shares of them."""
        return self.sizes[0] * sum(self._weights) / self._weights[0]

    @cached_property
    def _weights(self) -> tuple[int, ...]:
        """Samples of each data set until the schedule repeats."""
        more = [round(share / SMALLEST_SHARE) for share in self.shares]
        weights = (round(1 / SMALLEST_SHARE) - sum(more), *more)
        return tuple(weight // math.gcd(*weights) for weight in weights)

    @cached_property
    def _schedule(self) -> np.ndarray:
        return even_schedule(self._weights)

    @cached_property
    def _seen(self) -> np.ndarray:
        """(positions, sets) samples of each data set before each position of the schedule."""
        turns = np.eye(len(self.sizes), dtype=np.int64)[self._schedule]
        return turns.cumsum(axis=0) - turns

    def place(self, position: int) -> tuple[int, int, int]:
        """The number of the data set, the epoch of this set, and the place in the order of this epoch."""
        rounds, turn = divmod(position, len(self._schedule))
        number = int(self._schedule[turn])
        seen = rounds * self._weights[number] + int(self._seen[turn, number])
        return number, *divmod(seen, self.sizes[number])

    def people(self, number: int, epoch: int) -> np.ndarray:
        """The people of a data set in the order of an epoch."""
        seed = (self.seed, epoch, 0, number) if number else (self.seed, epoch)
        return np.random.default_rng(seed).permutation(self.sizes[number]) + sum(self.sizes[:number])


def even_schedule(weights: Sequence[int]) -> np.ndarray:
    """(sum of the weights,) numbers 0, 1, ...: each as often as its weight, as evenly as possible.

    After any number of positions, the count of each differs by less than 1 from its share of them. A number is ready
    as soon as its next turn does not exceed its share, and of those that are ready, the one whose turn must come first
    is next (Baruah et al., Proportionate progress, Algorithmica 1996).
    """
    period = sum(weights)
    counts = [0] * len(weights)
    schedule = np.zeros(period, np.int64)
    for position in range(period):
        ready = [i for i, weight in enumerate(weights) if counts[i] * period < (position + 1) * weight]
        schedule[position] = chosen = min(ready, key=lambda i: -(-(counts[i] + 1) * period // weights[i]))
        counts[chosen] += 1
    return schedule


def micro_batches(
    order: SampleOrder, first_sample: int, steps: range, plan: BatchPlan, process: int
) -> Iterator[list[tuple[int, int]]]:
    """The (epoch, index) of every sample of this process in `steps`, one list per forward pass.

    Each epoch of a data set visits all its people in another order; `first_sample` samples were seen before step 0.
    """
    people = lru_cache(maxsize=2 * len(order.sizes))(order.people)  # a step can span two epochs
    share = plan.total // plan.processes
    for step in steps:
        begin = first_sample + step * plan.total + process * share
        for start in range(begin, begin + share, plan.micro):
            places = map(order.place, range(start, start + plan.micro))
            yield [(epoch, int(people(number, epoch)[place])) for number, epoch, place in places]
