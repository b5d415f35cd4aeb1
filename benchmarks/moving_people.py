"""Clips of walking figures with known ids: pictures, and simulated results of a detector and an estimator.

Everything comes from fixed seeds. A figure walks along a path, swings arms and legs, and has its own colors. A figure
covered by a nearer one is not detected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from sdpose_core.boxes import area
from sdpose_core.poses import Poses

SIZE = (480, 270)
FRAME_RATE = Fraction(25)
GROUP = -1
"""Source of a box around several people: tracked, but not scored."""

Path = Callable[[int], tuple[float, float] | None]
"""Frame -> (x of the hips, y of the ground) in pixels, None while the person is away."""


@dataclass(frozen=True)
class Walker:
    """One person: path, `height` in pixels, and colors."""

    id: int
    path: Path
    height: float
    shirt: tuple[int, int, int]
    trousers: tuple[int, int, int]


@dataclass(frozen=True)
class Clip:
    """A clip and its truth.

    Attributes:
        truth: per frame the ids (P,) and boxes (P, 4) of the visible people.
        poses: per frame the detected people, in random order.
        sources: per frame the true id (P,) of each detected person.
        images: per frame RGB uint8.
    """

    name: str
    truth: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    poses: list[Poses] = field(default_factory=list)
    sources: list[np.ndarray] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)


def figure(x: float, ground: float, height: float, phase: float, direction: float) -> np.ndarray:
    """(17, 2) COCO points of a walking figure, in pixels; `phase` in steps."""
    swing, knee = 0.16 * np.sin(np.pi * phase), 0.5
    side = 0.05 * direction
    rows = {
        0: (0.03 * direction, 0.93), 1: (0.04 * direction, 0.95), 2: (0.02 * direction, 0.95),
        3: (0.0, 0.94), 4: (-0.03 * direction, 0.94),
        5: (side, 0.82), 6: (-side, 0.82), 7: (side + swing * 0.6, 0.67), 8: (-side - swing * 0.6, 0.67),
        9: (side + swing * 1.2, 0.53), 10: (-side - swing * 1.2, 0.53),
        11: (side * 0.8, 0.52), 12: (-side * 0.8, 0.52), 13: (side - swing * knee, 0.27),
        14: (-side + swing * knee, 0.27), 15: (side - swing, 0.03), 16: (-side + swing, 0.03),
    }  # fmt: skip
    points = np.asarray([rows[i] for i in range(17)]) * height
    return np.stack([x + points[:, 0], ground - points[:, 1]], axis=1)


def box_of(points: np.ndarray) -> np.ndarray:
    """(4,) the box around points (K, 2), enlarged by a tenth."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.05 * (high - low) + 2
    return np.concatenate([low - margin, high + margin])


def backdrop(seed: int) -> np.ndarray:
    """RGB uint8 picture of blurred blocks."""
    import cv2

    noise = np.random.default_rng(seed).integers(30, 226, (4, 6, 3), dtype=np.uint8)
    return cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC)


def render(image: np.ndarray, walker: Walker, points: np.ndarray) -> None:
    """Paint a figure on `image`, in place."""
    import cv2

    thick = max(2, int(walker.height * 0.06))
    pixel = [tuple(int(v) for v in point) for point in np.rint(points)]
    for joints in ((11, 13, 15), (12, 14, 16)):
        for start, end in zip(joints[:-1], joints[1:], strict=True):
            cv2.line(image, pixel[start], pixel[end], walker.trousers, 2 * thick)
    cv2.fillConvexPoly(image, np.rint(points[[5, 6, 12, 11]]).astype(np.int32), walker.shirt)
    cv2.line(image, pixel[5], pixel[11], walker.shirt, 2 * thick)
    cv2.line(image, pixel[6], pixel[12], walker.shirt, 2 * thick)
    cv2.circle(image, pixel[0], thick * 2, (220, 180, 150), -1)


def film(
    name: str, walkers: Sequence[Walker], frames: int, *, seed: int, noise: float = 1.0,
    missed: Callable[[int, int], bool] = lambda frame, person: False, scene: Callable[[int], int] = lambda frame: 0,
) -> Clip:  # fmt: skip
    """The clip of some walkers (later ones are nearer).

    Args:
        noise: standard deviation of keypoints and boxes, pixels.
        missed: (frame, id) -> whether the detector misses that person.
        scene: frame -> number of the scene; each has another backdrop.
    """
    rng, clip = np.random.default_rng(seed), Clip(name)
    for frame in range(frames):
        present = [(walker, _points(walker, frame)) for walker in walkers if walker.path(frame) is not None]
        image = backdrop(seed * 100 + scene(frame))
        for walker, points in present:
            render(image, walker, points)
        seen = [(walker, points) for i, (walker, points) in enumerate(present) if _visible(i, present)]
        clip.images.append(image)
        ids = np.asarray([walker.id for walker, _ in seen], np.int64)
        clip.truth.append((ids, np.asarray([box_of(points) for _, points in seen]).reshape(-1, 4)))
        found = [(walker.id, points) for walker, points in seen if not missed(frame, walker.id)]
        rng.shuffle(found)
        clip.sources.append(np.asarray([person for person, _ in found], np.int64))
        clip.poses.append(_detected([points for _, points in found], rng, noise))
    return clip


def _points(walker: Walker, frame: int) -> np.ndarray:
    here, before = walker.path(frame), walker.path(frame - 1)
    assert here is not None
    direction = 1.0 if before is None or here[0] >= before[0] else -1.0
    return figure(here[0], here[1], walker.height, frame / 8 + walker.id, direction)


