"""The benchmarks of the paper: their pictures, annotations, boxes and keypoints, and the paper's figures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from sdpose_core.coco.annotations import Coco
from sdpose_core.coco.boxes import FORMATS, read_boxes
from sdpose_core.coco.files import picture_paths
from sdpose_core.errors import InputError, restated
from sdpose_core.files import sha256_of
from sdpose_core.resumable import read_settings
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KEYPOINT_SETS, KeypointSet
from sdpose_core.texts import read_json
from sdpose_training.data.annotations import read_annotations, read_people
from sdpose_training.data.keypoint_sets import find_keypoint_set
from sdpose_training.data.pictures import read_picture
from sdpose_training.data.truth import read_truth
from sdpose_training.evaluation.paper_tables import PaperRow, ablation_row, sdpose_row
from sdpose_training.evaluation.scored_points import CROWDPOSE_12, CROWDPOSE_14, SCORED_SETS, as_crowdpose
from sdpose_training.recipe.recipe import FROM_ANNOTATIONS

log = logging.getLogger(__name__)

PAINTED = "make_coco_ood.json"
"""In a folder of pictures, says that make_coco_ood.py made them."""

BODY, WHOLEBODY = COCO_17.name, COCO_WHOLEBODY_133.name

CORRUPTION = "coco-ood-corruption"
"""The benchmark that evaluates many times, see `robustness`; its pictures are the clean ones."""

_BODY_FILE = "annotations/person_keypoints_val2017.json"
_WHOLEBODY_FILE = "annotations/coco_wholebody_val_v1.0.json"
_COCO_BOXES = "person_detection_results/COCO_val2017_detections_AP_H_70_person.json"

_GET_COCO = "pictures and annotations: https://cocodataset.org/#download"
_GET_WHOLEBODY = "annotations: https://github.com/jin-s13/COCO-WholeBody"
_GET_BOXES = "boxes: person_detection_results of https://huggingface.co/noahcao/sapiens-pose-coco"
_GET_HUMANART = "https://idea-research.github.io/HumanArt/ (on request)"
_GET_OCHUMAN = "https://github.com/liruilong940607/OCHumanApi (form of the download)"
_GET_CROWDPOSE = "https://github.com/Jeff-sjtu/CrowdPose; its own crowdpose_test.json is fine for --annotations"
_GET_CROWD_BOXES = "boxes: MMPose's page of CrowdPose, or --ground-truth-boxes"
_GET_OOD = "https://github.com/T-S-Liang/SDPose-OOD (val2017oil), or make the pictures with make_coco_ood.py"


@dataclass(frozen=True)
class Benchmark:
    """A named benchmark and its files.

    Attributes:
        name: the value of `--benchmark`.
        folder: of the files inside `--data.root`, which may also be this folder itself.
        images: folder of the pictures.
        annotations: keypoint set -> file; the first is the default.
        boxes: file of detections, all of which are used; None: ground-truth boxes with score 1.
        pictures: number of all pictures, None if unknown.
        where: how to get the files.
        paper: keypoint set -> the paper's figures.
        grouping: kind of `picture_groups` that are scored by themselves, None for none.
    """

    name: str
    folder: str
    images: str
    annotations: Mapping[str, str]
    boxes: str | None = None
    pictures: int | None = None
    where: tuple[str, ...] = ()
    paper: Mapping[str, PaperRow] = field(default_factory=dict)
    grouping: str | None = None

    def prepared(self, content: dict[str, Any], keypoint_set: KeypointSet) -> dict[str, Any]:
        """Parsed annotations as this benchmark scores them."""
        return as_crowdpose(content, keypoint_set) if CROWDPOSE_14.name in self.annotations else content


def _coco_ood(name: str, images: str, domain: str) -> Benchmark:
    body, wholebody = sdpose_row(domain), sdpose_row(f"{domain} (133)")
    if other := _first_level(domain):
        body = replace(body, source=f"{body.source}; Table 2 has {other} for F1 and these for F2")
    return Benchmark(
        name, "COCO", images, {BODY: _BODY_FILE, WHOLEBODY: _WHOLEBODY_FILE}, _COCO_BOXES, 5000,
        (_GET_OOD, _GET_COCO, _GET_BOXES), {BODY: body, WHOLEBODY: wholebody},
    )  # fmt: skip


def _ochuman(name: str, split: str, pictures: int) -> Benchmark:
    file = f"annotations/ochuman_coco_format_{split}_range_0.00_1.00.json"
    return Benchmark(name, "OCHuman", "images", {BODY: file}, None, pictures, (_GET_OCHUMAN,), grouping="ochuman")


def _first_level(domain: str) -> str:
    """AP / AR that table 2 has for level F1, "" if it does not have the domain."""
    figures = ablation_row("body, F1").get(domain.removeprefix("COCO-OOD "))
    return " / ".join(map(str, figures)) if figures else ""


_ALL = (
    Benchmark(
        "coco", "COCO", "val2017", {BODY: _BODY_FILE}, _COCO_BOXES, 5000, (_GET_COCO, _GET_BOXES),
        {BODY: sdpose_row("COCO")},
    ),
    Benchmark("coco-gt-boxes", "COCO", "val2017", {BODY: _BODY_FILE}, None, 5000, (_GET_COCO,)),
    _ochuman("ochuman", "test", 2231),
    _ochuman("ochuman-val", "val", 2500),
    Benchmark(
        "crowdpose", "crowdpose", "images",
        dict.fromkeys((CROWDPOSE_14.name, CROWDPOSE_12.name), "annotations/mmpose_crowdpose_test.json"),
        "annotations/det_for_crowd_test_0.1_0.5.json", 8000, (_GET_CROWDPOSE, _GET_CROWD_BOXES), grouping="crowdpose",
    ),
    Benchmark(
        "coco-wholebody", "COCO", "val2017", {WHOLEBODY: _WHOLEBODY_FILE}, _COCO_BOXES, 5000,
        (_GET_COCO, _GET_WHOLEBODY, _GET_BOXES), {WHOLEBODY: sdpose_row("COCO-WholeBody")},
    ),
    Benchmark(
        "humanart", "HumanArt", "", {BODY: "annotations/validation_humanart.json"}, None, None, (_GET_HUMANART,),
        {BODY: sdpose_row("HumanArt")}, "humanart",
    ),
    _coco_ood("coco-ood-monet", "val2017oil", "COCO-OOD Monet"),
    _coco_ood("coco-ood-ukiyoe", "val2017ukiyoe", "COCO-OOD Ukiyo-e"),
    Benchmark(
        CORRUPTION, "COCO", "val2017", {BODY: _BODY_FILE, WHOLEBODY: _WHOLEBODY_FILE}, _COCO_BOXES, 5000,
        (_GET_COCO, _GET_WHOLEBODY, _GET_BOXES),
    ),
    Benchmark("custom", "", "images", {"": "annotations/val.json"}),
)  # fmt: skip

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType({benchmark.name: benchmark for benchmark in _ALL})


@dataclass(frozen=True)
class Places:
    """Where the user keeps the files, and which of them to use.

    Attributes:
        annotations, images, boxes: relative to `root`, or absolute; None: the benchmark's.
        ground_truth_boxes: use them even if the benchmark has a file of boxes.
        pictures: evaluate only the first N; None: all.
    """

    root: Path
    annotations: str | None = None
    images: str | None = None
    boxes: str | None = None
    ground_truth_boxes: bool = False
    pictures: int | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """A benchmark with its files read: N boxes in which to find people.

    Attributes:
        keypoint_set: what is scored.
        content: parsed annotations.
        files, sizes: image id -> picture, and (w, h) as annotated, where known.
        boxes_xyxy, box_scores, image_ids: (N, 4) float32 pixels, (N,) float64, (N,).
        annotations, boxes, images: the files (boxes: None for ground truth), and the folder of the pictures.
    """

    benchmark: Benchmark
    keypoint_set: KeypointSet
    content: Mapping[str, Any]
    files: Mapping[Any, Path]
    sizes: Mapping[Any, tuple[int, int]]
    boxes_xyxy: np.ndarray
    box_scores: np.ndarray
    image_ids: tuple[Any, ...]
    annotations: Path
    boxes: Path | None
    images: Path

    def painted(self) -> str:
        """Style in which make_coco_ood.py painted the pictures, "" if nothing says so."""
        made = (read_settings(self.images / PAINTED) or {}).get("settings")
        return str(made.get("style", "an unknown style")) if isinstance(made, Mapping) else ""

    def digests(self) -> dict[str, str | None]:
        """SHA-256 of the annotations and of the file of boxes (None: ground-truth boxes)."""
        boxes = sha256_of(self.boxes) if self.boxes else None
        return {"annotations": sha256_of(self.annotations), "boxes": boxes}

    def picture(self, image_id: Any) -> np.ndarray:
        """RGB uint8 (H, W, 3); `InputError` if it cannot be read, or has another size than annotated."""
        return read_picture(self.files[image_id], self.sizes.get(image_id))

    def origin(self) -> dict[str, Any]:
        """How the pictures were made from the files, as settings of a run; {} if they are the files."""
        return {}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of this name; `InputError` lists the known ones."""
    if name not in BENCHMARKS:
        raise InputError(f"unknown benchmark {name!r}: choose one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def scored_set(benchmark: Benchmark, predicted: str) -> str:
    """Name of the keypoint set to score: the predicted one, or its body.

    Raises `InputError` if the benchmark has no annotations for it.
    """
    if "" in benchmark.annotations or predicted in benchmark.annotations:
        return predicted
    if predicted == WHOLEBODY and BODY in benchmark.annotations:
        return BODY
    fits = [b.name for b in _ALL if predicted in b.annotations]
    if CROWDPOSE_14.name in benchmark.annotations:
        return CROWDPOSE_12.name if predicted in KEYPOINT_SETS else CROWDPOSE_14.name
    raise InputError(
        f"{benchmark.name} has annotations of {', '.join(benchmark.annotations)}, the model predicts {predicted!r}: "
        f"choose {' or '.join(fits) or 'the benchmark custom'}"
    )


def load_task(benchmark: Benchmark, places: Places, predicted: str, keypoint_set: str | None = None) -> Task:
    """Find and read a benchmark's files.

    Args:
        benchmark: of the table.
        places: where to look.
        predicted: keypoint set of the predictor.
        keypoint_set: for "custom": a known name, a TOML file or "annotations"; None: the set that the annotations name,
            else the predictor's.

    Raises `InputError`: a file is missing, with how to get it, or of another kind.
    """
    scored = scored_set(benchmark, predicted)
    if not places.root.is_dir():
        raise InputError(f"--data.root {places.root}: no such folder")
    inside = places.root / benchmark.folder
    root = inside if inside.is_dir() else places.root
    usual = benchmark.annotations.get(scored) or next(iter(benchmark.annotations.values()))
    annotations = _expected(root, places.annotations or usual, "annotations", benchmark)
    content = _first_pictures(read_annotations(annotations), places.pictures)
    points = _custom_set(content, keypoint_set, scored) if "" in benchmark.annotations else SCORED_SETS[scored]
    content = benchmark.prepared(content, points)
    images = _expected(root, benchmark.images if places.images is None else places.images, "images", benchmark)
    boxes = None if places.ground_truth_boxes else places.boxes or benchmark.boxes
    file = _expected(root, boxes, "boxes", benchmark) if boxes else None
    coco = Coco.of(content)
    files = picture_files(coco, images, annotations, f"{benchmark.folder}/" if benchmark.folder else "")
    with restated(annotations):
        sizes = coco.sizes()
    _check_predicted(predicted, points, annotations)
    read_truth(coco, points)  # raises for what cannot be scored, before the hours of prediction
    columns = _detections(file, coco, sizes, places.pictures) if file else _ground_truth(content, images, points)
    return Task(benchmark, points, content, files, sizes, *columns, annotations, file, images)


def picture_files(coco: Coco, folder: Path, annotations: Path, prefix: str = "") -> dict[Any, Path]:
    """Image id -> picture, also under a name that means the same; `InputError` for an entry without id or file_name."""
    if problems := [*coco.problems, *coco.without_name()]:
        raise InputError(f"{annotations}: {problems[0]}")
    names = [str(image.file_name).removeprefix(prefix) for image in coco.images.values()]
    return dict(zip(coco.images, picture_paths(names, folder), strict=True))


def check_pictures(files: Mapping[Any, Path]) -> None:
    """Raise `InputError` if a picture is missing."""
    if absent := [path for path in files.values() if not path.is_file()]:
        raise InputError(
            f"{len(absent)} of {len(files)} pictures are missing, such as {absent[0]}: give their folder with --images"
        )


def _check_predicted(predicted: str, scored: KeypointSet, annotations: Path) -> None:
    """Raise `InputError` for another keypoint set; the body of a whole body is COCO's 17 points."""
    same = predicted == scored.name or (predicted, scored.name) == (WHOLEBODY, BODY)
    if not same and len(scored) in {len(each) for each in KEYPOINT_SETS.values()}:
        raise InputError(
            f"the model predicts {predicted!r}, but {annotations} has {scored.name!r}: give the right set with "
            "--keypoint-set"
        )


def _expected(root: Path, place: str, what: str, benchmark: Benchmark) -> Path:
    path = root / place
    if path.is_dir() if what == "images" else path.is_file():
        return path
    where = "".join(f"; {line}" for line in benchmark.where)
    raise InputError(f"{benchmark.name}: no {what} at {path}: put them there, or give their place with --{what}{where}")


def _first_pictures(content: dict[str, Any], count: int | None) -> dict[str, Any]:
    if count is None:
        return content
    first = {**content, "images": content["images"][:count]}
    return {**first, "annotations": [each.entry for each in Coco.of(first).annotations]}


def _custom_set(content: Mapping[str, Any], name: str | None, predicted: str) -> KeypointSet:
    categories: Sequence[Mapping[str, Any]] = content.get("categories", ())
    named = any(category.get("keypoints") for category in categories)
    if name is None and predicted == WHOLEBODY and "foot_kpts" in next(iter(content["annotations"]), ()):
        return COCO_WHOLEBODY_133  # its files name only the 17 points of the body
    if name is None and not named:
        return find_keypoint_set(predicted, categories)
    return find_keypoint_set(name or FROM_ANNOTATIONS, categories)


def _ground_truth(
    content: Mapping[str, Any], images: Path, keypoint_set: KeypointSet
) -> tuple[np.ndarray, np.ndarray, tuple]:
    """Boxes of the labeled people, clipped to the picture, with score 1."""
    people, problems = read_people(content, images, keypoint_set)
    for problem in problems:
        log.warning("left out: %s", problem)
    return people.boxes_xyxy, np.ones(len(people)), tuple(people.image_ids.tolist())


def _detections(
    path: Path, coco: Coco, sizes: Mapping[Any, tuple[int, int]], pictures: int | None
) -> tuple[np.ndarray, np.ndarray, tuple]:
    """All people of a file of boxes, without a threshold."""
    found = read_boxes(read_json(path, FORMATS), str(path))
    for note in found.notes:
        log.warning("%s: %s", path, note)
    if found.single:
        raise InputError(f"{path} lists boxes for one picture: expected boxes with the ids or names of the pictures")
    ids = coco.ids_of(found.names)
    inside = [row for row in found.rows if row.picture in ids]
    if len(inside) < len(found.rows) and pictures is None:
        left = len(found.rows) - len(inside)
        log.warning("%d of %d boxes are left out: their pictures are not annotated", left, len(found.rows))
    if not inside:
        raise InputError(
            f"{path}: none of its {len(found.rows)} boxes is in an annotated picture: expected boxes for these "
            "annotations"
        )
    image_ids = tuple(ids[row.picture] for row in inside)
    boxes = np.stack([row.box_xyxy for row in inside])
    if found.are_shares:
        log.warning("%s: the boxes are from 0 to 1: taken as shares of the width and height of the picture", path)
        if unknown := [i for i in image_ids if i not in sizes]:
            raise InputError(f"{path}: the boxes are from 0 to 1, and picture {unknown[0]!r} has no width and height")
        boxes = boxes * np.asarray([[*sizes[i], *sizes[i]] for i in image_ids], np.float32)
    return boxes, np.asarray([row.score for row in inside]), image_ids
