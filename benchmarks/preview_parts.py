"""The whole-body preview, part by part, on people with annotated whole bodies.

python benchmarks/preview_parts.py [--coco ../shared/data/coco_samples] [--rendered 150] [--by-score]

COCO-WholeBody photos (four, with 12 people), or rendered people with exact points (`--rendered`, needs the extra
`train`). Boxes are the annotated ones. For the photos, the last line gives the mean best OKS of the body with boxes of
the embedded detector.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

from sdpose_core.boxes import xywh_to_xyxy
from sdpose_core.detection.loading import load_detector
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.images import read_image
from sdpose_core.oks import oks
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133

COCO = Path(__file__).parents[2] / "shared" / "data" / "coco_samples"
FIELDS = {"keypoints": 0, "foot_kpts": 17, "face_kpts": 23, "lefthand_kpts": 91, "righthand_kpts": 112}
PARTS = {
    "hands": (("left_hand", 9), ("right_hand", 10)),
    "face": (("face", 0),),
    "feet": (("left_foot", 15), ("right_foot", 16)),
}
"""Part -> (its points, the body point where it must be)."""
POINTS = {**COCO_WHOLEBODY_133.parts, "left_foot": (17, 19), "right_foot": (20, 22)}
RIGHT = {"hands": 0.15, "face": 0.15, "feet": 0.04}
"""Largest mean error of a part that is right, in sizes: the longer side of the annotated part; for feet, of the
person's box."""
BINS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.01)


@dataclass(frozen=True)
class Person:
    """An annotated person: box (4,) x1, y1, x2, y2, area in square pixels, points (133, 2), NaN where not annotated."""

    image: np.ndarray
    box: np.ndarray
    area: float
    points: np.ndarray


@dataclass(frozen=True)
class Found:
    """A part of a person: whether it is annotated, its score (0: not found), its error in sizes, and whether it lies at
    the person's own wrist, head or ankle (None if that is not annotated)."""

    annotated: bool
    score: float
    error: float
    at_home: bool | None


def photos(folder: Path) -> Iterator[Person]:
    """The annotated people of `test_coco_wholebody.json`."""
    content = json.loads((folder / "test_coco_wholebody.json").read_text(encoding="utf-8"))
    images = {entry["id"]: read_image(folder / entry["file_name"]) for entry in content["images"]}
    for entry in content["annotations"]:
        if entry["num_keypoints"]:
            yield as_annotated(images[entry["image_id"]], entry)


def rendered(count: int, first_seed: int) -> Iterator[Person]:
    """People alone in pictures of 640 x 640, shaded. Their hands are 20 to 90 pixels long; faces have no points."""
    from sdpose_training.synthetic.body import BodyModel
    from sdpose_training.synthetic.scene import SceneSettings, make_picture

    body, settings = BodyModel(), SceneSettings((640, 640), "shaded", max_people=1)
    for seed in range(first_seed, first_seed + count):
        image, record = make_picture(body, settings, np.random.default_rng(seed))
        yield as_annotated(image, record["people"][0])


def as_annotated(image: np.ndarray, entry: Mapping[str, Any]) -> Person:
    """A person from an annotation in COCO-WholeBody's form."""
    points = np.full((133, 2), np.nan)
    for name, first in FIELDS.items():
        values = np.asarray(entry[name], np.float64).reshape(-1, 3)
        seen = values[:, 2] > 0
        points[first : first + len(values)][seen] = values[seen, :2]
    box = xywh_to_xyxy(np.array([entry["bbox"]], np.float64))[0]
    return Person(image, box, float(entry["area"]), points)


