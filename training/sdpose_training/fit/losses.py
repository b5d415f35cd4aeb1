"""The paper's two loss terms (arXiv 2509.24980, section 4): heatmaps, and the clean latent of the picture."""

from __future__ import annotations

import torch


def target_heatmaps(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Factors (N, K, h) and (N, K, w) of `encode_udp_profiles` -> target heatmaps (N, K, h, w)."""
    return rows[..., :, None] * columns[..., None, :]


def heatmap_loss(predicted: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean over samples, keypoints and pixels of weight x squared error: heatmaps (N, K, h, w), weights (N, K)."""
    return ((predicted - target).square() * weights[..., None, None]).mean()


def rgb_loss(predicted: torch.Tensor, clean_latents: torch.Tensor) -> torch.Tensor:
    """Mean squared error between latents (N, 4, h, w)."""
    return (predicted.float() - clean_latents.float()).square().mean()
