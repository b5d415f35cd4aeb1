"""Make the pictures of the documentation: `python docs/make_pictures.py`.

The first picture is unchanged output of `sdpose image`, scaled. `web/docs/images/*_result.jpg` are results of the
nodes, from the calls that the nodes make.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from sdpose_core.annotate.images import annotate_images
from sdpose_core.cli.main import main as sdpose
from sdpose_core.detection.loading import load_detector
from sdpose_core.drawing.canvas import place
from sdpose_core.drawing.pose_maps import draw_poses
from sdpose_core.drawing.styles import STYLES, TRAINED_SIDE
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.images import read_image, write_png
from sdpose_core.poses import Poses
from sdpose_core.video.opening import open_video

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
OUT = Path(__file__).resolve().parent
HELP = OUT.parent / "web" / "docs" / "images"
HEIGHT = 300
GAP = 6
ROWS = {
    "anime_sylvie": "a drawing; overlay; pose map",
    "dancer": "a frame of a video; overlay; pose map",
    "astronaut": "a photo; overlay; pose map",
}
DANCER_FRAME = 30
PORTRAITS = ("anime_sylvie.png", "astronaut.png", "grace_hopper.jpg")
HELP_STYLES = ("controlnet", "xinsir", "sdpose_native", "wan_animate", "musepose", "mimicmotion")


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


def save(name: str, image: np.ndarray, folder: Path = OUT) -> None:
    cv2.imwrite(str(folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


def sources(folder: Path) -> list[Path]:
    """The pictures, and the frame of the video as a picture in `folder`."""
    with open_video(DATA / "dancer.mp4") as video:
        frame = next(frame.image for frame in video.frames() if frame.index == DANCER_FRAME)
    write_png(folder / "dancer.png", frame)
    return [DATA / "anime_sylvie.png", folder / "dancer.png", DATA / "astronaut.png"]


def commanded_rows() -> list[np.ndarray]:
    """Picture, overlay and pose map of each of `ROWS`, from the command of the README."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = sources(folder)
        status = sdpose(["image", *map(str, pictures), "-o", name, "--overlay", "--model", "preview"])
        if status:
            sys.exit(status)
        rows = []
        for source in pictures:
            written = [folder / f"{source.stem}_{kind}.png" for kind in ("overlay", "pose")]
            rows.append(labeled(row([fitted(read_image(path)) for path in (source, *written)]), ROWS[source.stem]))
    return rows


def first_screen() -> None:
    rows = commanded_rows()
    width = max(image.shape[1] for image in rows)
    save("first_screen.jpg", np.concatenate([centered(image, width) for image in rows]))


def posed(*names: str) -> list[tuple[np.ndarray, Poses]]:
    """Pictures with the preview's poses."""
    images = [read_image(DATA / name) for name in names]
    poses = annotate_images(images, estimator=load_estimator("preview"), detector=load_detector("yolox"))
    return list(zip(images, poses, strict=True))


def in_styles(side: int, names: Iterable[str]) -> list[np.ndarray]:
    """One pose in these styles, drawn at the size where widths are the trained ones and shown with `side` pixels."""
    [(_, poses)] = posed("anime_sylvie.png")
    placed = place(poses, (TRAINED_SIDE, TRAINED_SIDE))
    return [labeled(fitted(draw_poses(placed, style=name), side), name) for name in names]


def styles() -> None:
    cells = in_styles(320, STYLES)
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % 4)
    save("styles.jpg", np.concatenate([row(cells[i : i + 4]) for i in range(0, len(cells), 4)]))


def boxed(image: np.ndarray) -> np.ndarray:
    """The picture with the boxes that are found in it, and their scores."""
    boxes, scores = load_detector("yolox").detect(image)
    canvas = image.copy()
    for x1, y1, x2, y2 in boxes.round().astype(int).tolist():
        cv2.rectangle(canvas, (x1, y1), (x2, y2), (255, 0, 0), 3)
    return labeled(fitted(canvas), ", ".join(f"person {score:.2f}" for score in scores))


def node_results() -> None:
    maps = [view for image, poses in posed(*PORTRAITS[:2]) for view in (image, draw_poses(poses))]
    save("SDPoseAnnotator_result.jpg", row([fitted(view) for view in maps]), HELP)
    save("SDPoseAnnotatorDetect_result.jpg", row([boxed(read_image(DATA / name)) for name in PORTRAITS]), HELP)
    save("SDPoseAnnotatorDraw_result.jpg", row(in_styles(200, HELP_STYLES)), HELP)


if __name__ == "__main__":
    first_screen()
    styles()
    node_results()
