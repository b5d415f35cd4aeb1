"""Make the pictures of the documentation: `python docs/make_pictures.py` (needs the extra `train`).

The first two rows of the first picture are unchanged output of `sdpose image`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from whole_body_person import whole_body_person

from sdpose_core.annotate.images import annotate_images
from sdpose_core.cli.main import main as sdpose
from sdpose_core.detection.loading import load_detector
from sdpose_core.drawing.canvas import place
from sdpose_core.drawing.pose_maps import draw_poses, overlay
from sdpose_core.drawing.styles import STYLES
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.images import read_image

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
OUT = Path(__file__).resolve().parent
HEIGHT = 300
GAP = 6
ROWS = {
    "astronaut.png": "photo; overlay; pose map: sdpose image, preview",
    "anime_sylvie.png": "drawing; overlay; pose map: sdpose image, preview",
}
WHOLE_BODY_SIZE, WHOLE_BODY_HEIGHT = (720, 960), 480
WHOLE_BODY = "rendered person; its 133 known points (not an estimate); style sdpose_native"


def fitted(image: np.ndarray, height: int = HEIGHT) -> np.ndarray:
    """The picture at `height` pixels."""
    return cv2.resize(image, (round(image.shape[1] * height / image.shape[0]), height), interpolation=cv2.INTER_AREA)


def row(images: list[np.ndarray]) -> np.ndarray:
    """Pictures of one height side by side on white."""
    gap = np.full((images[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for image in images for part in (image, gap)][:-1], axis=1)


def labeled(image: np.ndarray, text: str) -> np.ndarray:
    """The picture with a line of text under it."""
    strip = np.full((26, image.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, text, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    return np.concatenate([image, strip])


def centered(image: np.ndarray, width: int) -> np.ndarray:
    """The picture in the middle of a white strip of `width`, with a gap below."""
    left = (width - image.shape[1]) // 2
    canvas = np.full((image.shape[0] + GAP, width, 3), 255, np.uint8)
    canvas[: image.shape[0], left : left + image.shape[1]] = image
    return canvas


def save(name: str, image: np.ndarray) -> None:
    cv2.imwrite(str(OUT / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


def commanded_rows() -> list[np.ndarray]:
    """Picture, overlay and pose map of each of `ROWS`, from the command of the README."""
    sources = [DATA / name for name in ROWS]
    with tempfile.TemporaryDirectory() as folder:
        status = sdpose(["image", *map(str, sources), "-o", folder, "--overlay", "--model", "preview"])
        if status:
            sys.exit(status)
        rows = []
        for source, text in zip(sources, ROWS.values(), strict=True):
            written = [Path(folder) / f"{source.stem}_{kind}.png" for kind in ("overlay", "pose")]
            rows.append(labeled(row([fitted(read_image(path)) for path in (source, *written)]), text))
    return rows


def whole_body_row() -> np.ndarray:
    """A rendered person with 133 points, in a style that draws feet too."""
    image, poses = whole_body_person(WHOLE_BODY_SIZE)
    style = "sdpose_native"
    views = (image, overlay(image, poses, style=style), draw_poses(poses, style=style))
    return labeled(row([fitted(view, WHOLE_BODY_HEIGHT) for view in views]), WHOLE_BODY)


def first_screen() -> None:
    rows = [*commanded_rows(), whole_body_row()]
    width = max(image.shape[1] for image in rows)
    save("first_screen.jpg", np.concatenate([centered(image, width) for image in rows]))


def styles() -> None:
    """One pose in every style."""
    [estimated] = annotate_images(
        [read_image(DATA / "astronaut.png")], estimator=load_estimator("preview"), detector=load_detector()
    )
    poses = place(estimated, (320, 320))
    cells = [labeled(draw_poses(poses, style=name), name) for name in STYLES]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % 4)
    save("styles.jpg", np.concatenate([row(cells[i : i + 4]) for i in range(0, len(cells), 4)]))


if __name__ == "__main__":
    first_screen()
    styles()
