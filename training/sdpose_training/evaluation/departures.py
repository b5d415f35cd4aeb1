"""Every known way in which a measurement differs from the paper's: with any, the figures are not to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdpose_core.skeletons import COCO_WHOLEBODY_133
from sdpose_training.evaluation.protocols import Benchmark
from sdpose_training.evaluation.scored_points import CROWDPOSE_12

PAPER_INPUT = [768, 1024]
PAPER_SCORE = "bbox_keypoint"


def departures(
    benchmark: Benchmark | None, keypoint_set: str, settings: Mapping[str, Any], counts: Mapping[str, int]
) -> list[str]:
    """Differences from the paper's protocol and data, as phrases; none if the figures may be compared.

    Args:
        benchmark: None if unknown.
        keypoint_set: name of the scored one.
        settings: of the result: "predictor" is missing for predictions from a file.
        counts: of the result.
    """
    if benchmark is None:
        return ["no benchmark of the paper"]
    found = [] if keypoint_set in benchmark.paper else [_not_in_the_paper(benchmark, keypoint_set)]
    return [*found, *_data(benchmark, keypoint_set, settings, counts), *_protocol(settings)]


def _not_in_the_paper(benchmark: Benchmark, keypoint_set: str) -> str:
    points = "133 points" if keypoint_set == COCO_WHOLEBODY_133.name else keypoint_set
    return f"the paper has no figures for {benchmark.name}" + (f" with {points}" if benchmark.paper else "")


def _data(benchmark: Benchmark, keypoint_set: str, settings: Mapping[str, Any], counts: Mapping[str, int]) -> list[str]:
    """Other boxes, pictures, annotations or keypoints."""
    boxes = Path(benchmark.boxes).name if benchmark.boxes else "ground truth"
    usual = {Path(file).name for file in benchmark.annotations.values()}
    annotations, images = settings.get("annotations"), settings.get("images")
    painted, whole = settings.get("painted"), benchmark.pictures
    name = benchmark.name
    found = {
        f"boxes: {settings.get('boxes')}": settings.get("boxes", boxes) != boxes,
        f"annotations: {annotations}": annotations is not None and annotations not in usual,
        f"pictures: {images}": bool(images and benchmark.images) and Path(images).name != Path(benchmark.images).name,
        f"pictures painted by make_coco_ood.py ({painted}), not the published ones": bool(painted),
        f"{counts.get('pictures', 0):,} of {whole:,} pictures" if whole else "": (
            bool(whole) and counts.get("pictures") != whole
        ),
        f"the first {settings.get('pictures')} pictures": not whole and settings.get("pictures") is not None,
        f"12 of {name}'s 14 points: COCO has neither its head nor its neck": keypoint_set == CROWDPOSE_12.name,
    }
    return [text for text, applies in found.items() if applies]


def _protocol(settings: Mapping[str, Any]) -> list[str]:
    """Another way to predict, to score a person, or to leave out duplicates."""
    predicted = settings.get("predictor", {}).get("settings", {})
    size = predicted.get("input_size", PAPER_INPUT)
    unknown = "predictor" not in settings
    found = {
        "predictions from a file: their boxes, crops and flip test are not known": unknown,
        "no flip test": predicted.get("flip_test") is False,
        f"crops cut as {predicted.get('crop')}": predicted.get("crop", "affine") != "affine",
        f"crops of {size[0]} x {size[1]}": list(size) != PAPER_INPUT,
        f"NMS: {settings.get('nms')}": settings.get("nms", "oks") != "oks",
        f"score: {settings.get('score_mode')}": settings.get("score_mode", PAPER_SCORE) != PAPER_SCORE,
        "an approximation": bool(predicted.get("approximations")),
    }
    return [text for text, applies in found.items() if applies]
