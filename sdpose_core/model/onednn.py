"""The same network with faster kernels on x86 processors.

PyTorch multiplies float32 matrices with MKL and convolves with oneDNN. On an AMD EPYC (Zen 5) MKL gets half of what
oneDNN gets from the same cores. So the large products, of linear layers and of the attention among 12,288 tokens, go
through oneDNN as convolutions of 1 x 1 pixels; weights and tensors are laid out channels-last, which oneDNN needs for
that and likes for the rest. On Intel's own processors MKL is as fast, and PyTorch's fused attention, which multiplies
with it, is faster than ours: there the attention stays PyTorch's. Results differ in rounding only.

Measured and left out: weights packed beforehand (faster for the smallest convolutions only, and then the model has no
state dict), huge pages (no difference).
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import nn

from .cpu_memory import MIN_TOKENS
from .devices import channels_last

if TYPE_CHECKING:
    from .network import SDPose

MIN_ROWS = 64
"""Of a product that goes through oneDNN. The two tokens of the text stay with MKL."""

QUERIES_AT_ONCE = 384
"""Rows of scores in work: 19 MB for 12,288 tokens."""


def optimize_for_cpu(model: SDPose) -> SDPose:
    """Faster layers in place, for a frozen float32 model on an x86 CPU; any other model is left as it is.

    The names and values of the state dict stay. Returns `model`.
    """
    weight = next(model.parameters())
    if weight.device.type == "cpu" and weight.dtype == torch.float32 and not weight.requires_grad and has_fast_onednn():
        for part in (model.vae, model.unet):  # the head's instance norms are better off with whole maps
            channels_last(part)
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = OneDNNLinear
            elif isinstance(module, Attention) and not is_intel():
                set_processor(module, OneDNNAttention())
    return model


def set_processor(attention: Attention, processor: Any) -> None:
    """Have the attention computed by `processor`: any callable will do, whatever diffusers' types say."""
    attention.set_processor(processor)


def has_fast_onednn() -> bool:
    """Whether this PyTorch has both libraries: so on x86; elsewhere the products are left to PyTorch's choice."""
    return torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


@functools.cache
def is_intel() -> bool:
    """Whether the processor is Intel's, by its name: timing it would give other bytes from run to run."""
    return "intel" in processor_name().lower()


def processor_name() -> str:
    """The processor's own name, where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        return next((x.split(":")[1].strip() for x in cpuinfo.read_text().splitlines() if "model name" in x), "")
    return platform.processor()


class OneDNNLinear(nn.Linear):
    """`torch.nn.Linear`, computed by oneDNN where that is worth it; has no state of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) -> (..., out_features)."""
        rows = x.numel() // self.in_features
        if rows < MIN_ROWS or x.device.type != "cpu" or x.dtype != torch.float32:
            return super().forward(x)
        y = product(x.reshape(rows, self.in_features), self.weight, self.bias)
        return y.view(*x.shape[:-1], self.out_features)


class OneDNNAttention(AttnProcessor2_0):
    """diffusers' attention, with self-attention among many tokens computed by oneDNN."""

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
        usual = encoder_hidden_states is not None or attention_mask is not None
        if usual or not pays_for(hidden_states):
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kwargs)
        return attend(attn, hidden_states, lambda tokens: self_attention(*heads_of(attn, tokens, tokens)))


def pays_for(hidden_states: torch.Tensor) -> bool:
    """Whether oneDNN is faster for self-attention among these: float32 on a CPU, many tokens, no gradients."""
    count = hidden_states.shape[2:].numel() if hidden_states.ndim == 4 else hidden_states.shape[1]
    on_cpu = hidden_states.device.type == "cpu" and hidden_states.dtype == torch.float32
    return on_cpu and count >= MIN_TOKENS and not torch.is_grad_enabled()


def attend(
    attn: Attention, hidden_states: torch.Tensor, answer: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Self-attention with diffusers' norm before it, and its output layer and residual after it.

    Args:
        attn: whose layers are used.
        hidden_states: tokens (N, L, C) or picture (N, C, H, W); the result has the same shape.
        answer: normalized tokens (N, L, C) -> what the heads read (N, L, heads, D).
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
    """Queries of `tokens` (N, L, C), keys and values of `read` (N, M, C) -> three of (N, L or M, heads, D)."""
    layers = ((attn.to_q, tokens), (attn.to_k, read), (attn.to_v, read))
    return [layer(x).unflatten(2, (attn.heads, -1)) for layer, x in layers]


def self_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """softmax(query key^T / sqrt(D)) value for (N, L, heads, D): some rows of one head at a time."""
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


def product(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """(M, K), (N, K) -> a @ b.T + bias (M, N), by oneDNN; contiguous. A row of `a` is a pixel, of `b` a filter."""
    pixels = a.view(1, len(a), 1, -1).permute(0, 3, 1, 2)
    filters = b.view(len(b), 1, 1, -1).permute(0, 3, 1, 2)
    return F.conv2d(pixels, filters, bias).permute(0, 2, 3, 1).reshape(len(a), len(b))
