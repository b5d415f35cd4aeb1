"""Choice of device and dtype."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from ..errors import InputError
from ..onnx_devices import only_onnx
from .processor import bf16_pays

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(device: str | torch.device | None) -> torch.device:
    """The requested device, or the best available: cuda, mps, cpu. Raises `InputError` for an unavailable one."""
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device is None or device == "auto":
        return torch.device(next(name for name, available in here.items() if available))
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        if only_onnx(device):
            found = f"device {device!r} runs ONNX files and the preview, not these weights"
            raise InputError(f"{found}: export them with 'sdpose convert IN NAME.onnx', or choose another") from None
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


AS_ASKED = "as asked"


class DtypeChoice(NamedTuple):
    """A dtype, and why: "as asked", or what "auto" found."""

    dtype: torch.dtype
    why: str


FULL_SIZE_MAP = (12, 16)
"""(w, h) of the U-Net's smallest map for the usual crop of 768 x 1024."""


def pick_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The requested dtype; for None and "auto" see `choose_dtype`. Raises `InputError` for an unknown one."""
    return choose_dtype(dtype, device).dtype


def choose_dtype(
    dtype: str | torch.dtype | None, device: torch.device, smallest_map: tuple[int, int] = FULL_SIZE_MAP
) -> DtypeChoice:
    """The requested dtype; for None and "auto" the fastest that is accurate enough, and why.

    bf16 on CUDA devices that support it, as in the official evaluation, fp16 on older ones. On a CPU bf16 if it has
    the instructions and a measurement shows that they pay, see `processor.bf16_pays`. Else fp32.

    Args:
        dtype: "fp32", "bf16", "fp16", a torch.dtype, or None ("auto").
        device: where the model runs.
        smallest_map: (w, h) of the U-Net's smallest map, for which a CPU's bf16 is checked.

    Raises:
        InputError: an unknown dtype.
    """
    if isinstance(dtype, torch.dtype):
        return DtypeChoice(dtype, AS_ASKED)
    if dtype is not None and dtype != "auto":
        if dtype not in DTYPES:
            raise InputError(f"unknown dtype {dtype!r}: choose auto, {', '.join(DTYPES)}, or a torch.dtype")
        return DtypeChoice(DTYPES[dtype], AS_ASKED)
    if device.type == "cpu":
        pays, why = bf16_pays(smallest_map)
        return DtypeChoice(torch.bfloat16 if pays else torch.float32, why)
    if device.type != "cuda":
        return DtypeChoice(torch.float32, f"default on {device.type}")
    has_bf16 = torch.cuda.get_device_capability(device)[0] >= 8
    return DtypeChoice(*((torch.bfloat16, "GPU with bf16") if has_bf16 else (torch.float16, "GPU without bf16")))


def fp32_on_cpu(dtype: str | torch.dtype | None, device: str | torch.device | None) -> str | torch.dtype | None:
    """`dtype`, but fp32 for None and "auto" on a CPU: for figures, which must not depend on the processor."""
    is_auto = dtype is None or dtype == "auto"
    return "fp32" if is_auto and pick_device(device).type == "cpu" else dtype


def name_of(dtype: torch.dtype) -> str:
    """ "fp32", "bf16", "fp16", or torch's name of another dtype."""
    return next((name for name, known in DTYPES.items() if known == dtype), str(dtype).removeprefix("torch."))
