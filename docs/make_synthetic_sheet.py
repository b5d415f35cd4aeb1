"""Contact sheet of a data set of `training/make_synthetic_people.py`: 48 pictures, the last row again with keypoints.

python training/make_synthetic_people.py --count 48 --val 1 --out plain
python docs/make_synthetic_sheet.py plain docs/synthetic_people.jpg
python training/make_synthetic_people.py --count 48 --val 1 --looks dressed --out dressed
python docs/make_synthetic_sheet.py dressed docs/synthetic_dressed.jpg
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

COLUMNS, ROWS, HEIGHT = 12, 4, 168
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
    """Write rows of pictures, and the last row again with keypoints."""
    coco = json.loads((folder / "annotations" / "train.json").read_text(encoding="utf-8"))
    people = defaultdict(list)
    for annotation in coco["annotations"]:
        people[annotation["image_id"]].append(annotation)
    chosen = coco["images"][: COLUMNS * ROWS]
    pictures = [read_image(folder / "images" / image["file_name"]) for image in chosen]
    drawn = [
        overlay(picture, poses_of(people[image["id"]], (image["width"], image["height"])))
        for picture, image in list(zip(pictures, chosen, strict=True))[-COLUMNS:]
    ]
    small = [smaller(view) for view in (*pictures, *drawn)]
    rows = [np.hstack(small[start : start + COLUMNS]) for start in range(0, len(small), COLUMNS)]
    cv2.imwrite(str(out), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 72])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
