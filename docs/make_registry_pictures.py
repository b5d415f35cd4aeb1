"""Make the icon and the banner for the ComfyUI registry: `python docs/make_registry_pictures.py`.

Frames and pose maps of the dancer in tests/data, from the preview. The registry asks for a square of at most 400 pixels
and for 21:9.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sdpose_core.annotate.images import annotate_images
from sdpose_core.detection.loading import load_detector
from sdpose_core.drawing.pose_maps import draw_poses
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.video.opening import open_video

OUT = Path(__file__).resolve().parent
CLIP = OUT.parent / "tests" / "data" / "dancer.mp4"
ICON = (400, 400)
BANNER = (1260, 540)
FRAMES = (18, 34)


def dancer() -> list[tuple[np.ndarray, np.ndarray]]:
    """(picture, pose map) of each of `FRAMES`."""
    with open_video(CLIP) as video:
        images = [frame.image for frame in video.frames() if frame.index in FRAMES]
    poses = annotate_images(images, estimator=load_estimator("preview"), detector=load_detector("yolox"))
    return [(image, draw_poses(frame)) for image, frame in zip(images, poses, strict=True)]


def cut(image: np.ndarray, size: tuple[int, int], around: np.ndarray) -> Image.Image:
    """What `around` shows at its widest, of the whole height of the picture and inside it, at `size` (w, h)."""
    columns = np.nonzero(around.any(axis=(0, 2)))[0]
    h, w = image.shape[:2]
    wide = round(h * size[0] / size[1])
    x = min(max(round(float(columns.min() + columns.max() - wide) / 2), 0), max(w - wide, 0))
    return Image.fromarray(image).crop((x, 0, x + wide, h)).resize(size, Image.Resampling.LANCZOS)


def main() -> None:
    frames = dancer()
    cut(frames[0][1], ICON, frames[0][1]).save(OUT / "icon.png", optimize=True)
    banner = Image.new("RGB", BANNER)
    views = [(view, pose_map) for image, pose_map in frames for view in (image, pose_map)]
    width = BANNER[0] // len(views)
    for place, (view, pose_map) in enumerate(views):
        banner.paste(cut(view, (width, BANNER[1]), pose_map), (place * width, 0))
    banner.save(OUT / "banner.jpg", quality=88)


if __name__ == "__main__":
    main()
