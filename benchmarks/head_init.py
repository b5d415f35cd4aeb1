"""How fast a new heatmap head learns at the paper's learning rate, by its first weights (`model.head_init`).

    python benchmarks/head_init.py [--steps 300]

The head of `body` (17 points, 320 channels) alone, on small features: Gaussians at 17 random places, mixed into 320
channels by a fixed random matrix, with noise. The loss is that of training, as a share of what zeros would have.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "training"))

from sdpose_core.model.config import BODY
from sdpose_core.model.head import HeatmapHead
from sdpose_training.fit.losses import heatmap_loss, target_heatmaps
from sdpose_training.fit.setup import make_optimizer
from sdpose_training.fit.starting_weights import init_head
from sdpose_training.recipe.recipe import OptimizerRecipe

SIZE, BATCH, RATE = (16, 24), 4, 3e-5
"""Size of the heatmaps (w, h), samples per step, the paper's learning rate."""


def profiles(places: torch.Tensor, length: int) -> torch.Tensor:
    """Places (N, K) of 0..1 -> Gaussians (N, K, length) with a sigma of 1.5."""
    distance = torch.arange(length) - places[..., None] * (length - 1)
    return (-(distance**2) / (2 * 1.5**2)).exp()


def batch_of(mixing: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (N, 320, h/2, w/2) and the heatmaps (N, 17, h, w) that they tell."""
    x, y = torch.rand(2, BATCH, len(mixing), generator=generator)
    target = target_heatmaps(profiles(y, SIZE[1]), profiles(x, SIZE[0]))
    small = torch.nn.functional.avg_pool2d(target, 2)
    features = torch.einsum("nkhw,kc->nchw", small, mixing)
    return features + 0.1 * torch.randn(features.shape, generator=generator), target


def losses_of(how: str, steps: int) -> list[float]:
    """The loss of each step, as a share of the loss of zeros."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(BODY.num_keypoints, 320, generator=generator)
    head = HeatmapHead(BODY).train()
    init_head(head, how)
    optimizer = make_optimizer(list(head.parameters()), OptimizerRecipe(), RATE)
    found, weights = [], torch.ones(BATCH, BODY.num_keypoints)
    for _ in range(steps):
        features, target = batch_of(mixing, generator)
        loss = heatmap_loss(head(features), target, weights)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(float(loss.detach() / target.square().mean()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    steps = parser.parse_args().steps
    places = [0, *(steps * part // 6 - 1 for part in range(1, 7))]
    print("step    ", *(f"{place + 1:7}" for place in places))
    for how in ("last", "all", "pytorch"):
        found = losses_of(how, steps)
        print(f"{how:8}", *(f"{found[place]:7.3f}" for place in places), flush=True)


if __name__ == "__main__":
    main()
