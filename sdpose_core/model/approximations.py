"""Stated approximations: less work for another answer. Off unless asked for, and named in every result.

A smaller input (`input_size`) and frames that are interpolated (`every`) are two more. How far each moves the answer:
docs/benchmark.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_2d import Transformer2DModel

from ..errors import InputError
from ..files import sha256_of
from .devices import channels_last
from .onednn import OneDNNAttention, attend, heads_of, pays_for, self_attention, set_processor
from .tiny_encoder import load_tiny_encoder

if TYPE_CHECKING:
    from .network import SDPose

POOL = 2
"""Keys and values are averaged over squares of this many tokens a side."""


def approximate(model: SDPose, *, pool_attention: bool = False, tiny_encoder: str | Path | None = None) -> SDPose:
    """Change a loaded model in place; `model.approximations` says what was done. Returns `model`.

    Args:
        model: frozen, on its device.
        pool_attention: self-attention of the VAE and of the U-Net at the latent's size (12,288 tokens of a 768 x 1024
            crop) reads keys and values averaged 2 x 2: a quarter of them.
        tiny_encoder: weights in TAESD's layout, see `load_tiny_encoder`; it takes the VAE encoder's place.

    Raises:
        CheckpointError: `tiny_encoder` is no such file.
        InputError: there is nothing to pool in this model.
    """
    if tiny_encoder is not None:
        encoder = load_tiny_encoder(tiny_encoder, model.config.vae.latent_channels)
        channels_last(encoder.to(device=model.device, dtype=model.dtype))
        model.register_module("vae", encoder.eval().requires_grad_(False))
        path = Path(tiny_encoder)
        model.approximations["tiny_encoder"] = {"path": path.name, "sha256": sha256_of(path)}
    if pool_attention:
        layers = [*_of_the_vae(model), *_of_the_unet(model)]
        if not layers:
            raise InputError("pool attention: this model has no self-attention at the latent's size; leave it off")
        for attention in layers:
            set_processor(attention, PooledAttention(attention.processor))
        model.approximations["pool_attention"] = f"keys and values averaged {POOL} x {POOL} in {len(layers)} layers"
    return model


def _of_the_vae(model: SDPose) -> Iterator[Attention]:
    for module in model.vae.modules():
        if isinstance(module, Attention):
            yield module


def _of_the_unet(model: SDPose) -> Iterator[Attention]:
    """Self-attention of the first down-block and of the last up-block, where a pose needs that one."""
    blocks = [model.unet.down_blocks[0], *model.unet.up_blocks[3:]]
    for block in blocks:
        for transformer in getattr(block, "attentions", ()):
            for layer in transformer.transformer_blocks:
                yield layer.attn1
                _tell_the_size(transformer, layer.attn1)


def _tell_the_size(transformer: Transformer2DModel, attention: Attention) -> None:
    """Before each pass: tokens are a picture, and its height is known only here."""

    def remember(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sample = args[0] if args else kwargs["hidden_states"]
        processor: Any = attention.processor
        processor.size = _picture_size(sample)

    transformer.register_forward_pre_hook(remember, with_kwargs=True)


def _picture_size(hidden_states: torch.Tensor) -> tuple[int, int]:
    """(h, w) of a picture (N, C, h, w)."""
    h, w = hidden_states.shape[-2:]
    return h, w


class PooledAttention:
    """Self-attention whose keys and values are those of pooled tokens.

    Args:
        exact: the processor that computes what is not self-attention.

    Attributes:
        size: (h, w) of the tokens, where they come as a list.
    """

    def __init__(self, exact: Any) -> None:
        self.exact = exact
        self.size: tuple[int, int] | None = None

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Tokens (N, L, C) or picture (N, C, H, W) -> the same shape."""
        if encoder_hidden_states is not None or attention_mask is not None:
            return self.exact(attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kwargs)
        size = _picture_size(hidden_states) if hidden_states.ndim == 4 else self.size
        by_onednn = isinstance(self.exact, OneDNNAttention) and pays_for(hidden_states)

        def answer(tokens: torch.Tensor) -> torch.Tensor:
            heads = heads_of(attn, tokens, pooled(tokens, size))
            if by_onednn:  # as the exact processor would
                return self_attention(*heads)
            query, key, value = (x.transpose(1, 2) for x in heads)
            return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)

        return attend(attn, hidden_states, answer)


def pooled(tokens: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
    """Tokens (N, h x w, C) of a picture of `size` (h, w) -> (N, h/2 x w/2, C), means of squares."""
    if size is None or size[0] * size[1] != tokens.shape[1]:
        raise InputError(f"attention: expected {tokens.shape[1]} tokens as a picture, got the size {size}")
    squares = F.avg_pool2d(tokens.transpose(1, 2).unflatten(2, size), POOL)
    return squares.flatten(2).transpose(1, 2)
