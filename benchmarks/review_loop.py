"""Estimate, correct 20 frames, fine-tune on them, estimate again: does the model get better where nobody corrected it?

    python benchmarks/review_loop.py --out loop

A tiny model learns drawn figures on a dark ground. Then it sees a clip of figures in other colors on a light ground,
where it is mostly wrong. Every sixth frame of the clip is corrected (from the known points, by the edits of `sdpose
review`), exported as training data and used for fine-tuning. The others, and a second clip with another motion, are
held out. As a control, the same number of samples of the same frames without the corrections. Everything goes through
the commands that a user types; 3 to 10 minutes on one CPU core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from sdpose_core.cli.main import main as sdpose
from sdpose_core.exports.training_data import write_training_data
from sdpose_core.poses import PoseSequence
from sdpose_core.review.files import open_review
from sdpose_core.video.writer import VideoWriter

ROOT = Path(__file__).resolve().parents[1]
RECIPE = Path(__file__).with_suffix(".toml")
SIZE, RATE = (96, 128), Fraction(25)
FRAMES, EVERY = 120, 6
CORRECTED = tuple(range(3, FRAMES, EVERY))
HELD_OUT = tuple(t for t in range(FRAMES) if t not in CORRECTED)
PICTURES, SAMPLES, TUNING_SAMPLES = 240, 3200, 960
NEAR = 9.0
"""Pixels from the truth up to which a point counts as right: a quarter of the torso."""

_LIMBS = ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16), (5, 6), (11, 12), (5, 11), (6, 12))
_SIDES = 8
"""The first limbs belong to a side: the left ones begin and end at odd points."""


@dataclass(frozen=True)
class Look:
    """Colors (RGB) of a drawing; the ground is noise between two levels."""

    ground: tuple[int, int]
    left: tuple[int, int, int]
    right: tuple[int, int, int]
    trunk: tuple[int, int, int]
    head: tuple[int, int, int]


DAY = Look((30, 60), (230, 90, 60), (60, 120, 240), (220, 220, 220), (240, 200, 170))
NIGHT = Look((190, 225), (20, 110, 40), (120, 30, 110), (40, 40, 40), (90, 60, 40))


# --- figures ---------------------------------------------------------------------------------------------------------


def figure(time: float, phases: np.ndarray) -> np.ndarray:
    """(17, 2) points of a figure whose limbs swing; `phases` (8,) say how."""
    swing = np.sin(time + phases)
    points = np.zeros((17, 2))
    chest = np.array([SIZE[0] / 2 + 6 * np.sin(0.7 * time + phases[7]), 0.3 * SIZE[1]])
    points[[5, 6]] = chest + [(11, 0), (-11, 0)]
    points[[11, 12]] = chest + [(7, 34), (-7, 34)]
    points[:5] = chest + [(0, -16), (3, -19), (-3, -19), (6, -16), (-6, -16)]
    for side, arm, leg in ((1, 0, 4), (-1, 2, 5)):
        root = 5 if side > 0 else 6
        _limb(points, (root, root + 2, root + 4), side * (0.9 + 0.8 * swing[arm]), side * swing[arm + 1], (18, 17))
        _limb(
            points, (root + 6, root + 8, root + 10), side * (0.25 + 0.3 * swing[leg]), side * swing[leg + 1], (22, 22)
        )
    return points


def _limb(
    points: np.ndarray, joints: tuple[int, int, int], angle: float, bend: float, lengths: tuple[int, int]
) -> None:
    root, middle, end = joints
    second = angle + 0.3 * np.sign(angle) + 0.6 * bend
    points[middle] = points[root] + lengths[0] * np.array([np.sin(angle), np.cos(angle)])
    points[end] = points[middle] + lengths[1] * np.array([np.sin(second), np.cos(second)])


def drawn(points: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """RGB uint8 (h, w, 3) of a figure."""
    image = rng.integers(*look.ground, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    pixels = [tuple(int(v) for v in point) for point in points]
    for number, (a, b) in enumerate(_LIMBS):
        color = look.trunk if number >= _SIDES else look.left if a % 2 else look.right
        cv2.line(image, pixels[a], pixels[b], color, 5, cv2.LINE_AA)
    cv2.circle(image, pixels[0], 8, look.head, -1, cv2.LINE_AA)
    cv2.circle(image, pixels[1], 2, look.left, -1)
    cv2.circle(image, pixels[2], 2, look.right, -1)
    return image


def boxes_of(truth: np.ndarray) -> np.ndarray:
    """(T, 4) boxes x1, y1, x2, y2 around points (T, 17, 2)."""
    return np.concatenate([truth.min(axis=1) - 8, truth.max(axis=1) + 8], axis=-1)


def sequence_of(truth: np.ndarray) -> PoseSequence:
    """The truth (T, 17, 2) as a sequence of one person."""
    count = len(truth)
    boxes = np.concatenate([boxes_of(truth), np.ones((count, 1))], axis=-1)[:, None]
    scores, ids, index = np.ones((count, 1, 17)), np.zeros((count, 1)), np.arange(count)
    return PoseSequence(truth[:, None], scores, boxes, ids, index, index / float(RATE), SIZE, RATE, "coco_17")


def make_clip(folder: Path, name: str, look: Look, seed: int) -> np.ndarray:
    """Write NAME.mp4 and NAME_boxes.json; returns the truth (T, 17, 2)."""
    phases, rng = np.random.default_rng(seed).uniform(0, 2 * np.pi, 8), np.random.default_rng(seed + 1)
    truth = np.stack([figure(0.25 * t, phases) for t in range(FRAMES)])
    with VideoWriter(folder / f"{name}.mp4", SIZE, RATE, codec="lossless") as writer:
        for points in truth:
            writer.write(drawn(points, look, rng))
    found = [
        {"image_id": t, "category_id": 1, "track_id": 0, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": 1.0}
        for t, (x1, y1, x2, y2) in enumerate(boxes_of(truth).tolist())
    ]
    (folder / f"{name}_boxes.json").write_text(json.dumps(found))
    return truth


# --- the steps of the loop -------------------------------------------------------------------------------------------


def train(data: Path, out: Path, samples: int, *more: str) -> Path:
    """Train in a process of its own; returns the weights."""
    words = ["--recipe", RECIPE, "--data.root", data, "--out", out, "--stages.0.samples", samples, *more]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'training'}", "ACCELERATE_USE_CPU": "true"}
    script = str(ROOT / "training" / "train.py")
    subprocess.run([sys.executable, script, *map(str, words)], env=environment, check=True, capture_output=True)
    return sorted((out / "weights").glob("*.safetensors"))[-1]


def first_model(out: Path) -> Path:
    """Weights of a model that knows figures on a dark ground."""
    rng = np.random.default_rng(0)
    truth = np.stack([figure(0, rng.uniform(0, 2 * np.pi, 8)) for _ in range(PICTURES)])
    pictures = [drawn(points, DAY, rng) for points in truth]
    write_training_data(sequence_of(truth), range(PICTURES), pictures.__getitem__, out / "first_data", "day")
    return train(out / "first_data", out / "first_run", SAMPLES)


def estimate(folder: Path, name: str, weights: Path, out: Path) -> PoseSequence:
    """`sdpose video` on the raw clip, with the known boxes, so that only the points are judged."""
    words = ["video", folder / f"{name}.mp4", "-o", out, "--model", weights, "--boxes", folder / f"{name}_boxes.json",
             "--trust-ids", "--no-clean", "--keep-outside", "--keep-isolated", "--no-playable", "--check"]  # fmt: skip
    if sdpose(list(map(str, words))):
        raise SystemExit(f"sdpose video failed for {name}")
    return PoseSequence.load(out / f"{name}.pose.npz")


def corrected(file: Path, video: Path, truth: np.ndarray) -> Path:
    """The poses with all points of the `CORRECTED` frames placed by hand; returns the saved file."""
    session = open_review(file, video=video)
    try:
        for t in CORRECTED:
            op = {"kind": "move", "t": t, "id": 0, "points": list(range(17)), "to": truth[t].tolist(), "spread": 0}
            session.edit(op)
        return session.save()[0]
    finally:
        session.close()


def figures(sequence: PoseSequence, truth: np.ndarray, frames: tuple[int, ...]) -> dict[str, float]:
    """Share of right points, and the median error in pixels; absent points are wrong."""
    chosen = list(frames)
    errors = np.linalg.norm(sequence.keypoints[chosen, 0] - truth[chosen], axis=-1)
    errors = np.where(np.isfinite(errors), errors, np.inf)
    return {"right": round(float((errors <= NEAR).mean()), 3), "median": round(float(np.median(errors)), 2)}


def run(out: Path, *, control: bool = True) -> dict[str, dict[str, dict[str, float]]]:
    """The whole loop; figures of the held-out frames of each clip, by model: "first", "tuned", "control"."""
    clips = out / "clips"
    clips.mkdir(parents=True)
    weights = {"first": first_model(out)}
    truths = {"same": make_clip(clips, "same", NIGHT, 5), "other": make_clip(clips, "other", NIGHT, 77),
              "day": make_clip(clips, "day", DAY, 31)}  # fmt: skip
    estimate(clips, "same", weights["first"], out / "first")
    reviewed = corrected(out / "first" / "same.pose.npz", clips / "same.mp4", truths["same"])
    words = ["export", reviewed, "--to", "coco", "--video", clips / "same.mp4", "--frames", "edited"]
    if sdpose([*map(str, words), "-o", str(out / "data")]):
        raise SystemExit("sdpose export failed")
    more = ("--model.base", str(weights["first"]), "--stages.0.learning-rate", "1e-3")
    weights["tuned"] = train(out / "data", out / "tuned_run", TUNING_SAMPLES, *more)
    if control:
        weights["control"] = train(_uncorrected(out, clips), out / "control_run", TUNING_SAMPLES, *more)
    frames = {"same": HELD_OUT, "other": tuple(range(FRAMES)), "day": tuple(range(FRAMES))}
    return {
        model: {name: figures(estimate(clips, name, file, out / model), truths[name], frames[name]) for name in truths}
        for model, file in weights.items()
    }


def _uncorrected(out: Path, clips: Path) -> Path:
    """The same frames as training data, as the first model estimated them."""
    sequence = PoseSequence.load(out / "first" / "same.pose.npz")
    with_video = {"sequence": sequence, "frames": CORRECTED, "out": out / "control_data", "name": "same"}
    pictures = _frames_of(clips / "same.mp4")
    write_training_data(picture_of=pictures.__getitem__, threshold=0.0, **with_video)
    return out / "control_data"


def _frames_of(video: Path) -> list[np.ndarray]:
    from sdpose_core.video.opening import open_video

    with open_video(video) as source:
        return [frame.image for frame in source.frames()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    found = run(parser.parse_args().out)
    names = {"same": "held-out frames of the clip", "other": "another clip", "day": "a clip in the first look"}
    print(f"| model | {' | '.join(names.values())} |\n| --- | {' | '.join('---' for _ in names)} |")
    for model, of_clips in found.items():
        cells = (f"{100 * each['right']:.1f}%, {each['median']:.1f} px" for each in of_clips.values())
        print(f"| {model} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
