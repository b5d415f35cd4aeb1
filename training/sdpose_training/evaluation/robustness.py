"""The benchmark `coco-ood-corruption`: one evaluation of the clean pictures, and one of each corruption and severity.

The corrupted pictures are read from the folder that `make_coco_ood.py --style corruption` made, or made in memory from
the clean ones. Each evaluation is an ordinary one, with its own result; `robustness_figures` puts them together.
"""

from __future__ import annotations

import argparse
import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.coco.annotations import Coco
from sdpose_core.errors import InputError
from sdpose_core.estimation.crop_jobs import Estimator
from sdpose_core.estimation.sdpose import PoseEstimator
from sdpose_core.files import remove_abandoned
from sdpose_core.folders import FolderKind
from sdpose_core.resumable import refuse_other
from sdpose_training.data.pictures import read_picture
from sdpose_training.evaluation.prediction_run import PARTS, SETTINGS, Processes, agree
from sdpose_training.evaluation.protocols import CORRUPTION
from sdpose_training.evaluation.result import read_result, write_result
from sdpose_training.evaluation.robustness_figures import summary
from sdpose_training.evaluation.tasks import Task, check_pictures
from sdpose_training.styles.corruption_folder import CorruptedFolder, find_corrupted
from sdpose_training.styles.corruptions import CORRUPTION_VERSION, Corruption, corrupted, corruptions
from sdpose_training.templates import percent

log = logging.getLogger(__name__)

SOURCES = ("auto", "folder", "memory")
"""Values of `--corrupted-pictures`."""

UNFINISHED = FolderKind("unfinished figures of corruptions", ("*.json", "*/*.json", "*/part_*.npz"), (SETTINGS,))

Result = dict[str, Any]
Evaluate = Callable[[Task, Path], Result | None]
"""Evaluates a task with its predictions in a folder; the result on the first process, None on the others."""

_KEPT_PICTURES = 4
"""Corrupted pictures in memory: the boxes of one picture may be in several chunks."""


@dataclass(frozen=True, eq=False)
class CorruptedTask(Task):
    """A task whose pictures are corrupted.

    Attributes:
        corruption: None: the pictures are clean.
        made: pictures that were made ahead; None: they are made from the clean ones when they are read.
        seed: of the corruptions.
        names: image id -> file name, on which the random numbers depend.
    """

    corruption: Corruption | None
    made: CorruptedFolder | None
    seed: int
    names: dict[Any, str]

    def picture(self, image_id: Any) -> np.ndarray:
        """As for `Task`, with the corruption."""
        return super().picture(image_id) if self.corruption is None else _corrupted_picture(self, image_id)

    def corrupted_file(self, image_id: Any) -> Path | None:
        """The file of a picture that was made ahead."""
        made, corruption = self.made, self.corruption
        return made.file(corruption, self.names[image_id]) if made is not None and corruption is not None else None

    def origin(self) -> dict[str, Any]:
        """How the pictures were made."""
        how = self.made.settings() if self.made else {"generator_version": CORRUPTION_VERSION, "seed": self.seed}
        source = str(self.made.path.resolve()) if self.made else "memory"
        return {"corruption": {"condition": _name(self.corruption), "pictures": source, **how}}


@functools.lru_cache(maxsize=_KEPT_PICTURES)
def _corrupted_picture(task: CorruptedTask, image_id: Any) -> np.ndarray:
    if file := task.corrupted_file(image_id):
        return read_picture(file, task.sizes.get(image_id))
    clean = read_picture(task.files[image_id], task.sizes.get(image_id))
    return corrupted(clean, task.corruption, task.names[image_id], task.seed)


def _name(corruption: Corruption | None) -> str:
    return "clean" if corruption is None else str(corruption)


def check_options(args: argparse.Namespace) -> None:
    """Raise `InputError` for options that have no meaning for many evaluations in one."""
    if CORRUPTION not in args.benchmark:
        return
    given = {"--predictions": args.predictions, "--save-predictions": args.save_predictions,
             "--oks-dump": args.oks_dump, "--gallery": args.gallery}  # fmt: skip
    if wrong := [option for option, value in given.items() if value]:
        raise InputError(
            f"{wrong[0]} is for a single set of predictions, and {CORRUPTION} has one for each corruption and "
            "severity: leave it out, or make the pictures with make_coco_ood.py --style corruption, and evaluate one "
            "folder of them with --benchmark coco --images val2017corruption/KIND/SEVERITY"
        )


