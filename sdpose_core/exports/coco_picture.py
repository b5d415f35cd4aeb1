"""The poses of one picture as a COCO annotation file: NAME_keypoints.json of a custom keypoint set."""

from __future__ import annotations

import json
from pathlib import Path

from ..files import atomic_write
from ..origins import with_mark
from ..poses import Poses
from .coco_entries import category, labeled_people


def write_coco_picture(path: Path, poses: Poses, file_name: str, threshold: float, *, mark: str = "") -> None:
    """Write one picture and its people, atomically; `mark` (see `origins.mark_text`) under a key of its own.

    Beside COCO's fields a person has `score`, the mean, and `keypoint_scores`, the raw scores of all points.
    """
    people = [
        {"id": number, "image_id": 1, **person, "score": score, "keypoint_scores": scores}
        for number, (person, score, scores) in enumerate(
            zip(labeled_people(poses, threshold), poses.mean_scores().tolist(), poses.scores.tolist(), strict=True), 1
        )
    ]
    w, h = poses.size
    image = {"id": 1, "file_name": file_name, "width": w, "height": h}
    content = {"categories": [category(poses.skeleton)], "images": [image], "annotations": people}
    with atomic_write(path, "w") as handle:
        json.dump(with_mark(content, mark) if mark else content, handle, allow_nan=False)
        handle.write("\n")
