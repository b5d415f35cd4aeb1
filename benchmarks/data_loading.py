"""How fast training samples are made: pictures per second and core, and the share of each stage.

    python benchmarks/data_loading.py [--annotations FILE --images DIR] [--keypoint-set wholebody] [--workers 2]
        [--style oil]

Without annotations, the samples come from two photographs of tests/data at 640 x 480 pixels, as in COCO.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "training"))

from sdpose_core.images import read_image
from sdpose_core.skeletons import KeypointSet, keypoint_set
from sdpose_training.data import samples as stages
from sdpose_training.data.annotations import People, read_annotations, read_people
from sdpose_training.data.samples import Batches, PeopleSamples, SampleSettings, collate, quiet_worker
from sdpose_training.recipe.recipe import AugmentationRecipe
from sdpose_training.styles.filters import FILTERS

STAGES = {
    "augment": "placement (flip, half body, jitter)", "read_picture": "read and decode", "warp": "warp",
    "repaint": "style filter",
    "distort": "photometric", "occlude": "blur and hole", "encode_udp_profiles": "targets",
}  # fmt: skip
"""Function called in `sdpose_training.data.samples` -> name of the stage; "rest" is mirroring and copies."""

GOAL = 16.0
"""Pictures per second that two cores should reach at 768 x 1024."""


def measure_stages(samples: PeopleSamples, count: int) -> tuple[dict[str, float], float]:
    """CPU seconds per picture of each stage, and in total, in this process on one thread."""
    import cv2

    cv2.setNumThreads(1)
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            began = time.process_time()
            result = function(*args)
            spent[name] += time.process_time() - began
            return result

        return call

    originals = {name: getattr(stages, name) for name in STAGES}
    try:
        for name, function in originals.items():
            setattr(stages, name, timed(name, function))
        began = time.process_time()
        for i in range(count):
            samples[(i // len(samples), i % len(samples))]
        total = time.process_time() - began
    finally:
        for name, function in originals.items():
            setattr(stages, name, function)
    spent["rest"] = total - sum(spent.values())
    return {name: seconds / count for name, seconds in spent.items()}, total / count


def measure_loader(samples: PeopleSamples, count: int, workers: int, batch: int = 4) -> float:
    """Pictures per second of a DataLoader, without its start."""
    from torch.utils.data import DataLoader

    keys = [[(0, i % len(samples)) for i in range(start, start + batch)] for start in range(0, count, batch)]
    loader = DataLoader(
        samples, batch_sampler=keys, num_workers=workers, collate_fn=collate, worker_init_fn=quiet_worker
    )
    with closing(Batches(loader)) as batches:
        next(batches)
        began = time.perf_counter()
        seen = sum(len(each["index"]) for each in batches)
        return seen / (time.perf_counter() - began)


def stand_in_people(folder: Path, points: KeypointSet, count: int = 24) -> People:
    """Photographs of 640 x 480 with boxes and keypoints at random places."""
    import cv2

    rng = np.random.default_rng(0)
    sources = [read_image(ROOT / "tests" / "data" / name) for name in ("astronaut.png", "grace_hopper.jpg")]
    files = []
    for i in range(count):
        picture = np.roll(cv2.resize(sources[i % 2], (640, 480)), 20 * i, axis=1)
        files.append(folder / f"{i}.jpg")
        cv2.imwrite(str(files[-1]), picture[..., ::-1])
    corners = rng.uniform((20, 20), (300, 150), (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform((100, 150), (300, 300), (count, 2))], axis=1)
    places = boxes[:, None, :2] + rng.uniform(0, 1, (count, len(points), 2)) * (boxes[:, None, 2:] - boxes[:, None, :2])
    seen, ids = np.ones((count, len(points)), np.float32), np.arange(count)
    sizes, areas = np.tile([640, 480], (count, 1)), np.full(count, 1e4)
    return People(points, tuple(files), sizes, boxes, places.astype(np.float32), seen, areas, ids, ids)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures; exit code 1 if two cores would not reach 16 pictures per second."""
    args = _parser().parse_args(argv)
    points = keypoint_set(args.keypoint_set)
    w, h = args.input_size
    filters = (FILTERS[args.style],) if args.style else ()
    settings = SampleSettings((w, h), 6.0, 8 if len(points) > 17 else 3, with_clean=True, seed=0, filters=filters)
    with tempfile.TemporaryDirectory() as folder:
        if args.annotations:
            people, _ = read_people(read_annotations(args.annotations), args.images or args.annotations.parent, points)
        else:
            people = stand_in_people(Path(folder), points)
        samples = PeopleSamples(people, AugmentationRecipe(style_share=1.0), settings)
        seconds, total = measure_stages(samples, args.count)
        loaded = measure_loader(samples, args.count, args.workers)
    print(f"{w} x {h}, {len(points)} keypoints, {len(people)} people: {1 / total:.1f} pictures/s on one core")
    for name in (*STAGES, "rest"):
        print(f"  {STAGES.get(name, name):38}{1000 * seconds[name]:7.2f} ms {seconds[name] / total:6.1%}")
    print(f"DataLoader, number of processes {args.workers}: {loaded:.1f} pictures/s (goal on two cores: {GOAL:g})")
    if args.json:
        figures = {"per_core": 1 / total, "loader": loaded, "workers": args.workers, "seconds": seconds}
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return int(2 / total < GOAL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--annotations", type=Path, metavar="FILE", help="COCO format")
    parser.add_argument("--images", type=Path, metavar="DIR", help="default: the folder of the annotations")
    parser.add_argument("--keypoint-set", default="body")
    parser.add_argument("--input-size", type=int, nargs=2, default=(768, 1024), metavar=("W", "H"))
    parser.add_argument("--style", choices=FILTERS, help="repaint every crop")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
