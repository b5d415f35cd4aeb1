"""Group norm, SiLU and convolution over a large picture in strips of rows.

On a CPU, SDPose's memory peaks in the VAE's first block: five tensors of 0.4 GB each at 768 x 1024 when run layer by
layer. In strips, only a convolution's input and output are held, or one of them. A strip is normalized, convolved and
measured for the next group norm while it is in the processor's cache; the statistics are those of the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .winograd import Winograd, is_wide, suits

STRIP_ELEMENTS = 1 << 20
"""Elements in a strip's input or output: 4 MB in float32, which fits a processor's cache."""

Normalize = Callable[[torch.Tensor, torch.Tensor], None]
"""Writes a function of some rows (N, h, W, C) to a tensor of the same shape."""


class Statistics:
    """Sums over the pixels of a picture that comes in strips, for its group norm; in float32 or better."""

    def __init__(self) -> None:
        self._pixels = 0
        self._near: torch.Tensor | None = None  # (N, 1, C): about the mean, so that squares keep their digits
        self._sum: Any = 0
        self._squares: Any = 0

    @classmethod
    def of(cls, x: torch.Tensor) -> Statistics:
        """Those of a whole picture (N, C, H, W)."""
        made = cls()
        made.add(x.permute(0, 2, 3, 1))
        return made

    def add(self, rows: torch.Tensor) -> None:
        """Add rows (N, h, W, C)."""
        n, channels = rows.shape[0], rows.shape[3]
        for part in rows.reshape(n, -1, channels).split(max(1, STRIP_ELEMENTS // (n * channels)), dim=1):
            part = part.float()
            if self._near is None:
                self._near = part.mean(dim=1, keepdim=True)
            centered = part - self._near
            self._pixels += part.shape[1]
            self._sum = self._sum + centered.sum(dim=1).double()
            self._squares = self._squares + centered.square_().sum(dim=1).double()

    def group_norm_silu(self, norm: nn.GroupNorm) -> Normalize:
        """SiLU of the affine group norm of the picture."""
        assert self._near is not None
        near, groups = self._near[:, 0].double(), norm.num_groups
        mean = near + self._sum / self._pixels
        squares = self._squares / self._pixels - (mean - near).square()  # variance of each channel
        per_group = mean.unflatten(1, (groups, -1)).mean(dim=2, keepdim=True)
        spread = (mean.unflatten(1, (groups, -1)) - per_group).square()
        variance = (squares.unflatten(1, (groups, -1)) + spread).mean(dim=2, keepdim=True)
        scale = (torch.rsqrt(variance + norm.eps) * norm.weight.view(groups, -1)).flatten(1)
        shift = norm.bias - per_group.expand(-1, -1, scale.shape[1] // groups).flatten(1) * scale
        scale, shift = scale.float()[:, None, None], shift.float()[:, None, None]

        def write(rows: torch.Tensor, out: torch.Tensor) -> None:
            if rows.dtype == torch.float32:
                F.silu(torch.addcmul(shift, rows, scale, out=out), inplace=True)
            else:  # rounded once
                out.copy_(F.silu(torch.addcmul(shift, rows.float(), scale), inplace=True))

        return write


def conv_in_strips(
    conv: nn.Conv2d,
    x: torch.Tensor,
    padding: tuple[int, int, int, int],
    *,
    before: Normalize | None = None,
    add_to: torch.Tensor | None = None,
    in_place: bool = False,
    with_bias: bool = True,
    statistics: Statistics | None = None,
) -> torch.Tensor:
    """`conv` over zero-padded `before(x)`, strip by strip -> (N, C', H', W'), channels last.

    Args:
        conv: its own padding is not used.
        x: (N, C, H, W).
        padding: left, right, top, bottom, as in `torch.nn.functional.pad`.
        before: pixel-wise function of rows of `x`.
        add_to: add the result to this tensor, not `x`, in place.
        in_place: overwrite `x`; for 3 x 3 convolutions that keep size and number of channels.
        with_bias: use the convolution's bias.
        statistics: gets the result's rows.
    """
    left, right, above, below = padding
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    n, c, h, w = x.shape
    out_h = (h + above + below - kernel) // stride + 1
    out_w = (w + left + right - kernel) // stride + 1
    out = x if in_place else add_to
    if out is None:
        shape, layout = (n, conv.out_channels, out_h, out_w), torch.channels_last
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    pixels, out_pixels = x.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1)
    bias = conv.bias if with_bias else None
    convolve: Winograd | _Direct
    if suits(out) and is_wide(conv):  # in this order: counting operations on shapes must not measure
        convolve = Winograd(conv.weight, bias, out_h, out_w)
        step = convolve.rows_at_once
    else:
        convolve = _Direct(conv.weight, bias, stride)
        step = max(1, STRIP_ELEMENTS // (n * max(c, conv.out_channels) * w * stride))
    step = min(step, out_h)
    window = x.new_zeros(n, (step - 1) * stride + kernel, w + left + right, c)
    ready, read = above, 0  # rows of the window that are filled, rows of the picture that were read
    for top in range(0, out_h, step):
        bottom = min(top + step, out_h)
        needed = (bottom - top - 1) * stride + kernel
        count = min(needed - ready, h - read)
        inside = window[:, ready : ready + count, left : left + w]
        (before or _copy)(pixels[:, read : read + count], inside)
        window[:, ready + count : needed] = 0
        read += count
        strip = out_pixels[:, top:bottom]
        convolve(window[:, :needed], strip, add_to is not None)
        if statistics:
            statistics.add(strip)
        ready = kernel - stride  # the next strip needs these rows again
        window[:, :ready] = window[:, needed - ready : needed].clone()
    return out


def _copy(rows: torch.Tensor, out: torch.Tensor) -> None:
    out.copy_(rows)


class _Direct:
    """A convolution of padded rows by PyTorch."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, stride: int) -> None:
        self.weight, self.bias, self.stride = weight, bias, stride

    def __call__(self, padded: torch.Tensor, out: torch.Tensor, add: bool) -> None:
        """Rows (N, h, W, C) -> `out` (N, h', W', C'), or added to it."""
        values = F.conv2d(padded.permute(0, 3, 1, 2), self.weight, self.bias, self.stride).permute(0, 2, 3, 1)
        if add:
            out += values
        else:
            out.copy_(values)


class WinogradConv2d(nn.Conv2d):
    """A wide 3 x 3 `torch.nn.Conv2d` of padding 1, with fewer multiplications where that is faster."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or not suits(x):
            return super().forward(x)
        return conv_in_strips(self, x, (1, 1, 1, 1))
