"""Operations and parameters of a training step, per sample, counted on tensors without values: no weights, no GPU.

    python benchmarks/training_operations.py training/recipes/body.toml training/recipes/body_v3.toml

Forward and backward pass of U-Net and head at the size of the recipe's last stage, and the forward pass of the frozen
VAE for input and clean picture. Gradient checkpointing, which computes the U-Net's forward pass once more, is left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "training"))

from sdpose_core.model.backbone import POSE, RGB
from sdpose_core.model.network import SDPose
from sdpose_core.skeletons import KEYPOINT_SETS
from sdpose_training.fit.losses import heatmap_loss, rgb_loss
from sdpose_training.fit.starting_weights import for_stage, outline
from sdpose_training.recipe.recipe import Recipe, load_recipe


def operations(model: SDPose, tasks: Sequence[str]) -> tuple[float, float]:
    """GFLOP (2 per multiply-add) for one sample: of the frozen VAE, and of what is trained."""
    w, h = model.config.input_size
    with FlopCounterMode(display=False) as encoder:
        clean = model.latents(torch.empty(len(tasks), 3, h, w, device="meta"))[:1]
    with FlopCounterMode(display=False) as counter:
        found = model(latents=clean, tasks=tasks)
        weights = torch.empty(found.heatmaps.shape[:2], device="meta")
        loss = heatmap_loss(found.heatmaps, torch.empty_like(found.heatmaps), weights)
        if found.rgb_latents is not None:
            loss = loss + rgb_loss(found.rgb_latents, clean)
        loss.backward()
    return encoder.get_total_flops() / 1e9, counter.get_total_flops() / 1e9


def row(recipe: Recipe) -> list[str]:
    """The cells of a recipe."""
    model = outline(recipe, KEYPOINT_SETS[recipe.data.keypoint_set])
    for_stage(model, recipe.stages[-1])
    model.vae.requires_grad_(False)
    vae, trained = operations(model, (POSE, RGB) if recipe.rgb_reconstruction else (POSE,))
    parameters = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return [recipe.name, f"{vae:,.0f}", f"{trained:,.0f}", f"{vae + trained:,.0f}", f"{parameters / 1e6:.1f}"]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipes", nargs="+", type=Path, metavar="RECIPE.toml")
    args = parser.parse_args(argv)
    print("| recipe | VAE | U-Net and head | sum | trained parameters, M |\n| --- | --- | --- | --- | --- |")
    for path in args.recipes:
        print(f"| {' | '.join(row(load_recipe(path)))} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
