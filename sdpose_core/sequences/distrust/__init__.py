"""Distrust: the probability that a point of a pose sequence is wrong, with reasons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...poses import PoseSequence

REASONS: tuple[str, ...] = ("low score",)


def with_distrust(sequence: PoseSequence, raw: PoseSequence | None = None) -> PoseSequence:
    """The sequence with `distrust` and `distrust_reasons`."""
    distrust = np.where(np.isfinite(sequence.keypoints).all(-1), np.clip(1 - sequence.scores, 0, 1), np.nan)
    return replace(sequence, distrust=distrust, distrust_reasons=(distrust > 0.5).astype(np.uint16))
