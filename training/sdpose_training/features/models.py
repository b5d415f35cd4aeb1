"""Networks whose features are compared: SDPose, unchanged Stable Diffusion 2, random weights, Sapiens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdpose_core.checkpoints.layouts import inspect_checkpoint, read_base
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.checkpoints.published import find_weights, identify
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.model.backbone import POSE
from sdpose_core.model.config import SUM, UP_BLOCK_OF_LEVEL, SDPoseConfig
from sdpose_core.model.devices import fp32_on_cpu, pick_device, pick_dtype
from sdpose_core.model.empty_prompt import EMPTY_PROMPT_WIDTH, empty_prompt_embedding
from sdpose_core.model.network import SDPose
from sdpose_core.model.onednn import optimize_for_cpu

log = logging.getLogger(__name__)

LEVELS = ("F4", "F3", "F2", "F1")
"""Up-blocks in the order in which they run; F1 is the last (paper, section 4)."""

TORCHSCRIPT_SUFFIXES = (".pt", ".pt2", ".pth", ".torchscript")

_CLASS_EMBEDDING = "unet.class_embedding."
_IMAGENET_MEAN, _IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_SAPIENS_SIZE = (768, 1024)

Features = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class FeatureModel:
    """A network that gives feature maps.

    Attributes:
        name: in the figure.
        what: short description of the weights.
        input_size: (w, h) of its crops.
        levels: names of its feature maps, the deepest first.
        features: images (N, 3, H, W) in [-1, 1], RGB, float32 on any device -> a map (N, C, h, w) for each level.
        identity: name and SHA-256 of the weights; {} for random ones.
        config: of SDPose or Stable Diffusion; None for others.
    """

    name: str
    what: str
    input_size: tuple[int, int]
    levels: tuple[str, ...]
    features: Callable[[torch.Tensor], Features]
    identity: dict[str, Any] = field(default_factory=dict)
    config: SDPoseConfig | None = None


@dataclass(frozen=True)
class ModelOptions:
    """How networks are loaded. Without `input_size` (w, h), the network's; without `dtype`, the GPU's best, or fp32."""

    device: str | None = None
    dtype: str | None = None
    input_size: tuple[int, int] | None = None
    trust_file: bool = False


def load_feature_model(name: str, checkpoint: str, options: ModelOptions) -> FeatureModel:
    """Load an SDPose in any layout, a folder with unet/ and vae/ in diffusers' layout (Stable Diffusion 2), the name of
    either, if downloaded, or a TorchScript file (Sapiens), which needs `options.trust_file`.

    Raises `CheckpointError`: missing, damaged, or of another kind; `InputError`: an untrusted TorchScript file, or an
    invalid device, dtype or size.
    """
    options = replace(options, dtype=fp32_on_cpu(options.dtype, options.device))
    path = find_weights(checkpoint)
    if path.suffix.lower() in TORCHSCRIPT_SUFFIXES:
        return _torchscript(name, path, options)
    if path.is_dir() and not (path / "decoder").is_dir():
        what = "Stable Diffusion 2, not fine-tuned; no class embedding"
        return _as_feature_model(name, what, _base(path), options, path)
    inspect_checkpoint(path)[0].need_features("feature analysis")
    model = load_sdpose(path, input_size=options.input_size, device=options.device, dtype=options.dtype)
    return _as_feature_model(name, f"SDPose, {model.config.keypoint_set}", model, options, path)


def random_model(name: str, config: SDPoseConfig, seed: int, options: ModelOptions) -> FeatureModel:
    """The same architecture with random weights, including the VAE, from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SDPose(replace(config, feature_levels=("F1",), aggregation=SUM))
    return _as_feature_model(name, f"random weights, seed {seed}", model, options, None)


