"""Points that the preview puts at the picture's edge for joints beyond it, and what its rule does about them.

    python benchmarks/edge_points.py COCO

COCO holds test_coco.json and its pictures. Each picture is cut off below at ten heights of each annotated person, so
that it is known which joints are in it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from sdpose_core.embedded.movenet import NEAR_EDGE, MoveNet
from sdpose_core.images import read_image

HEIGHTS = (0.3, 0.38, 0.45, 0.52, 0.6, 0.68, 0.76, 0.85, 0.93, 1.0)
SHOWN = 0.3
RIGHT = 0.2
"""Largest distance of a right point from the annotated one, as a share of the person's scale."""


class WithoutRule(MoveNet):
    """MoveNet as it is."""

    def _beyond_edge(self, image: np.ndarray, box: np.ndarray, keypoints: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return np.zeros(len(scores), bool)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco", type=Path)
    folder = parser.parse_args().coco
    coco = json.loads((folder / "test_coco.json").read_text(encoding="utf-8"))
    files = {image["id"]: image["file_name"] for image in coco["images"]}
    plain, ruled = WithoutRule(), MoveNet()
    counts = np.zeros((2, 2), int)  # wrong, right x shown, removed
    for person in coco["annotations"]:
        if not person["num_keypoints"] or person["iscrowd"]:
            continue
        image, labels = read_image(folder / files[person["image_id"]]), np.reshape(person["keypoints"], (17, 3))
        x, y, w, h = person["bbox"]
        for height in HEIGHTS:
            cut = image.shape[0] if height == 1 else int(y + h * height)
            part, box = np.ascontiguousarray(image[:cut]), np.asarray([x, y, x + w, min(y + h, cut)], np.float32)
            (keypoints, scores), (_, kept) = plain.find(part, box), ruled.find(part, box)
            near = (cut - keypoints[:, 1] < NEAR_EDGE * (box[2:] - box[:2]).max()) & (scores > SHOWN)
            off = np.linalg.norm(keypoints - labels[:, :2], axis=1) / np.sqrt(person["area"])
            beyond, known = labels[:, 1] >= cut, labels[:, 2] > 0
            for row, chosen in enumerate((near & known & beyond, near & known & ~beyond & (off < RIGHT))):
                counts[row] += chosen.sum(), (chosen & (kept == 0)).sum()
    for (shown, removed), what in zip(counts, ("for joints that were cut off", "right"), strict=True):
        print(f"points near the lower edge, {what}: {shown}, removed {removed} ({removed / shown:.0%})")


if __name__ == "__main__":
    main()
