"""Pictures of a run: predictions on validation people, and the latents of the RGB task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from sdpose_core.codec.heatmaps import decode_dark_udp
from sdpose_core.model.config import VAEConfig
from sdpose_core.model.network import SDPose
from sdpose_training.data.annotations import People
from sdpose_training.evaluation.pose_pictures import draw_points
from sdpose_training.fit.validation import crops_of

THRESHOLD = 0.15
"""Minimum score of drawn points; low, because heatmap peaks rise during training."""

HEIGHT = 256
"""Height of a crop on the sheet, in pixels."""


@torch.no_grad()
def prediction_sheet(model: SDPose, people: People, kept: Mapping[str, torch.Tensor], count: int = 8) -> np.ndarray:
    """A sheet, RGB uint8, with a column for each of the first `count` people.

    Rows: crop with predicted pose, all heatmaps over the crop and, if the RGB task is trained, its target and output.

    Args:
        kept: with the tensors of the VAE's decoder, latents are shown as pictures; otherwise as false colors.
    """
    size = model.config.input_size
    _, images, _ = crops_of(people, range(min(count, len(people))), size)
    images = images.to(model.device)
    maps = model.heatmaps(images)
    keypoints, scores = decode_dark_udp(maps, size)
    crops = _to_pixels(images)
    rows = [
        [
            draw_points(crop, points, point_scores, people.keypoint_set, THRESHOLD)
            for crop, points, point_scores in zip(crops, keypoints, scores, strict=True)
        ],
        [_heat(crop, heat.cpu().numpy()) for crop, heat in zip(crops, maps.clamp(0, 1).amax(dim=1), strict=True)],
    ]
    if model.with_rgb_branch:
        target, output = model.latents(images).float(), model.reconstruct(images).float()
        decoder = _decoder(model.config.vae, kept)
        rows += [_latent_pictures(latents, target, decoder) for latents in (target, output)]
    return np.concatenate([np.concatenate([_shown(each) for each in row], axis=1) for row in rows])


def _to_pixels(images: torch.Tensor) -> np.ndarray:
    """(N, 3, H, W) in [-1, 1] -> (N, H, W, 3) uint8."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _heat(crop: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The maximum of all heatmaps (h, w) in red over the gray crop."""
    import cv2

    share = cv2.resize(heat.astype(np.float32), (crop.shape[1], crop.shape[0]))[..., None]
    gray = crop.mean(axis=2, keepdims=True) * 0.6
    return (gray * (1 - share) + np.array([255.0, 40, 0]) * share).clip(0, 255).astype(np.uint8)


def _latent_pictures(latents: torch.Tensor, target: torch.Tensor, decoder: Any) -> list[np.ndarray]:
    """Decoded latents, or their first three channels as false colors on the target's scale."""
    if decoder is not None:
        return list(_to_pixels(decoder(latents.cpu())))
    low, high = target[:, :3].amin(dim=(0, 2, 3), keepdim=True), target[:, :3].amax(dim=(0, 2, 3), keepdim=True)
    return list(_to_pixels((latents[:, :3] - low) / (high - low).clamp(min=1e-6) * 2 - 1))


def _decoder(config: VAEConfig, kept: Mapping[str, torch.Tensor]) -> Any:
    """A function from latents to pictures, on the CPU; None without its tensors."""
    from diffusers.models.autoencoders.vae import Decoder

    tensors = {name.removeprefix("vae."): value.float() for name, value in kept.items()}
    if "post_quant_conv.weight" not in tensors:
        return None
    decoder = Decoder(
        config.latent_channels, 3, ("UpDecoderBlock2D",) * len(config.block_out_channels), config.block_out_channels,
        config.layers_per_block, config.norm_num_groups,
    )  # fmt: skip
    decoder.load_state_dict({k.removeprefix("decoder."): v for k, v in tensors.items() if k.startswith("decoder.")})

    def decode(latents: torch.Tensor) -> torch.Tensor:
        weight, bias = tensors["post_quant_conv.weight"], tensors["post_quant_conv.bias"]
        return decoder(torch.nn.functional.conv2d(latents / config.scaling_factor, weight, bias))

    return decode


def _shown(picture: np.ndarray) -> np.ndarray:
    import cv2

    h, w = picture.shape[:2]
    interpolation = cv2.INTER_AREA if h > HEIGHT else cv2.INTER_NEAREST
    return cv2.resize(picture, (round(w * HEIGHT / h), HEIGHT), interpolation=interpolation)
