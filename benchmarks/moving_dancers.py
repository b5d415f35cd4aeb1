"""Clips with known ids from a real video: copies of the dancer, some mirrored, in robes of other colors, on her sky.

Detector and estimator are the embedded YOLOX and the preview, so misses, loose boxes and wrong poses are real.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path as File

import cv2
import numpy as np
from moving_people import GROUP, Clip
from scipy.optimize import linear_sum_assignment

from sdpose_core.boxes import area, iou
from sdpose_core.detection.loading import load_detector
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.poses import Poses
from sdpose_core.video.opening import open_video

VIDEO = File(__file__).parents[1] / "tests" / "data" / "dancer.mp4"
FRAME_RATE = Fraction(16)
SIZE = (900, 350)
THRESHOLD = 0.15
"""Of the detector, which finds robes of these colors hard."""
HELD = 0.75
"""A box that covers this share of two people is a box around both."""
HIDDEN = 0.6
"""A person need not be found if more than this share of their box is covered."""

Path = Callable[[int], float | None]
"""Frame -> x of the left edge in pixels, None while the dancer is away."""


@dataclass(frozen=True)
class Dancer:
    """One person: `robe` is a hue of OpenCV, `offset` the first frame of the video."""

    id: int
    path: Path
    mirrored: bool = False
    robe: int = 108
    offset: int = 0


@dataclass(frozen=True)
class Source:
    """Frames (H, W, 3) of the video, the dancer's outlines (H, W) in 0..1, and boxes (T, 4)."""

    frames: list[np.ndarray]
    outlines: list[np.ndarray]
    boxes: np.ndarray


@functools.cache
def source() -> Source:
    """The video with outlines; boxes in frames where the detector finds nobody are interpolated."""
    with open_video(VIDEO) as video:
        frames = [frame.image for frame in video.frames()]
    detect = load_detector("yolox").detect
    boxes = [found[:1] if len(found) else np.full((1, 4), np.nan) for found, _ in map(detect, frames)]
    known = np.concatenate(boxes).astype(np.float64)
    rows = np.arange(len(frames))
    seen = np.isfinite(known[:, 0])
    filled = np.stack([np.interp(rows, rows[seen], column[seen]) for column in known.T], axis=1)
    return Source(frames, [_outline(frame, box) for frame, box in zip(frames, filled, strict=True)], filled)


