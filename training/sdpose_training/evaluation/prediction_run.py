"""Predictions for all boxes of a benchmark: shared among processes, kept on disk, resumed after a stop.

Boxes are split into chunks of fixed length, and each chunk is predicted by itself. So the batches and the bits are the
same for any number of processes and stops.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_core.estimation.crop_jobs import Estimator
from sdpose_core.estimation.sdpose import PoseEstimator
from sdpose_core.files import remove_abandoned
from sdpose_core.folders import FolderKind
from sdpose_core.resumable import (
    DamagedPiece,
    begin,
    read_piece,
    read_settings,
    refuse_other,
    settings_hash,
    write_piece,
)
from sdpose_core.version import __version__
from sdpose_training.evaluation.predictions import Predictions, box_scales
from sdpose_training.evaluation.predictors import BY_MEMORY, batch_for_memory
from sdpose_training.evaluation.scored_points import scored_points
from sdpose_training.evaluation.tasks import Task

log = logging.getLogger(__name__)

BATCHES_PER_CHUNK = 8
"""A kill loses at most one chunk per process; the last batch of a chunk may be small."""

MAX_CHUNK = 128
"""Boxes per chunk: all pictures of a chunk are in memory at once."""

SETTINGS = "settings.json"

PARTS = FolderKind("unfinished predictions", (SETTINGS, "part_*.npz"), markers=(SETTINGS,))
_LONG = timedelta(days=30)


class Processes:
    """The processes that `accelerate launch` started, or a single one.

    Attributes:
        rank, count: number of this process, and of all.
        device: for this process; None lets the model choose.
    """

    def __init__(self, device: str | None = None) -> None:
        self.rank, self.count, self.device, self._state = 0, 1, device, None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            state = require("accelerate", "several processes").PartialState
            self._state = state(cpu=device == "cpu", timeout=_LONG)
            self.rank, self.count = self._state.process_index, self._state.num_processes
            if device in (None, "cuda"):  # a separate one for each process
                self.device = str(self._state.device)

    @property
    def first(self) -> bool:
        """Whether this process scores and writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self._state is not None:
            self._state.wait_for_everyone()

    def end(self) -> None:
        """Leave the process group."""
        if self._state is not None:
            self._state.destroy_process_group()


@dataclass(frozen=True)
class Chunk:
    """Boxes first..end of a task, and the file of their predictions."""

    first: int
    end: int
    file: Path


def predict(
    predictor: Estimator, task: Task, folder: Path, processes: Processes, *, restart: bool = False
) -> tuple[Predictions, dict[str, Any]] | None:
    """All predictions of a task, on the first process; None on the others.

    Args:
        predictor: the batch is chosen by memory if its `batch_size` is `BY_MEMORY`.
        task: pictures and boxes.
        folder: of unfinished predictions; a run with the same settings continues them.
        processes: to share the work.
        restart: delete the folder first.

    Returns:
        The predictions and their settings: "predictor" (its `meta`), "batch", "smaller_batches" (after lack of memory).

    Raises `InputError`: the folder belongs to a run with other settings, or holds files of others; a picture cannot be
    read.
    """
    if processes.first:
        remove_abandoned(folder)
        PARTS.check(folder)
        if restart:
            PARTS.remove(folder)
    processes.wait()
    settings = agree(predictor, task, folder, processes)
    run = settings_hash(settings)
    chunks = _chunks(len(task.boxes_xyxy), settings["chunk"], folder)
    missing = [chunk for chunk in chunks if not _is_finished(chunk, run, warn=processes.first)]
    if len(missing) < len(chunks) and processes.first:
        log.info("%d of %d parts already exist", len(chunks) - len(missing), len(chunks))
    processes.wait()  # before any process adds a file
    _predict_chunks(predictor, task, missing[processes.rank :: processes.count], run, show=processes.first)
    processes.wait()
    return _collected(task, chunks, settings) if processes.first else None


def agree(predictor: Estimator, task: Task, folder: Path, processes: Processes) -> dict[str, Any]:
    """The settings of the run, the same in all processes; the first process writes them if the folder has none.

    The batch size of the predictor becomes the agreed one, if it is to be chosen by memory. Raises `InputError` if the
    folder has predictions with other settings.
    """
    file = folder / SETTINGS
    by_memory = isinstance(predictor, PoseEstimator) and predictor.batch_size == BY_MEMORY
    if processes.first and not file.exists():
        if by_memory:
            predictor.batch_size = batch_for_memory(predictor)
        begin(file, run_settings(predictor, task))
    processes.wait()
    agreed = read_settings(file) or {}
    if by_memory:
        predictor.batch_size = agreed.get("batch", BY_MEMORY)
    advice = "give another --out, use the old setting, or delete the predictions with --restart"
    refuse_other(agreed, run_settings(predictor, task), folder, "predictions", advice)
    return agreed


