"""The share of a clip's time in which the model is busy, with and without overlap.

    python benchmarks/video_profile.py VIDEO [--model-ms 40] [--model PATH --device cuda]

By default, the model is a stand-in that only waits, as a program waits for a GPU; `--model` runs a real one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from sdpose_core.annotate.clip import annotate_clip
from sdpose_core.annotate.clip_options import ClipOptions
from sdpose_core.detection.people import WholePicture
from sdpose_core.estimation.crop_jobs import Estimator
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.estimation.stage_times import StageTimes


def stand_in(milliseconds: float) -> Estimator:
    """An estimator whose passes take this time."""
    from synthetic_clip import FigureEstimator

    return FigureEstimator(batch_size=1, before_batch=lambda: time.sleep(milliseconds / 1000))  # type: ignore[return-value]


def profile(video: Path, estimator: Any, *, overlap: bool, repeat: int) -> StageTimes:
    """Times of the stages in the last of `repeat` runs; the others are warm-up."""
    times = StageTimes()
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            annotate_clip(
                video, folder, estimator=lambda: estimator, detector=WholePicture,
                options=ClipOptions(clean=None, chunk=8), asked={}, overlap=overlap, times=times,
            )  # fmt: skip
    return times


def main() -> None:
    """Print both profiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--model-ms", type=float, default=40, help="time of the stand-in per person (default: 40)")
    parser.add_argument("--model", help="a real model: body, wholebody or a path")
    parser.add_argument("--device", help="of the real model")
    args = parser.parse_args()
    estimator = load_estimator(args.model, device=args.device) if args.model else stand_in(args.model_ms)
    for overlap in (False, True):
        times = profile(args.video, estimator, overlap=overlap, repeat=2)
        print("\noverlapped" if overlap else "one after the other")
        print(times.table())


if __name__ == "__main__":
    main()
