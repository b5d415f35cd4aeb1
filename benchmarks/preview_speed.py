"""Pictures per second of the detector and the whole-body preview, part by part, and of other tools.

    python benchmarks/preview_speed.py [PICTURE...] [--threads 1] [--device openvino] [--ways ours,mediapipe,rtmlib]
    python benchmarks/preview_speed.py [PICTURE...] --shifts --device openvino    # points of a device beside the CPU's
    python benchmarks/preview_speed.py [PICTURE...] --shifts --device openvino --model FILE.onnx    # of an export

Without pictures: those of tests/data, and of ../shared/data/coco_samples if it is there. Each way sees all pictures in
every round, after a warm-up; the rounds take turns, and the quietest one counts. On a busy machine, CPU seconds
are what counts.

    ours        finds everybody: detector, body, hands, face and feet of each person, picture by picture
    batched     the same, all pictures in one call of the estimator
    mediapipe   MediaPipe Holistic, one person per picture (pip install mediapipe==0.10.21, which has its models)
    rtmlib      rtmlib's Wholebody, everybody (pip install rtmlib; it downloads its models when it starts)
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PICTURES = (ROOT / "tests" / "data", ROOT.parent / "shared" / "data" / "coco_samples")

Run = Callable[[list[Any]], int]
"""All pictures, RGB uint8 (H, W, 3) -> number of people."""


class Parts:
    """CPU seconds and runs of each model, while it is watched."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()

    def watch(self, name: str, model: Any) -> None:
        """Count the runs of an `OnnxModel` as those of the part `name`."""
        run = model.run

        def watched(inputs: Any) -> Any:
            before = time.process_time()
            try:
                return run(inputs)
            finally:
                self.seconds[name] += time.process_time() - before
                self.runs[name] += 1

        model.run = watched

    def taken(self) -> dict[str, dict[str, float]]:
        """Seconds and runs by part since the last call."""
        found = {name: {"cpu_seconds": self.seconds[name], "runs": self.runs[name]} for name in self.seconds}
        self.seconds.clear()
        self.runs.clear()
        return found


def ours(device: str | None, parts: Parts, *, batched: bool) -> tuple[str, Run]:
    """The detector and the preview."""
    from sdpose_core.detection.loading import load_detector
    from sdpose_core.detection.people import find_people
    from sdpose_core.estimation.loading import load_estimator

    detector, preview = load_detector("yolox", device=device), load_estimator("preview", device=device)
    models = preview.model  # type: ignore[attr-defined]
    parts.watch("detector", detector.detector.model)  # type: ignore[attr-defined]
    for name in ("body", "hands", "face", "feet"):
        part = getattr(models, name)
        if part.model.run.__name__ != "watched":  # finder and estimator share the body, as do both ways
            parts.watch(name, part.model)

    def run(images: list[Any]) -> int:
        models.body._known.clear()  # crops of the round before
        boxes = [find_people(detector, image).boxes for image in images]
        if batched:
            return sum(map(len, preview.estimate(images, boxes)))
        return sum(len(preview.estimate([image], [found])[0]) for image, found in zip(images, boxes, strict=True))

    return f"{detector.name}; {preview.name}", run


def mediapipe() -> tuple[str, Run]:
    """MediaPipe Holistic of middle complexity, the one whose BlazePose ours has; without tracking."""
    import mediapipe as mp

    holistic = mp.solutions.holistic.Holistic(static_image_mode=True, model_complexity=1)

    def run(images: list[Any]) -> int:
        return sum(holistic.process(image).pose_landmarks is not None for image in images)

    return f"MediaPipe {mp.__version__} Holistic, static_image_mode, model_complexity 1", run


def rtmlib() -> tuple[str, Run]:
    """rtmlib's balanced whole-body models."""
    from rtmlib import Wholebody

    tool = Wholebody(mode="balanced", backend="onnxruntime", device="cpu")

    def run(images: list[Any]) -> int:
        return sum(len(tool(image[:, :, ::-1].copy())[0]) for image in images)

    return "rtmlib Wholebody, balanced", run


