"""Make the pictures of the README from the pictures of `tests/data`: run by hand, `python docs/make_pictures.py`.

Everything is drawn by the library with the embedded preview models; the painting is the portrait through OpenCV's
stylization filter.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from sdpose_core.annotate.images import annotate_images
from sdpose_core.detection.loading import load_detector
from sdpose_core.drawing.canvas import place
from sdpose_core.drawing.pose_maps import draw_poses, overlay
from sdpose_core.drawing.styles import STYLES
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.images import read_image
from sdpose_core.poses import Poses

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
OUT = Path(__file__).resolve().parent
HEIGHT = 300
GAP = 6


def painted(image: np.ndarray) -> np.ndarray:
    """The picture as if painted, (H, W, 3) uint8."""
    return cv2.stylization(cv2.edgePreservingFilter(image, sigma_s=60, sigma_r=0.45), sigma_s=60, sigma_r=0.45)


def fitted(image: np.ndarray, height: int = HEIGHT) -> np.ndarray:
    """The picture at `height` pixels."""
    return cv2.resize(image, (round(image.shape[1] * height / image.shape[0]), height), interpolation=cv2.INTER_AREA)


def row(images: list[np.ndarray]) -> np.ndarray:
    """Pictures of one height side by side on white."""
    gap = np.full((images[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for image in images for part in (image, gap)][:-1], axis=1)


def labelled(image: np.ndarray, text: str) -> np.ndarray:
    """The picture with a line of text under it."""
    strip = np.full((26, image.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, text, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (40, 40, 40), 1, cv2.LINE_AA)
    return np.concatenate([image, strip])


def save(name: str, image: np.ndarray) -> None:
    cv2.imwrite(str(OUT / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


def estimate(image: np.ndarray) -> Poses:
    """Poses by the preview; the whole picture where the detector finds nobody."""
    [poses] = annotate_images(
        [image], estimator=load_estimator("preview"), detector=load_detector(), if_nobody="full-image"
    )
    return poses


def first_screen() -> None:
    """Picture, overlay and pose map of a photo, an anime picture and a painting."""
    photo = read_image(DATA / "astronaut.png")
    triples = []
    for image in (photo, read_image(DATA / "anime_sylvie.png"), painted(read_image(DATA / "grace_hopper.jpg"))):
        image = fitted(image, 600)
        poses = estimate(image)
        print(poses.meta["boxes_from"], poses.scores.round(2).tolist())
        triples.append(row([fitted(view) for view in (image, overlay(image, poses), draw_poses(poses))]))
    save("first_screen.jpg", np.concatenate([centered(t, max(x.shape[1] for x in triples)) for t in triples]))


def centered(image: np.ndarray, width: int) -> np.ndarray:
    """The picture in the middle of a white strip of `width`, with a gap below."""
    left = (width - image.shape[1]) // 2
    canvas = np.full((image.shape[0] + GAP, width, 3), 255, np.uint8)
    canvas[: image.shape[0], left : left + image.shape[1]] = image
    return canvas


def styles() -> None:
    """One pose in every style."""
    poses = place(estimate(read_image(DATA / "astronaut.png")), (320, 320))
    cells = [labelled(draw_poses(poses, style=name), name) for name in STYLES]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % 4)
    save("styles.jpg", np.concatenate([row(cells[i : i + 4]) for i in range(0, len(cells), 4)]))


if __name__ == "__main__":
    first_screen()
    styles()
