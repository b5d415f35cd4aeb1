"""Group norm, SiLU and convolution over a large picture in strips of rows.

On a CPU the VAE's first blocks hold the peak of SDPose's memory: 0.4 GB per tensor at 768 x 1024, and five of them at
once when run layer by layer. In strips only a block's input and output exist whole. Convolutions see the same numbers
as before; the group norm's statistics are those of the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

STRIP_ELEMENTS = 1 << 21
"""Input elements of one strip: 8 MB in float32, which also suits a processor's cache."""


def group_norm_silu(norm: nn.GroupNorm, x: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """SiLU of the group norm of `x` (N, C, H, W), as a function of any rows of `x`; needs an affine norm."""
    n, c, h, w = x.shape
    grouped = x.permute(0, 2, 3, 1).reshape(n, h * w, norm.num_groups, c // norm.num_groups)  # a view if channels-last
    variance, mean = torch.var_mean(grouped, dim=(1, 3), correction=0)
    per_group = torch.rsqrt(variance + norm.eps).repeat_interleave(c // norm.num_groups, dim=1)
    scale = per_group * norm.weight
    shift = norm.bias - mean.repeat_interleave(c // norm.num_groups, dim=1) * scale
    scale, shift = scale[:, :, None, None], shift[:, :, None, None]
    return lambda rows: F.silu(torch.addcmul(shift, rows, scale), inplace=True)


def conv_in_strips(
    conv: nn.Conv2d,
    x: torch.Tensor,
    padding: tuple[int, int, int, int],
    *,
    before: Callable[[torch.Tensor], torch.Tensor] | None = None,
    add_to: torch.Tensor | None = None,
) -> torch.Tensor:
    """`conv` over zero-padded `before(x)`, strip by strip.

    Args:
        conv: its own padding is not used.
        x: (N, C, H, W).
        padding: left, right, top, bottom; as in `torch.nn.functional.pad`.
        before: applied to rows of `x` first, pixel by pixel.
        add_to: tensor to which the result is added in place; must not be `x`.

    Returns:
        The result (N, C', H', W'), or `add_to`.
    """
    left, right, above, below = padding
    (kernel_h, kernel_w), (stride, _) = conv.kernel_size, conv.stride
    n, c, h, w = x.shape
    out_h = (h + above + below - kernel_h) // stride + 1
    out_w = (w + left + right - kernel_w) // stride + 1
    out = add_to
    if out is None:
        out = x.new_empty((n, conv.out_channels, out_h, out_w)).to(memory_format=torch.channels_last)
    step = max(1, STRIP_ELEMENTS // (n * c * w * stride))
    for top in range(0, out_h, step):
        bottom = min(top + step, out_h)
        first, last = top * stride - above, (bottom - 1) * stride + kernel_h - above  # input rows; may lie outside
        rows = x[:, :, max(first, 0) : min(last, h)]
        rows = F.pad(before(rows) if before else rows, (left, right, max(-first, 0), max(last - h, 0)))
        strip = F.conv2d(rows, conv.weight, conv.bias, stride=conv.stride)
        if add_to is None:
            out[:, :, top:bottom] = strip
        else:
            out[:, :, top:bottom] += strip
    return out
