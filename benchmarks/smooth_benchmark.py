"""Jitter and lag before and after smoothing, on known motion.

    python benchmarks/smooth_benchmark.py [--json FILE]

Jitter is the mean acceleration of the points in pixels per frame squared. Lag is the shift, in steps of 0.05 frames, at
which the result fits the truth best. Error is the mean distance to the truth in pixels.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from moving_people import figure

from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences.one_euro import smooth

SIZE, FRAME_RATE, FRAMES, NOISE = (640, 480), Fraction(30), 300, 2.5


@dataclass(frozen=True)
class Figures:
    """One sequence compared with the truth."""

    jitter: float
    lag: float
    error: float


def truth(hands: bool = False) -> np.ndarray:
    """(T, K, 2) a dancer 250 pixels high who sways, steps, and lifts the arms."""
    frames = []
    for t in range(FRAMES):
        x = 320 + 90 * np.sin(2 * np.pi * t / 140)
        points = figure(x, 420 + 6 * np.sin(2 * np.pi * t / 45), 250, t / 40, 1)
        lift = 35 * np.sin(2 * np.pi * t / 70)
        points[[7, 8, 9, 10], 1] -= np.asarray([0.5, 0.5, 1, 1]) * lift
        if hands:
            spread = np.stack([np.linspace(-12, 12, 21), np.linspace(0, 20, 21)], axis=1)
            rest = np.repeat(points[:1], 133 - 17 - 42, axis=0)
            points = np.concatenate([points, rest, points[9] + spread, points[10] + spread])
        frames.append(points)
    return np.asarray(frames)


def noisy(true: np.ndarray, noise: float = NOISE, seed: int = 0) -> PoseSequence:
    """The truth with noise, larger where the score is lower."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.4, 1.0, true.shape[:2])
    points = true + rng.normal(0, 1, true.shape) * (noise * 0.7 / scores)[..., None]
    name = "coco_17" if true.shape[1] == 17 else "coco_wholebody_133"
    frames = []
    for person, score in zip(points, scores, strict=True):
        box = np.concatenate([person.min(axis=0), person.max(axis=0), [1]])
        frames.append(Poses(person[None], score[None], box[None], SIZE, name))
    return PoseSequence.from_poses(frames, frame_rate=FRAME_RATE)


def acceleration(points: np.ndarray) -> float:
    """Mean length of the second difference along time."""
    return float(np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean())


def measure(points: np.ndarray, true: np.ndarray) -> Figures:
    """Result and truth (T, K, 2) -> jitter, lag, error, without the ends of the clip."""
    inner = slice(10, -10)
    times = np.arange(len(true), dtype=np.float64)
    flat = true.reshape(len(true), -1)
    best, lag = np.inf, 0.0
    for shift in np.arange(-3, 3.01, 0.05):
        moved = np.stack([np.interp(times - shift, times, column) for column in flat.T], axis=1)
        difference = float(((points.reshape(flat.shape) - moved)[inner] ** 2).mean())
        if difference < best:
            best, lag = difference, float(shift)
    error = float(np.linalg.norm((points - true)[inner], axis=-1).mean())
    return Figures(acceleration(points[inner]), round(lag, 2), error)


def run(two_way: bool, hands: bool = False) -> tuple[Figures, Figures]:
    """The figures before and after smoothing."""
    true = truth(hands)
    before = noisy(true)
    after = smooth(before, two_way=two_way)
    part = slice(91, 133) if hands else slice(0, 17)
    return tuple(measure(sequence.keypoints[:, 0, part], true[:, part]) for sequence in (before, after))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures")
    args = parser.parse_args()
    rows = {}
    print(f"truth: mean acceleration of the body {acceleration(truth()):.3f} px/frame^2")
    print(f"{'':28}{'jitter':>18}{'less':>7}{'lag':>7}{'error':>16}")
    for two_way in (True, False):
        for hands in (False, True):
            before, after = run(two_way, hands)
            name = f"{'hands' if hands else 'body'}, {'two-way' if two_way else 'causal'}"
            rows[name] = {"before": asdict(before), "after": asdict(after)}
            less = 1 - after.jitter / before.jitter
            print(
                f"{name:28}{before.jitter:9.3f} ->{after.jitter:6.3f}{less:7.0%}{after.lag:7.2f}"
                f"{before.error:8.2f} ->{after.error:5.2f}"
            )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
