"""Keypoint sets that benchmarks score, and which of the predicted points they are.

CrowdPose annotates 14 points: COCO's twelve of the limbs, the head, and the neck. COCO has neither of the last two, and
points made up for them (the middle of the shoulders) would be measured against another definition. So models with
COCO's points are scored on the twelve, and the result is not to be compared with published figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KEYPOINT_SETS, KeypointSet

_LIMBS = COCO_17.names[5:]
_LIMB_LINKS = tuple((a - 5, b - 5) for a, b in COCO_17.links if min(a, b) >= 5)
_LIMB_PAIRS = tuple((left - 5, right - 5) for left, right in COCO_17.flip_pairs if left >= 5)

CROWDPOSE_14 = KeypointSet(
    "crowdpose_14", (*_LIMBS, "head", "neck"), (*_LIMB_LINKS, (12, 13), (13, 0), (13, 1)), _LIMB_PAIRS,
    (*COCO_17.sigmas[5:], 0.079, 0.079),
)  # fmt: skip
"""Order and sigmas of CrowdPose's own evaluation (github.com/Jeff-sjtu/CrowdPose)."""

CROWDPOSE_12 = KeypointSet("crowdpose_12", _LIMBS, _LIMB_LINKS, _LIMB_PAIRS, COCO_17.sigmas[5:])
"""The points that CrowdPose and COCO share."""

SCORED_SETS: Mapping[str, KeypointSet] = MappingProxyType(
    {**KEYPOINT_SETS, CROWDPOSE_14.name: CROWDPOSE_14, CROWDPOSE_12.name: CROWDPOSE_12}
)

BOX_SHARE = 0.53
"""CrowdPose's evaluation takes this share of the box for the area of a person."""


def scored_points(keypoint_set: KeypointSet, predicted: int) -> list[int] | None:
    """Which of `predicted` points are those of the set, in its order; None if they are of another set."""
    count = len(keypoint_set)
    if keypoint_set.name == CROWDPOSE_12.name and predicted in (len(COCO_17), len(COCO_WHOLEBODY_133)):
        return [COCO_17.index(name) for name in keypoint_set.names]
    if predicted == count or (keypoint_set.name in KEYPOINT_SETS and predicted > count):
        return list(range(count))
    return None


def as_crowdpose(content: Mapping[str, Any], keypoint_set: KeypointSet) -> dict[str, Any]:
    """A parsed file of CrowdPose with the areas of its evaluation and the points of `keypoint_set`.

    Damaged entries are left as they are, for the checks that name them.
    """
    categories = [_with_first_names(each, len(keypoint_set)) for each in content.get("categories") or ()]
    annotations = [_as_scored(each, len(keypoint_set)) for each in content["annotations"]]
    return {**content, "categories": categories, "annotations": annotations}


def _with_first_names(category: Mapping[str, Any], count: int) -> dict[str, Any]:
    names = category.get("keypoints")
    return {**category, "keypoints": names[:count]} if isinstance(names, list) else dict(category)


def _as_scored(annotation: Any, count: int) -> Any:
    if not isinstance(annotation, Mapping):
        return annotation
    changed = dict(annotation)
    box, points = annotation.get("bbox"), annotation.get("keypoints")
    if isinstance(box, list | tuple) and len(box) == 4 and all(isinstance(v, int | float) for v in box[2:]):
        changed["area"] = BOX_SHARE * abs(box[2] * box[3])
    if isinstance(points, list | tuple) and len(points) == 3 * len(CROWDPOSE_14) > 3 * count:
        changed["keypoints"] = points[: 3 * count]
        labeled = [v for v in changed["keypoints"][2::3] if isinstance(v, int | float) and v > 0]
        changed["num_keypoints"] = len(labeled) if annotation.get("num_keypoints", 1) else 0
    return changed
