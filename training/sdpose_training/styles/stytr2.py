"""StyTr2 (Deng et al. 2022, arXiv 2105.14576) for inference: a photo and a painting -> the photo in that style.

Written from the paper: linear projection of patches; a transformer encoder for each picture (the photo's with
content-aware positional encoding, section 3.2); a transformer decoder with queries from the photo, keys and values from
the painting; a convolutional decoder (sections 3.1, 3.3, 3.4). The paper's VGG is only for training.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

MULTIPLE = 8
"""Sides of the pictures must be multiples of the patch size."""

MIN_SIDE = 16
"""Two patches, as the border of the patch map is reflected."""

_UPSAMPLED = (0, 4, 6)  # convolutions of the picture decoder with a doubling of the size after them


class StyTR2(nn.Module):
    """Content (N, 3, H, W) and style (N, 3, h, w) in [0, 1], sides multiples of 8 -> (N, 3, H, W), roughly [0, 1].

    Args:
        width: channels of a patch; all defaults are those of the released weights.
        heads: of the attention.
        layers: of each encoder and of the decoder.
        hidden: channels inside the feed-forward parts.
        pooled: side of the pooled map for the positional encoding.
    """

    def __init__(self, width: int = 512, heads: int = 8, layers: int = 3, hidden: int = 2048, pooled: int = 18) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(3, width, MULTIPLE, stride=MULTIPLE)
        self.transformer = StyleTransformer(width, heads, layers, hidden, pooled)
        self.decoder = PictureDecoder(width)

    def forward(self, content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.transformer(self.embedding(content), self.embedding(style)))


class StyleTransformer(nn.Module):
    """Patch maps of content (N, C, H, W) and style (N, C, h, w) -> (N, C, H, W)."""

    def __init__(self, width: int, heads: int, layers: int, hidden: int, pooled: int) -> None:
        super().__init__()
        self.pooled = pooled
        self.position = nn.Conv2d(width, width, 1)
        self.content_encoder = nn.ModuleList(Layer(width, heads, hidden, attentions=1) for _ in range(layers))
        self.style_encoder = nn.ModuleList(Layer(width, heads, hidden, attentions=1) for _ in range(layers))
        self.decoder = nn.ModuleList(Layer(width, heads, hidden, attentions=2) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        n, c, h, w = content.shape
        position = _sequence(self.positions(content))
        content, style = _sequence(content), _sequence(style)
        for layer in self.style_encoder:
            style = layer(style, None, 0)
        for layer in self.content_encoder:
            content = layer(content, None, position)
        for layer in self.decoder:
            content = layer(content, style, position)
        return self.norm(content).transpose(1, 2).reshape(n, c, h, w)

    def positions(self, content: torch.Tensor) -> torch.Tensor:
        """Content-aware positional encoding (N, C, H, W), computed from the content at a fixed, coarse resolution."""
        coarse = self.position(F.adaptive_avg_pool2d(content, self.pooled))
        return F.interpolate(coarse, content.shape[-2:], mode="bilinear", align_corners=False)


class Layer(nn.Module):
    """Attention (once in the encoders, twice in the decoder) and a feed-forward part, each added and normalized.

    Sequences (N, L, C). Positions are added to queries and, in self-attention, to keys, never to values.
    """

    def __init__(self, width: int, heads: int, hidden: int, attentions: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(Attention(width, heads) for _ in range(attentions))
        self.wide = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(attentions + 1))

    def forward(self, x: torch.Tensor, memory: torch.Tensor | None, position: torch.Tensor | float) -> torch.Tensor:
        for attention, norm in zip(self.attentions, self.norms, strict=False):
            keys = x + position if memory is None else memory
            x = norm(x + attention(x + position, keys, x if memory is None else memory))
        return self.norms[-1](x + self.narrow(F.relu(self.wide(x))))


class Attention(nn.Module):
    """Multi-head attention: queries (N, L, C), keys and values (N, M, C) -> (N, L, C)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)

    def forward(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        weights, biases = self.project_in.weight.chunk(3), self.project_in.bias.chunk(3)
        q, k, v = (
            F.linear(x, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((queries, keys, values), weights, biases, strict=True)
        )
        return self.project_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class PictureDecoder(nn.Module):
    """Patch map (N, C, H, W) -> picture (N, 3, 8 H, 8 W): nine 3x3 convolutions and three doublings."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half, quarter, eighth = width // 2, width // 4, width // 8
        channels = (width, half, half, half, half, quarter, quarter, eighth, eighth, 3)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3) for before, after in zip(channels[:-1], channels[1:], strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = len(self.convolutions) - 1
        for index, convolution in enumerate(self.convolutions):
            x = convolution(F.pad(x, (1, 1, 1, 1), mode="reflect"))
            x = F.relu(x) if index < last else x
            if index in _UPSAMPLED:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
        return x


def _sequence(maps: torch.Tensor) -> torch.Tensor:
    return maps.flatten(2).transpose(1, 2)


def released_names(layers: int = 3) -> dict[str, dict[str, str]]:
    """For each of the authors' three files: their tensor names -> ours."""
    transformer = {"new_ps": "position", "decoder.norm": "norm"}
    for theirs, ours in (("encoder_c", "content_encoder"), ("encoder_s", "style_encoder"), ("decoder", "decoder")):
        for layer in range(layers):
            inner = _decoder_layer() if theirs == "decoder" else _encoder_layer()
            transformer |= {f"{theirs}.layers.{layer}.{k}": f"{ours}.{layer}.{v}" for k, v in inner.items()}
    convolutions = (
        1,
        5,
        8,
        11,
        14,
        18,
        21,
        25,
        28,
    )  # indices in their sequence of all steps
    return {
        "embedding": _with_kinds({"proj": "embedding"}),
        "transformer": _with_kinds({theirs: f"transformer.{ours}" for theirs, ours in transformer.items()}),
        "decoder": _with_kinds({str(k): f"decoder.convolutions.{i}" for i, k in enumerate(convolutions)}),
    }


def _encoder_layer() -> dict[str, str]:
    return _attention("self_attn", 0) | {"linear1": "wide", "linear2": "narrow", "norm1": "norms.0", "norm2": "norms.1"}


def _decoder_layer() -> dict[str, str]:
    return _encoder_layer() | _attention("multihead_attn", 1) | {"norm3": "norms.2"}


def _attention(theirs: str, index: int) -> dict[str, str]:
    ours = f"attentions.{index}"
    return {f"{theirs}.in_proj_": f"{ours}.project_in", f"{theirs}.out_proj": f"{ours}.project_out"}


def _with_kinds(layers: dict[str, str]) -> dict[str, str]:
    return {
        f"{theirs}{'' if theirs.endswith('_') else '.'}{kind}": f"{ours}.{kind}"
        for theirs, ours in layers.items()
        for kind in ("weight", "bias")
    }
