"""How often a training crop is drawn again, by the released rule and by ours (`data.visible`).

    python benchmarks/redraws.py ANNOTATIONS.json [--keypoint-set coco_wholebody_133] [--draws 2000]

Draws the augmented crops of every person in a COCO file as body.toml does; no picture is read. "touching" counts the
points whose Gaussian reaches into the crop, "inside" those in it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "training"))

from sdpose_core.codec.heatmaps import encode_udp_profiles
from sdpose_core.skeletons import keypoint_set
from sdpose_training.data.annotations import People, read_annotations, read_people
from sdpose_training.data.augmentation import augment, place, visible_inside
from sdpose_training.recipe.recipe import AugmentationRecipe, Stage


def points_of(people: People, index: int, rng: np.random.Generator, stage: Stage) -> tuple[int, int]:
    """Points of one random crop of a person: touching, inside."""
    placement = place(people.keypoints[index], people.visibility[index], people.boxes_xyxy[index])
    width = int(people.picture_sizes[index, 0])
    placement = augment(rng, placement, width, people.keypoint_set, AugmentationRecipe())
    matrix = placement.warp_matrix(stage.input_size)
    keypoints = placement.keypoints @ matrix[:, :2].T + matrix[:, 2]
    (w, h), visibility = stage.input_size, placement.visibility
    *_, weights = encode_udp_profiles(keypoints[None], visibility[None], (w, h), (w // 4, h // 4), stage.heatmap_sigma)
    return int(np.count_nonzero(weights)), visible_inside(keypoints, visibility, (w, h))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--keypoint-set", default="coco_17")
    parser.add_argument("--draws", type=int, default=2000, help="crops of each person")
    args = parser.parse_args()
    chosen = keypoint_set(args.keypoint_set)
    people, _ = read_people(read_annotations(args.annotations), args.annotations.parent, chosen)
    rng, stage, minimum = np.random.default_rng(0), Stage(epochs=1), 8 if len(chosen) == 133 else 3
    counts = np.array([points_of(people, i, rng, stage) for i in range(len(people)) for _ in range(args.draws)])
    enough = counts >= minimum
    again = 1 - enough.mean(axis=0)
    print(f"{len(people)} people, {len(counts):,} crops, at least {minimum} of {len(chosen)} points")
    differs = np.mean(enough[:, 0] != enough[:, 1])
    print(f"drawn again: touching {again[0]:.2%}, inside {again[1]:.2%}; differs {differs:.2%}")


if __name__ == "__main__":
    main()
