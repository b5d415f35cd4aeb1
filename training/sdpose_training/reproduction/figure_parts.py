"""What is run for the figures of the paper: make_figures.py and analyze_features.py."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdpose_training.evaluation.protocols import BODY, find_benchmark
from sdpose_training.reproduction.jobs import Argument, Job, Named, Output
from sdpose_training.reproduction.parts import START, Part
from sdpose_training.reproduction.setup import Candidate, Setup

ANALYSIS = "feature_analysis.json"
FIGURE = "figure.png"
SCRIPT = "make_figures.py"

FREE = "free"
"""The source of a figure whose pictures have no annotations."""

_FEW_SECONDS = 60.0
"""CPU seconds of the feature analysis in the small run."""

_NO_ESTIMATOR = "an estimator of 17 keypoints: sdpose download body, then --checkpoint body"
_NO_PICTURES = "pictures of people: give --pictures DIR"


@dataclass(frozen=True)
class Estimators(Part):
    """Estimators side by side; people that they miss are marked where there are annotations.

    Attributes:
        source: `FREE`, or the benchmark whose annotated pictures are shown.
    """

    source: str

    def jobs(self, setup: Setup) -> tuple[Job, ...]:
        """See `Part`."""
        name = f"estimators side by side, {self.source} pictures"
        candidates = setup.of_set(BODY)
        ground = setup.grounds.get((self.source, BODY))
        if self.source == FREE:
            missing = None if setup.free.get("pictures") else _NO_PICTURES
        else:
            missing = ground.missing if ground else f"the pictures of {self.source}"
        if missing or not candidates:
            missing = "; ".join(filter(None, [None if candidates else _NO_ESTIMATOR, missing]))
            return (Job(name, SCRIPT, (), (FIGURE,), missing=missing),)
        pictures = ("--pictures", setup.free["pictures"]) if self.source == FREE else _annotated(self.source, setup)
        arguments = ("estimators", *pictures, *_estimators(candidates), *setup.common, "--out", Output(FIGURE))
        after = (*_trained(candidates), *(ground.after if ground else ()))
        note = "which pictures are shown is drawn at random; the paper's choice is not known" if ground else ""
        return (Job(name, SCRIPT, arguments, (FIGURE,), after, _weights(candidates), None, 2 * START, note),)


@dataclass(frozen=True)
class StyleSheet(Part):
    """The same pictures in the styles that are there."""

    def jobs(self, setup: Setup) -> tuple[Job, ...]:
        """See `Part`."""
        root = _coco(setup.root) if setup.root and not setup.small else None
        photos = root / "val2017" if root and (root / "val2017").is_dir() else setup.free.get("pictures")
        if photos is None:
            return (Job("style sheet", SCRIPT, (), (FIGURE,), missing=f"COCO (--data.root), or {_NO_PICTURES}"),)
        folders = {"Monet": "val2017oil", "ukiyo-e": "val2017ukiyoe"}
        painted = [Named(name, root / each) for name, each in folders.items() if root and (root / each).is_dir()]
        styles = ["original", *painted, *(("sketch",) if painted else ("oil", "sketch", "posterise"))]
        options = [word for each in styles for word in ("--style", each)]
        note = "" if len(painted) == len(folders) else "filters stand in for the painted styles that are not there"
        arguments = ("styles", "--pictures", photos, *options, "--out", Output(FIGURE))
        return (Job("style sheet", SCRIPT, arguments, (FIGURE,), seconds=START, note=note),)


@dataclass(frozen=True)
class PoseSources(Part):
    """Pictures out of ControlNet, or frames of an animation, from the poses of each estimator.

    Without weights, only the maps of the poses.

    Attributes:
        command: of make_figures.py, "controlnet" or "animation".
        source: what poses are estimated in: "pictures" or "driving".
        weights: names of the weights that generate.
    """

    command: str
    source: str
    weights: tuple[str, ...]

    def jobs(self, setup: Setup) -> tuple[Job, ...]:
        """See `Part`."""
        candidates, place = setup.of_set(BODY), setup.free.get(self.source)
        if not candidates or not place:
            lost = _NO_PICTURES if self.source == "pictures" else "a video of people: give --driving VIDEO"
            missing = "; ".join(filter(None, [None if candidates else _NO_ESTIMATOR, None if place else lost]))
            return (Job(self.command, SCRIPT, (), (FIGURE,), missing=missing),)
        option = "--pictures" if self.source == "pictures" else "--video"
        arguments = ("poses", option, place, *_estimators(candidates), *setup.common, "--out", Output())
        names = [f"{_plain(each.name)}{'' if self.source == 'pictures' else '.pose.npz'}" for each in candidates]
        poses = Job(
            f"poses for {self.command}", SCRIPT, arguments, tuple(names), _trained(candidates), _weights(candidates),
            None, 2 * START,
        )  # fmt: skip
        return (self._figure(setup, poses, candidates, place),)

    def _figure(self, setup: Setup, poses: Job, candidates: Sequence[Candidate], place: Path) -> Job:
        folder = poses.folder(setup.out)
        given = [
            word for each, name in zip(candidates, poses.results, strict=True)
            for word in ("--poses", Named(_plain(each.name), folder / name))
        ]  # fmt: skip
        there = [name for name in self.weights if setup.free.get(name)]
        generate: list[Argument] = []
        for name in there if there == list(self.weights) else ():
            generate += ["--base" if name == "generator" else f"--{name}", setup.free[name]]
        needed = " ".join(f"--{name} DIR" for name in self.weights)
        note = "" if generate else f"only the pose maps: to generate from them, give {needed}"
        source = "--pictures" if self.source == "pictures" else "--driving"
        arguments = (self.command, source, place, *given, *generate, "--out", Output(FIGURE))
        seconds = None if generate else START
        return Job(self.command, SCRIPT, arguments, (FIGURE,), (poses,), {}, None, seconds, note)


def _annotated(benchmark: str, setup: Setup) -> tuple[Argument, ...]:
    """Options of make_figures.py for the annotated pictures of a benchmark."""
    words = setup.grounds[benchmark, BODY].arguments
    given = {str(option): value for option, value in zip(words[::2], words[1::2], strict=False)}
    known = find_benchmark(benchmark)
    root = Path(str(given["--data.root"]))
    root = root / known.folder if (root / known.folder).is_dir() else root
    return (
        "--data.root", root, "--data.annotations", given.get("--annotations", known.annotations[BODY]),
        "--data.images", given.get("--images", known.images or ".."), "--keypoint-set", BODY,
    )  # fmt: skip


def _estimators(candidates: Sequence[Candidate]) -> list[Argument]:
    return [word for each in candidates for word in (each.option, _named(each))]


def _trained(candidates: Sequence[Candidate]) -> tuple[Job, ...]:
    return tuple(job for each in candidates for job in each.after)


def _plain(name: str) -> str:
    """A name that can be a folder's."""
    return re.sub(r"[^\w.-]+", "_", name).strip("_.")


