"""A batch on Ray Data: an actor per GPU, each with a model of its own, fed one video at a time.

The actors share OUT with everybody else by claims, so that the results are those of one process, whatever dies.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .batch import Attempts, Batch, CannotStart, Record, Run
from .batch_inputs import Item
from .claims import Claimed, ClaimLost
from .dependencies import require
from .errors import SDPoseError

log = logging.getLogger(__name__)

TRIES = 3
"""An item during which the worker process died this often (killed for memory, say) has failed."""


def on_ray(batch: Batch, make_run: Callable[[Batch], Run], *, actors: int | None = None) -> Attempts:
    """Attempts on Ray: the cluster of RAY_ADDRESS or one that runs here; else one is started on this machine.

    Args:
        batch: with an absolute `out` that all machines of the cluster share.
        make_run: called once in each actor; must be picklable.
        actors: how many; default one per GPU of the cluster, or one in all where there is none.

    Raises `MissingDependency` without Ray.
    """
    require("ray.data", "--ray")
    import ray

    if not ray.is_initialized():
        ray.init(logging_level=logging.WARNING, include_dashboard=False, log_to_driver=log.isEnabledFor(logging.INFO))
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    count = actors or max(1, gpus)
    # Actors that share a GPU have an equal part of it; without GPUs they share the processors.
    need = {"num_gpus": min(1.0, gpus / count)} if gpus else {"num_cpus": max(1, int(resources.get("CPU", 1)) // count)}
    log.info("Ray: %d actors with %s each", count, need)

    def attempts(items: Sequence[Item]) -> Iterator[tuple[Item, Record | str]]:
        left = {item.relative: item for item in items}
        for answer in _answers(items, batch, make_run, min(count, len(items)), need):
            if "cannot_start" in answer:
                raise CannotStart(answer["cannot_start"])
            item = left.pop(answer["item"])
            yield item, answer["busy"] if "busy" in answer else Record(**answer["record"])
        for item in left.values():
            yield item, _died(batch, item)

    return attempts


def _answers(
    items: Sequence[Item], batch: Batch, make_run: Callable[[Batch], Run], actors: int, need: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # a video may take hours
    context.max_errored_blocks = -1  # a video that kills its worker must not end the others
    rows = [{"relative": item.relative, "name": item.name, "source": os.path.abspath(item.source)} for item in items]
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        _Worker,
        fn_constructor_args=(batch, make_run),
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1),
        max_restarts=-1,
        max_task_retries=TRIES - 1,
        **need,
    )
    for row in data.iter_rows():
        yield json.loads(row["answer"])


def _died(batch: Batch, item: Item) -> Record | str:
    """The failed record of an item that no worker came back from."""

    def run(*_: Any) -> Any:
        raise SDPoseError(f"the worker process died {TRIES} times at it: out of memory, or a file that crashes a decoder")

    try:
        return batch.attempt(item, run)
    except (Claimed, ClaimLost) as other:
        return str(other)


class _Worker:
    """One actor: does items, answers in JSON (rows of Ray Data are tables: no place for records)."""

    def __init__(self, batch: Batch, make_run: Callable[[Batch], Run]) -> None:
        self.batch = batch
        self.run = make_run(batch)

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        item = Item(Path(row["source"]), row["relative"], row["name"])
        answer: dict[str, Any] = {"item": item.relative}
        try:
            answer["record"] = json.loads(self.batch.attempt(item, self.run).line())
        except (Claimed, ClaimLost) as other:
            answer["busy"] = str(other)
        except CannotStart as error:
            answer["cannot_start"] = str(error)
        return {"answer": json.dumps(answer)}
