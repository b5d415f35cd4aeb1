"""People found in drawn and painted pictures, and how good their poses are.

    python benchmarks/art_people/measure.py --packages FOLDER [--half work|held] [--model preview]

FOLDER holds the unpacked wheels; without it, the installed packages are read. Runs the `sdpose_core` on the path: to
measure another revision, put that there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from pictures import HALVES, Entry, load_labels, open_picture

from sdpose_core.annotate.images import FramePeople, annotate_images
from sdpose_core.detection.loading import load_detector
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.poses import Poses
from sdpose_core.skeletons import COCO_17

FOUND = 0.3
"""OKS from which a pose is a labelled person's."""
PINNED = 0.01
"""Distance to the edge, as a share of the longer side of the picture, of a leg point that is pinned there."""
LEGS = slice(11, 17)
SHOWN = 0.3


def similarity(labels: np.ndarray, area: float, poses: Poses) -> np.ndarray:
    """OKS (P,) of the poses with labels (17, 3), by the labelled points; absent points count 0."""
    seen = labels[:, 2] > 0
    squared = ((poses.keypoints[:, :17][:, seen] - labels[seen, :2]) ** 2).sum(axis=-1)
    width = 2 * area * (2 * np.asarray(COCO_17.sigmas)[seen]) ** 2
    return np.nan_to_num(np.exp(-squared / width)).mean(axis=-1)


def pinned(labels: np.ndarray, keypoints: np.ndarray, scores: np.ndarray, size: tuple[int, int]) -> int:
    """Leg points shown at the picture's edge where the labels have none."""
    edge = np.minimum(keypoints, np.asarray(size) - keypoints).min(axis=-1) <= PINNED * max(size)
    wrong = edge & (scores >= SHOWN) & (labels[:, 2] == 0)
    return int(wrong[LEGS].sum())


class Tally:
    """The figures of a set of pictures."""

    def __init__(self) -> None:
        self.found: list[float] = []
        self.given: list[float] = []
        self.extra = self.pinned = self.empty = self.not_empty = self.exact = self.pictures = 0

    def add(self, entry: Entry, found: Poses, given: Poses | None) -> None:
        if not entry["people"]:
            self.empty += 1
            self.not_empty += len(found) > 0
            return
        self.pictures += 1
        self.exact += len(found) == len(entry["people"])
        taken: set[int] = set()
        for number, person in enumerate(entry["people"]):
            labels, box = np.asarray(person["keypoints"], float), np.asarray(person["box"], float)
            area = 0.53 * float(np.prod(box[2:] - box[:2]))  # COCO's areas are those of masks
            alike = similarity(labels, area, found)
            best = int(alike.argmax()) if len(alike) else -1
            if best >= 0 and alike[best] >= FOUND:
                taken.add(best)
                self.pinned += pinned(labels, found.keypoints[best, :17], found.scores[best, :17], found.size)
            self.found.append(float(alike.max(initial=0)))
            self.given.append(float(similarity(labels, area, given)[number]) if given is not None else 0.0)
        self.extra += len(found) - len(taken)

    def line(self) -> str:
        seen = np.asarray(self.found) >= FOUND
        return (
            f"people {len(seen)}, found {seen.sum()}, extra {self.extra}, mean OKS {np.mean(self.found):.3f} "
            f"(given boxes {np.mean(self.given):.3f}), pinned leg points {self.pinned}, pictures with the right number "
            f"{self.exact} of {self.pictures}, empty pictures with somebody {self.not_empty} of {self.empty}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--half", choices=HALVES)
    parser.add_argument("--model", default="preview")
    parser.add_argument("--each", action="store_true", help="a line per picture")
    args = parser.parse_args()
    detector, estimator = load_detector(), load_estimator(args.model)
    total = Tally()
    for entry in load_labels(args.half):
        image = open_picture(entry, args.packages)
        [found] = annotate_images([image], estimator=estimator, detector=detector)
        boxes = [person["box"] for person in entry["people"]]
        [given] = annotate_images([image], estimator=estimator, people=[FramePeople(boxes)]) if boxes else [None]
        own = Tally()
        for tally in (total, own):
            tally.add(entry, found, given)
        if args.each and entry["people"]:
            print(Path(entry["file"]).name, own.line())
        elif args.each and len(found):
            print(Path(entry["file"]).name, "is empty:", len(found), found.meta.get("boxes_found"))
    print(total.line())


if __name__ == "__main__":
    main()
