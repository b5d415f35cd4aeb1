"""Group norm, SiLU and convolution over a large picture in strips of rows.

On a CPU, SDPose's memory peaks in the VAE's first block: five tensors of 0.4 GB each at 768 x 1024 when run layer by
layer. In strips, only a convolution's input and output are held, or one of them. Group norm uses statistics of the
whole picture.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

STRIP_ELEMENTS = 1 << 21
"""Elements in a strip's input or output: 8 MB in float32, which fits a processor's cache."""


def group_norm_silu(norm: nn.GroupNorm, x: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """SiLU of the affine group norm of `x` (N, C, H, W), as a function of any rows of `x`."""
    channels_per_group = x.shape[1] // norm.num_groups
    mean, variance = _group_statistics(x, norm.num_groups)
    per_group = torch.rsqrt(variance + norm.eps).repeat_interleave(channels_per_group, dim=1)
    scale = per_group * norm.weight
    shift = norm.bias - mean.repeat_interleave(channels_per_group, dim=1) * scale
    scale, shift = scale[:, :, None, None], shift[:, :, None, None]
    return lambda rows: F.silu(torch.addcmul(shift, rows, scale), inplace=True)


def _group_statistics(x: torch.Tensor, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance (N, groups) of (N, C, H, W), in strips: takes a quarter of the time of `torch.var_mean`."""
    n, c, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(n, h * w, c)  # a view if channels-last
    mean = pixels.mean(dim=1).view(n, groups, -1).mean(dim=2)
    center = mean.repeat_interleave(c // groups, dim=1)[:, None]
    squares = x.new_zeros(n, c, dtype=torch.float64)  # a sum of many parts
    for part in pixels.split(max(1, STRIP_ELEMENTS // (4 * n * c)), dim=1):
        squares += (part - center).square_().sum(dim=1)
    return mean, (squares.view(n, groups, -1).mean(dim=2) / (h * w)).to(mean.dtype)


def conv_in_strips(
    conv: nn.Conv2d,
    x: torch.Tensor,
    padding: tuple[int, int, int, int],
    *,
    before: Callable[[torch.Tensor], torch.Tensor] | None = None,
    add_to: torch.Tensor | None = None,
    in_place: bool = False,
    with_bias: bool = True,
) -> torch.Tensor:
    """`conv` over zero-padded `before(x)`, strip by strip -> (N, C', H', W').

    Args:
        conv: its own padding is not used.
        x: (N, C, H, W).
        padding: left, right, top, bottom, as in `torch.nn.functional.pad`.
        before: pixel-wise function of rows of `x`.
        add_to: add the result to this tensor, not `x`, in place.
        in_place: overwrite `x`; for 3 x 3 convolutions that keep size and number of channels.
        with_bias: use the convolution's bias.
    """
    left, right, above, below = padding
    (kernel_h, kernel_w), (stride, _) = conv.kernel_size, conv.stride
    n, c, h, w = x.shape
    out_h = (h + above + below - kernel_h) // stride + 1
    out_w = (w + left + right - kernel_w) // stride + 1
    sides = min(left, right)  # the convolution pads these without a copy
    out = x if in_place else add_to
    if out is None:
        shape, layout = (n, conv.out_channels, out_h, out_w), torch.channels_last
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    bias = conv.bias if with_bias else None
    row_above = x[:, :, :0]  # the last row of the previous strip before it was overwritten
    step = max(1, STRIP_ELEMENTS // (n * max(c, conv.out_channels) * w * stride))
    for top in range(0, out_h, step):
        bottom = min(top + step, out_h)
        first, last = top * stride - above, (bottom - 1) * stride + kernel_h - above  # input rows; may be outside
        rows = x[:, :, max(first, 0) : min(last, h)]
        if in_place:
            rows = torch.cat([row_above, x[:, :, top : min(last, h)]], dim=2)
            row_above = x[:, :, bottom - 1 : bottom].clone()
        rows = before(rows) if before else rows
        beyond = (left - sides, right - sides, max(-first, 0), max(last - h, 0))
        if any(beyond):
            rows = F.pad(rows, beyond)
        strip = F.conv2d(rows, conv.weight, bias, stride=conv.stride, padding=(0, sides))
        if add_to is None:
            out[:, :, top:bottom] = strip
        else:
            out[:, :, top:bottom] += strip
    return out


MIN_TOKENS = 8192
"""Self-attention of fewer tokens stays with PyTorch, whose fused kernel is as fast if all scores fit a cache."""


def return_freed_memory(stage_output: torch.Tensor) -> torch.Tensor:
    """Return a finished stage's freed memory to the system, where glibc would keep it; returns its argument.

    Takes a few milliseconds. Only for full-size inference on a CPU.
    """
    large = stage_output.shape[-2] * stage_output.shape[-1] >= MIN_TOKENS
    running = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
    if large and running and stage_output.device.type == "cpu":
        _trim()(0)
    return stage_output


@functools.cache
def _trim() -> Callable[[int], Any]:
    """glibc's malloc_trim; elsewhere a function that does nothing."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return getattr(library, "malloc_trim", lambda _pad: 0)
