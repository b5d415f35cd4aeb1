"""`annotate_clip` on a computed clip of any length, whose estimator only waits.

python clip.py CLIP.json OUT [SECONDS per batch]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from synthetic_clip import ColorDetector, FigureEstimator, SyntheticClip

from sdpose_core.annotate.clip import annotate_clip
from sdpose_core.annotate.clip_options import ClipOptions


def main(source: str, out: str, pace: str = "0.01") -> None:
    """Annotate the clip that `SyntheticClip.make` described."""
    estimator = FigureEstimator(before_batch=lambda: time.sleep(float(pace)))
    options = ClipOptions(chunk=16, detect_every=3)
    clip = SyntheticClip(Path(source))
    annotate_clip(clip, out, estimator=lambda: estimator, detector=ColorDetector, options=options, asked={})


if __name__ == "__main__":
    main(*sys.argv[1:])
