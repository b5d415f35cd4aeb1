"""Choice of device and dtype."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import InputError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(device: str | torch.device | None) -> torch.device:
    """The requested device, or the best available: cuda, mps, cpu. Raises `InputError` for an unavailable one."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device is None or device == "auto":
        return torch.device(next(name for name, available in here.items() if available))
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"unknown device {device!r}: choose auto, cuda, cuda:1, mps or cpu") from error
    if not here.get(chosen.type, True):
        found = ", ".join(name for name, available in here.items() if available)
        raise InputError(f"no device {str(chosen)!r} for PyTorch {torch.__version__} here: choose one of {found}")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        found = ", ".join(f"cuda:{index}" for index in range(torch.cuda.device_count()))
        raise InputError(f"no device {str(chosen)!r} here: choose one of {found}")
    return chosen


def channels_last(module: nn.Module) -> None:
    """Lay out weights channels-last, in place."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in torch's types


def pick_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The requested dtype; for None and "auto", bf16 on CUDA devices that support it, fp16 on older ones, else fp32.

    The official evaluation runs a bf16 U-Net. CPUs without AMX or AVX512-BF16 are a hundred times slower in bf16.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype is None or dtype == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}: choose auto, {', '.join(DTYPES)}, or a torch.dtype")
    return DTYPES[dtype]
