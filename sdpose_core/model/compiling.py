"""Whether `torch.compile` works here: learned from a small function, before the minutes that a model takes."""

from __future__ import annotations

import logging

import torch

from ..errors import MissingDependency, one_line

log = logging.getLogger(__name__)

_CPU = "a C++ compiler (Linux: g++; Windows: Visual Studio Build Tools; macOS: xcode-select --install)"
_GPU = "Triton and a C compiler (Linux: gcc; Windows: triton-windows)"
_MISSING = ("InvalidCxxCompiler", "TritonMissing")
"""How PyTorch says that just that is missing."""


def need_compiler(device: torch.device) -> None:
    """Compile a small function for a device, in some CPU seconds. Raises `MissingDependency` if that fails."""
    try:
        with torch.inference_mode():
            torch.compile(_half)(torch.ones(2, device=device))
    except RuntimeError as error:
        log.debug("torch.compile failed", exc_info=True)
        needs, said = _CPU if device.type == "cpu" else _GPU, str(error).strip().partition("\n")[0]
        why = "" if said.startswith(_MISSING) else f" (PyTorch says: {one_line(RuntimeError(said))})"
        raise MissingDependency(f"compile needs {needs}: install that, or turn compile off{why}") from None


def _half(x: torch.Tensor) -> torch.Tensor:
    return x / 2
