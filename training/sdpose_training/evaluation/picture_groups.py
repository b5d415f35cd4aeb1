"""Groups of a benchmark's pictures that are scored by themselves: scenarios of HumanArt, crowding, overlap."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np

from sdpose_core.coco.annotations import Coco, CocoImage
from sdpose_training.evaluation.picture_matches import PictureMatches

log = logging.getLogger(__name__)

SCENARIOS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "real_human": ("acrobatics", "cosplay", "dance", "drama", "movie"),
    "2D_virtual_human": (
        "cartoon", "digital_art", "ink_painting", "kids_drawing", "mural", "oil_painting", "shadow_play", "sketch",
        "stained_glass", "ukiyoe", "watercolor",
    ),
    "3D_virtual_human": ("garage_kits", "relief", "sculpture"),
})  # fmt: skip
"""HumanArt's folders of pictures, and in each its scenarios: 5 natural and 14 artificial ones."""

_SCENES = {
    "real_human": ("natural",), "2D_virtual_human": ("artificial", "artificial 2D"),
    "3D_virtual_human": ("artificial", "artificial 3D"),
}  # fmt: skip

CROWDING = (("easy", 0.2), ("medium", 0.8), ("hard", float("inf")))
"""Levels of CrowdPose's own evaluation, and the crowd index at which the next one begins."""

HEAVY_OVERLAP = 0.75
"""OCHuman's authors call a person hard whose box overlaps another one by more. Here it divides pictures, not people."""

Places = Iterator[tuple[str, str]]
"""(grouping, group) of a picture."""


def _humanart(image: CocoImage, _: list[np.ndarray]) -> Places:
    parts = PurePosixPath(str(image.file_name)).parts[:-1]
    name = str(image.entry.get("category") or (parts[-1] if parts else "")).strip().lower().replace(" ", "_")
    kind = next((kind for kind, names in SCENARIOS.items() if kind in parts or name in names), None)
    if kind is None:
        return
    for scene in _SCENES[kind]:
        yield "scene", scene
    yield "scenario", name.replace("_", " ")


def _crowdpose(image: CocoImage, _: list[np.ndarray]) -> Places:
    index = image.entry.get("crowdIndex")
    if isinstance(index, int | float):
        yield "crowding", next(level for level, below in CROWDING if index < below)


def _ochuman(_: CocoImage, boxes: list[np.ndarray]) -> Places:
    overlaps = [_overlap(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    if overlaps:
        yield "overlap", f"{'above' if max(overlaps) > HEAVY_OVERLAP else 'up to'} {HEAVY_OVERLAP}"


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """IoU of two boxes (x, y, w, h)."""
    ends = np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    shared = np.prod(np.maximum(ends - np.maximum(first[:2], second[:2]), 0))
    union = np.prod(first[2:]) + np.prod(second[2:]) - shared
    return float(shared / union) if union > 0 else 0.0


GROUPINGS: Mapping[str, Callable[[CocoImage, list[np.ndarray]], Places]] = MappingProxyType(
    {"humanart": _humanart, "crowdpose": _crowdpose, "ochuman": _ochuman}
)
_ORDER = (
    "natural", "artificial", "artificial 2D", "artificial 3D",
    *(name.replace("_", " ") for names in SCENARIOS.values() for name in names), *(level for level, _ in CROWDING),
    f"up to {HEAVY_OVERLAP}", f"above {HEAVY_OVERLAP}",
)  # fmt: skip


def picture_groups(coco: Coco, kind: str) -> dict[str, dict[str, list[Any]]]:
    """Grouping -> group -> picture ids, in the order of the benchmark; a picture may be in several groupings.

    Args:
        coco: annotations.
        kind: one of `GROUPINGS`.

    Pictures that the file puts in no group are counted in the log.
    """
    boxes: dict[Any, list[np.ndarray]] = {}
    for each in coco.annotations:
        if isinstance(box := each.entry.get("bbox"), list | tuple) and len(box) == 4:
            boxes.setdefault(each.image.id, []).append(np.asarray(box, float))
    groups: dict[str, dict[str, list[Any]]] = {}
    nowhere = 0
    for key, image in coco.images.items():
        places = list(GROUPINGS[kind](image, boxes.get(key, [])))
        nowhere += not places
        for grouping, group in places:
            groups.setdefault(grouping, {}).setdefault(group, []).append(key)
    if nowhere:
        log.warning("%d of %d pictures are in no group of %s: nothing says which", nowhere, len(coco.images), kind)
    return {
        grouping: dict(sorted(found.items(), key=lambda each: _place(each[0]))) for grouping, found in groups.items()
    }


def _place(group: str) -> tuple[int, str]:
    return (_ORDER.index(group) if group in _ORDER else len(_ORDER)), group


def group_figures(
    matches: PictureMatches, groups: Mapping[str, Mapping[str, list[Any]]]
) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Grouping -> group -> figures as fractions (None: nobody counts), "pictures" and "annotated_people"."""
    result: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for grouping, found in groups.items():
        for group, pictures in found.items():
            weights = matches.weights_of(pictures)
            figures = {name: None if np.isnan(v) else v for name, v in matches.figures(weights).items()}
            counts = {"pictures": len(pictures), "annotated_people": int(weights @ matches.people)}
            result.setdefault(grouping, {})[group] = {**figures, **counts}
    return result
