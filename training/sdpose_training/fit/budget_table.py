"""The table of what a run needs, and the refusal of a run that does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdpose_training.fit.budget import GIB, Launch, Needs, Room, launch_of, needs_of, room_of
from sdpose_training.fit.budget_flags import Flags, disk_ladder, fitting_flags, memory_ladder, shared_memory_ladder
from sdpose_training.fit.setup import Basis, StagePlan, plan_stages
from sdpose_training.recipe.recipe import Recipe
from sdpose_training.templates import plain_table

GO_ON = "--budget warn"
"""Argument of train.py with which a run starts although it does not fit."""


@dataclass(frozen=True)
class Budget:
    """What a run needs, and what is there.

    Attributes:
        keypoints: number of them.
        people: in an epoch, of all data sets.
        out: folder of the run.
    """

    recipe: Recipe
    keypoints: int
    people: float
    stages: Sequence[StagePlan]
    launch: Launch
    room: Room
    out: Path

    @property
    def needs(self) -> Needs:
        """Raises `InputError` or `CheckpointError` for a model that cannot be built."""
        return self.needs_with(self.recipe)

    def needs_with(self, recipe: Recipe) -> Needs:
        """The needs of a changed recipe; raises as `needs`."""
        return needs_of(recipe, self.keypoints, self.people, self.launch)


def budget_of(recipe: Recipe, basis: Basis, out: Path) -> Budget:
    """The budget of a run in the folder `out`, on this machine."""
    launch, people = launch_of(basis.accelerator), basis.order.epoch
    room = room_of(basis.accelerator, launch, out)
    stages = plan_stages(recipe, people, launch.processes)
    return Budget(recipe, len(basis.data_sets[0].people.keypoint_set), people, stages, launch, room, out)


def table(budget: Budget) -> str:
    """Steps and samples of each stage, then what is needed beside what is free."""
    needs, room = budget.needs, budget.room
    rows = [*_stage_rows(budget.stages), ("", "", "")]
    rows += _part_rows(f"memory of {room.device}", needs.memory, room.memory)
    if needs.validation:
        rows.append((f"  in validation, batch {budget.recipe.validation.batch}", size(needs.validation), ""))
    shared = "" if room.shared is None else size(room.shared)
    rows.append(("shared memory of the loader", size(needs.shared), shared))
    rows += _part_rows(f"disk of {budget.out}", needs.disk, room.disk)
    return plain_table([budget.recipe.name, "needed", "free"], rows)


def _stage_rows(stages: Sequence[StagePlan]) -> list[tuple[str, str, str]]:
    samples = sum(plan.steps * plan.batch.total for plan in stages)
    rows = [("steps", f"{stages[-1].end:,}", ""), ("samples", f"{samples:,}", "")]
    if len(stages) > 1:
        for number, plan in enumerate(stages):
            w, h = plan.stage.input_size
            steps = "1 step" if plan.steps == 1 else f"{plan.steps:,} steps"
            name = f"  stage {number}, {w} x {h}, {steps} of {plan.batch.total}"
            rows.append((name, f"{plan.steps * plan.batch.total:,}", ""))
    return rows


def _part_rows(title: str, parts: Mapping[str, int], free: int) -> list[tuple[str, str, str]]:
    rows = [(title, size(sum(parts.values())), size(free))]
    return rows + [(f"  {name}", size(value), "") for name, value in parts.items() if value]


def size(count: int) -> str:
    """Bytes as "15.60 GiB" or "12 MiB"."""
    return f"{count / GIB:,.2f} GiB" if count >= GIB / 10 else f"{count / (1 << 20):,.0f} MiB"


def refusals(budget: Budget) -> list[str]:
    """A sentence for each thing of which there is too little, with changes that would make the run fit."""
    needs, room, recipe = budget.needs, budget.room, budget.recipe
    found = []
    if needs.peak > room.memory:
        ladder = memory_ladder(recipe, budget.launch.device)
        where = "a step" if needs.validation < needs.peak else "validation"
        text = f"{where} needs {size(needs.peak)} of memory, {room.device} has {size(room.memory)} free"
        found.append(_advised(text, budget, ladder, lambda changed: changed.peak <= room.memory))
    if room.shared is not None and needs.shared > room.shared:
        text = f"the loader needs {size(needs.shared)} of shared memory, /dev/shm has {size(room.shared)} free"
        text += f" (in Docker: --shm-size={-(-needs.shared // GIB)}g)"
        ladder = shared_memory_ladder(recipe)
        found.append(_advised(text, budget, ladder, lambda changed: changed.shared <= room.shared))
    if (disk := sum(needs.disk.values())) > room.disk:
        text = f"the run writes {size(disk)}, the disk of {budget.out} has {size(room.disk)} free"
        text += " (for another disk, choose another --out)"
        found.append(
            _advised(text, budget, disk_ladder(recipe), lambda changed: sum(changed.disk.values()) <= room.disk)
        )
    return found


def _advised(text: str, budget: Budget, ladder: Sequence[Flags], fits: Callable[[Needs], bool]) -> str:
    ways = fitting_flags(budget.recipe, ladder, lambda recipe: fits(budget.needs_with(recipe)))
    if not ways:
        return f"{text}; no change of the recipe that is known here makes it fit"
    return f"{text}; it fits with {' or '.join(' '.join(way) for way in ways)}"


def refusal(problems: Sequence[str]) -> str:
    """The error message of a run that does not fit."""
    return f"{'. '.join(problems)}. To start it in spite of this: {GO_ON}"
