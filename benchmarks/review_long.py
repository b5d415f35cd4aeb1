"""How the review page copes with a long clip: first paint, jumps, playing, edits, a save; seconds and memory.

    python benchmarks/review_long.py --chromium /usr/bin/chromium

makes 20,000 frames of two people (whole body, 133 points) with a video of them in a temporary folder, starts
`sdpose review`, and drives its page in Chromium. Needs the extra `review` and Playwright for Python.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.poses import PoseSequence
from sdpose_core.skeletons import COCO_WHOLEBODY_133
from sdpose_core.video.writer import VideoWriter

SIZE = (640, 360)
RATE = Fraction(25)


def make_clip(folder: Path, frames: int) -> Path:
    """Two people who walk to and fro, and a video of gray frames with a bar that moves."""
    rng = np.random.default_rng(0)
    shape = rng.uniform(0, 150, (2, 133, 2)) + [[[60, 90]], [[380, 90]]]
    phase = np.arange(frames)[:, None] / 40 + np.array([0.0, 1.0])
    move = np.stack([40 * np.sin(phase), 8 * np.sin(2 * phase)], axis=-1)
    keypoints = shape[None] + move[:, :, None] + rng.normal(0, 0.7, (frames, 2, 133, 2))
    boxes = np.concatenate([keypoints.min(2), keypoints.max(2), np.full((frames, 2, 1), 0.9)], axis=-1)
    sequence = PoseSequence(
        keypoints, rng.uniform(0.3, 1, (frames, 2, 133)), boxes, np.tile([0, 1], (frames, 1)), np.arange(frames),
        np.arange(frames) / float(RATE), SIZE, RATE, COCO_WHOLEBODY_133.name, {"source": "long.mp4"},
    )  # fmt: skip
    sequence.save(folder / "long.pose.npz")
    with VideoWriter(folder / "long.mp4", SIZE, RATE, codec="h264") as writer:
        for t in range(frames):
            picture = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
            picture[:, t % SIZE[0] : t % SIZE[0] + 20] = 200
            writer.write(picture)
    return folder / "long.pose.npz"


def memory_of(pid: int) -> float:
    """MB that a process holds now."""
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")) / 1024


def until(page: Any, expression: str, seconds: float = 120) -> None:
    """Wait until an expression is true on the page, whose policy forbids Playwright's own waiting."""
    end = time.perf_counter() + seconds
    while not page.evaluate(expression):
        if time.perf_counter() > end:
            raise TimeoutError(f"not true after {seconds} s: {expression}")
        time.sleep(0.005)


POST = """([path, body]) => fetch(path, {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
}).then((answer) => answer.json())"""


def drive(page: Any, address: str, frames: int, server: int) -> dict[str, Any]:
    """The figures of one visit to the page."""
    result: dict[str, Any] = {}
    start = time.perf_counter()
    page.goto(address)
    until(page, "Boolean(window.sdposeReview?.ready)")
    result["first_paint_s"] = time.perf_counter() - start
    result["server_mb_at_first_paint"] = memory_of(server)
    jumps = []
    for t in np.random.default_rng(1).integers(0, frames - 500, 40).tolist():
        start = time.perf_counter()
        page.fill("#frame-number", str(t))
        page.press("#frame-number", "Enter")
        until(page, f"window.sdposeReview.ready && window.sdposeReview.frame === {t}", 60)
        jumps.append(time.perf_counter() - start)
    result["jump_s_median"], result["jump_s_longest"] = statistics.median(jumps), max(jumps)
    result["server_mb_after_jumps"] = memory_of(server)
    start = page.evaluate("window.sdposeReview.frame")
    page.click("#play")
    time.sleep(10)
    page.click("#play")
    result["frames_played_in_10_s"] = page.evaluate("window.sdposeReview.frame") - start
    result["server_mb_after_playing"] = memory_of(server)
    while page.evaluate("fetch('api/state').then((a) => a.json()).then((s) => s.computing)"):
        time.sleep(1)
    result["server_mb_with_distrust"] = memory_of(server)
    for name, op in {
        "move": {"kind": "move", "t": frames // 2, "id": 0, "points": [9], "to": [[10, 10]], "spread": 5},
        "exchange_ids": {"kind": "exchange_ids", "from": 0, "to": frames - 1, "ids": [0, 1]},
        "exchange_sides": {"kind": "exchange_sides", "from": 0, "to": frames - 1, "id": 0, "part": "all"},
    }.items():
        start = time.perf_counter()
        page.evaluate(POST, ["api/edit", {"op": op}])
        result[f"{name}_s"] = time.perf_counter() - start
    start = time.perf_counter()
    page.evaluate(POST, ["api/save", {}])
    result["save_s"] = time.perf_counter() - start
    result["server_mb_at_the_end"] = memory_of(server)
    result["page_heap_mb"] = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser's program")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        clip = make_clip(Path(folder), args.frames)
        print(f"made the clip in {time.perf_counter() - start:.0f} s")
        command = [sys.executable, "-m", "sdpose_core.cli", "review", str(clip), "--no-browser"]
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            result = {"frames": args.frames, "start_s": time.perf_counter() - start}
            browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
            try:
                page = browser.new_page(viewport={"width": 1366, "height": 768})
                result |= drive(page, address, args.frames, server.pid)
            finally:
                browser.close()
                server.terminate()
        result["server_mb_most"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    text = json.dumps(result, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
