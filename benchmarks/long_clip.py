"""Peak memory and time per frame of a long and a short clip, with a fake detector and estimator.

    python benchmarks/long_clip.py --frames 200 20000

Each length runs in a separate process: synthetic frames, chunks, tracking, cleaning, `.pose.npz`, pose video.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def child(frames: int, keypoint_set: str) -> dict[str, float]:
    """Peak memory in bytes after the poses and at the end, and seconds, of one clip."""
    from synthetic_clip import ColorDetector, FigureEstimator, SyntheticClip

    from sdpose_core.annotate.clip import annotate_clip
    from sdpose_core.annotate.clip_options import ClipOptions

    marks: list[float] = []
    memory: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        clip = SyntheticClip.make(Path(folder) / "clip.json", frames)

        def mark(chunk: object) -> None:
            marks.append(time.perf_counter())
            memory.append(peak_memory())

        began = time.perf_counter()
        estimator = FigureEstimator(keypoint_set=keypoint_set)
        annotate_clip(
            clip, folder, estimator=lambda: estimator, detector=ColorDetector, options=ClipOptions(), asked={},
            on_chunk=mark,
        )  # fmt: skip
        ended = time.perf_counter()
    tenth = max(1, len(marks) // 10)
    first = (marks[tenth] - marks[0]) / (tenth * 64)  # the first chunk also loads scipy
    last = (marks[-2] - marks[-2 - tenth]) / (tenth * 64)  # the last chunk is short
    return {
        "frames": frames, "peak": peak_memory(), "peak_poses": memory[-1], "poses": (marks[-1] - began) / frames,
        "first": first, "last": last, "rest": (ended - marks[-1]) / frames,
    }  # fmt: skip


def peak_memory() -> int:
    """Peak memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(frames: int, keypoint_set: str) -> dict[str, float]:
    """The result of `child` in a new process."""
    command = [sys.executable, __file__, "--child", str(frames), keypoint_set]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    """Print a table; exit code 1 if the longest clip takes at least 200 MB more than the shortest."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--frames", type=int, nargs="+", default=[200, 20000])
    parser.add_argument("--keypoint-set", default="coco_17", help="or coco_wholebody_133")
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(int(args.child[0]), args.child[1])))
        return 0
    print(
        f"{'frames':>8}{'peak MB':>10}{'(poses)':>10}{'ms/frame':>10}{'first 10%':>10}{'last 10%':>10}{'+ drawing':>11}"
    )
    rows = [measure(frames, args.keypoint_set) for frames in args.frames]
    for row in rows:
        print(
            f"{row['frames']:8}{row['peak'] / 1e6:10.0f}{row['peak_poses'] / 1e6:10.0f}{row['poses'] * 1e3:10.2f}"
            f"{row['first'] * 1e3:10.2f}{row['last'] * 1e3:10.2f}{row['rest'] * 1e3:11.2f}"
        )
    more = (rows[-1]["peak"] - rows[0]["peak"]) / 1e6
    print(f"{more:.0f} MB more for {rows[-1]['frames']} frames than for {rows[0]['frames']}")
    return int(more >= 200)


if __name__ == "__main__":
    sys.exit(main())
