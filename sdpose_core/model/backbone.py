"""Stable Diffusion 2's VAE encoder and U-Net, as SDPose runs them.

Tensors keep diffusers' names: an SDPose state dict has `vae.*` and `unet.*` as released, without the unused parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from diffusers.models.autoencoders.vae import Encoder
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from .config import UP_BLOCK_OF_LEVEL, UNetConfig, VAEConfig
from .strips import Statistics, conv_in_strips

POSE, RGB = "pose", "rgb"

CLASS_LABEL_OF_TASK = {POSE: (1.0, 0.0), RGB: (0.0, 1.0)}
"""The paper's task switch c; the U-Net gets (sin c, cos c)."""


_LOG_VARIANCE = (-30.0, 20.0)
"""Limits of the log variance, as in diffusers."""


class VAEEncoder(nn.Module):
    """Pictures to latents: SD's VAE without its decoder."""

    in_strips: bool | None = None
    """Whether to work in strips of rows. None: on a CPU in float32 or bfloat16, without gradients; saves 2 GB."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.scaling_factor = config.scaling_factor
        self.encoder = Encoder(
            in_channels=3,
            out_channels=config.latent_channels,
            down_block_types=("DownEncoderBlock2D",) * len(config.block_out_channels),
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            norm_num_groups=config.norm_num_groups,
        )
        self.quant_conv = nn.Conv2d(2 * config.latent_channels, 2 * config.latent_channels, kernel_size=1)

    def forward(self, images: torch.Tensor, noise: torch.Tensor | None = None) -> torch.Tensor:
        """Images (N, 3, H, W) in [-1, 1], RGB -> latents (N, 4, H/8, W/8): the mean x scaling factor.

        With standard normal `noise` of their shape, a sample of the VAE's distribution instead of its mean.
        """
        in_strips = self.in_strips
        if in_strips is None:
            on_cpu = images.device.type == "cpu" and images.dtype in (torch.float32, torch.bfloat16)
            in_strips = on_cpu and not torch.is_grad_enabled()
        moments = self.quant_conv(_encode_in_strips(self.encoder, images) if in_strips else self.encoder(images))
        mean, log_variance = moments.chunk(2, dim=1)
        if noise is not None:
            mean = mean + noise * (log_variance.clamp(*_LOG_VARIANCE) / 2).exp()
        return (mean * self.scaling_factor).contiguous()


def _encode_in_strips(encoder: Any, images: torch.Tensor) -> torch.Tensor:
    """`encoder(images)` with less memory; equal except for rounding."""
    sample, seen = _first_block_in_strips(encoder, images.contiguous(memory_format=torch.channels_last))
    for block in encoder.down_blocks[1:]:
        for resnet in block.resnets:
            sample, seen = _resnet_in_strips(resnet, sample, seen)
        for downsampler in block.downsamplers or ():
            sample = conv_in_strips(downsampler.conv, sample, _DOWN, statistics=(seen := Statistics()))
    first, last = encoder.mid_block.resnets
    sample, _ = _resnet_in_strips(first, sample, seen)
    sample = encoder.mid_block.attentions[0](sample).contiguous(memory_format=torch.channels_last)
    sample, seen = _resnet_in_strips(last, sample, Statistics.of(sample))
    return conv_in_strips(encoder.conv_out, sample, _SAME, before=seen.group_norm_silu(encoder.conv_norm_out))


_SAME, _DOWN = (1, 1, 1, 1), (0, 1, 0, 1)
"""Padding (left, right, top, bottom); SD's VAE pads only right and bottom when it halves the size."""


