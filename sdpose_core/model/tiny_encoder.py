"""A small encoder that replaces the VAE's: a stated approximation, with weights from the user.

Two layouts. TAESD's (github.com/madebyollin/taesd, MIT): fifteen numbered layers of 64 channels, of which three halve
the size and ten are residual blocks of three convolutions; its input is 0..1. And our own, see `small_encoder.py`.
Files of `training/distill_encoder.py` name layout, sizes and the weights they were taught for in their metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import CheckpointError, InputError
from ..files import atomic_path
from ..tensor_files import open_tensors, shape_problems
from .encoder_config import SIZES, SMALL, TAESD, EncoderConfig
from .small_encoder import SmallEncoder
from .value_checks import known_values

if TYPE_CHECKING:
    from ..tensor_files import Tensors

(_WIDTH,), _BLOCKS = SIZES[TAESD]
_CONFIG, _TAUGHT_FOR = "encoder_config", "taught_for"
"""Entries of a file's metadata: JSON of `EncoderConfig`, and of the digests of the weights."""

_NAME = re.compile(r"^(?:(?:taesd_)?encoder\.)?(?:layers\.)?(\d+\..+)$")
"""Names in the authors' file ("0.weight"), in a whole autoencoder ("encoder.0.weight"), in ComfyUI's file
("taesd_encoder.0.weight") and in diffusers' ("encoder.layers.0.weight")."""


class TinyEncoder(nn.Module):
    """Pictures to latents in TAESD's layout, with random weights; `load_tiny_encoder` loads trained ones."""

    def __init__(self, latent_channels: int = 4, width: int = _WIDTH, blocks: tuple[int, ...] = _BLOCKS) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, width)]
        for stage, count in enumerate(blocks):
            if stage > 0:
                layers.append(_conv(width, width, stride=2, bias=False))
            layers += [_Block(width) for _ in range(count)]
        self.layers = nn.Sequential(*layers, _conv(width, latent_channels))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, H, W) in [-1, 1], RGB -> latents (N, C, H/8, W/8), scaled."""
        return self.layers((images + 1) / 2)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width)
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) -> the same shape."""
        return torch.relu(self.conv(x) + x)


def _conv(inputs: int, outputs: int, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, **settings)


AnyEncoder = TinyEncoder | SmallEncoder


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder of a file.

    Attributes:
        taught_for: SHA-256 of the files of the weights it was taught for; () if the file does not say.
        teacher: name of these weights.
    """

    encoder: AnyEncoder
    config: EncoderConfig
    taught_for: tuple[str, ...] = ()
    teacher: str = ""


def make_encoder(config: EncoderConfig) -> AnyEncoder:
    """An encoder with random weights."""
    if config.layout == SMALL:
        return SmallEncoder(config.latent_channels, config.widths, config.blocks)
    return TinyEncoder(config.latent_channels, config.widths[0], config.blocks)


def load_tiny_encoder(path: str | Path, latent_channels: int) -> LoadedEncoder:
    """The encoder of a safetensors file in either layout.

    A file without our metadata has TAESD's: taesd_encoder.safetensors, or an autoencoder.
    Raises `CheckpointError`: no such file, a pickle, another layout, or another number of latent channels.
    """
    path = Path(path)
    with open_tensors(path) as tensors:
        taesd = EncoderConfig(TAESD, *SIZES[TAESD], latent_channels)
        config = _stated(tensors.metadata, _CONFIG, path, _read_config) or taesd
        digests, teacher = _stated(tensors.metadata, _TAUGHT_FOR, path, _read_digests) or ((), "")
        with torch.device("meta"):
            encoder = make_encoder(config)
        names = _file_names(tensors)
        expected = {name: tuple(value.shape) for name, value in encoder.layers.state_dict().items()}
        problems = shape_problems(expected, {layer: tensors.shapes[name] for layer, name in names.items()})
        if config.latent_channels != latent_channels:
            problems = f"it gives {config.latent_channels} latent channels"
        if problems:
            layout = "TAESD's layout" if config.layout == TAESD else "our small layout"
            example = ", as in taesd_encoder.safetensors" if config == taesd else ""
            found = f"{path} is not an encoder in {layout} for {latent_channels} latent channels"
            raise CheckpointError(f"{found}{example}: {problems}")
        state = {layer: tensors.read(name) for layer, name in names.items()}
    encoder.layers.load_state_dict(state, strict=True, assign=True)
    return LoadedEncoder(encoder, config, digests, teacher)


def save_tiny_encoder(
    encoder: AnyEncoder, config: EncoderConfig, path: Path, *, taught_for: tuple[str, ...], teacher: str,
    metadata: Mapping[str, str], dtype: torch.dtype = torch.float32,
) -> None:  # fmt: skip
    """Write a file that `load_tiny_encoder` reads; TAESD's layout has the names of the authors' file.

    `taught_for`, `teacher`: as in `LoadedEncoder`; `metadata`: more texts.
    """
    from safetensors.torch import save_file

    state = {name: value.detach().to("cpu", dtype).contiguous() for name, value in encoder.layers.state_dict().items()}
    stated = {_CONFIG: json.dumps(asdict(config)), _TAUGHT_FOR: json.dumps({"name": teacher, "sha256": taught_for})}
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata={**metadata, **stated})


def _stated(metadata: Mapping[str, str], key: str, path: Path, read: Any) -> Any:
    """An entry of the metadata, or None without it. Raises `CheckpointError` for one that cannot be read."""
    if key not in metadata:
        return None
    try:
        return read(json.loads(metadata[key]))
    except (ValueError, TypeError, KeyError, RecursionError, InputError) as error:
        raise CheckpointError(f"{path}: its metadata {key!r} cannot be read ({error}): get the file again") from None


def _read_config(values: Any) -> EncoderConfig:
    return EncoderConfig(**known_values(EncoderConfig, values, "encoder configuration"))


def _read_digests(values: Any) -> tuple[tuple[str, ...], str]:
    return tuple(map(str, values["sha256"])), str(values["name"])


def _file_names(tensors: Tensors) -> dict[str, str]:
    """Names in the encoder's layers -> names in the file, without a decoder's; unknown names are kept for the check."""
    found = {}
    for name in tensors.shapes:
        if not name.startswith(("decoder.", "taesd_decoder.")):
            match = _NAME.match(name)
            found[match.group(1) if match else name] = name
    return found
