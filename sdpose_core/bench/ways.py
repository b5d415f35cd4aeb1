"""The ways to run SDPose that `sdpose bench` compares, on the same weights and the same picture.

Each way is a list of stages from picture to keypoints; each stage takes the output of the previous one.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from ..checkpoints.layouts import read_checkpoint
from ..codec.crops import affine_crop, make_crop
from ..codec.device_crops import CropJob, DeviceCropper
from ..codec.heatmaps import decode_dark_udp, flip_back
from ..dependencies import opencv
from ..images import read_image
from ..model.approximations import approximate
from ..model.backbone import POSE, class_embedding_input
from ..model.config import RGB_PASS, UP_BLOCK_OF_LEVEL, SDPoseConfig, VAEConfig
from ..model.devices import DTYPES, channels_last
from ..model.folding import fold_constants
from ..model.network import SDPose
from ..model.onednn import optimize_for_cpu
from .modes import Mode

WAYS = {
    "released": "unmodified diffusers modules, whole U-Net, fp32, one crop",
    "native": "the same in the model's dtype, tight box stretched (ComfyUI's own node)",
    "ours": "U-Net as far as needed, constants folded, kernels chosen for the device",
}
NETWORK_STAGES = ("vae", "unet", "head")

_SEED = 0
_PICTURE_SIZE = (1920, 1080)
_BOX = np.array([700, 60, 1180, 1030], np.float32)

Stage = tuple[str, Callable[[Any], Any]]


def build(
    way: str,
    config: SDPoseConfig,
    device: torch.device,
    mode: Mode,
    *,
    weights: Path | None = None,
    picture: Path | None = None,
    in_strips: bool | None = None,
) -> list[Stage]:
    """Stages "crop" (of a number of people), "vae", "unet", "head" (heatmaps), "decode" (keypoints, scores).

    On the meta device the weights are only shapes, for counting operations; `in_strips` then sets how the VAE is run.
    """
    model = our_model(config, device, mode, weights) if way == "ours" else _model(config, way, device, weights)
    crop_mode = "stretch_native" if way == "native" else "affine"
    half_precision_unet = device.type == "cuda"  # as in the official evaluation: bf16 autocast for all but the VAE
    if way == "released":
        network = _diffusers(model.to(device), autocast=half_precision_unet)
    elif way == "native":
        network = _diffusers(model.to(device, DTYPES[mode.dtype]), autocast=False)
    else:
        network = _ours(model, mode.flip_test)
        if in_strips is not None:
            model.vae.in_strips = in_strips
    crop = functools.partial(crop_tensor, config, crop_mode)
    if way == "ours" and device.type == "cuda":  # as in the estimator
        crop = functools.partial(device_crop_tensor, config)
    return [
        ("crop", lambda people: crop(device, people, picture)),
        *network,
        ("decode", lambda heatmaps: decode_dark_udp(heatmaps, config.input_size)),
    ]


def _model(config: SDPoseConfig, way: str, device: torch.device, weights: Path | None) -> SDPose:
    """The model on the CPU, or its shapes; parts that a checkpoint lacks, such as unused up-blocks, stay random."""
    if way != "ours":  # the whole U-Net, also if latents are reconstructed without its end
        config = replace(config, reconstruction=RGB_PASS)
    with torch.device("meta") if device.type == "meta" else contextlib.nullcontext():
        torch.manual_seed(_SEED)
        model = SDPose(config, with_rgb_branch=way != "ours").eval().requires_grad_(False)
        # a new head returns values near zero, which would hide differences between ways
        torch.nn.init.normal_(model.head.final_layer.weight, std=model.head.final_layer.in_channels**-0.5)
    if weights:
        _, state, _ = read_checkpoint(weights, with_rgb_branch=way != "ours")
        model.load_state_dict(state, strict=False)
    return model


def our_model(config: SDPoseConfig, device: torch.device, mode: Mode, weights: Path | None = None) -> SDPose:
    """The model of our way, prepared as in `load_estimator`; weights as in `build`."""
    model = _model(config, "ours", device, weights)
    model = optimize_for_cpu(fold_constants(model).to(device, DTYPES[mode.dtype]))
    approximate(model, pool_attention=mode.pool_attention)
    if device.type == "cuda":
        channels_last(model)
    if mode.compile:
        model.compile_backbone(mode.compile_mode)
    return model


def crop_tensor(
    config: SDPoseConfig, mode: str, device: torch.device, people: int = 1, picture: Path | None = None
) -> torch.Tensor:
    """(people, 3, H, W) in [-1, 1], RGB: the crop of `person` in the crop `mode`, repeated."""
    crop, _ = make_crop(*person(picture), config.input_size, mode)
    images = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 127.5 - 1
    return images.repeat(people, 1, 1, 1).contiguous().to(device)


def device_crop_tensor(
    config: SDPoseConfig, device: torch.device, people: int = 1, picture: Path | None = None
) -> torch.Tensor:
    """As `crop_tensor` in the crop mode "affine", but cut on the device."""
    pixels, box = person(picture)
    job = CropJob(pixels, affine_crop(box, config.input_size))
    return DeviceCropper([job] * people, device).cut(0, people).round_().div_(127.5).sub_(1)


@functools.lru_cache(maxsize=1)
def person(picture: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and box (4,): all of `picture`, or a part of a smooth random one. Cached, so that it is not measured."""
    if picture:
        pixels = read_image(picture)
        return pixels, np.array([0, 0, pixels.shape[1], pixels.shape[0]], np.float32)
    coarse = np.random.default_rng(_SEED).integers(0, 256, (27, 48, 3), np.uint8)
    cv2 = opencv()
    return cv2.resize(coarse, _PICTURE_SIZE, interpolation=cv2.INTER_CUBIC), _BOX


