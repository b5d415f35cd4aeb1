"""What tells poses apart: their content, not the file that holds them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..poses import PoseSequence

CONTENT = ("keypoints", "scores", "boxes", "track_ids", "frame_index")
"""Arrays that edits are made to, or placed by."""


def digest_of(sequence: PoseSequence) -> str:
    """32 hexadecimal digits, of the size, the keypoint set and `CONTENT`.

    Distrust and meta do not count: they may be added later, and corrections of the poses still hold.
    """
    content = hashlib.sha256(repr((sequence.size, sequence.keypoint_set, sequence.scores.shape)).encode())
    for name in CONTENT:
        content.update(getattr(sequence, name).tobytes())
    return content.hexdigest()[:32]
