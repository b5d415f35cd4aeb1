"""A batch on Ray Data: one actor per GPU, each with its model, one video at a time.

The actors lock their items like any other process, so that the results equal those of one process, even if some die.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dependencies import require
from ..errors import SDPoseError
from .folder import TRIES, Attempts, Batch, CannotStart, Record, Run, death
from .inputs import Item

if TYPE_CHECKING:
    from ..annotate.clip import ClipOutcome

log = logging.getLogger(__name__)


def on_ray(batch: Batch, make_run: Callable[[Batch], Run], *, actors: int | None = None) -> Attempts:
    """Attempts on Ray: on the cluster of RAY_ADDRESS, on one that runs here, or on a new one on this machine.

    Args:
        batch: with an absolute `out` that all machines of the cluster share.
        make_run: called once in each actor; must be picklable.
        actors: their number; None: one per GPU of the cluster, or one without GPUs.

    Raises `MissingDependency` without Ray.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else a new cluster reports to its makers
    require("ray.data", "--ray")
    ray: Any = require("ray", "--ray")
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    if not ray.is_initialized():
        ray.init(logging_level=logging.WARNING, include_dashboard=False, log_to_driver=log.isEnabledFor(logging.INFO))
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    count = actors or max(1, gpus)
    # Actors on one GPU share it equally; without GPUs they share the processors.
    need = {"num_gpus": min(1.0, gpus / count)} if gpus else {"num_cpus": max(1, int(resources.get("CPU", 1)) // count)}
    log.info("Ray: %d actors with %s each", count, need)

    def attempts(items: Sequence[Item]) -> Iterator[tuple[Item, Record | None]]:
        by_name = {item.relative: item for item in items}
        for answer in _answers(items, batch, make_run, min(count, len(items)), need):
            if "cannot_start" in answer:
                raise CannotStart(answer["cannot_start"])
            if "error" in answer:
                raise SDPoseError(answer["error"])
            yield by_name[answer["item"]], Record(**answer["record"]) if answer["record"] else None

    return attempts


def _answers(
    items: Sequence[Item], batch: Batch, make_run: Callable[[Batch], Run], actors: int, need: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # a video may take hours
    rows = [{"relative": item.relative, "name": item.name, "source": os.path.abspath(item.source)} for item in items]
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        _Worker,
        fn_constructor_args=(batch, make_run),
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
        **need,
    )
    for row in data.iter_rows():
        yield json.loads(row["answer"])


class _Worker:
    """One actor. Its answers are JSON because rows of Ray Data hold only plain values.

    Ray restarts an actor that died and repeats its item without limit, so the tries are counted here.
    """

    def __init__(self, batch: Batch, make_run: Callable[[Batch], Run]) -> None:
        self.batch = batch
        self.run = make_run(batch)

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        item = Item(Path(row["source"]), row["relative"], row["name"])
        answer: dict[str, Any] = {"item": item.relative}
        tries = self.batch.state_file(item, ".tries")
        try:
            run = self.run if self._count(tries) <= TRIES else _died
            record = self.batch.attempt(item, run)
            answer["record"] = record and json.loads(record.line())
        except CannotStart as error:
            answer["cannot_start"] = str(error)
        except SDPoseError as error:
            answer["error"] = str(error)
        tries.unlink(missing_ok=True)
        return {"answer": json.dumps(answer)}

    def _count(self, tries: Path) -> int:
        """The number of this try of an item, in this run of the batch, from 1."""
        this_run = f"{self.batch.began!r}\n"
        tries.parent.mkdir(parents=True, exist_ok=True)
        with open(tries, "a+", encoding="utf-8") as file:
            file.write(this_run)
            file.seek(0)
            return file.readlines().count(this_run)


def _died(*_: Any) -> ClipOutcome:
    raise SDPoseError(death())
