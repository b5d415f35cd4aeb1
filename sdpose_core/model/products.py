"""Matrix products by the fastest library of an x86 CPU."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F


@functools.cache
def has_avx512() -> bool:
    """Whether PyTorch uses AVX512. Without it, MKL and oneDNN multiply equally fast, and MKL needs no copies."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def product(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """a (M, K) @ b (N, K).T + bias -> (M, N), contiguous."""
    return by_onednn(a, b, bias) if has_avx512() else F.linear(a, b, bias)


def by_onednn(a: torch.Tensor, b: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """As `product`: rows of `a` are pixels and rows of `b` are filters."""
    pixels = a.view(1, len(a), 1, -1).permute(0, 3, 1, 2)
    filters = b.view(len(b), 1, 1, -1).permute(0, 3, 1, 2)
    return F.conv2d(pixels, filters, bias).permute(0, 2, 3, 1).reshape(len(a), len(b))
