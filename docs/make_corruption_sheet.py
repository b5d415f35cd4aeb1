"""Sheet of the 15 corruptions at severities 1, 3 and 5, of a picture that comes with the project.

python docs/make_corruption_sheet.py tests/data/grace_hopper.jpg docs/corruptions.jpg
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from sdpose_core.images import read_image
from sdpose_training.styles.corruptions import FAMILIES, Corruption, corrupted, kinds_of

SEVERITIES = (1, 3, 5)
PART = (slice(20, 420), slice(60, 460))
"""Rows and columns of the picture that are shown."""
SIDE, LABEL, GAP = 132, 20, 10


def tile(title: str, views: list[np.ndarray]) -> np.ndarray:
    """A label, and under it pictures side by side, with space for three."""
    small = [cv2.resize(view[PART], (SIDE, SIDE), interpolation=cv2.INTER_AREA) for view in views]
    row = np.full((SIDE, len(SEVERITIES) * SIDE, 3), 255, np.uint8)
    row[:, : len(small) * SIDE] = np.hstack(small)
    label = np.full((LABEL, row.shape[1], 3), 255, np.uint8)
    cv2.putText(label, title.replace("_", " "), (2, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (30, 30, 30), 1, cv2.LINE_AA)
    return np.pad(np.vstack([label, row]), ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def main(source: Path, out: Path) -> None:
    """Write a row for each family."""
    picture = read_image(source)
    rows = []
    for family in FAMILIES:
        corruptions = {kind: [Corruption(kind, severity) for severity in SEVERITIES] for kind in kinds_of(family)}
        rows.append(
            [tile(kind, [corrupted(picture, c, source.name) for c in each]) for kind, each in corruptions.items()]
        )
    rows[0].append(tile("clean", [picture]))  # the family of noise has three kinds only
    cv2.imwrite(str(out), np.vstack([np.hstack(row) for row in rows])[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 72])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