def _outline(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Mask (H, W) of the dancer, 0..1, with soft edges."""
    h, w = image.shape[:2]
    x1, y1, x2, y2 = (int(v) for v in np.clip(box + [-12, -12, 12, 12], 0, [w - 1, h - 1, w - 1, h - 1]))
    mask = np.zeros((h, w), np.uint8)
    cv2.setRNGSeed(0)
    cv2.grabCut(image, mask, (x1, y1, x2 - x1, y2 - y1), np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_RECT)
    return cv2.blur(np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32), (3, 3))


def _in_robe(image: np.ndarray, hue: int) -> np.ndarray:
    """The picture with blue changed to another hue (OpenCV's, 0..179)."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    blue = (hsv[..., 0] > 90) & (hsv[..., 0] < 135) & (hsv[..., 1] > 60)
    hsv[..., 0] = np.where(blue, hue, hsv[..., 0])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _cut_out(dancer: Dancer, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture, outline and box (4,) of a dancer; the video runs forward and backward."""
    clip = source()
    turn = (frame + dancer.offset) % (2 * len(clip.frames) - 2)
    number = turn if turn < len(clip.frames) else 2 * len(clip.frames) - 2 - turn
    image, outline, box = _in_robe(clip.frames[number], dancer.robe), clip.outlines[number], clip.boxes[number].copy()
    if dancer.mirrored:
        image, outline, box[[0, 2]] = image[:, ::-1], outline[:, ::-1], image.shape[1] - box[[2, 0]]
    return image, outline, box


def _draw(dancers: Sequence[Dancer], frame: int, brightness: float) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """The picture, and id and box of each person in it; later dancers are in front."""
    sky = np.minimum(source().frames[0][:, 2:3] * np.float32(brightness), 255)
    canvas = np.repeat(sky, SIZE[0], axis=1)
    people: list[tuple[int, np.ndarray]] = []
    for dancer in dancers:
        x = dancer.path(frame)
        if x is None:
            continue
        image, outline, box = _cut_out(dancer, frame)
        shift = np.array([[1, 0, x], [0, 1, 0]], np.float32)
        moved = cv2.warpAffine(np.ascontiguousarray(image).astype(np.float32), shift, SIZE)
        share = cv2.warpAffine(np.ascontiguousarray(outline), shift, SIZE)[..., None]
        canvas = canvas * (1 - share) + moved * share
        people.append((dancer.id, box + [x, 0, x, 0]))
    return canvas.round().astype(np.uint8), people


def _visible(people: Sequence[tuple[int, np.ndarray]]) -> list[tuple[int, np.ndarray]]:
    """The people who are in the picture and not hidden by others, with boxes cut to the picture."""
    result = []
    for number, (person, box) in enumerate(people):
        inside = np.clip(box, 0, np.tile(SIZE, 2))
        width = inside[2] - inside[0]
        covered = max((min(inside[2], b[2]) - max(inside[0], b[0]) for _, b in people[number + 1 :]), default=0)
        if width - max(covered, 0) >= (1 - HIDDEN) * (box[2] - box[0]):
            result.append((person, inside))
    return result


def film(
    name: str, dancers: Sequence[Dancer], frames: int,
    missed: Callable[[int, int], bool] = lambda frame, person: False, sky: Callable[[int], float] = lambda frame: 1.0,
) -> Clip:  # fmt: skip
    """A clip with the results of detector and estimator, and the truth. Detections of nobody are dropped."""
    detector, estimator = load_detector("yolox", threshold=THRESHOLD), load_estimator("preview")
    clip = Clip(name)
    for frame in range(frames):
        image, people = _draw(dancers, frame, sky(frame))
        visible = _visible(people)
        found, scores = detector.detect(image)
        [poses] = estimator.estimate([image], [np.concatenate([found, scores[:, None]], axis=1)])
        owners = _owners(poses, people)
        kept = [i for i, owner in enumerate(owners) if owner is not None and not missed(frame, owner)]
        clip.images.append(image)
        clip.poses.append(poses.select(kept))
        clip.sources.append(np.asarray([owners[i] for i in kept], np.int64))
        clip.truth.append(
            (np.asarray([p for p, _ in visible], np.int64), np.asarray([b for _, b in visible]).reshape(-1, 4))
        )
    return clip


def _owners(poses: Poses, people: Sequence[tuple[int, np.ndarray]]) -> list[int | None]:
    """The person of each detection by overlap: None for nobody, GROUP for several people."""
    owners: list[int | None] = [None] * len(poses)
    if not len(poses) or not people:
        return owners
    boxes = np.stack([box for _, box in people])
    overlap = iou(poses.boxes[:, :4], boxes)
    for i, j in zip(*linear_sum_assignment(-overlap), strict=True):
        owners[i] = people[j][0] if overlap[i, j] > 0.3 else None
    for i, found in enumerate(poses.boxes[:, :4].astype(np.float64)):
        corners = np.concatenate([np.maximum(found[:2], boxes[:, :2]), np.minimum(found[2:], boxes[:, 2:])], axis=1)
        held = area(np.maximum(corners, np.tile(corners[:, :2], 2))) / area(boxes)
        if (held > HELD).sum() > 1:
            owners[i] = GROUP
    return owners


# --- the clips -----------------------------------------------------------------------------------------------------

GREEN, RED, PURPLE, YELLOW = 60, 175, 145, 25


def crossing() -> Clip:
    """Two people pass each other, one in front."""
    dancers = [Dancer(1, lambda t: 6.0 * t, robe=GREEN), Dancer(2, lambda t: 550 - 6.0 * t, True, RED, 20)]
    return film("dancers crossing", dancers, 90)


def returning() -> Clip:
    """One person leaves and returns after two seconds; another stays."""

    def path(frame: int) -> float | None:
        if frame < 30:
            return 400 + 20.0 * frame
        return None if frame < 62 else max(400.0, 900 - 18.0 * (frame - 62))

    dancers = [Dancer(1, lambda t: 40.0, True, RED, 10), Dancer(2, path, robe=GREEN)]
    return film("dancers returning", dancers, 100)


def hard_cut() -> Clip:
    """At frame 40 the sky becomes brighter, and two other people replace the first two."""

    def until(x: float) -> Path:
        return lambda frame: x if frame < 40 else None

    def since(x: float) -> Path:
        return lambda frame: x if frame >= 40 else None

    dancers = [
        Dancer(1, until(20.0), robe=GREEN), Dancer(2, until(480.0), True, RED, 15),
        Dancer(3, since(60.0), True, PURPLE, 30), Dancer(4, since(520.0), False, YELLOW, 5),
    ]  # fmt: skip
    return film("dancers, a cut", dancers, 80, sky=lambda frame: 1.0 if frame < 40 else 2.2)


def ten_misses() -> Clip:
    """For ten frames nobody is detected; later, one of the two is missed for ten frames."""
    dancers = [Dancer(1, lambda t: 2.0 * t, robe=GREEN), Dancer(2, lambda t: 420 + 1.5 * t, True, RED, 20)]
    return film(
        "dancers, ten misses", dancers, 90,
        missed=lambda frame, person: 30 <= frame < 40 or (person == 2 and 60 <= frame < 70),
    )  # fmt: skip


CLIPS = (crossing, returning, hard_cut, ten_misses)
