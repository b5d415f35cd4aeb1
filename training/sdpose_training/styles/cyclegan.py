"""CycleGAN's generator (Zhu et al. 2017, arXiv 1703.10593, appendix 7.2) for inference: photo -> painting.

Written from the paper: 7x7 convolution, two strided 3x3 convolutions, nine residual blocks, two transposed
convolutions, 7x7 convolution and tanh; instance normalization without learned factors, reflection at the borders.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

MULTIPLE = 4
"""Sides of the pictures must be multiples of this, as they are halved twice."""

MIN_SIDE = 16
"""After two halvings, sides must be larger than the reflected border."""


class CycleGANGenerator(nn.Module):
    """Pictures (N, 3, H, W) in [-1, 1], H and W multiples of 4 -> pictures of the same shape in [-1, 1].

    Args:
        width: channels at full resolution; 64 as released.
        blocks: residual blocks; 9 as released.
    """

    def __init__(self, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 7)
        self.down = nn.ModuleList(
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1) for channels in (width, 2 * width)
        )
        self.blocks = nn.ModuleList(ResidualBlock(4 * width) for _ in range(blocks))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1)
            for channels in (4 * width, 2 * width)
        )
        self.last = nn.Conv2d(width, 3, 7)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = F.relu(F.instance_norm(self.first(_reflected(images, 3))))
        for convolution in self.down:
            x = F.relu(F.instance_norm(convolution(x)))
        for block in self.blocks:
            x = block(x)
        for convolution in self.up:
            x = F.relu(F.instance_norm(convolution(x)))
        return torch.tanh(self.last(_reflected(x, 3)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, added to their input (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(channels, channels, 3)
        self.convolution2 = nn.Conv2d(channels, channels, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = F.relu(F.instance_norm(self.convolution1(_reflected(x, 1))))
        return x + F.instance_norm(self.convolution2(_reflected(inner, 1)))


def _reflected(x: torch.Tensor, border: int) -> torch.Tensor:
    return F.pad(x, (border,) * 4, mode="reflect")


def released_names(blocks: int = 9) -> dict[str, str]:
    """Tensor names in the authors' files, which number every step of one sequence -> ours."""
    layers = {"model.1": "first", "model.4": "down.0", "model.7": "down.1"}
    for block in range(blocks):
        for theirs, ours in ((1, "convolution1"), (5, "convolution2")):
            layers[f"model.{10 + block}.conv_block.{theirs}"] = f"blocks.{block}.{ours}"
    after = 10 + blocks
    layers |= {f"model.{after}": "up.0", f"model.{after + 3}": "up.1", f"model.{after + 7}": "last"}
    return {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in layers.items() for kind in ("weight", "bias")}


def is_left_out(name: str) -> bool:
    """Whether a tensor is a running statistic of the authors' older files, which instance norm does not use."""
    return name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
