"""GenLoc's way to keypoints: cross-attention to learned embeddings, read as heatmaps.

SDPose replaces the text by a constant and reads the U-Net's features. Here each keypoint is a token of the text, with a
learned embedding; how much each pixel attends to it, in the cross-attention layers of the up-blocks, is a map of where
it is. A small read-out sums these maps to heatmaps. The U-Net needs no class embedding, and can stay frozen.

After "Generalizable Object Keypoint Localization from Generative Priors" (GenLoc, CVPR 2025) as far as SDPose's paper
describes it, not a copy of it: what is our guess is listed in docs/fidelity.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import nn

from .backbone import PoseUNet
from .config import UP_BLOCK_OF_LEVEL, SDPoseConfig, UNetConfig
from .head import INITIAL_STD, bias_of, last_layer

BACKGROUND_TOKENS = 2
"""Tokens that no keypoint has; at first the two of the empty prompt, where they are known."""

WIDTH = 8
"""Channels per keypoint between the two layers of the read-out."""


class MapStore:
    """Takes the attention maps of one forward pass; outside of `collecting`, it takes none.

    So the passes that gradient checkpointing repeats in the backward pass leave nothing behind.
    """

    def __init__(self) -> None:
        self._maps: dict[str, list[torch.Tensor]] | None = None

    def add(self, level: str, maps: torch.Tensor) -> None:
        """Keep the maps (N, heads, L, K) of the next layer of a level."""
        if self._maps is not None:
            self._maps.setdefault(level, []).append(maps)

    @contextmanager
    def collecting(self) -> Iterator[dict[str, list[torch.Tensor]]]:
        """The maps of what runs in the block, by level, in the order of the layers."""
        found: dict[str, list[torch.Tensor]] = {}
        self._maps = found
        try:
            yield found
        finally:
            self._maps = None


class MapAttention:
    """diffusers' cross-attention, which hands the maps of the last `keypoints` tokens to a store.

    Only used for cross-attention, so that the large matrices of self-attention are never kept.
    """

    def __init__(self, level: str, keypoints: int, store: MapStore) -> None:
        self.level, self.keypoints, self.store = level, keypoints, store

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Pixels (N, L, C) and tokens (N, T, cross_attention_dim) -> attention to the tokens (N, L, C)."""
        assert encoder_hidden_states is not None and attention_mask is None  # as PoseUNet calls it
        layers = ((attn.to_q, hidden_states), (attn.to_k, encoder_hidden_states), (attn.to_v, encoder_hidden_states))
        query, key, value = (layer(x).unflatten(2, (attn.heads, -1)).transpose(1, 2) for layer, x in layers)
        scores = torch.matmul(query * attn.scale, key.transpose(-1, -2))  # (N, heads, L, T)
        weights = torch.softmax(scores.float(), dim=-1)
        self.store.add(self.level, weights[..., -self.keypoints :])
        answer = torch.matmul(weights.to(value.dtype), value).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](answer))


