"""Predictions for all boxes of a benchmark: shared out among processes, kept on disk, resumed after a stop.

Boxes are cut into chunks of a fixed length, whatever the number of processes, and every chunk is predicted by itself:
the same batches give the same bits on one process or many, in one go or in several.
"""

from __future__ import annotations

import logging
import os
import shutil
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
from sdpose_core.resumable import (
    DamagedPiece,
    begin,
    read_piece,
    read_settings,
    refuse_other,
    settings_hash,
    write_piece,
)
from sdpose_core.skeletons import KEYPOINT_SETS
from sdpose_core.version import __version__
from sdpose_training.data.pictures import read_picture
from sdpose_training.evaluation.predictors import BY_MEMORY, batch_for_memory
from sdpose_training.evaluation.protocols import Task
from sdpose_training.evaluation.scoring import Predictions, box_scales

log = logging.getLogger(__name__)

BATCHES_PER_CHUNK = 8
"""A kill loses so many batches at most; the last batch of a chunk may be a small one."""

MOST_IN_CHUNK = 128
"""Boxes, whose pictures are in memory together."""

_SETTINGS = "settings.json"
_LONG = timedelta(days=30)


class Processes:
    """The processes that `accelerate launch` started; one, if it did not.

    Attributes:
        rank, count: which this is, of how many.
        device: that this one should use, None to let the model choose.
    """

    def __init__(self, device: str | None = None) -> None:
        self.rank, self.count, self.device, self._state = 0, 1, device, None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            state = require("accelerate", "several processes").PartialState
            self._state = state(cpu=device == "cpu", timeout=_LONG)
            self.rank, self.count = self._state.process_index, self._state.num_processes
            if device in (None, "cuda"):  # each its own
                self.device = str(self._state.device)

    @property
    def first(self) -> bool:
        """Whether this one scores and writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here."""
        if self._state is not None:
            self._state.wait_for_everyone()

    def end(self) -> None:
        """Take leave of the others."""
        if self._state is not None:
            self._state.destroy_process_group()


@dataclass(frozen=True)
class Chunk:
    """Boxes first..end of a task, and where their predictions are kept."""

    first: int
    end: int
    file: Path


def predict(
    predictor: Estimator, task: Task, folder: Path, processes: Processes, *, restart: bool = False
) -> tuple[Predictions, dict[str, Any]] | None:
    """All predictions of a task, on the first process; None on the others.

    Args:
        predictor: whose batch is set by memory if its `batch_size` is `BY_MEMORY`.
        task: pictures and boxes.
        folder: for what is not finished; a run with the same settings goes on from it.
        processes: that share the work.
        restart: throw away what is in the folder instead.

    Returns:
        The predictions, and what made them: "predictor" (its `meta`), "batch", "smaller_batches" (out of memory).

    Raises `InputError`: the folder is that of a run with other settings; a picture cannot be read.
    """
    if restart and processes.first:
        shutil.rmtree(folder, ignore_errors=True)
    processes.wait()
    settings = _agree(predictor, task, folder, processes)
    run = settings_hash(settings)
    chunks = _chunks(len(task.boxes_xyxy), settings["chunk"], folder)
    missing = [chunk for chunk in chunks if not _is_finished(chunk, run, warn=processes.first)]
    if len(missing) < len(chunks) and processes.first:
        log.info("%d of %d parts are there already", len(chunks) - len(missing), len(chunks))
    processes.wait()  # before anyone adds a file
    _predict_chunks(predictor, task, missing[processes.rank :: processes.count], run, show=processes.first)
    processes.wait()
    return _collected(task, chunks, settings) if processes.first else None


def _agree(predictor: Estimator, task: Task, folder: Path, processes: Processes) -> dict[str, Any]:
    """The settings of the run, the same for all processes: those in the folder, or written by the first process."""
    file = folder / _SETTINGS
    by_memory = isinstance(predictor, PoseEstimator) and predictor.batch_size == BY_MEMORY
    if processes.first and not file.exists():
        if by_memory:
            predictor.batch_size = batch_for_memory(predictor)
        begin(file, run_settings(predictor, task))
    processes.wait()
    agreed = read_settings(file) or {}
    if by_memory:
        predictor.batch_size = agreed.get("batch", BY_MEMORY)
    advice = "give --out another name, set this back, or throw the predictions away with --restart"
    refuse_other(agreed, run_settings(predictor, task), folder, "predictions", advice)
    return agreed


