"""`load_sdpose`: a checkpoint in any layout becomes an `SDPose` module."""

# ruff: noqa: E402
from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..dependencies import require

# before the imports below, so that the error names the extra to install
require("torch", "SDPose")
require("diffusers", "SDPose")

import torch
from torch import nn

from ..errors import CheckpointError, one_line
from ..model.approximations import approximate
from ..model.config import SDPoseConfig
from ..model.devices import choose_dtype, name_of, pick_device
from ..model.empty_prompt import EMPTY_PROMPT_WIDTH, empty_prompt_embedding
from ..model.folding import fold_constants
from ..model.network import SDPose
from ..model.onednn import optimize_for_cpu
from .layouts import read_checkpoint
from .names import rgb_output
from .published import find_weights, identify
from .reading import CheckpointInfo

log = logging.getLogger(__name__)


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
    base: str | Path | None = None,
    search: Sequence[str | Path] = (),
) -> SDPose:
    """A trained SDPose, frozen and in evaluation mode.

    Args:
        path_or_name: a checkpoint of any layout, or the name of a downloaded one.
        keypoint_set, feature_level, input_size: override the stored configuration.
        dtype: "fp32", "bf16", "fp16", a torch.dtype, or None ("auto"): see `devices.choose_dtype`. Why it was chosen is
            in the model's `why_dtype`.
        vae_dtype: of the VAE alone, such as "fp32" for the official evaluation; None: the chosen dtype.
        device: None ("auto") takes cuda, mps, cpu in that order.
        with_rgb_branch: also load what only `reconstruct` needs, if the checkpoint has it.
        fold: for pose estimation only: faster, without RGB branch, cannot be saved; see `folding.fold_constants`.
        pool_attention, tiny_encoder: see `approximations.approximate`. They, and an input size other than the
            checkpoint's, are recorded in the model's `approximations`. An encoder that was taught for other weights is
            used with a warning.
        base: the checkpoint that an adapter (a LoRA of training/) was trained on, a path or a known name; None: found
            by the name that the adapter states, see `adapters.find_base`.
        search: more folders in which to look for weights, and for the base of an adapter.

    Raises:
        CheckpointError: no such file, another kind of file, missing or unexpected tensors, no base or another one.
        InputError: an unknown override, dtype or device.
    """
    device = pick_device(device)
    path = find_weights(str(path_or_name), search=search)
    config, state, info = read_checkpoint(
        path,
        keypoint_set=keypoint_set,
        feature_level=feature_level,
        input_size=input_size,
        with_rgb_branch=with_rgb_branch and not fold,
        base=base,
        search=search,
    )
    w, h = config.input_size
    smallest_map = (max(w // 64, 1), max(h // 64, 1))
    chosen, why = choose_dtype(dtype, device, smallest_map)
    chosen_of_vae = chosen if vae_dtype is None else choose_dtype(vae_dtype, device, smallest_map).dtype
    model = from_state(config, state, str(path)).eval().requires_grad_(False)
    del state  # else a cast would hold the weights twice
    if fold and not config.reads_attention:  # which has no constant text
        fold_constants(model, torch.float32)  # before the cast: rounded once
    _cast(model, chosen, chosen_of_vae)
    model.why_dtype = why
    log.info("computing in %s on %s: %s", name_of(chosen), device, why)
    model = optimize_for_cpu(model.to(device=device))
    if changed := input_size_change(config, info):
        model.approximations["input_size"] = changed
    approximate(model, pool_attention=pool_attention, tiny_encoder=tiny_encoder)
    _compare_teacher(model, path)
    return model


def _compare_teacher(model: SDPose, path: Path) -> None:
    """Record and say whether a tiny encoder that names its weights was taught for those in `path`."""
    stated = model.approximations.get("tiny_encoder", {})
    if "taught_for" not in stated:
        return
    taught, loaded = stated["taught_for"], sorted(identify(path)["sha256"].values())
    stated["fits_weights"] = sorted(taught["sha256"]) == loaded
    if not stated["fits_weights"]:
        log.warning(
            "%s was taught for other weights (%s) than %s: check its results, or teach one with "
            "training/distill_encoder.py", stated["path"], taught["name"], path.name,
        )  # fmt: skip


def _cast(model: SDPose, dtype: torch.dtype, vae_dtype: torch.dtype) -> None:
    for part, part_dtype in ((model.vae, vae_dtype), (model.unet, dtype), (model.head, dtype)):
        nn.Module.to(part, dtype=part_dtype)  # diffusers' version would warn about mixed dtypes
    if model.empty_prompt_embedding is not None:
        model.empty_prompt_embedding = model.empty_prompt_embedding.to(dtype)


def input_size_change(config: SDPoseConfig, info: CheckpointInfo) -> str | None:
    """ "384x512 instead of 768x1024" for a model that runs at another input size than the checkpoint's, else None."""
    changed = config.input_size != info.input_size
    return "{}x{} instead of {}x{}".format(*config.input_size, *info.input_size) if changed else None


def from_state(config: SDPoseConfig, state: dict[str, Any], source: str) -> SDPose:
    """A model of exactly these tensors, not copied; with the RGB branch if they have it. Raises `CheckpointError`."""
    state = dict(state)
    if not config.reads_attention and "empty_prompt_embedding" not in state:
        if config.unet.cross_attention_dim != EMPTY_PROMPT_WIDTH:
            raise CheckpointError(
                f"{source} has no embedding of the empty prompt, and its text width is "
                f"{config.unet.cross_attention_dim} (the shipped embedding has {EMPTY_PROMPT_WIDTH}): add "
                "empty_prompt_embedding.safetensors"
            )
        state["empty_prompt_embedding"] = empty_prompt_embedding()
    with torch.device("meta"):  # does not allocate random weights
        model = SDPose(config, with_rgb_branch=any(name.startswith(rgb_output(config)) for name in state))
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{source} does not hold the tensors of this SDPose: {one_line(error)}") from None
    return model
