"""Contact sheet of a data set of `training/make_synthetic_people.py`, without and with keypoints.

python docs/make_synthetic_sheet.py DIR docs/synthetic_people.jpg
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from sdpose_core.drawing.pose_maps import overlay
from sdpose_core.images import read_image
from sdpose_core.poses import Poses

COLUMNS, ROWS, HEIGHT = 8, 2, 230
PARTS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")


def poses_of(annotations: list[dict], size: tuple[int, int]) -> Poses:
    """COCO annotations -> Poses; points without a label have score 0."""
    points = [np.concatenate([np.reshape(a[part], (-1, 3)) for part in PARTS]) for a in annotations]
    values = np.array(points).reshape(-1, 133, 3)
    x, y, w, h = np.array([a["bbox"] for a in annotations]).reshape(-1, 4).T
    boxes = np.stack([x, y, x + w, y + h, np.ones(len(values))], axis=1)
    return Poses(values[..., :2], (values[..., 2] > 0).astype(np.float32), boxes, size, "coco_wholebody_133")


def smaller(image: np.ndarray) -> np.ndarray:
    """The picture at `HEIGHT` pixels."""
    return cv2.resize(image, (image.shape[1] * HEIGHT // image.shape[0], HEIGHT), interpolation=cv2.INTER_AREA)


def main(folder: Path, out: Path) -> None:
    """Write rows of pictures, each followed by the same row with keypoints."""
    coco = json.loads((folder / "annotations" / "train.json").read_text(encoding="utf-8"))
    people = defaultdict(list)
    for annotation in coco["annotations"]:
        people[annotation["image_id"]].append(annotation)
    rows = []
    for start in range(0, COLUMNS * ROWS, COLUMNS):
        chosen = coco["images"][start : start + COLUMNS]
        pictures = [read_image(folder / "images" / image["file_name"]) for image in chosen]
        drawn = [
            overlay(picture, poses_of(people[image["id"]], (image["width"], image["height"])))
            for picture, image in zip(pictures, chosen, strict=True)
        ]
        rows += [np.hstack([smaller(view) for view in views]) for views in (pictures, drawn)]
    cv2.imwrite(str(out), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
