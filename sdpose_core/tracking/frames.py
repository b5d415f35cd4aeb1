"""Track ids for frames that are already estimated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import repeat

import numpy as np

from ..poses import Poses, PoseSequence
from .options import TrackerOptions
from .tracker import Tracker


def track_frames(
    poses: Iterable[Poses],
    frame_rate: Fraction | None = None,
    *,
    images: Iterable[np.ndarray] | None = None,
    pts: Sequence[float] | None = None,
    options: TrackerOptions | None = None,
) -> PoseSequence:
    """The frames of a clip, in order and without gaps, as a sequence with stable track ids.

    Args:
        poses: all of one size and keypoint set.
        frame_rate: frames per second of the source; None: the tracker assumes 25, and the sequence has no rate.
        pts: seconds of each frame, rising; None: by the frame rate.
        images: RGB uint8 (H, W, 3), one per frame; needed to find cuts and to recognize people by their clothes.

    `meta["clip"]["scene_cuts"]` of the result lists the frames that begin a scene. Raises `InputError` for no
    frames or frames that differ in size or keypoint set, `ValueError` for another number of
    pictures or times.
    """
    frames = list(poses)
    pictures = repeat(None, len(frames)) if images is None else images
    tracker: Tracker | None = None
    tracked: list[Poses] = []
    seconds = [None] * len(frames) if pts is None else [float(time) for time in pts]
    for number, (frame, image, time) in enumerate(zip(frames, pictures, seconds, strict=True)):
        tracker = tracker or Tracker(frame_rate, frame.size, options)
        tracked.append(tracker.update(frame, number, image, time))
    cuts = [number for number, frame in enumerate(tracked) if frame.meta["scene_cut"]]
    sequence = PoseSequence.from_poses(tracked, frame_rate=frame_rate, pts=pts)
    meta = {name: value for name, value in sequence.meta.items() if name != "scene_cut"}
    return replace(sequence, meta={**meta, "clip": {"scene_cuts": cuts}})