def corrupted_tasks(
    task: Task, chosen: Sequence[Corruption], source: str, seed: int
) -> tuple[CorruptedTask, list[CorruptedTask]]:
    """The task with clean pictures, and with each corruption.

    Args:
        task: with clean pictures.
        chosen: the corruptions.
        source: one of `SOURCES`. "auto": the folder if it exists, else memory.
        seed: for memory; a folder has its own.

    Raises `InputError`: the folder is missing, is not one of ours, has another seed, or lacks a picture.
    """
    made = None if source == "memory" else find_corrupted(task.images)
    if source == "folder" and made is None:
        raise InputError(
            f"no corrupted pictures beside {task.images}: make them with make_coco_ood.py --style corruption, or "
            "corrupt in memory (--corrupted-pictures memory)"
        )
    if made is not None and made.seed != seed:
        raise InputError(
            f"{made.path} was made with --corruption-seed {made.seed}, not {seed}: give that seed, or corrupt in "
            "memory (--corrupted-pictures memory)"
        )
    log.info("corrupted pictures: %s", made.path if made else "made in memory from the clean ones")
    images = Coco.of(task.content).images
    own = {field.name: getattr(task, field.name) for field in fields(Task)}
    more = {"made": made, "seed": seed, "names": {key: str(image.file_name) for key, image in images.items()}}
    clean, *others = (CorruptedTask(**own, **more, corruption=corruption) for corruption in (None, *chosen))
    if made is not None:
        _check_made(made, others)
    return clean, others


def _check_made(made: CorruptedFolder, tasks: Sequence[CorruptedTask]) -> None:
    files = {(t.corruption, key): t.corrupted_file(key) for t in tasks for key in dict.fromkeys(t.image_ids)}
    if absent := [file for file in files.values() if file is not None and not file.is_file()]:
        raise InputError(
            f"{made.path} lacks {len(absent):,} of {len(files):,} pictures, such as {absent[0]}: make them with the "
            "same --corruptions and --severities, choose fewer here, or corrupt in memory (--corrupted-pictures memory)"
        )


def evaluate_corruptions(
    predictor: Estimator, task: Task, args: argparse.Namespace, folder: Path, processes: Processes,
    evaluate: Evaluate, protocol: dict[str, Any],
) -> Result | None:  # fmt: skip
    """Evaluate clean and corrupted pictures; finished ones are kept in `folder` until the caller removes it.

    Args:
        predictor, task: with clean pictures.
        args: options of `evaluate.py`.
        folder: of unfinished work, of the kind `UNFINISHED`.
        processes: to share the work.
        evaluate: one evaluation.
        protocol: settings of the scoring, which finished figures must have.

    Returns:
        The result with the figures of all, on the first process; None on the others.

    Raises `InputError`: see `corrupted_tasks`; the folder belongs to a run with other settings.
    """
    chosen = corruptions(args.corruptions, args.severities)
    clean, others = corrupted_tasks(task, chosen, args.corrupted_pictures, args.corruption_seed)
    check_pictures({key: task.files[key] for key in dict.fromkeys(task.image_ids)})
    batch = _begin(predictor, clean, folder, processes, restart=args.restart)
    results = {}
    finished = {t.corruption for t in (clean, *others) if _file(folder, t).exists()}
    processes.wait()  # before any process adds a file
    for number, each in enumerate((clean, *others), start=1):
        if isinstance(predictor, PoseEstimator):
            predictor.batch_size = batch  # lack of memory may have lowered it
        result = _finished(_file(folder, each), protocol) if each.corruption in finished else None
        if result is None:
            result = _evaluated(each, folder, evaluate)
        if result is not None:
            results[each.corruption] = result
            log.info("%s: AP %s (%d of %d)", _name(each.corruption), percent(result["AP"]), number, len(others) + 1)
    return summary(results) if processes.first else None


def _begin(predictor: Estimator, clean: CorruptedTask, folder: Path, processes: Processes, *, restart: bool) -> int:
    """Make the folder, or check that it belongs to this run. Returns the batch size."""
    if processes.first:
        remove_abandoned(folder)
        UNFINISHED.check(folder)
        if restart:
            UNFINISHED.remove(folder)
    processes.wait()
    return agree(predictor, clean, folder, processes)["batch"]


def _file(folder: Path, task: CorruptedTask) -> Path:
    return folder / f"{_name(task.corruption).replace('/', '_')}.json"


def _finished(file: Path, protocol: dict[str, Any]) -> Result:
    result = read_result(file)
    settings = {key: result["settings"].get(key) for key in protocol}
    refuse_other(settings, protocol, file, "figures", "give another --out, or delete them with --restart")
    return result


def _evaluated(task: CorruptedTask, folder: Path, evaluate: Evaluate) -> Result | None:
    file = _file(folder, task)
    parts = file.with_suffix("")
    result = evaluate(task, parts)
    if result is not None:
        write_result(result, file)
        PARTS.remove(parts)  # of 76 evaluations they would take up a lot of space
    return result