def judge(person: Person, keypoints: np.ndarray, scores: np.ndarray, part: str) -> Iterator[Found]:
    """What was found of a part."""
    for name, home in PARTS[part]:
        indices = list(POINTS[name])
        truth, found, score = person.points[indices], keypoints[indices], float(scores[indices].max())
        seen = np.isfinite(truth).all(axis=1)
        longer = float((person.box[2:] - person.box[:2]).max())
        error, at_home = np.nan, None
        if score > 0:
            extent = 0.1 * longer if part == "feet" else float(np.nanmax(np.nanmax(found, 0) - np.nanmin(found, 0)))
            anchor = np.nanmean(found, axis=0) if part == "face" else found[-1 if part == "feet" else 0]
            away = float(np.linalg.norm(anchor - person.points[home]))
            at_home = None if np.isnan(away) else away <= extent
            if seen.sum() > len(indices) / 2:
                size = longer if part == "feet" else float((truth[seen].max(axis=0) - truth[seen].min(axis=0)).max())
                error = float(np.nanmean(np.linalg.norm(found - truth, axis=1))) / size
        yield Found(bool(seen.sum() > len(indices) / 2), score, error, at_home)


def row(part: str, found: Sequence[Found]) -> str:
    """A line of the table."""
    hits = [one for one in found if one.score > 0]
    errors = np.array([one.error for one in hits if one.annotated])
    right = int((errors <= RIGHT[part]).sum())
    wrong = int((errors > 2 * RIGHT[part]).sum())
    elsewhere = sum(one.at_home is False for one in hits)
    extra = sum(not one.annotated for one in hits)
    median = f"{np.median(errors):.3f}" if len(errors) else "-"
    annotated = sum(one.annotated for one in found)
    return f"| {part} | {annotated} | {len(errors)} | {right} | {median} | {wrong} | {extra} | {elsewhere} |"


def by_score(part: str, found: Sequence[Found]) -> Iterator[str]:
    """Lines: how many of the annotated parts found are right, by score."""
    hits = [one for one in found if one.score > 0 and one.annotated]
    for low, high in zip(BINS, BINS[1:], strict=False):
        errors = [one.error for one in hits if low <= one.score < high]
        if errors:
            right = sum(error <= RIGHT[part] for error in errors)
            yield f"| {part} | {low:.1f} to {min(high, 1):.1f} | {len(errors)} | {right / len(errors):.2f} |"


def body_oks(people: Sequence[Person], boxes_of: Callable[[np.ndarray], np.ndarray]) -> float:
    """Mean over the people of the best OKS of their picture's bodies; 0 for one who is not found."""
    estimator, best = load_estimator("preview-body"), []
    poses = {}
    for person in people:
        key = id(person.image)
        if key not in poses:
            [poses[key]] = estimator.estimate([person.image], [boxes_of(person.image)])
        similarity = oks(
            person.points[None, :17], poses[key].keypoints, np.array([person.area]), np.asarray(COCO_17.sigmas)
        )
        best.append(similarity.max(initial=0))
    return float(np.mean(best))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, default=COCO, help="folder with the photos and test_coco_wholebody.json")
    parser.add_argument("--rendered", type=int, default=0, metavar="N", help="take N rendered people instead")
    parser.add_argument("--first-seed", type=int, default=1000, help="of the rendered people (default: 1000)")
    parser.add_argument("--by-score", action="store_true", help="also how many parts are right, by score")
    args = parser.parse_args()
    people = list(rendered(args.rendered, args.first_seed) if args.rendered else photos(args.coco))
    estimator = load_estimator("preview")
    found: dict[str, list[Found]] = {part: [] for part in PARTS}
    for _, group in groupby(people, key=lambda person: id(person.image)):
        together = list(group)
        [poses] = estimator.estimate([together[0].image], [np.stack([person.box for person in together])])
        for person, keypoints, scores in zip(together, poses.keypoints, poses.scores, strict=True):
            for part in PARTS:
                found[part] += judge(person, keypoints, scores, part)
    print(f"{len(people)} people; error in sizes of the part, of the person's box for feet")
    print(
        "| part | annotated | found | right | median error | wrong | not annotated | elsewhere |\n" + "| --- " * 8 + "|"
    )
    print("\n".join(row(part, found[part]) for part in PARTS))
    if args.by_score:
        print("| part | score | found | share right |\n| --- | --- | --- | --- |")
        print("\n".join(line for part in PARTS for line in by_score(part, found[part])))
    if not args.rendered:
        detector = load_detector()
        print(
            f"mean best OKS of the body, found boxes: {body_oks(people, lambda image: detector.detect(image)[0]):.3f}"
        )


if __name__ == "__main__":
    main()
