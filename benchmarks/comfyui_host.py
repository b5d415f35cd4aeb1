"""The nodes in a real ComfyUI: time to register them, memory over many runs, time to cancel.

    COMFYUI_PATH=/path/to/ComfyUI python benchmarks/comfyui_host.py [--runs 20]

ComfyUI runs on the CPU with folders of its own, as in the tests (its Python: see `tests/support/comfy_host.py`). SDPose
has a tiny random checkpoint: the time of a network does not matter here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from comfy_host import Server, make_base, node, running

FRAMES = 400
CANCEL_AFTER = (2.0, 4.0, 6.0, 8.0)
"""Seconds from queueing to canceling."""

TIMED_PACK = '''
import json, sys, time
from pathlib import Path
from comfy_api.latest import ComfyExtension

class NoNodes(ComfyExtension):
    async def get_node_list(self):
        return []

async def comfy_entrypoint():
    """The pack, loaded as by ComfyUI, with the time that it took."""
    sys.path.append({support!r})
    from pack_loading import load_pack
    before, began = set(sys.modules), time.process_time()
    pack = load_pack(Path({pack!r}))
    extension = await pack.comfy_entrypoint()
    await extension.on_load()
    nodes = await extension.get_node_list()
    for node in nodes:
        node.GET_SCHEMA()
    ended = time.process_time()
    foreign = sorted(name for name in set(sys.modules) - before if not name.startswith(pack.__name__))
    figures = {{"seconds": ended - began, "nodes": len(nodes), "modules": foreign}}
    Path({result!r}).write_text(json.dumps(figures))
    return NoNodes()
'''


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=20, help="runs whose memory is compared (default: 20)")
    parser.add_argument("--starts", type=int, default=3, help="starts of ComfyUI to time registering (default: 3)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        print(registering(Path(folder), args.starts), flush=True)
        for line in runs(Path(folder) / "runs", args.runs):
            print(line, flush=True)


def registering(folder: Path, starts: int) -> str:
    """CPU time of importing the pack, its on_load, list and schemas, in the process of ComfyUI.

    The first start after a change compiles the files; Python keeps the result for the next ones.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    found = []
    for start in range(starts):
        base = make_base(folder / f"start{start}")
        [pack] = (base / "custom_nodes").iterdir()
        timed = base / "custom_nodes" / "timed"
        timed.mkdir()
        values = {"support": str(ROOT / "tests" / "support"), "pack": str(ROOT), "result": str(base / "figures.json")}
        (timed / "__init__.py").write_text(TIMED_PACK.format(**values))
        pack.unlink()
        with running(base):
            found.append(json.loads((base / "figures.json").read_text()))
    times = " ".join(f"{1000 * entry['seconds']:.0f}" for entry in found)
    others = ", ".join(found[0]["modules"]) or "none"
    return f"registering {found[0]['nodes']} nodes, CPU ms of each start: {times}; other modules imported: {others}"


def runs(base: Path, number: int) -> Iterator[str]:
    """Resident memory of the server after each run, and the time it takes to cancel one."""
    import psutil
    from tiny import make_checkpoint

    make_base(base, [ROOT / "tests" / "data" / "astronaut.png"])
    write_long_clip(base / "input" / "long.mp4")
    for name in ("one", "two"):
        make_checkpoint(base / "models" / "sdpose" / f"{name}.safetensors")
    with running(base) as server:
        process = psutil.Process(server.process.pid)
        for what, names in {"one checkpoint": ("one",), "another checkpoint in each run": ("one", "two")}.items():
            sizes = []
            for run in range(number):
                server.run(prompt_of_picture(f"{names[run % len(names)]}.safetensors", run))
                sizes.append(process.memory_info().rss / 1e6)
            yield f"resident memory after each of {number} runs, {what}: {' '.join(f'{size:.0f}' for size in sizes)} MB"
        for what, prompt in {"SDPose Annotator": prompt_of_frames(), "Annotate Video": prompt_of_video()}.items():
            ends = [cancel(server, process, prompt, after) for after in CANCEL_AFTER]
            times = ", ".join(f"{wall:.2f} ({cpu:.2f})" for wall, cpu in ends)
            yield f"seconds (CPU seconds) from the request to cancel {what} to its end: {times}"


def write_long_clip(path: Path) -> None:
    """`FRAMES` frames: the dancer, again and again."""
    from sdpose_core.video.opening import open_video
    from sdpose_core.video.writer import VideoWriter

    with open_video(ROOT / "tests" / "data" / "dancer.mp4") as source:
        images = [frame.image for frame in source.frames()]
        with VideoWriter(path, images[0].shape[1::-1], Fraction(16)) as writer:
            for number in range(FRAMES):
                writer.write(images[number % len(images)])


def prompt_of_picture(model: str, run: int) -> dict[str, Any]:
    """One picture; `run` differs, so that ComfyUI does not show the result that it has."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": "astronaut.png"}},
        "2": node("SDPoseAnnotatorLoadModel", model=model, dtype="fp32"),
        "3": node("SDPoseAnnotator", image=["1", 0], model=["2", 0], max_people=run),
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }


def prompt_of_frames() -> dict[str, Any]:
    """Many frames, with the preview."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": "astronaut.png"}},
        "2": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 0], "amount": FRAMES}},
        "3": node("SDPoseAnnotator", image=["2", 0]),
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["3", 3]}},
    }


def prompt_of_video() -> dict[str, Any]:
    """A video, with the preview."""
    return {"1": node("SDPoseAnnotatorVideo", path="long.mp4")}


def cancel(server: Server, process: Any, prompt: dict[str, Any], after: float) -> tuple[float, float]:
    """Seconds, and CPU seconds of the server, from the request to cancel to the end of a run of `after` seconds."""
    number = server.queue(prompt)
    time.sleep(after)
    if not server.call("/queue")["queue_running"]:
        raise SystemExit(f"the run ended within {after:g} s: there is nothing to cancel")
    asked, before = time.monotonic(), sum(process.cpu_times()[:2])
    server.call("/interrupt", {})
    entry = server.wait(number)
    if "execution_interrupted" not in [kind for kind, _ in entry["status"]["messages"]]:
        raise SystemExit(f"the run was not canceled: {entry['status']['messages']}")
    return time.monotonic() - asked, sum(process.cpu_times()[:2]) - before


if __name__ == "__main__":
    main()
