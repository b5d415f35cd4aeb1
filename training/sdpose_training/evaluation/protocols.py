"""The benchmarks: their pictures, annotations, boxes and keypoints, and the paper's figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KEYPOINT_SETS, KeypointSet
from sdpose_training.evaluation.paper_tables import PaperRow, ablation_row, sdpose_row
from sdpose_training.evaluation.scored_points import CROWDPOSE_12, CROWDPOSE_14, as_crowdpose

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
