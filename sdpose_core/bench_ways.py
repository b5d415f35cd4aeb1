"""The ways to run SDPose that `sdpose bench` compares, on the same random weights and the same picture.

Each way is a list of stages, from the picture to the keypoints; each stage takes what the one before returned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from .acceleration import optimize_for_cpu
from .backbone import POSE, class_embedding_input
from .constants import fold_constants
from .crops import make_crop
from .heatmaps import decode_dark_udp
from .model import SDPose
from .model_config import UP_BLOCK_OF_LEVEL, SDPoseConfig, VAEConfig

WAYS = {
    "released": "unmodified diffusers modules, whole U-Net, fp32, one crop",
    "native": "the same in the model's dtype, tight box stretched (ComfyUI's own node)",
    "ours": "U-Net as far as needed, constants kept, kernels chosen for the device",
}
NETWORK_STAGES = ("vae", "unet", "head")

_SEED = 0
_PICTURE_SIZE = (1920, 1080)
_BOX = np.array([700, 60, 1180, 1030], np.float32)

Stage = tuple[str, Callable[[Any], Any]]


def build(way: str, config: SDPoseConfig, device: torch.device, dtype: torch.dtype) -> list[Stage]:
    """Stages "crop" (takes None), "vae", "unet", "head" (gives heatmaps) and "decode" (gives keypoints, scores).

    On the meta device the weights are shapes only, for counting operations.
    """
    with torch.device("meta") if device.type == "meta" else contextlib.nullcontext():
        torch.manual_seed(_SEED)
        model = SDPose(config, with_rgb_branch=way != "ours").eval().requires_grad_(False)
        # A new head answers nearly zero; a difference between two ways must not hide in that.
        torch.nn.init.normal_(model.head.final_layer.weight, std=model.head.final_layer.in_channels**-0.5)
    mode = "stretch_native" if way == "native" else "affine"
    half_precision_unet = device.type == "cuda"  # the official evaluation: bf16 autocast around all but the VAE
    if way == "released":
        network = _diffusers(model.to(device), autocast=half_precision_unet)
    elif way == "native":
        network = _diffusers(model.to(device, dtype), autocast=False)
    else:
        network = _ours(optimize_for_cpu(fold_constants(model.to(device, dtype))))
    return [
        ("crop", lambda _: crop_tensor(config, mode, device)),
        *network,
        ("decode", lambda heatmaps: decode_dark_udp(heatmaps, config.input_size)),
    ]


def crop_tensor(config: SDPoseConfig, mode: str, device: torch.device) -> torch.Tensor:
    """(1, 3, H, W) in [-1, 1], RGB: one box of a smooth random picture, cut out with the crop `mode`."""
    coarse = np.random.default_rng(_SEED).integers(0, 256, (27, 48, 3), np.uint8)
    picture = cv2.resize(coarse, _PICTURE_SIZE, interpolation=cv2.INTER_CUBIC)
    pixels, _ = make_crop(picture, _BOX, config.input_size, mode)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    return images.contiguous().to(device)


def _ours(model: SDPose) -> list[Stage]:
    def unet(latents: torch.Tensor) -> torch.Tensor:
        features, _ = model._unet(latents, (POSE,))
        return model.head.fuse(features)

    return [("vae", model.latents), ("unet", unet), ("head", lambda feature: model.head(feature).float())]


def _diffusers(model: SDPose, autocast: bool) -> list[Stage]:
    """Plain diffusers modules with the weights of `model`, called as the released code calls them.

    Its text encoder (here: its constant answer) and its random draw from the latent's distribution are left out.
    """
    config, device, dtype = model.config, model.device, model.dtype
    vae, unet = _plain_vae(model), _plain_unet(model)
    seen: list[torch.Tensor] = []
    block = unet.up_blocks[UP_BLOCK_OF_LEVEL[config.finest_level]]
    block.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    labels = class_embedding_input([POSE]).to(device, dtype)

    @contextlib.contextmanager
    def precision() -> Iterator[None]:
        with torch.autocast(device.type, torch.bfloat16) if autocast else contextlib.nullcontext():
            yield

    def encode(images: torch.Tensor) -> torch.Tensor:
        return vae.encode(images.to(dtype)).latent_dist.mode() * config.vae.scaling_factor

    def features(latents: torch.Tensor) -> torch.Tensor:
        timestep = torch.tensor([config.timestep], device=device)
        with precision():
            unet(latents, timestep, model.empty_prompt_embedding, class_labels=labels)
        return seen.pop()

    def head(feature: torch.Tensor) -> torch.Tensor:
        with precision():
            return model.head(feature).float()

    return [("vae", encode), ("unet", features), ("head", head)]


def _plain_unet(model: SDPose) -> UNet2DConditionModel:
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            **asdict(model.config.unet), class_embed_type="projection", projection_class_embeddings_input_dim=4
        )
    unet.load_state_dict(model.unet.state_dict(), assign=True)
    return unet.eval().requires_grad_(False)


def _plain_vae(model: SDPose) -> AutoencoderKL:
    config: VAEConfig = model.config.vae
    levels = len(config.block_out_channels)
    with torch.device(model.device):
        vae = AutoencoderKL(
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            latent_channels=config.latent_channels,
            norm_num_groups=config.norm_num_groups,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
        )
    vae.load_state_dict(model.vae.state_dict(), strict=False, assign=True)  # the decoder stays random, and unused
    vae.decoder.to(model.dtype)
    return vae.eval().requires_grad_(False)
