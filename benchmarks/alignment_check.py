"""How exact is the alignment check of imported pictures? Known shifts and scales, measured on stylized pictures.

    python benchmarks/alignment_check.py PICTURE_OR_FOLDER...

Every picture (at most 640 pixels a side, as COCO's) goes through every filter of `make_coco_ood.py` and is moved by
shifts of 0 to 20 pixels in random directions and scales of .9 to 1.1, with a white or a stretched border. The table has
the error of the measured shift of the middle, and of the largest offset, in pixels, and the bend, which is truly 0; the
last line has the confidence of unrelated pictures.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from sdpose_core.images import read_image
from sdpose_training.options import exit_status
from sdpose_training.styles.alignment import MIN_CONFIDENCE, Alignment, about_middle, in_pixels, measure
from sdpose_training.styles.filters import FILTERS

SIDE = 640
SHIFTS, SCALES = (0, 1, 3, 8, 20), (0.9, 0.95, 1.0, 1.05, 1.1)
BORDERS = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("pictures", nargs="+", type=Path)
    options = parser.parse_args()
    return exit_status("alignment_check", lambda: run(options.pictures))


def run(places: list[Path]) -> None:
    files = [file for place in places for file in (sorted(place.iterdir()) if place.is_dir() else [place])]
    pictures = [small(read_image(file)) for file in files if file.suffix in (".jpg", ".png")]
    print(f"{len(pictures)} pictures, {len(SHIFTS) * len(SCALES)} moves each; errors in pixels\n")
    print("| style | shift: median | 95% | largest | offset: 95% | largest | largest bend | lowest confidence |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, paint in {"photo": np.array, **FILTERS}.items():
        rows = np.array([row for picture in pictures for row in errors(picture, paint(picture))])
        shift, offset, bend, confidence = rows.T
        print(
            f"| {name} | {np.median(shift):.2f} | {np.percentile(shift, 95):.2f} | {shift.max():.2f} "
            f"| {np.percentile(offset, 95):.2f} | {offset.max():.2f} | {bend.max():.1f} | {confidence.min():.2f} |",
            flush=True,
        )  # fmt: skip
    pairs = list(itertools.permutations(pictures, 2))
    paints = list(FILTERS.values())
    found = [
        measure(a, cv2.resize(paints[i % len(paints)](b), a.shape[1::-1])).confidence for i, (a, b) in enumerate(pairs)
    ]
    print(f"\nunrelated pictures: confidence at most {max(found):.2f} in {len(found)} pairs (limit {MIN_CONFIDENCE})")


def small(picture: np.ndarray) -> np.ndarray:
    factor = min(SIDE / max(picture.shape), 1.0)
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def errors(photo: np.ndarray, stylized: np.ndarray) -> Iterator[tuple[float, float, float, float]]:
    """Error of the shift, error of the largest offset, bend and confidence, for every move."""
    rng = np.random.default_rng(0)
    for number, (shift, scale) in enumerate(itertools.product(SHIFTS, SCALES)):
        angle, border = rng.uniform(0, 2 * np.pi), BORDERS[number % 2]
        moved, truth = moved_by(stylized, (shift * np.cos(angle), shift * np.sin(angle)), scale, border)
        found = measure(photo, moved)
        off = float(np.hypot(*np.subtract(found.shift, truth.shift)))
        yield off, abs(found.offset - truth.offset), found.bend, found.confidence


def moved_by(image: np.ndarray, shift: tuple[float, float], scale: float, border: int) -> tuple[np.ndarray, Alignment]:
    """The picture scaled about its middle and shifted, and the true alignment."""
    matrix = about_middle(scale, shift, image.shape[:2])
    moved = cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=border, borderValue=(255, 255, 255))
    return moved, in_pixels(matrix, image.shape[:2])


if __name__ == "__main__":
    sys.exit(main())
