"""The small run: a few photos, synthetic people, the embedded preview and tiny weights instead of the paper's.

It shows in minutes that every part runs. None of its figures may be compared with the paper's.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdpose_core.coco.annotations import Coco
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_path, atomic_write, sha256_of
from sdpose_core.names import path_inside
from sdpose_core.texts import read_json
from sdpose_training.data.annotations import read_annotations
from sdpose_training.evaluation.protocols import BODY, CORRUPTION, WHOLEBODY
from sdpose_training.reproduction.claims import OTHERS
from sdpose_training.reproduction.jobs import SCRIPTS, Argument, Job, Output
from sdpose_training.reproduction.parts import TABLE
from sdpose_training.reproduction.setup import CHECKPOINT, PEER, Candidate, Ground

NOTICE = "small: not the paper's protocol, not to be compared"

PICTURES = 4
PEOPLE, HELD_OUT = 200, 24

LAYOUTS = (
    ("annotations/person_keypoints_val2017.json", "annotations/coco_wholebody_val_v1.0.json", "val2017",
     "person_detection_results/COCO_val2017_detections_AP_H_70_person.json"),
    ("test_coco.json", "test_coco_wholebody.json", ".", "test_coco_det_AP_H_56.json"),
)  # fmt: skip
"""Annotations of bodies and of whole bodies, pictures, boxes: in COCO's folder, and in a folder of a few samples."""

SAMPLES = "samples"
"""Folder of the photos in the output folder."""

BEST = "weights/best.safetensors"
_STYLES = {"coco-ood-monet": "oil", "coco-ood-ukiyoe": "posterise"}
_SECONDS = {
    "people": 30,
    "painted": 15,
    "sketch": 15,
    "body": 130,
    "wholebody": 60,
    "prior": 40,
    "arms": 120,
    "style": 5,
}
"""CPU seconds of the jobs on a slow core, for the table of what runs."""


def prepare(root: Path | None, out: Path, given: frozenset[str]) -> tuple[dict[str, Job], tuple[Candidate, ...]]:
    """The jobs that make people, tiny weights and the ablation, by name; and the estimators they give.

    `given` has the keypoint sets of checkpoints of the user, which are not trained then.
    """
    jobs = {"people": _people("shaded"), "painted": _people("painted"), "sketch": _people("sketch")}
    jobs["styles"] = jobs["people"]
    jobs["body"] = body = _training("tiny SDPose, 17 points", jobs["people"], out, (800, 800, 400), _SECONDS["body"])
    candidates = [Candidate(PEER, "preview", "preview (MoveNet Thunder)", BODY, 0.1)]
    if BODY not in given:
        candidates.append(Candidate(CHECKPOINT, body.folder(out) / BEST, "SDPose, tiny", BODY, 0.2, after=(body,)))
    if WHOLEBODY not in given:
        more = ("--data.keypoint-set", WHOLEBODY, "--model.base", body.folder(out) / BEST)
        name = "tiny SDPose, 133 points"
        whole = _training(name, jobs["people"], out, (8, 8, 240), _SECONDS["wholebody"], more, (body,))
        jobs["wholebody"] = whole
        candidates.append(
            Candidate(CHECKPOINT, whole.folder(out) / BEST, "SDPose, tiny", WHOLEBODY, 0.3, after=(whole,))
        )
    jobs["ablations_body.toml"] = _ablation(jobs, out)
    return jobs, tuple(candidates)


def _people(style: str) -> Job:
    count = PEOPLE if style == "shaded" else 1
    arguments = (
        "--count",
        str(count),
        "--val",
        str(HELD_OUT),
        "--style",
        style,
        "--people",
        "1",
        "--hidden-face",
        "omit",
    )
    name = f"synthetic people, {style}"
    seconds = _SECONDS["people" if style == "shaded" else style]
    return Job(
        name, "make_synthetic_people.py", (*arguments, "--out", Output()), ("annotations/val.json",), seconds=seconds
    )