def _ours(model: SDPose, flip_test: bool) -> list[Stage]:
    def vae(images: torch.Tensor) -> torch.Tensor:
        images = torch.cat([images, images.flip(-1)]) if flip_test else images
        return model.latents(images.to(model.dtype))

    def head(feature: torch.Tensor) -> torch.Tensor:
        maps = model.head(feature).float()
        if not flip_test:
            return maps
        straight, mirrored = maps.chunk(2)
        return (straight + flip_back(mirrored, list(model.config.flip_indices))) * 0.5

    return [("vae", vae), ("unet", model.features_of), ("head", head)]


def _diffusers(model: SDPose, autocast: bool) -> list[Stage]:
    """Plain diffusers modules with the weights of `model`, called as in the released code, except that its text encoder
    is replaced by its constant output and its sampling of latents by the mean.
    """
    config, device, dtype = model.config, model.device, model.dtype
    vae, unet = _plain_vae(model), _plain_unet(model)
    seen: dict[str, torch.Tensor] = {}
    for level in config.feature_levels:
        block = unet.up_blocks[UP_BLOCK_OF_LEVEL[level]]
        block.register_forward_hook(lambda _module, _inputs, output, level=level: seen.update({level: output}))
    labels = class_embedding_input([POSE]).to(device, dtype)

    def precision() -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(device.type, torch.bfloat16) if autocast else contextlib.nullcontext()

    def encode(images: torch.Tensor) -> torch.Tensor:
        return vae.encode(images.to(dtype)).latent_dist.mode() * config.vae.scaling_factor

    def features(latents: torch.Tensor) -> torch.Tensor:
        timestep = torch.tensor([config.timestep], device=device)
        with precision():
            unet(latents, timestep, model.empty_prompt_embedding, class_labels=labels)
            feature = model.head.fuse(seen)
        seen.clear()
        return feature

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
        down, up = ("DownEncoderBlock2D",) * levels, ("UpDecoderBlock2D",) * levels
        vae = AutoencoderKL(**asdict(config), down_block_types=down, up_block_types=up)
    vae.load_state_dict(model.vae.state_dict(), strict=False, assign=True)  # the decoder stays random and unused
    vae.decoder.to(model.dtype)
    return vae.eval().requires_grad_(False)
