"""3 x 3 convolutions with four times fewer multiplications: Winograd's F(4 x 4, 3 x 3) in float32 (arXiv 1509.09308).

A tile of 6 x 6 inputs gives 4 x 4 outputs. The 36 values of all tiles, transformed, are 36 matrices, and each is
multiplied by a matrix of transformed weights. The transforms evaluate polynomials at 0, +-sqrt(1/2), +-sqrt(2) and
infinity. With these points, rounding adds an error of 1e-6 of the output (rms), as a plain convolution does; with the
usual points 0, +-1 and +-2 it would be 2e-6.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from .products import has_avx512, product
from .timing import times_as_fast

TILE = 4
"""Rows and columns of outputs of a tile."""

_LINES = TILE + 2

MIN_TILES = 96
"""With fewer tiles, transforming the weights takes too long."""

_TILES_AT_ONCE = 384
"""Enough for a fast matrix product; few enough for their values to stay in a cache."""

_S = 0.5**0.5

_matrix = functools.partial(torch.tensor, dtype=torch.float32, device="cpu")  # whatever the defaults are

_POINTS = (0.0, _S, -_S, 2 * _S, -2 * _S)

_INPUT = _matrix(
    [
        [1, 0, -2.5, 0, 1, 0],
        [0, -2 * _S, -2, _S, 1, 0],
        [0, 2 * _S, -2, -_S, 1, 0],
        [0, -_S, -0.5, 2 * _S, 1, 0],
        [0, _S, -0.5, -2 * _S, 1, 0],
        [0, 1, 0, -2.5, 0, 1],
    ]
)
"""(6, 6): six lines of inputs -> six transformed lines."""

_SHARES = (1, -2 / 3, -2 / 3, 1 / 6, 1 / 6)
"""1 over the product of a point's distances to the others."""

_WEIGHT = _matrix([*([share, share * x, share * x * x] for x, share in zip(_POINTS, _SHARES, strict=True)), [0, 0, 1]])
"""(6, 3): three lines of weights -> six transformed lines."""

_OUTPUT = _matrix([[*(x**power for x in _POINTS), float(power == TILE - 1)] for power in range(TILE)])
"""(4, 6): six lines of products -> four lines of outputs."""


MIN_CHANNELS = 128
"""With fewer channels in or out, the transforms take as long as the multiplications they save."""

CLEARLY_FASTER = 1.15
"""With AVX512, where plain convolutions are faster, it must be this many times as fast as they are."""


def is_wide(conv: nn.Conv2d) -> bool:
    """Whether it is a 3 x 3 convolution of stride 1 with enough channels to be faster this way."""
    plain = conv.kernel_size == (3, 3) and conv.stride == conv.dilation == (1, 1) and conv.groups == 1
    channels = min(conv.in_channels, conv.out_channels)
    return plain and channels >= MIN_CHANNELS and pays(channels)


def pays(channels: int) -> bool:
    """Whether it is clearly faster than a plain convolution here: without AVX512 always, else by a measurement."""
    measured = next(count for count in (512, 256, 128, channels) if count <= channels)
    return not has_avx512() or gain(measured) >= CLEARLY_FASTER


@functools.cache
def gain(channels: int) -> float:
    """How many times as fast as a plain convolution it is, for 64 x 64 pixels; takes some tenths of a second."""
    side = 64
    weight = torch.linspace(-1, 1, 9 * channels**2, device="cpu").view(channels, channels, 3, 3)
    pixels = torch.linspace(-1, 1, (side + 2) ** 2 * channels, device="cpu").view(1, side + 2, side + 2, channels)
    weight, out = weight.contiguous(memory_format=torch.channels_last), pixels.new_empty(1, side, side, channels)

    def fewer() -> torch.Tensor:
        convolve = Winograd(weight, None, side, side)
        for top in range(0, side, convolve.rows_at_once):
            bottom = min(top + convolve.rows_at_once, side)
            convolve(pixels[:, top : bottom + 2], out[:, top:bottom], False)
        return out.permute(0, 3, 1, 2)

    return times_as_fast(fewer, lambda: F.conv2d(pixels.permute(0, 3, 1, 2), weight), rounds=3)


def suits(out: torch.Tensor) -> bool:
    """Whether the output (N, C', H, W) of a wide convolution divides into enough tiles, in float32 on an x86 CPU.

    Not on the meta device, so that operations are counted as those of plain convolutions.
    """
    h, w = out.shape[2:]
    on_x86 = out.device.type == "cpu" and torch.backends.mkl.is_available()
    return on_x86 and out.dtype == torch.float32 and not h % TILE and not w % TILE and h * w >= MIN_TILES * TILE**2


