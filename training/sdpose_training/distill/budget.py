"""What a run needs and what the machine has, before the first step: steps, operations, memory, disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from sdpose_core.errors import InputError
from sdpose_core.model.config import SDPoseConfig
from sdpose_core.model.devices import DTYPES
from sdpose_core.model.encoder_config import EncoderConfig
from sdpose_core.model.folding import fold_constants
from sdpose_core.model.network import VAE_AT_ONCE, SDPose
from sdpose_core.model.tiny_encoder import make_encoder
from sdpose_training.distill.recipe import DistillRecipe, TeachingStage
from sdpose_training.fit.budget import OTHER_RESERVE, RESERVE, Room
from sdpose_training.fit.budget_table import GO_ON, size
from sdpose_training.fit.dry_run import encoder_memory, teaching_memory
from sdpose_training.fit.optimizers import state_bytes
from sdpose_training.fit.setup import StagePlan
from sdpose_training.templates import plain_table


@dataclass(frozen=True)
class Needs:
    """What a run needs.

    Attributes:
        memory: bytes of one process, by part.
        operations: of one sample, in GFLOP (2 per multiply-add), by stage.
        disk: bytes of the folder of the run at its end.
        encoder, vae: GFLOP of one crop at inference.
    """

    memory: Mapping[str, int]
    operations: Sequence[float]
    disk: int
    encoder: float
    vae: float


def needs_of(
    recipe: DistillRecipe, model: SDPoseConfig, student: EncoderConfig, stages: Sequence[StagePlan], device: str
) -> Needs:
    """What a recipe needs on a device of this type, for a model and an encoder of these sizes."""
    precision = recipe.hardware.mixed_precision
    half = None if precision == "no" or device == "cpu" else DTYPES[precision]
    teacher = _teacher(recipe, model, half, device)
    with torch.device("meta"):
        encoder = make_encoder(student)
    weights = sum(p.numel() * 4 for p in encoder.parameters())
    states = sum(state_bytes(recipe.optimizer, p) for p in encoder.parameters())
    average = weights if recipe.optimizer.ema_decay else 0
    micro = max(plan.batch.micro for plan in stages)
    at_once = micro if device == "cpu" else min(micro, VAE_AT_ONCE)
    activations = [at_once * encoder_memory(teacher, on_cpu=device == "cpu")]
    for with_unet in {_needs_unet(plan) for plan in stages}:
        with torch.device("meta"):
            copy = make_encoder(student)
        activations.append(teaching_memory(teacher, copy, micro, with_unet=with_unet, half=half))
    memory = {
        "frozen model": sum(p.numel() * p.element_size() for p in teacher.parameters()), "encoder": weights,
        "gradients": weights, "optimizer states": states, "moving average": average, "activations": max(activations),
    }  # fmt: skip
    memory["reserve"] = int(RESERVE.get(device, OTHER_RESERVE) * sum(memory.values()))
    w, h = recipe.input_size
    images = torch.empty(1, 3, h, w, device="meta")
    teacher = _teacher(recipe, model, None, "cpu")  # without what counts memory
    teacher.vae.in_strips = False
    with torch.no_grad():
        vae, alone = _gflop(lambda: teacher.vae(images)), _gflop(lambda: encoder(images))
    unet = _gflop(lambda: _compared(teacher)) if any(_needs_unet(plan) for plan in stages) else 0.0
    # a backward pass is two forward passes (PyTorch's counter is wrong for those of depthwise convolutions)
    operations = [vae + 3 * alone + unet * _needs_unet(plan) for plan in stages]
    kept = recipe.checkpoints.keep + 1
    disk = kept * (weights + states + average) + (recipe.checkpoints.weights + 3) * weights
    return Needs(memory, operations, disk, alone, vae)


def _needs_unet(plan: StagePlan) -> bool:
    assert isinstance(plan.stage, TeachingStage)
    return plan.stage.needs_unet


def _teacher(recipe: DistillRecipe, config: SDPoseConfig, half: torch.dtype | None, device: str) -> SDPose:
    with torch.device("meta"):
        model = SDPose(replace(config, input_size=recipe.input_size)).eval().requires_grad_(False)
        fold_constants(model)
    if device != "cpu":
        model.vae.to(DTYPES[recipe.hardware.vae_dtype])
        for part in (model.unet, model.head):
            torch.nn.Module.to(part, dtype=half or torch.float32)
    if recipe.hardware.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    return model


def _compared(teacher: SDPose) -> None:
    """Features of the VAE's latents and of the encoder's, and the gradient of the latter."""
    w, h = teacher.config.latent_size
    latents = torch.empty(1, teacher.config.vae.latent_channels, h, w, device="meta", requires_grad=True)
    with torch.no_grad():
        teacher.features_of(latents)
    teacher.features_of(latents).sum().backward()


def _gflop(work: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e9


def table(recipe: DistillRecipe, stages: Sequence[StagePlan], needs: Needs, room: Room, out: Path) -> str:
    """Steps, samples and operations of each stage, then what is needed beside what is free."""
    w, h = recipe.input_size
    samples = [plan.steps * plan.batch.total for plan in stages]
    total = sum(count * each for count, each in zip(samples, needs.operations, strict=True))
    rows = [("steps", f"{stages[-1].end:,}", ""), ("samples", f"{sum(samples):,}", "")]
    for number, (plan, count, gflop) in enumerate(zip(stages, samples, needs.operations, strict=True)):
        what = "features" if _needs_unet(plan) else "latents only"
        name = f"  stage {number}, {w} x {h}, {what}, {plan.steps:,} steps of {plan.batch.total}"
        rows.append((name, f"{count:,}", f"{gflop:,.1f} GFLOP each"))
    all_of_them = f"{total / 1e6:,.0f} PFLOP" if total >= 1e6 else f"{total:,.0f} GFLOP"
    rows.append(("operations", all_of_them, ""))
    rows.append(("encoder, for each crop later", f"{needs.encoder:,.3g} GFLOP", f"the VAE: {needs.vae:,.3g}"))
    rows.append((f"memory of {room.device}", size(sum(needs.memory.values())), size(room.memory)))
    rows += [(f"  {name}", size(value), "") for name, value in needs.memory.items() if value]
    rows.append((f"disk of {out}", size(needs.disk), size(room.disk)))
    return plain_table([recipe.name, "needed", "free"], rows)


def check(needs: Needs, room: Room) -> None:
    """Raise `InputError` if there is too little memory or disk."""
    found = []
    if (memory := sum(needs.memory.values())) > room.memory:
        text = f"a step needs {size(memory)} of memory, {room.device} has {size(room.memory)} free"
        found.append(f"{text}: lower --hardware.batch-per-device")
    if needs.disk > room.disk:
        found.append(f"the run writes {size(needs.disk)}, the disk has {size(room.disk)} free: choose another --out")
    if found:
        raise InputError(f"{'. '.join(found)}. To start it in spite of this: {GO_ON}")