class AttentionUNet(PoseUNet):
    """Stable Diffusion's U-Net, 1.5 or 2, without class embedding; its "features" are cross-attention maps.

    Args:
        config: sizes.
        levels: up-blocks whose maps are read; those after the last of them are not built.
        keypoints: K, the last tokens of the text.
    """

    def __init__(self, config: UNetConfig, levels: Sequence[str], keypoints: int) -> None:
        super().__init__(config, levels, with_rgb_branch=False, with_class_embedding=False)
        self._store = MapStore()
        for level in self.levels:
            for module in self.up_blocks[UP_BLOCK_OF_LEVEL[level]].modules():
                cross = getattr(module, "attn2", None)
                if isinstance(cross, Attention):
                    processor: Any = MapAttention(level, keypoints, self._store)
                    cross.set_processor(processor)

    def forward(
        self,
        latents: torch.Tensor,
        embedding: torch.Tensor | None,
        text: torch.Tensor | None,
        num_pose: int,
        levels: Sequence[str] | None = None,
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """As in `PoseUNet`, for pose samples alone.

        Returns:
            Maps of each level (N, K, layers x heads, h, w), float32; None. A map is the share of a pixel's attention,
            times the number of tokens, minus 1: zero for even attention. h, w: before the up-block's upsampler.
        """
        assert text is not None and num_pose == len(latents)
        with self._store.collecting() as found:
            super().forward(latents, embedding, text, num_pose, levels)
        sizes = {level: self._size(latents, level) for level in found}
        shares = {level: torch.cat(layers, dim=1).transpose(2, 3).transpose(1, 2) for level, layers in found.items()}
        return {level: maps.unflatten(3, sizes[level]) * text.shape[1] - 1 for level, maps in shares.items()}, None

    @staticmethod
    def _size(latents: torch.Tensor, level: str) -> tuple[int, int]:
        """(h, w) at which the attention of a level runs."""
        h, w = latents.shape[-2:]
        stride = 2 ** (3 - UP_BLOCK_OF_LEVEL[level])
        return h // stride, w // stride


class AttentionReadOut(nn.Module):
    """Condition embeddings, and the layers from their attention maps to K heatmaps at a quarter of the input size.

    Each keypoint has weights of its own: over layers and heads of a level (1 x 1), then over the sum of the levels, at
    heatmap size (3 x 3).
    """

    def __init__(self, config: SDPoseConfig) -> None:
        super().__init__()
        count, text_width = config.num_keypoints, config.unet.cross_attention_dim
        self.keypoint_embeddings = nn.Parameter(torch.randn(count, text_width))
        self.background_embeddings = nn.Parameter(torch.randn(BACKGROUND_TOKENS, text_width))
        self.mixing = nn.ModuleDict({
            level: nn.Conv2d(count * maps, count * WIDTH, kernel_size=1, groups=count, bias=False)
            for level, maps in maps_of_levels(config).items()
        })  # fmt: skip
        self.final_layer = nn.Conv2d(count * WIDTH, count, kernel_size=3, padding=1, groups=count)
        nn.init.normal_(self.final_layer.weight, std=INITIAL_STD)
        nn.init.zeros_(bias_of(self.final_layer))

    @torch.no_grad()
    def start_from(self, empty_prompt: torch.Tensor) -> None:
        """Set the background to the embedding of the empty prompt (1, T, cross_attention_dim); its last token repeats.

        Keypoints start at its last token with as much noise as it is large, so in the range that the U-Net knows.
        """
        last = empty_prompt[0, -1]
        tokens = [empty_prompt[0, min(i, empty_prompt.shape[1] - 1)] for i in range(BACKGROUND_TOKENS)]
        self.background_embeddings.copy_(torch.stack(tokens))
        noise = torch.randn_like(self.keypoint_embeddings)
        self.keypoint_embeddings.copy_(last + last.float().std() * noise)

    def text(self) -> torch.Tensor:
        """The condition (1, 2 + K, cross_attention_dim) in place of a text."""
        return torch.cat([self.background_embeddings, self.keypoint_embeddings])[None]

    def fuse(self, maps: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Maps of `AttentionUNet` -> (N, K x 8, H/4, W/4) of an (H, W) input."""
        parts = []
        for level, layer in self.mixing.items():
            stride = 2 ** (3 - UP_BLOCK_OF_LEVEL[level])
            mixed = layer(maps[level].flatten(1, 2).to(self.final_layer.weight.dtype))
            parts.append(F.interpolate(mixed, scale_factor=2 * stride, mode="bilinear", align_corners=False))
        return torch.stack(parts).sum(dim=0)

    def forward(self, fused: torch.Tensor) -> torch.Tensor:
        """Fused maps -> heatmaps (N, K, H/4, W/4)."""
        return last_layer(self.final_layer, F.silu(fused))


def maps_of_levels(config: SDPoseConfig) -> dict[str, int]:
    """Number of cross-attention maps per keypoint and level: layers x heads."""
    heads, layers = config.unet.attention_head_dim[::-1], config.unet.layers_per_block + 1
    return {level: layers * heads[UP_BLOCK_OF_LEVEL[level]] for level in config.feature_levels}
