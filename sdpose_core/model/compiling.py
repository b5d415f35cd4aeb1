"""Whether `torch.compile` works here: learned from a small function, before the minutes that a model takes."""

from __future__ import annotations

import logging

import torch

from ..errors import MissingDependency

log = logging.getLogger(__name__)

_CPU = "a C++ compiler (Linux: g++; Windows: Visual Studio Build Tools; macOS: xcode-select --install)"
_GPU = "Triton and a C compiler (Linux: gcc; Windows: triton-windows)"


def need_compiler(device: torch.device) -> None:
    """Compile a small function for a device, in some CPU seconds. Raises `MissingDependency` if that fails."""
    try:
        with torch.inference_mode():
            torch.compile(_half)(torch.ones(2, device=device))
    except RuntimeError as error:
        log.debug("torch.compile failed", exc_info=True)
        needs, said = _CPU if device.type == "cpu" else _GPU, str(error).strip().splitlines()
        raise MissingDependency(
            f"compile does not work here: it needs {needs}. Install that, or turn compile off. "
            f"PyTorch says: {said[0][:200] if said else type(error).__name__}"
        ) from None


def _half(x: torch.Tensor) -> torch.Tensor:
    return x / 2
