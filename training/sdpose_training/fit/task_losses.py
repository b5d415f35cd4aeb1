"""Both losses of a micro-batch: the pose task and the RGB task share one batch of the U-Net, or one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sdpose_core.model.backbone import RGB
from sdpose_training.fit.latents import posterior_noise
from sdpose_training.fit.losses import heatmap_loss, rgb_loss, target_heatmaps
from sdpose_training.fit.setup import Parts


def task_losses(batch: dict[str, Any], parts: Parts, tasks: Sequence[str], latents_kind: str) -> torch.Tensor:
    """(2,) heatmap and RGB loss of a micro-batch.

    The RGB task has its own half of the U-Net's batch; or none, if the model reconstructs from the pose pass.
    `latents_kind` is `ModelRecipe.latents`.
    """
    device = parts.accelerator.device
    images = as_images(batch["input"], device)
    clean = as_images(batch["clean"], device) if RGB in tasks else None
    if parts.model.vae_is_frozen:
        pictures = images if clean is None else torch.cat([images, clean])
        noise = None
        if latents_kind == "sample":
            noise = posterior_noise(batch["noise_seed"], pictures, parts.model.config.vae.latent_channels)
        latents = parts.model.latents(pictures, noise)
        clean_latents = latents[len(images) :]
        prediction = parts.trained(latents=latents[: len(images)], tasks=tasks)
    else:
        prediction = parts.trained(images, tasks=tasks)
        with torch.no_grad():  # with a gradient, target and prediction would collapse together
            clean_latents = None if clean is None else parts.model.latents(clean)
    rows, columns, weights = (batch[name].to(device, non_blocking=True) for name in ("rows", "columns", "weights"))
    heatmap = heatmap_loss(prediction.heatmaps, target_heatmaps(rows, columns), weights)
    rgb = heatmap.new_zeros(()) if clean is None else rgb_loss(prediction.rgb_latents, clean_latents)
    return torch.stack([heatmap, rgb])


def as_images(pixels: torch.Tensor, device: torch.device) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 in [-1, 1] on the device."""
    return pixels.to(device, non_blocking=True).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
