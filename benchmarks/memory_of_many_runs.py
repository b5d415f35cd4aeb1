"""Memory of many runs in one process: does it grow?

    python benchmarks/memory_of_many_runs.py [--runs 50] [--work image video load]

Runs each kind of work many times with a tiny SDPose and measures resident memory after each run, when unused memory is
given back to the system. Prints the median of the last ten runs against that of the first ten, which follow a few runs
to warm up, and exits with 1 if one grew by more than 1%. Single samples vary by more: allocators keep and reuse memory.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

MAX_GROWTH = 0.01
COMPARED = 10
WARM_UP = 10
FRAMES = 6
SIZE = (192, 256)
"""Of the pictures, (w, h)."""

BOX = np.array([[40, 20, 150, 240]], np.float32)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 no growth, 1 growth."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=50, help=f"after {WARM_UP} to warm up (default: 50, at least 20)")
    parser.add_argument("--work", nargs="+", choices=("image", "video", "load"), default=["image", "video", "load"])
    args = parser.parse_args(argv)
    if args.runs < 2 * COMPARED:
        parser.error(f"--runs: expected at least {2 * COMPARED}")
    with tempfile.TemporaryDirectory() as folder:
        works = make_works(Path(folder))
        grown = [name for name in args.work if not measure(name, works[name], args.runs)]
    print(f"grew by more than {MAX_GROWTH:.0%}: {', '.join(grown)}" if grown else "no growth")
    return 1 if grown else 0


def measure(name: str, work: Callable[[int], object], runs: int) -> bool:
    """Whether memory stays within `MAX_GROWTH` over the runs; prints a line."""
    samples = []
    for run in range(WARM_UP + runs):
        work(run)
        samples.append(resident_bytes())
    samples = samples[WARM_UP:]
    first, last = statistics.median(samples[:COMPARED]), statistics.median(samples[-COMPARED:])
    growth = last / first - 1
    spread = max(samples) / min(samples) - 1
    print(
        f"{name:6} {runs} runs: first {COMPARED} {first / 1e6:.1f} MB, last {COMPARED} {last / 1e6:.1f} MB, "
        f"growth {growth:+.2%} (largest to smallest sample {spread:.1%})",
        flush=True,
    )
    return growth <= MAX_GROWTH


def resident_bytes() -> int:
    """Resident memory of this process, after unused memory is given back where the C library can."""
    gc.collect()
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
    import psutil

    return psutil.Process().memory_info().rss


def make_works(folder: Path) -> dict[str, Callable[[int], object]]:
    """One call per run, with the number of the run: a picture, a video, a model that is loaded and used."""
    from sdpose_core.checkpoints.layouts import save_checkpoint
    from sdpose_core.cli.main import main as sdpose
    from sdpose_core.estimation.loading import load_estimator
    from sdpose_core.images import write_png
    from sdpose_core.model.config import SDPoseConfig, UNetConfig, VAEConfig
    from sdpose_core.model.network import SDPose

    random, (w, h) = np.random.default_rng(0), SIZE
    image = random.integers(0, 256, (h, w, 3), np.uint8)
    write_png(folder / "picture.png", image)
    for number in range(FRAMES):
        write_png(folder / "frames" / f"{number}.png", np.roll(image, number, axis=1))
    (folder / "boxes.json").write_text(f"[{BOX[0].tolist()}]")
    (folder / "frames.json").write_text("{" + ", ".join(f'"{n}.png": [{BOX[0].tolist()}]' for n in range(FRAMES)) + "}")
    config = SDPoseConfig(
        input_size=(64, 128), unet=UNetConfig((16, 32, 32, 32), 1, (1, 2, 2, 2), 16, 8),
        vae=VAEConfig((8, 8, 16, 16), 1, norm_num_groups=4),
    )  # fmt: skip
    model = folder / "tiny.safetensors"
    save_checkpoint(SDPose(config, with_rgb_branch=True).state_dict(), config, model)

    def command(kind: str, source: str, boxes: str, run: int) -> None:
        arguments = [kind, str(folder / source), "-o", str(folder / f"{kind}-{run}"), "--model", str(model)]
        if sdpose([*arguments, "--boxes", str(folder / boxes), "--device", "cpu"]):
            raise SystemExit(f"{kind} failed in run {run}")

    return {
        "image": lambda run: command("image", "picture.png", "boxes.json", run),
        "video": lambda run: command("video", "frames", "frames.json", run),
        "load": lambda run: load_estimator(model, device="cpu").estimate([image], [BOX]),
    }


if __name__ == "__main__":
    sys.exit(main())
