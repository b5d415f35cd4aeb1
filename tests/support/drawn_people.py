"""A small data set in COCO's format: stick figures with known joints."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from sdpose_core.skeletons import COCO_17

STANDING = np.array([
    (0, -80), (5, -85), (-5, -85), (10, -82), (-10, -82), (20, -60), (-20, -60), (28, -30), (-28, -30), (30, 0),
    (-30, 0), (12, 0), (-12, 0), (14, 40), (-14, 40), (15, 80), (-15, 80),
])  # fmt: skip


def make_people(folder: Path, count: int = 12, size: tuple[int, int] = (160, 200)) -> Path:
    """Write images/ and annotations/{train,val}.json (the same people in both); return the folder."""
    rng = np.random.default_rng(5)
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images, annotations = [], []
    for i in range(count):
        points = STANDING * rng.uniform(0.7, 1.0) + rng.normal(0, 3, STANDING.shape) + (size[0] / 2, size[1] / 2)
        picture = rng.integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
        for a, b in COCO_17.links:
            cv2.line(picture, *(tuple(int(v) for v in points[end]) for end in (a, b)), (200, 220, 90), 4)
        name = f"{i:03d}.jpg"
        cv2.imwrite(str(folder / "images" / name), picture)
        low, high = points.min(axis=0) - 8, points.max(axis=0) + 8
        w, h = high - low
        images.append({"id": i, "file_name": name, "width": size[0], "height": size[1]})
        annotations.append({
            "id": 100 + i, "image_id": i, "category_id": 1, "iscrowd": 0, "area": float(w * h * 0.5),
            "bbox": [*low.tolist(), float(w), float(h)], "num_keypoints": 17,
            "keypoints": np.concatenate([points, np.full((17, 1), 2)], axis=1).ravel().tolist(),
        })  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(COCO_17.names), "skeleton": []}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    for part in ("train", "val"):
        (folder / "annotations" / f"{part}.json").write_text(json.dumps(content))
    return folder
