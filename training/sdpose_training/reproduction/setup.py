"""What a reproduction has: estimators, the files of benchmarks, and the options of all commands."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdpose_core.errors import InputError, SDPoseError, failing_alone
from sdpose_training.reproduction.jobs import Argument, Job

if TYPE_CHECKING:
    from sdpose_core.estimation.crop_jobs import Estimator

CHECKPOINT, PEER = "--checkpoint", "--peer"

_LONG = 10.0
"""Seconds of a first crop after which it is not timed again without what happens only once."""


@dataclass(frozen=True)
class Candidate:
    """An estimator to measure.

    Attributes:
        option: of evaluate.py, `CHECKPOINT` or `PEER`.
        source: the value of the option.
        name: for tables.
        keypoint_set: of its poses.
        seconds: for one box, None if unknown.
        identity: of its weights.
        after: the job that trains it.
    """

    option: str
    source: str | Path
    name: str
    keypoint_set: str
    seconds: float | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[Job, ...] = ()

    def arguments(self) -> tuple[Argument, ...]:
        """Of evaluate.py."""
        return (self.option, self.source)


@dataclass(frozen=True)
class Ground:
    """The files of a benchmark.

    Attributes:
        arguments: of evaluate.py, where they are.
        boxes: how many are evaluated, None if unknown.
        identity: hashes of annotations and boxes.
        missing: what is not there, and where to get it.
        after: the jobs that make them.
        note: how they differ from the paper's.
    """

    arguments: tuple[Argument, ...] = ()
    boxes: int | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    missing: str | None = None
    after: tuple[Job, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Setup:
    """Everything that the parts of the claims need to know.

    Attributes:
        out: the output folder.
        candidates: what is measured.
        absent: estimators that were asked for and cannot be loaded: their name, and why.
        grounds: (benchmark, keypoint set) -> its files.
        common: options of every command that estimates, such as --device.
        ablations: title of a list of ablations -> the folder of ablate.py.
        root: the COCO folder, None without one.
        free: further inputs by name ("pictures", "base", "controlnet", ...), those that were given.
        small: the quick run, which is not the paper's protocol.
        prepared: jobs by name that the small run makes first.
    """

    out: Path
    candidates: tuple[Candidate, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    grounds: Mapping[tuple[str, str], Ground] = field(default_factory=dict)
    common: tuple[Argument, ...] = ()
    ablations: Mapping[str, Path] = field(default_factory=dict)
    root: Path | None = None
    free: Mapping[str, Any] = field(default_factory=dict)
    small: bool = False
    prepared: Mapping[str, Job] = field(default_factory=dict)

    def of_set(self, keypoint_set: str, *, checkpoints_only: bool = False) -> tuple[Candidate, ...]:
        """The candidates with these keypoints."""
        return tuple(
            each for each in self.candidates
            if each.keypoint_set == keypoint_set and (each.option == CHECKPOINT or not checkpoints_only)
        )  # fmt: skip


@dataclass(frozen=True)
class Loading:
    """How estimators are loaded: as evaluate.py does."""

    device: str = "auto"
    dtype: str = "auto"
    trust_file: bool = False
    download: bool = False

    def arguments(self) -> tuple[str, ...]:
        """The options that differ from the defaults of evaluate.py."""
        pairs = [("--device", self.device), ("--dtype", self.dtype)]
        words = [word for pair in pairs if pair[1] != "auto" for word in pair]
        flags = [("--trust-file", self.trust_file), ("--download", self.download)]
        return (*words, *(name for name, given in flags if given))


def load_candidates(
    checkpoints: Sequence[str], peers: Sequence[str], loading: Loading
) -> tuple[tuple[Candidate, ...], dict[str, str]]:
    """Load each estimator once and time a crop; also, by name, why some cannot be loaded.

    Raises `InputError` if two have the same name, which could not be told apart in the tables.
    """
    found: list[Candidate] = []
    absent: dict[str, str] = {}
    for option, source in [*((CHECKPOINT, each) for each in checkpoints), *((PEER, each) for each in peers)]:
        try:
            with failing_alone(source):
                found.append(_candidate(option, source, loading))
        except SDPoseError as error:
            absent[source] = str(error)
    names = [each.name for each in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two estimators are named {twice[0]!r}: rename a file, so that the tables tell them apart")
    return tuple(found), absent


def _candidate(option: str, source: str, loading: Loading) -> Candidate:
    from sdpose_core.estimation.options import EstimatorOptions
    from sdpose_training.evaluation.predictors import load_sdpose_predictor
    from sdpose_training.peers.loading import load_peer

    device = None if loading.device == "auto" else loading.device
    if option == CHECKPOINT:
        options = EstimatorOptions(device=device, dtype=loading.dtype, flip_test=True, batch_size=1)
        estimator: Estimator = load_sdpose_predictor(source, options)
    else:
        allowed = {"trust_file": loading.trust_file, "download": loading.download}
        estimator = load_peer(source, device=device, batch=1, **allowed)
    seconds = _seconds_per_box(estimator)
    identity = {"weights": estimator.meta().get("weights"), "name": estimator.name}
    value: str | Path = Path(source) if Path(source).exists() else source
    return Candidate(option, value, estimator.name, estimator.keypoint_set, seconds, identity)


def _seconds_per_box(estimator: Estimator) -> float:
    """Seconds for one person in a gray picture; larger batches may be faster."""
    image, boxes = np.full((480, 640, 3), 128, np.uint8), np.array([[200, 40, 440, 440]], np.float32)
    seconds = 0.0
    for _ in range(2):
        began = time.perf_counter()
        estimator.estimate([image], [boxes])
        seconds = time.perf_counter() - began
        if seconds > _LONG:
            break
    return seconds


def find_grounds(root: Path | None, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Ground]:
    """The files of benchmarks under `root`, read as evaluate.py reads them.

    Args:
        root: None: nothing was given.
        pairs: benchmark and keypoint set.
    """
    if root is None:
        return {pair: Ground(missing="the data: give --data.root DIR") for pair in pairs}
    if not root.is_dir():
        raise InputError(f"--data.root {root}: no such folder")
    return {pair: _ground(root, *pair) for pair in pairs}


def _ground(root: Path, name: str, keypoint_set: str) -> Ground:
    from sdpose_training.evaluation.protocols import find_benchmark
    from sdpose_training.evaluation.tasks import Places, check_pictures, load_task

    try:
        task = load_task(find_benchmark(name), Places(root), keypoint_set)
        check_pictures(task.files)
    except InputError as error:
        text = re.sub(r", or give their place with --\w+", "", str(error))  # an option of evaluate.py
        return Ground(("--data.root", root), missing=text)
    return Ground(("--data.root", root), len(task.boxes_xyxy), {**task.digests(), "images": str(task.images.resolve())})


def find_ablations(folders: Sequence[Path]) -> dict[str, Path]:
    """Title of the list -> folder of ablate.py; `InputError` for a folder without its table.json, or a second one."""
    from sdpose_core.texts import read_json

    found: dict[str, Path] = {}
    for folder in folders:
        file = folder / "table.json"
        if not file.is_file():
            raise InputError(f"--ablation {folder}: expected a folder of ablate.py, with table.json: finish it first")
        title = str(read_json(file, "the table of ablate.py", dict).get("title"))
        if title in found:
            raise InputError(f"--ablation: {found[title]} and {folder} are of the same list ({title}): give one")
        found[title] = folder
    return found
