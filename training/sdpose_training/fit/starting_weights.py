"""The starting model of a run, from Stable Diffusion 2, an SDPose checkpoint, or random weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdpose_core.checkpoints.layouts import inspect_checkpoint, read_base, read_checkpoint
from sdpose_core.checkpoints.names import RECONSTRUCTION, TEXT, VAE_DECODER
from sdpose_core.checkpoints.published import KNOWN, find_weights
from sdpose_core.checkpoints.reading import read_vae_decoder
from sdpose_core.checkpoints.records import downloaded_from
from sdpose_core.checkpoints.sizes import unet_config, vae_config
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.model.attention_maps import AttentionReadOut
from sdpose_core.model.config import RGB_PASS, SDPoseConfig, UNetConfig, VAEConfig
from sdpose_core.model.head import INITIAL_STD, HeatmapHead
from sdpose_core.model.network import SDPose
from sdpose_core.skeletons import KEYPOINT_SETS, KeypointSet
from sdpose_core.tensor_files import read_json, some
from sdpose_training.recipe.recipe import SCRATCH, Recipe, Stage

log = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]

_NEW = ("head.", "unet.class_embedding.", TEXT)
"""Tensors that Stable Diffusion lacks or another keypoint set replaces: if missing, they are random."""


@dataclass(frozen=True)
class Start:
    """The start of a run.

    Attributes:
        model: on the CPU, float32, with its RGB branch if the recipe trains it.
        kept: untrained tensors for every checkpoint: the VAE as it was read (training may round it to half precision)
            and its decoder.
        origin: of the weights, for the model card.
        base: file or folder of the weights; None for random ones.
        new: names of tensors that the base lacks.
    """

    model: SDPose
    kept: Tensors
    origin: str
    base: Path | None = None
    new: tuple[str, ...] = ()


def starting_model(recipe: Recipe, keypoint_set: KeypointSet) -> Start:
    """The model of a recipe at the size of its first stage; random weights depend on the recipe's seed.

    Raises `CheckpointError` if the base is missing, damaged, or lacks the RGB branch that the recipe trains.
    """
    torch.manual_seed(recipe.seed)
    if recipe.model.base == SCRATCH:
        config = config_of(recipe, recipe.stages[0], keypoint_set, recipe.model.unet, recipe.model.vae)
        model = _random_model(config, recipe.rgb_reconstruction)
        init_head(model.head, recipe.model.head_init)
        model.vae_is_frozen = not recipe.model.train_vae
        return Start(model, {}, "random weights")
    path = find_weights(recipe.model.base)
    unet, vae, tensors, decoder = _read(path)
    config = config_of(recipe, recipe.stages[0], keypoint_set, unet, vae)
    model = SDPose(config, with_rgb_branch=recipe.rgb_reconstruction)
    init_head(model.head, recipe.model.head_init)
    if isinstance(model.head, AttentionReadOut) and TEXT in tensors:
        model.head.start_from(tensors[TEXT])
    if recipe.model.random_unet:
        tensors = {name: value for name, value in tensors.items() if not name.startswith("unet.")}
    tensors = _with_output_layers(model, tensors)
    new = fill(model, tensors, str(path), may_lack=(*_NEW, "unet.") if recipe.model.random_unet else _NEW)
    model.vae_is_frozen = not recipe.model.train_vae
    frozen = {k: v for k, v in tensors.items() if k.startswith("vae.")} if model.vae_is_frozen else {}
    base = f"{recipe.model.base}{downloaded_from(path)}"
    origin = f"the VAE of {base}, a random U-Net" if recipe.model.random_unet else base
    return Start(model, frozen | decoder, origin, path, new)


def outline(recipe: Recipe, keypoint_set: KeypointSet) -> SDPose:
    """The model of a recipe without values (on PyTorch's meta device), at the size of its first stage.

    The base's weights are not read, only its sizes; if it is still to be downloaded, they are Stable Diffusion 2's.
    Raises as `starting_model`.
    """
    unet, vae = _sizes(recipe)
    with torch.device("meta"):
        model = _random_model(config_of(recipe, recipe.stages[0], keypoint_set, unet, vae), recipe.rgb_reconstruction)
    model.vae_is_frozen = not recipe.model.train_vae
    return model


def _sizes(recipe: Recipe) -> tuple[UNetConfig, VAEConfig]:
    if recipe.model.base == SCRATCH:
        return recipe.model.unet, recipe.model.vae
    try:
        path = find_weights(recipe.model.base)
    except CheckpointError:
        if recipe.model.base not in KNOWN:
            raise
        return UNetConfig(), VAEConfig()
    if _is_base(path):
        unet, vae = (read_json(path / part / "config.json") for part in ("unet", "vae"))
        return unet_config(unet), vae_config(vae)
    config, _ = inspect_checkpoint(path)
    return config.unet, config.vae


def _random_model(config: SDPoseConfig, with_rgb_branch: bool) -> SDPose:
    """Raises `InputError` if the sizes of a recipe do not fit together."""
    found, latent = config.unet.out_channels, config.vae.latent_channels
    if with_rgb_branch and config.reconstruction == RGB_PASS and found != latent:
        expected = f"expected {latent} as in model.vae.latent_channels, got {found} (or use --rgb-reconstruction off)"
        raise InputError(f"model.unet.out_channels: for the RGB task, {expected}")
    return SDPose(config, with_rgb_branch=with_rgb_branch)


def init_head(head: HeatmapHead | AttentionReadOut, how: str) -> None:
    """Set the random weights of a new head as in `ModelRecipe.head_init`; "last" is how it was made."""
    if how == "pytorch":
        head.final_layer.reset_parameters()
    if how == "all":
        for name, layer in head.named_modules():
            is_later = name.startswith(("aggregation.", "reconstruction."))  # not of the release's head
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and not is_later:
                nn.init.normal_(layer.weight, std=INITIAL_STD)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


def config_of(
    recipe: Recipe, stage: Stage, keypoint_set: KeypointSet, unet: UNetConfig, vae: VAEConfig
) -> SDPoseConfig:
    """The model's configuration in a stage."""
    own = {} if keypoint_set.name in KEYPOINT_SETS else _of_custom(keypoint_set)
    return SDPoseConfig(
        keypoint_set=keypoint_set.name, num_keypoints=len(keypoint_set), feature_levels=recipe.model.feature_levels,
        aggregation=recipe.model.aggregation, reconstruction=recipe.model.reconstruction,
        input_size=stage.input_size, heatmap_sigma=stage.heatmap_sigma, timestep=recipe.model.timestep,
        read_out=recipe.model.read_out, unet=unet, vae=vae, **own,
    )  # fmt: skip


def _of_custom(points: KeypointSet) -> dict[str, Any]:
    """What the weights carry of a custom set."""
    return {
        "keypoint_names": points.names, "links": points.links, "flip_pairs": points.flip_pairs, "sigmas": points.sigmas,
    }  # fmt: skip


def for_stage(model: SDPose, stage: Stage) -> None:
    """Set the input size and heatmap sigma of a stage, on which no tensor depends."""
    model.config = replace(model.config, input_size=stage.input_size, heatmap_sigma=stage.heatmap_sigma)


def _with_output_layers(model: SDPose, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """`tensors`, with those of the U-Net's output layers as first weights of a reconstruction of the same width."""
    state, added = model.state_dict(), {}
    for ours, theirs in (("norm", "conv_norm_out"), ("out", "conv_out")):
        for kind in ("weight", "bias"):
            name, value = f"{RECONSTRUCTION}{ours}.{kind}", tensors.get(f"unet.{theirs}.{kind}")
            if value is None or name not in state or value.shape != state[name].shape:
                return dict(tensors)
            added[name] = value
    return {**added, **tensors}


def fill(
    model: SDPose, tensors: Mapping[str, torch.Tensor], source: str, may_lack: tuple[str, ...] = _NEW
) -> tuple[str, ...]:
    """Load tensors into a model; those that are missing or have another shape stay random. Returns their names.

    Raises `CheckpointError` if a missing name does not start with one of the prefixes in `may_lack`.
    """
    state = model.state_dict()
    fitting = {k: tensors[k] for k, v in state.items() if k in tensors and tensors[k].shape == v.shape}
    absent = [name for name in state if name not in fitting]
    if lacking := [name for name in absent if not name.startswith(may_lack)]:
        hint = " (saved without its RGB branch: use --rgb-reconstruction off, --model.reconstruction pose_pass, or "
        hint += "another base)"
        hint = hint if lacking[0].startswith("unet.") else ""
        raise CheckpointError(f"{source} lacks {len(lacking)} tensors of this model, the first {lacking[0]!r}{hint}")
    ours = (name for name in tensors if name.startswith("head.") and not name.startswith(RECONSTRUCTION))
    if unused := [name for name in ours if name not in state]:
        log.warning("%s: this model has no place for %s: the weights were trained with them", source, some(unused))
    model.load_state_dict({**state, **fitting}, strict=True)
    if new := sorted({name.rpartition(".")[0] for name in absent if name != TEXT}):
        log.info("%s: random weights for %s", source, ", ".join(new) if len(new) < 20 else f"{len(new)} modules")
    return tuple(absent)


def _is_base(path: Path) -> bool:
    """Whether a folder has Stable Diffusion's parts, without SDPose's head."""
    return path.is_dir() and not (path / "decoder").is_dir()


def _read(path: Path) -> tuple[UNetConfig, VAEConfig, Tensors, Tensors]:
    """Sizes, the tensors of an SDPose, and those of the VAE's decoder if present."""
    if _is_base(path):
        unet, vae, state = read_base(path)
        decoder = {name: value for name, value in state.items() if name.startswith(VAE_DECODER)}
        return unet, vae, state, decoder
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    config, state, _ = read_checkpoint(path, with_rgb_branch=True)
    try:
        decoder = read_vae_decoder(path)
    except CheckpointError:
        decoder = {}
    return config.unet, config.vae, state, decoder
