"""CPU seconds of a training step in several ways: as it is, channels-last, compiled, bf16.

    python benchmarks/training_ways.py --way plain --way channels-last --way compile [--size W H] [--batch N]

The model of a recipe with random weights; the pose task alone; AdamW. CPU seconds are those of all threads, so they
also compare on a busy machine. The first step, which compiles, is shown apart.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from sdpose_core.skeletons import COCO_17
from sdpose_training.fit.optimizers import make_optimizer
from sdpose_training.fit.precision import set_precision
from sdpose_training.fit.starting_weights import starting_model
from sdpose_training.fit.trained_parts import choose_trained
from sdpose_training.recipe.recipe import Recipe, load_recipe

RECIPE = Path(__file__).parents[1] / "training" / "recipes" / "synthetic_cpu.toml"
WAYS = {
    "plain": [], "channels-last": ["--hardware.channels-last", "on"], "compile": ["--hardware.compile", "on"],
    "checkpointing": ["--hardware.gradient-checkpointing", "on"],
    "compile, checkpointing": ["--hardware.compile", "on", "--hardware.gradient-checkpointing", "on"],
    "bf16": ["--hardware.mixed-precision", "bf16"],
}  # fmt: skip


def seconds_of(recipe: Recipe, size: tuple[int, int], batch: int, steps: int) -> tuple[float, float]:
    """CPU seconds of the first step, and per sample of the later ones."""
    model = starting_model(recipe, COCO_17).model
    parameters = choose_trained(model, recipe)
    set_precision(model, recipe, "cpu")
    optimizer = make_optimizer(parameters, recipe.optimizer, 1e-4)
    images = torch.rand(batch, 3, *size[::-1], generator=torch.Generator().manual_seed(0)) * 2 - 1

    def step() -> float:
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.hardware.mixed_precision == "bf16"):
            heatmaps = model(images).heatmaps
        heatmaps.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.process_time() - began

    first = step()
    step()
    return first, sum(step() for _ in range(steps)) / steps / batch


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--way", action="append", choices=WAYS, metavar="|".join(WAYS))
    parser.add_argument("--size", type=int, nargs=2, default=(192, 256), metavar=("W", "H"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args(argv)
    plain = ["--hardware.mixed-precision", "no", "--hardware.gradient-checkpointing", "off"]
    plain += ["--hardware.channels-last", "off", "--hardware.compile", "off"]
    for way in args.way or WAYS:
        recipe = load_recipe(args.recipe, [*plain, *WAYS[way]])
        first, each = seconds_of(recipe, tuple(args.size), args.batch, args.steps)
        print(f"{way:24} first step {first:6.1f} s, then {1000 * each:6.1f} ms per sample", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
