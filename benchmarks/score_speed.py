"""How long scorers and resamples take for random whole bodies in as many pictures as COCO val2017 has.

python benchmarks/score_speed.py [--people 5000] [--scorer faster-coco-eval|pycocotools] [--resamples 1000]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from sdpose_core.skeletons import COCO_WHOLEBODY_133, KeypointSet
from sdpose_training.evaluation.bootstrap import Bootstrap, resampled_figures
from sdpose_training.evaluation.coco_figures import SCORERS
from sdpose_training.evaluation.predictions import Predictions
from sdpose_training.evaluation.scoring import Scored, score

FIELDS = {"keypoints": 17, "foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}


def random_people(people: int, pictures: int) -> tuple[Predictions, dict[str, Any]]:
    """Annotated people, each with a prediction that is some pixels off."""
    rng = np.random.default_rng(0)
    image_ids = rng.integers(1, pictures + 1, people).tolist()
    corner, size = rng.uniform(0, 400, (people, 1, 2)), rng.uniform(40, 200, (people, 1, 2))
    points = corner + size * rng.uniform(0, 1, (people, len(COCO_WHOLEBODY_133), 2))
    visibility = rng.integers(0, 3, (*points.shape[:2], 1))
    triples = np.concatenate([np.where(visibility > 0, points, 0), visibility], axis=2)
    cuts = np.cumsum(list(FIELDS.values()))[:-1]
    annotations = [
        {
            "id": i + 1, "image_id": image_ids[i], "category_id": 1, "iscrowd": 0, "num_keypoints": 9,
            "area": float(size[i].prod()), "bbox": [*corner[i, 0].tolist(), *size[i, 0].tolist()],
            **{name: part.ravel().tolist() for name, part in zip(FIELDS, np.split(triples[i], cuts), strict=True)},
        }
        for i in range(people)
    ]  # fmt: skip
    images = [{"id": i + 1, "file_name": f"{i + 1:012d}.jpg"} for i in range(pictures)]
    predictions = Predictions(
        np.arange(people), tuple(image_ids), points + rng.normal(0, 3, points.shape),
        rng.uniform(0, 1, points.shape[:2]), rng.uniform(0.1, 1, people), size[:, 0] * 1.25,
    )  # fmt: skip
    return predictions, {"images": images, "annotations": annotations}


def timed(predictions: Predictions, content: dict[str, Any], keypoint_set: KeypointSet, scorer: str) -> Scored:
    """Score, and print time and AP."""
    began, cpu = time.perf_counter(), time.process_time()
    scored = score(predictions, content, keypoint_set, scorer=scorer)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    figures = ", ".join(f"{name} {part['AP']:.6f}" for name, part in {"whole": scored.figures, **scored.parts}.items())
    print(f"{scorer}: {len(predictions):,} people x {len(keypoint_set)} points in {wall:.1f} s ({cpu:.1f} CPU seconds)")
    print(f"  AP: {figures}")
    return scored


def resample(scored: Scored, count: int) -> None:
    """Print the time of the resamples for an interval, and how far the AP of the matches is from the scorer's."""
    cpu = time.process_time()
    resampled_figures(scored.matches, Bootstrap(count))
    cpu = time.process_time() - cpu
    apart = abs(scored.matches.figures()["AP"] - (scored.figures["AP"] or 0))
    print(f"{count:,} resamples of the pictures in {cpu:.1f} CPU seconds; AP of the matches differs by {apart:.0e}")


def main() -> None:
    parser = argparse.ArgumentParser(description="How long scoring takes.")
    parser.add_argument("--people", type=int, default=5000)
    parser.add_argument("--pictures", type=int, default=2346, help="default: those of COCO val2017 with labeled people")
    parser.add_argument("--scorer", choices=SCORERS, action="append", help="default: both")
    parser.add_argument("--resamples", type=int, default=1000)
    args = parser.parse_args()
    data = random_people(args.people, args.pictures)
    for scorer in args.scorer or SCORERS:
        scored = timed(*data, COCO_WHOLEBODY_133, scorer)
    resample(scored, args.resamples)


if __name__ == "__main__":
    main()
