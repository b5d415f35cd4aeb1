"""Dtypes of weights and arithmetic, memory format, checkpointing, compilation."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType

from sdpose_core.errors import InputError
from sdpose_core.model.compiling import need_compiler
from sdpose_core.model.devices import DTYPES
from sdpose_core.model.network import SDPose
from sdpose_training.recipe.recipe import Recipe


def make_accelerator(precision: str) -> Accelerator:
    """accelerate with `hardware.mixed_precision`. Raises `InputError` for fp16 on a CPU."""
    views = DistributedDataParallelKwargs(gradient_as_bucket_view=True)  # else DDP holds the gradients twice
    accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=[views])
    if precision == "fp16" and accelerator.device.type == "cpu":  # accelerate would train in float32
        raise InputError("hardware.mixed_precision 'fp16' needs a GPU, and this run is on a CPU: use 'bf16' or 'no'")
    return accelerator


def check_precision(recipe: Recipe, accelerator: Accelerator) -> None:
    """Raise `InputError` for settings that bfloat16 weights do not go with."""
    if recipe.hardware.weights_dtype != "bf16":
        return
    if (found := recipe.hardware.mixed_precision) != "bf16":
        expected = "expected hardware.mixed_precision 'bf16'"
        raise InputError(f"hardware.weights_dtype 'bf16' with mixed_precision {found!r}: {expected}")
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise InputError("hardware.weights_dtype 'bf16' does not work with FSDP or DeepSpeed: use 'fp32', or DDP")
    if recipe.optimizer.ema_decay and not recipe.lora.rank:  # LoRA's own weights, which are averaged, are float32
        raise InputError("optimizer.ema_decay needs hardware.weights_dtype 'fp32', or LoRA: change one of them")


def set_precision(model: SDPose, recipe: Recipe, device: str) -> None:
    """Set up dtypes, checkpointing and compilation, before accelerate wraps the model and moves it to the device.

    `device`: its type, "cuda" or "cpu". Raises `MissingDependency` if `torch.compile` does not work there.
    """
    hardware = recipe.hardware
    if model.vae_is_frozen and device != "cpu":
        model.vae.to(DTYPES[hardware.vae_dtype])
    if hardware.weights_dtype == "bf16":
        _halve(model, all_weights=not recipe.lora.rank)
    if hardware.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    if hardware.channels_last:
        model.to(memory_format=torch.channels_last)
    if hardware.compile:
        need_compiler(torch.device(device))
        # one graph per size; with free sizes, PyTorch 2.13 cannot compile the backward pass of the VAE
        model.unet.compile(dynamic=False)
    model.train()


def _halve(model: SDPose, all_weights: bool) -> None:
    """Round U-Net and head to bfloat16; or only what is frozen of them."""
    for part in (model.unet, model.head):
        for parameter in part.parameters():
            if all_weights or not parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