def run_settings(predictor: Estimator, task: Task) -> dict[str, Any]:
    """What a prediction depends on, as plain values."""
    batch = predictor.batch_size
    digest = task.digests()
    return {
        "benchmark": task.benchmark.name,
        "keypoint_set": task.keypoint_set.name,
        "predictor": {"name": predictor.name, **predictor.meta()},
        "annotations": digest["annotations"],
        "boxes": digest["boxes"],
        "box_count": len(task.boxes_xyxy),
        "images": str(task.images.resolve()),
        "batch": batch,
        "chunk": batch * max(1, min(BATCHES_PER_CHUNK, MOST_IN_CHUNK // batch)),
        "library_version": __version__,
    }


def _chunks(count: int, length: int, folder: Path) -> list[Chunk]:
    return [
        Chunk(first, min(first + length, count), folder / f"part_{number:06d}.npz")
        for number, first in enumerate(range(0, count, length))
    ]


def _is_finished(chunk: Chunk, run: str, *, warn: bool) -> bool:
    """Whether the predictions of a chunk are there, whole, and of this run (the hash of its settings)."""
    if not chunk.file.exists():
        return False
    try:
        read_piece(chunk.file, run)
    except DamagedPiece as error:
        if warn:
            log.warning("%s: it is predicted again", error)
        return False
    return True


def _predict_chunks(predictor: Estimator, task: Task, chunks: list[Chunk], run: str, *, show: bool) -> None:
    from tqdm import tqdm

    with tqdm(total=sum(c.end - c.first for c in chunks), unit="box", desc=predictor.name, disable=not show) as bar:
        for chunk in chunks:
            write_piece(chunk.file, _predict_chunk(predictor, task, chunk), run)
            bar.update(chunk.end - chunk.first)


def _predict_chunk(predictor: Estimator, task: Task, chunk: Chunk) -> dict[str, np.ndarray]:
    """Indices (n,) of the boxes in which somebody was found, keypoints (n, K, 2), scores (n, K), batch in force."""
    of_picture: dict[Any, list[int]] = {}
    for i in range(chunk.first, chunk.end):
        of_picture.setdefault(task.image_ids[i], []).append(i)
    images = [read_picture(task.files[picture], task.sizes.get(picture)) for picture in of_picture]
    boxes = [task.boxes_xyxy[own] for own in of_picture.values()]
    answers = predictor.estimate(images, boxes)
    indices = [own[place] for own, poses in zip(of_picture.values(), answers, strict=True) for place in poses.box_index]
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
    count = len(task.keypoint_set)
    found = {key: np.concatenate([part[key] for part in parts]) for key in ("indices", "keypoints", "scores")}
    indices = found["indices"]
    predictions = Predictions(
        ids=indices,
        image_ids=tuple(task.image_ids[i] for i in indices),
        keypoints=found["keypoints"].astype(np.float64),
        keypoint_scores=found["scores"].astype(np.float64),
        box_scores=task.box_scores[indices],
        box_scales=box_scales(task.boxes_xyxy[indices]),
    )
    halved = sorted({int(part["batch"]) for part in parts} - {0, settings["batch"]})
    if halved:
        log.warning("memory ran out: some batches had %s instead of %d crops", halved, settings["batch"])
    made = {"predictor": settings["predictor"], "batch": settings["batch"], "smaller_batches": halved}
    return _of_set(predictions, task, count), made


def _of_set(predictions: Predictions, task: Task, count: int) -> Predictions:
    """The points that are scored: the first 17 of a whole body where only the body is."""
    predicted = predictions.keypoints.shape[1]
    if task.keypoint_set.name in KEYPOINT_SETS and predicted > count:
        return predictions.first_points(count)
    if predicted != count:
        raise InputError(
            f"the model predicts {predicted} points, {task.annotations} has {count} ({task.keypoint_set.name}): "
            "these do not belong together; --keypoint-set names the right set"
        )
    return predictions
