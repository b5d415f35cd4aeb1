"""Noise for sampled latents."""

from __future__ import annotations

import torch

SIDE = 8
"""Pixels of a picture per value of its latents, in both directions."""


def posterior_noise(seeds: torch.Tensor, pictures: torch.Tensor, channels: int) -> torch.Tensor:
    """Standard normal noise (P x N, channels, H/8, W/8) for the latents of pictures (P x N, 3, H, W).

    The pictures are those of N samples with seeds (N,): N first pictures, then N second ones. A sample's noise depends
    on its seed alone: not on the process, the micro-batch, the device or an interruption.
    """
    height, width = pictures.shape[-2:]
    shape = (len(pictures) // len(seeds), channels, height // SIDE, width // SIDE)
    generators = (torch.Generator().manual_seed(seed) for seed in seeds.tolist())
    each = [torch.randn(shape, generator=generator) for generator in generators]
    return torch.stack(each, dim=1).flatten(0, 1).to(pictures.device)