def _first_block_in_strips(encoder: Any, images: torch.Tensor) -> tuple[torch.Tensor, Statistics]:
    """`conv_in` and the first block, holding one of its tensors (0.4 GB in float32, by far the largest) at a time.

    A residual block needs its input twice, but here overwrites it. For the first one, `conv_in` recomputes it. For the
    last one, the downsampled input is kept, which is enough because downsampling is linear (1% more operations).
    """
    block = encoder.down_blocks[0]
    first, *others = block.resnets
    down = block.downsamplers[0].conv
    sample = conv_in_strips(encoder.conv_in, images, _SAME, statistics=(seen := Statistics()))
    sample = _residual_in_place(first, sample, seen)
    sample = conv_in_strips(encoder.conv_in, images, _SAME, add_to=sample, statistics=(seen := Statistics()))
    for resnet in others[:-1]:
        sample, seen = _resnet_in_strips(resnet, sample, seen)
    halved = conv_in_strips(down, sample, _DOWN, statistics=(of_halved := Statistics()))
    if not others:
        return halved, of_halved
    sample = _residual_in_place(others[-1], sample, seen)
    halved = conv_in_strips(down, sample, _DOWN, add_to=halved, with_bias=False, statistics=(of_halved := Statistics()))
    return halved, of_halved


def _residual_in_place(resnet: Any, sample: torch.Tensor, seen: Statistics) -> torch.Tensor:
    """The residual that a block of the VAE adds to its input of these statistics; overwrites `sample`."""
    for norm, conv in ((resnet.norm1, resnet.conv1), (resnet.norm2, resnet.conv2)):
        before, seen = seen.group_norm_silu(norm), Statistics()
        sample = conv_in_strips(conv, sample, _SAME, before=before, in_place=True, statistics=seen)
    return sample


def _resnet_in_strips(resnet: Any, sample: torch.Tensor, seen: Statistics) -> tuple[torch.Tensor, Statistics]:
    """A residual block of the VAE, and the result's statistics; overwrites `sample` if the shortcut is the identity."""
    before, seen = seen.group_norm_silu(resnet.norm1), Statistics()
    hidden = conv_in_strips(resnet.conv1, sample, _SAME, before=before, statistics=seen)
    if resnet.conv_shortcut is not None:
        sample = conv_in_strips(resnet.conv_shortcut, sample, (0, 0, 0, 0))
    before, seen = seen.group_norm_silu(resnet.norm2), Statistics()
    return conv_in_strips(resnet.conv2, hidden, _SAME, before=before, add_to=sample, statistics=seen), seen


_CLASS_EMBEDDING = {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 4}


