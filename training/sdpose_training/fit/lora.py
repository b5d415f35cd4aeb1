"""LoRA: small matrices beside the linear layers of the U-Net are trained instead of their weights.

Training uses peft; what is written needs nothing of it, see `sdpose_core.checkpoints.adapters`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import nn

from sdpose_core.checkpoints.adapters import LORA_A, LORA_B, Adapter, adapter_of, digests_of
from sdpose_core.checkpoints.published import KNOWN
from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_core.model.network import SDPose
from sdpose_core.tensor_files import open_tensors
from sdpose_training.fit.starting_weights import Start
from sdpose_training.recipe.recipe import LoraRecipe, Recipe

Tensors = Mapping[str, torch.Tensor]

_NAME = "default"
"""peft's name of the only adapter."""

_STILL_TRAINED = "class_embedding"
"""Of the U-Net; as small as it is new: Stable Diffusion lacks it."""


def add_lora(model: SDPose, recipe: LoraRecipe) -> None:
    """Freeze the U-Net, except for its class embedding, and put trained matrices beside its target layers.

    Raises `InputError` for a target that the U-Net does not have, and for a rank above that of all these layers;
    `MissingDependency` without peft.
    """
    peft = require("peft", "LoRA (lora.rank)")
    layers = _target_layers(model.unet, recipe.targets)
    _check_rank(model.unet, layers, recipe.rank)
    settings = peft.LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=layers)
    peft.inject_adapter_in_model(settings, model.unet, _NAME)
    model.unet.get_submodule(_STILL_TRAINED).requires_grad_(True)


def adapter_of_run(recipe: Recipe, start: Start) -> Adapter:
    """The description of a run's adapters; reads the whole base for its SHA-256."""
    assert start.base is not None  # LoRA on random weights is refused
    name = recipe.model.base if recipe.model.base in KNOWN else start.base.name
    lora = recipe.lora
    return Adapter(name, digests_of(start.base), lora.rank, lora.alpha, lora.targets, recipe.rgb_reconstruction)


def check_same_adapter(adapter: Adapter | None, folder: Path) -> None:
    """Raise `InputError` if a run that is resumed wrote adapters of another base or with other settings.

    Args:
        folder: of the run's adapters.
    """
    for path in sorted(folder.glob("step-*.safetensors"))[-1:]:
        with open_tensors(path) as tensors:
            before = adapter_of(tensors.metadata, path)
        if before and (changed := _differences(before, adapter)):
            advice = "undo these changes to the recipe, or choose another --out"
            raise InputError(f"cannot resume {folder.parent}: {'; '.join(changed)}: {advice}")


def _differences(before: Adapter, now: Adapter | None) -> list[str]:
    if now is None:
        return [f"it trains LoRA of rank {before.rank}, the recipe has none"]
    pairs = {key: (getattr(before, key), getattr(now, key)) for key in ("rank", "alpha", "targets")}
    changed = [f"lora.{key} was {old}, now {new}" for key, (old, new) in pairs.items() if old != new]
    return changed + (["model.base is another file than before"] if before.base_sha256 != now.base_sha256 else [])


def _target_layers(unet: nn.Module, targets: Collection[str]) -> list[str]:
    """Names of the linear layers whose name ends with one of the targets."""
    linear = [name for name, module in unet.named_modules() if isinstance(module, nn.Linear)]
    for target in targets:
        if not any(_is(name, target) for name in linear):
            known = sorted({name.partition("transformer_blocks.")[2].partition(".")[2] for name in linear} - {""})
            raise InputError(f"lora.targets: no linear layer of the U-Net is called {target!r}: try {', '.join(known)}")
    return [name for name in linear if any(_is(name, target) for target in targets)]


def _check_rank(unet: nn.Module, layers: Collection[str], rank: int) -> None:
    largest = max(min(unet.get_parameter(f"{name}.weight").shape) for name in layers)
    if rank > largest:
        advice = "lower it, or use 0 to train the whole U-Net"
        raise InputError(f"lora.rank: the target layers have ranks up to {largest}, found {rank}: {advice}")


def _is(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def plain_names(state: Tensors) -> dict[str, torch.Tensor]:
    """A state dict with the names of a model without LoRA; matrices are called as in an adapter."""
    suffixes = {f".lora_A.{_NAME}.weight": LORA_A, f".lora_B.{_NAME}.weight": LORA_B}
    plain = {}
    for name, value in state.items():
        for suffix, ours in suffixes.items():
            if name.endswith(suffix):
                name = name.removesuffix(suffix) + ours
        plain[name.replace(".base_layer.", ".")] = value
    return plain


def own_tensors(model: SDPose, state: Tensors, new: Collection[str]) -> dict[str, torch.Tensor]:
    """What an adapter holds of a state with plain names: what is trained, the head, and what the base lacks (`new`)."""
    trained = plain_names({name: p for name, p in model.named_parameters() if p.requires_grad})
    return {name: v for name, v in state.items() if name in trained or name in new or name.startswith("head.")}
