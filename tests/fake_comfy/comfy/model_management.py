"""Stand-in for `comfy.model_management`: one CPU, nothing ever offloaded, cancelling by a flag."""

from __future__ import annotations

import torch

interrupted = False
loaded: list[object] = []


class InterruptProcessingException(Exception):
    """What ComfyUI raises when the user cancels."""


def throw_exception_if_processing_interrupted() -> None:
    global interrupted
    if interrupted:
        interrupted = False
        raise InterruptProcessingException


def get_torch_device() -> torch.device:
    return torch.device("cpu")


def intermediate_device() -> torch.device:
    return torch.device("cpu")


def unet_offload_device() -> torch.device:
    return torch.device("cpu")


def should_use_bf16(device: torch.device) -> bool:
    return False


def should_use_fp16(device: torch.device) -> bool:
    return False


def load_models_gpu(models: list, memory_required: float = 0) -> None:
    """Asks for the state dict, as the host does to know a model's size."""
    assert all(patcher.model.state_dict() for patcher in models)
    loaded.extend(models)
