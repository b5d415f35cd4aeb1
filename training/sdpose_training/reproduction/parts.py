"""What is run for a table or figure: each part gives its commands for what is there, or says what is missing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from sdpose_training.evaluation.protocols import BODY, CORRUPTION, WHOLEBODY
from sdpose_training.reproduction.jobs import Argument, Job, Output
from sdpose_training.reproduction.setup import Candidate, Ground, Setup
from sdpose_training.styles.corruptions import KINDS, SEVERITIES

RESULT = "result.json"
TABLE = "table.json"

_KINDS = {BODY: ("17 keypoints", "body"), WHOLEBODY: ("133 keypoints", "wholebody")}
_FEW_KINDS, _FEW_SEVERITIES = ("gaussian_noise", "motion_blur", "fog", "jpeg_compression"), ("1", "3", "5")
"""Of the small run: one kind of each family."""

START = 10.0
"""Seconds until an evaluation has loaded its libraries."""

_DAY = 24 * 3600.0


class Part(ABC):
    """One thing that is run for a claim."""

    @abstractmethod
    def jobs(self, setup: Setup) -> tuple[Job, ...]:
        """Its commands, at least one: what is missing is a job that says so."""


@dataclass(frozen=True)
class Evaluation(Part):
    """evaluate.py, once for each estimator with these keypoints.

    Attributes:
        benchmark: of evaluate.py.
        keypoint_set: of the estimators.
        small_options: more options of the command in the small run.
        passes, small_passes: how often all boxes are estimated.
    """

    benchmark: str
    keypoint_set: str
    small_options: tuple[str, ...] = ()
    passes: int = 1
    small_passes: int = 1

    @property
    def name(self) -> str:
        points = _KINDS[self.keypoint_set][0]
        return f"{self.benchmark}, {points}"

    def jobs(self, setup: Setup) -> tuple[Job, ...]:
        """See `Part`."""
        ground = setup.grounds[self.benchmark, self.keypoint_set]
        found = tuple(self._job(setup, ground, each) for each in setup.of_set(self.keypoint_set))
        points, checkpoint = _KINDS[self.keypoint_set]
        nobody = f"an estimator of {points}: sdpose download {checkpoint}, then --checkpoint {checkpoint}"
        problems = "; ".join(text for text in (nobody, ground.missing) if text)
        return found or (Job(self.name, "evaluate.py", ground.arguments, (RESULT,), missing=problems),)

    def _job(self, setup: Setup, ground: Ground, candidate: Candidate) -> Job:
        seconds = None
        if ground.boxes is not None and candidate.seconds is not None:
            passes = self.small_passes if setup.small else self.passes
            seconds = START + ground.boxes * candidate.seconds * passes
        more = self.small_options if setup.small else ()
        arguments: tuple[Argument, ...] = (
            *candidate.arguments(), "--benchmark", self.benchmark, *ground.arguments, *more, *setup.common,
            "--out", Output(RESULT),
        )  # fmt: skip
        return Job(
            f"{self.name}: {candidate.name}", "evaluate.py", arguments, (RESULT,), (*candidate.after, *ground.after),
            {"estimator": candidate.identity, "data": ground.identity}, ground.missing, seconds, ground.note,
        )  # fmt: skip


@dataclass(frozen=True)
class Corruptions(Part):
    """The benchmark of corruptions for each estimator of 17 points, and the curves of all in one picture."""

    evaluation: Evaluation = Evaluation(
        CORRUPTION, BODY, ("--corruptions", ",".join(_FEW_KINDS), "--severities", ",".join(_FEW_SEVERITIES)),
        1 + len(KINDS) * len(SEVERITIES), 1 + len(_FEW_KINDS) * len(_FEW_SEVERITIES),
    )  # fmt: skip

    def jobs(self, setup: Setup) -> tuple[Job, ...]:
        """See `Part`."""
        found = self.evaluation.jobs(setup)
        if any(job.missing for job in found):
            return found
        results = tuple(job.result(setup.out) for job in found)
        arguments = (*results, "--out", Output("robustness.png"))
        return (*found, Job("robustness curves", "robustness.py", arguments, ("robustness.png",), found, seconds=START))


@dataclass(frozen=True)
class Ablation(Part):
    """ablate.py: read from the folder of a finished ablation; in the small run, a few arms are trained.

    Attributes:
        list: in training/recipes.
        title: of the list, by which its folder is found.
        arms, days: how many runs, and the paper's days on 8 A100 GPUs for each.
    """

    list: str
    title: str
    arms: int
    days: float

    def jobs(self, setup: Setup) -> tuple[Job, ...]:
        """See `Part`."""
        if job := setup.prepared.get(self.list):
            return (job,)
        arguments: tuple[Argument, ...] = (
            "--list", Path(f"training/recipes/{self.list}"), "--data.root", setup.root or Path("COCO"),
            "--launch", "accelerate launch --num_processes 8", "--out", Path("ablations"),
        )  # fmt: skip
        missing = (
            f"a finished ablation: run this command ({self.arms} runs of about {self.days:g} days on 8 A100 GPUs, as "
            "the paper says of one), then give its folder with --ablation"
        )
        return (
            Job(self.title, "ablate.py", arguments, (TABLE,), missing=missing, seconds=self.arms * self.days * _DAY),
        )
