"""Track ids for poses that are all there already: of a batch of frames, of files of single frames."""

from __future__ import annotations

from collections.abc import Iterable
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
    options: TrackerOptions | None = None,
) -> PoseSequence:
    """The frames of a clip, in order and without gaps, as a sequence with stable track ids.

    Args:
        poses: of one size and keypoint set.
        frame_rate: frames per second of the source; None: 25 are assumed, and the sequence has no rate.
        images: RGB uint8 (H, W, 3), as many; without them cuts are not seen and nobody is known again by the clothes.
        options: see `TrackerOptions`.

    `meta["clip"]["scene_cuts"]` of the result lists the frames in which a scene begins. Raises `InputError` for no
    frame, for frames that differ in size or keypoint set, and for another number of pictures.
    """
    frames = list(poses)
    pictures = repeat(None, len(frames)) if images is None else images
    tracker: Tracker | None = None
    tracked: list[Poses] = []
    for number, (frame, image) in enumerate(zip(frames, pictures, strict=True)):
        tracker = tracker or Tracker(frame_rate, frame.size, options)
        tracked.append(tracker.update(frame, number, image))
    cuts = [number for number, frame in enumerate(tracked) if frame.meta["scene_cut"]]
    sequence = PoseSequence.from_poses(tracked, frame_rate=frame_rate)
    meta = {name: value for name, value in sequence.meta.items() if name != "scene_cut"}
    return replace(sequence, meta={**meta, "clip": {"scene_cuts": cuts}})
