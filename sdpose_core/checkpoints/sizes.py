"""The configuration of a checkpoint's model: as stored, or derived from the shapes of its tensors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, restated
from ..model.config import (
    CROSS_ATTENTION,
    FEATURE_LEVELS,
    STRIDE_OF_LEVEL,
    UP_BLOCK_OF_LEVEL,
    USUAL,
    SDPoseConfig,
    UNetConfig,
    VAEConfig,
)
from ..skeletons import KEYPOINT_SETS
from ..skeletons import keypoint_set as find_keypoint_set
from ..tensor_files import Shapes, some
from ..texts import parse_json
from ..version import __version__
from . import names as keys
from .fusion import fused_levels, fusion_of, is_usual

FORMAT = "sdpose-annotator"
FORMAT_VERSION = 3
"""A file has the lowest that it needs: 2 for a custom keypoint set with names, 3 for choices that are not `USUAL`."""
OF_KEYPOINTS = ("flip_pairs", "keypoint_names", "links", "sigmas")
SETTINGS = ("keypoint_set", "feature_levels", "input_size", "heatmap_sigma", "timestep", *OF_KEYPOINTS, *USUAL)
"""Stored settings, besides the sizes of U-Net and VAE."""

HEAD_DIM = 64
"""Channels per attention head in Stable Diffusion 2, assumed for a file without configuration."""

_OTHER_WORDS = {"feature_level": "feature_levels", "level": "feature_levels", "sigma": "heatmap_sigma"}


def settings_of_metadata(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The configuration in the metadata of our own files; {} for other files."""
    if metadata.get("format") != FORMAT:
        return {}
    version = metadata.get("format_version", "")
    if not re.fullmatch("[0-9]{1,9}", version):
        raise CheckpointError(f"{path}: the format version in its metadata cannot be read ({version!r:.60})")
    if int(version) > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version}, this library reads up to {FORMAT_VERSION}: update the library"
        )
    with restated(f"{path}: the configuration in its metadata cannot be read", CheckpointError):
        config = SDPoseConfig.from_dict(parse_json(metadata.get("config", ""), "config"))
    return {"unet": config.unet, "vae": config.vae, **{name: getattr(config, name) for name in SETTINGS}}


def metadata_of(config: SDPoseConfig) -> dict[str, str]:
    """The inverse of `settings_of_metadata`: safetensors metadata is text."""
    return {
        "format": FORMAT,
        "format_version": str(_version_of(config)),
        "library_version": __version__,
        "keypoint_set": config.keypoint_set,
        "feature_levels": ",".join(config.feature_levels),
        "input_size": "x".join(map(str, config.input_size)),
        "heatmap_sigma": str(config.heatmap_sigma),
        **({"read_out": config.read_out} if config.reads_attention else {}),
        "config": json.dumps(config.to_dict(), sort_keys=True),
    }


def _version_of(config: SDPoseConfig) -> int:
    """The format version that a reader of this model needs."""
    if not is_usual(config):
        return 3
    return 2 if config.keypoint_names else 1


def config_of(
    shapes: Shapes,
    path: Path,
    settings: Mapping[str, Any],
    unet: UNetConfig | None,
    vae: VAEConfig | None,
    *,
    keypoint_set: str | None = None,
    feature_level: str | None = None,
    input_size: tuple[int, int] | None = None,
) -> SDPoseConfig:
    """The configuration of tensors under our names: from overrides, else stored settings, else shapes.

    Args:
        shapes: of the tensors.
        path: of the checkpoint, for messages.
        settings: stored values, named as in `SETTINGS` (or "level", "sigma").
        unet, vae: their stored sizes, or None.
        keypoint_set, feature_level, input_size: overrides; several fused levels as "F1,F2".
    """
    if len(shapes.get("head.final_layer.weight", ())) != 4:
        raise CheckpointError(
            f"{path} has no heatmap head (missing 'head.final_layer.weight'): choose an SDPose checkpoint"
        )
    if "head.keypoint_embeddings" in shapes and settings.get("read_out") != CROSS_ATTENTION:
        advice = "use the file that training wrote"
        raise CheckpointError(f"{path}: its head reads cross-attention maps, but has no configuration: {advice}")
    unet = unet or _unet_from_shapes(shapes, path)
    vae = vae or _vae_from_shapes(shapes, path)
    count, width = shapes["head.final_layer.weight"][:2]
    stored = {_OTHER_WORDS.get(name, name): value for name, value in settings.items() if value is not None}
    if keypoint_set is not None:
        stored = {name: value for name, value in stored.items() if name not in OF_KEYPOINTS}  # of the stored set
    levels = feature_level or stored.get("feature_levels") or _level_from_shapes(shapes, unet, width, path)
    levels = levels.split(",") if isinstance(levels, str) else levels
    stored |= fusion_of(shapes, levels, stored, path)
    set_name = keypoint_set or stored.get("keypoint_set") or _set_of_count(count)
    values = {
        **stored,
        "keypoint_set": find_keypoint_set(set_name).name if set_name in ("body", "wholebody") else set_name,
        "feature_levels": levels,
        **({"input_size": input_size} if input_size else {}),
    }
    with restated(path, CheckpointError):
        return SDPoseConfig.from_dict({**values, "num_keypoints": count, "unet": unet, "vae": vae})


