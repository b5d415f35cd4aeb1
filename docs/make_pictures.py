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

from sdpose_core.annotate.clip import annotate_frames
from sdpose_core.annotate.clip_options import ClipOptions
from sdpose_core.annotate.images import annotate_images
from sdpose_core.cli.main import main as sdpose
from sdpose_core.detection.loading import load_detector
from sdpose_core.drawing.canvas import place
from sdpose_core.drawing.pose_maps import draw_poses
from sdpose_core.drawing.styles import STYLES, TRAINED_SIDE
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.exports.faces import face_boxes, face_crops
from sdpose_core.images import read_image, write_png
from sdpose_core.poses import Poses
from sdpose_core.retarget.fitting import retarget
from sdpose_core.sequences.selection import keep_points, select_person
from sdpose_core.video.opening import open_video

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
OUT = Path(__file__).resolve().parent
HELP = OUT.parent / "web" / "docs" / "images"
HEIGHT = 300
SMALL = 200
GAP = 6
ROWS = {
    "anime_sylvie": "a drawing; overlay; pose map",
    "dancer": "a frame of a video; overlay; pose map",
    "astronaut": "a photo; overlay; pose map",
}
DANCER_FRAME = 30
PORTRAITS = ("anime_sylvie.png", "astronaut.png", "grace_hopper.jpg")
HELP_FRAMES = (6, 21, 36)
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
    """Pictures of the tests with the preview's poses."""
    return estimated([read_image(DATA / name) for name in names])


def estimated(images: list[np.ndarray]) -> list[tuple[np.ndarray, Poses]]:
    """Pictures with the preview's poses."""
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


def stacked(rows: list[np.ndarray]) -> np.ndarray:
    """Rows below each other on white, in the middle."""
    width = max(image.shape[1] for image in rows)
    return np.concatenate([centered(image, width) for image in rows])[:-GAP]


def help_picture(node: str, *rows: list[np.ndarray]) -> None:
    """What goes into a node and what comes out, small enough for the help panel: a few pictures in each row."""
    save(f"{node}_result.jpg", stacked([row(images) for images in rows]), HELP)


def pictures_of_images() -> None:
    [(anime, drawn), (photo, taken)] = posed(*PORTRAITS[:2])
    pairs = [[fitted(image), fitted(draw_poses(poses))] for image, poses in ((anime, drawn), (photo, taken))]
    help_picture("SDPoseAnnotator", *pairs)
    help_picture("SDPoseAnnotatorDetect", [boxed(read_image(DATA / name)) for name in PORTRAITS[:2]])
    help_picture("SDPoseAnnotatorReview", [fitted(read_image(OUT / "review.jpg"), 440)])  # make_review_picture.py
    styles = in_styles(190, HELP_STYLES)
    help_picture("SDPoseAnnotatorDraw", styles[:3], styles[3:])
    help_picture("SDPoseAnnotatorFilter", [pairs[0][1], fitted(draw_poses(keep_points(drawn, ("body", "head"))))])
    [(both, people)] = estimated([row([fitted(anime, 700), fitted(photo, 700)])])
    views = [both, draw_poses(people), draw_poses(select_person(people, "leftmost"))]
    help_picture("SDPoseAnnotatorSelectPerson", *[[fitted(view)] for view in views])


def pictures_of_videos() -> None:
    """Of the nodes for videos: frames above, what comes out below."""
    character = posed(PORTRAITS[0])[0][1]
    with open_video(DATA / "dancer.mp4") as video:
        frames = [frame for frame in video.frames() if frame.index <= HELP_FRAMES[-1]]
        rate = video.info.frame_rate
    models = {"estimator": load_estimator("preview"), "detector": load_detector("yolox")}
    clip = annotate_frames(iter(frames), **models, options=ClipOptions(), frame_rate=rate)
    poses, images = list(clip.frames()), [frame.image for frame in frames]
    seen = [fitted(images[index], SMALL) for index in HELP_FRAMES]
    maps = [fitted(draw_poses(poses[index]), SMALL) for index in HELP_FRAMES]
    help_picture("SDPoseAnnotatorVideo", seen, maps)
    fit = list(retarget(clip, character).frames())
    help_picture("SDPoseAnnotatorRetarget", maps, [fitted(draw_poses(fit[index]), SMALL) for index in HELP_FRAMES])
    boxes = face_boxes(clip, int(clip.track_ids.max()))
    faces = list(face_crops(iter(images), boxes, 256))
    help_picture("SDPoseAnnotatorFaceCrops", seen, [fitted(faces[index], SMALL) for index in HELP_FRAMES])


if __name__ == "__main__":
    first_screen()
    styles()
    pictures_of_images()
    pictures_of_videos()
