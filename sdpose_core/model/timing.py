"""Short measurements that choose between two ways to compute the same."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch

_clock = time.perf_counter if sys.platform == "win32" else time.process_time
"""Seconds of all threads, on which other programs have no influence; Windows counts those in steps of 16 ms."""


@torch.no_grad()
def times_as_fast(new: Callable[[], object], old: Callable[[], object], rounds: int = 4) -> float:
    """How many times as fast `new` is as `old`: by the best of interleaved runs, after one of each to warm up.

    If `new` is hopelessly slow, it runs only once.
    """
    times: list[list[float]] = [[], []]
    for number in range(rounds + 1):
        for run, seconds in zip((old, new), times, strict=True):
            start = _clock()
            run()
            seconds.append(_clock() - start)
        if not number and times[1][0] > 4 * times[0][0] + 0.1:  # the first runs prepare kernels
            return times[0][0] / times[1][0]
    return min(times[0][1:]) / max(min(times[1][1:]), 1e-6)
