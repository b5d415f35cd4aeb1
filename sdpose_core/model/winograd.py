"""3 x 3 convolutions with 2.25 times fewer multiplications: Winograd's F(2 x 2, 3 x 3) in float32.

A tile of 4 x 4 inputs gives 2 x 2 outputs. The 16 values of all tiles, transformed, are 16 matrices, and each is
multiplied by one matrix of transformed weights. All factors of the transforms are 0, 1, 1/2 and 1/4, so the result is
as close to the exact one as the plain sum. Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from .products import product

MIN_CHANNELS = 256
"""With fewer channels in or out, the transforms take as long as the multiplications they save."""

MIN_TILES = 192
"""With fewer tiles, transforming the weights takes too long."""

_VALUES_AT_ONCE = 1 << 22
"""Transformed values in memory, of tiles and of weights: 16 MB each."""

_CENTER = 5
"""The product that all four outputs of a tile add with factor 1, so it gets the bias."""


def is_wide(conv: nn.Conv2d) -> bool:
    """Whether it is a 3 x 3 convolution of stride 1 with enough channels to be faster this way."""
    plain = conv.kernel_size == (3, 3) and conv.stride == conv.dilation == (1, 1) and conv.groups == 1
    return plain and min(conv.in_channels, conv.out_channels) >= MIN_CHANNELS


def suits(out: torch.Tensor) -> bool:
    """Whether the output (N, C', H, W) of a wide convolution has even sides and enough tiles, in float32 on an x86 CPU.

    Not on the meta device, so that operations are counted as those of plain convolutions.
    """
    n, _, h, w = out.shape
    on_x86 = out.device.type == "cpu" and torch.backends.mkl.is_available()
    return on_x86 and out.dtype == torch.float32 and not h % 2 and not w % 2 and n * h * w >= 4 * MIN_TILES


class Winograd:
    """One convolution, called for strips of rows.

    Args:
        weight: (C', C, 3, 3).
        bias: (C',) or None.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.tiles_at_once = max(_VALUES_AT_ONCE // (16 * weight.shape[1]), 1)
        self._parts = weight.split(max(_VALUES_AT_ONCE // (16 * weight.shape[1]), 1))
        self._biases = [None] * len(self._parts) if bias is None else bias.split(len(self._parts[0]))
        self._transformed = transform_weight(weight) if len(self._parts) == 1 else None
        self._buffer = weight.new_empty(0)

    def __call__(self, padded: torch.Tensor, out: torch.Tensor, add: bool) -> None:
        """Convolve `padded` (N, 2 t + 2, 2 u + 2, C), with borders, to `out` (N, 2 t, 2 u, C'), or add to it."""
        tiles = self._transform(padded)
        first = 0
        for weight, bias in zip(self._parts, self._biases, strict=True):
            factors = transform_weight(weight) if self._transformed is None else self._transformed
            products = [product(tiles[k], factors[k], bias if k == _CENTER else None) for k in range(16)]
            _write(products, out[..., first : first + len(weight)], add)
            first += len(weight)

    def _transform(self, padded: torch.Tensor) -> torch.Tensor:
        """(N, 2 t + 2, 2 u + 2, C) -> (16, N t u, C)."""
        n, h, w, channels = padded.shape
        rows, columns = (h - 2) // 2, (w - 2) // 2
        tile_size, row_size = n * rows * columns * channels, n * rows * w * channels
        if len(self._buffer) < 16 * tile_size + 4 * row_size:
            self._buffer = padded.new_empty(16 * tile_size + 4 * row_size)
        tiles = self._buffer[: 16 * tile_size].view(4, 4, n, rows, columns, channels)
        half = self._buffer[16 * tile_size :][: 4 * row_size].view(4, n, rows, w, channels)
        _combine(padded, 1, list(half))
        _combine(half, 3, list(tiles.unbind(1)))
        return tiles.view(16, -1, channels)


def transform_weight(weight: torch.Tensor) -> torch.Tensor:
    """(C', C, 3, 3) -> (16, C', C)."""
    columns = torch.stack(_combined_weights(*weight.permute(2, 3, 0, 1)))
    out = weight.new_empty(4, 4, *weight.shape[:2])
    for index, part in enumerate(_combined_weights(*columns.unbind(1))):
        out[:, index] = part
    return out.flatten(0, 1)


def _combined_weights(first: Any, middle: Any, last: Any) -> tuple[torch.Tensor, ...]:
    even, odd = (first + last) * 0.5, middle * 0.5
    return first, even + odd, even - odd, last


def _combine(values: torch.Tensor, dim: int, out: list[torch.Tensor]) -> None:
    """Of lines 0 to 3 of each tile along a dimension, two lines apart: 0 - 2, 1 + 2, 2 - 1, 1 - 3."""
    even, odd = (values[(slice(None),) * dim + (slice(start, None, 2),)] for start in (0, 1))
    count = even.shape[dim] - 1
    (line_0, line_2), (line_1, line_3) = ((x.narrow(dim, 0, count), x.narrow(dim, 1, count)) for x in (even, odd))
    torch.sub(line_0, line_2, out=out[0])
    torch.add(line_1, line_2, out=out[1])
    torch.sub(line_2, line_1, out=out[2])
    torch.sub(line_1, line_3, out=out[3])


def _write(products: list[torch.Tensor], out: torch.Tensor, add: bool) -> None:
    """16 products (N t u, C'), which are overwritten -> `out` (N, 2 t, 2 u, C')."""
    n, h, w, channels = out.shape
    columns = [_outputs(*products[k::4]) for k in range(4)]
    for row, four in enumerate(zip(*columns, strict=True)):
        for column, values in enumerate(_outputs(*four)):
            pixels = out[:, row::2, column::2]
            values = values.view(n, h // 2, w // 2, channels)
            if add:
                pixels += values
            else:
                pixels.copy_(values)


def _outputs(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return a.add_(b).add_(c), b.sub_(c).sub_(d)