def _base(folder: Path) -> SDPose:
    """Unchanged Stable Diffusion: the class embedding, which it lacks, is zero."""
    unet, vae, tensors = read_base(folder)
    with torch.device("meta"):
        model = SDPose(SDPoseConfig(unet=unet, vae=vae))
    model.head = nn.Identity()
    tensors = {key: tensors[key] for key in model.state_dict() if key in tensors}
    for key, value in model.state_dict().items():
        if key.startswith(_CLASS_EMBEDDING) and key not in tensors:
            tensors[key] = torch.zeros(value.shape)
    if "empty_prompt_embedding" not in tensors:
        if unet.cross_attention_dim != EMPTY_PROMPT_WIDTH:
            found = f"cross_attention_dim {unet.cross_attention_dim}, expected {EMPTY_PROMPT_WIDTH}"
            raise CheckpointError(f"{folder} has {found}: choose a Stable Diffusion 2 folder")
        tensors["empty_prompt_embedding"] = empty_prompt_embedding()
    if lacking := [key for key in model.state_dict() if key not in tensors]:
        raise CheckpointError(f"{folder} lacks {len(lacking)} tensors of Stable Diffusion 2, the first {lacking[0]!r}")
    model.load_state_dict(tensors, strict=True, assign=True)
    return model


def _as_feature_model(name: str, what: str, model: SDPose, options: ModelOptions, path: Path | None) -> FeatureModel:
    device = pick_device(options.device)
    model = (
        model.to(device=device, dtype=pick_dtype(fp32_on_cpu(options.dtype, device), device))
        .eval()
        .requires_grad_(False)
    )
    optimize_for_cpu(model)
    config = model.config if options.input_size is None else replace(model.config, input_size=options.input_size)
    levels = tuple(level for level in LEVELS if UP_BLOCK_OF_LEVEL[level] < len(model.unet.up_blocks))
    if missing := set(LEVELS) - set(levels):
        log.warning("%s has no %s: it was saved without the up-blocks after its level", name, ", ".join(missing))

    def features(images: torch.Tensor) -> Features:
        latents = model.latents(images.to(device)).to(model.dtype)
        embedding = model.unet.embedding(config.timestep, [POSE] * len(images))
        return model.unet(latents, embedding, model.text(len(images)), num_pose=len(images), levels=levels)[0]

    return FeatureModel(name, what, config.input_size, levels, features, identify(path) if path else {}, config)


def _torchscript(name: str, path: Path, options: ModelOptions) -> FeatureModel:
    """A Sapiens: its `backbone` if the file has one (pose models), or its output (pretrained models)."""
    if not options.trust_file:
        raise InputError(f"{path} is a TorchScript file and can run any code: add --trust-file if you trust its origin")
    device = pick_device(options.device)
    try:
        module = torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} is no TorchScript file, or is damaged: {reason}") from None
    level = "backbone" if hasattr(module, "backbone") else "output"
    run = module.backbone if level == "backbone" else module
    dtype = next((weight.dtype for weight in module.parameters()), torch.float32)
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (_IMAGENET_MEAN, _IMAGENET_STD))

    def features(images: torch.Tensor) -> Features:
        pixels = (((images.to(device) + 1) * 127.5 - mean) / std).to(dtype)
        try:
            found = run(pixels)
        except RuntimeError as error:
            h, w = images.shape[-2:]
            reason = str(error).strip().splitlines()[-1].strip()
            raise CheckpointError(f"{path}: its {level} does not run on crops of {w} x {h}: {reason:.200}") from error
        while isinstance(found, (list, tuple)) and found:
            found = found[-1]
        if not isinstance(found, torch.Tensor) or found.ndim not in (3, 4):
            raise CheckpointError(f"{path}: expected maps (N, C, h, w) or tokens (N, T, C) from its {level}")
        return {level: found if found.ndim == 4 else found.transpose(1, 2).unsqueeze(-1)}

    size = options.input_size or _SAPIENS_SIZE
    return FeatureModel(name, f"TorchScript, its {level}", size, (level,), features, identify(path))