def _training(
    name: str, people: Job, out: Path, samples: tuple[int, ...], seconds: float, more: tuple[Argument, ...] = (),
    after: tuple[Job, ...] = (),
) -> Job:  # fmt: skip
    """A short run of `synthetic_cpu`, validated once at its end."""
    steps = sum(samples) // 8
    arguments: tuple[Argument, ...] = (
        "--recipe", SCRIPTS / "recipes" / "synthetic_cpu.toml", "--data.root", people.folder(out),
        *(word for k, count in enumerate(samples) for word in (f"--stages.{k}.samples", str(count))),
        "--validation.every", str(steps), "--log.pictures-every", "0", "--hardware.workers", "0", *more,
        "--resume", "auto", "--out", Output(),
    )  # fmt: skip
    return Job(name, "train.py", arguments, (BEST,), (people, *after), seconds=seconds)


def _ablation(jobs: Mapping[str, Job], out: Path) -> Job:
    """A few arms of table 2 with a tiny prior, which has the encoder of the tiny weights."""
    people, body, recipes = jobs["people"].folder(out), jobs["body"], SCRIPTS / "recipes"
    prior = Job(
        "tiny prior", "make_tiny_prior.py",
        ("--recipe", recipes / "synthetic_ablation.toml", "--pictures", people / "images", "--encoder",
         body.folder(out) / BEST, "--unet-samples", "400", "--out", Output()),
        ("unet/config.json",), (jobs["people"], body), seconds=_SECONDS["prior"],
    )  # fmt: skip
    arguments: tuple[Argument, ...] = (
        "--list", recipes / "ablations_synthetic.toml", "--data.root", people, "--model.base", prior.folder(out),
        "--test", f"painted={jobs['painted'].folder(out)}", "--only", "full", "no_rgb", "scratch", "--seeds", "0",
        "--stages.0.samples", "240", "--stages.1.samples", "160", "--out", Output(),
    )  # fmt: skip
    note = "tiny models on synthetic people, 400 samples for each arm"
    after = (prior, jobs["people"], jobs["painted"])
    return Job("ablation, tiny", "ablate.py", arguments, (TABLE,), after, seconds=_SECONDS["arms"], note=note)


def grounds(root: Path | None, out: Path, jobs: dict[str, Job]) -> dict[tuple[str, str], Ground]:
    """The stand-ins for the files of every benchmark; without `root`, all are synthetic people."""
    painted = jobs["painted"]
    places = ("--data.root", painted.folder(out), "--annotations", "annotations/val.json", "--images", "images")
    note = f"{HELD_OUT} painted synthetic people instead of HumanArt"
    found = {("humanart", BODY): Ground(places, HELD_OUT, after=(painted,), note=note)}
    samples = copy_samples(root, out / SAMPLES) if root else None
    for name in (CORRUPTION, *OTHERS):
        found[name, BODY] = _few_people(samples) if samples else _of_people(out, jobs)
    found["crowdpose", BODY] = Ground(missing="the small run has nothing with the 14 points of CrowdPose")
    for keypoint_set in (BODY, WHOLEBODY):
        for benchmark in ("coco" if keypoint_set == BODY else "coco-wholebody", *_STYLES):
            key = benchmark, keypoint_set
            found[key] = _of_photos(samples, key, jobs, out) if samples else _of_people(out, jobs)
    return found


def _of_people(out: Path, jobs: Mapping[str, Job]) -> Ground:
    people = jobs["people"]
    arguments = (
        "--data.root", people.folder(out), "--annotations", "annotations/val.json", "--images", "images",
        "--ground-truth-boxes",
    )  # fmt: skip
    note = f"{HELD_OUT} synthetic people with annotated boxes, as no COCO pictures were given"
    return Ground(arguments, HELD_OUT, after=(people,), note=note)


def pictures(root: Path | None, out: Path) -> dict[str, Path]:
    """The photos, as free pictures for the figures."""
    return {"pictures": out / SAMPLES / LAYOUTS[0][2]} if root else {}


def _few_people(samples: Mapping[str, Any]) -> Ground:
    """The annotated people of the photos, for what is estimated many times."""
    note = f"{samples['pictures']} photos of 5,000, annotated boxes"
    files = ("--annotations", LAYOUTS[0][0], "--images", LAYOUTS[0][2])
    arguments = ("--data.root", samples["folder"], *files, "--ground-truth-boxes")
    return Ground(arguments, samples["people"], samples["hashes"], note=note)


