"""A small encoder in place of the VAE's: a stated approximation, with weights that the user brings.

The layout is that of TAESD (github.com/madebyollin/taesd, MIT): fifteen numbered layers, all of 64 channels; three of
them halve the size, and ten are residual blocks of three convolutions. Pictures go in as 0..1, and latents come out
scaled as the U-Net wants them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import CheckpointError
from ..tensor_files import open_tensors, some

if TYPE_CHECKING:
    from ..tensor_files import Tensors

WIDTH = 64
BLOCKS_OF_STAGE = (1, 3, 3, 3)
"""Residual blocks at full size, half, a quarter, an eighth."""

_NAME = re.compile(r"^(?:(?:taesd_)?encoder\.)?(?:layers\.)?(\d+\..+)$")
"""As the authors' file has it ("0.weight"), within a whole autoencoder ("encoder.0.weight"), in ComfyUI's
("taesd_encoder.0.weight") and in diffusers' ("encoder.layers.0.weight")."""


class TinyEncoder(nn.Module):
    """Pictures to latents, with random weights; `load_tiny_encoder` gives trained ones."""

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
    """The encoder of a safetensors file in TAESD's layout; a decoder beside it is ignored.

    Args:
        path: taesd_encoder.safetensors, or the safetensors file of a whole tiny autoencoder.
        latent_channels: of the U-Net that reads the latents.

    Raises:
        CheckpointError: no such file, a pickle, another layout, or another number of latent channels.
    """
    path = Path(path)
    with torch.device("meta"):
        encoder = TinyEncoder(latent_channels)
    with open_tensors(path) as tensors:
        names = _own_names(tensors)
        _check(path, {own: tensors.shapes[name] for own, name in names.items()}, encoder)
        state = {own: tensors.read(name) for own, name in names.items()}
    encoder.layers.load_state_dict(state, strict=True, assign=True)
    return encoder


def _own_names(tensors: Tensors) -> dict[str, str]:
    """Names in `TinyEncoder.layers` -> names in the file. What is no encoder's keeps its name, and fails the check."""
    own = {}
    for name in tensors.shapes:
        if name.startswith(("decoder.", "taesd_decoder.")):
            continue
        match = _NAME.match(name)
        own[match.group(1) if match else name] = name
    return own


def _check(path: Path, shapes: Mapping[str, tuple[int, ...]], encoder: TinyEncoder) -> None:
    expected = {name: tuple(value.shape) for name, value in encoder.layers.state_dict().items()}
    wrong = [
        f"{name} {shapes[name]} instead of {shape}"
        for name, shape in expected.items()
        if shapes.get(name, shape) != shape
    ]
    problems = [
        f"{what}: {some(names)}"
        for what, names in (
            ("missing", [name for name in expected if name not in shapes]),
            ("unexpected", [name for name in shapes if name not in expected]),
            ("of another shape", wrong),
        )
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{path} is no encoder in TAESD's layout for {encoder.layers[-1].out_channels} latent channels: "
            f"{'; '.join(problems)}; expected taesd_encoder.safetensors"
        )
