"""Stated approximations: less work for a slightly different result. Off by default, and named in every result.

Two more are a smaller input (`input_size`) and interpolated frames (`every`). Their errors are in docs/benchmark.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention

from ..errors import InputError
from ..files import sha256_of
from .devices import channels_last
from .onednn import OneDNNAttention, attend, heads_of, pays_for, self_attention, set_processor
from .tiny_encoder import load_tiny_encoder

if TYPE_CHECKING:
    from .network import SDPose

POOL = 2
"""Side of the squares of tokens over which keys and values are averaged."""


def approximate(model: SDPose, *, pool_attention: bool = False, tiny_encoder: str | Path | None = None) -> SDPose:
    """Change a loaded model in place and record it in `model.approximations`. Returns `model`.

    Args:
        model: frozen, on its device.
        pool_attention: average keys and values 2 x 2 in self-attention of the VAE, and of the U-Net at the latent's
            size (12,288 tokens of a 768 x 1024 crop).
        tiny_encoder: a file of weights that replace the VAE encoder, see `load_tiny_encoder`.

    Raises:
        CheckpointError: `tiny_encoder` cannot be used.
        InputError: the model has no attention to pool.
    """
    if tiny_encoder is not None:
        _replace_vae(model, Path(tiny_encoder))
    if pool_attention:
        of_vae = (module for module in model.vae.modules() if isinstance(module, Attention))
        layers = [*of_vae, *_of_the_unet(model)]
        if not layers:
            raise InputError("pool attention: this model has no self-attention at the latent's size; leave it off")
        for attention in layers:
            set_processor(attention, PooledAttention(attention.processor))
        model.approximations["pool_attention"] = f"keys and values averaged {POOL} x {POOL} in {len(layers)} layers"
    return model


def _replace_vae(model: SDPose, path: Path) -> None:
    loaded = load_tiny_encoder(path, model.config.vae.latent_channels)
    channels_last(loaded.encoder.to(next(model.vae.parameters())))
    model.register_module("vae", loaded.encoder.eval().requires_grad_(False))
    stated: dict[str, Any] = {"path": path.name, "sha256": sha256_of(path), "layout": loaded.config.layout}
    if loaded.taught_for:
        stated["taught_for"] = {"name": loaded.teacher, "sha256": list(loaded.taught_for)}
    model.approximations["tiny_encoder"] = stated


def _of_the_unet(model: SDPose) -> Iterator[Attention]:
    """Self-attention of the first down-block, and of the last up-block if the model has it."""
    for block in (model.unet.down_blocks[0], *model.unet.up_blocks[3:]):
        for transformer in getattr(block, "attentions", ()):
            transformer.register_forward_pre_hook(_record_size, with_kwargs=True)
            yield from (layer.attn1 for layer in transformer.transformer_blocks)


def _record_size(transformer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Set the processors' picture size before each pass: the attention itself only sees a list of tokens."""
    for layer in transformer.transformer_blocks:
        layer.attn1.processor.size = (args[0] if args else kwargs["hidden_states"]).shape[-2:]


class PooledAttention:
    """Self-attention with keys and values of pooled tokens; `exact` computes everything else."""

    def __init__(self, exact: Any) -> None:
        self.exact = exact
        self.size: Sequence[int] | None = None
        """(h, w) of the picture that the tokens are a list of."""

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
        """Tokens (N, L, C) or a picture (N, C, H, W) -> the same shape."""
        if encoder_hidden_states is not None or attention_mask is not None:
            return self.exact(attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kwargs)
        size = hidden_states.shape[-2:] if hidden_states.ndim == 4 else self.size
        by_onednn = isinstance(self.exact, OneDNNAttention) and pays_for(hidden_states)

        def answer(tokens: torch.Tensor) -> torch.Tensor:
            heads = heads_of(attn, tokens, pooled(tokens, size))
            if by_onednn:  # as in the exact processor
                return self_attention(*heads)
            query, key, value = (x.transpose(1, 2) for x in heads)
            return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)

        return attend(attn, hidden_states, answer)


def pooled(tokens: torch.Tensor, size: Sequence[int] | None) -> torch.Tensor:
    """Tokens (N, h x w, C) of a picture of `size` (h, w) -> (N, h/2 x w/2, C), averaged 2 x 2."""
    if size is None or size[0] * size[1] != tokens.shape[1]:
        raise InputError(f"attention: expected a picture of {tokens.shape[1]} tokens, got the size {size}")
    squares = F.avg_pool2d(tokens.transpose(1, 2).unflatten(2, size), POOL)
    return squares.flatten(2).transpose(1, 2)