def run_settings(predictor: Estimator, task: Task) -> dict[str, Any]:
    """Everything that a prediction depends on, as plain values."""
    batch = predictor.batch_size
    digest = task.digests()
    return {
        "benchmark": task.benchmark.name, "keypoint_set": task.keypoint_set.name,
        "predictor": {"name": predictor.name, **predictor.meta()},
        "annotations": digest["annotations"], "boxes": digest["boxes"], "box_count": len(task.boxes_xyxy),
        "images": str(task.images.resolve()), "batch": batch,
        "chunk": batch * max(1, min(BATCHES_PER_CHUNK, MAX_CHUNK // batch)), "library_version": __version__,
        **task.origin(),
    }  # fmt: skip


def _chunks(count: int, length: int, folder: Path) -> list[Chunk]:
    return [
        Chunk(first, min(first + length, count), folder / f"part_{number:06d}.npz")
        for number, first in enumerate(range(0, count, length))
    ]


def _is_finished(chunk: Chunk, run: str, *, warn: bool) -> bool:
    """Whether the file of a chunk exists, is whole, and belongs to the run with this hash of settings."""
    if not chunk.file.exists():
        return False
    try:
        read_piece(chunk.file, run)
    except DamagedPiece as error:
        if warn:
            log.warning("%s: predicted again", error)
        return False
    return True


def _predict_chunks(predictor: Estimator, task: Task, chunks: list[Chunk], run: str, *, show: bool) -> None:
    from tqdm import tqdm

    with tqdm(total=sum(c.end - c.first for c in chunks), unit="box", desc=predictor.name, disable=not show) as bar:
        for chunk in chunks:
            write_piece(chunk.file, _predict_chunk(predictor, task, chunk), run)
            bar.update(chunk.end - chunk.first)


def _predict_chunk(predictor: Estimator, task: Task, chunk: Chunk) -> dict[str, np.ndarray]:
    """Indices (n,) of the boxes with a person, keypoints (n, K, 2), scores (n, K), and the batch size at the end."""
    of_picture: dict[Any, list[int]] = {}
    for i in range(chunk.first, chunk.end):
        of_picture.setdefault(task.image_ids[i], []).append(i)
    images = [task.picture(picture) for picture in of_picture]
    boxes = [task.boxes_xyxy[members] for members in of_picture.values()]
    answers = predictor.estimate(images, boxes)
    indices = [ids[i] for ids, poses in zip(of_picture.values(), answers, strict=True) for i in poses.box_index]
    return {
        "indices": np.asarray(indices, np.int64),
        "keypoints": np.concatenate([poses.keypoints for poses in answers]),
        "scores": np.concatenate([poses.scores for poses in answers]),
        "batch": np.asarray(predictor.batch_size),
    }


def _collected(task: Task, chunks: list[Chunk], settings: Mapping[str, Any]) -> tuple[Predictions, dict[str, Any]]:
    run = settings_hash(settings)
    try:
        parts = [read_piece(chunk.file, run)[0] for chunk in chunks]
    except DamagedPiece as error:
        raise InputError(f"{chunks[0].file.parent}: {error}: run the same command again") from None
    found = {key: np.concatenate([part[key] for part in parts]) for key in ("indices", "keypoints", "scores")}
    indices = found["indices"]
    predictions = Predictions(
        indices, tuple(task.image_ids[i] for i in indices), found["keypoints"].astype(np.float64),
        found["scores"].astype(np.float64), task.box_scores[indices], box_scales(task.boxes_xyxy[indices]),
    )  # fmt: skip
    halved = sorted({int(part["batch"]) for part in parts} - {0, settings["batch"]})
    if halved:
        log.warning("memory ran out: some batches had %s instead of %d crops", halved, settings["batch"])
    origin = {"predictor": settings["predictor"], "batch": settings["batch"], "smaller_batches": halved}
    return of_set(predictions, task), origin


def of_set(predictions: Predictions, task: Task) -> Predictions:
    """The points to score: of a whole body the first 17, if only the body is annotated."""
    predicted, count = predictions.keypoints.shape[1], len(task.keypoint_set)
    chosen = scored_points(task.keypoint_set, predicted)
    if chosen is None:
        raise InputError(
            f"the model predicts {predicted} points, {task.annotations} has {count} ({task.keypoint_set.name}): "
            "give the right set with --keypoint-set"
        )
    return predictions.points(chosen)
