"""Fair comparison on a busy machine: all ways in every round, one after another, and the quietest round counts.

Other programs' load comes and goes. If each way ran once, it would meet one of them and not the other. Load only ever
adds to what a run costs (on a CPU to its CPU seconds too: caches, memory and cores are shared, and threads that wait
for a delayed one spin). So of several rounds, a pair's quietest is the one in which both were nearest to their own
lowest cost. The ratio is that of this round, and its spread over all rounds says how far it can be trusted.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import SDPoseError
from ..estimation.crop_jobs import is_out_of_memory
from .measure import cost_key
from .passes import Answer, measure_growth, measure_way
from .processes import OwnProcess, load_average, stolen_ticks
from .settings import Settings

log = logging.getLogger(__name__)

FAILURES = (RuntimeError, MemoryError, OSError, ImportError, SDPoseError)
"""Errors of a mode that this machine cannot run: from PyTorch, a missing compiler, or lack of memory."""

_SPARE = 500e6
"""Bytes that a process takes beside its tensors."""


@dataclass(frozen=True)
class Subject:
    """A way in a mode (a name in `MODES`)."""

    way: str
    mode: str

    def __str__(self) -> str:
        return f"ours, {self.mode}" if self.way == "ours" else f"the {self.way} way"


@dataclass
class Rounds:
    """What was measured: of each subject, its runs by round and its answer, or its error; notes on each round.

    `growth` has our modes' several people and frames, if asked for; `kept` says whether models stayed loaded.
    """

    runs: dict[Subject, list[dict[str, Any]]] = field(default_factory=dict)
    answers: dict[Subject, Answer] = field(default_factory=dict)
    errors: dict[Subject, str] = field(default_factory=dict)
    growth: dict[Subject, dict[str, Any]] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)
    kept: bool = True

    def fastest(self, subject: Subject, cost: str) -> dict[str, Any]:
        """The subject's run of the lowest cost, with its highest peak of memory and its slowest first pass."""
        runs = self.runs[subject]
        highest = {name: max(known) for name in ("peak_memory_bytes", "first_pass_seconds")
                   if (known := [run[name] for run in runs if run[name] is not None])}  # fmt: skip
        kept = {name: value for name, value in min(runs, key=lambda run: run[cost]).items() if name in _KEPT}
        return {**kept, "peak_memory_bytes": None, **highest}

    def pair(self, one: Subject, other: Subject, cost: str) -> dict[str, Any]:
        """See `quietest_pair`."""
        return quietest_pair(*([run[cost] for run in self.runs[subject]] for subject in (one, other)))


_KEPT = ("stages", "seconds", "cpu_seconds")


def quietest_pair(costs: Sequence[float], others: Sequence[float]) -> dict[str, Any]:
    """Compare two subjects by their costs in the same rounds.

    Returns `ratio` (of costs to others, in the round in which their sum is lowest, each in units of its own lowest),
    `round` (from 1), `costs` (both, in this round), `spread` (lowest and highest ratio of all rounds).
    """
    load = [a / max(min(costs), 1e-9) + b / max(min(others), 1e-9) for a, b in zip(costs, others, strict=True)]
    best = load.index(min(load))
    ratios = [a / max(b, 1e-9) for a, b in zip(costs, others, strict=True)]
    spread = [min(ratios), max(ratios)]
    return {"ratio": ratios[best], "round": best + 1, "costs": [costs[best], others[best]], "spread": spread}


def run_rounds(subjects: Sequence[Subject], required: set[Subject], settings: Settings) -> Rounds:
    """Run every subject once per round, in turn; every other round in reverse order, so that nobody is always last.

    Each has a process of its own, which waits for its next turn with its model in memory: nothing is loaded, compiled
    or warmed up again. If the memory that is left would not hold one more of the largest, all processes end after
    their turn instead, and each turn builds its model again, which is not measured.

    Raises `SDPoseError` if a required subject fails; another one is left out of later rounds.
    """
    found = Rounds(runs={subject: [] for subject in subjects})
    cost = cost_key(settings.resolve()[0].type)
    with contextlib.ExitStack() as stack:
        alive: dict[Subject, OwnProcess] = {}
        for number in range(1, settings.rounds + 1):
            note, ticks = {"load_average": load_average()}, stolen_ticks()
            log.info("round %d of %d, load %s", number, settings.rounds, load_text(note["load_average"]))
            for subject in subjects if number % 2 else reversed(subjects):
                if subject in found.errors:
                    continue
                log.info("measuring %s", subject)
                process = alive.pop(subject, None) or stack.enter_context(OwnProcess())
                try:
                    run, found.answers[subject] = _told(subject, settings, process)
                except FAILURES as error:
                    process.close()
                    if subject in required:
                        raise
                    found.errors[subject] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
                    log.warning("%s could not be measured: %s", subject, found.errors[subject])
                    continue
                found.runs[subject].append(run)
                alive[subject] = process
                starts_another = number == 1 and subject != subjects[-1]
                if found.kept and starts_another and not _has_room(found, run["free_memory_bytes"]):
                    log.info("too little memory to keep every model loaded: each turn loads its own")
                    found.kept = False
                if not found.kept:
                    stack.pop_all().close()
                    alive.clear()
            found.notes.append({**note, "stolen": _stolen_since(ticks), **_costs(found, number, cost)})
        if settings.grows:
            _grow(found, alive, required, settings)
    return found


def _grow(found: Rounds, alive: dict[Subject, OwnProcess], required: set[Subject], settings: Settings) -> None:
    """Measure several people and frames in our modes, one after another, each in its process if that is alive."""
    for subject in [subject for subject in alive if subject.way != "ours"]:
        alive.pop(subject).close()
    for subject in (each for each in found.runs if each.way == "ours" and each not in found.errors):
        log.info("measuring %s, several people and frames", subject)
        with alive.pop(subject, None) or OwnProcess() as process:
            try:
                found.growth[subject] = process.call(measure_growth, settings, subject.mode)
            except FAILURES as error:
                if subject in required:
                    raise
                log.warning("%s: several people could not be measured: %s", subject, error)


def load_text(load: float | None) -> str:
    """A load average for people."""
    return "unknown" if load is None else f"{load:.1f}"


def _told(subject: Subject, settings: Settings, process: OwnProcess) -> tuple[dict[str, Any], Answer]:
    try:
        return process.call(measure_way, subject.way, settings, subject.mode)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise SDPoseError(
            f"the memory of {settings.resolve()[0].type} ran out while {subject} was measured in {subject.mode}: "
            "close other programs, or measure on a larger device"
        ) from error


def _has_room(found: Rounds, free: int | None) -> bool:
    """Whether one more of the largest process fits into the free memory; not if that is unknown."""
    largest = max(run["peak_memory_bytes"] or 0 for runs in found.runs.values() for run in runs)
    return free is not None and free > 1.1 * largest + _SPARE


def _stolen_since(before: tuple[int, int]) -> float:
    """Share of the machine's processor time that its host gave to others."""
    stolen, total = (now - then for now, then in zip(stolen_ticks(), before, strict=True))
    return stolen / max(total, 1)


def _costs(found: Rounds, number: int, cost: str) -> dict[str, dict[str, float]]:
    """What each subject cost in a round, by its name."""
    return {cost: {str(subject): runs[number - 1][cost] for subject, runs in found.runs.items() if len(runs) >= number}}