def _coco(root: Path) -> Path:
    return root / "COCO" if (root / "COCO").is_dir() else root


@dataclass(frozen=True)
class Features(Part):
    """analyze_features.py on the SDPose checkpoints of 17 points, and on Stable Diffusion 2 if it is given."""

    def jobs(self, setup: Setup) -> tuple[Job, ...]:
        """See `Part`."""
        candidates = setup.of_set(BODY, checkpoints_only=True)
        data = setup.prepared.get("styles")
        name, results = "feature analysis", (ANALYSIS, "feature_analysis.png")
        if not candidates or not (data or setup.root):
            missing = "an SDPose checkpoint of 17 points (--checkpoint body) and COCO (--data.root)"
            return (Job(name, "analyze_features.py", (), results, missing=missing),)
        networks = [word for each in candidates for word in ("--checkpoint", _named(each))]
        if base := setup.free.get("base"):
            networks += ["--checkpoint", Named("SD2", base)]
        styles, after = _styles(setup)
        common = [word for word in setup.common if word != "--download"]  # its networks are on this machine
        arguments = (*networks, "--random", *styles, *common, "--out", Output())
        after = (*after, *_trained(candidates))
        note = (
            "" if base else "without the column of Stable Diffusion 2: sdpose download sd2-base, then --base sd2-base"
        )
        seconds = _FEW_SECONDS if setup.small else None
        return (Job(name, "analyze_features.py", arguments, results, after, _weights(candidates), None, seconds, note),)


def _named(candidate: Candidate) -> Argument:
    name = _plain(candidate.name)
    return Named(name, candidate.source) if isinstance(candidate.source, Path) else f"{name}={candidate.source}"


def _weights(candidates: Sequence[Candidate]) -> dict[str, object]:
    return {each.name: each.identity for each in candidates}


def _styles(setup: Setup) -> tuple[list[Argument], tuple[Job, ...]]:
    """Options of analyze_features.py for pictures and styles, and the jobs that make them."""
    if setup.small:
        made = {style: setup.prepared[style] for style in ("people", "painted", "sketch")}
        root = made["people"].folder(setup.out)
        folders = [Named(style, (job.folder(setup.out) / "images").absolute()) for style, job in made.items()]
        options: list[Argument] = ["--data.root", root, "--people", "24", "--pooling", "keypoints"]
        return [*options, *(word for each in folders for word in ("--style", each))], tuple(made.values())
    root = _coco(setup.root)
    names = {"photo": "val2017", "ukiyo-e": "val2017ukiyoe", "oil": "val2017oil"}
    there = [f"{name}={folder}" for name, folder in names.items() if (root / folder).is_dir()]
    return ["--data.root", root, *(word for each in [*there, "sketch"] for word in ("--style", each))], ()