class Winograd:
    """One convolution, called for strips of rows.

    Args:
        weight: (C', C, 3, 3).
        bias: (C',) or None.
        width: W of the output.
        height: H of the output.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, height: int, width: int) -> None:
        outputs, inputs = weight.shape[:2]
        self.bias = bias
        self.rows_at_once = min(height, TILE * max(1, _TILES_AT_ONCE * TILE // width))
        """The largest number of output rows of a call."""
        rows, columns = self.rows_at_once // TILE, width // TILE
        self._lines = weight.new_empty(rows, _LINES, (width + 2) * inputs)
        self._tiles = weight.new_empty(_LINES, rows, columns, inputs)
        self._odd = weight.new_empty(rows, columns, inputs)
        self._products = weight.new_empty(_LINES, rows, columns, outputs)
        self._sum = weight.new_empty(rows, columns, outputs)
        self._result = weight.new_empty(rows, _LINES, width, outputs)
        self._plain = weight.permute(2, 3, 0, 1).reshape(9, -1)
        self._shape = (_LINES, outputs, inputs)
        one_call = height <= self.rows_at_once
        self._transformed = None if one_call else [self._weights(line) for line in range(_LINES)]

    def __call__(self, padded: torch.Tensor, out: torch.Tensor, add: bool) -> None:
        """Convolve `padded` (N, 4 t + 2, W + 2, C), with borders, to `out` (N, 4 t, W, C'), or add to it."""
        for sample, result in zip(padded, out, strict=True):
            self._convolve(sample, result, add)
        if self.bias is not None:
            out += self.bias

    def _convolve(self, padded: torch.Tensor, out: torch.Tensor, add: bool) -> None:
        rows, (width, outputs) = len(out) // TILE, out.shape[1:]
        columns, step = width // TILE, padded.stride(0)
        lines, tiles, odd = self._lines[:rows], self._tiles[:, :rows], self._odd[:rows]
        products, total, result = self._products[:, :rows], self._sum[:rows], self._result[:rows]
        overlapping = padded.as_strided((rows, _LINES, step), (TILE * step, step, 1))
        torch.matmul(_INPUT, overlapping, out=lines)
        for line in range(_LINES):
            values = lines[:, line].view(rows, width + 2, -1)
            _transform([values[:, start::TILE][:, :columns] for start in range(_LINES)], tiles, odd)
            weights = self._weights(line) if self._transformed is None else self._transformed[line]
            _multiply(tiles.flatten(1, 2), weights, products.flatten(1, 2))
            target = result[:, line]
            _transform_back(products, [target[:, start::TILE] for start in range(TILE)], total)
        strip = out.view(rows, TILE, width * outputs)
        result = result.view(rows, _LINES, width * outputs)
        strip.baddbmm_(_OUTPUT.expand(rows, -1, -1), result, beta=float(add))

    def _weights(self, line: int) -> torch.Tensor:
        """The transformed weights of a line of tiles (6, C', C)."""
        factors = torch.outer(_WEIGHT[line], _WEIGHT.flatten()).view(3, _LINES, 3).transpose(0, 1).reshape(_LINES, 9)
        return (factors @ self._plain).view(self._shape)


def _multiply(tiles: torch.Tensor, weights: torch.Tensor, out: torch.Tensor) -> None:
    """(6, T, C) by (6, C', C) -> (6, T, C')."""
    if has_avx512():
        for one, weight, result in zip(tiles, weights, out, strict=True):
            result.copy_(product(one, weight))
    else:
        torch.bmm(tiles, weights.transpose(1, 2), out=out)


def _transform(lines: Sequence[torch.Tensor], out: torch.Tensor, odd: torch.Tensor) -> None:
    """`_INPUT` times six columns of pixels, to `out` (6, ...); `odd` is overwritten."""
    for plus, minus, factor, near in ((out[1], out[2], _S, 2), (out[3], out[4], 2 * _S, 0.5)):
        torch.sub(lines[4], lines[2], alpha=near, out=plus)
        torch.sub(lines[3], lines[1], alpha=near, out=odd)
        torch.sub(plus, odd, alpha=factor, out=minus)
        plus.add_(odd, alpha=factor)
    for result, first in ((out[0], 0), (out[5], 1)):
        torch.sub(lines[first + 4], lines[first + 2], alpha=2.5, out=result)
        result += lines[first]


def _transform_back(products: torch.Tensor, out: Sequence[torch.Tensor], near: torch.Tensor) -> None:
    """`_OUTPUT` times six columns (6, ...), to four columns of pixels; `products` and `near` are overwritten."""
    first, a, b, c, d, last = products
    torch.add(a, b, out=near)
    near_odd = a.sub_(b)
    far, far_odd = torch.add(c, d, out=b), c.sub_(d)
    torch.add(first.add_(near), far, out=out[0])
    torch.mul(near.add_(far, alpha=4), 0.5, out=out[2])
    torch.add(near_odd, far_odd, alpha=2, out=near)
    torch.mul(near, _S, out=out[1])
    torch.add(last, near_odd.add_(far_odd, alpha=8), alpha=_S**3, out=out[3])