def _set_of_count(count: int) -> str:
    return next((known.name for known in KEYPOINT_SETS.values() if len(known) == count), f"custom_{count}")


def _level_from_shapes(shapes: Shapes, unet: UNetConfig, width: int, path: Path) -> str:
    """The levels that the head fuses, or the one that fits its width and number of deconvolutions."""
    fused = fused_levels(shapes)
    deconvolutions = sum(name.startswith("head.deconv_layers.") for name in shapes)
    widths = unet.block_out_channels[::-1]
    fitting = [
        level
        for level in FEATURE_LEVELS
        if widths[UP_BLOCK_OF_LEVEL[level]] == width and 1 + int(math.log2(STRIDE_OF_LEVEL[level])) == deconvolutions
    ]
    if fused:
        return ",".join(fused)
    if len(fitting) == 1:
        return fitting[0]
    raise CheckpointError(
        f"{path}: the head (width {width}, {deconvolutions} deconvolutions) fits {', '.join(fitting) or 'no'} feature "
        "levels: set the level with feature_level (--feature-level F1..F4)"
    )


def unet_config(stored: Mapping[str, Any]) -> UNetConfig:
    """The sizes in unet/config.json."""
    known = _stored_fields(UNetConfig, stored)
    if "_class_name" in stored:  # diffusers' own file, which leaves out its defaults, as Stable Diffusion 1.5's does
        known.setdefault("use_linear_projection", False)
    if isinstance(heads := known.get("attention_head_dim"), int):
        known["attention_head_dim"] = (heads,) * 4
    return UNetConfig(**known)


def vae_config(stored: Mapping[str, Any]) -> VAEConfig:
    """The sizes in vae/config.json."""
    return VAEConfig(**_stored_fields(VAEConfig, stored))


def _stored_fields(cls: type[UNetConfig] | type[VAEConfig], stored: Mapping[str, Any]) -> dict[str, Any]:
    """The values of our fields in diffusers' configuration."""
    values = {field.name: stored.get(field.name) for field in fields(cls)}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if v is not None}


def _unet_from_shapes(shapes: Shapes, path: Path) -> UNetConfig:
    """U-Net sizes from shapes under our names, by Stable Diffusion 2's rules."""
    widths = tuple(_shape(shapes, f"unet.down_blocks.{i}.resnets.0.conv1.weight", path)[0] for i in range(4))
    layers = sum(f"unet.down_blocks.0.resnets.{j}.conv1.weight" in shapes for j in range(9))

    def attends(part: str, i: int) -> bool:
        return any(name.startswith(f"unet.{part}_blocks.{i}.attentions.") for name in shapes)

    down = tuple(attends("down", i) for i in range(4))
    # up-blocks after the last level may be left out: they mirror the down-blocks
    built = sum(f"unet.up_blocks.{i}.resnets.0.conv1.weight" in shapes for i in range(4))
    up = tuple(attends("up", i) if i < built else down[3 - i] for i in range(4))
    types = (_block_types("Down", down), _block_types("Up", up))
    return _standard_unet(widths, layers, _text_width(shapes, "unet."), *types, path)


def _block_types(kind: str, attends: Sequence[bool]) -> tuple[str, ...]:
    return tuple(f"CrossAttn{kind}Block2D" if yes else f"{kind}Block2D" for yes in attends)


