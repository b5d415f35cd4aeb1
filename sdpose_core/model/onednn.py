"""The same network with faster kernels on x86 CPUs; results differ only by rounding.

PyTorch multiplies float32 matrices with MKL and convolves with oneDNN. On an AMD EPYC with AVX512 (Zen 5), MKL is half
as fast. So large products (linear layers, attention among 12,288 tokens) run as 1 x 1 convolutions by oneDNN, with
channels-last weights and tensors. On Intel CPUs and without AVX512, MKL is as fast and PyTorch's fused attention is
faster, so attention stays with PyTorch, and without AVX512 linear layers do too. Wide 3 x 3 convolutions need fewer multiplications, see `winograd.py`. Packed weights
and huge pages were measured and do not pay.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import nn

from .attention_maps import MapAttention
from .cpu_memory import MIN_TOKENS
from .devices import channels_last
from .products import has_avx512, product
from .strips import WinogradConv2d
from .winograd import is_wide

if TYPE_CHECKING:
    from .network import SDPose

MIN_ROWS = 64
"""Smaller products, such as those of the text's two tokens, stay with MKL."""

QUERIES_AT_ONCE = 384
"""Rows of attention scores in memory: 19 MB for 12,288 tokens."""


def optimize_for_cpu(model: SDPose) -> SDPose:
    """Replace layers in place by faster ones if the model is frozen, float32 and on an x86 CPU; returns `model`.

    The state dict stays the same.
    """
    weight = next(model.parameters())
    if weight.device.type == "cpu" and weight.dtype == torch.float32 and not weight.requires_grad and has_fast_onednn():
        for part in (model.vae, model.unet):  # the head's instance norms are faster without
            channels_last(part)
        own_attention = has_avx512() and not is_intel()
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = OneDNNLinear
            elif type(module) is nn.Conv2d and is_wide(module):
                module.__class__ = WinogradConv2d
            elif isinstance(module, Attention) and own_attention and not isinstance(module.processor, MapAttention):
                set_processor(module, OneDNNAttention())
    return model


def set_processor(attention: Attention, processor: Any) -> None:
    """Set the attention's processor: any callable works, although diffusers' types are narrower."""
    attention.set_processor(processor)


def has_fast_onednn() -> bool:
    """Whether this PyTorch has both MKL and oneDNN, as on x86."""
    return torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


@functools.cache
def is_intel() -> bool:
    """Whether the processor is Intel's, by its name: a timing would make results differ from run to run."""
    return "intel" in processor_name().lower()


def processor_name() -> str:
    """The processor's name; may be empty."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        return next((x.split(":")[1].strip() for x in cpuinfo.read_text().splitlines() if "model name" in x), "")
    return platform.processor()


class OneDNNLinear(nn.Linear):
    """`torch.nn.Linear`, computed by oneDNN if that is faster."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) -> (..., out_features)."""
        rows = x.numel() // self.in_features
        if rows < MIN_ROWS or x.device.type != "cpu" or x.dtype != torch.float32:
            return super().forward(x)
        y = product(x.reshape(rows, self.in_features), self.weight, self.bias)
        return y.view(*x.shape[:-1], self.out_features)


class OneDNNAttention(AttnProcessor2_0):
    """diffusers' attention processor, with self-attention among many tokens computed by oneDNN."""

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
        if encoder_hidden_states is not None or attention_mask is not None or not pays_for(hidden_states):
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kwargs)
        return attend(attn, hidden_states, lambda tokens: self_attention(*heads_of(attn, tokens, tokens)))


def pays_for(hidden_states: torch.Tensor) -> bool:
    """Whether oneDNN is faster for self-attention: float32 on a CPU, many tokens, no gradients."""
    count = hidden_states.shape[2:].numel() if hidden_states.ndim == 4 else hidden_states.shape[1]
    on_cpu = hidden_states.device.type == "cpu" and hidden_states.dtype == torch.float32
    return on_cpu and count >= MIN_TOKENS and not torch.is_grad_enabled()


def attend(
    attn: Attention, hidden_states: torch.Tensor, answer: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Self-attention with diffusers' norm before it, and its output layer and residual after it.

    Args:
        attn: its layers are used.
        hidden_states: tokens (N, L, C) or a picture (N, C, H, W); the result has the same shape.
        answer: normalized tokens (N, L, C) -> output of the heads (N, L, heads, D).
    """
    picture = hidden_states.ndim == 4
    tokens = hidden_states.flatten(2).transpose(1, 2) if picture else hidden_states
    if attn.group_norm is not None:
        tokens = attn.group_norm(tokens.transpose(1, 2)).transpose(1, 2)
    y = attn.to_out[0](answer(tokens).flatten(2))
    if picture:
        y = y.transpose(1, 2).reshape(hidden_states.shape)
    if attn.residual_connection:
        y = y + hidden_states
    return y / attn.rescale_output_factor


def heads_of(attn: Attention, tokens: torch.Tensor, read: torch.Tensor) -> list[torch.Tensor]:
    """Queries of `tokens` (N, L, C), keys and values of `read` (N, M, C), each (N, L or M, heads, D)."""
    layers = ((attn.to_q, tokens), (attn.to_k, read), (attn.to_v, read))
    return [layer(x).unflatten(2, (attn.heads, -1)) for layer, x in layers]


def self_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(query key^T / sqrt(D)) value for (N, L, heads, D), a few rows of one head at a time."""
    n, length, heads, width = query.shape
    out = torch.empty_like(query)
    for sample, head in ((i, j) for i in range(n) for j in range(heads)):
        keys = (key[sample, :, head] * width**-0.5).contiguous()
        columns = value[sample, :, head].t().contiguous()
        for start in range(0, length, QUERIES_AT_ONCE):
            rows = slice(start, start + QUERIES_AT_ONCE)
            scores = product(query[sample, rows, head].contiguous(), keys)
            torch.softmax(scores, dim=1, out=scores)
            out[sample, rows, head] = product(scores, columns)
    return out
