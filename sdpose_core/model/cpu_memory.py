"""Memory on a CPU: what a stage has freed is returned to the system before the next one begins."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

import torch

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