def unet_from_comfy(shapes: Shapes, path: Path) -> UNetConfig:
    """U-Net sizes from shapes under latent diffusion's names: level i begins at input block 1 + i x (layers + 1)."""
    at = keys.COMFY_UNET
    pattern = re.compile(re.escape(at) + r"input_blocks\.([1-9][0-9]?)\.0\.op\.weight")
    downs = sorted(int(found[1]) for name in shapes if (found := pattern.fullmatch(name)))
    if not downs:
        raise CheckpointError(f"{path}: its U-Net has no downsampling: expected Stable Diffusion 2's")
    per_level = downs[0]
    widths = tuple(
        _shape(shapes, f"{at}input_blocks.{1 + i * per_level}.0.in_layers.2.weight", path)[0] for i in range(4)
    )

    def types(part: str, first: int, kind: str) -> tuple[str, ...]:
        places = [f"{at}{part}.{first + i * per_level}.1.transformer_blocks." for i in range(4)]
        return tuple(
            f"CrossAttn{kind}Block2D" if any(name.startswith(place) for name in shapes) else f"{kind}Block2D"
            for place in places
        )

    down, up = types("input_blocks", 1, "Down"), types("output_blocks", 0, "Up")
    return _standard_unet(widths, per_level - 1, _text_width(shapes, at), down, up, path)


def _text_width(shapes: Shapes, prefix: str) -> int:
    """Channels of the text, from a projection of the attention to it; the default if there is none."""
    ends = (s for name, s in shapes.items() if name.startswith(prefix) and name.endswith("attn2.to_k.weight"))
    return next((s[1] for s in ends if len(s) == 2), UNetConfig().cross_attention_dim)


def _standard_unet(
    widths: tuple[int, ...], layers: int, text_width: int, down: tuple[str, ...], up: tuple[str, ...], path: Path
) -> UNetConfig:
    if any(w % HEAD_DIM for w in widths):
        raise CheckpointError(
            f"{path}: a U-Net of widths {widths} is not Stable Diffusion 2's, and the file has no configuration: use "
            "the safetensors file or the folder that it came from"
        )
    return UNetConfig(
        block_out_channels=widths,
        layers_per_block=layers,
        attention_head_dim=tuple(w // HEAD_DIM for w in widths),
        cross_attention_dim=text_width,
        down_block_types=down,
        up_block_types=up,
    )


def _vae_from_shapes(shapes: Shapes, path: Path) -> VAEConfig:
    """VAE sizes from shapes under our names."""
    names = [f"vae.encoder.down_blocks.{i}.resnets.0.conv1.weight" for i in range(4)]
    layers = sum(f"vae.encoder.down_blocks.0.resnets.{j}.conv1.weight" in shapes for j in range(9))
    return _standard_vae([_shape(shapes, name, path)[0] for name in names], layers, path)


def vae_from_comfy(shapes: Shapes, path: Path) -> VAEConfig:
    """VAE sizes from shapes under latent diffusion's names."""
    at = f"{keys.COMFY_VAE}encoder.down"
    layers = sum(f"{at}.0.block.{j}.conv1.weight" in shapes for j in range(9))
    return _standard_vae([_shape(shapes, f"{at}.{i}.block.0.conv1.weight", path)[0] for i in range(4)], layers, path)


def _standard_vae(widths: Sequence[int], layers: int, path: Path) -> VAEConfig:
    if any(w % VAEConfig().norm_num_groups for w in widths):
        raise CheckpointError(
            f"{path}: a VAE of widths {widths} is not Stable Diffusion's, and the file has no configuration"
        )
    return VAEConfig(block_out_channels=tuple(widths), layers_per_block=layers)


def _shape(shapes: Shapes, name: str, path: Path) -> tuple[int, ...]:
    if name not in shapes:
        kind = what_it_is(list(shapes))
        raise CheckpointError(f"{path} is not an SDPose checkpoint but {kind}: missing '{name}'")
    if len(shapes[name]) != 4:
        raise CheckpointError(f"{path}: expected four dimensions of '{name}', found {shapes[name]}")
    return shapes[name]


_LORA = re.compile(r"(?:^|\.)lora_")


def what_it_is(names: Sequence[str]) -> str:
    """The kind of a file that is not an SDPose checkpoint, as a phrase: "a LoRA"."""
    if any(_LORA.search(name) for name in names):
        return "a LoRA"
    signs = (
        ("conditioner.embedders.1.", "a Stable Diffusion XL checkpoint"),
        ("cond_stage_model.", "a Stable Diffusion checkpoint"),
        ("control_model.", "a ControlNet"),
        ("first_stage_model.", "a Stable Diffusion checkpoint without text encoder"),
        ("encoder.down", "only a VAE"),
        ("text_model.", "a text encoder"),
        ("down_blocks.", "only a U-Net"),
        ("deconv_layers.", "only a heatmap head"),
    )
    for start, kind in signs:
        if any(name.startswith(start) for name in names):
            return kind
    return f"a file with {some(list(names))}" if names else "a file without tensors"
