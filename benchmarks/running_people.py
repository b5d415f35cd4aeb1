"""Count the ids that the tracker loses on fast people who are hidden for a few frames.

    python benchmarks/running_people.py [--clips N]

Runners of half their box's width per frame and more, at 25 and 12 frames per second: alone, speeding up, meeting,
overtaking people, filmed by a panning camera. Boxes, points and scores are noisy. Everything is seeded.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from moving_people import BLACK, BLUE, GREEN, RED, SIZE, WHITE, YELLOW, Clip, Path, Walker, film
from track_benchmark import score, track

RATES = Fraction(25), Fraction(12)
HIDDEN = 1, 2, 3, 5, 8
HEIGHT = 70
WIDTH = 30
"""Mean width of a runner's box, pixels."""
CLOTHES = RED, GREEN, BLUE, WHITE, BLACK, YELLOW

Scene = Callable[[np.random.Generator, float], list[Path]]
"""(random numbers, pixels per frame) -> paths; the first person's is the one that is hidden."""


def line(x: float, speed: float, ground: float, speedup: float = 0) -> Path:
    """From x with `speed` pixels per frame, which grows by `speedup` per frame, while in the picture."""

    def path(frame: int) -> tuple[float, float] | None:
        at = x + speed * frame + speedup * frame**2 / 2
        return (at, ground) if -WIDTH <= at <= SIZE[0] + WIDTH else None

    return path


def alone(rng: np.random.Generator, speed: float) -> list[Path]:
    """One runner."""
    return [line(0, speed, 150 + rng.uniform(-20, 20))]


def speeding_up(rng: np.random.Generator, speed: float) -> list[Path]:
    """A runner whose speed doubles within the clip."""
    return [line(0, speed * 0.7, 150 + rng.uniform(-20, 20), speed**2 * 0.7 / SIZE[0])]


def meeting(rng: np.random.Generator, speed: float) -> list[Path]:
    """Two runners meet."""
    return [line(0, speed, 150 + rng.uniform(-5, 5)), line(SIZE[0], -speed * rng.uniform(0.7, 1.1), 155)]


def following(rng: np.random.Generator, speed: float) -> list[Path]:
    """Two runners in a row, 1.5 to 2.5 widths apart."""
    return [line(0, speed, 150), line(-WIDTH * rng.uniform(1.5, 2.5), speed, 152)]


def passing(rng: np.random.Generator, speed: float) -> list[Path]:
    """A runner passes three people who stand."""
    places = SIZE[0] * np.asarray([0.35, 0.5, 0.65]) + rng.uniform(-20, 20, 3)
    return [line(0, speed, 150), *(line(float(at), 0, 150 + rng.uniform(-6, 12)) for at in places)]


def panning(rng: np.random.Generator, speed: float) -> list[Path]:
    """The camera pans past three people who stand, a width or two apart."""
    start = SIZE[0] + rng.uniform(-10, 10)
    return [line(start + gap * WIDTH, -speed, 150) for gap in (0, 1.3, -2.2)]


SCENES: tuple[Scene, ...] = (alone, speeding_up, meeting, following, passing, panning)


def clip(scene: Scene, rate: Fraction, hidden: int, seed: int) -> Clip:
    """A clip of `scene`; its first person is hidden for `hidden` frames, on the way through the middle."""
    rng = np.random.default_rng([seed, hidden, SCENES.index(scene)])
    speed = WIDTH * rng.uniform(0.5, 0.8) * (25 / float(rate)) ** 0.5
    paths = scene(rng, speed)
    alike = seed % 2 == 0
    colors = [CLOTHES[0 if alike else number] for number in range(len(paths))]
    people = [
        Walker(number, path, HEIGHT * rng.uniform(0.9, 1.1), color, BLACK)
        for number, (path, color) in enumerate(zip(paths, colors, strict=True))
    ]
    frames = max(frame for frame in range(200) if any(path(frame) for path in paths[:1])) + 1
    start = int(frames * rng.uniform(0.3, 0.55))
    lottery = rng.random((frames, len(paths))) < 0.03
    made = film(
        scene.__name__, people, frames, seed=seed + 1, noise=1.5,
        missed=lambda frame, person: (
            (person == 0 and start <= frame < start + hidden) or (person > 0 and bool(lottery[frame, person]))
        ),
    )  # fmt: skip
    return replace(made, poses=[replace(poses, scores=_noisy(poses.scores, rng)) for poses in made.poses])


def _noisy(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scores of blurred people: a third of the points fall below the tracker's threshold."""
    return np.where(rng.random(scores.shape) < 1 / 3, 0.2, scores).astype(np.float32)


def lost(scene: Scene, rate: Fraction, hidden: int, seeds: Sequence[int], pictures: bool = True) -> int:
    """How many ids change, over the clips of these seeds."""
    made = [clip(scene, rate, hidden, seed) for seed in seeds]
    return sum(score(each, track(each, pictures, rate)).switches for each in made)


def main() -> int:
    """Print the id switches of each scene."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=20, metavar="N", help="per cell of the table")
    args = parser.parse_args()
    total = 0
    print(
        f"{'id switches in ' + str(args.clips) + ' clips':24}", *(f"{count:>6}" for count in HIDDEN), " frames hidden"
    )
    for rate in RATES:
        for scene in SCENES:
            found = [lost(scene, rate, hidden, range(args.clips)) for hidden in HIDDEN]
            total += sum(found)
            print(f"{scene.__name__ + f', {rate} fps':24}", *(f"{count:6}" for count in found), flush=True)
    print(f"in all {total}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
