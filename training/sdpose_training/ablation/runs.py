"""The runs of an ablation: trained in separate processes, resumed after an interruption, then measured."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from sdpose_core.cli.progress import progress_bar
from sdpose_core.errors import SDPoseError
from sdpose_core.files import atomic_write, sha256_of
from sdpose_core.resumable import plain, refuse_other
from sdpose_core.texts import read_json
from sdpose_training.ablation.arms import Arm
from sdpose_training.data.annotations import People
from sdpose_training.environment import environment
from sdpose_training.fit.folder import RunFolder
from sdpose_training.fit.log import read_log
from sdpose_training.recipe.recipe import Recipe, recipe_from
from sdpose_training.recipe.toml_files import read_toml, to_toml

log = logging.getLogger(__name__)

T = TypeVar("T")

IN_DOMAIN = "in-domain"
TRAIN = Path(__file__).parents[2] / "train.py"
_MAY_CHANGE = ("hardware", "log", "validation", "checkpoints", "name")
_POLL_SECONDS = 0.2
_LOOK_SECONDS, _LOOK_BYTES = 5.0, 1 << 16
"""Between two looks at how far the runs are, and how much of the ends of their logs is read."""


@dataclass(frozen=True)
class EvaluationSet:
    """A test set: a COCO-format file and its pictures, with ground-truth boxes."""

    name: str
    annotations: Path
    images: Path


@dataclass(frozen=True)
class Run:
    """An arm with a seed, and its folder (a run folder of train.py with recipe.toml, times.json and result.json)."""

    arm: Arm
    seed: int
    recipe: Recipe
    folder: RunFolder

    @property
    def name(self) -> str:
        return f"{self.arm.name}, seed {self.seed}"

    @property
    def is_trained(self) -> bool:
        """Whether train.py reached the end of the recipe."""
        return self.folder.log.exists() and bool(read_log(self.folder.log, "end"))

    @property
    def result(self) -> dict[str, Any]:
        """The measurements; {} if there are none."""
        return _noted(self.folder.root / "result.json", {})


def make_run(arm: Arm, seed: int, out: Path, threads: int) -> Run:
    """A run in OUT/ARM/seed-N, where its recipe is written; `InputError` if there is a run of another recipe."""
    recipe = replace(arm.recipe, seed=seed, name=f"{arm.recipe.name}_{arm.name}")
    if threads:
        recipe = replace(recipe, hardware=replace(recipe.hardware, threads=threads))
    run = Run(arm, seed, recipe, RunFolder(out / arm.name / f"seed-{seed}"))
    path = run.folder.root / "recipe.toml"
    if path.exists():
        found, asked = (_fixed_values(each) for each in (recipe_from(read_toml(path)), recipe))
        refuse_other(found, asked, run.folder.root, "a run", "choose another --out, or remove it")
    with atomic_write(path, "w") as file:
        file.write(to_toml(recipe))
    return run


def _fixed_values(recipe: Recipe) -> dict[str, Any]:
    """The values of a recipe that affect the weights."""
    values = {key: value for key, value in plain(asdict(recipe)).items() if key not in _MAY_CHANGE}
    del values["data"]["root"]
    return values


def train_runs(runs: Sequence[Run], jobs: int, launch: Sequence[str] = ()) -> Iterator[tuple[Run, str | None]]:
    """Train the untrained runs; yields each finished run with its error message or None.

    If the generator is closed or interrupted, the processes save their state first.

    Args:
        jobs: maximum number of processes.
        launch: runs train.py instead of this Python ("accelerate", "launch", ...).
    """
    waiting = [run for run in runs if not run.is_trained]
    running: list[_Process] = []
    ended: list[_Process] = []
    bar = progress_bar(None, "step", "training", initial=sum(map(_steps, waiting)), disable=not waiting)
    started, looked = list(waiting), time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_Process(waiting.pop(0), launch))
            for process in ended:  # after the next processes were started
                yield process.run, process.problem()
            time.sleep(_POLL_SECONDS)
            if time.monotonic() - looked > _LOOK_SECONDS:
                bar.update(sum(map(_steps, started)) - bar.n)
                looked = time.monotonic()
            ended = [process for process in running if process.has_ended()]
            running = [process for process in running if process not in ended]
        for process in ended:
            yield process.run, process.problem()
    finally:
        bar.close()
        for process in running:
            process.stop()


def _steps(run: Run) -> int:
    """The last step in a run's log; 0 if it has not begun."""
    text = run.folder.log.read_bytes() if run.folder.log.exists() else b""
    found = re.findall(rb'^\{.*"step": ([0-9]{1,18})\b', text[-_LOOK_BYTES:], re.MULTILINE)
    return int(found[-1]) if found else 0


