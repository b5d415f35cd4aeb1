"""A small encoder that replaces the VAE's: a stated approximation, with weights from the user.

Its layout is TAESD's (github.com/madebyollin/taesd, MIT): fifteen numbered layers of 64 channels, of which three halve
the size and ten are residual blocks of three convolutions. Input is 0..1; output is latents scaled for the U-Net.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import CheckpointError
from ..tensor_files import open_tensors, shape_problems

if TYPE_CHECKING:
    from ..tensor_files import Tensors

WIDTH = 64
BLOCKS_OF_STAGE = (1, 3, 3, 3)
"""Residual blocks at full size, half, a quarter, an eighth."""

_NAME = re.compile(r"^(?:(?:taesd_)?encoder\.)?(?:layers\.)?(\d+\..+)$")
"""Names in the authors' file ("0.weight"), in a whole autoencoder ("encoder.0.weight"), in ComfyUI's file
("taesd_encoder.0.weight") and in diffusers' ("encoder.layers.0.weight")."""


class TinyEncoder(nn.Module):
    """Pictures to latents, with random weights; `load_tiny_encoder` loads trained ones."""

    def __init__(self, latent_channels: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, WIDTH)]
        for stage, blocks in enumerate(BLOCKS_OF_STAGE):
            if stage > 0:
                layers.append(_conv(WIDTH, WIDTH, stride=2, bias=False))
            layers += [_Block() for _ in range(blocks)]
        self.layers = nn.Sequential(*layers, _conv(WIDTH, latent_channels))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, H, W) in [-1, 1], RGB -> latents (N, C, H/8, W/8), scaled."""
        return self.layers((images + 1) / 2)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 64, h, w) -> the same shape."""
        return torch.relu(self.conv(x) + x)


def _conv(inputs: int, outputs: int, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, **settings)


def load_tiny_encoder(path: str | Path, latent_channels: int) -> TinyEncoder:
    """The encoder in a safetensors file of TAESD's layout: taesd_encoder.safetensors, or an autoencoder.

    Raises `CheckpointError`: no such file, a pickle, another layout, or another number of latent channels.
    """
    path = Path(path)
    with torch.device("meta"):
        encoder = TinyEncoder(latent_channels)
    with open_tensors(path) as tensors:
        names = _file_names(tensors)
        expected = {name: tuple(value.shape) for name, value in encoder.layers.state_dict().items()}
        if problems := shape_problems(expected, {layer: tensors.shapes[name] for layer, name in names.items()}):
            raise CheckpointError(
                f"{path} is not an encoder in TAESD's layout for {latent_channels} latent channels, as in "
                f"taesd_encoder.safetensors: {problems}"
            )
        state = {layer: tensors.read(name) for layer, name in names.items()}
    encoder.layers.load_state_dict(state, strict=True, assign=True)
    return encoder


def _file_names(tensors: Tensors) -> dict[str, str]:
    """Names in `TinyEncoder.layers` -> names in the file, without a decoder's; unknown names are kept for the check."""
    found = {}
    for name in tensors.shapes:
        if not name.startswith(("decoder.", "taesd_decoder.")):
            match = _NAME.match(name)
            found[match.group(1) if match else name] = name
    return found
