"""`load_sdpose`: a checkpoint in any layout becomes an `SDPose` module."""

# ruff: noqa: E402
from __future__ import annotations

from pathlib import Path
from typing import Any

from ..dependencies import require

# Before anything that imports them: whoever asks for SDPose without them is told which extra to install.
require("torch", "SDPose")
require("diffusers", "SDPose")

import torch
from torch import nn

from ..errors import CheckpointError
from ..model.approximations import approximate
from ..model.config import SDPoseConfig
from ..model.devices import pick_device, pick_dtype
from ..model.empty_prompt import EMPTY_PROMPT_WIDTH, empty_prompt_embedding
from ..model.folding import fold_constants
from ..model.network import SDPose
from ..model.onednn import optimize_for_cpu
from .layouts import read_checkpoint
from .published import find_weights
from .reading import CheckpointInfo


def load_sdpose(
    path_or_name: str | Path,
    *,
    keypoint_set: str | None = None,
    feature_level: str | None = None,
    input_size: tuple[int, int] | None = None,
    dtype: str | torch.dtype | None = None,
    vae_dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    with_rgb_branch: bool = True,
    fold: bool = False,
    pool_attention: bool = False,
    tiny_encoder: str | Path | None = None,
) -> SDPose:
    """A trained SDPose, frozen and in evaluation mode.

    Args:
        path_or_name: a checkpoint in any of the known layouts, or the name of one that was downloaded.
        keypoint_set, feature_level, input_size: override what the checkpoint says.
        dtype: "fp32", "bf16", "fp16", a torch.dtype, or None ("auto"): see `pick_dtype`.
        vae_dtype: of the VAE alone, such as "fp32" for the official evaluation; None: `dtype`.
        device: None ("auto") takes cuda, mps, cpu in that order.
        with_rgb_branch: also load what only `reconstruct` needs, where the checkpoint has it.
        fold: for poses alone, see `folding.fold_constants`: no RGB branch, faster, and it cannot be saved.
        pool_attention, tiny_encoder: stated approximations, see `approximations.approximate`. They, and an input size
            other than the checkpoint's own, are named in the model's `approximations`.

    Raises:
        CheckpointError: no such file, another kind of file, missing or unexpected tensors.
        InputError: an override, dtype or device that does not exist.
    """
    device = pick_device(device)
    chosen = pick_dtype(dtype, device)
    chosen_of_vae = chosen if vae_dtype is None else pick_dtype(vae_dtype, device)
    path = find_weights(str(path_or_name))
    config, state, info = read_checkpoint(
        path,
        keypoint_set=keypoint_set,
        feature_level=feature_level,
        input_size=input_size,
        with_rgb_branch=with_rgb_branch and not fold,
    )
    model = from_state(config, state, str(path)).eval().requires_grad_(False)
    del state  # or a cast would hold the weights twice
    if fold:
        fold_constants(model, torch.float32)  # before the cast: rounded once
    _cast(model, chosen, chosen_of_vae)
    model = optimize_for_cpu(model.to(device=device))
    if changed := input_size_change(config, info):
        model.approximations["input_size"] = changed
    return approximate(model, pool_attention=pool_attention, tiny_encoder=tiny_encoder)


def _cast(model: SDPose, dtype: torch.dtype, vae_dtype: torch.dtype) -> None:
    """In place."""
    for part, own in ((model.vae, vae_dtype), (model.unet, dtype), (model.head, dtype)):
        nn.Module.to(part, dtype=own)  # diffusers' own warns of what is meant here
    model.empty_prompt_embedding = model.empty_prompt_embedding.to(dtype)


def input_size_change(config: SDPoseConfig, info: CheckpointInfo) -> str | None:
    """ "384x512 instead of 768x1024" for a model that is run at another size than it was made for, else None."""
    if config.input_size == info.input_size:
        return None
    return "{}x{} instead of {}x{}".format(*config.input_size, *info.input_size)


def from_state(config: SDPoseConfig, state: dict[str, Any], source: str) -> SDPose:
    """A model with exactly these tensors (not copied); with the RGB branch if they have it.

    Raises:
        CheckpointError: names the tensors that are missing, unexpected or of another shape.
    """
    state = dict(state)
    if "empty_prompt_embedding" not in state:
        if config.unet.cross_attention_dim != EMPTY_PROMPT_WIDTH:
            raise CheckpointError(
                f"{source} has no embedding of the empty prompt, and its text width is "
                f"{config.unet.cross_attention_dim} (the one we ship is {EMPTY_PROMPT_WIDTH}): add "
                "empty_prompt_embedding.safetensors"
            )
        state["empty_prompt_embedding"] = empty_prompt_embedding()
    with torch.device("meta"):  # no time and no memory for random weights
        model = SDPose(config, with_rgb_branch="unet.conv_out.weight" in state)
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{source} does not hold the tensors of this SDPose: {error}") from error
    return model
