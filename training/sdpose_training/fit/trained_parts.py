"""Which parts of the model are trained: all but the VAE as in the paper, or fewer: for less memory, or as GenLoc."""

from __future__ import annotations

from torch import nn

from sdpose_core.errors import InputError, did_you_mean
from sdpose_core.model.network import SDPose
from sdpose_training.fit.lora import add_lora
from sdpose_training.recipe.recipe import SCRATCH, Recipe


def choose_trained(model: SDPose, recipe: Recipe) -> list[nn.Parameter]:
    """Freeze the VAE and what the recipe freezes, add LoRA if it has it; returns the trained parameters.

    Raises `InputError`: LoRA without trained weights below it, an unknown part, or nothing left to train.
    """
    if recipe.lora.rank:
        if recipe.model.base == SCRATCH or recipe.model.random_unet:
            raise InputError("lora.rank: LoRA needs a trained U-Net below it: set model.base, or lora.rank to 0")
        add_lora(model, recipe.lora)
    model.vae.requires_grad_(not model.vae_is_frozen)
    if model.config.reads_attention:
        model.unet.requires_grad_(recipe.model.train_unet)
    for prefix in recipe.model.freeze:
        _freeze(model, prefix)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise InputError("model.freeze: nothing is left to train: freeze fewer parts")
    return trained


def _freeze(model: SDPose, prefix: str) -> None:
    found = [parameter for name, parameter in model.named_parameters() if f"{name}.".startswith(f"{prefix}.")]
    if not found:
        known = _parts(model)
        hint = did_you_mean(prefix, known) or f"known are {', '.join(known)}, and the modules in them"
        raise InputError(f"model.freeze: the model has no part {prefix!r}: {hint}")
    for parameter in found:
        parameter.requires_grad_(False)


def _parts(model: SDPose) -> list[str]:
    """Names of the parts with weights, down to the blocks of U-Net and head."""
    names = [name for name, _ in model.named_parameters()]
    firsts = (name.split(".")[:2] for name in names if not name.startswith("vae."))
    return list(dict.fromkeys(["unet", "head", "vae", *(".".join(parts) for parts in firsts)]))