class _Process:
    """train.py on one run."""

    def __init__(self, run: Run, launch: Sequence[str]) -> None:
        self.run, self.began, self.cpu_seconds = run, time.monotonic(), None
        arguments = ["--recipe", str(run.folder.root / "recipe.toml"), "--out", str(run.folder.root)]
        command = [*(launch or [sys.executable]), str(TRAIN), *arguments, "--resume", "auto"]
        threads = run.recipe.hardware.threads
        env = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
        self._log = open(run.folder.root / "train.log", "ab")
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT, env=env)
        log.info("training %s (%s)", run.name, run.folder.root)

    def has_ended(self) -> bool:
        """Also records its CPU time, if the system supports it."""
        if self.process.returncode is not None or not hasattr(os, "wait4"):
            return self.process.poll() is not None
        pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if pid:
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_seconds = usage.ru_utime + usage.ru_stime
        return pid != 0

    def problem(self) -> str | None:
        """After its end: adds its time to times.json; returns one line if it failed or stopped early."""
        self._log.close()
        path = self.run.folder.root / "times.json"
        times = _noted(path, [])
        times.append({"seconds": time.monotonic() - self.began, "cpu_seconds": self.cpu_seconds})
        with atomic_write(path, "w") as file:
            json.dump(times, file)
        if self.run.is_trained:
            return None
        lines = (self.run.folder.root / "train.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{self.run.name}: train.py ended with {self.process.returncode} ({lines[-1] if lines else 'no output'})"

    def stop(self) -> None:
        """Send SIGTERM, after which train.py saves its state, and wait."""
        self.process.terminate()
        while not self.has_ended():
            time.sleep(_POLL_SECONDS)
        self.problem()


def measure(run: Run, tests: Sequence[EvaluationSet], which: str) -> dict[str, Any]:
    """Measure a trained run on tests without a result, like validation: ground-truth boxes and flip test.

    `which`: "last" or "best" weights. Returns the contents of result.json, which is written. Raises `SDPoseError` as
    validation does, and if there are no such weights.
    """
    weights = weights_of(run, which)
    known = run.result if run.result.get("weights", {}).get("name") == weights.name else {}
    figures: dict[str, Any] = dict(known.get("tests", {}))
    missing = [test for test in tests if not _source(test).items() <= figures.get(test.name, {}).items()]
    if missing:
        figures |= _figures(run, missing, weights)
    step = read_log(run.folder.log, "step")[-1]
    result = {
        "arm": run.arm.name,
        "seed": run.seed,
        "samples": step["samples"],
        "steps": step["step"],
        **_minutes(run),
        "weights": {"name": weights.name, "sha256": sha256_of(weights)},
        "tests": figures,
        "environment": environment(),
    }
    if missing:
        with atomic_write(run.folder.root / "result.json", "w") as file:
            json.dump(result, file, indent=2)
    return result


def weights_of(run: Run, which: str) -> Path:
    """The "last" or "best" weights of a run; `SDPoseError` if there are none."""
    pattern = "best" if which == "best" else "step-*"
    found = sorted(run.folder.weights.glob(f"{pattern}.safetensors"))
    if not found:
        raise SDPoseError(f"{run.name}: no {pattern}.safetensors in {run.folder.weights}: was validation.people 0?")
    return found[-1]


def _figures(run: Run, tests: Sequence[EvaluationSet], weights: Path) -> dict[str, dict[str, Any]]:
    from sdpose_core.checkpoints.loading import load_sdpose
    from sdpose_training.fit.validation import average_precision, predict

    model = load_sdpose(weights, dtype="fp32", with_rgb_branch=False)
    found = {}
    for test in tests:
        people = people_of(run.recipe, test)
        log.info("measuring %s on %s: %d people", run.name, test.name, len(people))
        settings = replace(run.recipe.validation, flip_test=True)
        figures = average_precision(people, *predict(model, people, range(len(people)), settings))
        found[test.name] = {**figures, "people": len(people), **_source(test)}
        log.info("%s on %s: AP %.3f, mean OKS %.3f", run.name, test.name, figures["AP"], figures["OKS"])
    return found


def people_of(recipe: Recipe, test: EvaluationSet) -> People:
    """The people of a test; `InputError` if annotations or pictures are missing, or have another keypoint set."""
    from sdpose_training.fit.data_sets import load_people

    data = replace(recipe.data, val_annotations=str(test.annotations.resolve()), val_images=str(test.images.resolve()))
    return load_people(data, "val")[0]


def _source(test: EvaluationSet) -> dict[str, str]:
    """Identifies a test: other pictures or annotations are measured again."""
    annotations = {"annotations": str(test.annotations), "annotations_sha256": sha256_of(test.annotations)}
    return {**annotations, "images": str(test.images)}


def _minutes(run: Run) -> dict[str, Any]:
    """Wall and CPU minutes of all attempts that ended; CPU is None if the system does not measure it."""
    times: list[Mapping[str, float | None]] = _noted(run.folder.root / "times.json", [])
    cpu = [entry["cpu_seconds"] for entry in times]
    return {
        "minutes": sum(entry["seconds"] or 0.0 for entry in times) / 60,
        "cpu_minutes": None if None in cpu else sum(value or 0.0 for value in cpu) / 60,
        "attempts": len(times),
    }


def _noted(path: Path, absent: T) -> T:
    """The content of a JSON file of this run; `absent`, of the same type, if there is none."""
    return read_json(path, "what an earlier run noted: remove the file", type(absent)) if path.exists() else absent
