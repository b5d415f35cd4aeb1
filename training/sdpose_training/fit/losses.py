"""The paper's two loss terms (arXiv 2509.24980, section 4): heatmaps, and the clean latent of the picture."""

from __future__ import annotations

import torch

from sdpose_core.model.config import SDPoseConfig
from sdpose_training.recipe.recipe import LossRecipe


def target_heatmaps(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Factors (N, K, h) and (N, K, w) of `encode_udp_profiles` -> target heatmaps (N, K, h, w)."""
    return rows[..., :, None] * columns[..., None, :]


def heatmap_loss(predicted: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean over samples, keypoints and pixels of weight x squared error: heatmaps (N, K, h, w), weights (N, K)."""
    return ((predicted - target).square() * weights[..., None, None]).mean()


def rgb_loss(predicted: torch.Tensor, clean_latents: torch.Tensor) -> torch.Tensor:
    """Mean squared error between latents (N, 4, h, w)."""
    return (predicted.float() - clean_latents.float()).square().mean()


def term_weights(recipe: LossRecipe, config: SDPoseConfig) -> tuple[float, float]:
    """Weights of `heatmap_loss` and `rgb_loss`.

    The paper writes squared norms. `reduction="sum"` gives the terms the ratio of these sums, with the heatmap term
    still a mean, so that gradient norms keep their size (AdamW sees only the ratio). An input pixel has C / 64 values
    of the latents and K / 16 of the heatmaps. For Stable Diffusion's four channels, the RGB term then weighs 1 / K.
    """
    share = config.vae.latent_channels / (4 * config.num_keypoints) if recipe.reduction == "sum" else 1.0
    return recipe.heatmap, recipe.rgb * share
