"""What becomes of people whom the detector misses in some frames of a clip, or in the first ones.

    python benchmarks/missed_people.py [VIDEO ...] [--model preview]

The embedded detector finds the people; in some frames its boxes are withheld, or the picture is blurred or black. The
table compares the frames that show each person whom the detector follows undisturbed, and the ids, with and without
`find_missed`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.annotate.chunks import join_chunks
from sdpose_core.annotate.clip_options import ClipOptions
from sdpose_core.annotate.stream import estimate_frames
from sdpose_core.boxes import iou
from sdpose_core.detection.loading import load_detector
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.poses import PoseSequence
from sdpose_core.sequences.short_tracks import drop_short_tracks
from sdpose_core.video.frames import Frame
from sdpose_core.video.opening import open_video

VIDEO = Path(__file__).parents[1] / "tests" / "data" / "dancer.mp4"
CASES: dict[str, Callable[[int], bool]] = {
    "nothing missed": lambda frame: False,
    "first 6 missed": lambda frame: frame < 6,
    "2 missed": lambda frame: frame in (20, 21),
    "8 missed": lambda frame: 20 <= frame < 28,
    "every third missed": lambda frame: frame % 3 == 1,
}


class Withholding:
    """A detector that finds nobody in some frames, which it tells by their order."""

    def __init__(self, detector: Any, missed: Callable[[int], bool]) -> None:
        self.detector, self.missed, self.name, self.number = detector, missed, detector.name, -1

    def meta(self) -> dict[str, Any]:
        return self.detector.meta()

    def detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.number += 1
        boxes, scores = self.detector.detect(image)
        return (boxes[:0], scores[:0]) if self.missed(self.number) else (boxes, scores)


def blurred(image: np.ndarray) -> np.ndarray:
    """The picture, smeared by motion: a fifteenth of its width."""
    import cv2

    length = image.shape[1] // 15
    return cv2.blur(image, (length, 1))


def black(image: np.ndarray) -> np.ndarray:
    """Nothing to see."""
    return np.zeros_like(image)


def annotated(
    video: Path, estimator: Any, missed: Callable[[int], bool], find_missed: bool,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
) -> PoseSequence:  # fmt: skip
    """The sequence of a clip, in whose missed frames boxes are withheld, or the picture is changed."""

    def frames(source: Any) -> Iterator[Frame]:
        for frame in source.frames(0):
            altered = change is not None and missed(frame.index)
            yield replace(frame, image=change(frame.image)) if altered and change else frame

    detector = Withholding(load_detector("yolox"), missed if change is None else lambda _: False)
    with open_video(video) as source:
        rate, options = source.info.frame_rate, ClipOptions(find_missed=find_missed)
        chunks = estimate_frames(frames(source), estimator, detector, options, frame_rate=rate)
        return drop_short_tracks(join_chunks(chunks))


def shown(truth: PoseSequence, found: PoseSequence) -> tuple[int, int, int, int]:
    """Person-frames of the truth, those found again (box IoU of 0.5), people found beyond them, and ids."""
    right = extra = 0
    for own, got in zip(truth.frames(), found.frames(), strict=True):
        hits = int((iou(own.boxes[:, :4], got.boxes[:, :4]) > 0.5).any(axis=1).sum()) if len(own) and len(got) else 0
        right, extra = right + hits, extra + len(got) - hits
    total = int((truth.track_ids >= 0).sum())
    return total, right, extra, len(np.unique(found.track_ids[found.track_ids >= 0]))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("videos", nargs="*", type=Path, default=[VIDEO], metavar="VIDEO")
    parser.add_argument("--model", default="preview")
    args = parser.parse_args()
    estimator = load_estimator(args.model)
    changes = {"boxes withheld": None, "blurred": blurred, "black": black}
    for video in args.videos:
        truth = annotated(video, estimator, lambda _: False, False)
        print(f"{video.name + ': found again / beyond / ids':44}{'without':>18}{'with find_missed':>20}")
        for what, change in changes.items():
            for name, missed in CASES.items():
                if (change and name == "nothing missed") or (change is black and name == "every third missed"):
                    continue
                cells = []
                for find in (False, True):
                    total, *rest = shown(truth, annotated(video, estimator, missed, find, change))
                    cells.append("{:d}/{:d} {:d} {:d}".format(rest[0], total, *rest[1:]))
                print(f"{what + ', ' + name:44}{cells[0]:>18}{cells[1]:>20}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