def _visible(index: int, present: Sequence[tuple[Walker, np.ndarray]]) -> bool:
    """Less than 70% covered by any one nearer person, and at least a third inside the picture."""
    box = box_of(present[index][1])
    inside = area(np.concatenate([np.maximum(box[:2], 0), np.minimum(box[2:], SIZE)]))
    if inside < area(box) / 3:
        return False
    for _, points in present[index + 1 :]:
        other = box_of(points)
        shared = area(np.concatenate([np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])]))
        if shared > 0.7 * area(box):
            return False
    return True


def _detected(people: Sequence[np.ndarray], rng: np.random.Generator, noise: float) -> Poses:
    if not people:
        return Poses.empty(SIZE, "coco_17")
    keypoints = np.stack(people) + rng.normal(0, noise, (len(people), 17, 2))
    boxes = np.stack([np.append(box_of(points), 0.9) for points in people])
    boxes[:, :4] += rng.normal(0, 2 * noise, (len(people), 4))
    return Poses(keypoints, rng.uniform(0.5, 1.0, (len(people), 17)), boxes, SIZE, "coco_17")


# --- the clips -----------------------------------------------------------------------------------------------------

RED, GREEN, BLUE, WHITE, BLACK, YELLOW = (
    (200, 30, 30), (30, 150, 40), (30, 50, 190), (235, 235, 235), (20, 20, 20), (220, 200, 40)
)  # fmt: skip


def straight(x: float, speed: float, ground: float, first: int = 0, last: int = 10**9) -> Path:
    """From x at frame 0 with `speed` pixels per frame; present from frame `first` to `last`."""
    return lambda frame: (x + speed * frame, ground) if first <= frame <= last else None


def there_and_back(x: float, far: float, speed: float, ground: float) -> Path:
    """To `far` and back, again and again."""
    span = abs(far - x)

    def path(frame: int) -> tuple[float, float]:
        walked = (speed * frame) % (2 * span)
        walked = walked if walked <= span else 2 * span - walked
        return x + np.sign(far - x) * walked, ground

    return path


def crossing() -> Clip:
    """Two people walk past each other; the farther one is covered for a while."""
    walkers = [
        Walker(1, straight(60, 3.0, 225), 150, RED, BLACK),
        Walker(2, straight(420, -3.0, 235), 165, BLUE, WHITE),
    ]
    return film("crossing", walkers, 110, seed=1)


def three_crossing() -> Clip:
    """Three people at different speeds, two in the same direction: one overtakes."""
    walkers = [
        Walker(1, straight(40, 2.2, 215), 130, GREEN, BLUE),
        Walker(2, straight(-20, 4.0, 225), 145, WHITE, BLACK),
        Walker(3, straight(460, -2.6, 240), 165, YELLOW, RED),
    ]
    return film("three crossing", walkers, 125, seed=2)


def returning() -> Clip:
    """One person leaves the picture and returns after four seconds, while another walks back and forth."""

    def path(frame: int) -> tuple[float, float] | None:
        if frame < 50:
            return 260 + 6.0 * frame, 230.0
        return (560 - 5.0 * (frame - 150), 230.0) if frame >= 150 else None

    walkers = [Walker(1, there_and_back(80, 180, 2.0, 215), 135, GREEN, BLACK), Walker(2, path, 150, RED, WHITE)]
    return film("leaving and returning", walkers, 240, seed=3)


def hard_cut() -> Clip:
    """At frame 60 the scene changes, with other people at the places of the first two."""
    walkers = [
        Walker(1, straight(120, 1.0, 225, last=59), 150, RED, BLACK),
        Walker(2, straight(330, -1.0, 225, last=59), 150, BLUE, WHITE),
        Walker(3, straight(130, 1.0, 225, first=60), 150, RED, BLACK),
        Walker(4, straight(320, -1.0, 225, first=60), 150, YELLOW, GREEN),
    ]
    return film("hard cut", walkers, 120, seed=4, scene=lambda frame: int(frame >= 60))


def ten_misses() -> Clip:
    """For ten frames nobody is detected; later, one of the two is missed for ten frames."""
    walkers = [Walker(1, straight(60, 2.5, 220), 140, RED, BLUE), Walker(2, straight(180, 2.5, 235), 160, WHITE, BLACK)]
    return film(
        "ten misses", walkers, 120, seed=5,
        missed=lambda frame, person: 40 <= frame < 50 or (person == 2 and 80 <= frame < 90),
    )  # fmt: skip


def flicker() -> Clip:
    """Four people with strong noise; one detection in seven is missed."""
    lottery = np.random.default_rng(6).random((150, 5)) < 1 / 7
    walkers = [
        Walker(1, there_and_back(60, 420, 2.0, 205), 115, RED, WHITE),
        Walker(2, there_and_back(400, 80, 2.5, 215), 130, GREEN, BLACK),
        Walker(3, there_and_back(120, 360, 1.5, 230), 150, BLUE, YELLOW),
        Walker(4, there_and_back(440, 240, 1.0, 250), 175, WHITE, BLUE),
    ]
    return film("flicker", walkers, 150, seed=6, noise=2.0, missed=lambda frame, person: bool(lottery[frame, person]))


def meeting() -> Clip:
    """Two people walk toward each other, turn around and go back."""
    walkers = [
        Walker(1, there_and_back(70, 230, 3.0, 225), 150, RED, BLACK),
        Walker(2, there_and_back(410, 250, 3.0, 230), 155, BLUE, WHITE),
    ]
    return film("meeting", walkers, 110, seed=7)


CLIPS: tuple[Callable[[], Clip], ...] = (
    crossing, three_crossing, returning, hard_cut, ten_misses, flicker, meeting
)  # fmt: skip
