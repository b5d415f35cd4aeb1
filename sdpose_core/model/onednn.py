"""The same network with faster kernels on x86 CPUs; results differ only by rounding.

PyTorch multiplies float32 matrices with MKL and convolves with oneDNN. On an AMD EPYC with AVX512 (Zen 5), MKL is half
as fast. So large linear layers run as 1 x 1 convolutions by oneDNN there, with channels-last weights and tensors.
Attention among 12,288 tokens does so where a short measurement shows that it beats PyTorch's fused attention: on a
Zen 5 it does, on a Zen 3 it takes twice as long. Wide 3 x 3 convolutions need fewer multiplications, see `winograd.py`.
Packed weights and huge pages were measured and do not pay.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import nn

from .attention_maps import MapAttention
from .cpu_memory import MIN_TOKENS
from .devices import channels_last, name_of
from .processor import bf16_instructions
from .products import by_onednn, has_avx512, product
from .strips import WinogradConv2d
from .timing import times_as_fast
from .winograd import is_wide

if TYPE_CHECKING:
    from .network import SDPose

log = logging.getLogger(__name__)

MIN_ROWS = 64
"""Smaller products, such as those of the text's two tokens, stay with MKL."""

QUERIES_AT_ONCE = 384
"""Rows of attention scores in memory: 19 MB for 12,288 tokens in float32."""

CLEARLY_FASTER = 1.2
"""Our attention must be this many times as fast as PyTorch's to be used: a near tie always gives the same choice."""


def optimize_for_cpu(model: SDPose) -> SDPose:
    """Replace layers in place by faster ones if the model is frozen and on an x86 CPU; returns `model`.

    In float32 and bf16, which VAE and U-Net may mix. The state dict stays the same.
    """
    weight = next(model.parameters())
    if weight.device.type != "cpu" or weight.requires_grad or not has_fast_onednn():
        return model
    for part in (model.vae, model.unet):  # the head's instance norms are faster without
        if is_native(next(part.parameters()).dtype):
            channels_last(part)
    w, h = model.config.input_size
    has_many_tokens, avx512 = (w // 8) * (h // 8) >= MIN_TOKENS, has_avx512()
    for module in model.modules():
        if type(module) is nn.Linear and module.weight.dtype == torch.float32 and avx512:
            module.__class__ = OneDNNLinear
        elif type(module) is nn.Conv2d and is_wide(module):
            module.__class__ = WinogradConv2d
        elif isinstance(module, Attention) and not isinstance(module.processor, MapAttention):
            width, dtype = module.inner_dim // module.heads, next(module.parameters()).dtype
            if has_many_tokens and blocks_are_faster(width, dtype):
                set_processor(module, OneDNNAttention())
    return model


def is_native(dtype: torch.dtype) -> bool:
    """Whether this CPU has instructions for products in this dtype; without them, they take a hundred times as long."""
    return dtype == torch.float32 or (dtype == torch.bfloat16 and bf16_instructions() is not None)


@functools.cache
def blocks_are_faster(width: int, dtype: torch.dtype) -> bool:
    """Whether `self_attention` clearly beats PyTorch's for heads of this width here, by a measurement of about a CPU
    second. Without AVX512 it takes twice as long.
    """
    if not is_native(dtype) or not has_avx512():
        return False
    rows, tokens = max(2 * QUERIES_AT_ONCE, 256 * torch.get_num_threads()), 4096
    query, key, value = (
        torch.linspace(-1, 1, n * width, dtype=dtype, device="cpu").view(1, n, 1, -1) for n in (rows, tokens, tokens)
    )
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    by_torch = functools.partial(F.scaled_dot_product_attention, q, k, v)
    gain = times_as_fast(lambda: self_attention(query, key, value), by_torch, rounds=3)
    log.info("attention in blocks is %.1f times as fast as PyTorch's (%s, width %d)", gain, name_of(dtype), width)
    return gain >= CLEARLY_FASTER


def set_processor(attention: Attention, processor: Any) -> None:
    """Set the attention's processor: any callable works, although diffusers' types are narrower."""
    attention.set_processor(processor)


def has_fast_onednn() -> bool:
    """Whether this PyTorch has both MKL and oneDNN, as on x86."""
    return torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


class OneDNNLinear(nn.Linear):
    """`torch.nn.Linear`, computed by oneDNN if that is faster."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) -> (..., out_features)."""
        rows = x.numel() // self.in_features
        if rows < MIN_ROWS or x.device.type != "cpu" or x.dtype != torch.float32:
            return super().forward(x)
        y = by_onednn(x.reshape(rows, self.in_features), self.weight, self.bias)
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
    """Whether to compute self-attention in blocks: on a CPU, many tokens, no gradients, not compiled."""
    count = hidden_states.shape[2:].numel() if hidden_states.ndim == 4 else hidden_states.shape[1]
    known = hidden_states.dtype in (torch.float32, torch.bfloat16)
    running = not torch.is_grad_enabled() and not torch.compiler.is_compiling()  # which would unroll the blocks
    return known and hidden_states.device.type == "cpu" and count >= MIN_TOKENS and running


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
    """softmax(query key^T / sqrt(D)) value for (N, L, heads, D), a few rows of one head at a time.

    Scores and softmax are float32 for bf16 too, as rounded scores made the error five times as large; only the product
    with the values is in bf16.
    """
    n, length, heads, width = query.shape
    out = torch.empty_like(query)
    for sample, head in ((i, j) for i in range(n) for j in range(heads)):
        keys = (key[sample, :, head].float() * width**-0.5).contiguous()
        columns = value[sample, :, head].t().contiguous()
        for start in range(0, length, QUERIES_AT_ONCE):
            rows = slice(start, start + QUERIES_AT_ONCE)
            scores = product(query[sample, rows, head].float().contiguous(), keys)
            torch.softmax(scores, dim=1, out=scores)
            out[sample, rows, head] = product(scores.to(value.dtype), columns)
    return out
