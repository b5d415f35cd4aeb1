"""Modules of the paper's third version (arXiv 2509.24980v3): aggregation of several levels, latent reconstruction.

Of that version only the abstract is known: features of selected up-blocks are fused by a light module, and the clean
latent is reconstructed as an auxiliary task. How both are built is our guess, with its reasons in docs/fidelity.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from .config import STRIDE_OF_LEVEL, SDPoseConfig


class GatedAggregation(nn.Module):
    """Levels are weighed against each other at every pixel; their mixture is added to the finest level.

    Each level gets a 1 x 1 convolution to the width of the finest one, a group norm (up-blocks differ in scale), is
    enlarged to its size, and gets a score per pixel; the softmax over the levels weighs them. The last convolution is
    zero at first: a new model starts as that of the finest level alone, which keeps the prior's feature as it is.
    """

    def __init__(self, config: SDPoseConfig) -> None:
        super().__init__()
        self.finest_level = config.finest_level
        widths, groups = config.feature_widths, config.unet.norm_num_groups
        width = widths[self.finest_level]
        self.projections = nn.ModuleDict({level: nn.Conv2d(w, width, kernel_size=1) for level, w in widths.items()})
        self.norms = nn.ModuleDict({level: nn.GroupNorm(groups, width) for level in widths})
        self.gates = nn.ModuleDict({level: nn.Conv2d(width, 1, kernel_size=1) for level in widths})
        self.mix = nn.Conv2d(width, width, kernel_size=3, padding=1)
        for parameter in (*self.gates.parameters(), *self.mix.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Features (N, C of the level, h, w of the level) -> (N, C, h, w) of the finest level's width and size."""
        finest = features[self.finest_level]
        parts = [self._part(level, features[level], finest.shape[-2:]) for level in self.projections]
        scores = [gate(part) for gate, part in zip(self.gates.values(), parts, strict=True)]
        shares = torch.cat(scores, dim=1).softmax(dim=1).to(parts[0].dtype).split(1, dim=1)
        mixture = parts[0] * shares[0]
        for part, share in zip(parts[1:], shares[1:], strict=True):
            mixture = mixture + part * share
        return finest + self.mix(F.silu(mixture))

    def _part(self, level: str, feature: torch.Tensor, size: torch.Size) -> torch.Tensor:
        """A level in the width and size of the finest one."""
        return enlarged(self.norms[level](self.projections[level](feature)), size)


class LatentReconstruction(nn.Module):
    """The clean latent of the picture, from the feature that also gives the heatmaps.

    The layers are those of the U-Net's output, for the feature's width: from F1 they can start with Stable Diffusion's
    weights (`unet.conv_norm_out`, `unet.conv_out`).
    """

    def __init__(self, config: SDPoseConfig) -> None:
        super().__init__()
        width = config.feature_widths[config.finest_level]
        self.stride = STRIDE_OF_LEVEL[config.finest_level]
        self.norm = nn.GroupNorm(config.unet.norm_num_groups, width)
        self.out = nn.Conv2d(width, config.vae.latent_channels, kernel_size=3, padding=1)

    def forward(self, feature: torch.Tensor) -> torch.Tensor:
        """Aggregated feature (N, C, h, w) -> latents (N, 4, H/8, W/8) of an (H, W) input, times the VAE's factor."""
        h, w = feature.shape[-2:]
        return self.out(enlarged(F.silu(self.norm(feature)), torch.Size((h * self.stride, w * self.stride))))


def enlarged(feature: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """(N, C, ., .) -> (N, C, *size), bilinear; the same tensor if it has that size."""
    same = feature.shape[-2:] == size
    return feature if same else F.interpolate(feature, size=size, mode="bilinear", align_corners=False)