class PoseUNet(UNet2DConditionModel):
    """SD2's U-Net with the projection class embedding, run only as far as needed.

    Up to the block where it stops, it equals `UNet2DConditionModel.forward` bit for bit.

    Args:
        config: sizes.
        levels: the feature levels that will be used; up-blocks after the last of them are not built.
        with_rgb_branch: build every up-block and the output convolution, for the RGB task.
        with_class_embedding: False for Stable Diffusion's U-Net, which has none: there is one task, then.
    """

    def __init__(
        self, config: UNetConfig, levels: Sequence[str], with_rgb_branch: bool, with_class_embedding: bool = True
    ) -> None:
        super().__init__(**asdict(config), **(_CLASS_EMBEDDING if with_class_embedding else {}))
        self.levels = tuple(levels)
        if not with_rgb_branch:
            del self.up_blocks[_last_block(levels) + 1 :]
            del self.conv_norm_out, self.conv_out
        self.is_folded = False
        """Set by `folding.fold_constants`: embedding and text are part of the weights."""
        self._embeddings: dict[tuple[Any, ...], torch.Tensor] = {}
        self.register_load_state_dict_post_hook(_forget_embeddings)

    def _apply(self, *args: Any, **kwargs: Any) -> PoseUNet:
        self.forget_embeddings()  # a new dtype or device
        return super()._apply(*args, **kwargs)

    def embedding(self, timestep: int, tasks: Sequence[str]) -> torch.Tensor:
        """Time plus class embedding (N, D) of N samples with the given tasks; cached while the weights are frozen."""
        parts = (self.time_embedding, self.class_embedding)
        weights = [weight for part in parts if part is not None for weight in part.parameters()]
        if any(weight.requires_grad for weight in weights):
            self.forget_embeddings()
            return self._compute_embedding(timestep, tasks)
        key = (timestep, *tasks)
        if key not in self._embeddings:
            with torch.no_grad():
                self._embeddings[key] = self._compute_embedding(timestep, tasks)
        return self._embeddings[key]

    def forget_embeddings(self) -> None:
        """Clear the cache, because the weights changed."""
        self._embeddings.clear()

    def _compute_embedding(self, timestep: int, tasks: Sequence[str]) -> torch.Tensor:
        weight = self.time_embedding.linear_1.weight
        times = self.time_proj(torch.full((len(tasks),), timestep, device=weight.device)).to(weight.dtype)
        if self.class_embedding is None:
            return self.time_embedding(times)
        return self.time_embedding(times) + self.class_embedding(class_embedding_input(tasks).to(weight))

    def forward(
        self,
        latents: torch.Tensor,
        embedding: torch.Tensor | None,
        text: torch.Tensor | None,
        num_pose: int,
        levels: Sequence[str] | None = None,
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """One pass over pose samples, RGB samples, or both.

        Args:
            latents: (N, 4, h, w), h and w multiples of 8; the first `num_pose` samples are for the pose task.
            embedding: (N, D) of `embedding()`; None if the constants are folded.
            text: (N, T, cross_attention_dim); None if the constants are folded.
            num_pose: number of pose samples; they stop after the last up-block whose features they need.
            levels: feature levels to return, of up-blocks that were built; None: those it was built for.

        Returns:
            Features of each level (num_pose, C, ...), after the up-block's upsampler, or {}; output of the RGB samples
            (N - num_pose, 4, h, w), or None.
        """
        levels = self.levels if levels is None else levels
        last_pose_block = _last_block(levels)
        sample, skips = self._down(latents, embedding, text)
        sample = _run(self.mid_block, sample, embedding, text)
        features: dict[str, torch.Tensor] = {}
        blocks: Iterable[Any] = self.up_blocks
        for index, block in enumerate(blocks):
            count = len(block.resnets)
            skips, used = skips[:-count], skips[-count:]
            sample = _run(block, sample, embedding, text, res_hidden_states_tuple=used)
            del used  # frees memory
            if num_pose:
                features |= {level: sample[:num_pose] for level in levels if UP_BLOCK_OF_LEVEL[level] == index}
            if num_pose and index == last_pose_block:
                if num_pose == latents.shape[0]:
                    return features, None
                sample, embedding, text = sample[num_pose:], _after(embedding, num_pose), _after(text, num_pose)
                skips = tuple(skip[num_pose:] for skip in skips)
        return features, self.conv_out(self.conv_act(self.conv_norm_out(sample)))

    def _down(
        self, latents: torch.Tensor, embedding: torch.Tensor | None, text: torch.Tensor | None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """The output of the down-blocks, and the skip connections."""
        sample = self.conv_in(latents)
        skips = (sample,)
        for block in self.down_blocks:
            sample, added = _run(block, sample, embedding, text)
            skips += added
        return sample, skips


def _forget_embeddings(module: Any, _keys: object) -> None:
    """A hook that can be pickled, and that goes with a copy: it gets the module."""
    module.forget_embeddings()


def _after(samples: torch.Tensor | None, count: int) -> torch.Tensor | None:
    return None if samples is None else samples[count:]


def _last_block(levels: Sequence[str]) -> int:
    """Index of the last up-block that these levels need."""
    return max(UP_BLOCK_OF_LEVEL[level] for level in levels)


def _run(
    block: nn.Module, sample: torch.Tensor, embedding: torch.Tensor | None, text: torch.Tensor | None, **skips: Any
) -> Any:
    """Call a block of the U-Net, with the text if it has cross-attention."""
    if getattr(block, "has_cross_attention", False):
        skips["encoder_hidden_states"] = text
    return block(hidden_states=sample, temb=embedding, **skips)


def class_embedding_input(tasks: Sequence[str]) -> torch.Tensor:
    """N tasks -> (N, 4): (sin c, cos c) of each task's class label, the input of the U-Net's class embedding."""
    labels = torch.tensor([CLASS_LABEL_OF_TASK[task] for task in tasks])
    return torch.cat([labels.sin(), labels.cos()], dim=1)
