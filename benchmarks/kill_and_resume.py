"""Kill `annotate_clip` at random moments (SIGKILL), start it again, and compare with an uninterrupted run.

    python benchmarks/kill_and_resume.py                        # a synthetic clip, 20 kills
    python benchmarks/kill_and_resume.py --video clip.mp4       # a real one, with the preview

Prints a line per kill, and how many runs ended with the same arrays and pose video.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ARRAYS = ("keypoints", "scores", "boxes", "track_ids", "frame_index", "pts")
BEGUN = "begun"


@dataclass(frozen=True)
class Setup:
    """A run: `source` is a video, or the description of a synthetic clip (`.json`)."""

    source: Path
    chunk: int
    every: int
    detect_every: int
    pace: float

    def start(self, out: Path) -> subprocess.Popen:
        """Start a run in a new process; return when it begins to work."""
        words = [self.source, out, self.chunk, self.every, self.detect_every, self.pace]
        command = [sys.executable, __file__, "--child", *map(str, words)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert run.stdout is not None
        if run.stdout.readline().strip() != BEGUN:
            raise RuntimeError(f"the run failed: {command}")
        return run

    def finish(self, out: Path) -> float:
        """Run to the end; return the seconds."""
        run = self.start(out)
        began = time.perf_counter()
        if run.wait() != 0:
            raise RuntimeError(f"the run in {out} failed")
        return time.perf_counter() - began


def child(source: str, out: str, chunk: str, every: str, detect_every: str, pace: str) -> None:
    """One run; the synthetic estimator takes `pace` seconds per batch."""
    from sdpose_core.annotate.clip import annotate_clip
    from sdpose_core.annotate.clip_options import ClipOptions

    options = ClipOptions(chunk=int(chunk), every=int(every), detect_every=int(detect_every))
    if source.endswith(".json"):
        from synthetic_clip import ColorDetector, FigureEstimator, SyntheticClip

        clip, detector = SyntheticClip(Path(source)), ColorDetector()
        estimator = FigureEstimator(before_batch=lambda: time.sleep(float(pace)))
    else:
        from sdpose_core.detection.loading import load_detector
        from sdpose_core.estimation.loading import load_estimator

        clip, detector, estimator = Path(source), load_detector(), load_estimator("preview")
    print(BEGUN, flush=True)
    annotate_clip(clip, out, estimator=lambda: estimator, detector=lambda: detector, options=options, asked={})


def fingerprint(out: Path) -> tuple[str, ...]:
    """Hashes of all arrays and of the decoded pose video, and the names of all files."""
    [path] = out.glob("*.pose.npz")
    with np.load(path, allow_pickle=False) as file:
        hashes = [hashlib.sha256(file[name].tobytes()).hexdigest() for name in ARRAYS]
    return (*hashes, _video_hash(next(out.glob("*_kps.mp4"))), *sorted(os.listdir(out)))


def _video_hash(path: Path) -> str:
    import av

    digest = hashlib.sha256()
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            digest.update(frame.to_ndarray(format="rgb24").tobytes())
    return digest.hexdigest()


def kill_and_resume(setup: Setup, folder: Path, kills: int, seed: int, report=print) -> int:
    """How many of `kills` runs, killed once and resumed, end like an uninterrupted one."""
    seconds = setup.finish(folder / "uninterrupted")
    truth = fingerprint(folder / "uninterrupted")
    moments = np.random.default_rng(seed).uniform(0, seconds, kills)
    same = 0
    for number, moment in enumerate(moments):
        out = folder / f"kill_{number}"
        while not _killed(setup, out, moment):
            shutil.rmtree(out)  # it ended before the kill: the machine is faster now
            moment *= 0.8
        kept = len(list(out.glob(".*.sdpose/chunk_*.npz"))) if out.exists() else 0
        written = sorted(path.name for path in out.glob("[!.]*")) if out.exists() else []
        setup.finish(out)
        equal = fingerprint(out) == truth
        same += equal
        report(f"{number:4} {moment:8.3f} s of {seconds:.3f} {kept:7} chunks {', '.join(written) or '-':40} {equal}")
    return same


def _killed(setup: Setup, out: Path, moment: float) -> bool:
    """Kill a run after `moment` seconds; False if it had ended by itself."""
    run = setup.start(out)
    time.sleep(moment)
    alive = run.poll() is None
    run.kill()
    run.wait()
    return alive


def main() -> int:
    """Exit code 1 if a run ended differently."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--child", nargs=6, help=argparse.SUPPRESS)
    parser.add_argument("--video", type=Path, help="a real video, with the preview")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=400, help="length of the synthetic clip")
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--detect-every", type=int, default=1)
    parser.add_argument("--pace", type=float, default=0.01, help="seconds per batch of the synthetic estimator")
    args = parser.parse_args()
    if args.child:
        child(*args.child)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        source = args.video or Path(folder) / "clip.json"
        if args.video is None:
            from synthetic_clip import SyntheticClip

            SyntheticClip.make(source, args.frames)
        setup = Setup(source.absolute(), args.chunk, args.every, args.detect_every, args.pace)
        same = kill_and_resume(setup, Path(folder), args.kills, args.seed)
    print(f"{same} of {args.kills} identical (seed {args.seed})")
    return int(same != args.kills)


if __name__ == "__main__":
    sys.exit(main())