def _of_photos(samples: Mapping[str, Any], key: tuple[str, str], jobs: dict[str, Job], out: Path) -> Ground:
    """Photos for COCO; for COCO-OOD, the same photos through a filter of ours."""
    benchmark, keypoint_set = key
    boxes = samples["boxes"]
    arguments: tuple[Argument, ...] = ("--data.root", samples["folder"], "--boxes", boxes)
    note, after = f"{NOTICE}: {samples['pictures']} photos of 5,000, boxes of {Path(boxes).name}", ()
    if style := _STYLES.get(benchmark):
        job = jobs.setdefault(f"photos, {style}", _styled(samples, style))
        arguments, after = (*arguments, "--images", job.result(out).absolute()), (job,)
        note += f", painted by the filter {style} instead of a network"
    if keypoint_set == WHOLEBODY and not samples["wholebody"]:
        return Ground(arguments, missing="annotations of COCO-WholeBody: https://github.com/jin-s13/COCO-WholeBody")
    return Ground(arguments, samples["count"], samples["hashes"], None, after, note)


def _styled(samples: Mapping[str, Any], style: str) -> Job:
    arguments = ("--style", style, "--data.root", samples["folder"], "--out", Output())
    return Job(
        f"photos, {style}", "make_coco_ood.py", arguments, (f"val2017filter_{style}",),
        identity=samples["hashes"], seconds=_SECONDS["style"],
    )  # fmt: skip


def copy_samples(root: Path, folder: Path) -> dict[str, Any]:
    """A COCO folder with the first `PICTURES` annotated photos of `root`, their annotations and boxes.

    Returns "folder", "boxes" (relative to it), the counts "pictures", "count" (of boxes) and "people", "wholebody"
    (whether there are such annotations), "hashes". Raises `InputError` if `root` has none of the `LAYOUTS`.
    """
    found = [(place, each) for place in (root / "COCO", root) for each in LAYOUTS if (place / each[0]).is_file()]
    if not found:
        expected = " or ".join(each[0] for each in LAYOUTS)
        raise InputError(f"--data.root {root}: expected {expected} in it; without --data.root, people are synthetic")
    place, (body, whole, pictures, boxes) = found[0]
    content = Coco.of(read_annotations(place / body))
    people = [each.entry["image_id"] for each in content.annotations if each.entry.get("num_keypoints")]
    chosen = {key: image.file_name for key, image in content.images.items() if key in people}
    chosen = dict(list(chosen.items())[:PICTURES])
    files = {LAYOUTS[0][0]: place / body, LAYOUTS[0][1]: place / whole}
    for name, source in files.items():
        if source.is_file():
            _write(folder / name, _subset(read_annotations(source), set(chosen)))
    target = f"person_detection_results/{Path(boxes).name}"
    if not (place / boxes).is_file():
        raise InputError(f"--data.root {root}: no boxes at {place / boxes}")
    inside = [box for box in read_json(place / boxes, "a list of boxes", list) if box["image_id"] in chosen]
    _write(folder / target, inside)
    for name in chosen.values():
        _copy(path_inside(place / pictures, name, f"{body}: the file name"), folder / "val2017" / name)
    hashes = {name: sha256_of(folder / name) for name in (*files, target) if (folder / name).is_file()}
    return {
        "folder": folder, "boxes": target, "pictures": len(chosen), "count": len(inside),
        "wholebody": (place / whole).is_file(), "people": sum(key in chosen for key in people), "hashes": hashes,
    }  # fmt: skip


def _subset(content: Mapping[str, Any], ids: set[Any]) -> dict[str, Any]:
    images = [image for image in content["images"] if image["id"] in ids]
    annotations = [each for each in content["annotations"] if each["image_id"] in ids]
    return {**content, "images": images, "annotations": annotations}


def _write(path: Path, content: Any) -> None:
    with atomic_write(path, "w") as file:
        json.dump(content, file)


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        with atomic_path(target) as new:
            shutil.copyfile(source, new)
