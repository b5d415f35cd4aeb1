"""Writes tensors under our names as a checkpoint file or folder, atomically."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, InputError, reason_of
from ..files import atomic_path
from ..folders import FolderKind, atomic_folder
from ..model.config import SDPoseConfig
from . import names as keys
from .fusion import described_levels, is_usual
from .sizes import SETTINGS, metadata_of

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, "torch.Tensor"]


_CLASS_EMBEDDING = {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 4}

EXPORTED = FolderKind(
    "an exported checkpoint",
    (
        "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors", "decoder/decoder.safetensors", "scheduler/scheduler_config.json",
        f"{keys.TEXT}.safetensors", "sdpose.json",
    ),
    markers=("sdpose.json",),
)  # fmt: skip


def write_file(state: Tensors, config: SDPoseConfig, path: Path, metadata: Mapping[str, str], comfy: bool) -> list[str]:
    """Write one safetensors file, with our names or Comfy-Org's; returns notes."""
    if path.suffix.lower() != ".safetensors":
        raise InputError(f"{path}: a checkpoint of this layout is one file: choose a name that ends in .safetensors")
    if comfy and not is_usual(config):
        raise InputError(
            f"{path}: ComfyUI's layout has no place for the head of {described_levels(config)}, reconstruction "
            f"{config.reconstruction!r}, and ComfyUI's own loader would leave layers out: use layout 'ours' or "
            "'diffusers', which our nodes read"
        )
    notes = _comfy_notes(state, config) if comfy else []
    written = _comfy_tensors(state, config) if comfy else dict(state)
    with _write_errors(path), atomic_path(path) as temporary:
        _save(written, temporary, {**metadata, **metadata_of(config)})
    return notes


def write_folder(state: Tensors, config: SDPoseConfig, path: Path, metadata: Mapping[str, str]) -> list[str]:
    """Write the released folder under a temporary name, then rename it; returns notes."""
    if path.suffix.lower() == ".safetensors":
        raise InputError(f"{path}: a checkpoint of layout 'diffusers' is a folder: choose a name without .safetensors")
    with _write_errors(path), atomic_folder(path, EXPORTED) as temporary:
        for folder, stem, prefix in (
            ("unet", "diffusion_pytorch_model", "unet."),
            ("vae", "diffusion_pytorch_model", "vae."),
            ("decoder", "decoder", "head."),
        ):
            part = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
            with atomic_path(temporary / folder / f"{stem}.safetensors") as file:  # sets the usual permissions
                _save(part, file, {"format": "pt"})
        if keys.TEXT in state:
            with atomic_path(temporary / f"{keys.TEXT}.safetensors") as file:
                _save({keys.TEXT: state[keys.TEXT]}, file, {})
        for name, content in _folder_configs(config, metadata).items():
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    text = "without text_encoder/ and tokenizer/, which only the official demo needs"
    later = f"the released code cannot read the head of {described_levels(config)}: our nodes read it"
    notes = [text] if is_usual(config) else [text, later]
    return [*notes, *_missing_parts(state, config, "diffusers' loaders expect it")]


def _save(tensors: Tensors, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file; the same tensors and metadata give the same bytes.

    The library writes the metadata in random order, so the header is written again, with the texts sorted.
    """
    from safetensors.torch import save_file

    save_file(dict(tensors), path, metadata=dict(metadata) or None)
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        file.seek(8)
        file.write(text.ljust(length))


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot write {path}: {reason_of(error)}") from None


def _comfy_tensors(state: Tensors, config: SDPoseConfig) -> dict[str, torch.Tensor]:
    unet, vae = keys.unet_modules(config.unet), keys.vae_modules(config.vae)
    written: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        if name == keys.TEXT:
            if not _is_shipped_text(value):
                written[keys.COMFY_TEXT] = value
        elif name.startswith("head."):
            written[keys.COMFY_HEAD + name.removeprefix("head.")] = value
        elif name.startswith("unet."):
            written[keys.COMFY_UNET + _translated(name.removeprefix("unet."), unet)] = value
        else:
            theirs = keys.COMFY_VAE + _translated(name.removeprefix("vae."), vae)
            written[theirs] = value[..., None, None] if keys.is_conv_attention(theirs) else value
    return {name: value.contiguous() for name, value in written.items()}


def _translated(name: str, table: Mapping[str, str]) -> str:
    translated = keys.renamed(name, table)
    if translated is None:
        raise CheckpointError(f"the tensor '{name}' has no name in latent diffusion's layout")
    return translated


def _is_shipped_text(value: torch.Tensor) -> bool:
    """Whether this is the shipped constant, in any dtype."""
    from ..model.empty_prompt import EMPTY_PROMPT_WIDTH, empty_prompt_embedding

    return value.shape[-1] == EMPTY_PROMPT_WIDTH and value.equal(empty_prompt_embedding().to(value))


def _comfy_notes(state: Tensors, config: SDPoseConfig) -> list[str]:
    notes = []
    if (config.num_keypoints, config.feature_levels) != (133, ("F2",)):
        notes.append(
            f"ComfyUI's own SDPose nodes only read 133 keypoints at F2, this is {config.num_keypoints} at "
            f"{', '.join(config.feature_levels)}: our nodes read it"
        )
    return [
        *notes,
        *_missing_parts(state, config, "our nodes read it, ComfyUI's own loader rejects an incomplete model"),
    ]


def _missing_parts(state: Tensors, config: SDPoseConfig, consequence: str) -> list[str]:
    absent = [
        what
        for what, prefix in (
            ("the VAE decoder (add it with --vae)", keys.VAE_DECODER),
            ("the RGB branch", keys.rgb_output(config)),
        )
        if not any(name.startswith(prefix) for name in state)
    ]
    return [f"without {' and '.join(absent)}, which the source does not have; {consequence}"] if absent else []


def _folder_configs(config: SDPoseConfig, metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    values = config.to_dict()
    unet, vae = values.pop("unet"), values.pop("vae")
    levels = len(config.vae.block_out_channels)
    kept = {"metadata": dict(sorted(metadata.items()))} if metadata else {}
    return {
        "unet/config.json": {
            "_class_name": "UNet2DConditionModel",
            **unet,
            **({} if config.reads_attention else _CLASS_EMBEDDING),
            "sample_size": config.latent_size[0],
        },
        "vae/config.json": {
            "_class_name": "AutoencoderKL",
            **vae,
            "in_channels": 3,
            "out_channels": 3,
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
        },
        "scheduler/scheduler_config.json": {
            "_class_name": "DDPMScheduler", "num_train_timesteps": 1000, "prediction_type": "sample",
        },
        "sdpose.json": {name: values[name] for name in SETTINGS if name in values} | kept,
    }  # fmt: skip