def shifts(device: str, images: list[Any], model: str = "preview") -> None:
    """Print how far points of the preview or of an exported SDPose move on a device from where they are on the CPU.

    SDPose gets the same boxes on both; then heatmaps are compared too.
    """
    import numpy as np

    from sdpose_core.detection.loading import load_detector
    from sdpose_core.detection.people import find_people
    from sdpose_core.estimation.loading import load_estimator

    points, maps = [], []
    for name in ("cpu", device):
        detector = load_detector("yolox", device=name if model == "preview" else None)
        estimator = load_estimator(model, device=name)
        maps.append([] if model == "preview" else recorded(estimator))
        found = [estimator.estimate([image], [find_people(detector, image).boxes])[0] for image in images]
        points.append(np.concatenate([poses.keypoints for poses in found]))
        print("; ".join([detector.name, estimator.name, *estimator.notes]))
        print(f"  people by picture: {[len(poses) for poses in found]}")
    if len(points[0]) != len(points[1]):
        sys.exit("not the same people: their points cannot be compared")
    if maps[0]:
        ours, others = (np.concatenate(each) for each in maps)
        print(f"heatmaps: values up to {np.abs(ours).max():.2f}, largest difference {np.abs(ours - others).max():.1e}")
    seen, others_seen = (np.isfinite(each).all(axis=-1) for each in points)
    print(f"points: {seen.sum()} and {others_seen.sum()}, of which both have {(seen & others_seen).sum()}")
    moved = np.linalg.norm(points[0] - points[1], axis=-1)
    for part, (first, end) in {"body": (0, 17), "feet": (17, 23), "face": (23, 91), "hands": (91, 133)}.items():
        distances = moved[:, first:end][np.isfinite(moved[:, first:end])]
        if len(distances):
            print(f"  {part:6} by {np.median(distances):.5f} pixel (median), {distances.max():.4f} (largest)")


def recorded(estimator: Any) -> list[Any]:
    """The heatmaps (N, K, h, w) that an estimator's network returns from now on, in a list that grows."""
    maps: list[Any] = []
    compute = estimator.model.heatmaps

    def heatmaps(*args: Any, **settings: Any) -> Any:
        maps.append(compute(*args, **settings))
        return maps[-1]

    estimator.model.heatmaps = heatmaps
    return maps


def measure(run: Run, images: list[Any], parts: Parts) -> dict[str, Any]:
    """One round."""
    parts.taken()
    wall, cpu = time.perf_counter(), time.process_time()
    people = run(images)
    found = {"cpu_seconds": time.process_time() - cpu, "seconds": time.perf_counter() - wall, "people": people}
    return {**found, "parts": parts.taken()}


def table(name: str, what: str, rounds: list[dict[str, Any]], pictures: int) -> None:
    """Print the quietest round of a way."""
    best = min(rounds, key=lambda found: found["cpu_seconds"])
    slowest = max(found["cpu_seconds"] for found in rounds)
    print(f"\n{name}: {what}\n  {pictures} pictures, {best['people']} people")
    print(
        f"  {best['cpu_seconds'] / pictures:.3f} CPU seconds per picture (slowest round {slowest / pictures:.3f}), "
        f"{pictures / best['seconds']:.2f} pictures per second"
    )
    rest = best["cpu_seconds"]
    for part, found in best["parts"].items():
        rest -= found["cpu_seconds"]
        print(f"  {part:9} {found['cpu_seconds'] / pictures:.3f}   {found['runs'] / pictures:.1f} runs per picture")
    if best["parts"]:
        print(f"  {'the rest':9} {rest / pictures:.3f}")


def main() -> None:
    """Measure the ways in turns, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE")
    parser.add_argument("--ways", default="ours,batched", help="comma-separated (default: ours,batched)")
    parser.add_argument("--shifts", action="store_true", help="compare points with those of --device, not speed")
    parser.add_argument("--model", default="preview", metavar="FILE.onnx", help="with --shifts: an exported SDPose")
    parser.add_argument("--threads", type=int, help="use this many cores (default: all)")
    parser.add_argument("--device", help="of ours, such as openvino")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if args.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    import cv2

    from sdpose_core.images import read_image

    cv2.setNumThreads(len(os.sched_getaffinity(0)))
    folders = [folder for folder in PICTURES if folder.is_dir()]
    files = args.pictures or [f for folder in folders for f in sorted(folder.iterdir()) if f.suffix in (".jpg", ".png")]
    images = [read_image(file) for file in files]
    if args.shifts:
        if not args.device:
            parser.error("--shifts needs a --device to compare with")
        shifts(args.device, images, args.model)
        return
    parts = Parts()
    makers: dict[str, Callable[[], tuple[str, Run]]] = {
        "ours": lambda: ours(args.device, parts, batched=False),
        "batched": lambda: ours(args.device, parts, batched=True),
        "mediapipe": mediapipe,
        "rtmlib": rtmlib,
    }
    ways: dict[str, tuple[str, Run]] = {}
    for name in args.ways.split(","):
        if name not in makers:
            parser.error(f"--ways {name}: choose from {', '.join(makers)}")
        try:
            ways[name] = makers[name]()
        except Exception as error:  # noqa: BLE001 - another tool may fail in any way, and then is not measured
            print(f"{name}: not measured: {type(error).__name__}: {error}", file=sys.stderr)
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _, run in ways.values():
        run(images[:1])  # warm-up
    for _ in range(args.rounds):
        for name, (_, run) in ways.items():
            rounds[name].append(measure(run, images, parts))
    print(f"{len(os.sched_getaffinity(0))} cores; {', '.join(file.name for file in files)}")
    for name, found in rounds.items():
        table(name, ways[name][0], found, len(images))
    if args.json:
        args.json.write_text(json.dumps({"pictures": [file.name for file in files], "rounds": rounds}, indent=1))


if __name__ == "__main__":
    main()
