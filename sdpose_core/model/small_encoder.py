"""A small encoder of our own that replaces the VAE's: nothing runs at full size, and it is wide where latents are.

One convolution goes to a quarter of the size, a second one to an eighth. Between and after them are residual blocks as
in ConvNeXt: each pixel sees 7 x 7 neighbors, then a layer per pixel. Their norm takes mean and variance of the whole
picture, as the VAE's norms do.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .encoder_config import SIZES, SMALL

_WIDTHS, _BLOCKS = SIZES[SMALL]
_REACH = 7
_EXPANSION = 4


class SmallEncoder(nn.Module):
    """Pictures to latents, with random weights. `widths`, `blocks`: at a quarter and at an eighth of the size."""

    def __init__(
        self, latent_channels: int = 4, widths: tuple[int, ...] = _WIDTHS, blocks: tuple[int, ...] = _BLOCKS
    ) -> None:
        super().__init__()
        fine, coarse = widths
        self.layers = nn.Sequential(
            nn.Conv2d(3, fine, kernel_size=8, stride=4, padding=2),
            *(_Block(fine) for _ in range(blocks[0])),
            nn.Conv2d(fine, coarse, kernel_size=4, stride=2, padding=1),
            *(_Block(coarse) for _ in range(blocks[1])),
            nn.Conv2d(coarse, latent_channels, kernel_size=3, padding=1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, H, W) in [-1, 1], RGB -> latents (N, C, H/8, W/8), scaled."""
        return self.layers(images)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, _REACH, padding=_REACH // 2, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.expand = nn.Conv2d(width, _EXPANSION * width, kernel_size=1)
        self.reduce = nn.Conv2d(_EXPANSION * width, width, kernel_size=1)
        for parameter in self.reduce.parameters():
            nn.init.zeros_(parameter)  # the identity at first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) -> the same shape."""
        return x + self.reduce(F.gelu(self.expand(self.norm(self.spatial(x)))))
